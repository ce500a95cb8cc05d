//! What must hold for any two states of a lab.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{
    self, Ipsec, Limits, Nesting, Readiness, Restart, Service, Stop, TunnelEnd, TunnelKind, Via,
};
use crate::name::{InterfaceName, Name};
use crate::object::*;

fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

fn eth0() -> InterfaceName {
    InterfaceName::new("eth0").unwrap()
}

/// How a made-up lab differs from the next: each field is one decision of its author.
#[derive(Clone, Debug)]
struct Variation {
    nodes: BTreeSet<u8>,
    mtu: u32,
    shift: u8,
    forward: bool,
    route: bool,
    setting: Option<u8>,
    days: Option<u32>,
}

fn variation() -> impl Strategy<Value = Variation> {
    (
        prop::collection::btree_set(0_u8..4, 0..4),
        prop::sample::select(vec![1400, 1500]),
        0_u8..2,
        any::<bool>(),
        any::<bool>(),
        prop::option::of(0_u8..2),
        prop::option::of(1_u32..3),
    )
        .prop_map(|(nodes, mtu, shift, forward, route, setting, days)| Variation {
            nodes,
            mtu,
            shift,
            forward,
            route,
            setting,
            days,
        })
}

fn lab(it: &Variation) -> Objects {
    let mut objects = Objects::default();
    objects.insert(Object::Lab(Lab { name: name("lab") }));
    objects.insert(Object::Segment(Segment {
        name: name("lan"),
        link: SegmentLink::Bridge,
        network: None,
        mtu: it.mtu,
        ends: vec![],
    }));
    for number in &it.nodes {
        add_node(&mut objects, it, *number);
    }
    if let Some(days) = it.days
        && it.nodes.is_superset(&BTreeSet::from([0, 1]))
    {
        add_tunnel(&mut objects, it, days);
    }
    objects
}

fn node(number: u8) -> Name {
    name(&format!("node-{number}"))
}

fn address(it: &Variation, number: u8) -> ipnet::IpNet {
    format!("10.0.0.{}/24", 10 + number + it.shift).parse().unwrap()
}

fn add_node(objects: &mut Objects, it: &Variation, number: u8) {
    let node = node(number);
    objects.insert(Object::Node(Node {
        hostname: None,
        name: node.clone(),
        image: ImageRef::Host,
        limits: Limits::default(),
        volumes: vec![],
        nesting: Nesting::Refused,
        begins_with: None,
    }));
    objects.insert(Object::Sysctl(Sysctl {
        node: node.clone(),
        key: "net/ipv4/ip_forward".to_owned(),
        value: u8::from(it.forward).to_string(),
    }));
    objects.insert(Object::Firewall(Firewall {
        node: node.clone(),
        text: format!("forwards: {}", it.forward),
    }));
    objects.insert(Object::Interface(Interface {
        node: node.clone(),
        name: eth0(),
        segment: name("lan"),
        port: Port::Bridge,
        mac: crate::address::Mac::derive(&name("lab"), &node, &eth0()),
        mtu: it.mtu,
        state: LinkState::Up,
    }));
    objects.insert(Object::Address(Address {
        node: node.clone(),
        interface: eth0(),
        address: address(it, number),
    }));
    if it.route {
        let via = Via::Gateway { address: "10.0.0.1".parse().unwrap(), interface: eth0() };
        let to = "0.0.0.0/0".parse().unwrap();
        objects.insert(Object::Route(Route { node: node.clone(), to, via }));
    }
    objects.insert(Object::Init(Init { node: node.clone() }));
    if let Some(setting) = it.setting {
        let content = format!("setting {setting}\n").into();
        let path = "/etc/app.conf".to_owned();
        objects.insert(Object::File(File {
            node: node.clone(),
            path,
            mode: 0o644,
            owner: None,
            content,
        }));
        add_service(objects, &node, "app", vec!["/etc/app.conf".to_owned()]);
    }
}

fn add_service(objects: &mut Objects, node: &Name, service: &str, reads: Vec<String>) {
    objects.insert(Object::Service(NodeService {
        node: node.clone(),
        service: Service {
            name: name(service),
            run: vec![service.to_owned()],
            environment: BTreeMap::new(),
            folder: "/".to_owned(),
            user: None,
            after: BTreeSet::new(),
            restart: Restart::Always,
            ready: Readiness::Started,
            stop: Stop::default(),
        },
        reads,
    }));
}

