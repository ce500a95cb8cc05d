//! What Docker is told of addresses: the lab's own where it can have them, else others that it never
//! sees again, since the script of each node puts the lab's in their place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::model::{Interface, Model};
use crate::name::Name;

/// Prefixes in place of those that Docker does not take: for tests of networks (RFC 2544).
const SPARE: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);

/// The least room that Docker needs beside the nodes: network, broadcast and router.
const LONGEST: u8 = 29;

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
    /// By node and interface: what Docker gives it.
    given: BTreeMap<(Name, String), (IpAddr, Option<IpAddr>)>,
}

impl Subnets {
    pub(super) fn of(model: &Model, notes: &mut Vec<String>) -> Self {
        let mut taken: Vec<IpNet> = Vec::new();
        let mut segments = BTreeMap::new();
        for name in model.segments.keys() {
            let subnet = Subnet::of(model, name, &mut taken, notes);
            segments.extend(subnet.map(|subnet| (name.clone(), subnet)));
        }
        Self { segments }
    }

    pub(super) fn get(&self, segment: &Name) -> Option<&Subnet> {
        self.segments.get(segment)
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
        subnet.given.get(&(node.clone(), interface.name.to_string())).copied()
    }
}

impl Subnet {
    fn of(
        model: &Model,
        name: &Name,
        taken: &mut Vec<IpNet>,
        notes: &mut Vec<String>,
    ) -> Option<Self> {
        let segment = model.segments.get(name)?;
        let is_way_out = model.is_way_out(name);
        let interfaces: Vec<(&Name, &Interface)> = model
            .nodes
            .iter()
            .flat_map(|(node, it)| it.interfaces.iter().map(move |interface| (node, interface)))
            .filter(|(_, interface)| interface.segment == *name)
            .collect();
        let own = interfaces.iter().flat_map(|(_, it)| &it.addresses).map(IpNet::addr);
        let own: BTreeSet<IpAddr> = own.collect();
        let fits = |prefix: &IpNet, taken: &[IpNet]| {
            let longest = if prefix.addr().is_ipv4() { LONGEST } else { 125 };
            prefix.prefix_len() <= longest && taken.iter().all(|other| !overlap(prefix, other))
        };
        let family = |is_ipv4: bool| {
            segment.prefixes.iter().filter(move |it| it.addr().is_ipv4() == is_ipv4)
        };
        let ipv4 = family(true).find(|it| fits(it, taken)).copied();
        if let (None, Some(prefix)) = (ipv4, family(true).next()) {
            notes.push(format!(
                "segment {name}: Docker takes {prefix} only once, or not at all, so it is told \
                 another prefix, and the nodes take their own addresses when they start"
            ));
        }
        let ipv4 = ipv4.or_else(|| spare(taken))?;
        taken.push(ipv4);
        // Link-local addresses of the router that Docker wants are nobody's.
        let ipv6 =
            if is_way_out { None } else { family(false).find(|it| fits(it, taken)).copied() };
        taken.extend(ipv6);
        let mut free = hosts(ipv4).filter(|address| !own.contains(address));
        let gateway = match model.uplink.as_ref().filter(|_| is_way_out) {
            Some(uplink) => uplink.gateways.iter().map(IpNet::addr).find(IpAddr::is_ipv4)?,
            None => free.next()?,
        };
        let ipv6_gateway =
            ipv6.and_then(|prefix| hosts(prefix).find(|address| !own.contains(address)));
        let mut free_ipv6 = ipv6
            .into_iter()
            .flat_map(hosts)
            .filter(|address| !own.contains(address) && Some(*address) != ipv6_gateway);
        let mut given = BTreeMap::new();
        for (node, interface) in interfaces {
            let first = |prefix: IpNet| {
                let mut own = interface.addresses.iter().map(IpNet::addr);
                own.find(|address| prefix.contains(address))
            };
            let v4 = first(ipv4).or_else(|| free.next())?;
            let v6 = ipv6.and_then(|prefix| first(prefix).or_else(|| free_ipv6.next()));
            given.insert((node.clone(), interface.name.to_string()), (v4, v6));
        }
        Some(Self { ipv4, gateway, ipv6: ipv6.zip(ipv6_gateway), given })
    }
}

/// The first spare prefix that overlaps none.
fn spare(taken: &[IpNet]) -> Option<IpNet> {
    let all = Ipv4Net::new(SPARE.0, SPARE.1).ok()?;
    let mut subnets = all.subnets(24).ok()?.map(IpNet::from);
    subnets.find(|subnet| taken.iter().all(|other| !overlap(subnet, other)))
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
