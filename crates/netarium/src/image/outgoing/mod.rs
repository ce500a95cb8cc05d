//! Images that leave this machine: packed into layers, described, and written to a file or sent to a
//! registry, for one platform or several.
//!
//! Reading order: `pack` makes a layer out of files, `packer` has it done where the files can be
//! read, `layout` describes the image; `archive` writes it to a file,
//! `push` sends it to a registry. What is packed is kept in files
//! without a name, so that nothing of it is left when the process ends, however it ends.

mod archive;
mod error;
mod layout;
mod pack;
pub(crate) mod packer;
mod push;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use netarium_core::image::{Platform, Reference};
use netarium_core::name::Name;

use self::layout::{Document, Said};
use self::pack::{Layer, Owners};
use crate::image::{ImageError, ImageEvent, Store, StoredImage, Transport};

pub use error::OutgoingError;
pub use pack::Compression;

/// The shells that an image may have, the best first.
const SHELLS: [&str; 2] = ["bin/bash", "bin/sh"];

/// What stands for the processor in the path of a folder that differs by platform.
const ARCHITECTURE: &str = "{arch}";

/// How an image is to be packed.
#[derive(Clone, Debug, Default)]
pub struct Packing {
    /// For which platforms; all that it was built for if there is none.
    pub platforms: Vec<Platform>,
    /// How its layers are compressed.
    pub compression: Compression,
    /// A folder whose files go on top, as root's; `{arch}` in it is `amd64`, `arm64`, ….
    pub with: Option<PathBuf>,
    /// The program that a container of it runs, with its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments after those, or the program if there is no entrypoint: a shell if none of the
    /// two is named.
    pub command: Vec<String>,
    /// Labels besides those that say what it is made of.
    pub labels: BTreeMap<String, String>,
}

/// An image that is ready to leave.
#[derive(Debug)]
pub struct Packed {
    name: Name,
    platforms: Vec<PackedPlatform>,
    index: Document,
}

/// What an image is on one platform.
#[derive(Debug)]
struct PackedPlatform {
    platform: Platform,
    layers: Vec<(Layer, File)>,
    config: Document,
    manifest: Document,
}

impl Packed {
    /// The name of the recipe that it was built by.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The digest of the index, by which registries know it.
    pub fn digest(&self) -> &str {
        &self.index.descriptor.digest
    }

    /// Its platforms.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.platforms.iter().map(|packed| &packed.platform)
    }

    /// How much its layers take, in bytes.
    pub fn bytes(&self) -> u64 {
        let layers = self.platforms.iter().flat_map(|packed| &packed.layers);
        layers.map(|(layer, _)| layer.size).sum()
    }

    /// Writes it to a file that `docker load`, `podman load` and skopeo take, under the name `name`.
    /// The file appears when it is whole.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn export(&self, name: &Reference, path: &Path) -> Result<(), OutgoingError> {
        let failed = |source| OutgoingError::Write { path: path.to_owned(), source };
        let file_name = path.file_name().ok_or(failed(io::ErrorKind::IsADirectory.into()))?;
        let mut fresh = std::ffi::OsString::from(".");
        fresh.push(file_name);
        fresh.push(format!("-{}", std::process::id()));
        let fresh = path.with_file_name(fresh);
        let written = File::create(&fresh)
            .and_then(|file| archive::write(self, name, BufWriter::new(file)))
            .and_then(|()| fs::rename(&fresh, path));
        written.map_err(|source| {
            // It may not have come to be.
            fs::remove_file(&fresh).ok();
            failed(source)
        })
    }

    /// Writes the same to `out`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn export_to(&self, name: &Reference, out: impl Write) -> io::Result<()> {
        archive::write(self, name, out)
    }

    /// Sends it to the registry that `name` is in, under its tag, for all its platforms. What is there
    /// already is not sent again.
    ///
    /// # Errors
    /// If `name` has a digest or the registry does not take it.
    pub async fn push(
        &self,
        name: &Reference,
        transport: Transport,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<(), OutgoingError> {
        if name.digest().is_some() {
            return Err(OutgoingError::Digest { name: name.to_string() });
        }
        push::push(self, name, transport, report).await
    }

    /// What it is on this machine's platform, else on the first.
    fn ours(&self) -> &PackedPlatform {
        let here = Platform::linux_on(std::env::consts::ARCH);
        let ours = self.platforms.iter().find(|packed| packed.platform.suits(&here));
        ours.unwrap_or(&self.platforms[0])
    }
}

