//! What a lab asks that an engine's own networks cannot do, with words for people.

use ipnet::IpNet;

use super::segments;
use crate::address::Mac;
use crate::desired;
use crate::model::{Driver, Interface, Model, Segment};
use crate::name::{InterfaceName, Name};

/// Something that the engine cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What of the lab it is.
    pub subject: Subject,
    /// What is asked and cannot be.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// A part of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A segment.
    Segment(Name),
    /// An interface of a node, counted from 0.
    Interface(Name, usize),
}

impl From<Subject> for desired::Subject {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Segment(name) => Self::Segment(name),
            Subject::Interface(node, _) => Self::Node(node),
        }
    }
}

/// What is said to all of it in the end.
const OWN: &str = "`network: own` has no such limit";

impl Limit {
    fn segment(name: &Name, message: String, hint: &str) -> Self {
        Self { subject: Subject::Segment(name.clone()), message, hint: hint.to_owned() }
    }

    pub(super) fn no_gateway(segment: &Name, prefix: &IpNet) -> Self {
        let message = format!(
            "Docker keeps an address of {prefix} for a gateway, and segment {segment} has none left"
        );
        Self::segment(segment, message, "give the segment a larger prefix")
    }

    pub(super) fn in_use(segment: &Name, prefix: &IpNet, name: &str, other: &IpNet) -> Self {
        let message = format!(
            "{prefix} of segment {segment} overlaps with {other} of Docker's network {name}"
        );
        Self::segment(segment, message, &format!("remove that network, or: {OWN}"))
    }

    pub(super) fn no_order<'a>(segments: impl Iterator<Item = &'a Name>) -> Self {
        let names: Vec<&str> = segments.map(Name::as_str).collect();
        let message = format!(
            "Docker numbers the interfaces of all nodes in one order of networks, and there is none that \
             fits all for {}",
            names.join(", ")
        );
        let subject = Subject::Segment(Name::new(names[0]).expect("it is the name of a segment"));
        let hint = format!("write these segments in the same order in every node, or: {OWN}");
        Self { subject, message, hint }
    }
}

/// Whether two prefixes have an address in common.
pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// All of a lab, besides what shows when addresses and an order are chosen.
pub(super) fn of(model: &Model) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut seen: Vec<(&Name, &IpNet)> = Vec::new();
    for (name, segment) in segments(model) {
        of_segment(name, segment, &mut limits);
        for prefix in &segment.prefixes {
            if let Some((first, other)) = seen.iter().find(|(_, other)| overlap(prefix, other)) {
                let message = format!(
                    "{prefix} of segment {name} overlaps with {other} of segment {first}, which Docker \
                     refuses"
                );
                limits.push(Limit::segment(name, message, OWN));
            }
            seen.push((name, prefix));
        }
    }
    for (node, wired) in &model.nodes {
        let on = wired.interfaces.iter().enumerate();
        for (index, interface) in on.filter(|(_, it)| !model.is_way_out(&it.segment)) {
            let earlier = &wired.interfaces[..index];
            of_interface(model, (node, index), interface, earlier, &mut limits);
        }
    }
    limits
}

fn of_segment(name: &Name, segment: &Segment, limits: &mut Vec<Limit>) {
    if segment.driver == Driver::Veth {
        let message = format!("segment {name} is a veth pair, and Docker has no such network");
        limits.push(Limit::segment(name, message, "write `driver: macvlan` or `driver: bridge`"));
    }
    let of_ipv4 = segment.prefixes.iter().filter(|it| it.addr().is_ipv4()).count();
    let of_ipv6 = segment.prefixes.len() - of_ipv4;
    if of_ipv4 == 0 {
        let message = format!("segment {name} has no IPv4 prefix, and Docker would choose one");
        limits.push(Limit::segment(
            name,
            message,
            "give the segment a prefix, 10.0.0.0/24 for example",
        ));
    }
    if of_ipv4 > 1 || of_ipv6 > 1 {
        let message = format!(
            "segment {name} has several prefixes of one family, and Docker gives an interface one address \
             of each"
        );
        limits.push(Limit::segment(name, message, OWN));
    }
}

fn of_interface(
    model: &Model,
    (node, index): (&Name, usize),
    interface: &Interface,
    earlier: &[Interface],
    limits: &mut Vec<Limit>,
) {
    let mut limit = |message: String, hint: &str| {
        let subject = Subject::Interface(node.clone(), index);
        limits.push(Limit { subject, message, hint: hint.to_owned() });
    };
    let (name, segment) = (&interface.name, &interface.segment);
    if name.as_str() != format!("eth{index}") {
        let message = format!(
            "{name} of {node} would be eth{index}: Docker before 28 takes no names for interfaces"
        );
        limit(message, "leave the name out");
    }
    if earlier.iter().any(|it| it.segment == *segment) {
        limit(
            format!("{node} is on segment {segment} twice, and Docker takes a container once"),
            OWN,
        );
    }
    if !interface.addresses.iter().any(|it| it.addr().is_ipv4()) {
        let message = format!("{name} of {node} has no IPv4 address, and Docker would choose one");
        limit(message, "give it an address");
    }
    if interface.mac != derived(model, node, name) {
        limit(format!("{name} of {node} has a MAC of its own, which Docker 20.10 ignores"), OWN);
    }
    if interface.mtu != model.segments[segment].mtu {
        let message = format!(
            "{name} of {node} has an mtu of {}, and Docker gives all interfaces that of their network",
            interface.mtu
        );
        limit(message, "give the segment that mtu");
    }
}

fn derived(model: &Model, node: &Name, interface: &InterfaceName) -> Mac {
    Mac::derive(&model.lab, node, interface)
}
