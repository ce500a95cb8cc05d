//! Images that others have made: finds them in registries and archives, and has their layers
//! unpacked into the store, several at once.
//!
//! Reading order: here the order of things; `registry` and `archive` are where images come from,
//! `manifest` which of several it is, `fetch` one layer on its way. What is in the store is in
//! [`super::pulled`].

mod archive;
mod credentials;
mod daemon;
mod error;
mod fetch;
mod manifest;
mod registry;
mod settings;

use std::sync::Mutex;
use std::time::Instant;

use netarium_core::image::{Description, Platform};
use netarium_core::model::{ArchiveForm, Image};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, watch};

use self::archive::Archive;
pub use self::error::PullError;
use self::fetch::{Passing, Wanted};
use self::manifest::{Descriptor, Manifest, choose};
pub(super) use self::registry::{Content, Registry};
use self::settings::Settings;
use super::pulled::{PulledLayer, PulledRecord};
use super::store::Store;
use super::unpack::{Lost, hex};
use super::{ImageError, ImageEvent};

/// How many layers come at once.
const AT_ONCE: usize = 4;

/// The largest configuration of an image, in bytes.
const LARGEST_CONFIG: u64 = 8 << 20;

/// How an image is to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// How its registry is spoken to.
    pub transport: Transport,
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// With TLS, unless the settings of the user say otherwise.
    #[default]
    Usual,
    /// Without TLS.
    Plain,
}

/// Where an image comes from.
enum Source {
    Registry(Box<Registry>),
    Archive(Archive),
}

/// An image that is about to come.
struct Chosen {
    digest: String,
    description: Description,
    layers: Vec<(Descriptor, Option<String>)>,
}

/// How far a layer has come that was told last, in parts of the whole.
const TOLD_EVERY: u64 = 50;

impl Source {
    fn broken(&self, text: String) -> PullError {
        match self {
            Self::Registry(registry) => registry.broken(text),
            Self::Archive(_) => PullError::Manifest { text },
        }
    }
}

