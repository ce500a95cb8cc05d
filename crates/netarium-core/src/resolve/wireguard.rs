//! WireGuard tunnels: ports, the interface at each end, its addresses, and the routes into it.
//!
//! A route into the tunnel stays when the tunnel does not stand: what it carries is dropped then, and
//! goes no other way.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Context, Wired, segments};
use crate::model::{
    Node, PresharedKey, Route, Tunnel, TunnelEnd, TunnelKind, Via, Wireguard, WireguardEnd,
};
use crate::name::{InterfaceName, Name};
use crate::problem::{Place, Placed, Problem, Problems};
use crate::spec::{self, Word};
use crate::wireguard::PORT;

/// What WireGuard adds to a packet, at most: headers of IPv6, UDP and its own, and what it is
/// authenticated with.
const OVERHEAD: u32 = 80;

/// The largest packet that a tunnel carries: the library that does it in user space has buffers of
/// 4096 bytes.
const LARGEST_MTU: u32 = 4000;

const LEAST_MTU_IPV6: u32 = 1280;

/// The time between two empty packets where none is written, and the most, in seconds: with these a
/// tunnel that stands has a new key every two minutes, by which that is seen.
const KEEPALIVE: u16 = 25;
const LONGEST_KEEPALIVE: u16 = 120;

/// The longest name of an interface, in bytes.
const LONGEST_NAME: usize = 15;

/// A tunnel whose ends have been looked for.
pub(super) struct Pending<'s> {
    pub(super) place: Place,
    pub(super) written: &'s spec::Wireguard,
    /// Its name and its ends, if they had no problem.
    pub(super) ends: Option<(Name, (TunnelEnd, TunnelEnd))>,
}

