//! The shapes.

use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv4Subnets};

use super::Topology;
use super::network::{Kind, Network, Node, Segment};

/// Cables are numbered from here.
const CABLES: u32 = u32::from_be_bytes([10, 0, 0, 0]);

/// Cables between spines and leaves are numbered from here: below are hosts.
const STAGES: u32 = u32::from_be_bytes([172, 16, 0, 0]);

/// Two spines, three leaves and a host.
pub(super) const CLOS_LEAST: u32 = 6;

/// How many checks there are at most.
const CHECKS: usize = 8;

/// How far apart those are at most who check each other in a ring: a packet is forwarded 64 times
/// (`net.ipv4.ip_default_ttl`, ip-sysctl.rst of the kernel).
const FURTHEST: usize = 60;

pub(super) fn network(topology: Topology, nodes: u32) -> Network {
    let nodes = nodes as usize;
    match topology {
        Topology::Star => of_tree(&vec![0; nodes - 1]),
        Topology::Tree { degree } => {
            let degree = degree.get() as usize;
            of_tree(&(0..nodes - 1).map(|number| number / degree).collect::<Vec<_>>())
        }
        Topology::Ring => ring(nodes),
        Topology::Clos => clos(nodes),
        Topology::Random { seed } => random(nodes, Chance(seed)),
    }
}

/// The prefix of a cable.
fn cable(base: u32, number: usize) -> Ipv4Net {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    Ipv4Net::new_assert(Ipv4Addr::from(base + 2 * number), 31)
}

/// The prefixes that hold the cables from `first` on, `count` of them, and nothing else.
fn cables(first: usize, count: usize) -> Ipv4Subnets {
    let last = cable(CABLES, first + count.max(1) - 1);
    Ipv4Subnets::new(cable(CABLES, first).network(), last.broadcast(), 0)
}

fn numbered(nodes: usize) -> Network {
    let nodes = (1..=nodes).map(|number| Node::named(format!("n{number}")));
    Network { nodes: nodes.collect(), ..Network::default() }
}

/// Some of the nodes from `first` on, spread evenly.
fn some_of(first: usize, end: usize) -> impl Iterator<Item = usize> {
    let step = (end - first).div_ceil(CHECKS).max(1);
    (first..end).rev().step_by(step)
}

/// A tree: of each node but the first, which of those before it is above it.
///
/// The cable of a node to the one above has the number of the node in a walk that goes down before
/// it goes on, so that all that is below a node comes directly after it.
fn of_tree(above: &[usize]) -> Network {
    let count = above.len() + 1;
    let mut below = vec![1; count];
    for node in (1..count).rev() {
        below[above[node - 1]] += below[node];
    }
    // The number of the cable that leads up; those who come later begin where their elders end.
    let mut number = vec![0; count];
    let mut next: Vec<usize> = vec![0; count];
    for node in 1..count {
        let parent = above[node - 1];
        number[node] = next[parent];
        next[parent] += below[node];
        next[node] = number[node] + 1;
    }
    let mut network = numbered(count);
    for node in 1..count {
        let (parent, prefix) = (above[node - 1], cable(CABLES, number[node]));
        network.cable(prefix, [parent, node]);
        network.nodes[node].gateway = Some(prefix.network());
        if below[node] > 1 {
            let behind = cables(number[node] + 1, below[node] - 1);
            let routes = behind.map(|to| (to, prefix.broadcast()));
            network.nodes[parent].routes.extend(routes);
        }
    }
    network.checks =
        some_of(1, count).map(|from| (from, 1)).filter(|(from, to)| from != to).collect();
    if network.checks.is_empty() {
        network.checks.push((count - 1, 0));
    }
    network
}

