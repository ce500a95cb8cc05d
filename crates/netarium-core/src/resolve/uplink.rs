//! The way out to the world and in from the host: addresses for it that are free in the lab, and the
//! ports of the host that lead to nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::packets;
use crate::address::Mac;
use crate::firewall::Ports;
use crate::model::{Driver, Interface, Published, Route, Segment, Transport, UPLINK, Uplink, Via};
use crate::name::{InterfaceName, Name};
use crate::problem::{Place, Problem, Problems};
use crate::spec::{self, Spec, Word};

/// The largest packet on the way out.
const MTU: u32 = 1500;

/// The most ports that a lab can publish: the host has a socket for each.
const MOST_PORTS: usize = 1000;

/// Who has a way out or in, with which addresses. Empty if nobody has.
#[derive(Default)]
pub(super) struct Uplinks {
    addresses: BTreeMap<String, Vec<IpNet>>,
    gateways: Vec<IpNet>,
    transit: Vec<IpNet>,
    nodes: BTreeSet<Name>,
    published: Vec<Published>,
}

impl Uplinks {
    /// Chooses addresses, puts the segment beside the others, and reads what is published.
    pub(super) fn resolve(
        spec: &Spec,
        segments: &mut BTreeMap<Name, Segment>,
        problems: &mut Problems,
    ) -> Self {
        let nodes = || spec.nodes.iter().filter_map(|(word, node)| Some((word, node.as_ref()?)));
        let linked: Vec<_> = nodes().filter(|(_, node)| node.is_linked_up()).collect();
        let Some((first, _)) = linked.first() else { return Self::default() };
        let published = published(&linked, problems);
        if !names_are_free(spec, &linked, problems) {
            return Self::default();
        }
        let Some((on_link, transit)) = free(&taken(spec)) else {
            let message = format!("there are no addresses left for the way out of {}", first.value);
            let hint = "it takes a /23 of 100.64.0.0/10 that is in no prefix of the lab";
            problems.add(Problem::new(message).at(first.place).hint(hint));
            return Self::default();
        };
        if let (Ok(name), true) = (Name::new(UPLINK), linked.len() <= usize::from(MOST_NODES)) {
            let prefixes = on_link.to_vec();
            segments.insert(name, Segment { driver: Driver::Bridge, prefixes, mtu: MTU });
        } else {
            let (word, _) = linked[usize::from(MOST_NODES)];
            let message = format!("more than {MOST_NODES} nodes have a way out or in");
            problems.at(word.place, message);
            return Self::default();
        }
        let numbers = linked.iter().zip(2..);
        Self {
            addresses: numbers
                .map(|((word, _), number)| (word.value.clone(), hosts(&on_link, number)))
                .collect(),
            gateways: hosts(&on_link, 1),
            transit: transit.to_vec(),
            nodes: linked
                .iter()
                .filter(|(_, node)| node.has_way_out())
                .filter_map(|(word, _)| Name::new(word).ok())
                .collect(),
            published,
        }
    }

    /// The interface of a node on the way out, if it has one.
    pub(super) fn interface(&self, node: &Name, lab: &Name) -> Option<Interface> {
        let addresses = self.addresses.get(node.as_str())?.clone();
        let name = InterfaceName::new(UPLINK).ok()?;
        let mac = Mac::derive(lab, node, &name);
        let (segment, aliases) = (Name::new(UPLINK).ok()?, BTreeSet::new());
        Some(Interface { name, segment, mac, mtu: MTU, addresses, aliases })
    }

    /// The way out is the default route of each family that has no other.
    pub(super) fn add_default_routes(&self, routes: &mut Vec<Route>) {
        for gateway in &self.gateways {
            let to = match gateway {
                IpNet::V4(_) => IpNet::V4(Ipv4Net::default()),
                IpNet::V6(_) => IpNet::V6(Ipv6Net::default()),
            };
            if let (false, Ok(interface)) =
                (routes.iter().any(|route| route.to == to), InterfaceName::new(UPLINK))
            {
                let via = Via::Gateway { address: gateway.addr(), interface };
                routes.push(Route { to, via });
            }
        }
    }

