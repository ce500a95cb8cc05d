//! Segments: prefixes, drivers and MTUs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Context, names};
use crate::model::{Driver, Segment};
use crate::name::Name;
use crate::problem::{Place, Placed, Problem, Problems};
use crate::spec::{self, Spec, Word};

/// The MTU of a segment that names none.
const MTU: u32 = 1500;

/// The least MTU of IPv4 (RFC 791) and IPv6 (RFC 8200).
const LEAST_MTU: u32 = 68;
const LEAST_MTU_IPV6: u32 = 1280;

/// The segments that have no problem.
pub(super) fn resolve(spec: &Spec, problems: &mut Problems) -> BTreeMap<Name, Segment> {
    let mut segments = BTreeMap::new();
    for (word, written) in &spec.segments {
        let name = names::part("segment", word, problems);
        let segment = written.as_ref().and_then(|written| segment(written, problems));
        if let (Some(name), Some(segment)) = (name, segment) {
            segments.insert(name, segment);
        }
    }
    segments
}

fn segment(written: &spec::Segment, problems: &mut Problems) -> Option<Segment> {
    let mut prefixes: Vec<Placed<IpNet>> = Vec::new();
    for word in &written.prefixes {
        let prefix = link_prefix(word, problems)?;
        if let Some(other) = prefixes.iter().find(|other| overlap(other, &prefix)) {
            let message = format!("{} and {} overlap", other.value, prefix.value);
            problems.add(Problem::new(message).at(prefix.place).note(other.place, "the other"));
        }
        prefixes.push(prefix);
    }
    let prefixes: Vec<IpNet> = prefixes.into_iter().map(|prefix| prefix.value).collect();
    if let Some(mtu) = &written.mtu {
        let ipv6 = prefixes.iter().any(|prefix| prefix.addr().is_ipv6());
        check_mtu(mtu, ipv6, problems);
    }
    let mtu = written.mtu.as_ref().map_or(MTU, |mtu| mtu.value);
    let driver = written.driver.as_ref().map_or(Driver::Macvlan, |driver| driver.value);
    Some(Segment { driver, prefixes, mtu })
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// Whether a link can have this MTU.
pub(super) fn check_mtu(mtu: &Placed<u32>, ipv6: bool, problems: &mut Problems) {
    let message = format!("an mtu of {} is not possible", mtu.value);
    let hint = match mtu.value {
        0..LEAST_MTU => "it is at least 68 bytes",
        65536.. => "it is at most 65535 bytes",
        ..LEAST_MTU_IPV6 if ipv6 => "with IPv6 it is at least 1280 bytes",
        _ => return,
    };
    problems.add(Problem::new(message).at(mtu.place).hint(hint));
}

/// A prefix that hosts can be on.
fn link_prefix(word: &Word, problems: &mut Problems) -> Option<Placed<IpNet>> {
    if let Ok(address) = word.parse::<IpAddr>() {
        let length = if address.is_ipv4() { 24 } else { 64 };
        let hint = match IpNet::new(address, length) {
            Ok(guess) => format!("write {} for example", guess.trunc()),
            Err(_) => "write the length behind it".to_owned(),
        };
        let problem = Problem::new(format!("{address} is no prefix, it has no length"));
        problems.add(problem.at(word.place).hint(hint));
        return None;
    }
    let prefix = prefix(word, problems)?;
    let address = prefix.addr();
    if prefix.prefix_len() == 0 || unfit(address) {
        let message = format!("{} cannot be the prefix of a segment", prefix.value);
        problems.at(prefix.place, message);
        return None;
    }
    Some(prefix)
}

/// Any prefix; an address is one with the full length.
pub(super) fn prefix(word: &Word, problems: &mut Problems) -> Option<Placed<IpNet>> {
    let parsed = word.parse::<IpNet>().ok();
    let parsed = parsed.or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(prefix) = parsed else {
        let problem = Problem::new(format!("{} is no prefix", word.value)).at(word.place);
        problems.add(problem.hint("write 10.0.0.0/24 or fd00::/64"));
        return None;
    };
    if prefix.trunc() != prefix {
        let message = format!("{prefix} has host bits set");
        problems
            .add(Problem::new(message).at(word.place).hint(format!("write {}", prefix.trunc())));
    }
    Some(Placed { value: prefix.trunc(), place: word.place })
}

/// Whether no interface on a segment can have such an address.
pub(super) fn unfit(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback() || address.is_multicast()
}

/// A veth segment has two ends.
pub(super) fn check_pairs(spec: &Spec, context: &Context<'_>, problems: &mut Problems) {
    let mut ends: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
    for node in spec.nodes.iter().filter_map(|(_, node)| node.as_ref()) {
        for interface in &node.interfaces {
            ends.entry(&interface.segment).or_default().push(interface.segment.place);
        }
    }
    for (word, written) in &spec.segments {
        let Some(driver) = written.as_ref().and_then(|written| written.driver.as_ref()) else {
            continue;
        };
        let places = ends.get(word.value.as_str()).map_or(&[][..], Vec::as_slice);
        if driver.value != Driver::Veth || places.len() == 2 || context.node_names.is_open() {
            continue;
        }
        let message = format!("segment {} has {} of two interfaces", word.value, places.len());
        let mut problem = Problem::new(message).at(word.place);
        problem = problem.hint("a veth segment is a cable: for more, write driver: bridge");
        if let Some(third) = places.get(2) {
            problem = problem.note(*third, "the third is here");
        }
        problems.add(problem);
    }
}
