//! From the model to everything that must exist, given what the machine can do.
//!
//! Where a feature is missing the fallback is chosen here, and said in a [`Note`]; where there is
//! none, the lab is refused before anything is made.

mod main;
mod names;
mod tunnels;
mod wireguard;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use self::names::Hosts;
use self::tunnels::CarriedIpv6;
use crate::engine_network::{EngineNetwork, networks};
use crate::feature::{Feature, Features};
use crate::image::{Found, Images};
use crate::model::{self, Driver, Forwarding, Model, Network, Node, Segment, UPLINK, Upkeep};
use crate::name::Name;
use crate::nft;
use crate::object::{
    Address, Encryption, End, File, Firewall, ImageRef, Init, Interface, InterfaceSysctl, Lab,
    LinkState, Node as NodeObject, NodeService, Object, Objects, Port, Route,
    Segment as SegmentObject, SegmentLink, Sysctl,
};
use crate::uplink::{self, Outside, WayOut};

/// Everything that must exist, and what was chosen in place of what the machine lacks.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Everything that must exist.
    pub objects: Objects,
    /// What is done in another way than the lab asked for, one sentence each.
    pub notes: Vec<Note>,
}

/// Something that is done in another way, because the machine lacks a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// Segments that ask for macvlan are bridges.
    BridgeForMacvlan,
    /// ESP runs in user space.
    UserspaceEsp,
    /// The uplink leads nowhere.
    NoWayOut,
    /// Nodes with an uplink have no name server.
    NoNameServer,
    /// WireGuard runs in user space.
    UserspaceWireguard,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BridgeForMacvlan => "this kernel has no macvlan: its segments are bridges",
            Self::UserspaceEsp => {
                "this kernel has no IPsec ESP: strongSwan encrypts in user space (kernel-libipsec)"
            }
            Self::NoWayOut => "this host has no default route: the uplink leads nowhere",
            Self::NoNameServer => {
                "this host has no name server: nodes with an uplink can look up no names"
            }
            Self::UserspaceWireguard => {
                "this kernel has no WireGuard: a program of ours encrypts in user space (gotatun)"
            }
        })
    }
}

/// Something in the lab that this machine cannot do in any way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject} needs {}{}", needs(.missing), because(.why))]
pub struct Refusal {
    /// What of the lab it is.
    pub subject: Subject,
    /// The features that it could use, none of which is there. If there are none, the kernel has them
    /// all, but no interface of the host has IPv6.
    pub missing: Vec<Feature>,
    /// Why there is no other way, where that is not plain.
    pub why: Option<String>,
}

/// A part of a lab that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A segment.
    Segment(Name),
    /// A node.
    Node(Name),
    /// A tunnel.
    Tunnel(Name),
    /// That a node is started after another.
    After(Name, Name),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(name) => write!(f, "segment {name}"),
            Self::Node(name) => write!(f, "node {name}"),
            Self::Tunnel(name) => write!(f, "tunnel {name}"),
            Self::After(name, other) => write!(f, "node {name} after {other}"),
        }
    }
}

fn because(why: &Option<String>) -> String {
    why.as_ref().map_or_else(String::new, |why| format!(" ({why})"))
}

fn needs(features: &[Feature]) -> String {
    if features.is_empty() {
        return "an interface of this host with IPv6, and there is none".to_owned();
    }
    let words: Vec<String> = features.iter().map(Feature::to_string).collect();
    format!("{}, which this kernel lacks", words.join(" or "))
}

/// Says everything that must exist for `model` to be up on a machine with `features`, in the
/// surroundings `outside`, with the images of others as they were found.
///
/// # Errors
/// If the machine lacks something that the lab cannot do without: all that is lacking, at once.
pub fn desired(
    model: &Model,
    features: &Features,
    outside: &Outside,
    images: &Images,
) -> Result<Desired, Vec<Refusal>> {
    let choice = Choice::of(model, features, outside)?;
    let mut objects = Objects::default();
    objects.insert(Object::Lab(Lab { name: model.lab.clone() }));
    for (name, segment) in &model.segments {
        objects.insert(Object::Segment(choice.segment(model, name, segment)));
    }
    let way_out = choice.way_out.clone();
    if let Some(way_out) = &way_out {
        objects.insert(Object::Uplink(way_out.object(model)));
    }
    let mut hosts = Hosts::of(model);
    for (name, node) in &model.nodes {
        let found = images.get(&node.image);
        add_node(&mut objects, (name, node), found, &mut hosts, &choice);
    }
    tunnels::add(&mut objects, model, &choice);
    Ok(Desired { objects, notes: choice.notes.into_iter().collect() })
}

