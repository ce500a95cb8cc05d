//! The images of others that are in the store.
//!
//! `layers/<chain>/rootfs` is a layer as overlayfs stacks it, named after itself and all below it,
//! `layers/<chain>/layer.json` says what it is, and `layers/<chain>.lock` is locked as those of
//! built images are. `pulled/<digest>.json` is an image: its names, what it says of itself, and its
//! layers. An image counts when that file is there, and that is written last.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use netarium_core::image::{Found, ImageConfig, Platform};
use netarium_core::model::Image;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::layer::{LayerRecord, NOTE};
use super::pull::{self, PullOptions};
use super::store::{Hold, ROOTFS, Store};
use super::unpack::Lost;
use super::{ImageError, ImageEvent, build};

/// The folder of layers in the store.
pub(crate) const LAYERS: &str = "layers";

/// The folder of what is known of images.
const PULLED: &str = "pulled";

/// An image of others in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PulledRecord {
    /// The digest of its manifest; of its configuration if it has none.
    pub digest: String,
    /// What it was asked for as, in full.
    pub images: Vec<String>,
    /// Which machines it is for.
    pub platform: Platform,
    /// What it says of itself.
    pub config: ImageConfig,
    /// Its layers, the lowest first.
    pub layers: Vec<PulledLayer>,
    /// When it was pulled, in seconds since 1970.
    pub created: u64,
    /// What could not be kept of it when it was unpacked.
    #[serde(default)]
    pub(crate) lost: Lost,
}

/// A layer of an image of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PulledLayer {
    /// Its digest as it was sent; empty if it had none.
    pub digest: String,
    /// Its digest as it is when decompressed.
    pub diff_id: String,
    /// The name of its folder: a digest of it and all below it.
    pub chain: String,
    /// How many bytes were sent.
    pub size: u64,
}

/// What a removal of images came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// The images that are gone.
    pub images: Vec<String>,
    /// How many layers are gone with them.
    pub layers: usize,
    /// How much of the disk they took.
    pub bytes: u64,
}

/// Which machines an image is to be for: those that it names, or this one's kind.
pub(super) fn platform_of(image: &Image) -> Platform {
    let named = match image {
        Image::Registry { platform, .. } => platform.clone(),
        Image::Archive(archive) => archive.platform.clone(),
        _ => None,
    };
    named.unwrap_or_else(|| Platform::linux_on(std::env::consts::ARCH))
}

/// What tells an image that was asked for from every other.
pub(super) fn key(image: &Image) -> String {
    let name = match image {
        Image::Registry { reference, .. } => reference.to_string(),
        Image::Archive(archive) => {
            let folder = archive.beneath.as_deref().unwrap_or_default();
            let path = Path::new(folder).join(&archive.path);
            let name = archive.name.as_ref().map_or_else(String::new, |name| format!(":{name}"));
            format!("{}:{}{name}", archive.form.mark(), path.display())
        }
        other => other.title(),
    };
    format!("{name} {}", platform_of(image))
}

impl PulledRecord {
    /// What those who run it need to know.
    pub fn found(&self) -> Found {
        let (digest, platform) = (self.digest.clone(), self.platform.clone());
        Found { digest, platform, config: self.config.clone() }
    }

    /// Its names as people write them, without the machines that it is for.
    pub fn names(&self) -> Vec<String> {
        let name = |image: &String| image.split(' ').next().unwrap_or_default().to_owned();
        let short = |name: String| match name.parse::<netarium_core::image::Reference>() {
            Ok(reference) => reference.familiar(),
            Err(_) => name,
        };
        let names: BTreeSet<String> = self.images.iter().map(name).map(short).collect();
        names.into_iter().collect()
    }

    /// What people call it: its names, or its digest if they mean others by now.
    pub fn title(&self) -> String {
        match self.names().as_slice() {
            [] => self.digest.clone(),
            names => names.join(", "),
        }
    }

    /// How many bytes were sent of it.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// What could not be kept of it, one sentence each.
    pub fn lost(&self) -> Vec<String> {
        self.lost.words()
    }
}