fn add_tunnel(objects: &mut Objects, it: &Variation, days: u32) {
    objects.insert(Object::Authority(Authority { lab: name("lab"), days }));
    let end = |number| TunnelEnd {
        node: node(number),
        address: address(it, number).addr(),
        carry: vec![],
    };
    for end in [end(0), end(1)] {
        objects.insert(Object::Credential(Credential {
            node: end.node.clone(),
            addresses: vec![end.address],
        }));
        add_service(objects, &end.node, ipsec::service_name().as_str(), vec![]);
    }
    let tunnel = model::Tunnel {
        name: name("tunnel"),
        initiator: end(0),
        responder: end(1),
        kind: TunnelKind::Ipsec(Ipsec::example()),
    };
    objects.insert(Object::Tunnel(Tunnel { tunnel, encryption: Encryption::Kernel }));
}

/// What is left of a lab when some of it was lost, and with each what it carried.
fn damaged(mut objects: Objects, lost: &[prop::sample::Index]) -> Objects {
    for index in lost.iter().filter(|_| !objects.is_empty()).collect::<Vec<_>>() {
        let Some(object) =
            objects.iter().nth(index.index(objects.len().max(1))).map(|(_, object)| object.clone())
        else {
            continue;
        };
        record(&mut objects, &Step::Remove(object));
    }
    objects
}

/// Does the steps as the kernel would: nothing is made twice, without its base, or taken from
/// where it is not.
fn run(mut objects: Objects, steps: &[Step]) -> Objects {
    for step in steps {
        let object = step.object();
        match step {
            Step::Create(_) => {
                assert!(!objects.contains(&object.id()), "{step}: already there");
                for base in bases(object, &objects).into_iter().chain(supports(object, &objects)) {
                    assert!(objects.contains(&base), "{step}: {base} is missing");
                }
            }
            Step::Replace(_) | Step::Remove(_) => {
                assert!(objects.contains(&object.id()), "{step}: not there");
            }
        }
        record(&mut objects, step);
    }
    objects
}

proptest! {
    #[test]
    fn the_steps_lead_from_any_state_to_the_desired_one(
        from in variation(),
        to in variation(),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let observed = damaged(lab(&from), &lost);
        let desired = lab(&to);
        let steps = diff(&desired, &observed);
        prop_assert_eq!(run(observed, &steps), desired);
    }

    #[test]
    fn a_healthy_lab_needs_no_steps(it in variation()) {
        prop_assert_eq!(diff(&lab(&it), &lab(&it)), vec![]);
    }

    #[test]
    fn taking_a_whole_lab_down_is_one_step(it in variation()) {
        let steps = diff(&Objects::default(), &lab(&it));
        prop_assert_eq!(steps, vec![Step::Remove(Object::Lab(Lab { name: name("lab") }))]);
    }
}

fn plain() -> Variation {
    Variation {
        nodes: BTreeSet::from([0, 1]),
        mtu: 1500,
        shift: 0,
        forward: false,
        route: true,
        setting: Some(0),
        days: Some(1),
    }
}

fn steps(from: &Variation, to: &Variation) -> Vec<String> {
    diff(&lab(to), &lab(from)).iter().map(Step::to_string).collect()
}

#[test]
fn a_kernel_setting_and_a_firewall_are_changed_in_place() {
    let to = Variation { forward: true, nodes: BTreeSet::from([0]), days: None, ..plain() };
    let from = Variation { forward: false, ..to.clone() };
    assert_eq!(
        steps(&from, &to),
        ["replace sysctl node-0 net.ipv4.ip_forward", "replace firewall node-0"]
    );
}

#[test]
fn a_new_mtu_of_a_segment_brings_its_addresses_and_routes_back() {
    let from = Variation { nodes: BTreeSet::from([0]), setting: None, ..plain() };
    let to = Variation { mtu: 1400, ..from.clone() };
    assert_eq!(
        steps(&from, &to),
        [
            "remove interface node-0:eth0",
            "remove segment lan",
            "create segment lan",
            "create interface node-0:eth0",
            "create address node-0:eth0 10.0.0.10",
            "create route node-0 0.0.0.0/0",
        ]
    );
}

#[test]
fn a_changed_file_restarts_the_service_that_reads_it() {
    let from = Variation { nodes: BTreeSet::from([0]), days: None, ..plain() };
    let to = Variation { setting: Some(1), ..from.clone() };
    assert_eq!(
        steps(&from, &to),
        [
            "remove service node-0/app",
            "replace file node-0:/etc/app.conf",
            "create service node-0/app"
        ]
    );
}

#[test]
fn a_node_that_died_takes_its_tunnel_along() {
    let mut observed = lab(&plain());
    let died = observed.get(&Id::Node(node(0))).unwrap().clone();
    record(&mut observed, &Step::Remove(died));
    let steps = diff(&lab(&plain()), &observed);
    let first: Vec<String> = steps.iter().take(2).map(Step::to_string).collect();
    assert_eq!(first, ["remove tunnel tunnel", "create node node-0"]);
    assert_eq!(steps.last().map(Step::to_string).as_deref(), Some("create tunnel tunnel"));
}