/// Packs an image that was built from packages, for one platform or several: some of what
/// [`Store::built`] says.
///
/// # Errors
/// If it was not built for all the platforms that are wanted, or cannot be packed.
pub async fn pack(
    store: &Store,
    built: &[StoredImage],
    packing: &Packing,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> Result<Packed, OutgoingError> {
    let mut chosen: Vec<&StoredImage> = Vec::new();
    for wanted in &packing.platforms {
        let found = built.iter().find(|stored| stored.platform.suits(wanted));
        let none = || OutgoingError::Platform {
            image: built.first().map_or_else(String::new, |it| it.name.to_string()),
            platform: wanted.to_string(),
        };
        chosen.push(found.ok_or_else(none)?);
    }
    if chosen.is_empty() {
        chosen.extend(built);
    }
    chosen.sort_by(|a, b| a.platform.cmp(&b.platform));
    chosen.dedup();
    let Some(name) = chosen.first().map(|stored| stored.name.clone()) else {
        let (image, folder) = ("of no name".to_owned(), store.folder().to_owned());
        return Err(ImageError::Missing { image, folder }.into());
    };
    let mut platforms = Vec::new();
    for stored in chosen {
        platforms.push(pack_platform(store, stored, packing, report).await?);
    }
    let manifests: Vec<_> =
        platforms.iter().map(|packed| packed.manifest.descriptor.clone()).collect();
    Ok(Packed { name, index: layout::index(&manifests), platforms })
}

async fn pack_platform(
    store: &Store,
    stored: &StoredImage,
    packing: &Packing,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> Result<PackedPlatform, OutgoingError> {
    // Kept from being removed while it is read.
    let hold = store.hold(&stored.digest).await?;
    let command = command(packing, hold.rootfs());
    let mut layers = vec![pack_root(store, stored, packing.compression, report).await?];
    let mut made_by = vec![format!(
        "netarium image build: Debian {} with {}",
        stored.suite,
        stored.packages.join(" ")
    )];
    if let Some(with) = &packing.with {
        let folder = folder_for(with, &stored.platform);
        layers.push(pack_with(store, &folder, packing.compression)?);
        made_by.push("netarium image: files on top".to_owned());
    }
    let platform = stored.platform.clone();
    let mut labels = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), stored.name.to_string()),
        ("org.opencontainers.image.version".to_owned(), stored.suite.clone()),
    ]);
    labels.extend(packing.labels.clone());
    let entrypoint = packing.entrypoint.as_slice();
    let said = Said { platform: &platform, entrypoint, command: &command, labels, made_by };
    let those: Vec<&Layer> = layers.iter().map(|(layer, _)| layer).collect();
    let config = layout::config(&said, &those);
    let manifest = layout::manifest(&config, &those, &platform);
    Ok(PackedPlatform { platform, layers, config, manifest })
}

/// Packs the root file system of an image.
async fn pack_root(
    store: &Store,
    stored: &StoredImage,
    compression: Compression,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> Result<(Layer, File), OutgoingError> {
    let blob = nameless(store)?;
    let text = "packing".to_owned();
    report(ImageEvent::Packing { platform: stored.platform.clone() });
    let told = |done: u64| {
        // What files take of the disk and what is in them is not quite the same.
        let done = done.min(stored.bytes);
        report(ImageEvent::Step { text: text.clone(), done, total: stored.bytes });
    };
    told(0);
    let folder = store.folder().join(&stored.digest);
    let image = stored.name.to_string();
    match packer::pack_image(&folder, compression, &blob, &told).await {
        Ok(Ok(layer)) => Ok((layer, blob)),
        Ok(Err(source)) => {
            Err(OutgoingError::Pack { image, platform: stored.platform.to_string(), source })
        }
        Err(source) => Err(OutgoingError::Stage { image, source }),
    }
}

/// Packs a folder of the caller's.
fn pack_with(
    store: &Store,
    folder: &Path,
    compression: Compression,
) -> Result<(Layer, File), OutgoingError> {
    let blob = nameless(store)?;
    let layer = pack::pack(folder, Owners::Root, compression, &blob, &mut |_| ());
    let failed = |source| OutgoingError::With { folder: folder.to_owned(), source };
    Ok((layer.map_err(failed)?, blob))
}

fn folder_for(with: &Path, platform: &Platform) -> PathBuf {
    let parts = with.iter().map(|part| match part.to_str() {
        Some(text) => text.replace(ARCHITECTURE, &platform.architecture).into(),
        None => part.to_owned(),
    });
    parts.collect()
}

/// What a container of the image runs: what was asked for, else a shell that it has.
fn command(packing: &Packing, rootfs: &Path) -> Vec<String> {
    if !packing.command.is_empty() || !packing.entrypoint.is_empty() {
        return packing.command.clone();
    }
    let shell = SHELLS.iter().find(|shell| fs::symlink_metadata(rootfs.join(shell)).is_ok());
    shell.map(|shell| format!("/{shell}")).into_iter().collect()
}

/// A file in the store's folder that has no name.
fn nameless(store: &Store) -> Result<File, OutgoingError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = store.folder().join(format!(".packing-{}-{number}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|file| fs::remove_file(&path).map(|()| file))
        .map_err(|source| OutgoingError::Write { path, source })
}
