//! The volumes of nodes that are to be made: what has to be opened before the lab is entered.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use netarium_core::model::VolumeSource;
use netarium_core::name::Name;
use netarium_core::object::Object;
use netarium_core::plan::Step;

use super::worker::Task;
use crate::linux::idmap::IdMap;
use crate::linux::process::Process;
use crate::linux::volume::{VolumeError, open_mapped};

/// Mounts that are nowhere yet, by node and place in it.
pub(crate) type Trees = BTreeMap<(Name, String), OwnedFd>;

/// Why a volume cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The lab has just ended.
    #[error("cannot look at the user namespace of the lab")]
    Namespace(#[source] io::Error),
    /// A folder of the host.
    #[error("cannot give {node} the volume {target}")]
    Folder {
        /// The node.
        node: Name,
        /// Where it was to be.
        target: String,
        /// Why.
        source: VolumeError,
    },
}

impl OpenError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Namespace(_) => None,
            Self::Folder { source, .. } => source.hint(),
        }
    }
}

/// Opens the folders of the host that new nodes share, where root of the lab could not: those of
/// the host's root.
///
/// # Errors
/// If one cannot be shared.
pub(crate) fn open(task: &Task, map: &IdMap, keeper: Process) -> Result<Trees, OpenError> {
    let mut trees = Trees::new();
    let Task::Apply { steps, .. } = task else { return Ok(trees) };
    if !map.is_of_root() {
        return Ok(trees);
    }
    let mut namespace = None;
    for step in steps {
        let Step::Create(Object::Node(node)) = step else { continue };
        for volume in &node.volumes {
            let VolumeSource::Host { beneath, path } = &volume.source else { continue };
            let lab = match namespace.take() {
                Some(open) => open,
                None => File::open(format!("/proc/{}/ns/user", keeper.pid))
                    .map_err(OpenError::Namespace)?,
            };
            let beneath = beneath.as_deref().map(Path::new);
            let root = (map.root_uid(), map.root_gid());
            let tree = open_mapped(beneath, Path::new(path), volume.access, lab.as_fd(), root);
            let tree = tree.map_err(|source| OpenError::Folder {
                node: node.name.clone(),
                target: volume.target.clone(),
                source,
            })?;
            trees.insert((node.name.clone(), volume.target.clone()), tree);
            namespace = Some(lab);
        }
    }
    Ok(trees)
}
