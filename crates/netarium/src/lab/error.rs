//! Why something could not be done with a lab, and what to do about it.

use std::io;
use std::path::PathBuf;

use netarium_core::desired::Refusal;
use netarium_core::engine_network::Limit;
use netarium_core::model::Engine;
use netarium_core::name::Name;

use crate::engine::docker::build::BuildError;
use crate::engine::docker::error::EngineError;
use crate::engine::native::sweep::SweepError;
use crate::failure::Failure;
use crate::features::FeaturesError;
use crate::image::ImageError;
use crate::lab_file::LabFileError;
use crate::linux::cgroup::CgroupError;
use crate::linux::idmap::IdMapError;
use crate::linux::stage::StageError;

/// Why a lab was not changed, or it cannot be said how it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The machine lacks something that the lab cannot do without.
    #[error("this machine cannot run the lab")]
    Refused(Vec<Refusal>),
    /// A program that loads firewalls is missing.
    #[error("cannot make the lab's firewalls")]
    Program(#[source] crate::linux::program::ProgramError),
    /// A program that the way out needs is missing.
    #[error("cannot make the way out or in of {}", list(nodes))]
    WayOut {
        /// The nodes that have one.
        nodes: Vec<Name>,
        /// What is missing.
        source: crate::linux::program::ProgramError,
    },
    /// The host's network cannot be looked at.
    #[error("cannot find out how this host is connected")]
    Outside(#[source] crate::outside::OutsideError),
    /// Another engine does not do what it is asked.
    #[error(transparent)]
    Engine(Box<EngineError>),
    /// The lab is up on an engine that is not the one asked for.
    #[error("lab {lab} is up on the engine {is}, and is to be brought up on {wanted}")]
    OtherEngine {
        /// The lab.
        lab: Name,
        /// The engine it is up on.
        is: Engine,
        /// The engine that was asked for.
        wanted: Engine,
    },
    /// The lab asks for networks of an engine that has none.
    #[error(
        "the segments of lab {0} are to be networks of its engine, and the native engine has none"
    )]
    NoNetworks(Name),
    /// The engine cannot make networks like these.
    #[error("the engine cannot make the networks of the lab")]
    Limits(Vec<Limit>),
    /// Containers are on a network that is to be changed.
    #[error("cannot {step}: the networks of an engine cannot be changed while lab {lab} is up")]
    FixedNetwork {
        /// The lab.
        lab: Name,
        /// What was to be done.
        step: String,
    },
    /// An image of others is not here, so that it is not known what it runs.
    #[error("image {0} is not on this machine, and only it says what its nodes run")]
    NotPulled(String),
    /// An image is not to be had.
    #[error("cannot make image {image} ready")]
    Image {
        /// The image.
        image: String,
        /// Why.
        source: ImageError,
    },
    /// An image cannot be built by Docker.
    #[error("cannot build image {image}")]
    Build {
        /// The image.
        image: String,
        /// Why.
        source: BuildError,
    },
    /// Something in the lab's folder.
    #[error("cannot {what} {}", path.display())]
    Folder {
        /// What was tried.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel could not be asked what it can do.
    #[error("cannot find out what this kernel can do")]
    Features(#[source] FeaturesError),
    /// It is not known whose ids the lab has.
    #[error("cannot find out which ids a lab may have")]
    Ids(#[source] IdMapError),
    /// No process of ours.
    #[error("cannot work inside the lab")]
    Stage(#[source] StageError),
    /// A step failed.
    #[error(transparent)]
    Step(Failure),
    /// A node cannot be started, because another is not as it waits for.
    #[error("cannot start {node}, which comes after {other}")]
    Unmet {
        /// The node.
        node: Name,
        /// The other.
        other: Name,
        /// Why not.
        #[source]
        failure: Box<Failure>,
    },
    /// The lab's own copy of its file is damaged.
    #[error("the lab's copy of its file is damaged")]
    Copy(#[source] LabFileError),
    /// A process of the lab could not be ended.
    #[error("cannot end the lab's processes")]
    Kill(#[source] io::Error),
    /// Something is left on the disk.
    #[error("the lab is down, but something is left on the disk")]
    Sweep(#[source] SweepError),
    /// Limits of nodes.
    #[error("cannot limit what nodes use")]
    Limit(#[from] CgroupError),
    /// Nodes use them.
    #[error("the volumes of lab {0} are in use: it is up")]
    VolumesInUse(Name),
    /// A node has no certificate.
    #[error("{node} has no certificate")]
    NoCertificate {
        /// The node.
        node: Name,
        /// Those that have one.
        have: Vec<String>,
    },
    /// It is not up.
    #[error("lab {0} is not up")]
    NotUp(Name),
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

impl LabError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(_) => {
                Some("`netarium doctor` tells what this machine has and lacks".to_owned())
            }
            Self::Engine(source) => source.hint(),
            Self::NoNetworks(_) => {
                Some("say --engine docker, or `network: own` in the lab file".to_owned())
            }
            Self::NotPulled(image) => Some(format!("netarium image pull {image}")),
            Self::Limits(limits) => limits.first().map(|limit| limit.hint.clone()),
            Self::FixedNetwork { lab, .. } => Some(format!(
                "take it down first (netarium down {lab}); `network: own` has no such limit"
            )),
            Self::OtherEngine { lab, is, .. } => {
                Some(format!("take it down first (netarium down {lab}), or say --engine {is}"))
            }
            Self::Program(source) | Self::WayOut { source, .. } => source.hint(),
            Self::Image { source, .. } => source.hint(),
            Self::Build { source, .. } => source.hint(),
            Self::Folder { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("set NETARIUM_DATA to a folder that you can write".to_owned())
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(
                    "the disk is full: free some space, or set NETARIUM_DATA to a folder on \
                     another disk"
                        .to_owned(),
                ),
                _ => None,
            },
            Self::Ids(source) => source.hint(),
            Self::Stage(source) => source.hint(),
            Self::Step(failure) => failure.hint.clone(),
            Self::NoCertificate { have, .. } if have.is_empty() => {
                Some("only ends of tunnels have one".to_owned())
            }
            Self::NoCertificate { have, .. } => Some(format!("{} have one", have.join(", "))),
            Self::NotUp(_) => Some("`netarium up` brings it up".to_owned()),
            _ => None,
        }
    }
}