/// The WireGuard tunnels that have no problem.
pub(super) fn resolve(
    pending: &[Pending<'_>],
    context: &Context<'_>,
    problems: &mut Problems,
) -> BTreeMap<Name, Tunnel> {
    let mut ports = Ports::default();
    // Those that are written come first: the others go around them.
    let written: Vec<[Option<u16>; 2]> =
        pending.iter().map(|it| ports.written(it, problems)).collect();
    let mut interfaces = BTreeMap::new();
    let mut tunnels = BTreeMap::new();
    for (it, written) in pending.iter().zip(written) {
        let keepalive = keepalive(it.written.keepalive.as_ref(), problems);
        let Some((name, (initiator, responder))) = &it.ends else { continue };
        let tunnel_ends = [initiator, responder];
        let interface = interface(it, name, tunnel_ends, context, &mut interfaces, problems);
        let mtu = mtu(it, tunnel_ends, context, problems);
        let [first, second] = [0, 1].map(|index| {
            let end = tunnel_ends[index];
            let port = written[index].unwrap_or_else(|| ports.free(&end.node));
            WireguardEnd { port, addresses: addresses(end, context) }
        });
        let secret = match &it.written.psk {
            Some(psk) if !psk.value => PresharedKey::None,
            _ => PresharedKey::Shared,
        };
        let (Some(interface), Some(keepalive)) = (interface, keepalive) else { continue };
        let kind = TunnelKind::Wireguard(Wireguard {
            interface,
            initiator: first,
            responder: second,
            keepalive,
            mtu,
            secret,
        });
        let (initiator, responder) = (initiator.clone(), responder.clone());
        tunnels.insert(name.clone(), Tunnel { name: name.clone(), initiator, responder, kind });
    }
    tunnels
}

/// Which ports are taken, for each node, and where that is written.
#[derive(Default)]
struct Ports(BTreeMap<Name, BTreeMap<u16, Option<Place>>>);

impl Ports {
    /// The ports that are written for the ends.
    fn written(&mut self, pending: &Pending<'_>, problems: &mut Problems) -> [Option<u16>; 2] {
        let Some(words) = &pending.written.port else { return [None, None] };
        for word in words.iter().filter(|word| word.value == 0) {
            problems.at(word.place, "there is no UDP port 0");
        }
        let (one, other) = match words.as_slice() {
            [both] => (both, both),
            [one, other] => (one, other),
            // That their number is wrong has been said.
            _ => return [None, None],
        };
        if let Some((_, (initiator, responder))) = &pending.ends {
            self.take(&initiator.node, one, problems);
            self.take(&responder.node, other, problems);
        }
        [Some(one.value), Some(other.value)]
    }

    fn take(&mut self, node: &Name, port: &Placed<u16>, problems: &mut Problems) {
        let taken = self.0.entry(node.clone()).or_default();
        if let Some(Some(first)) = taken.insert(port.value, Some(port.place)) {
            let message = format!("port {} of {node} is that of another tunnel", port.value);
            let hint = "write [ONE, OTHER] for ports that differ, or leave port out";
            let problem = Problem::new(message).at(port.place).hint(hint);
            problems.add(problem.note(first, "the other is here"));
        }
    }

    /// The next port of `node` that no other tunnel has.
    fn free(&mut self, node: &Name) -> u16 {
        let taken = self.0.entry(node.clone()).or_default();
        let port = (PORT..=u16::MAX).find(|port| !taken.contains_key(port)).unwrap_or(PORT);
        taken.insert(port, None);
        port
    }
}

fn keepalive(word: Option<&Word>, problems: &mut Problems) -> Option<u16> {
    let Some(word) = word else { return Some(KEEPALIVE) };
    let digits = word.strip_suffix('s').filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
    let time = digits.and_then(|digits| digits.parse().ok());
    let time = time.filter(|time| (1..=LONGEST_KEEPALIVE).contains(time));
    if time.is_none() {
        let problem = Problem::new(format!("{} is no keepalive", word.value)).at(word.place);
        problems.add(problem.hint("write 25s for example; 120s is the most"));
    }
    time
}

/// The interface at both ends, called after the tunnel.
fn interface(
    pending: &Pending<'_>,
    name: &Name,
    ends: [&TunnelEnd; 2],
    context: &Context<'_>,
    taken: &mut BTreeMap<(Name, InterfaceName), Place>,
    problems: &mut Problems,
) -> Option<InterfaceName> {
    let mut word = format!("wg-{name}");
    word.truncate(LONGEST_NAME);
    let interface = InterfaceName::new(&word).ok()?;
    for end in ends {
        let node = &end.node;
        let is_it = |it: &crate::model::Interface| it.name == interface;
        if context.nodes.get(node).is_some_and(|it| it.interfaces.iter().any(is_it)) {
            let message = format!("{node} has an interface {interface} already");
            let hint = "that of the tunnel is called so: call the tunnel or yours something else";
            problems.add(Problem::new(message).at(pending.place).hint(hint));
        }
        if let Some(first) = taken.insert((node.clone(), interface.clone()), pending.place) {
            let message = format!("two tunnels of {node} would have the interface {interface}");
            let problem = Problem::new(message).at(pending.place).note(first, "the first is here");
            problems.add(problem.hint("let their names differ in the first twelve letters"));
        }
    }
    Some(interface)
}

fn mtu(
    pending: &Pending<'_>,
    ends: [&TunnelEnd; 2],
    context: &Context<'_>,
    problems: &mut Problems,
) -> u32 {
    let ipv6 = ends.iter().flat_map(|end| &end.carry).any(|it| it.addr().is_ipv6());
    if let Some(mtu) = &pending.written.mtu {
        segments::check_mtu(mtu, ipv6, problems);
        if (LARGEST_MTU + 1..65536).contains(&mtu.value) {
            let problem = Problem::new(format!("an mtu of {} is not possible", mtu.value));
            problems.add(problem.at(mtu.place).hint("a tunnel's is at most 4000 bytes"));
        }
        return mtu.value;
    }
    let outer = |end: &&TunnelEnd| {
        let mut addresses = context.nodes.get(&end.node)?.addresses();
        addresses.find(|(_, own)| *own == end.address).map(|(interface, _)| interface.mtu)
    };
    let least = ends.iter().filter_map(outer).min().unwrap_or(LARGEST_MTU);
    let mtu = least.saturating_sub(OVERHEAD).min(LARGEST_MTU);
    if mtu < if ipv6 { LEAST_MTU_IPV6 } else { 68 } {
        let message = format!("the tunnel could carry packets of {mtu} bytes at most");
        let problem = Problem::new(message).at(pending.place);
        problems.add(problem.hint("its segments need an mtu that is larger, or it an mtu"));
    }
    mtu
}

/// The address of the node behind this end, for each family.
fn addresses(end: &TunnelEnd, context: &Context<'_>) -> Vec<IpAddr> {
    let Some(wired) = context.nodes.get(&end.node) else { return vec![] };
    let find = |is_ipv4: bool| {
        let carried = |address: &IpAddr| {
            address.is_ipv4() == is_ipv4 && end.carry.iter().any(|it| it.contains(address))
        };
        let mut found: Vec<IpAddr> =
            wired.addresses().map(|(_, address)| address).filter(carried).collect();
        // The address towards the other end is the last choice.
        found.sort_by_key(|address| *address == end.address);
        found.first().copied()
    };
    [true, false].into_iter().filter_map(find).collect()
}

/// Gives the nodes at the ends of WireGuard tunnels their routes.
pub(super) fn add_routes(
    pending: &spec::Spec,
    tunnels: &BTreeMap<Name, Tunnel>,
    context: &Context<'_>,
    nodes: &mut BTreeMap<Name, Node>,
    problems: &mut Problems,
) {
    for (word, written) in &pending.tunnels {
        let tunnel = Name::new(word).ok().and_then(|name| tunnels.get(&name));
        let (Some(tunnel), Some(written)) = (tunnel, written) else { continue };
        let Some(wireguard) = tunnel.wireguard() else { continue };
        let place = written.ends().place;
        for (own, peer) in [(0, 1), (1, 0)].map(|(a, b)| (tunnel.ends()[a], tunnel.ends()[b])) {
            let (Some(wired), Some(node)) =
                (context.nodes.get(&own.node), nodes.get_mut(&own.node))
            else {
                continue;
            };
            for route in routes(&wireguard.interface, own, peer, wired, place, problems) {
                let same = node.routes.iter().find(|it| it.to == route.to);
                match same.map(|it| it.via == route.via) {
                    None => node.routes.push(route),
                    // Two tunnels to one other end keep their packets out by the same route.
                    Some(true) => {}
                    Some(false) => {
                        let message = format!("{} has a route to {} already", own.node, route.to);
                        let hint = "the tunnel carries what goes there";
                        problems.add(Problem::new(message).at(place).hint(hint));
                    }
                }
            }
        }
    }
}

fn routes(
    interface: &InterfaceName,
    own: &TunnelEnd,
    peer: &TunnelEnd,
    wired: &Wired,
    place: Place,
    problems: &mut Problems,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let has_family = |it: &&IpNet| own.carry.iter().any(|near| is_ipv4(near) == is_ipv4(it));
    for prefix in peer.carry.iter().filter(has_family).flat_map(halves) {
        if wired.interfaces.iter().flat_map(|it| &it.addresses).any(|it| it.trunc() == prefix) {
            let message = format!("{} is on {prefix} itself", own.node);
            let hint = "the other end cannot be in front of it";
            problems.add(Problem::new(message).at(place).hint(hint));
            continue;
        }
        routes.push(Route { to: prefix, via: Via::Interface(interface.clone()) });
        if !prefix.contains(&peer.address) {
            continue;
        }
        if prefix.prefix_len() == prefix.max_prefix_len() {
            let message = format!("the tunnel cannot carry its own packets to {}", peer.address);
            let hint = "WireGuard carries what is behind its ends, not their own addresses";
            problems.add(Problem::new(message).at(place).hint(hint));
        } else if let Some(via) = way_out(wired, peer.address, prefix.prefix_len()) {
            routes.push(Route { to: IpNet::from(peer.address), via });
        }
    }
    routes
}

fn is_ipv4(prefix: &IpNet) -> bool {
    prefix.addr().is_ipv4()
}

/// Everything, in two halves: together they win over a default route.
fn halves(prefix: &IpNet) -> Vec<IpNet> {
    match prefix.prefix_len() {
        0 => prefix.subnets(1).map_or_else(|_| vec![*prefix], Iterator::collect),
        _ => vec![*prefix],
    }
}

/// How `address` is reached without the tunnel, if a prefix of `length` would win over that.
fn way_out(wired: &Wired, address: IpAddr, length: u8) -> Option<Via> {
    let connected = wired.interfaces.iter().flat_map(|interface| {
        let on = interface.addresses.iter().filter(|it| it.contains(&address));
        on.map(|it| (it.prefix_len(), Via::Interface(interface.name.clone())))
    });
    let routes = wired.routes.iter().filter(|route| route.to.contains(&address));
    let routes = routes.map(|route| (route.to.prefix_len(), route.via.clone()));
    let best = connected.chain(routes).max_by_key(|(length, _)| *length)?;
    (best.0 < length).then_some(best.1)
}
