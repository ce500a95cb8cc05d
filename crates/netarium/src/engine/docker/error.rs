//! Why an engine is no use, and what to try.

use std::io;

use netarium_core::name::Name;

use super::client::Place;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// It is of no use to an ordinary user.
    #[error("the containers of the engine at {0} belong to root, and this is another user")]
    NotRoot(Place),
    /// Its address is of no kind that is known.
    #[error("{0} is no address of an engine")]
    Address(Place),
    /// Nobody answers.
    #[error("no engine answers at {place}")]
    Silent {
        /// Where it should be.
        place: Place,
        /// In which way.
        silence: Silence,
        /// What was seen.
        source: Cause,
    },
    /// Somebody is there and says nothing.
    #[error("the engine at {place} has not answered for {seconds} s")]
    Late {
        /// Where it is.
        place: Place,
        /// How long was waited.
        seconds: u64,
    },
    /// Somebody answers in another language.
    #[error("what answers at {place} is not understood")]
    Nonsense {
        /// Where it is.
        place: Place,
        /// What was seen.
        source: Cause,
    },
    /// Somebody answers who is no engine.
    #[error("what answers at {place} is no Docker Engine: its API is {api:?}")]
    NoEngine {
        /// Where it is.
        place: Place,
        /// What it calls its API.
        api: String,
    },
    /// It is from before what is needed.
    #[error("the engine at {place} is too old: version {version}, API {api}, and 1.41 is needed")]
    Old {
        /// Where it is.
        place: Place,
        /// Its version.
        version: String,
        /// That of its API.
        api: String,
    },
    /// It says no.
    #[error("the engine at {place} cannot {what}")]
    Refused {
        /// Where it is.
        place: Place,
        /// What it was asked.
        what: String,
        /// What it said.
        source: Cause,
    },
    /// The name of a container belongs to somebody else.
    #[error("the engine at {place} has a container {name} already, which is not of this lab{}", whose(.owner))]
    Taken {
        /// Where it is.
        place: Place,
        /// The container.
        name: String,
        /// The data folder of the lab that it belongs to, if it belongs to one.
        owner: Option<String>,
    },
    /// A container does not begin as it should.
    #[error("the first process of {node} has ended before it began{}", quoted(.said))]
    Ended {
        /// The node.
        node: Name,
        /// What it wrote last.
        said: String,
    },
    /// A container runs where it cannot be reached.
    #[error("the engine at {place} runs its containers where this program cannot reach them")]
    Elsewhere {
        /// Where it is.
        place: Place,
    },
    /// The network namespace of the engine cannot be entered.
    #[error("cannot enter the network of the engine at {place}")]
    Namespace {
        /// Where it is.
        place: Place,
        /// Why.
        source: io::Error,
    },
    /// The parent of a macvlan network cannot be made or removed there.
    #[error("cannot change the links of the engine at {place}")]
    Parent {
        /// Where it is.
        place: Place,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of the lab.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image cannot be given to it.
    #[error("cannot pack image {image} for the engine")]
    Pack {
        /// The image.
        image: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What the client of the engine saw.
#[derive(Debug, thiserror::Error)]
#[error("{}", words(.0))]
pub struct Cause(Box<bollard::errors::Error>);

impl From<bollard::errors::Error> for Cause {
    fn from(error: bollard::errors::Error) -> Self {
        Self(Box::new(error))
    }
}

/// What the engine said in its own words; else the last cause that the client knows.
fn words(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, message } => {
            format!("it says: {} ({status_code})", message.trim())
        }
        error => {
            let mut last: &dyn std::error::Error = error;
            while let Some(cause) = last.source() {
                last = cause;
            }
            last.to_string()
        }
    }
}

/// In which way nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// There is no socket.
    Missing,
    /// Nobody listens.
    Refused,
    /// Not to this user.
    Forbidden,
    /// Something comes, and it is no answer.
    Nonsense,
}

impl Silence {
    pub(super) fn of(error: &bollard::errors::Error) -> Self {
        if matches!(error, bollard::errors::Error::SocketNotFoundError(_)) {
            return Self::Missing;
        }
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(cause) = next {
            match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
                Some(io::ErrorKind::NotFound) => return Self::Missing,
                Some(io::ErrorKind::ConnectionRefused) => return Self::Refused,
                Some(io::ErrorKind::PermissionDenied) => return Self::Forbidden,
                _ => next = cause.source(),
            }
        }
        Self::Nonsense
    }
}

fn whose(owner: &Option<String>) -> String {
    owner.as_ref().map_or_else(String::new, |owner| format!(" but of one in {owner}"))
}

fn quoted(said: &str) -> String {
    if said.trim().is_empty() { String::new() } else { format!(":\n{}", said.trim()) }
}

const OTHER_ENGINE: &str = "or use the engine that needs nobody: --engine native";

impl EngineError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotRoot(_) => {
                "run it with sudo, or use the engine that needs no root: --engine native".to_owned()
            }
            Self::Address(_) => {
                "DOCKER_HOST is unix:///var/run/docker.sock, for example; an engine on another \
                 machine (ssh://) cannot be wired from here"
                    .to_owned()
            }
            Self::Silent { silence, .. } => match silence {
                Silence::Missing => format!(
                    "install Docker (apt install docker.io), or say where it is with DOCKER_HOST, \
                     {OTHER_ENGINE}"
                ),
                Silence::Refused => format!(
                    "start it (systemctl start docker), or say where it is with DOCKER_HOST, \
                     {OTHER_ENGINE}"
                ),
                _ => format!("look at its log (journalctl -u docker), {OTHER_ENGINE}"),
            },
            Self::Late { .. } => {
                format!("look at its log (journalctl -u docker) or restart it, {OTHER_ENGINE}")
            }
            Self::Nonsense { .. } | Self::NoEngine { .. } => {
                format!("DOCKER_HOST must name the socket of Docker or Podman, {OTHER_ENGINE}")
            }
            Self::Old { .. } => {
                format!("Docker Engine 20.10 and later will do, {OTHER_ENGINE}")
            }
            Self::Refused { source, .. } if source.is_about_a_mount() => ELSEWHERE.to_owned(),
            Self::Taken { owner: Some(_), .. } => {
                "take that lab down (with its NETARIUM_DATA), or give this one another name"
                    .to_owned()
            }
            Self::Taken { name, .. } => {
                format!("remove it (docker rm -f {name}), or rename the lab")
            }
            Self::Elsewhere { .. } => ELSEWHERE.to_owned(),
            Self::Namespace { .. } => ELSEWHERE.to_owned(),
            Self::Parent { .. } => return None,
            Self::Refused { .. } | Self::Ended { .. } | Self::Write { .. } | Self::Pack { .. } => {
                return None;
            }
        })
    }
}

const ELSEWHERE: &str = "Netarium wires containers from outside, so the engine must be on this \
                         machine: not in a virtual machine (Docker Desktop), not across a network; \
                         run netarium where the engine runs, or use --engine native";

impl Cause {
    /// Whether the engine does not see a file that is here.
    fn is_about_a_mount(&self) -> bool {
        self.to_string().contains("bind source path does not exist")
    }
}
