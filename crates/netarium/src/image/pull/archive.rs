//! Images in files: OCI layouts, as a folder or a tar file, and what `docker save` writes.
//!
//! A tar file is gone through once, to see where in it each file is; nothing is unpacked from it.
//! Sources: OCI image specification, image-layout.md; Docker's Image Specification v1.2.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use netarium_core::image::Platform;
use netarium_core::model::{Archive as Written, ArchiveForm};
use rustix::fs::{CWD, Mode, OFlags};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::PullError;
use super::manifest::{Descriptor, Manifest, choose};
use crate::image::unpack::hex;
use crate::linux::confined;

/// The largest manifest, index or configuration, in bytes.
const LARGEST: u64 = 8 << 20;

/// The most files of an archive.
const MOST: usize = 100_000;

/// An archive that is open.
pub(super) struct Archive {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A folder with an OCI layout.
    Folder(OwnedFd),
    /// A tar file, and where in it each file is.
    Tar { file: File, parts: BTreeMap<String, Part> },
}

/// Where in a tar file something is.
#[derive(Clone, Debug)]
enum Part {
    File {
        at: u64,
        size: u64,
    },
    /// Another name of a file; older versions of Docker name a layer twice so.
    Link(String),
}

/// What an archive has of an image.
pub(super) struct Contents {
    /// The digest of its manifest; of its configuration if it has none.
    pub(super) digest: String,
    /// What it says of itself.
    pub(super) config: Vec<u8>,
    /// Its layers, the lowest first. Those of `docker save` have no digest of their own.
    pub(super) layers: Vec<Layer>,
}

/// A layer in an archive.
pub(super) struct Layer {
    /// The name of its file.
    pub(super) name: String,
    /// Its digest and size, as far as the archive says them.
    pub(super) blob: Descriptor,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    /// Opens an archive, confined to the folder that it must not lead out of.
    ///
    /// # Errors
    /// If it is not there, or no tar file or folder.
    pub(super) fn open(written: &Written) -> Result<Self, PullError> {
        let path = Path::new(&written.path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let (opened, path) = match &written.beneath {
            Some(folder) => {
                let opened = rustix::fs::openat(CWD, folder.as_str(), OFlags::PATH, Mode::empty())
                    .and_then(|folder| confined::open_beneath(folder, path, flags));
                (opened, Path::new(folder).join(path))
            }
            None => (rustix::fs::openat(CWD, path, flags, Mode::empty()), path.to_owned()),
        };
        let fault = |error: rustix::io::Errno| match error {
            rustix::io::Errno::XDEV => PullError::archive(&path, "it leads out of its folder"),
            error => PullError::archive(&path, io::Error::from(error)),
        };
        Self::of_file(opened.map_err(fault)?, path)
    }

    /// An archive that is open already.
    ///
    /// # Errors
    /// If it is no tar file or folder.
    pub(super) fn of_file(opened: OwnedFd, path: PathBuf) -> Result<Self, PullError> {
        let file = File::from(opened);
        let kind = file.metadata().map_err(|error| PullError::archive(&path, error))?.file_type();
        let place = if kind.is_dir() {
            Place::Folder(file.into())
        } else if kind.is_file() {
            let parts = parts(&file).map_err(|error| PullError::archive(&path, error))?;
            Place::Tar { file, parts }
        } else {
            return Err(PullError::archive(&path, "it is neither a file nor a folder"));
        };
        Ok(Self { path, place })
    }

    /// Looks for the image that is meant.
    ///
    /// # Errors
    /// If there is none, or several and none is named.
    pub(super) fn find(
        &self,
        form: ArchiveForm,
        name: Option<&str>,
        wanted: &Platform,
    ) -> Result<Contents, PullError> {
        // What Docker writes since version 25 is both; its own manifest has names in full.
        match form {
            ArchiveForm::Oci => self.find_oci(name, wanted),
            ArchiveForm::Docker => self.find_saved(name),
        }
    }

    fn find_oci(&self, name: Option<&str>, wanted: &Platform) -> Result<Contents, PullError> {
        let index = self.small("index.json")?;
        let Manifest::Index(entries) = Manifest::read(&index)? else {
            return Err(self.fault("its index is no index"));
        };
        let entries: Vec<Descriptor> = match name {
            Some(name) => entries.iter().filter(|it| it.is_called(name)).cloned().collect(),
            None => entries.clone(),
        };
        let names: Vec<&str> = entries.iter().filter_map(Descriptor::name).collect();
        let is_one = names.iter().collect::<std::collections::BTreeSet<_>>().len() <= 1;
        if entries.is_empty() || !is_one {
            return Err(self.which(name, &names));
        }
        let mut entry = match entries.as_slice() {
            [only] => only.clone(),
            several => choose(several, wanted)?,
        };
        // An index may have an index in it, and that is enough.
        for _ in 0..3 {
            let bytes = self.checked(&entry)?;
            match Manifest::read(&bytes)? {
                Manifest::Index(entries) => entry = choose(&entries, wanted)?,
                Manifest::Image { config, layers } => {
                    let config = self.checked(&config)?;
                    let layer =
                        |blob: Descriptor| Ok(Layer { name: blob_name(&blob.digest), blob });
                    let layers = layers.into_iter().map(layer).collect::<Result<_, PullError>>()?;
                    return Ok(Contents { digest: entry.digest, config, layers });
                }
            }
        }
        Err(self.fault("its indexes have no end"))
    }

    fn find_saved(&self, name: Option<&str>) -> Result<Contents, PullError> {
        let text = self.small("manifest.json")?;
        let saved: Vec<Saved> = serde_json::from_slice(&text).map_err(|error| self.fault(error))?;
        let is_called = |it: &&Saved| match name {
            Some(name) => {
                let with_tag = format!("{name}:latest");
                it.repo_tags.iter().flatten().any(|tag| tag == name || *tag == with_tag)
            }
            None => true,
        };
        let mut found = saved.iter().filter(is_called);
        let (Some(image), None) = (found.next(), found.next()) else {
            let names: Vec<&str> = saved
                .iter()
                .flat_map(|it| it.repo_tags.iter().flatten())
                .map(String::as_str)
                .collect();
            return Err(self.which(name, &names));
        };
        let config = self.small(&image.config)?;
        let digest = format!("sha256:{}", hex(&Sha256::digest(&config)));
        let layers = image.layers.iter().map(|name| {
            let size = self.size(name)?;
            Ok(Layer { name: name.clone(), blob: Descriptor::new(String::new(), size) })
        });
        Ok(Contents { digest, config, layers: layers.collect::<Result<_, PullError>>()? })
    }

    fn which(&self, name: Option<&str>, names: &[&str]) -> PullError {
        let text = match name {
            Some(name) => format!("it has no image {name}"),
            None if names.is_empty() => "it has no image".to_owned(),
            None => "it has several images".to_owned(),
        };
        let there = (!names.is_empty()).then(|| {
            format!("write the name after it and a colon; there are {}", names.join(", "))
        });
        PullError::Archive { path: self.path.clone(), text, hint: there }
    }

    fn fault(&self, text: impl ToString) -> PullError {
        PullError::archive(&self.path, text)
    }

    /// A manifest or configuration, if it is what its digest says.
    fn checked(&self, blob: &Descriptor) -> Result<Vec<u8>, PullError> {
        let bytes = self.small(&blob_name(&blob.digest))?;
        let found = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        if found == blob.digest {
            return Ok(bytes);
        }
        let what = format!("a file of {}", self.path.display());
        Err(PullError::Digest { what, expected: blob.digest.clone(), found })
    }

    fn small(&self, name: &str) -> Result<Vec<u8>, PullError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut reader = self.open_part(name)?;
            if reader.left > LARGEST {
                return Err(io::Error::other(format!("it has more than {} MiB", LARGEST >> 20)));
            }
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PullError::Archive {
                path: self.path.clone(),
                text: format!("there is no {name} in it"),
                hint: Some(
                    "oci-archive is for OCI layouts, docker-archive for what `docker save` writes"
                        .to_owned(),
                ),
            },
            _ => self.fault(format!("{name}: {error}")),
        })
    }

    fn size(&self, name: &str) -> Result<u64, PullError> {
        let opened =
            self.open_part(name).map_err(|error| self.fault(format!("{name}: {error}")))?;
        Ok(opened.left)
    }

    /// Opens a file in the archive.
    ///
    /// # Errors
    /// If it is not there.
    pub(super) fn open_part(&self, name: &str) -> io::Result<PartReader> {
        match &self.place {
            Place::Folder(folder) => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = confined::open_beneath(folder.as_fd(), Path::new(name), flags)?;
                let file = File::from(file);
                let there = file.metadata()?;
                if !there.is_file() {
                    return Err(io::Error::other("it is no file"));
                }
                Ok(PartReader { file, at: 0, left: there.len() })
            }
            Place::Tar { file, parts } => {
                let (at, size) = find(parts, name).ok_or(io::ErrorKind::NotFound)?;
                Ok(PartReader { file: file.try_clone()?, at, left: size })
            }
        }
    }
}

