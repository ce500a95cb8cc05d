//! Which steps are done together: neighbours of one kind that do not wait for each other.

use netarium_core::name::Name;
use netarium_core::object::{Firewall, Init, Node, Object, Sysctl};
use netarium_core::plan::Step;

/// The most nodes that are on their way at a time: enough for all processors, few enough that none
/// waits for long.
const MOST: usize = 16;

/// Steps that are done together, each with its number.
#[derive(Debug)]
pub(super) enum Group<'a> {
    /// Nodes are created.
    Nodes(Vec<(usize, &'a Step, &'a Node)>),
    /// First processes are started.
    Inits(Vec<(usize, &'a Step, &'a Init)>),
    /// Firewalls are put in place.
    Firewalls(Vec<(usize, &'a Step, &'a Firewall)>),
    /// Settings of a node are written.
    Settings(&'a Name, Vec<(usize, &'a Step, &'a Sysctl)>),
    /// A step of its own.
    One(usize, &'a Step),
}

/// Splits numbered steps into groups, in their order.
pub(super) fn groups<'a>(steps: &[(usize, &'a Step)]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for &(number, step) in steps {
        match (groups.last_mut(), step) {
            (Some(Group::Nodes(nodes)), Step::Create(Object::Node(it))) if nodes.len() < MOST => {
                nodes.push((number, step, it));
            }
            (Some(Group::Inits(inits)), Step::Create(Object::Init(it))) if inits.len() < MOST => {
                inits.push((number, step, it));
            }
            (
                Some(Group::Firewalls(firewalls)),
                Step::Create(Object::Firewall(it)) | Step::Replace(Object::Firewall(it)),
            ) if firewalls.len() < MOST => firewalls.push((number, step, it)),
            (
                Some(Group::Settings(node, settings)),
                Step::Create(Object::Sysctl(it)) | Step::Replace(Object::Sysctl(it)),
            ) if **node == it.node => settings.push((number, step, it)),
            _ => groups.push(first(number, step)),
        }
    }
    groups
}

/// The group that a step begins.
fn first(number: usize, step: &Step) -> Group<'_> {
    match step {
        Step::Create(Object::Node(it)) => Group::Nodes(vec![(number, step, it)]),
        Step::Create(Object::Init(it)) => Group::Inits(vec![(number, step, it)]),
        Step::Create(Object::Firewall(it)) | Step::Replace(Object::Firewall(it)) => {
            Group::Firewalls(vec![(number, step, it)])
        }
        Step::Create(Object::Sysctl(it)) | Step::Replace(Object::Sysctl(it)) => {
            Group::Settings(&it.node, vec![(number, step, it)])
        }
        _ => Group::One(number, step),
    }
}

#[cfg(test)]
mod tests {
    use netarium_core::desired::desired;
    use netarium_core::feature::Feature;
    use netarium_core::image::Images;
    use netarium_core::object::Objects;
    use netarium_core::plan::diff;
    use netarium_core::uplink::Outside;

    use super::*;

    #[test]
    fn every_step_is_in_one_group_and_in_its_order() {
        let text = "image: host\nsegments: {lan: 10.0.0.0/24}\nnodes:\n  \
                    a: {interfaces: {lan: 10.0.0.1}, nat: [{masquerade: lan}]}\n  \
                    b: {interfaces: {lan: 10.0.0.2}, nat: [{masquerade: lan}]}\n";
        let model = netarium_core::resolve::load(text.as_bytes(), "lab").unwrap();
        let features = Feature::ALL.into_iter().collect();
        let steps = diff(
            &desired(&model, &features, &Outside::default(), &Images::new()).unwrap().objects,
            &Objects::default(),
        );
        let numbered: Vec<(usize, &Step)> = steps.iter().enumerate().collect();
        let groups: Vec<Vec<usize>> = groups(&numbered)
            .into_iter()
            .map(|group| match group {
                Group::Nodes(it) => it.iter().map(|(number, ..)| *number).collect(),
                Group::Inits(it) => it.iter().map(|(number, ..)| *number).collect(),
                Group::Firewalls(it) => it.iter().map(|(number, ..)| *number).collect(),
                Group::Settings(_, it) => it.iter().map(|(number, ..)| *number).collect(),
                Group::One(number, _) => vec![number],
            })
            .collect();
        assert!(groups.iter().flatten().copied().eq(0..steps.len()));
        let pairs = groups.iter().filter(|group| group.len() == 2).count();
        assert_eq!(pairs, 3, "two nodes, two firewalls and two first processes");
    }
}