/// What was chosen for this machine, once for the whole lab.
struct Choice {
    macvlan: SegmentLink,
    encryption: Encryption,
    wireguard: Encryption,
    ipv6: bool,
    /// How the lab gets out, if it does.
    way_out: Option<WayOut>,
    /// The segments that the engine makes.
    networks: BTreeMap<Name, EngineNetwork>,
    notes: BTreeSet<Note>,
}

impl Choice {
    fn of(model: &Model, features: &Features, outside: &Outside) -> Result<Self, Vec<Refusal>> {
        let refusals = refusals(model, features, outside);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let mut notes = BTreeSet::new();
        let macvlan = parent(features).unwrap_or(SegmentLink::Bridge);
        let asks_macvlan = model.segments.values().any(|it| it.driver == Driver::Macvlan);
        if asks_macvlan && macvlan == SegmentLink::Bridge {
            notes.insert(Note::BridgeForMacvlan);
        }
        let encryption = match features.has(Feature::Esp) {
            true => Encryption::Kernel,
            false => Encryption::Userspace,
        };
        let asks_esp = model.tunnels.values().any(|it| it.ipsec().is_some());
        if encryption == Encryption::Userspace && asks_esp {
            notes.insert(Note::UserspaceEsp);
        }
        let wireguard = match features.has(Feature::Wireguard) {
            true => Encryption::Kernel,
            false => Encryption::Userspace,
        };
        let asks_wireguard = model.tunnels.values().any(|it| it.wireguard().is_some());
        if wireguard == Encryption::Userspace && asks_wireguard {
            notes.insert(Note::UserspaceWireguard);
        }
        let ipv6 = features.has(Feature::Ipv6);
        let way_out = model.uplink.as_ref().map(|uplink| WayOut::of(uplink, features, outside));
        notes.extend(way_out.iter().flat_map(|it| it.notes(model)));
        let networks = match model.network {
            Network::Own => BTreeMap::new(),
            Network::Engine => networks(model).expect("resolve refuses what the engine cannot do"),
        };
        Ok(Self { macvlan, encryption, wireguard, ipv6, way_out, networks, notes })
    }

    /// Whether a segment is the way out.
    fn is_way_out(&self, segment: &Name) -> bool {
        self.way_out.is_some() && segment.as_str() == UPLINK
    }

    /// Whether a route leads out where there is no way out.
    fn leads_nowhere(&self, route: &model::Route) -> bool {
        self.way_out.as_ref().is_some_and(|way_out| {
            let is_way_out = route.via.interface().is_some_and(|it| it.as_str() == UPLINK);
            is_way_out && route.to.prefix_len() == 0 && !way_out.leads_on(&route.to)
        })
    }

    fn link(&self, name: &Name, driver: Driver) -> SegmentLink {
        match driver {
            _ if self.networks.contains_key(name) => SegmentLink::Network,
            Driver::Macvlan => self.macvlan,
            Driver::Bridge => SegmentLink::Bridge,
            Driver::Veth => SegmentLink::Pair,
        }
    }

    fn segment(&self, model: &Model, name: &Name, segment: &Segment) -> SegmentObject {
        let link = self.link(name, segment.driver);
        let mut ends = Vec::new();
        if link == SegmentLink::Pair {
            for (node, it) in &model.nodes {
                let its_ends = it.interfaces.iter().filter(|it| it.segment == *name);
                ends.extend(its_ends.map(|it| End {
                    node: node.clone(),
                    interface: it.name.clone(),
                    mac: it.mac,
                    mtu: it.mtu,
                }));
            }
        }
        let network = self.networks.get(name).cloned();
        SegmentObject { name: name.clone(), link, mtu: segment.mtu, ends, network }
    }

    /// How an interface is joined to a segment.
    fn port(&self, name: &Name, segment: &Segment) -> Port {
        match self.link(name, segment.driver) {
            SegmentLink::Bridge if self.is_way_out(name) => Port::Isolated,
            SegmentLink::Bridge => Port::Bridge,
            SegmentLink::Pair => Port::End,
            SegmentLink::Dummy | SegmentLink::VethParent | SegmentLink::Ifb => Port::Macvlan,
            SegmentLink::Network => Port::Network,
        }
    }
}

/// What can carry macvlan interfaces on this machine.
fn parent(features: &Features) -> Option<SegmentLink> {
    let parents = [
        (Feature::Dummy, SegmentLink::Dummy),
        (Feature::Veth, SegmentLink::VethParent),
        (Feature::Ifb, SegmentLink::Ifb),
    ];
    let parent = parents.into_iter().find(|(feature, _)| features.has(*feature));
    parent.filter(|_| features.has(Feature::Macvlan)).map(|(_, link)| link)
}

