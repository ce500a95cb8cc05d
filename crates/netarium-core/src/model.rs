//! The lab as it is meant: names resolved, addresses and MACs chosen, every default filled in.
//!
//! A [`Model`] is valid: every name in it names something in it, every address is on its segment.
//! `resolve` is the only way to one, and nothing here decides or checks anything.

mod build;
mod check;
mod disturb;
mod image;
mod names;
mod network;
mod process;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::address::Mac;
use crate::firewall::Firewall;
use crate::name::{InterfaceName, Name};
pub use crate::storage::{Access, Content, File, Volume, VolumeSource};

pub use build::Build;
pub use check::{Answer, Check, Probe, Protocol, Reach, Source, TunnelState, Url};
pub use disturb::{Deed, Disturbance, Transfer};
pub use image::{Archive, ArchiveForm, Image, Recipe};
pub use names::Dns;
pub use network::Network;
pub use process::{
    Condition, Health, HealthChange, MAIN, Main, MainReady, Readiness, Restart, Service, Stop,
};
pub use upkeep::Upkeep;

/// A whole lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Model {
    /// The lab's name.
    pub lab: Name,
    /// What makes its nodes, if the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Whose its segments are.
    #[serde(skip_serializing_if = "Network::is_own")]
    pub network: Network,
    /// Its layer-2 segments.
    pub segments: BTreeMap<Name, Segment>,
    /// Its nodes.
    pub nodes: BTreeMap<Name, Node>,
    /// Its tunnels.
    pub tunnels: BTreeMap<Name, Tunnel>,
    /// What must be true of it, in the order written.
    pub checks: Vec<Check>,
    /// What must be true of it under change, in the order written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disturbances: Vec<Disturbance>,
    /// Its way out to the world, and in from the host, if a node has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Uplink>,
    /// What Docker builds before, by the names that the images get there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub builds: BTreeMap<String, Build>,
    /// The secrets that are written in the lab file, by tunnel.
    #[serde(skip)]
    pub secrets: Secrets,
}

/// The way out to the world and in from the host. The nodes that have it are on the segment
/// [`UPLINK`], with interfaces of that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Uplink {
    /// Its own addresses on that segment, one of each family: the router that nodes see.
    pub gateways: Vec<IpNet>,
    /// The prefixes between that router and the host, one of each family.
    pub transit: Vec<IpNet>,
    /// The nodes that have a way out. Others are there for what they publish.
    pub nodes: BTreeSet<Name>,
    /// The ports of the host that lead to nodes.
    pub published: Vec<Published>,
}

impl Model {
    /// The nodes that are started after others, and what of those they wait for.
    pub fn order(&self) -> BTreeMap<Name, BTreeMap<Name, Condition>> {
        let late = self.nodes.iter().filter(|(_, node)| !node.after.is_empty());
        late.map(|(name, node)| (name.clone(), node.after.clone())).collect()
    }

    /// Whether a segment is the way out to the world.
    pub fn is_way_out(&self, segment: &Name) -> bool {
        self.uplink.is_some() && segment.as_str() == UPLINK
    }
}

/// The name of the segment with the way out, and of every interface on it.
pub const UPLINK: &str = "uplink";

/// A port of the host that leads to a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Published {
    /// The address of the host.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// Of which protocol.
    pub protocol: Transport,
    /// The node.
    pub node: Name,
    /// The port of the node.
    pub to: u16,
}

/// A protocol whose ports can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Secrets by tunnel. They are never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(pub BTreeMap<Name, String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What makes the nodes of a lab. What they are wired with is the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "lab-file", derive(schemars::JsonSchema))]
pub enum Engine {
    /// Netarium itself.
    #[default]
    Native,
    /// Docker Engine, or what speaks its language.
    Docker,
}