impl Lost {
    /// What could not be kept, one sentence each.
    pub(super) fn words(self) -> Vec<String> {
        let told = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
        [
            told(self.devices, "devices are left out: no namespace may make them"),
            told(self.owners, "files belong to nobody: a lab does not have their users"),
            told(self.attributes, "extended attributes are left out: they cannot be set"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Store {
    /// The layers of images, as a store of their own.
    pub(super) fn layers(&self) -> Self {
        self.below(LAYERS)
    }

    /// What is in the store of an image of others; nothing if it is not there as a whole.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn find(&self, image: &Image) -> Result<Option<PulledRecord>, ImageError> {
        let key = key(image);
        let mut records = self.pulled()?;
        records.retain(|record| record.images.contains(&key));
        Ok(records.into_iter().find(|record| self.is_whole(record)))
    }

    /// Makes an image of others ready: it is pulled if it is not there, and where it is in a file
    /// or in Docker, also if it is another one now.
    ///
    /// # Errors
    /// If it is not to be had.
    pub async fn fetch(
        &self,
        image: &Image,
        options: PullOptions,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<PulledRecord, ImageError> {
        let there = self.find(image)?;
        let Some(there) = there else { return self.pull(image, options, report).await };
        if matches!(image, Image::Registry { .. }) || pull::is_unchanged(image, &there).await {
            return Ok(there);
        }
        self.pull(image, options, report).await
    }

    /// Pulls an image of others, also if it is there: its name may mean another one now.
    ///
    /// # Errors
    /// If it is not to be had.
    pub async fn pull(
        &self,
        image: &Image,
        options: PullOptions,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<PulledRecord, ImageError> {
        // A layer that nobody uses yet could be removed before the image that has it is written.
        let _share = self.pulled_lock(FlockOperation::LockShared).await?;
        pull::pull(self, image, options, report).await
    }

    /// Keeps the layers of an image from being removed as long as the answer lives.
    ///
    /// # Errors
    /// If one is not there.
    pub async fn hold_layers(&self, record: &PulledRecord) -> Result<Vec<Hold>, ImageError> {
        let layers = self.layers();
        let mut holds = Vec::new();
        for layer in &record.layers {
            holds.push(layers.hold(&layer.chain).await?);
        }
        Ok(holds)
    }

    /// All images of others, by name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn pulled(&self) -> Result<Vec<PulledRecord>, ImageError> {
        let folder = self.folder().join(PULLED);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(ImageError::folder(&folder))?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.map_err(ImageError::folder(&folder))?.path();
            if path.extension().is_some_and(|it| it == "json") {
                records.extend(read(&path)?);
            }
        }
        records.sort_by(|a: &PulledRecord, b| (&a.images, &a.digest).cmp(&(&b.images, &b.digest)));
        Ok(records)
    }

    /// Removes images of others that `is_spare` says nobody needs, and the layers that no image has
    /// any more. Whatever is in use stays.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn remove_pulled(
        &self,
        is_spare: impl Fn(&PulledRecord) -> bool,
    ) -> Result<Pruned, ImageError> {
        // Nobody may pull meanwhile: a new image could need a layer that is about to go.
        let _lock = self.pulled_lock(FlockOperation::LockExclusive).await?;
        let mut pruned = Pruned::default();
        for record in self.pulled()?.iter().filter(|record| is_spare(record)) {
            let path = self.record_path(&record.digest);
            fs::remove_file(&path).map_err(ImageError::folder(&path))?;
            pruned.images.push(record.title());
        }
        for (chain, bytes) in self.spare_layers()? {
            let layers = self.layers();
            let lock = layers.lock(&chain, &chain, &|_| ()).await?;
            build::remove(layers.folder(), &chain, &lock).await?;
            let path = layers.lock_path(&chain);
            fs::remove_file(&path).map_err(ImageError::folder(&path))?;
            pruned.layers += 1;
            pruned.bytes += bytes;
        }
        Ok(pruned)
    }

    /// How much of the disk the layers of an image take, whoever else has them.
    pub fn bytes_of(&self, record: &PulledRecord) -> u64 {
        let layers = record.layers.iter().filter_map(|layer| self.layer(&layer.chain));
        layers.map(|layer| layer.bytes).sum()
    }

    /// How much of the disk the layers take that only `records` have.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn bytes_of_pulled(&self, records: &[PulledRecord]) -> Result<u64, ImageError> {
        let goes = |it: &PulledRecord| records.iter().any(|record| record.digest == it.digest);
        let others = self.pulled()?;
        let kept: BTreeSet<String> = others
            .into_iter()
            .filter(|it| !goes(it))
            .flat_map(|it| it.layers.into_iter().map(|layer| layer.chain))
            .collect();
        let chains: BTreeSet<&String> =
            records.iter().flat_map(|it| it.layers.iter().map(|layer| &layer.chain)).collect();
        let only = chains.into_iter().filter(|chain| !kept.contains(*chain));
        Ok(only.filter_map(|chain| self.layer(chain)).map(|layer| layer.bytes).sum())
    }

    /// Keeps what is known of an image. A name means one image only, and the last one that it was
    /// asked for as.
    pub(super) async fn keep(&self, mut record: PulledRecord) -> Result<PulledRecord, ImageError> {
        let _lock = self.names_lock().await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        record.created = now;
        for mut other in self.pulled()? {
            let before = other.images.len();
            if other.digest == record.digest {
                other.images.retain(|image| !record.images.contains(image));
                record.images.extend(other.images);
                record.lost = most(record.lost, other.lost);
                continue;
            }
            other.images.retain(|image| !record.images.contains(image));
            if other.images.len() != before {
                self.write(&other)?;
            }
        }
        self.write(&record)?;
        Ok(record)
    }

    /// The folders of an image's layers as a node's root file system has them, the highest first.
    pub(crate) fn stack(images: &Path, digest: &str) -> io::Result<Vec<PathBuf>> {
        let name = format!("{}.json", digest.trim_start_matches("sha256:"));
        let text = fs::read(images.join(PULLED).join(name))?;
        let record: PulledRecord = serde_json::from_slice(&text)?;
        let mut stack = Vec::new();
        for layer in record.layers.iter().rev() {
            let folder = images.join(LAYERS).join(&layer.chain);
            let note: LayerRecord = serde_json::from_slice(&fs::read(folder.join(NOTE))?)?;
            stack.push(folder.join(ROOTFS));
            if note.hides_all {
                break;
            }
        }
        Ok(stack)
    }

    fn is_whole(&self, record: &PulledRecord) -> bool {
        let layers = self.layers();
        record.layers.iter().all(|layer| layers.has(&layer.chain))
    }

    fn layer(&self, chain: &str) -> Option<LayerRecord> {
        let note = self.folder().join(LAYERS).join(chain).join(NOTE);
        serde_json::from_slice(&fs::read(note).ok()?).ok()
    }

    /// Layers that no image has, and what they take of the disk, those that stand on others first.
    fn spare_layers(&self) -> Result<Vec<(String, u64)>, ImageError> {
        let mut used = BTreeSet::new();
        for record in self.pulled()? {
            used.extend(record.layers.into_iter().map(|layer| layer.chain));
        }
        let folder = self.folder().join(LAYERS);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(ImageError::folder(&folder))?,
        };
        let mut spare = Vec::new();
        for entry in entries {
            let name = entry.map_err(ImageError::folder(&folder))?.file_name();
            let Some(chain) = name.to_str().filter(|name| super::store::is_digest(name)) else {
                continue;
            };
            if !used.contains(chain) {
                let bytes = self.layer(chain).map_or(0, |layer| layer.bytes);
                spare.push((chain.to_owned(), bytes));
            }
        }
        Ok(spare)
    }

