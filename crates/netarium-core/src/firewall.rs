//! Which packets a node lets in, out and through, and whose addresses it changes: the firewall of a
//! node as it is meant, every name resolved.
//!
//! Nothing here decides or checks anything; [`crate::nft`] says the same in nftables' words.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Serialize;

use crate::name::{InterfaceName, Name};

/// The firewall and the address translation of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Firewall {
    /// Packets to the node itself; `None` leaves them alone.
    pub input: Option<Hook>,
    /// Packets from the node itself.
    pub output: Option<Hook>,
    /// Packets that the node forwards.
    pub forward: Option<Hook>,
    /// nftables text that is put into the node's table as it is.
    pub raw: Option<String>,
    /// Translation of addresses, in the order written.
    pub nat: Vec<Nat>,
    /// What tunnels that end here carry, in both directions: source and destination. Translation
    /// leaves it alone unless a rule asks for it.
    pub carried: Vec<(IpNet, IpNet)>,
    /// Whether the node has an IPv6 address: without neighbour discovery it would be cut off.
    pub ipv6: bool,
}

impl Firewall {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let hooks = [&self.input, &self.output, &self.forward];
        hooks.iter().all(|hook| hook.is_none()) && self.raw.is_none() && self.nat.is_empty()
    }
}

/// What a tunnel of a node carries: it goes by the tunnel, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The tunnel.
    pub tunnel: Name,
    /// How it is seen that a packet goes by the tunnel.
    pub passage: Passage,
    /// The UDP ports at which the node itself sends and receives what is encrypted.
    pub ports: Vec<u16>,
    /// The addresses of this end and of the other.
    pub ends: (IpAddr, IpAddr),
    /// The interface with the address of this end.
    pub outer: InterfaceName,
    /// The prefixes behind this end.
    pub near: Vec<IpNet>,
    /// The prefixes behind the other.
    pub far: Vec<IpNet>,
}

/// How it is seen that a packet goes by a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It goes out, or comes in, by this device of a program that encrypts.
    Device(String),
    /// A policy of the kernel's IPsec has taken it.
    Policy,
}

/// The rules of one hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// What becomes of a packet that no rule takes.
    pub default: Policy,
    /// The rules; the first that takes a packet decides.
    pub rules: Vec<Rule>,
}

/// What becomes of a packet that no rule takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "lab-file", derive(schemars::JsonSchema))]
pub enum Policy {
    /// It passes.
    Accept,
    /// It is dropped in silence.
    Drop,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Which packets it is about.
    pub packets: Packets,
    /// It takes no more than this; what is more goes on to the next rule.
    pub rate: Option<Rate>,
    /// A copy of each packet goes to netlink log group 0, with this before it.
    pub log: Option<String>,
    /// What becomes of the packet; with `None` the next rule decides.
    pub verdict: Option<Verdict>,
    /// Why the rule is there, for those who list the table.
    pub comment: Option<String>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It is dropped in silence.
    Drop,
    /// It is dropped, and the sender is told (ICMP port unreachable).
    Reject,
}

/// Which packets a rule is about: those for which all of this is true. An empty list asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packets {
    /// The interfaces they come in by.
    pub incoming: Vec<InterfaceName>,
    /// The interfaces they go out by.
    pub outgoing: Vec<InterfaceName>,
    /// Where they come from; no prefix is in another.
    pub from: Vec<IpNet>,
    /// Where they go to.
    pub to: Vec<IpNet>,
    /// What is in them.
    pub payload: Payload,
    /// What connection tracking says of them, in its own words.
    pub states: BTreeSet<State>,
}

/// What is in a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// Anything.
    #[default]
    Any,
    /// These protocols, by their number (IANA).
    Protocols(BTreeSet<u8>),
    /// These destination ports of these protocols, all of which have ports.
    Ports(BTreeSet<u8>, Vec<Ports>),
    /// These types of ICMP (RFC 792) and of ICMPv6 (RFC 4443), in nftables' words.
    Icmp(BTreeSet<&'static str>, BTreeSet<&'static str>),
}

/// A range of ports, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// What connection tracking says of a packet (`ct state`, nft(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "lab-file", derive(schemars::JsonSchema))]
pub enum State {
    /// It belongs to a connection that has been answered.
    Established,
    /// It belongs to another connection: an ICMP error, for example.
    Related,
    /// It begins a connection.
    New,
    /// It belongs to nothing.
    Invalid,
    /// It is not tracked.
    Untracked,
}

/// How many packets in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// How many.
    pub packets: u32,
    /// In how long: `second`, `minute`, `hour` or `day`.
    pub each: &'static str,
}

/// One translation of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nat {
    /// What it does, and to which packets.
    pub change: Change,
    /// Whether it changes what tunnels carry as well.
    pub tunnels: Tunnelled,
}

/// Whether something is about what tunnels carry as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tunnelled {
    /// It is.
    Changed,
    /// It is not.
    Left,
}

/// What a translation does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// What goes out here gets the interface's own address as its source.
    Masquerade {
        /// Where it goes out.
        outgoing: Vec<InterfaceName>,
    },
    /// What comes from here gets another source.
    Source {
        /// Where it comes from.
        from: Vec<IpNet>,
        /// Where it goes to; everywhere if empty.
        towards: Vec<IpNet>,
        /// Where it goes out; everywhere if empty.
        outgoing: Vec<InterfaceName>,
        /// The first and the last of the sources that it may get.
        to: (IpAddr, IpAddr),
    },
    /// What goes there goes elsewhere.
    Destination {
        /// Where it comes from; everywhere if empty.
        from: Vec<IpNet>,
        /// The address that it goes to.
        address: IpAddr,
        /// The protocol and the ports that it goes to; all if `None`.
        ports: Option<(u8, Ports)>,
        /// Where it comes in; everywhere if empty.
        incoming: Vec<InterfaceName>,
        /// Where it goes instead. The port is kept if there is none.
        to: (IpAddr, Option<u16>),
    },
    /// What goes to these ports anywhere goes to a port of the node itself.
    Redirect {
        /// Where it comes from; everywhere if empty.
        from: Vec<IpNet>,
        /// Where it goes to; everywhere if empty.
        towards: Vec<IpNet>,
        /// The protocol and the ports that it goes to.
        ports: (u8, Ports),
        /// Where it comes in; everywhere if empty.
        incoming: Vec<InterfaceName>,
        /// The port of the node.
        to: u16,
    },
}

impl Change {
    /// Whether it changes IPv4, or IPv6; both if `None`.
    pub fn is_ipv4(&self) -> Option<bool> {
        match self {
            Self::Source { to: (first, _), .. } => Some(first.is_ipv4()),
            Self::Destination { address, .. } => Some(address.is_ipv4()),
            Self::Masquerade { .. } | Self::Redirect { .. } => None,
        }
    }

    /// Where a destination is sent, as people write it.
    pub fn destination(to: (IpAddr, Option<u16>)) -> String {
        match to {
            (address, Some(port)) => SocketAddr::new(address, port).to_string(),
            (address, None) => address.to_string(),
        }
    }
}

/// The same addresses in the fewest prefixes: none is in another, as nft(8) wants it.
pub(crate) fn tidy(prefixes: &[IpNet]) -> Vec<IpNet> {
    let mut prefixes = IpNet::aggregate(&prefixes.to_vec());
    prefixes.sort();
    prefixes
}
