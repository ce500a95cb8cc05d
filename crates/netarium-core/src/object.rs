//! Everything that must exist for a lab to be up, as one ordered set.
//!
//! An [`Object`] says what a thing is, never how it is made. The order of the variants of [`Id`]
//! is the order of creation; the reverse is the order of removal.

mod given;
mod image;
mod segment;
mod uplink;
mod wireguard;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::address::Mac;
use crate::model::{self, Content, Limits, Nesting, Service, SharedSecret, Via, Volume};
use crate::name::{InterfaceName, Name};
use crate::user::User;
use crate::wireguard::conf_path;

pub use self::image::ImageRef;
pub use self::segment::{End, Segment, SegmentLink};
pub use self::uplink::{Published, Uplink};
pub use self::wireguard::{Key, SharedKey, TunnelInterface, WireguardConf};

/// What tells one object from every other of its lab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Id {
    /// The lab itself: its namespaces and their keeper.
    Lab,
    /// The lab's certificate authority.
    Authority,
    /// A node: its namespaces and its root file system, with no process of its own yet.
    Node(Name),
    /// A kernel setting of a node's network namespace, a path below `/proc/sys`.
    Sysctl(Name, String),
    /// A node's firewall and translation of addresses. It is there before the first interface, so
    /// that nothing passes unfiltered.
    Firewall(Name),
    /// A segment, with the ends of a veth pair in their nodes.
    Segment(Name),
    /// The way out to the world and in from the host.
    Uplink,
    /// An interface of a node.
    Interface(Name, InterfaceName),
    /// A kernel setting of an interface: node, interface, family (`ipv4`, `ipv6`), key.
    InterfaceSysctl(Name, InterfaceName, String, String),
    /// An address on an interface.
    Address(Name, InterfaceName, IpAddr),
    /// A route of a node.
    Route(Name, IpNet),
    /// A node's key and certificate.
    Credential(Name),
    /// A node's copy of the secret of a tunnel: node, tunnel.
    Secret(Name, Name),
    /// A node's key pair for WireGuard.
    Key(Name),
    /// The key that both ends of a WireGuard tunnel share.
    SharedKey(Name),
    /// A file in a node: node, absolute path.
    File(Name, String),
    /// The first process of a node.
    Init(Name),
    /// A service of a node: node, service.
    Service(Name, Name),
    /// A tunnel.
    Tunnel(Name),
}

/// One thing that must exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// See [`Id::Lab`].
    Lab(Lab),
    /// See [`Id::Authority`].
    Authority(Authority),
    /// See [`Id::Node`].
    Node(Node),
    /// See [`Id::Sysctl`].
    Sysctl(Sysctl),
    /// See [`Id::Firewall`].
    Firewall(Firewall),
    /// See [`Id::Segment`].
    Segment(Segment),
    /// See [`Id::Uplink`].
    Uplink(Uplink),
    /// See [`Id::Interface`].
    Interface(Interface),
    /// See [`Id::Interface`].
    TunnelInterface(TunnelInterface),
    /// See [`Id::InterfaceSysctl`].
    InterfaceSysctl(InterfaceSysctl),
    /// See [`Id::Address`].
    Address(Address),
    /// See [`Id::Route`].
    Route(Route),
    /// See [`Id::Credential`].
    Credential(Credential),
    /// See [`Id::Secret`].
    Secret(Secret),
    /// See [`Id::Key`].
    Key(Key),
    /// See [`Id::SharedKey`].
    SharedKey(SharedKey),
    /// See [`Id::File`].
    File(File),
    /// See [`Id::File`].
    WireguardConf(WireguardConf),
    /// See [`Id::Init`].
    Init(Init),
    /// See [`Id::Service`].
    Service(NodeService),
    /// See [`Id::Tunnel`].
    Tunnel(Tunnel),
}

/// The lab itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lab {
    /// Its name.
    pub name: Name,
}

/// The lab's certificate authority: a root and an intermediate that issues (RFC 5280).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// The name in its certificates.
    pub lab: Name,
    /// How long its certificates are valid, in days.
    pub days: u32,
}

/// A node before its first process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// Its host name, if that is not its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What its root file system is made from.
    pub image: ImageRef,
    /// How much of the machine it may use.
    pub limits: Limits,
    /// Folders that it shares, in the order of their targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Whether programs in it may make containers of their own.
    #[serde(default, skip_serializing_if = "Nesting::is_refused")]
    pub nesting: Nesting,
    /// What it begins with, as a digest, if its programs own that: with another it is made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_with: Option<String>,
}

/// A kernel setting of a node's network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// The node.
    pub node: Name,
    /// A path below `/proc/sys`, `net/ipv4/ip_forward` for example.
    pub key: String,
    /// What is written there.
    pub value: String,
}