fn refusals(model: &Model, features: &Features, outside: &Outside) -> Vec<Refusal> {
    let bridge = features.has(Feature::Bridge) && features.has(Feature::Veth);
    let segments = model.segments.iter().filter_map(|(name, segment)| {
        let (possible, missing) = match segment.driver {
            Driver::Macvlan => {
                (parent(features).is_some() || bridge, vec![Feature::Macvlan, Feature::Bridge])
            }
            Driver::Bridge => (bridge, vec![Feature::Bridge]),
            Driver::Veth => (features.has(Feature::Veth), vec![Feature::Veth]),
        };
        let subject = Subject::Segment(name.clone());
        (!possible).then_some(Refusal { subject, missing, why: None })
    });
    let tunnels = model.tunnels.values().filter_map(|it| tunnels::refused(model, it, features));
    let nodes = model.nodes.iter().filter_map(|(name, node)| {
        // Whether the way out has IPv6 depends on the host.
        let own = node.interfaces.iter().filter(|it| !model.is_way_out(&it.segment));
        let asks = own.flat_map(|it| &it.addresses).any(is_ipv6);
        let refused = asks && !features.has(Feature::Ipv6);
        let subject = Subject::Node(name.clone());
        refused.then(|| Refusal { subject, missing: vec![Feature::Ipv6], why: None })
    });
    let uplink = uplink::refusals(model, features, outside);
    segments.chain(tunnels).chain(nodes).chain(uplink).collect()
}

fn is_ipv6(address: &IpNet) -> bool {
    address.addr().is_ipv6()
}

fn add_node(
    objects: &mut Objects,
    (name, node): (&Name, &Node),
    found: Option<&Found>,
    hosts: &mut Hosts<'_>,
    choice: &Choice,
) {
    let carried = tunnels::carried_ipv6(hosts.model, name, choice);
    add_sysctls(objects, name, node, &carried, choice);
    let guards = tunnels::guards(hosts.model, name, choice);
    if !node.firewall.is_empty() || !guards.is_empty() {
        let text = nft::render(&node.firewall, &guards);
        objects.insert(Object::Firewall(Firewall { node: name.clone(), text }));
    }
    add_interfaces(objects, hosts.model, (name, node), &carried, choice);
    for route in node.routes.iter().filter(|route| !choice.leads_nowhere(route)) {
        objects.insert(Object::Route(Route {
            node: name.clone(),
            to: route.to,
            via: route.via.clone(),
        }));
    }
    let resolv_conf = match &node.dns {
        Some(dns) => Some(names::resolv_conf(dns)),
        None => choice.way_out.as_ref().and_then(|it| it.resolv_conf(name)),
    };
    let hostname = node.hostname.as_deref().unwrap_or(name.as_str());
    let resolv_conf = resolv_conf
        .map_or_else(|| "# This lab has no name server; see /etc/hosts.\n".into(), Arc::from);
    for (path, content) in [
        ("/etc/hostname", format!("{hostname}\n").into()),
        ("/etc/hosts", hosts.text(name)),
        ("/etc/resolv.conf", resolv_conf),
    ] {
        objects.insert(file(name, path, content));
    }
    for (path, file) in &node.files {
        objects.insert(Object::File(File {
            node: name.clone(),
            path: path.clone(),
            mode: file.mode,
            owner: file.owner.clone(),
            content: file.content.clone(),
        }));
    }
    objects.insert(Object::Init(Init { node: name.clone() }));
    for service in main::services(node, found.map(|it| &it.config)) {
        let node = name.clone();
        objects.insert(Object::Service(NodeService { node, service, reads: vec![] }));
    }
    objects.insert(Object::Node(NodeObject {
        name: name.clone(),
        hostname: node.hostname.clone(),
        image: ImageRef::of(&node.image, found),
        limits: node.limits,
        volumes: node.volumes.clone(),
        nesting: node.nesting,
        begins_with: match node.upkeep {
            Upkeep::Lab => None,
            Upkeep::Programs => Some(objects.beginning_of(name)),
        },
    }));
}

fn file(node: &Name, path: &str, content: Arc<str>) -> Object {
    let (node, path, content) = (node.clone(), path.to_owned(), content.into());
    Object::File(File { node, path, mode: 0o644, owner: None, content })
}

