//! A node as the worker knows it: its first process, and what is reached through it.

use std::fs;
use std::io;
use std::path::PathBuf;

use netarium_core::name::Name;

use super::control::{Control, ControlError};
use super::files::NodeRoot;
use crate::folder::{LabFolder, NodeFolder};
use crate::linux::namespace::NetworkNamespace;
use crate::linux::netlink::{Netlink, NetlinkError};
use crate::linux::process::Process;

/// A node whose first process is alive, or waits to become that.
pub(crate) struct RunningNode {
    pub(crate) folder: NodeFolder,
    pub(crate) process: Process,
    pub(crate) namespace: NetworkNamespace,
    netlink: Netlink,
}

/// Why a node cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// Its record cannot be read.
    #[error("cannot read {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its first process has ended.
    #[error("node {0} does not run: its first process has ended")]
    Ended(Name),
    /// Its network namespace cannot be entered.
    #[error("cannot enter the network namespace of {node}")]
    Enter {
        /// The node.
        node: Name,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not talk about its network.
    #[error("cannot ask about the network of {node}")]
    Netlink {
        /// The node.
        node: Name,
        /// Why.
        source: NetlinkError,
    },
}

/// The first process of a node as it is on record; `None` if there is none on record or it has
/// ended.
///
/// # Errors
/// If the record cannot be read.
pub(crate) fn recorded(folder: &NodeFolder) -> Result<Option<Process>, NodeError> {
    let path = folder.process();
    let error = |source| NodeError::Record { path: path.clone(), source };
    match fs::read(&path) {
        Ok(bytes) => {
            let process: Process =
                serde_json::from_slice(&bytes).map_err(|source| error(source.into()))?;
            Ok(Some(process).filter(|process| process.is_alive()))
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(error(source)),
    }
}

impl RunningNode {
    /// Finds a node that was created before.
    ///
    /// # Errors
    /// If it does not run.
    pub(crate) fn find(lab: &LabFolder, node: &Name) -> Result<Self, NodeError> {
        let folder = lab.node(node);
        let process = recorded(&folder)?.ok_or_else(|| NodeError::Ended(node.clone()))?;
        Self::open(folder, process, node)
    }

    /// A node whose first process, or the process that waits to become that, is `process`.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn open(
        folder: NodeFolder,
        process: Process,
        node: &Name,
    ) -> Result<Self, NodeError> {
        let enter = |source: io::Error| match source.kind() {
            // A process that is about to end has no namespaces any more.
            io::ErrorKind::NotFound => NodeError::Ended(node.clone()),
            _ => NodeError::Enter { node: node.clone(), source },
        };
        let namespace = NetworkNamespace::of(process.pid).map_err(enter)?;
        let netlink = namespace
            .enter(Netlink::open)
            .map_err(enter)?
            .map_err(|source| NodeError::Netlink { node: node.clone(), source })?;
        Ok(Self { folder, process, namespace, netlink })
    }

    /// The conversation with the kernel about its network.
    pub(crate) fn netlink(&mut self) -> &mut Netlink {
        &mut self.netlink
    }

    /// Its root folder.
    ///
    /// # Errors
    /// If its first process has ended.
    pub(crate) fn root(&self) -> io::Result<NodeRoot> {
        NodeRoot::of(self.process.pid)
    }

    /// The path of its root folder as the host sees it.
    pub(crate) fn root_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.process.pid))
    }

    /// A conversation with its first process.
    ///
    /// # Errors
    /// If that does not listen.
    pub(crate) fn control(&self) -> Result<Control, ControlError> {
        Control::connect(&self.folder.control())
    }
}