    fn record_path(&self, digest: &str) -> PathBuf {
        let name = format!("{}.json", digest.trim_start_matches("sha256:"));
        self.folder().join(PULLED).join(name)
    }

    fn write(&self, record: &PulledRecord) -> Result<(), ImageError> {
        let path = self.record_path(&record.digest);
        let new = path.with_extension("new");
        let written = serde_json::to_vec_pretty(record).map_err(io::Error::from).and_then(|text| {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        written.map_err(ImageError::folder(&path))
    }

    async fn pulled_lock(&self, how: FlockOperation) -> Result<File, ImageError> {
        self.lock_file("pull.lock", how).await
    }

    async fn names_lock(&self) -> Result<File, ImageError> {
        self.lock_file("names.lock", FlockOperation::LockExclusive).await
    }

    async fn lock_file(&self, name: &str, how: FlockOperation) -> Result<File, ImageError> {
        let folder = self.folder().join(PULLED);
        self.make_below(&folder)?;
        let path = folder.join(name);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(ImageError::folder(&path))?;
        let locked = match flock(&file, to_try(how)) {
            Ok(()) => Ok(file),
            Err(_) => super::store::lock_on_thread(file, how).await,
        };
        locked.map_err(ImageError::folder(&path))
    }
}

fn to_try(how: FlockOperation) -> FlockOperation {
    match how {
        FlockOperation::LockShared => FlockOperation::NonBlockingLockShared,
        _ => FlockOperation::NonBlockingLockExclusive,
    }
}

/// What is known of an image; nothing if it has just been removed.
fn read(path: &Path) -> Result<Option<PulledRecord>, ImageError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(ImageError::folder(path))?,
    };
    let record = serde_json::from_slice(&text);
    record.map(Some).map_err(|source| ImageError::Record { path: path.to_owned(), source })
}

fn most(one: Lost, other: Lost) -> Lost {
    Lost {
        devices: one.devices.max(other.devices),
        owners: one.owners.max(other.owners),
        attributes: one.attributes.max(other.attributes),
    }
}