/// A node's firewall and translation of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// The node.
    pub node: Name,
    /// What is in its table, in the words of nft(8).
    pub text: String,
}

/// An interface of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The node.
    pub node: Name,
    /// Its name inside the node.
    pub name: InterfaceName,
    /// The segment it is on.
    pub segment: Name,
    /// How it is joined to its segment.
    pub port: Port,
    /// Its hardware address.
    pub mac: Mac,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Whether it takes part.
    pub state: LinkState,
}

/// Whether an interface takes part in its segment (ip-link(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// It does.
    Up,
    /// It does not.
    Down,
}

/// How an interface is joined to its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Port {
    /// A macvlan interface in bridge mode on the segment's parent link.
    Macvlan,
    /// A veth pair, the other end of which is a port of the segment's bridge.
    Bridge,
    /// The same, but what comes in there goes to the bridge's own link only, to no other port.
    Isolated,
    /// An end of the segment's veth pair, which is there with it.
    End,
    /// An interface that the engine has made, on its own network.
    Network,
}

/// A kernel setting of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceSysctl {
    /// The node.
    pub node: Name,
    /// The interface.
    pub interface: InterfaceName,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// The file in `/proc/sys/net/<family>/conf/<interface>`.
    pub key: String,
    /// What is written there.
    pub value: String,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The node.
    pub node: Name,
    /// The interface.
    pub interface: InterfaceName,
    /// The address, with the length of the prefix that is on the link.
    pub address: IpNet,
}

/// A route of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The node.
    pub node: Name,
    /// Where to.
    pub to: IpNet,
    /// What becomes of such a packet.
    pub via: Via,
}

/// A node's key, its certificate, and what it needs to judge those of others. They are put where
/// swanctl(8) looks for them, and are readable by the node's root only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The node; also the common name in its certificate.
    pub node: Name,
    /// The addresses in its certificate (subject alternative names).
    pub addresses: Vec<IpAddr>,
}

/// A node's copy of the secret of a tunnel. It can be shown: the secret itself is not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The node.
    pub node: Name,
    /// The tunnel.
    pub tunnel: Name,
    /// The addresses of the two ends, by which they call themselves.
    pub ends: [IpAddr; 2],
    /// Which secret it is.
    pub secret: SharedSecret,
}

/// A file in a node, or a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The node.
    pub node: Name,
    /// Its absolute path there.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner, as the node's own `/etc/passwd` has it; root if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<User>,
    /// What is in it.
    pub content: Content,
}

/// The first process of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// The node.
    pub node: Name,
}

/// A service of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeService {
    /// The node.
    pub node: Name,
    /// What runs.
    pub service: Service,
    /// The files it reads when it starts: when one changes, it is started anew.
    pub reads: Vec<String>,
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its ends and what it carries.
    pub tunnel: model::Tunnel,
    /// Who encrypts its packets.
    pub encryption: Encryption,
}

/// Who encrypts the packets of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// The kernel.
    Kernel,
    /// A program behind a TUN device: for IPsec the daemon itself (strongSwan's plugin
    /// `kernel-libipsec`), for WireGuard `netarium-wireguard`.
    Userspace,
}

impl Object {
    /// What tells it from every other.
    pub fn id(&self) -> Id {
        match self {
            Self::Lab(_) => Id::Lab,
            Self::Authority(_) => Id::Authority,
            Self::Segment(it) => Id::Segment(it.name.clone()),
            Self::Uplink(_) => Id::Uplink,
            Self::Node(it) => Id::Node(it.name.clone()),
            Self::Sysctl(it) => Id::Sysctl(it.node.clone(), it.key.clone()),
            Self::Firewall(it) => Id::Firewall(it.node.clone()),
            Self::Interface(it) => Id::Interface(it.node.clone(), it.name.clone()),
            Self::TunnelInterface(it) => Id::Interface(it.node.clone(), it.name.clone()),
            Self::InterfaceSysctl(it) => Id::InterfaceSysctl(
                it.node.clone(),
                it.interface.clone(),
                it.family.clone(),
                it.key.clone(),
            ),
            Self::Address(it) => {
                Id::Address(it.node.clone(), it.interface.clone(), it.address.addr())
            }
            Self::Route(it) => Id::Route(it.node.clone(), it.to),
            Self::Credential(it) => Id::Credential(it.node.clone()),
            Self::Secret(it) => Id::Secret(it.node.clone(), it.tunnel.clone()),
            Self::Key(it) => Id::Key(it.node.clone()),
            Self::SharedKey(it) => Id::SharedKey(it.tunnel.clone()),
            Self::WireguardConf(it) => Id::File(it.node.clone(), conf_path(&it.interface)),
            Self::File(it) => Id::File(it.node.clone(), it.path.clone()),
            Self::Init(it) => Id::Init(it.node.clone()),
            Self::Service(it) => Id::Service(it.node.clone(), it.service.name.clone()),
            Self::Tunnel(it) => Id::Tunnel(it.tunnel.name.clone()),
        }
    }
}

