//! Networks that a container engine makes itself, in place of segments of ours (`network: engine`).
//!
//! Docker has limits that segments do not have: it hands out addresses, keeps one of each prefix for a
//! gateway, takes no two networks whose prefixes overlap, and numbers the interfaces of a container in the
//! order of their networks' names. What a lab asks beyond that is refused here, all of it at once, before
//! anything is made (libnetwork of Docker Engine 20.10).

mod limits;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use limits::{Limit, Subject};

use crate::model::{Driver, Model};
use crate::name::Name;

/// A network of the engine's own, which is a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineNetwork {
    /// Its place among the networks of the lab. Their names begin with it, so that the interfaces of every
    /// node have the order that the lab file says.
    pub rank: usize,
    /// What the engine makes it with.
    pub driver: EngineDriver,
    /// Its prefixes, one of each family, and of each the address that the engine keeps for a gateway: one
    /// that nobody in the lab has.
    pub subnets: Vec<(IpNet, IpAddr)>,
}

/// A driver of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineDriver {
    /// Macvlan interfaces on a parent link.
    Macvlan,
    /// A bridge.
    Bridge,
}

impl EngineDriver {
    /// The engine's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Macvlan => "macvlan",
            Self::Bridge => "bridge",
        }
    }
}

impl EngineNetwork {
    /// What the engine calls it.
    pub fn name(&self, lab: &Name, segment: &Name) -> String {
        format!("netarium-{lab}.{:03}.{segment}", self.rank)
    }
}

/// The networks of a lab, by segment.
///
/// # Errors
/// All that the engine cannot do, in the order of segments and nodes.
pub fn networks(model: &Model) -> Result<BTreeMap<Name, EngineNetwork>, Vec<Limit>> {
    let mut limits = limits::of(model);
    let ranks = order::ranks(model).unwrap_or_else(|limit| {
        limits.push(limit);
        BTreeMap::new()
    });
    let mut networks = BTreeMap::new();
    for (name, segment) in segments(model) {
        let driver = match segment.driver {
            Driver::Bridge => EngineDriver::Bridge,
            Driver::Macvlan | Driver::Veth => EngineDriver::Macvlan,
        };
        let taken = addresses(model, name);
        let mut subnets = Vec::new();
        for prefix in &segment.prefixes {
            match free(prefix, &taken) {
                Some(gateway) => subnets.push((prefix.trunc(), gateway)),
                None => limits.push(Limit::no_gateway(name, prefix)),
            }
        }
        let rank = ranks.get(name).copied().unwrap_or_default();
        networks.insert(name.clone(), EngineNetwork { rank, driver, subnets });
    }
    if limits.is_empty() { Ok(networks) } else { Err(limits) }
}

/// The prefixes of a lab that overlap with one that the engine has in use already.
pub fn overlaps(networks: &BTreeMap<Name, EngineNetwork>, there: &[(String, IpNet)]) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (segment, network) in networks {
        for (prefix, _) in &network.subnets {
            let other = there.iter().find(|(_, other)| limits::overlap(prefix, other));
            limits.extend(other.map(|(name, other)| Limit::in_use(segment, prefix, name, other)));
        }
    }
    limits
}

/// The segments that the engine makes: not the way out, which is ours.
fn segments(model: &Model) -> impl Iterator<Item = (&Name, &crate::model::Segment)> {
    model.segments.iter().filter(|(name, _)| !model.is_way_out(name))
}

/// The addresses on a segment.
fn addresses(model: &Model, segment: &Name) -> BTreeSet<IpAddr> {
    let interfaces = model.nodes.values().flat_map(|node| &node.interfaces);
    let on = interfaces.filter(|it| it.segment == *segment);
    on.flat_map(|it| &it.addresses).map(IpNet::addr).collect()
}

/// An address of the prefix that nobody has: from its end, since people count from its beginning.
fn free(prefix: &IpNet, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let most = taken.len() + 1;
    match prefix {
        IpNet::V4(prefix) => {
            let (first, last) = (u32::from(prefix.network()), u32::from(prefix.broadcast()));
            let candidates = (first + 1..last).rev().take(most).map(|it| IpAddr::V4(it.into()));
            candidates.into_iter().find(|it| !taken.contains(it))
        }
        IpNet::V6(prefix) => {
            let (first, last) = (u128::from(prefix.network()), u128::from(prefix.broadcast()));
            let candidates = (first + 1..last).rev().take(most).map(|it| IpAddr::V6(it.into()));
            candidates.into_iter().find(|it| !taken.contains(it))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(text: &str) -> Model {
        crate::resolve::load(text.as_bytes(), "lab").unwrap()
    }

    const TWO: &str = "network: engine\nsegments: {b: 10.0.0.0/24, a: [10.1.0.0/30, 'fd00::/64']}\nnodes:\n  \
                       one: {interfaces: {b: 10.0.0.1, a: [10.1.0.1, 'fd00::1']}}\n  \
                       two: {interfaces: {b: 10.0.0.254}}\n";

    #[test]
    fn a_gateway_is_an_address_that_nobody_has() {
        let networks = networks(&model(TWO)).unwrap();
        let of = |name: &str| {
            let network = &networks[&Name::new(name).unwrap()];
            network.subnets.iter().map(|(_, it)| it.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of("b"), ["10.0.0.253"]);
        assert_eq!(of("a"), ["10.1.0.2", "fd00::ffff:ffff:ffff:fffe"]);
    }

    #[test]
    fn networks_are_named_in_the_order_of_the_interfaces_on_them() {
        let model = model(TWO);
        let networks = networks(&model).unwrap();
        let mut names: Vec<_> =
            networks.iter().map(|(name, it)| it.name(&model.lab, name)).collect();
        names.sort();
        assert_eq!(names, ["netarium-lab.000.b", "netarium-lab.001.a"]);
    }

    #[test]
    fn a_prefix_that_the_engine_has_in_use_is_named() {
        let networks = networks(&model(TWO)).unwrap();
        let there = [("office".to_owned(), "10.0.0.0/8".parse().unwrap())];
        let told: Vec<_> =
            overlaps(&networks, &there).iter().map(|it| it.message.clone()).collect();
        assert_eq!(
            told,
            [
                "10.1.0.0/30 of segment a overlaps with 10.0.0.0/8 of Docker's network office",
                "10.0.0.0/24 of segment b overlaps with 10.0.0.0/8 of Docker's network office"
            ]
        );
    }
}
