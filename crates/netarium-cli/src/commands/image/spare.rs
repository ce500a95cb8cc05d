//! `image prune` and `image rm`: images that no lab uses.

use std::collections::BTreeSet;

use netarium::image::{ImageError, Pruned, PulledRecord, Store, StoredImage};
use netarium::lab::{Given, GivenImages, Lab, State};
use netarium_core::model::Engine;
use serde::Serialize;

use super::{Context, pulled, store};
use crate::ending::Ending;
use crate::print::{self, Form, count};

/// Which images may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spare {
    /// Those of others, which can be pulled again.
    Pulled,
    /// Those that were built, too.
    All,
}

/// What happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Tell,
    Remove,
}

/// What a removal came to, for programs.
#[derive(Serialize)]
struct Told {
    removed: bool,
    #[serde(flatten)]
    pruned: Pruned,
    /// What labs have given to Docker.
    given: Vec<Given>,
}

/// Removes the images that no lab uses.
///
/// # Errors
/// If one cannot be removed.
pub(crate) async fn prune(
    context: &Context,
    what: Spare,
    deed: Deed,
    engine: Option<Engine>,
) -> anyhow::Result<Ending> {
    let store = store(context)?;
    let used = used(context)?;
    let is_spare = |record: &PulledRecord| !used.contains(&record.digest);
    let spare: Vec<PulledRecord> = store.pulled()?.into_iter().filter(is_spare).collect();
    let built: Vec<StoredImage> = match what {
        Spare::Pulled => Vec::new(),
        Spare::All => store.list()?.into_iter().filter(|it| !used.contains(&it.digest)).collect(),
    };
    let mut pruned = match deed {
        Deed::Tell => Pruned {
            images: spare.iter().map(PulledRecord::title).collect(),
            layers: 0,
            bytes: store.bytes_of_pulled(&spare)?,
        },
        Deed::Remove => store.remove_pulled(is_spare).await?,
    };
    for image in built {
        if deed == Deed::Remove {
            store.remove(&image.digest).await?;
        }
        pruned.images.push(image.name.to_string());
        pruned.bytes += image.bytes;
    }
    let given = prune_given(context, deed, engine).await?;
    let removed = deed == Deed::Remove;
    match context.style.form {
        Form::Json => print::json(&Told { removed, pruned, given })?,
        Form::Text => tell(context, &pruned, &given, deed),
    }
    Ok(Ending::Fine)
}

/// The same for what labs have given to Docker, if that is to be had.
async fn prune_given(
    context: &Context,
    deed: Deed,
    engine: Option<Engine>,
) -> anyhow::Result<Vec<Given>> {
    if engine == Some(Engine::Native) {
        return Ok(Vec::new());
    }
    let given = match GivenImages::find(&context.data).await {
        // Most machines have no Docker, or one that is not for this user.
        Err(_) if engine.is_none() => return Ok(Vec::new()),
        given => given?,
    };
    Ok(match deed {
        Deed::Tell => given.spare().await?,
        Deed::Remove => given.remove_spare().await?,
    })
}

fn tell(context: &Context, pruned: &Pruned, given: &[Given], deed: Deed) {
    let at_docker: u64 = given.iter().map(|it| it.bytes).sum();
    let size = print::bytes(pruned.bytes + at_docker);
    let verb = if deed == Deed::Remove { "is removed" } else { "would be removed" };
    for image in &pruned.images {
        context.style.say(format_args!("image {image} {verb}"));
    }
    for image in given {
        context.style.say(format_args!("image {} {verb} from Docker", image.name));
    }
    let images = count(pruned.images.len() + given.len(), "image");
    match deed {
        Deed::Remove => context.style.say(format_args!("{images} removed: {size} free")),
        Deed::Tell => context.style.say(format_args!("{images} to remove: {size}")),
    }
}

/// The digests of the images that labs use which are up.
///
/// # Errors
/// If it cannot be seen which labs there are.
pub(super) fn used(context: &Context) -> anyhow::Result<BTreeSet<String>> {
    let mut used = BTreeSet::new();
    for lab in Lab::all(&context.data)? {
        if lab.state() == State::Up {
            used.extend(lab.images_in_use()?);
        }
    }
    Ok(used)
}

/// Removes an image of others.
///
/// # Errors
/// If a lab uses it, or it cannot be removed.
pub(super) async fn remove(
    store: &Store,
    record: &PulledRecord,
    used: &BTreeSet<String>,
) -> anyhow::Result<Pruned> {
    if used.contains(&record.digest) {
        let (image, digest) = (record.title(), record.digest.clone());
        return Err(ImageError::InUse { image, digest }.into());
    }
    Ok(store.remove_pulled(|it| it.digest == record.digest).await?)
}

/// Removes an image that was built.
///
/// # Errors
/// If a lab uses it, or it cannot be removed.
pub(super) async fn remove_built(
    store: &Store,
    word: &str,
    used: &BTreeSet<String>,
) -> anyhow::Result<StoredImage> {
    let found = pulled::built(store, word)?;
    if let Some(image) = found.filter(|image| used.contains(&image.digest)) {
        let (image, digest) = (image.name.to_string(), image.digest);
        return Err(ImageError::InUse { image, digest }.into());
    }
    Ok(store.remove(word).await?)
}