impl Engine {
    /// All engines.
    pub const ALL: [Self; 2] = [Self::Native, Self::Docker];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Docker => "docker",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One layer-2 broadcast domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Segment {
    /// The kernel's way of making it.
    pub driver: Driver,
    /// The prefixes in use on it; none for a segment without IP.
    pub prefixes: Vec<IpNet>,
    /// The largest packet, in bytes.
    pub mtu: u32,
}

/// How the kernel makes a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "lab-file", derive(schemars::JsonSchema))]
pub enum Driver {
    /// Macvlan interfaces in bridge mode on a parent link of the lab's own.
    Macvlan,
    /// A bridge, and a veth pair for each interface.
    Bridge,
    /// One veth pair: two interfaces, no more.
    Veth,
}

/// A container with interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Node {
    /// What its root file system is made from.
    pub image: Image,
    /// Whether it forwards packets between its interfaces.
    pub forwarding: Forwarding,
    /// Its interfaces, in the order written.
    pub interfaces: Vec<Interface>,
    /// Its routes besides those that its addresses bring.
    pub routes: Vec<Route>,
    /// Kernel settings of its network namespace, `net/ipv4/ip_forward` and the like, as paths below
    /// `/proc/sys`.
    pub sysctls: BTreeMap<String, String>,
    /// What it runs by itself. A node of an OCI image that has neither this nor services runs what
    /// its image says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main: Option<Main>,
    /// What runs in it besides.
    pub services: Vec<Service>,
    /// The nodes that it starts after, and what of them it waits for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub after: BTreeMap<Name, Condition>,
    /// How much of the machine it may use.
    pub limits: Limits,
    /// What it lets in, out and through, and whose addresses it changes.
    #[serde(skip_serializing_if = "Firewall::is_empty")]
    pub firewall: Firewall,
    /// Files that are put into it, by their absolute paths.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, File>,
    /// Folders that it shares with the lab or the host, in the order of their targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Whether programs in it may make containers of their own.
    #[serde(skip_serializing_if = "Nesting::is_refused")]
    pub nesting: Nesting,
    /// Its host name, if that is not its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Other names by which nodes know it, at all its addresses.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<String>,
    /// Names that it alone knows, with their addresses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The name servers that it asks, in place of those of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// Who owns what it is given before its first process starts.
    #[serde(skip_serializing_if = "Upkeep::is_of_lab")]
    pub upkeep: Upkeep,
}

/// Whether programs of a node may make containers of their own.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Nesting {
    /// They may not.
    #[default]
    Refused,
    /// They may, with no more rights than a node has itself.
    Allowed,
}

impl Nesting {
    /// Whether they may not.
    pub fn is_refused(&self) -> bool {
        *self == Self::Refused
    }
}

/// Whether a node forwards packets (RFC 1812) or is a host (RFC 1122).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    /// Packets for others are dropped.
    Off,
    /// Packets for others are routed, IPv4 and IPv6.
    On,
    /// Those of IPv4 only.
    Ipv4,
    /// Those of IPv6 only.
    Ipv6,
}

/// One interface of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Interface {
    /// Its name inside the node.
    pub name: InterfaceName,
    /// The segment it is on.
    pub segment: Name,
    /// Its hardware address.
    pub mac: Mac,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Its addresses, each with the length of its segment's prefix.
    pub addresses: Vec<IpNet>,
    /// Other names by which nodes know its node, at these addresses.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<String>,
}

/// A route of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Route {
    /// Where to; `0.0.0.0/0` and `::/0` are the default routes.
    pub to: IpNet,
    /// What becomes of such a packet.
    pub via: Via,
}

/// What a route does with a packet; the words are those of ip-route(8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// Sends it to a router on one of the node's segments.
    Gateway {
        /// The router's address.
        address: IpAddr,
        /// The interface that leads there.
        interface: InterfaceName,
    },
    /// Sends it straight to its destination.
    Interface(InterfaceName),
    /// Drops it and tells the sender that there is no way (ICMP unreachable).
    Unreachable,
    /// Drops it in silence.
    Blackhole,
    /// Drops it and tells the sender that it is not allowed.
    Prohibit,
}

impl Via {
    /// The interface that such a packet leaves by, if it leaves.
    pub fn interface(&self) -> Option<&InterfaceName> {
        match self {
            Self::Gateway { interface, .. } | Self::Interface(interface) => Some(interface),
            Self::Unreachable | Self::Blackhole | Self::Prohibit => None,
        }
    }
}

/// How much of the machine a node may use; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Processor time, in thousandths of one processor.
    pub millicpus: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

impl Limits {
    /// Whether there is no limit at all.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A tunnel between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its name.
    pub name: Name,
    /// The end that opens it.
    pub initiator: TunnelEnd,
    /// The end that waits for it.
    pub responder: TunnelEnd,
    /// What it is made of.
    pub kind: TunnelKind,
}

impl Tunnel {
    /// Both ends, the one that opens it first.
    pub fn ends(&self) -> [&TunnelEnd; 2] {
        [&self.initiator, &self.responder]
    }

    /// The end that is `node`, and the other one; `None` if neither is.
    pub fn seen_from(&self, node: &Name) -> Option<(&TunnelEnd, &TunnelEnd)> {
        let [one, other] = self.ends();
        if one.node == *node {
            Some((one, other))
        } else {
            (other.node == *node).then_some((other, one))
        }
    }

    /// Whether it carries only what its two ends send each other.
    pub fn joins_hosts(&self) -> bool {
        self.ends().iter().all(|end| end.carry == [IpNet::from(end.address)])
    }

    /// Whether the other end does not know the address of `node`.
    pub fn hides(&self, node: &Name) -> bool {
        let translated = |ipsec: &Ipsec| ipsec.initiator == Whereabouts::Translated;
        self.initiator.node == *node && self.ipsec().is_some_and(translated)
    }

    /// Whether certificates tell its ends who the other is.
    pub fn is_certified(&self) -> bool {
        self.ipsec().is_some_and(|ipsec| ipsec.auth == Auth::Certificate)
    }

