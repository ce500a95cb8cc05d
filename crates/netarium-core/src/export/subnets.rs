//! What Docker is told of addresses: the lab's own where it can have them, else others that it never
//! sees again, since the script of each node puts the lab's in their place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::model::{Interface, Model};
use crate::name::{InterfaceName, Name};

/// Prefixes in place of those that Docker does not take: for tests of networks (RFC 2544).
const SPARE: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);

/// An interface, with what Docker gives it.
type Given = (InterfaceName, IpAddr, Option<IpAddr>);

/// What Docker is told of each segment.
pub(super) struct Subnets {
    segments: BTreeMap<Name, Subnet>,
}

/// What Docker is told of a segment.
pub(super) struct Subnet {
    pub(super) ipv4: IpNet,
    pub(super) gateway: IpAddr,
    /// The IPv6 prefix, if it has one, and what Docker takes for itself there.
    pub(super) ipv6: Option<(IpNet, IpAddr)>,
    /// What Docker gives the first interface of each node.
    given: BTreeMap<Name, Given>,
}

impl Subnets {
    pub(super) fn of(model: &Model, notes: &mut BTreeSet<String>) -> Self {
        let mut taken: Vec<IpNet> = Vec::new();
        let mut segments = BTreeMap::new();
        for name in model.segments.keys() {
            match Subnet::of(model, name, &mut taken, notes) {
                Some(subnet) => drop(segments.insert(name.clone(), subnet)),
                None => drop(notes.insert(format!(
                    "segment {name} is left out: no prefix is left for it that Docker takes"
                ))),
            }
        }
        Self { segments }
    }

    /// All segments.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &Subnet)> {
        self.segments.iter()
    }

    /// What Docker gives an interface.
    pub(super) fn given(
        &self,
        node: &Name,
        interface: &Interface,
    ) -> Option<(IpAddr, Option<IpAddr>)> {
        let subnet = self.segments.get(&interface.segment)?;
        let (name, ipv4, ipv6) = subnet.given.get(node)?;
        (*name == interface.name).then_some((*ipv4, *ipv6))
    }
}

impl Subnet {
    /// `None` if no prefix is left for it.
    fn of(
        model: &Model,
        name: &Name,
        taken: &mut Vec<IpNet>,
        notes: &mut BTreeSet<String>,
    ) -> Option<Self> {
        let segment = model.segments.get(name)?;
        let interfaces = on(model, name);
        let addresses = interfaces.iter().flat_map(|(_, it)| &it.addresses);
        let own: BTreeSet<IpAddr> = addresses.map(IpNet::addr).collect();
        let fits = |prefix: &&IpNet| is_free(prefix, taken) && has_room(prefix, &own);
        let of_ipv4 = |prefix: &&IpNet| prefix.addr().is_ipv4();
        let of_ipv6 = |prefix: &&IpNet| prefix.addr().is_ipv6() && !model.is_way_out(name);
        let chosen = segment.prefixes.iter().filter(of_ipv4).find(fits).map(IpNet::trunc);
        let ipv6 = segment.prefixes.iter().filter(of_ipv6).find(fits).map(IpNet::trunc);
        for prefix in segment.prefixes.iter().filter(|it| of_ipv4(it) || of_ipv6(it)) {
            if ![chosen, ipv6].contains(&Some(prefix.trunc())) {
                notes.insert(format!(
                    "segment {name}: Docker cannot be told {prefix}, which overlaps with another or \
                     is full; the nodes have their addresses of it all the same"
                ));
            }
        }
        let ipv4 = chosen.or_else(|| spare(taken, interfaces.len()))?;
        taken.extend([Some(ipv4), ipv6].into_iter().flatten());
        let way_out = model.uplink.as_ref().filter(|_| model.is_way_out(name));
        let gateway =
            way_out.and_then(|it| it.gateways.iter().map(IpNet::addr).find(IpAddr::is_ipv4));
        let mut free =
            hosts(ipv4).filter(|address| !own.contains(address) && Some(*address) != gateway);
        let gateway = gateway.or_else(|| free.next())?;
        let mut free_ipv6 = ipv6.into_iter().flat_map(hosts).filter(|it| !own.contains(it));
        let ipv6 = ipv6.and_then(|prefix| Some((prefix, free_ipv6.next()?)));
        let mut given = BTreeMap::new();
        for (node, interface) in interfaces {
            let first = |prefix: IpNet| {
                let mut own = interface.addresses.iter().map(IpNet::addr);
                own.find(|address| prefix.contains(address))
            };
            let v4 = first(ipv4).or_else(|| free.next())?;
            let v6 = ipv6.and_then(|(prefix, _)| first(prefix).or_else(|| free_ipv6.next()));
            // Docker puts a container on a network once.
            given.entry(node.clone()).or_insert((interface.name.clone(), v4, v6));
        }
        Some(Self { ipv4, gateway, ipv6, given })
    }
}

/// The interfaces on a segment, each with its node.
fn on<'m>(model: &'m Model, segment: &Name) -> Vec<(&'m Name, &'m Interface)> {
    let nodes = model.nodes.iter();
    let all = nodes.flat_map(|(name, node)| node.interfaces.iter().map(move |it| (name, it)));
    all.filter(|(_, interface)| interface.segment == *segment).collect()
}

/// Whether a prefix overlaps with none that Docker is told.
fn is_free(prefix: &IpNet, taken: &[IpNet]) -> bool {
    taken.iter().all(|other| !overlap(prefix, other))
}

/// Whether a prefix has an address for Docker itself, besides those of nodes.
fn has_room(prefix: &IpNet, own: &BTreeSet<IpAddr>) -> bool {
    hosts(*prefix).take(own.len() + 1).any(|address| !own.contains(&address))
}

/// The first spare prefix with room for so many interfaces that overlaps none.
fn spare(taken: &[IpNet], interfaces: usize) -> Option<IpNet> {
    let all = Ipv4Net::new(SPARE.0, SPARE.1).ok()?;
    // Network, broadcast and Docker itself need three.
    let length = if interfaces + 3 <= 256 { 24 } else { 18 };
    let mut subnets = all.subnets(length).ok()?.map(IpNet::from);
    subnets.find(|subnet| is_free(subnet, taken))
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The addresses of a prefix that hosts can have, the last ones first: people begin with the first.
fn hosts(prefix: IpNet) -> Box<dyn Iterator<Item = IpAddr>> {
    match prefix {
        IpNet::V4(net) => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            Box::new((first + 1..last).rev().map(|it| IpAddr::from(Ipv4Addr::from(it))))
        }
        IpNet::V6(net) => {
            // The last ones are anycast addresses of routers (RFC 2526).
            let base = u128::from(net.network());
            let room = (u128::from(net.broadcast()) - base).min(0xffff);
            let addresses = (1..room.saturating_sub(128)).rev().map(move |it| base + it);
            Box::new(addresses.map(|it| IpAddr::from(std::net::Ipv6Addr::from(it))))
        }
    }
}