/// Whether there is anything where an archive is said to be.
pub(super) fn is_there(written: &Written) -> bool {
    let folder = written.beneath.as_deref().unwrap_or_default();
    Path::new(folder).join(&written.path).exists()
}

/// Reads one file of an archive. Several can be read side by side.
pub(super) struct PartReader {
    file: File,
    at: u64,
    left: u64,
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        let read = u64::try_from(count).unwrap_or(u64::MAX);
        (self.at, self.left) = (self.at + read, self.left - read.min(self.left));
        Ok(count)
    }
}

fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// Where each file of a tar file is.
fn parts(mut file: &File) -> io::Result<BTreeMap<String, Part>> {
    file.seek(SeekFrom::Start(0))?;
    let mut first = [0; 4];
    let is_packed = file.read_exact(&mut first).is_ok()
        && (first.starts_with(&[0x1f, 0x8b]) || first == [0x28, 0xb5, 0x2f, 0xfd]);
    if is_packed {
        return Err(io::Error::other("it is compressed: unpack it with gunzip or unzstd first"));
    }
    file.seek(SeekFrom::Start(0))?;
    let mut parts = BTreeMap::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        if parts.len() == MOST {
            return Err(io::Error::other(format!("it has more than {MOST} files")));
        }
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let part = match entry.header().entry_type() {
            tar::EntryType::Regular => {
                Part::File { at: entry.raw_file_position(), size: entry.size() }
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let target = entry.link_name()?.unwrap_or_default().to_string_lossy().into_owned();
                Part::Link(target)
            }
            _ => continue,
        };
        parts.insert(name, part);
    }
    if parts.is_empty() {
        return Err(io::Error::other("it is no tar file, or an empty one"));
    }
    Ok(parts)
}

/// Where a file is, by way of one link at most. It leads to another file of the archive, whatever
/// it says.
fn find(parts: &BTreeMap<String, Part>, name: &str) -> Option<(u64, u64)> {
    match parts.get(name)? {
        Part::File { at, size } => Some((*at, *size)),
        Part::Link(target) => {
            let target = target.trim_start_matches("../");
            match parts.get(target)? {
                Part::File { at, size } => Some((*at, *size)),
                Part::Link(_) => None,
            }
        }
    }
}