    /// What the model says of it.
    pub(super) fn model(&self) -> Option<Uplink> {
        (!self.gateways.is_empty()).then(|| Uplink {
            gateways: self.gateways.clone(),
            transit: self.transit.clone(),
            nodes: self.nodes.clone(),
            published: self.published.clone(),
        })
    }
}

/// How many addresses of a /24 there are for nodes, beside that of the gateway.
const MOST_NODES: u8 = 253;

/// The segment and its interfaces are called [`UPLINK`], so nothing else can be.
fn names_are_free(spec: &Spec, linked: &[(&Word, &spec::Node)], problems: &mut Problems) -> bool {
    let before = problems.count();
    let hint = "in a lab with uplink or publish, the way out is called that";
    for (word, _) in spec.segments.iter().filter(|(word, _)| word.value == UPLINK) {
        let problem = Problem::new("a segment cannot be called uplink here").at(word.place);
        problems.add(problem.hint(hint));
    }
    let interfaces = linked.iter().flat_map(|(_, node)| &node.interfaces);
    for name in interfaces.filter_map(|it| it.name.as_ref()).filter(|it| it.value == UPLINK) {
        let problem = Problem::new("an interface cannot be called uplink here").at(name.place);
        problems.add(problem.hint(hint));
    }
    problems.count() == before
}

/// Every prefix that the lab has to do with, except the default routes. What is none has a problem of
/// its own elsewhere.
fn taken(spec: &Spec) -> Vec<IpNet> {
    let segments = spec.segments.iter().filter_map(|(_, it)| it.as_ref());
    let nodes = || spec.nodes.iter().filter_map(|(_, it)| it.as_ref());
    let interfaces = nodes().flat_map(|node| &node.interfaces);
    let tunnels = spec.tunnels.iter().filter_map(|(_, it)| it.as_ref());
    let words = segments
        .flat_map(|it| &it.prefixes)
        .chain(interfaces.flat_map(|it| &it.addresses))
        .chain(nodes().flat_map(|node| &node.routes).map(|route| &route.to))
        .chain(tunnels.flat_map(|it| it.ends().carry.into_iter().flatten().flatten()));
    let read = |word: &Word| {
        word.parse::<IpNet>().ok().or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from))
    };
    words.filter_map(read).filter(|prefix| prefix.prefix_len() > 0).collect()
}

/// The prefixes for nodes and those between the lab and the host: neighbours, the first that are free.
///
/// IPv4 takes them from the addresses that are shared between providers and their customers
/// (RFC 6598), IPv6 from a local prefix of Netarium's own (RFC 4193).
fn free(taken: &[IpNet]) -> Option<([IpNet; 2], [IpNet; 2])> {
    let is_free = |pair: &[IpNet; 2]| {
        pair.iter().all(|prefix| {
            taken.iter().all(|it| !it.contains(&prefix.addr()) && !prefix.contains(&it.addr()))
        })
    };
    let v4 = (0_u32..1 << 13).map(|number| {
        let base = u32::from(Ipv4Addr::new(100, 64, 0, 0)) + (number << 9);
        [0, 1 << 8].map(|offset| net(Ipv4Addr::from(base + offset).into(), 24))
    });
    let v6 = (0_u16..1 << 15).map(|number| {
        let subnets = [number << 1, (number << 1) | 1];
        subnets.map(|it| net(Ipv6Addr::new(0xfd6e, 0x6574, 0x6172, it, 0, 0, 0, 0).into(), 64))
    });
    let (v4, v6) = (v4.into_iter().find(is_free)?, v6.into_iter().find(is_free)?);
    Some(([v4[0], v6[0]], [v4[1], v6[1]]))
}

fn net(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).expect("the lengths here are those of the family")
}

/// The addresses with this number in each prefix.
fn hosts(prefixes: &[IpNet], number: u8) -> Vec<IpNet> {
    prefixes.iter().map(|prefix| crate::uplink::host(prefix, number)).collect()
}

