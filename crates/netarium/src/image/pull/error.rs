//! Why an image of others is not to be had, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use netarium_core::image::{ConfigError, Platform};

use crate::linux::stage::StageError;

/// Why an image of others is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The registry does not have it.
    #[error("{registry} has no image {name}")]
    NotFound {
        /// The registry.
        registry: String,
        /// What was asked for.
        name: String,
    },
    /// The registry gives it to others only.
    #[error("{registry} does not give it to {}", whom(tried))]
    Unauthorised {
        /// The registry.
        registry: String,
        /// Which credentials were tried, by where they come from.
        tried: Option<String>,
        /// Where credentials were looked for.
        looked: Vec<String>,
    },
    /// There are images for other machines only.
    #[error("there is no image for {wanted}, only for {}", list(there))]
    Platform {
        /// What was wanted.
        wanted: Platform,
        /// What there is.
        there: Vec<Platform>,
    },
    /// What came is not what was asked for.
    #[error("{what} is not what was asked for: it has the digest {found}, not {expected}")]
    Digest {
        /// What it is.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// More or less came than was said.
    #[error("{what} has {found} bytes, not {expected} as the manifest says")]
    Size {
        /// What it is.
        what: String,
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// The registry cannot be reached, or the connection breaks again and again.
    #[error("cannot reach {registry}: {text}")]
    Connection {
        /// The registry.
        registry: String,
        /// What happened.
        text: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
    /// The registry refuses for another reason.
    #[error("{registry} answers {text}")]
    Registry {
        /// The registry.
        registry: String,
        /// What it said.
        text: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
    /// The manifest is not understood.
    #[error("the manifest of the image is not understood: {text}")]
    Manifest {
        /// Why.
        text: String,
    },
    /// What the image says of itself is not understood.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A layer is damaged, or tries what no layer may.
    #[error("cannot unpack layer {digest}: {text}")]
    Layer {
        /// The layer.
        digest: String,
        /// Why.
        text: String,
        /// Whether it is the disk that is full.
        is_disk_full: bool,
    },
    /// An archive is no image, or not the one that is wanted.
    #[error("cannot use {}: {text}", path.display())]
    Archive {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        text: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Docker does not give it.
    #[error("cannot take it from Docker at {socket}: {text}")]
    Daemon {
        /// Where Docker was looked for.
        socket: String,
        /// What it said.
        text: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The file that says how to reach registries is no use.
    #[error("cannot use {}: {text}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// Why.
        text: String,
    },
    /// A file with credentials, or a program that has them, is no use.
    #[error("cannot use the credentials of {place}: {text}")]
    Credentials {
        /// Where they are.
        place: String,
        /// Why.
        text: String,
    },
    /// The process that unpacks failed.
    #[error("cannot unpack it")]
    Stage(#[source] StageError),
    /// A pipe to the process that unpacks cannot be made.
    #[error("cannot hand it over to be unpacked")]
    Pipe(#[source] io::Error),
}

impl PullError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => {
                Some("look for its name and tag; a name without a tag means latest".to_owned())
            }
            Self::Unauthorised { looked, .. } => Some(format!(
                "`docker login` writes credentials; they are looked for in {}. Registries also \
                 answer so if there is no such image",
                looked.join(", ")
            )),
            Self::Platform { there, .. } => {
                there.first().map(|it| format!("ask for one that there is: --platform {it}"))
            }
            Self::Digest { .. } | Self::Size { .. } => Some(
                "nothing of it is kept; if it happens again, the registry or something on the way \
                 to it changes images"
                    .to_owned(),
            ),
            Self::Connection { hint, .. } | Self::Registry { hint, .. } => {
                hint.map(str::to_owned)
            }
            Self::Layer { is_disk_full: true, .. } => Some(
                "free some space (`netarium image prune`), or set NETARIUM_DATA to a folder on \
                 another disk"
                    .to_owned(),
            ),
            Self::Archive { hint, .. } | Self::Daemon { hint, .. } => hint.clone(),
            Self::Settings { .. } => Some(
                r#"it is like {"plain-http": ["localhost:5000"], "mirrors": {"docker.io": ["mirror.example.org"]}}"#
                    .to_owned(),
            ),
            Self::Stage(source) => source.hint(),
            _ => None,
        }
    }

    pub(super) fn archive(path: &Path, text: impl ToString) -> Self {
        Self::Archive { path: path.to_owned(), text: text.to_string(), hint: None }
    }
}

fn whom(tried: &Option<String>) -> String {
    match tried {
        Some(place) => format!("the user of {place}"),
        None => "everybody, and there are no credentials for it".to_owned(),
    }
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "machines that it does not name".to_owned();
    }
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}