    /// What it needs as an IPsec tunnel, if it is one.
    pub fn ipsec(&self) -> Option<&Ipsec> {
        match &self.kind {
            TunnelKind::Ipsec(ipsec) => Some(ipsec),
            TunnelKind::Wireguard(_) => None,
        }
    }

    /// What it needs as a WireGuard tunnel, if it is one.
    pub fn wireguard(&self) -> Option<&Wireguard> {
        match &self.kind {
            TunnelKind::Ipsec(_) => None,
            TunnelKind::Wireguard(wireguard) => Some(wireguard),
        }
    }

    /// The same with what it says of `node`, and of the other end.
    pub fn wireguard_from(
        &self,
        node: &Name,
    ) -> Option<(&Wireguard, &WireguardEnd, &WireguardEnd)> {
        let wireguard = self.wireguard()?;
        let (one, other) = (&wireguard.initiator, &wireguard.responder);
        let (own, _) = self.seen_from(node)?;
        Some(if *own == self.initiator { (wireguard, one, other) } else { (wireguard, other, one) })
    }
}

/// What a tunnel is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelKind {
    /// IPsec with IKEv2 (RFC 7296).
    Ipsec(Ipsec),
    /// WireGuard (<https://www.wireguard.com/protocol/>).
    Wireguard(Wireguard),
}

/// What an IPsec tunnel needs besides its ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ipsec {
    /// The IKE proposal in strongSwan's words, `aes256gcm16-prfsha384-ecp384` for example.
    pub ike: String,
    /// The ESP proposal in strongSwan's words.
    pub esp: String,
    /// How the ends know each other.
    pub auth: Auth,
    /// When it is opened.
    pub start: Start,
    /// How long keys are used, in seconds.
    pub rekey: Rekey,
    /// After how many seconds of silence an end asks whether the other is still there.
    pub dpd: u32,
    /// Whether ESP goes in UDP (RFC 3948).
    pub encapsulation: Encapsulation,
    /// What the responder knows of the initiator's address.
    pub initiator: Whereabouts,
}

impl Ipsec {
    /// What a tunnel has that says nothing, for tests.
    #[doc(hidden)]
    pub fn example() -> Self {
        Self {
            ike: "aes256gcm16-prfsha384-ecp384".to_owned(),
            esp: "aes256gcm16-ecp384".to_owned(),
            auth: Auth::Certificate,
            start: Start::Up,
            rekey: Rekey { ike: 4 * 60 * 60, esp: 60 * 60 },
            dpd: 10,
            encapsulation: Encapsulation::Needed,
            initiator: Whereabouts::Known,
        }
    }
}

/// How the ends of a tunnel know each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// By certificates of the lab's own authority.
    Certificate,
    /// By a secret that both have.
    Psk(SharedSecret),
}

/// Which secret it is. It can be shown: the secret itself is not in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SharedSecret {
    /// One that the lab makes.
    Made,
    /// That of the lab file, by its SHA-256 in hexadecimal digits.
    Given(String),
}

/// When a tunnel is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "lab-file", derive(schemars::JsonSchema))]
pub enum Start {
    /// When the lab comes up.
    Up,
    /// When there is something for it to carry.
    Demand,
}

/// How long the keys of a tunnel are used, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rekey {
    /// Those of the IKE association.
    pub ike: u32,
    /// Those of its ESP associations.
    pub esp: u32,
}

/// Whether ESP goes in UDP (RFC 3948).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encapsulation {
    /// Where somebody between the ends translates addresses, or a daemon encrypts.
    Needed,
    /// Always.
    Always,
}

/// What an end knows of the other's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whereabouts {
    /// All of it.
    Known,
    /// Nothing: somebody between the two translates it.
    Translated,
}

/// What a WireGuard tunnel needs besides its ends. The routes into it are among those of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wireguard {
    /// The interface at both ends.
    pub interface: InterfaceName,
    /// The end that is the tunnel's initiator.
    pub initiator: WireguardEnd,
    /// The other one.
    pub responder: WireguardEnd,
    /// After so many seconds without a packet an end sends an empty one.
    pub keepalive: u16,
    /// The largest packet that it carries, in bytes.
    pub mtu: u32,
    /// Whether the ends share a key besides their own ones.
    pub secret: PresharedKey,
}

/// What WireGuard needs to know of one end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WireguardEnd {
    /// The UDP port.
    pub port: u16,
    /// The addresses of the node that its own packets have in the tunnel.
    pub addresses: Vec<IpAddr>,
}

/// Whether two ends share a key besides their own ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresharedKey {
    /// They do.
    Shared,
    /// They do not.
    None,
}

/// One end of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TunnelEnd {
    /// The node.
    pub node: Name,
    /// Its address towards the other end.
    pub address: IpAddr,
    /// The prefixes behind this end that the tunnel carries (traffic selectors); its own address
    /// alone if it carries what the two ends send each other.
    pub carry: Vec<IpNet>,
}
