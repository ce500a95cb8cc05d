//! `image pull` and `image inspect`: images that others have made.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use netarium::event::Event;
use netarium::image::{ImageError, PullOptions, PulledLayer, PulledRecord, Store, StoredImage};
use netarium_core::image::{ImageConfig, Platform, Reference};
use netarium_core::model::{Archive, ArchiveForm, Image};
use serde::Serialize;

use super::{Context, store};
use crate::ending::Ending;
use crate::interrupt::Interrupts;
use crate::print::progress::Progress;
use crate::print::{self, BAD, Form, HEAD, WARN};

/// An image of others, for programs.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    names: Vec<String>,
    digest: &'a str,
    platform: &'a Platform,
    created: u64,
    bytes: u64,
    size: u64,
    config: &'a ImageConfig,
    layers: &'a [PulledLayer],
    lost: Vec<String>,
}

impl<'a> Told<'a> {
    pub(super) fn of(it: &'a PulledRecord, store: &Store) -> Self {
        Self {
            names: it.names(),
            digest: &it.digest,
            platform: &it.platform,
            created: it.created,
            bytes: store.bytes_of(it),
            size: it.size(),
            config: &it.config,
            layers: &it.layers,
            lost: it.lost(),
        }
    }
}

/// Pulls an image.
///
/// # Errors
/// If it is not to be had.
pub(crate) async fn pull(
    context: &Context,
    word: &str,
    platform: Option<Platform>,
    options: PullOptions,
) -> anyhow::Result<Ending> {
    let image = match image(word, platform) {
        Ok(image) => image,
        Err((text, hint)) => {
            print::say(format_args!(
                "{BAD}{HEAD}error:{HEAD:#} {text}\n  {HEAD}hint:{HEAD:#} {hint}"
            ));
            return Ok(Ending::Usage);
        }
    };
    let mut interrupts = Interrupts::listen()?;
    let store = store(context)?;
    let progress = Progress::begin(context.style);
    let name = image.title();
    let report = |event| progress.event(&Event::Image { name: name.clone(), event });
    // Dropping a pull ends it; layers that are there as a whole stay for the next one.
    tokio::select! {
        biased;
        signal = interrupts.next() => {
            progress.end();
            context.style.say("interrupted: what has come as a whole is kept for the next time");
            Ok(Ending::Interrupted(signal))
        }
        pulled = store.pull(&image, options, &report) => {
            let record = pulled?;
            progress.end();
            match context.style.form {
                Form::Json => print::json_line(&Told::of(&record, &store))?,
                Form::Text => context.style.say(format_args!("{name} is {}", record.digest)),
            }
            Ok(Ending::Fine)
        }
    }
}

/// The image that a word of the command line means; files are where the word says.
fn image(word: &str, platform: Option<Platform>) -> Result<Image, (String, String)> {
    if let Some(name) = word.strip_prefix("docker-daemon:") {
        return Ok(Image::DockerDaemon { name: name.to_owned() });
    }
    if let Some((form, path, name)) = ArchiveForm::split(word) {
        let name = name.map(str::to_owned);
        let absolute = std::path::absolute(Path::new(path)).unwrap_or_else(|_| PathBuf::from(path));
        let path = absolute.to_string_lossy().into_owned();
        return Ok(Image::Archive(Archive { form, beneath: None, path, name, platform }));
    }
    match word.parse::<Reference>() {
        Ok(reference) => Ok(Image::Registry { reference, platform }),
        Err(error) => Err((error.to_string(), error.hint())),
    }
}

