//! Looking closer at nodes than `observe` does, for checks: all links that a node has, and what a
//! daemon says of its tunnels. Nothing is judged or changed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;

use netarium_core::ipsec::{CHARON, Sa};
use netarium_core::name::{InterfaceName, Name};
use netarium_core::object::Encryption;
use netarium_core::verdict::Handshake;
use serde::{Deserialize, Serialize};

use super::node::RunningNode;
use super::vici::TunnelError;
use super::{tunnels, vici, wireguard};
use crate::failure::Failure;
use crate::folder::LabFolder;
use crate::linux::netlink::NetlinkError;

/// What is to be looked at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Question {
    /// Nodes whose links are of interest.
    pub(crate) links: BTreeSet<Name>,
    /// Nodes whose daemon is to be asked for its associations.
    pub(crate) daemons: BTreeSet<Name>,
    /// Nodes with the interface that is to be asked for its peer, of WireGuard.
    pub(crate) wireguard: BTreeSet<(Name, InterfaceName)>,
}

/// What was seen, by node, or the reason in words why nothing was.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sight {
    pub(crate) links: BTreeMap<Name, Result<Vec<NodeLink>, String>>,
    pub(crate) associations: BTreeMap<Name, Result<Vec<Sa>, String>>,
    pub(crate) handshakes: BTreeMap<Name, Result<Handshake, String>>,
}

/// A link in a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeLink {
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// Where a link comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// The loopback interface, or one that the kernel makes out of nothing.
    Made,
    /// It is a device of the machine.
    Hardware,
    /// It hangs on an interface of the machine.
    OnMachine,
}

/// Looks at the nodes of a lab. `machine` is the network namespace of the machine.
pub(crate) fn look(
    folder: &LabFolder,
    question: &Question,
    machine: Option<BorrowedFd<'_>>,
) -> Sight {
    let links = question.links.iter().map(|name| {
        let found = RunningNode::find(folder, name).map_err(|error| words(&error));
        let links =
            found.and_then(|mut node| links(&mut node, machine).map_err(|error| words(&error)));
        (name.clone(), links)
    });
    let associations = question.daemons.iter().map(|name| {
        let found = RunningNode::find(folder, name).map_err(|error| words(&error));
        (name.clone(), found.and_then(|node| associations(&node)))
    });
    let handshakes = question.wireguard.iter().map(|(name, interface)| {
        let found = RunningNode::find(folder, name).map_err(|error| words(&error));
        (name.clone(), found.and_then(|node| handshake(&node, interface)))
    });
    Sight {
        links: links.collect(),
        associations: associations.collect(),
        handshakes: handshakes.collect(),
    }
}

fn links(
    node: &mut RunningNode,
    machine: Option<BorrowedFd<'_>>,
) -> Result<Vec<NodeLink>, NetlinkError> {
    let netlink = node.netlink();
    // Without a number for it, nothing in the node can hang on anything there.
    let machine = machine.map(|it| netlink.namespace_id(it)).transpose()?.flatten();
    let links = netlink.links()?;
    let origin = |link: &crate::linux::netlink::Link| match link.elsewhere {
        Some(number) if Some(number) == machine => Origin::OnMachine,
        _ if link.is_hardware => Origin::Hardware,
        _ => Origin::Made,
    };
    let links = links.into_iter();
    Ok(links.map(|link| NodeLink { origin: origin(&link), name: link.name }).collect())
}

fn associations(node: &RunningNode) -> Result<Vec<Sa>, String> {
    let runtime = tunnels::runtime().map_err(|error| words(&error))?;
    runtime.block_on(vici::list_sas(&node.root_path())).map_err(|error| match error {
        TunnelError::Connect { .. } => format!("{CHARON} does not run"),
        error => words(&error),
    })
}

/// The kernel knows its own interfaces; any other is a program's.
fn handshake(node: &RunningNode, interface: &InterfaceName) -> Result<Handshake, String> {
    let seen = wireguard::look(node, interface, Encryption::Kernel)
        .or_else(|_| wireguard::look(node, interface, Encryption::Userspace))
        .map_err(|error| words(&error))?;
    Ok(Handshake { stands: seen.stands(wireguard::now()), traffic: seen.traffic() })
}

fn words(error: &(dyn std::error::Error + 'static)) -> String {
    Failure::of(error).to_string()
}
