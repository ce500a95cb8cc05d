//! What a worker does with a container before it is wired, and after the engine has started it again:
//! what the engine lays over files of the node goes, the settings of its network become writable as they are
//! in a node of ours, and its volumes are mounted.
//!
//! No process of the node runs yet, so that nobody has seen it otherwise.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use netarium_core::control::GATE_FOLDER;
use netarium_core::model::{Nesting, VolumeSource};
use netarium_core::name::Name;
use netarium_core::object::{self, Object};

use super::gate;
use crate::engine::native::journal;
use crate::engine::native::node::recorded;
use crate::engine::native::worker::write_record;
use crate::folder::LabFolder;
use crate::linux::idmap::{IdMap, IdMapError};
use crate::linux::mount::{self, MountError};
use crate::linux::namespace::MountNamespace;
use crate::linux::volume::{Origin, Volume, VolumeError, open_for_root, open_kept};

/// What an engine lays over files of a node: those are the lab's own. The folder of the gate is of use
/// to nobody in the node.
const LAID_OVER: &[&str] = &[GATE_FOLDER, "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// Why a container cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error("cannot enter the container's mounts")]
    Enter(#[source] io::Error),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("cannot give {node} the volume {target}")]
    Volume { node: Name, target: String, source: VolumeError },
    #[error("cannot mount {volume}")]
    MountVolume { volume: String, source: io::Error },
    #[error(transparent)]
    Ids(#[from] IdMapError),
    #[error("cannot make {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot read the journal {}", path.display())]
    Journal { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Record { path: PathBuf, source: io::Error },
}

impl PrepareError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Volume { source, .. } => source.hint(),
            Self::Ids(source) => source.hint(),
            _ => None,
        }
    }
}

type Result<T> = std::result::Result<T, PrepareError>;

/// Puts the new first processes of containers that the engine has started again on record.
///
/// # Errors
/// If a record cannot be written.
pub(crate) fn adopt(folder: &LabFolder) -> Result<()> {
    for entry in fs::read_dir(folder.nodes()).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().and_then(|it| Name::new(it).ok()) else {
            continue;
        };
        let node = folder.node(&name);
        // What cannot be read is told by whoever looks at the node.
        if !matches!(recorded(&node), Ok(None)) {
            continue;
        }
        let Ok(Some(process)) = gate::peer(&node.control()) else { continue };
        // It tells about the namespace of the last one.
        remove_file(&node.firewall())?;
        let path = node.process();
        write_record(&path, &process).map_err(|source| PrepareError::Record { path, source })?;
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PrepareError::Record { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// The nodes of a lab as they were made.
///
/// # Errors
/// If the journal cannot be read.
pub(crate) fn made(folder: &LabFolder) -> Result<BTreeMap<Name, object::Node>> {
    let path = folder.journal();
    let recorded =
        journal::replay(&path).map_err(|source| PrepareError::Journal { path, source })?;
    let node = |object: &Object| match object {
        Object::Node(node) => Some((node.name.clone(), node.clone())),
        _ => None,
    };
    Ok(recorded.iter().filter_map(|(_, object)| node(object)).collect())
}

/// Prepares the container of a node, whose first process has this number. `volumes` is the folder of
/// those that the lab keeps.
///
/// # Errors
/// If the container has ended, or a volume cannot be had.
pub(crate) fn prepare(pid: u32, node: &object::Node, volumes: &Path) -> Result<()> {
    let volumes = open(node, volumes)?;
    let namespace = MountNamespace::of(pid).map_err(PrepareError::Enter)?;
    let visit = || {
        for path in LAID_OVER {
            mount::let_go(Path::new(path))?;
        }
        mount::open_settings()?;
        for volume in &volumes {
            volume.mount(Path::new("/")).map_err(|source| PrepareError::MountVolume {
                volume: volume.to_string(),
                source,
            })?;
        }
        if node.nesting == Nesting::Allowed {
            mount::mount_uncovered()?;
        }
        Ok(())
    };
    namespace.enter(visit).map_err(PrepareError::Enter)?
}

/// Opens the volumes of a node, in the order of their targets.
fn open(node: &object::Node, kept: &Path) -> Result<Vec<Volume>> {
    let mut volumes = Vec::new();
    for volume in &node.volumes {
        let error = |source| PrepareError::Volume {
            node: node.name.clone(),
            target: volume.target.clone(),
            source,
        };
        let origin = match &volume.source {
            VolumeSource::Host { beneath, path } => {
                let beneath = beneath.as_deref().map(Path::new);
                Origin::Tree(open_for_root(beneath, Path::new(path), volume.access).map_err(error)?)
            }
            VolumeSource::Named(name) => {
                let map = IdMap::of_caller()?;
                let path = kept.join(name.as_str());
                make(&path, &map)
                    .map_err(|source| PrepareError::Folder { path: path.clone(), source })?;
                let root = (map.root_uid(), map.root_gid());
                Origin::Tree(open_kept(&path, root, map.count()).map_err(error)?)
            }
            VolumeSource::Memory { size, mode } => Origin::Memory { size: *size, mode: *mode },
        };
        let target = PathBuf::from(&volume.target);
        volumes.push(Volume { origin, target, access: volume.access });
    }
    Ok(volumes)
}

/// Makes the folder of a volume that has not been used before.
fn make(path: &Path, map: &IdMap) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => std::os::unix::fs::chown(path, Some(map.root_uid()), Some(map.root_gid())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
