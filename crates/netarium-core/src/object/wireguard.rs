//! What must exist for WireGuard tunnels.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Encryption, LinkState};
use crate::name::{InterfaceName, Name};

/// An interface of a node that leads into a WireGuard tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelInterface {
    /// The node.
    pub node: Name,
    /// Its name inside the node.
    pub name: InterfaceName,
    /// Whether it is the kernel's own or a TUN device for a program, which outlives that.
    pub encryption: Encryption,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Whether it takes packets.
    pub state: LinkState,
}

/// A node's key pair for WireGuard. It is the same for all of its tunnels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The node.
    pub node: Name,
}

/// A key that both ends of a WireGuard tunnel share, besides their own ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedKey {
    /// The tunnel.
    pub tunnel: Name,
}

/// What an interface into a WireGuard tunnel needs to know, as a file with keys in it that only the
/// node's root reads, and set where the kernel encrypts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireguardConf {
    /// The node.
    pub node: Name,
    /// The interface.
    pub interface: InterfaceName,
    /// Who reads it.
    pub encryption: Encryption,
    /// The UDP port that it listens to.
    pub port: u16,
    /// The node at the other end.
    pub peer: Name,
    /// Where that listens.
    pub endpoint: SocketAddr,
    /// What is behind the other end.
    pub carry: Vec<IpNet>,
    /// After so many seconds without a packet it sends an empty one.
    pub keepalive: u16,
    /// The tunnel whose ends share a key.
    pub shared: Option<Name>,
}