/// The image of others that a word means, if it means one: a name as it was asked for, a digest or
/// the beginning of one.
///
/// # Errors
/// If the store cannot be read, or several are meant.
pub(super) fn named(store: &Store, word: &str) -> anyhow::Result<Option<PulledRecord>> {
    let asked: Option<String> = word.parse::<Reference>().ok().map(|it| it.familiar());
    let digest = word.strip_prefix("sha256:").unwrap_or(word);
    let is_digest = digest.len() >= 4 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut found = store.pulled()?;
    found.retain(|record| {
        let names = record.names();
        names.iter().any(|name| name == word || Some(name) == asked.as_ref())
            || is_digest && record.digest.trim_start_matches("sha256:").starts_with(digest)
    });
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => {
            let digests = found.into_iter().map(|it| format!("{} ({})", it.digest, it.platform));
            let image = word.to_owned();
            Err(ImageError::Ambiguous { image, digests: digests.collect() }.into())
        }
    }
}

/// Shows an image.
///
/// # Errors
/// If there is none of that name.
pub(crate) fn inspect(context: &Context, word: &str) -> anyhow::Result<Ending> {
    let store = store(context)?;
    if let Some(record) = named(&store, word)? {
        match context.style.form {
            Form::Json => print::json(&Told::of(&record, &store))?,
            Form::Text => print::line(text(&record, &store).trim_end())?,
        }
        return Ok(Ending::Fine);
    }
    let stored = built(&store, word)?.ok_or_else(|| ImageError::Missing {
        image: word.to_owned(),
        folder: store.folder().to_owned(),
    })?;
    match context.style.form {
        Form::Json => print::json(&stored)?,
        Form::Text => {
            let lines = [
                ("image", stored.name.to_string()),
                ("digest", stored.digest),
                ("suite", stored.suite),
                ("packages", stored.packages.join(" ")),
                ("size", print::bytes(stored.bytes).to_string()),
            ];
            print::line(lined(&lines).trim_end())?;
        }
    }
    Ok(Ending::Fine)
}

/// The built image that a word means.
pub(super) fn built(store: &Store, word: &str) -> anyhow::Result<Option<StoredImage>> {
    let mut found = store.list()?;
    found.retain(|it| it.name.as_str() == word || word.len() >= 4 && it.digest.starts_with(word));
    if found.len() > 1 {
        let digests = found.into_iter().map(|it| it.digest).collect();
        return Err(anyhow!(ImageError::Ambiguous { image: word.to_owned(), digests }));
    }
    Ok(found.pop())
}

fn text(record: &PulledRecord, store: &Store) -> String {
    let config = &record.config;
    let environment: Vec<String> =
        config.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let health = config.healthcheck.as_ref().map(|it| it.run.join(" ")).unwrap_or_default();
    let list = |words: &std::collections::BTreeSet<String>| {
        words.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let mut lines = vec![
        ("image", record.title()),
        ("digest", record.digest.clone()),
        ("platform", record.platform.to_string()),
        (
            "size",
            format!(
                "{}, {} as sent",
                print::bytes(store.bytes_of(record)),
                print::bytes(record.size())
            ),
        ),
        ("entrypoint", config.entrypoint.join(" ")),
        ("command", config.command.join(" ")),
        ("folder", config.folder.clone()),
        ("user", config.user.clone().unwrap_or_default()),
        ("stop signal", config.stop_signal.clone().unwrap_or_default()),
        ("health check", health),
        ("ports", list(&config.exposed)),
        ("volumes", list(&config.volumes)),
        ("environment", environment.join(" ")),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    for (number, layer) in record.layers.iter().enumerate() {
        let digest = if layer.digest.is_empty() { &layer.diff_id } else { &layer.digest };
        let head = if number == 0 { "layers" } else { "" };
        lines.push((head, format!("{digest}  {}", print::bytes(layer.size))));
    }
    let mut text = lined(&lines);
    for lost in record.lost() {
        text.push_str(&format!("{WARN}note:{WARN:#} {lost}\n"));
    }
    text
}

fn lined(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(head, _)| head.len()).max().unwrap_or(0) + 2;
    let line = |(head, value): &(&str, String)| {
        // Other people's words, shown on a terminal.
        let value: String =
            value.chars().map(|it| if it.is_control() { '?' } else { it }).collect();
        format!("{HEAD}{head:<width$}{HEAD:#}{value}\n")
    };
    lines.iter().map(line).collect()
}
