//! Segments, and what carries them.

use serde::{Deserialize, Serialize};

use crate::address::Mac;
use crate::engine_network::EngineNetwork;
use crate::name::{InterfaceName, Name};

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its name.
    pub name: Name,
    /// What carries it in the lab's own network namespace.
    pub link: SegmentLink,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// How the engine makes it, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<EngineNetwork>,
    /// The two ends of a veth pair, which are made together and where they belong: a link that moves
    /// into another namespace waits for all who may still look at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<End>,
}

/// An end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The node that it is in.
    pub node: Name,
    /// Its name there.
    pub interface: InterfaceName,
    /// Its hardware address.
    pub mac: Mac,
    /// The largest packet, in bytes.
    pub mtu: u32,
}

/// What carries a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SegmentLink {
    /// A dummy link, parent of macvlan interfaces.
    Dummy,
    /// A veth pair, one end of which is parent of macvlan interfaces.
    VethParent,
    /// An ifb link, parent of macvlan interfaces.
    Ifb,
    /// A bridge.
    Bridge,
    /// A veth pair whose two ends go to two nodes.
    Pair,
    /// A network that the engine has made.
    Network,
}
