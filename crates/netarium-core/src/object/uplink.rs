//! What must exist for a lab to have a way out.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::Transport;
use crate::name::Name;

/// The way out to the world and in from the host: a router in the lab's own network namespace, on the
/// segment [`UPLINK`](crate::model::UPLINK), and pasta(1) behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uplink {
    /// The router's addresses on the segment, one of each family.
    pub gateways: Vec<IpNet>,
    /// The prefixes between the router and pasta, one of each family.
    pub transit: Vec<IpNet>,
    /// The addresses of the nodes that have a way out; the others are only reached from the host.
    pub nodes: Vec<IpAddr>,
    /// The interface of the host that pasta is told about.
    pub device: String,
    /// The host's own addresses, which nobody in the lab can reach.
    pub blocked: Vec<IpNet>,
    /// The host's name servers that can be asked as everybody else can, one of each family at most.
    pub resolvers: Vec<IpAddr>,
    /// The ports of the host that lead to nodes.
    pub published: Vec<Published>,
}

/// A port of the host that leads to a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Published {
    /// The address of the host.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// Of which protocol.
    pub protocol: Transport,
    /// The node.
    pub node: Name,
    /// Its address and port.
    pub to: SocketAddr,
}