/// What all nodes publish, each port of the host once.
fn published(linked: &[(&Word, &spec::Node)], problems: &mut Problems) -> Vec<Published> {
    let mut seen: BTreeMap<(Transport, u16), Place> = BTreeMap::new();
    let mut found = Vec::new();
    for (name, node) in linked {
        for word in &node.publish {
            let Some(one) = Publication::read(word, problems) else { continue };
            let Ok(node) = Name::new(name) else { continue };
            let ports = one.host.first..=one.host.last;
            if let Some((port, first)) =
                ports.clone().find_map(|port| Some((port, *seen.get(&(one.protocol, port))?)))
            {
                let message =
                    format!("port {port}/{} of the host is published twice", one.protocol);
                let hint = "it leads to one port of one node, whatever the address";
                let problem = Problem::new(message).at(word.place).hint(hint);
                problems.add(problem.note(first, "the first is here"));
                continue;
            }
            if found.len() + ports.len() > MOST_PORTS {
                problems.at(word.place, format!("more than {MOST_PORTS} ports are published"));
                break;
            }
            seen.extend(ports.clone().map(|port| ((one.protocol, port), word.place)));
            let pairs = ports.zip(one.node.first..=one.node.last);
            found.extend(pairs.map(|(port, to)| Published {
                address: one.address,
                port,
                protocol: one.protocol,
                node: node.clone(),
                to,
            }));
        }
    }
    found
}

/// One word of `publish`.
struct Publication {
    address: IpAddr,
    host: Ports,
    node: Ports,
    protocol: Transport,
}

impl Publication {
    fn read(word: &Word, problems: &mut Problems) -> Option<Self> {
        let (rest, protocol) = match word.rsplit_once('/') {
            None => (word.value.as_str(), Transport::Tcp),
            Some((rest, "tcp")) => (rest, Transport::Tcp),
            Some((rest, "udp")) => (rest, Transport::Udp),
            Some(_) => return Self::refuse(word, problems),
        };
        let (address, ports) = split(rest);
        let address = match address {
            None => IpAddr::from(Ipv4Addr::LOCALHOST),
            Some(text) => match text.parse::<IpAddr>() {
                Ok(address) if !address.is_multicast() => address,
                _ => {
                    let message = format!("{text} is no address of a host");
                    problems.add(Problem::new(message).at(word.place).hint(EXAMPLES));
                    return None;
                }
            },
        };
        let (host, node) = match ports.split_once(':') {
            Some((_, node)) if node.contains(':') => return Self::refuse(word, problems),
            Some((host, node)) => (host, node),
            None => (ports, ports),
        };
        let host = packets::range(host, word, problems);
        let node = packets::range(node, word, problems);
        let (host, node) = (host?, node?);
        if host.last - host.first != node.last - node.first {
            let problem = Problem::new(format!("{} joins unlike ranges", word.value));
            let hint = "as many ports of the node as of the host: 9000-9010:9000-9010";
            problems.add(problem.at(word.place).hint(hint));
            return None;
        }
        Some(Self { address, host, node, protocol })
    }

    fn refuse(word: &Word, problems: &mut Problems) -> Option<Self> {
        let problem = Problem::new(format!("{} is nothing to publish", word.value));
        problems.add(problem.at(word.place).hint(EXAMPLES));
        None
    }
}

const EXAMPLES: &str = "write 8080:80, 127.0.0.1:8080:80, [::1]:8443:443 or 5353:53/udp";

/// An address, if there is one, and what is behind it.
fn split(text: &str) -> (Option<&str>, &str) {
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once("]:")) {
        return (Some(address), rest);
    }
    match text.split_once(':') {
        Some((address, rest)) if address.contains('.') => (Some(address), rest),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_addresses_that_are_free_are_taken() {
        let taken = ["100.64.0.0/16", "100.65.1.0/24", "fd6e:6574:6172::/62"];
        let taken: Vec<IpNet> = taken.iter().map(|it| it.parse().unwrap()).collect();
        let (on_link, transit) = free(&taken).unwrap();
        let words = |prefixes: [IpNet; 2]| prefixes.map(|it| it.to_string());
        assert_eq!(words(on_link), ["100.65.2.0/24", "fd6e:6574:6172:4::/64"]);
        assert_eq!(words(transit), ["100.65.3.0/24", "fd6e:6574:6172:5::/64"]);
        assert!(free(&["100.64.0.0/10".parse().unwrap()]).is_none());
    }
}