/// Settings that every node has, so that a lab does not depend on the host's: a new network
/// namespace takes many of them over from the first one (`net.core.devconf_inherit_init_net`).
fn add_sysctls(
    objects: &mut Objects,
    name: &Name,
    node: &Node,
    carried: &CarriedIpv6,
    choice: &Choice,
) {
    // The kernel itself sets the second when the first is changed (net/ipv4/devinet.c,
    // inet_forward_change), so no other value would last.
    let (forward, accept_redirects) = match node.forwarding {
        Forwarding::On | Forwarding::Ipv4 => ("1", "0"),
        Forwarding::Off | Forwarding::Ipv6 => ("0", "1"),
    };
    let forward_ipv6 = match node.forwarding {
        Forwarding::On | Forwarding::Ipv6 => "1",
        Forwarding::Off | Forwarding::Ipv4 => "0",
    };
    let mut settings = vec![
        ("net/ipv4/conf/all/accept_redirects", accept_redirects),
        // Else the kernel removes all other addresses of a prefix with the first one.
        ("net/ipv4/conf/all/promote_secondaries", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
        // Else a node tells somebody no more than one refusal in a second, and the next is silence:
        // who asks twice would see two different firewalls. The host's own limit stays.
        ("net/ipv4/icmp_ratelimit", "0"),
        ("net/ipv4/ip_forward", forward),
    ];
    if choice.ipv6 {
        settings.extend([
            ("net/ipv6/conf/all/forwarding", forward_ipv6),
            // The plan has no duplicates, and a router that still looks for them cannot yet ask for
            // its neighbours: for seconds it would forward nothing.
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_ra", "0"),
            // An interface without IPv6 addresses stays silent in IPv6. That of a program that
            // encrypts is not there yet when it would have to be told otherwise.
            (
                "net/ipv6/conf/default/disable_ipv6",
                match carried {
                    CarriedIpv6::ByDevice => "0",
                    CarriedIpv6::ByInterface(_) | CarriedIpv6::No => "1",
                },
            ),
            ("net/ipv6/icmp/ratelimit", "0"),
        ]);
    }
    let mut add = |key: &str, value: &str| {
        objects.insert(match interface_key(node, key) {
            Some((interface, family, key)) => Object::InterfaceSysctl(InterfaceSysctl {
                node: name.clone(),
                interface: interface.clone(),
                family: family.to_owned(),
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            None => Object::Sysctl(Sysctl {
                node: name.clone(),
                key: key.to_owned(),
                value: value.to_owned(),
            }),
        });
    };
    settings.into_iter().for_each(|(key, value)| add(key, value));
    node.sysctls.iter().for_each(|(key, value)| add(key, value));
}

/// Splits `net/ipv4/conf/eth0/rp_filter` if `eth0` is an interface of the node.
fn interface_key<'a>(
    node: &'a Node,
    key: &'a str,
) -> Option<(&'a crate::name::InterfaceName, &'a str, &'a str)> {
    let mut parts = key.split('/');
    let (Some("net"), Some(family), Some("conf"), Some(interface), Some(key), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let interface = node.interfaces.iter().find(|it| it.name.as_str() == interface)?;
    Some((&interface.name, family, key))
}

fn add_interfaces(
    objects: &mut Objects,
    model: &Model,
    (name, node): (&Name, &Node),
    carried: &CarriedIpv6,
    choice: &Choice,
) {
    for interface in &node.interfaces {
        let segment = &model.segments[&interface.segment];
        objects.insert(Object::Interface(Interface {
            node: name.clone(),
            name: interface.name.clone(),
            segment: interface.segment.clone(),
            port: choice.port(&interface.segment, segment),
            mac: interface.mac,
            mtu: interface.mtu,
            state: LinkState::Up,
        }));
        let way_out = choice.way_out.as_ref().filter(|_| model.is_way_out(&interface.segment));
        let addresses: Vec<IpNet> = interface
            .addresses
            .iter()
            .filter(|address| way_out.is_none_or(|it| it.has(address)))
            .copied()
            .collect();
        let speaks_ipv6 = addresses.iter().any(is_ipv6)
            || *carried == CarriedIpv6::ByInterface(interface.name.clone());
        if choice.ipv6 && (speaks_ipv6 || *carried == CarriedIpv6::ByDevice) {
            objects.insert(Object::InterfaceSysctl(InterfaceSysctl {
                node: name.clone(),
                interface: interface.name.clone(),
                family: "ipv6".to_owned(),
                key: "disable_ipv6".to_owned(),
                value: if speaks_ipv6 { "0" } else { "1" }.to_owned(),
            }));
        }
        for address in addresses {
            objects.insert(Object::Address(Address {
                node: name.clone(),
                interface: interface.name.clone(),
                address,
            }));
        }
    }
}
