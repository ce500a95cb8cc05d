//! Unpacks a layer of an image into an empty folder, as root of the owner's namespace.
//!
//! A layer may come from anywhere: no entry is written outside of the folder, whatever its name
//! and whatever links there are, no device is made, and there is an end to what is unpacked. What a
//! layer hides of those below is written as overlayfs reads it. Ids are those of the namespace.
//!
//! Sources: OCI image specification, layer.md; overlayfs.rst of the kernel; tar(5).

mod attributes;
mod entries;
mod settle;
mod stream;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use entries::unpack;
pub(crate) use settle::settle;
pub(crate) use stream::hex;

/// The most that a layer may have when it is unpacked, in bytes.
pub(crate) const LARGEST: u64 = 64 << 30;

/// The most entries of a layer.
const MOST_ENTRIES: u64 = 4_000_000;

/// What is to be unpacked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Manner {
    /// Whether there are layers below, of which this one can hide something.
    pub(crate) is_lowest: bool,
    /// How many ids there are. What belongs to others belongs to nobody.
    pub(crate) ids: u32,
}

/// A layer that was unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unpacked {
    /// The digest of the layer as it is decompressed.
    pub(crate) diff_id: String,
    /// How much of the disk it takes, about.
    pub(crate) bytes: u64,
    /// Whether it hides everything below it.
    pub(crate) hides_all: bool,
    /// What could not be kept.
    pub(crate) lost: Lost,
    /// Folders that are there because something is in them, and that no entry describes.
    pub(crate) undescribed: BTreeSet<PathBuf>,
    /// Hard links to what is not in this layer, and so must be in one below.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
}

/// What of a layer could not be kept, by how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lost {
    /// Devices, which no namespace may make.
    #[serde(default)]
    pub(crate) devices: u64,
    /// Files of users whom the namespace does not know.
    #[serde(default)]
    pub(crate) owners: u64,
    /// Extended attributes that the namespace or the file system does not take.
    #[serde(default)]
    pub(crate) attributes: u64,
}

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// It is damaged, or too large.
    #[error("the layer cannot be read: {0}")]
    Stream(#[source] io::Error),
    /// It tries what no layer may.
    #[error("{} {what}", path.display())]
    Refused { path: PathBuf, what: &'static str },
    /// Something cannot be made.
    #[error("cannot make {}: {source}", path.display())]
    Make {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    /// What the kernel said, if it was the kernel that refused.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Make { source, .. } => source.raw_os_error(),
            Self::Stream(_) | Self::Refused { .. } => None,
        }
    }
}

fn making(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    let path = path.to_owned();
    move |source| UnpackError::Make { path, source }
}