/// Makes an image of others ready in `store`, also if it is there already: then only what is new
/// of it is fetched.
pub(super) async fn pull(
    store: &Store,
    image: &Image,
    options: PullOptions,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> Result<PulledRecord, ImageError> {
    let failed = |source| ImageError::Pull { image: image.title(), source: Box::new(source) };
    let began = Instant::now();
    let wanted = super::pulled::platform_of(image);
    let spooled = daemon::spool(store, image).await.map_err(failed)?;
    let (source, chosen) = find(image, spooled, &wanted, options).await.map_err(failed)?;
    let platform = &chosen.description.platform;
    if !platform.suits(&wanted) {
        let there = vec![platform.clone()];
        return Err(failed(PullError::Platform { wanted, there }));
    }
    let layers = wanted_layers(&chosen).map_err(failed)?;
    let missing = layers.iter().filter(|layer| !store.layers().has(&layer.chain));
    let bytes = missing.clone().map(|layer| layer.blob.size).sum();
    report(ImageEvent::Pulling { layers: missing.count(), bytes });
    let fetched = fetch_all(store, &layers, &source, report).await?;
    let mut lost = Lost::default();
    for it in fetched.iter().filter_map(|(_, lost)| lost.as_ref()) {
        lost.devices += it.devices;
        lost.owners += it.owners;
        lost.attributes += it.attributes;
    }
    let record = record(&chosen, &layers, image, lost);
    let record = store.keep(record).await?;
    let bytes = fetched.iter().map(|(bytes, _)| bytes).sum();
    report(ImageEvent::Pulled {
        seconds: began.elapsed().as_secs_f64(),
        bytes,
        lost: lost.words(),
    });
    Ok(record)
}

/// Whether an image in a file or in Docker is still the one that is in the store, or nobody can
/// say.
pub(super) async fn is_unchanged(image: &Image, there: &PulledRecord) -> bool {
    match image {
        Image::Archive(written) => {
            let wanted = super::pulled::platform_of(image);
            let found = Archive::open(written)
                .and_then(|it| it.find(written.form, written.name.as_deref(), &wanted));
            found.is_ok_and(|found| found.digest == there.digest) || !archive::is_there(written)
        }
        Image::DockerDaemon { name } => daemon::id(name).await.is_none_or(|id| id == there.digest),
        _ => true,
    }
}

/// Looks for an image where it is said to be.
async fn find(
    image: &Image,
    spooled: Option<Archive>,
    wanted: &Platform,
    options: PullOptions,
) -> Result<(Source, Chosen), PullError> {
    match image {
        Image::Registry { reference, .. } => {
            let settings = Settings::read()?;
            let plain = options.transport == Transport::Plain;
            let (registry, manifest) = Registry::find(reference, &settings, plain).await?;
            let chosen = chosen_of(&registry, manifest, wanted).await?;
            Ok((Source::Registry(Box::new(registry)), chosen))
        }
        Image::Archive(written) => {
            let archive = Archive::open(written)?;
            let chosen = chosen_in(&archive, written.form, written.name.as_deref(), wanted)?;
            Ok((Source::Archive(archive), chosen))
        }
        _ => match spooled {
            Some(archive) => {
                let chosen = chosen_in(&archive, ArchiveForm::Docker, None, wanted)?;
                Ok((Source::Archive(archive), chosen))
            }
            None => Err(PullError::Manifest { text: "it is not one that others make".to_owned() }),
        },
    }
}

/// The image of a registry that is for `wanted`.
async fn chosen_of(
    registry: &Registry,
    mut manifest: Vec<u8>,
    wanted: &Platform,
) -> Result<Chosen, PullError> {
    // An index may have an index in it, and that is enough.
    for _ in 0..3 {
        match Manifest::read(&manifest)? {
            Manifest::Index(entries) => {
                let entry = choose(&entries, wanted)?;
                manifest = registry.manifest(Some(&entry.digest)).await?;
                // The client has looked at the digest; it is the same that was asked for.
                let found = format!("sha256:{}", hex(&Sha256::digest(&manifest)));
                if found != entry.digest {
                    let what = "the manifest".to_owned();
                    return Err(PullError::Digest { what, expected: entry.digest, found });
                }
            }
            Manifest::Image { config, layers } => {
                let digest = format!("sha256:{}", hex(&Sha256::digest(&manifest)));
                let config = config_of(registry, &config).await?;
                let description = Description::read(&config)?;
                let layers = layers.into_iter().map(|blob| (blob, None)).collect();
                return Ok(Chosen { digest, description, layers });
            }
        }
    }
    Err(PullError::Manifest { text: "its indexes have no end".to_owned() })
}

async fn config_of(registry: &Registry, blob: &Descriptor) -> Result<Vec<u8>, PullError> {
    if blob.size > LARGEST_CONFIG {
        let text = format!("its configuration has more than {} MiB", LARGEST_CONFIG >> 20);
        return Err(PullError::Manifest { text });
    }
    fetch::whole(registry, blob).await
}

fn chosen_in(
    archive: &Archive,
    form: ArchiveForm,
    name: Option<&str>,
    wanted: &Platform,
) -> Result<Chosen, PullError> {
    let contents = archive.find(form, name, wanted)?;
    let description = Description::read(&contents.config)?;
    let layers = contents.layers.into_iter().map(|layer| (layer.blob, Some(layer.name))).collect();
    Ok(Chosen { digest: contents.digest, description, layers })
}

/// The layers with the names of their folders: two images whose lower layers are the same share
/// these (OCI image specification, config.md, "Layer ChainID").
fn wanted_layers(chosen: &Chosen) -> Result<Vec<Wanted>, PullError> {
    let diff_ids = &chosen.description.layers;
    if diff_ids.len() != chosen.layers.len() || diff_ids.is_empty() {
        let (there, told) = (chosen.layers.len(), diff_ids.len());
        let text = format!("it has {there} layers, and its configuration tells of {told}");
        return Err(PullError::Manifest { text });
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    for (diff_id, (blob, part)) in diff_ids.iter().zip(&chosen.layers) {
        if !manifest::is_digest(diff_id) {
            return Err(PullError::Manifest { text: format!("{diff_id:?} is no digest") });
        }
        let chain = match wanted.last() {
            Some(below) => {
                hex(&Sha256::digest(format!("sha256:{} {diff_id}", below.chain).as_bytes()))
            }
            None => diff_id.trim_start_matches("sha256:").to_owned(),
        };
        let below = wanted.iter().rev().map(|layer| layer.chain.clone()).collect();
        let (blob, part, diff_id) = (blob.clone(), part.clone(), diff_id.clone());
        wanted.push(Wanted { blob, part, diff_id, chain, below });
    }
    Ok(wanted)
}

/// Fetches the layers that are not there, several at once. The answer is how much of the disk each
/// takes that was not there, and what could not be kept of it.
async fn fetch_all(
    store: &Store,
    layers: &[Wanted],
    source: &Source,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> Result<Vec<(u64, Option<Lost>)>, ImageError> {
    let places = Semaphore::new(AT_ONCE);
    let (settled, _) = watch::channel(0);
    let work = layers.iter().enumerate().map(|(number, layer)| {
        let (places, settled) = (&places, &settled);
        async move {
            let below = || async {
                // The sender lives as long as all of this.
                settled.subscribe().wait_for(|done| *done >= number).await.ok();
            };
            let _place = places.acquire().await.map_err(|error| ImageError::Folder {
                path: store.folder().to_owned(),
                source: std::io::Error::other(error),
            })?;
            let fetched = fetch_one(store, number, layer, source, below(), report).await?;
            below().await;
            settled.send_replace(number + 1);
            Ok::<_, ImageError>(fetched)
        }
    });
    futures_util::future::try_join_all(work).await
}

async fn fetch_one(
    store: &Store,
    number: usize,
    layer: &Wanted,
    source: &Source,
    below: impl Future<Output = ()>,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> Result<(u64, Option<Lost>), ImageError> {
    let layers = store.layers();
    // Another process may fetch it meanwhile, and have a lab use it at once.
    let Some(lock) = layers.lock_missing(&layer.chain, report).await? else {
        return Ok((0, None));
    };
    let title = layer.title();
    let told = Mutex::new(None);
    let total = layer.blob.size;
    let each = |passing| match passing {
        Passing::Done(done) => {
            let part = done * TOLD_EVERY / total.max(1);
            let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if told.replace(part) != Some(part) {
                let digest = title.clone();
                report(ImageEvent::Layer { number, digest, done, total });
            }
        }
        Passing::Again(reason) => {
            report(ImageEvent::Retrying { digest: title.clone(), reason });
        }
    };
    let fetched = layer.fetch(&layers, &lock, source, below, &each).await;
    let failed =
        |source| ImageError::Pull { image: format!("layer {title}"), source: Box::new(source) };
    let (bytes, lost) = fetched.map_err(failed)?;
    report(ImageEvent::LayerDone { number });
    Ok((bytes, Some(lost)))
}

fn record(chosen: &Chosen, layers: &[Wanted], image: &Image, lost: Lost) -> PulledRecord {
    let layer = |it: &Wanted| PulledLayer {
        digest: it.blob.digest.clone(),
        diff_id: it.diff_id.clone(),
        chain: it.chain.clone(),
        size: it.blob.size,
    };
    PulledRecord {
        digest: chosen.digest.clone(),
        images: vec![super::pulled::key(image)],
        platform: chosen.description.platform.clone(),
        config: chosen.description.config.clone(),
        layers: layers.iter().map(layer).collect(),
        created: 0,
        lost,
    }
}
