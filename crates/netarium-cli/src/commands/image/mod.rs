//! `image`: the images on this machine.

mod pulled;
mod spare;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use netarium::event::Event;
use netarium::image::{ImageError, PulledRecord, Store, StoredImage};
use netarium::lab_file::DEFAULT_NAME;
use netarium_core::image::Platform;
use netarium_core::model::{Image, Recipe};
use netarium_core::problem::suggestion;
use netarium_core::resolve::recipes;

use super::Context;
use crate::choose;
use crate::ending::Ending;
use crate::interrupt::Interrupts;
use crate::print::progress::Progress;
use crate::print::table::{Cell, Table};
use crate::print::{self, BAD, Form, HEAD, count};
use crate::report;

use self::pulled::Told;
pub(crate) use self::pulled::{inspect, pull};
pub(crate) use self::spare::{Deed, Spare, prune};

/// How much of a digest is shown: enough to tell images apart.
const SHORT: usize = 12;

/// Lists the images.
///
/// # Errors
/// If they cannot be read.
pub(crate) fn ls(context: &Context) -> anyhow::Result<Ending> {
    let store = store(context)?;
    let (images, pulled) = (store.list()?, store.pulled()?);
    match context.style.form {
        Form::Json => {
            let built = images.iter().map(serde_json::to_value);
            let others = pulled.iter().map(|it| serde_json::to_value(Told::of(it, &store)));
            print::json(&built.chain(others).collect::<Result<Vec<_>, _>>()?)?;
        }
        Form::Text if images.is_empty() && pulled.is_empty() => {
            context.style.say("there are no images");
        }
        Form::Text => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.map_or(0, |now| now.as_secs());
            print::line(table(&images, &pulled, &store, now)?.render(0))?;
        }
    }
    Ok(Ending::Fine)
}

fn table(
    images: &[StoredImage],
    pulled: &[PulledRecord],
    store: &Store,
    now: u64,
) -> anyhow::Result<Table<6>> {
    let mut table = Table::headed(["IMAGE", "PLATFORM", "DIGEST", "MADE OF", "SIZE", "AGE"]);
    for image in images {
        table.row([
            Cell::new(image.name.as_str()),
            image.platform.to_string().into(),
            image.digest.get(..SHORT).unwrap_or(&image.digest).into(),
            format!("{}, {}", image.suite, count(image.packages.len(), "package")).into(),
            print::bytes(image.bytes).into(),
            print::age(now.saturating_sub(image.created)).into(),
        ]);
    }
    for image in pulled {
        let digest = image.digest.trim_start_matches("sha256:");
        let layers = count(image.layers.len(), "layer");
        table.row([
            Cell::new(match image.names().as_slice() {
                [] => "-".to_owned(),
                names => names.join(", "),
            }),
            image.platform.to_string().into(),
            digest.get(..SHORT).unwrap_or(digest).into(),
            layers.into(),
            print::bytes(store.bytes_of(image)).into(),
            print::age(now.saturating_sub(image.created)).into(),
        ]);
    }
    Ok(table)
}

/// Builds an image, or all that a lab's nodes need, also if they are there; for this machine if no
/// other is named.
///
/// # Errors
/// If there is no such recipe, or it cannot be built.
pub(crate) async fn build(
    context: &Context,
    word: Option<&str>,
    lab: Option<&Path>,
    platforms: &[Platform],
) -> anyhow::Result<Ending> {
    let recipes = match chosen(context, word, lab)? {
        Ok(recipes) => recipes,
        Err(ending) => return Ok(ending),
    };
    let mut interrupts = Interrupts::listen()?;
    let store = store(context)?;
    let progress = Progress::begin(context.style);
    let building = async {
        for recipe in &recipes {
            let name = recipe.name.to_string();
            let report = |event| progress.event(&Event::Image { name: name.clone(), event });
            if platforms.is_empty() {
                store.build(recipe, &report).await?;
            }
            for platform in platforms {
                store.build_for(recipe, platform, &report).await?;
            }
        }
        Ok::<_, ImageError>(())
    };
    // Dropping a build ends it, and nothing half made is left.
    tokio::select! {
        biased;
        signal = interrupts.next() => {
            progress.end();
            context.style.say("interrupted: the half image is removed");
            Ok(Ending::Interrupted(signal))
        }
        built = building => {
            built?;
            Ok(Ending::Fine)
        }
    }
}

