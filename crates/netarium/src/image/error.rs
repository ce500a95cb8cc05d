//! What can go wrong with images, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::image::progress::Cause;
use crate::image::pull::PullError;
use crate::linux::binfmt::BinfmtError;
use crate::linux::program::ProgramError;
use crate::linux::stage::StageError;

/// Why there is no image, or why it is not gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A file or folder of the store cannot be read or written.
    #[error("cannot use {}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The note that is kept with an image is not understood.
    #[error("cannot read what {} says about its image", path.display())]
    Record {
        /// The note.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// A word of a recipe is no Debian package or release.
    #[error("cannot build image {image}: `{word}` is no name of a Debian package or release")]
    Word {
        /// The image.
        image: String,
        /// The word.
        word: String,
    },
    /// A program that a build needs is missing.
    #[error("cannot build image {image}")]
    Program {
        /// The image.
        image: String,
        /// Which program.
        source: ProgramError,
    },
    /// It cannot be built for another platform than that of this machine.
    #[error("cannot build image {image}: {source}")]
    Foreign {
        /// The image.
        image: String,
        /// Why.
        source: BinfmtError,
    },
    /// The process that builds or removes images failed.
    #[error("cannot work on image {image}")]
    Stage {
        /// The image.
        image: String,
        /// What happened to it.
        source: StageError,
    },
    /// mmdebstrap failed.
    #[error("cannot build image {image} in {}: {}", folder.display(), lines.join("\n"))]
    Build {
        /// The image.
        image: String,
        /// The store.
        folder: PathBuf,
        /// What mmdebstrap, apt and dpkg said.
        lines: Vec<String>,
        /// What to do about it.
        hint: Option<String>,
    },
    /// An image of others is not to be had.
    #[error("cannot pull {image}")]
    Pull {
        /// The image.
        image: String,
        /// Why.
        source: Box<PullError>,
    },
    /// The image is not in the store.
    #[error("cannot find image {image} in {}", folder.display())]
    Missing {
        /// The image.
        image: String,
        /// The store.
        folder: PathBuf,
    },
    /// Several images have that name, or digests that begin that way.
    #[error("cannot tell which image {image} is: {}", digests.join(", "))]
    Ambiguous {
        /// The image.
        image: String,
        /// Those that it could be.
        digests: Vec<String>,
    },
    /// It is not there, and is not to be pulled.
    #[error("image {0} is not there, and nothing is to be pulled")]
    NotPulled(String),
    /// A lab that is up uses the image.
    #[error("cannot replace or remove image {image} ({digest}): a lab uses it")]
    InUse {
        /// The image.
        image: String,
        /// Its digest.
        digest: String,
    },
}

impl ImageError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Folder { path, source } => hint_of_folder(path, source),
            Self::Record { path, .. } => {
                path.parent().map(|folder| format!("remove {}", folder.display()))
            }
            Self::Word { .. } => Some("see https://packages.debian.org".to_owned()),
            Self::Program { source, .. } => source.hint(),
            Self::Foreign { source, .. } => source.hint(),
            Self::Stage { source, .. } => source.hint(),
            Self::Build { hint, .. } => hint.clone(),
            Self::Pull { source, .. } => source.hint(),
            Self::NotPulled(image) => Some(format!("`netarium image pull {image}` gets it")),
            Self::Missing { .. } | Self::Ambiguous { .. } => {
                Some("`netarium image ls` shows the images".to_owned())
            }
            Self::InUse { .. } => {
                Some("take the lab down first; `netarium ls` shows what is up".to_owned())
            }
        }
    }

    pub(crate) fn folder(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Folder { path: path.to_owned(), source }
    }
}

/// What to do about a build that failed for `cause`, with its store in `folder`.
pub(crate) fn hint_of_cause(cause: Cause, folder: &Path) -> Option<String> {
    match cause {
        Cause::DiskFull => Some(hint_of_full_disk(folder)),
        Cause::Network => Some(
            "the Debian mirror was not reached: look at the network, or set http_proxy".to_owned(),
        ),
        Cause::Package => Some("look for its name at https://packages.debian.org".to_owned()),
        Cause::Other => None,
    }
}

fn hint_of_folder(path: &Path, source: &io::Error) -> Option<String> {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(hint_of_full_disk(path)),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("set NETARIUM_DATA to a folder that you can write".to_owned())
        }
        _ => None,
    }
}

fn hint_of_full_disk(path: &Path) -> String {
    format!(
        "the disk of {} is full: free some space (`netarium image rm`), or set NETARIUM_DATA to a \
         folder on another disk",
        path.display()
    )
}
