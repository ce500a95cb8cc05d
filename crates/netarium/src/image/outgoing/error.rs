//! What can go wrong when an image is to leave this machine.

use std::io;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::image::{ImageError, PullError};
use crate::linux::stage::StageError;

/// Why an image has not left this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    /// The store does not have it, or cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It was not built for that platform.
    #[error("image {image} is not built for {platform}")]
    Platform {
        /// The image.
        image: String,
        /// The platform.
        platform: String,
    },
    /// The process that packs failed.
    #[error("cannot pack image {image}")]
    Stage {
        /// The image.
        image: String,
        /// What happened to it.
        source: StageError,
    },
    /// Its files cannot be packed.
    #[error("cannot pack image {image} for {platform}")]
    Pack {
        /// The image.
        image: String,
        /// The platform.
        platform: String,
        /// Why.
        source: Failure,
    },
    /// A folder that goes on top of it cannot be packed.
    #[error("cannot pack {}", folder.display())]
    With {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The name has a digest, which only what is there already can have.
    #[error("cannot push {name}: a digest is no name to push to")]
    Digest {
        /// The name.
        name: String,
    },
    /// The registry does not take it.
    #[error("cannot push {name}")]
    Push {
        /// The name.
        name: String,
        /// Why.
        source: PullError,
    },
}

impl OutgoingError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Image(error) => error.hint(),
            Self::Platform { image, platform } => {
                Some(format!("netarium image build {image} --platform {platform}"))
            }
            Self::Stage { source, .. } => source.hint(),
            Self::Pack { source, .. } => source.hint.clone(),
            Self::Digest { .. } => {
                Some("name it with a tag: registry.example.org/name:tag".to_owned())
            }
            Self::Push { source, .. } => source.hint(),
            Self::With { .. } | Self::Write { .. } => None,
        }
    }
}