/// The recipes that are meant: by the name of an image, or by a lab whose nodes need them.
fn chosen(
    context: &Context,
    word: Option<&str>,
    lab: Option<&Path>,
) -> anyhow::Result<Result<Vec<Recipe>, Ending>> {
    let Some(name) = word.filter(|word| lab.is_some() || !is_path(word)) else {
        let lab = lab.map(|path| path.to_str().context("the path of the lab is not UTF-8"));
        let file = choose::file(&context.data, word.or(lab.transpose()?))?;
        let images = file.model.nodes.values().map(|node| &node.image);
        let recipe = |image: &Image| match image {
            Image::Recipe(recipe) => Some(recipe.clone()),
            _ => None,
        };
        let recipes: BTreeSet<Recipe> = images.filter_map(recipe).collect();
        return Ok(Ok(recipes.into_iter().collect()));
    };
    let known = known(context, lab)?;
    if let Some(recipe) = known.iter().find(|recipe| recipe.name.as_str() == name) {
        return Ok(Ok(vec![recipe.clone()]));
    }
    let names = known.iter().map(|recipe| recipe.name.as_str()).collect();
    print::say(format_args!("{BAD}{HEAD}error:{HEAD:#} there is no recipe for image {name}"));
    if let Some(hint) = suggestion(name, names) {
        print::say(format_args!("  {HEAD}hint:{HEAD:#} {hint}"));
    }
    Ok(Err(Ending::Usage))
}

/// Whether a word is a path: no image's name has a slash or a dot.
fn is_path(word: &str) -> bool {
    word.contains(['/', '.'])
}

/// The recipes of the lab file that was named or is here, and the built-in one.
pub(super) fn known(context: &Context, lab: Option<&Path>) -> anyhow::Result<Vec<Recipe>> {
    let word = lab.map(|path| path.to_str().context("the path of the lab is not UTF-8"));
    let word = word.transpose()?;
    if word.is_none() && !Path::new(DEFAULT_NAME).exists() {
        return Ok(recipes(None));
    }
    let file = choose::file(&context.data, word)?;
    let spec = netarium_core::spec::parse(&file.text).ok();
    Ok(recipes(spec.as_ref()))
}

/// Removes images.
///
/// # Errors
/// If one cannot be removed. The others are removed all the same.
pub(crate) async fn rm(context: &Context, images: &[String]) -> anyhow::Result<Ending> {
    let store = store(context)?;
    let mut removed = Vec::new();
    let mut ending = Ending::Fine;
    let used = spare::used(context)?;
    for image in images {
        if let Some(record) = pulled::named(&store, image)? {
            match spare::remove(&store, &record, &used).await {
                Ok(pruned) => context.style.say(format_args!(
                    "image {image} is removed: {} free",
                    print::bytes(pruned.bytes)
                )),
                Err(error) => ending = report::error(&error, context.style),
            }
            continue;
        }
        match spare::remove_built(&store, image, &used).await {
            Ok(stored) => {
                context.style.say(format_args!(
                    "image {} is removed: {} free, {}",
                    stored.name,
                    print::bytes(stored.bytes),
                    count(stored.packages.len(), "package")
                ));
                removed.push(stored);
            }
            Err(error) => ending = report::error(&error, context.style),
        }
    }
    if context.style.form == Form::Json {
        print::json(&removed)?;
    }
    Ok(ending)
}

pub(super) fn store(context: &Context) -> anyhow::Result<Store> {
    Ok(Store::at(&context.data.images())?)
}