impl Id {
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::Authority => "authority",
            Self::Segment(_) => "segment",
            Self::Uplink => "uplink",
            Self::Node(_) => "node",
            Self::Sysctl(..) | Self::InterfaceSysctl(..) => "sysctl",
            Self::Firewall(_) => "firewall",
            Self::Interface(..) => "interface",
            Self::Address(..) => "address",
            Self::Route(..) => "route",
            Self::Credential(_) => "credential",
            Self::Secret(..) => "secret",
            Self::Key(_) => "key",
            Self::SharedKey(_) => "shared-key",
            Self::File(..) => "file",
            Self::Init(_) => "init",
            Self::Service(..) => "service",
            Self::Tunnel(_) => "tunnel",
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Lab | Self::Authority | Self::Uplink => Ok(()),
            Self::Segment(name)
            | Self::Node(name)
            | Self::Firewall(name)
            | Self::Credential(name)
            | Self::Key(name)
            | Self::SharedKey(name)
            | Self::Init(name)
            | Self::Tunnel(name) => write!(f, " {name}"),
            Self::Sysctl(node, key) => write!(f, " {node} {}", key.replace('/', ".")),
            Self::Interface(node, name) => write!(f, " {node}:{name}"),
            Self::InterfaceSysctl(node, interface, family, key) => {
                write!(f, " {node}:{interface} {family}.{key}")
            }
            Self::Address(node, interface, address) => write!(f, " {node}:{interface} {address}"),
            Self::Route(node, to) => write!(f, " {node} {to}"),
            Self::File(node, path) => write!(f, " {node}:{path}"),
            Self::Secret(node, name) | Self::Service(node, name) => write!(f, " {node}/{name}"),
        }
    }
}

/// An ordered set of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects(BTreeMap<Id, Object>);

impl Objects {
    /// Puts `object` in, in place of one with the same id.
    pub fn insert(&mut self, object: Object) {
        self.0.insert(object.id(), object);
    }

    /// Takes out the object called `id`.
    pub fn remove(&mut self, id: &Id) -> Option<Object> {
        self.0.remove(id)
    }

    /// The object called `id`.
    pub fn get(&self, id: &Id) -> Option<&Object> {
        self.0.get(id)
    }

    /// Whether there is an object called `id`.
    pub fn contains(&self, id: &Id) -> bool {
        self.0.contains_key(id)
    }

    /// All of them, in the order of creation.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Id, &Object)> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses that lead to the gateway of a route: those on its interface whose prefix has
    /// the gateway in it.
    pub(crate) fn addresses_towards<'a>(
        &'a self,
        node: &'a Name,
        via: &'a Via,
    ) -> impl Iterator<Item = Id> + 'a {
        let gateway = match via {
            Via::Gateway { address, interface } => Some((*address, interface)),
            _ => None,
        };
        self.addresses(node)
            .filter(move |it| {
                gateway.is_some_and(|(address, interface)| {
                    it.interface == *interface && it.address.contains(&address)
                })
            })
            .map(|it| Id::Address(it.node.clone(), it.interface.clone(), it.address.addr()))
    }

    /// The address `address` of `node`, on whichever interface.
    pub(crate) fn address_of<'a>(
        &'a self,
        node: &'a Name,
        address: IpAddr,
    ) -> impl Iterator<Item = Id> + 'a {
        self.addresses(node)
            .filter(move |it| it.address.addr() == address)
            .map(|it| Id::Address(it.node.clone(), it.interface.clone(), it.address.addr()))
    }

    fn addresses<'a>(&'a self, node: &'a Name) -> impl Iterator<Item = &'a Address> {
        let first = Id::Address(
            node.clone(),
            InterfaceName::lowest(),
            IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        );
        self.0
            .range(first..)
            .map_while(|(_, object)| if let Object::Address(it) = object { Some(it) } else { None })
            .take_while(move |it| it.node == *node)
    }
}

impl FromIterator<Object> for Objects {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        Self(objects.into_iter().map(|object| (object.id(), object)).collect())
    }
}

impl Serialize for Objects {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.values())
    }
}

impl<'de> Deserialize<'de> for Objects {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Object>::deserialize(deserializer)?.into_iter().collect())
    }
}
