//! `image export` and `image push`: images that leave this machine.

use std::io::{BufWriter, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use netarium::event::Event;
use netarium::image::outgoing::{self, Compression, OutgoingError, Packed, Packing};
use netarium::image::{Store, StoredImage, Transport};
use netarium_core::image::Reference;
use serde::Serialize;

use super::Context;
use super::image::{known, store};
use crate::args;
use crate::ending::Ending;
use crate::interrupt::Interrupts;
use crate::print::progress::Progress;
use crate::print::{self, Form};

/// Where an image is written to.
pub(crate) struct To {
    /// The file; `-` is standard output.
    pub(crate) file: PathBuf,
    /// What it is called there, if not by its own name.
    pub(crate) called: Option<Reference>,
}

/// An image that has left, for programs.
#[derive(Serialize)]
struct Left<'a> {
    name: String,
    digest: &'a str,
    platforms: Vec<String>,
    bytes: u64,
}

/// Writes an image to a file.
///
/// # Errors
/// If it is not there, or cannot be packed or written.
pub(crate) async fn export(
    context: &Context,
    image: &str,
    to: To,
    packing: args::Packing,
) -> anyhow::Result<Ending> {
    let is_stdout = to.file == Path::new("-");
    if is_stdout && std::io::stdout().is_terminal() {
        print::say("standard output is a terminal: name a file, or a program that reads it");
        return Ok(Ending::Usage);
    }
    let mut interrupts = Interrupts::listen()?;
    let progress = Progress::begin(context.style);
    let packed = tokio::select! {
        biased;
        signal = interrupts.next() => {
            progress.end();
            return Ok(Ending::Interrupted(signal));
        }
        packed = pack(context, image, packing, &progress) => packed?,
    };
    let called = match to.called {
        Some(called) => called,
        None => packed.name().as_str().parse()?,
    };
    if is_stdout {
        let out = BufWriter::new(std::io::stdout().lock());
        packed.export_to(&called, out).context("cannot write to standard output")?;
    } else {
        packed.export(&called, &to.file)?;
    }
    progress.end();
    let form = if is_stdout { Form::Text } else { context.style.form };
    tell(context, form, &packed, &called)?;
    Ok(Ending::Fine)
}

/// Sends an image to a registry.
///
/// # Errors
/// If it is not there or cannot be packed, or the registry does not take it.
pub(crate) async fn push(
    context: &Context,
    image: &str,
    (called, transport): (Reference, Transport),
    packing: args::Packing,
) -> anyhow::Result<Ending> {
    let mut interrupts = Interrupts::listen()?;
    let progress = Progress::begin(context.style);
    let pushing = async {
        let packed = pack(context, image, packing, &progress).await?;
        let name = packed.name().to_string();
        let report = |event| progress.event(&Event::Image { name: name.clone(), event });
        packed.push(&called, transport, &report).await?;
        Ok::<_, anyhow::Error>(packed)
    };
    let packed = tokio::select! {
        biased;
        signal = interrupts.next() => {
            progress.end();
            return Ok(Ending::Interrupted(signal));
        }
        pushed = pushing => pushed?,
    };
    progress.end();
    tell(context, context.style.form, &packed, &called)?;
    Ok(Ending::Fine)
}

async fn pack(
    context: &Context,
    image: &str,
    packing: args::Packing,
    progress: &Progress,
) -> anyhow::Result<Packed> {
    let store = store(context)?;
    let built = built(context, &store, image)?;
    let report = |event| {
        if let Some(first) = built.first() {
            progress.event(&Event::Image { name: first.name.to_string(), event });
        }
    };
    outgoing::pack(&store, &built, &packing.into(), &report).await.map_err(flat)
}

/// What was built of an image. One that a recipe here makes is meant before an older one of the same
/// name.
fn built(context: &Context, store: &Store, image: &str) -> anyhow::Result<Vec<StoredImage>> {
    let recipes = known(context, None)?;
    if let Some(recipe) = recipes.iter().find(|recipe| recipe.name.as_str() == image) {
        let built = store.built_by(recipe)?;
        if !built.is_empty() {
            return Ok(built);
        }
    }
    Ok(store.built(image)?)
}

/// What the store says is told as the store says it.
fn flat(error: OutgoingError) -> anyhow::Error {
    match error {
        OutgoingError::Image(error) => error.into(),
        error => error.into(),
    }
}

/// Says what has left.
fn tell(context: &Context, form: Form, packed: &Packed, called: &Reference) -> anyhow::Result<()> {
    let platforms: Vec<String> = packed.platforms().map(ToString::to_string).collect();
    match form {
        Form::Json => print::json(&Left {
            name: called.to_string(),
            digest: packed.digest(),
            platforms,
            bytes: packed.bytes(),
        })?,
        Form::Text => context.style.say(format_args!(
            "{} for {}: {}, {}",
            called.familiar(),
            platforms.join(" and "),
            print::bytes(packed.bytes()),
            packed.digest()
        )),
    }
    Ok(())
}

impl From<args::Packing> for Packing {
    fn from(typed: args::Packing) -> Self {
        let compression = match typed.compression {
            args::Compression::Gzip => Compression::Gzip,
            args::Compression::Zstd => Compression::Zstd,
        };
        Self {
            platforms: typed.platform,
            compression,
            with: typed.with,
            entrypoint: typed.entrypoint,
            command: typed.command,
            labels: typed.labels.into_iter().collect(),
        }
    }
}
