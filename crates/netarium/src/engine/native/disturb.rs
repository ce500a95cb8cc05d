//! What is done to a running lab on purpose, and undone: links that go down and come up, keys that
//! change.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use netarium_core::model::Via;
use netarium_core::name::{InterfaceName, Name};
use netarium_core::object::{LinkState, Object};
use tokio::time::Instant;

use super::node::{NodeError, RunningNode};
use super::tunnels::{self, TunnelStepError};
use super::vici::rekey::{Numbers, rekey};
use super::{journal, wiring};
use crate::folder::LabFolder;
use crate::linux::netlink::NetlinkError;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DisturbError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("cannot change {interface} of {node}")]
    Link { node: Name, interface: InterfaceName, source: NetlinkError },
    #[error("cannot set the interfaces of {node} down")]
    Unplug { node: Name, source: NetlinkError },
    #[error("cannot read the journal {}", path.display())]
    Journal { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Tunnel(#[from] TunnelStepError),
}

/// Sets an interface of a node down, or up with the addresses and routes that the lab has given it:
/// the kernel forgets some of them when an interface goes down.
///
/// # Errors
/// If there is no such interface.
pub(crate) fn set_link(
    folder: &LabFolder,
    node: &Name,
    interface: &InterfaceName,
    state: LinkState,
) -> Result<(), DisturbError> {
    let mut running = RunningNode::find(folder, node)?;
    let error =
        |source| DisturbError::Link { node: node.clone(), interface: interface.clone(), source };
    let index = running.netlink().index(interface.as_str()).map_err(error)?;
    match state {
        LinkState::Down => running.netlink().set_down(index).map_err(error),
        LinkState::Up => {
            running.netlink().set_up(index).map_err(error)?;
            let path = folder.journal();
            let recorded = journal::replay(&path)
                .map_err(|source| DisturbError::Journal { path: path.clone(), source })?;
            let mut objects = recorded.iter().map(|(_, object)| object);
            objects.try_for_each(|it| restore(&mut running, it, node, interface).map_err(error))
        }
    }
}

/// Sets all interfaces of a node down that lead anywhere.
///
/// # Errors
/// If the node does not run.
pub(crate) fn unplug(folder: &LabFolder, node: &Name) -> Result<(), DisturbError> {
    let mut running = RunningNode::find(folder, node)?;
    let error = |source| DisturbError::Unplug { node: node.clone(), source };
    let links = running.netlink().links().map_err(error)?;
    for link in links.iter().filter(|link| link.name != "lo") {
        match running.netlink().set_down(link.index) {
            // One that a program of the node has made may be gone by now.
            Err(source) if source.is(libc::ENODEV) => {}
            result => result.map_err(error)?,
        }
    }
    Ok(())
}

/// Gives an interface back what belongs to it.
fn restore(
    running: &mut RunningNode,
    object: &Object,
    node: &Name,
    interface: &InterfaceName,
) -> Result<(), NetlinkError> {
    match object {
        Object::Address(it) if it.node == *node && it.interface == *interface => {
            let netlink = running.netlink();
            let index = netlink.index(interface.as_str())?;
            match netlink.add_address(index, it.address) {
                Err(error) if error.is(libc::EEXIST) => Ok(()),
                result => result,
            }
        }
        Object::Route(it) if it.node == *node => match &it.via {
            Via::Gateway { interface: by, .. } | Via::Interface(by) if by == interface => {
                wiring::set_route(running, it)
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Gives a tunnel new keys, asked for by `node`.
///
/// # Errors
/// If its daemon refuses, or it takes longer than `patience`.
pub(crate) fn rekey_tunnel(
    folder: &LabFolder,
    node: &Name,
    tunnel: &Name,
    patience: Duration,
) -> Result<[Numbers; 2], DisturbError> {
    let root = RunningNode::find(folder, node)?.root_path();
    let numbers = tunnels::runtime()?
        .block_on(async { rekey(&root, tunnel, Instant::now() + patience).await });
    Ok(numbers.map_err(TunnelStepError::from)?)
}
