//! Lab files of any size: routed networks of a given shape, as text.
//!
//! Every link is a cable with a prefix of two addresses (RFC 3021), and links are numbered in such an
//! order that what lies behind one is a range of addresses: a node has few static routes however
//! large the network is. The same order gives the same text, to the byte.

mod network;
mod shapes;

use std::num::NonZeroU32;

use crate::name::Name;
use crate::spec::LARGEST;

/// What shape a network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// A hub and leaves around it.
    Star,
    /// Each node has two neighbours.
    Ring,
    /// Each node has up to this many nodes below it.
    Tree {
        /// How many.
        degree: NonZeroU32,
    },
    /// Two stages of switches, folded (Clos, 1953): every leaf is linked to every spine, and hosts
    /// to leaves.
    Clos,
    /// Each node is linked to one of those before it, chosen at random, and there are half as many
    /// links again which no static route uses.
    Random {
        /// The same seed gives the same network.
        seed: u64,
    },
}

/// What network is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The name of the lab.
    pub lab: Name,
    /// The image of all nodes.
    pub image: String,
    /// The shape.
    pub topology: Topology,
    /// How many nodes there are, all told.
    pub nodes: u32,
    /// How the lab file came to be, for its first line.
    pub origin: String,
}

/// Why there is no such network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// So few nodes do not make this shape.
    #[error("{nodes} nodes are too few for this shape: it has at least {least}")]
    Few {
        /// How many were wanted.
        nodes: u32,
        /// How many it must have.
        least: u32,
    },
    /// So many nodes do not fit.
    #[error("{nodes} nodes are too many for one lab file, which has at most {LARGEST} bytes")]
    Many {
        /// How many were wanted.
        nodes: u32,
    },
}

impl Topology {
    /// How many nodes it has at least.
    pub fn least(self) -> u32 {
        match self {
            Self::Star | Self::Tree { .. } | Self::Random { .. } => 2,
            Self::Ring => 3,
            Self::Clos => shapes::CLOS_LEAST,
        }
    }
}

/// The most nodes that are tried; their lab file is far too large.
const MOST: u32 = 65_536;

/// Writes the lab file of a network.
///
/// # Errors
/// If there are too few nodes for the shape, or too many for a lab file.
pub fn generate(order: &Order) -> Result<String, GenerateError> {
    let (nodes, least) = (order.nodes, order.topology.least());
    if nodes < least {
        return Err(GenerateError::Few { nodes, least });
    }
    let too_many = GenerateError::Many { nodes };
    if nodes > MOST {
        return Err(too_many);
    }
    let text = shapes::network(order.topology, nodes).text(order);
    if text.len() > LARGEST { Err(too_many) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Forwarding, Model, Via};
    use crate::resolve::load;

    fn model(topology: Topology, nodes: u32) -> Model {
        let order = Order {
            lab: Name::new("made").unwrap(),
            image: "host".to_owned(),
            topology,
            nodes,
            origin: "a test".to_owned(),
        };
        let text = generate(&order).unwrap();
        match load(text.as_bytes(), "made") {
            Ok(model) => model,
            Err(problems) => panic!("{text}\n{problems:?}"),
        }
    }

    /// Follows the routes of `model` from `node` to `to`: returns how many nodes forward on the way.
    fn hops(model: &Model, node: &Name, to: IpAddr) -> usize {
        let holders: BTreeMap<IpAddr, &Name> = model
            .nodes
            .iter()
            .flat_map(|(name, node)| node.interfaces.iter().map(move |it| (name, it)))
            .flat_map(|(name, it)| it.addresses.iter().map(move |it| (it.addr(), name)))
            .collect();
        let mut at = node;
        for hops in 0..model.nodes.len() {
            if holders[&to] == at {
                return hops;
            }
            assert!(
                hops == 0 || model.nodes[at].forwarding == Forwarding::On,
                "{at} does not forward"
            );
            let node = &model.nodes[at];
            let mut addresses = node.interfaces.iter().flat_map(|it| &it.addresses);
            if addresses.any(|it| it.contains(&to)) {
                at = holders[&to];
                continue;
            }
            let routes = node.routes.iter().filter(|route| route.to.contains(&to));
            let route = routes.max_by_key(|route| route.to.prefix_len());
            at = match route.map(|route| &route.via) {
                Some(Via::Gateway { address, .. }) => holders[address],
                other => panic!("{at} has no route to {to}: {other:?}"),
            };
        }
        panic!("packets from {node} to {to} go round and round");
    }

    fn everybody_reaches_everybody(topology: Topology, nodes: u32) {
        let model = model(topology, nodes);
        assert_eq!(model.nodes.len() as u32, nodes);
        assert!(!model.checks.is_empty());
        for from in model.nodes.keys() {
            for to in model.nodes.values() {
                let address = to.interfaces.first().unwrap().addresses[0].addr();
                hops(&model, from, address);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn packets_find_their_way(nodes in 6_u32..60, degree in 1_u32..6, seed in any::<u64>()) {
            let degree = NonZeroU32::new(degree).unwrap();
            let random = Topology::Random { seed };
            for topology in [Topology::Star, Topology::Ring, Topology::Tree { degree }, random] {
                everybody_reaches_everybody(topology, nodes);
            }
            let hosts_reach_hosts = model(Topology::Clos, nodes);
            let hosts: Vec<_> =
                hosts_reach_hosts.nodes.iter().filter(|(name, _)| name.as_str().starts_with("host")).collect();
            for (from, _) in &hosts {
                for (_, to) in &hosts {
                    let address = to.interfaces.first().unwrap().addresses[0].addr();
                    assert!(hops(&hosts_reach_hosts, from, address) <= 4);
                }
            }
        }
    }

    #[test]
    fn a_ring_has_two_ways_round() {
        let model = model(Topology::Ring, 100);
        let furthest = model.nodes.keys().map(|from| {
            let address = model.nodes[&Name::new("n1").unwrap()].interfaces[0].addresses[0].addr();
            hops(&model, from, address)
        });
        assert!(furthest.max().unwrap() <= 51);
    }

    #[test]
    fn a_thousand_nodes_fit() {
        let degree = NonZeroU32::new(2).unwrap();
        let random = Topology::Random { seed: 1 };
        for topology in
            [Topology::Star, Topology::Ring, Topology::Tree { degree }, Topology::Clos, random]
        {
            assert_eq!(model(topology, 1000).nodes.len(), 1000);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let order = |topology, nodes| {
            generate(&Order {
                lab: Name::new("made").unwrap(),
                image: "host".to_owned(),
                topology,
                nodes,
                origin: String::new(),
            })
        };
        assert_eq!(order(Topology::Ring, 2), Err(GenerateError::Few { nodes: 2, least: 3 }));
        assert_eq!(order(Topology::Clos, 5), Err(GenerateError::Few { nodes: 5, least: 6 }));
        assert_eq!(order(Topology::Star, 60_000), Err(GenerateError::Many { nodes: 60_000 }));
        assert_eq!(order(Topology::Star, u32::MAX), Err(GenerateError::Many { nodes: u32::MAX }));
    }
}