/// A ring: half of it is reached in each direction.
fn ring(count: usize) -> Network {
    let mut network = numbered(count);
    for node in 0..count {
        network.cable(cable(CABLES, node), [node, (node + 1) % count]);
    }
    for node in 0..count {
        let before = cable(CABLES, (node + count - 1) % count);
        let after = cable(CABLES, node);
        let (first, ahead) = (node + 1, count / 2);
        let to_the_end = ahead.min(count - first);
        let mut ranges = vec![(first, to_the_end), (0, ahead - to_the_end)];
        ranges.retain(|(_, length)| *length > 0);
        network.nodes[node].gateway = Some(before.network());
        network.nodes[node].routes = ranges
            .into_iter()
            .flat_map(|(first, length)| cables(first, length))
            .map(|to| (to, after.broadcast()))
            .collect();
    }
    let far = (count / 2).min(FURTHEST);
    network.checks = some_of(0, count).map(|from| (from, (from + far) % count)).collect();
    network
}

/// Spines, leaves and hosts: as many leaves as a leaf has hosts, and a spine for eight leaves.
fn clos(count: usize) -> Network {
    let leaves = (1..).find(|it| it * it >= count).unwrap_or(1);
    let spines = (leaves / 8).max(2);
    let hosts = count - spines - leaves;
    let named =
        |kind: &'static str, count| (1..=count).map(move |it| Node::named(format!("{kind}-{it}")));
    let nodes = named("spine", spines).chain(named("leaf", leaves)).chain(named("host", hosts));
    let mut network = Network { nodes: nodes.collect(), ..Network::default() };
    // What is below a leaf: its number is the second byte of the addresses.
    let below = |leaf: usize| {
        let second = u8::try_from(leaf).unwrap_or(u8::MAX);
        Ipv4Net::new_assert(Ipv4Addr::new(10, second, 0, 0), 16)
    };
    let at = |prefix: Ipv4Net, number: usize| {
        Ipv4Addr::from(u32::from(prefix.network()) + u32::try_from(number).unwrap_or(u32::MAX))
    };
    for leaf in 0..leaves {
        for spine in 0..spines {
            network.cable(cable(STAGES, leaf * spines + spine), [spine, spines + leaf]);
        }
        let name = format!("hosts-{}", leaf + 1);
        network.segments.push(Segment { name, prefix: below(leaf), kind: Kind::Shared });
        let segment = network.segments.len() - 1;
        network.nodes[spines + leaf].ends.push((segment, at(below(leaf), 1)));
        for (number, host) in (leaf..hosts).step_by(leaves).enumerate() {
            let node = &mut network.nodes[spines + leaves + host];
            node.ends.push((segment, at(below(leaf), number + 2)));
            node.gateway = Some(at(below(leaf), 1));
        }
    }
    for leaf in 0..leaves {
        for spine in 0..spines {
            let prefix = cable(STAGES, leaf * spines + spine);
            network.nodes[spine].routes.push((below(leaf), prefix.broadcast()));
            // What is meant for a leaf goes over one spine, and over another for the next leaf.
            let others = (0..leaves).filter(|other| *other != leaf && other % spines == spine);
            let routes = others.map(|other| (below(other), prefix.network()));
            network.nodes[spines + leaf].routes.extend(routes);
        }
    }
    let first = spines + leaves;
    network.checks = some_of(first + 1, count).map(|from| (from, first)).collect();
    if network.checks.is_empty() {
        network.checks.push((first, spines));
    }
    network
}

/// A tree by chance, and cables between nodes that have none to each other yet.
fn random(count: usize, mut chance: Chance) -> Network {
    let above: Vec<usize> = (1..count).map(|node| chance.below(node)).collect();
    let mut network = of_tree(&above);
    let mut number = count - 1;
    let mut pairs: std::collections::BTreeSet<_> =
        above.iter().enumerate().map(|(index, above)| (*above, index + 1)).collect();
    for _ in 0..count / 2 {
        let ends = [chance.below(count), chance.below(count)];
        let pair = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        if ends[0] != ends[1] && pairs.insert(pair) {
            network.cable(cable(CABLES, number), [pair.0, pair.1]);
            number += 1;
        }
    }
    network
}

/// Numbers that look random and are not: SplitMix64 (Steele, Lea, Flood: Fast Splittable
/// Pseudorandom Number Generators, OOPSLA 2014).
struct Chance(u64);

impl Chance {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The part of the range that it stands for; biased by less than one in 2^40.
        usize::try_from((u128::from(z) * end as u128) >> 64).unwrap_or(0)
    }
}
