//! Networks, addresses, names and routes, as Docker has them.

use netarium_core::model::{Driver, Model, Node};

use super::Files;

fn node<'m>(model: &'m Model, name: &str) -> &'m Node {
    model.nodes.iter().find(|(it, _)| it.as_str() == name).unwrap().1
}

/// `eth0 lan 10.0.0.2/24` for each interface.
fn interfaces(model: &Model, name: &str) -> Vec<String> {
    let line = |it: &netarium_core::model::Interface| {
        let addresses: Vec<String> = it.addresses.iter().map(ToString::to_string).collect();
        format!("{} {} {}", it.name, it.segment, addresses.join(" "))
    };
    node(model, name).interfaces.iter().map(line).collect()
}

/// `0.0.0.0/0 10.0.0.1` for each route.
fn routes(model: &Model, name: &str) -> Vec<String> {
    let line = |it: &netarium_core::model::Route| {
        let via = serde_json::to_value(&it.via).unwrap();
        format!("{} {}", it.to, via["gateway"]["address"].as_str().unwrap())
    };
    node(model, name).routes.iter().map(line).collect()
}

#[test]
fn interfaces_stand_in_dockers_order() {
    let text = "
services:
  r:
    image: x
    networks: {zoo: {ipv4_address: 10.9.0.9}, inner: , alpha: , last: {priority: 1000}, six: }
networks:
  zoo: {driver: macvlan, ipam: {config: [{subnet: 10.9.0.0/24, gateway: 10.9.0.254}]}}
  inner: {internal: true, ipam: {config: [{subnet: 10.8.0.0/24}]}}
  alpha: {driver: macvlan, ipam: {config: [{subnet: 10.7.0.0/24}]}}
  last: {driver: macvlan, ipam: {config: [{subnet: 10.6.0.0/24}]}}
  six: {driver: macvlan, enable_ipv6: true, ipam: {config: [{subnet: 10.5.0.0/24}, {subnet: \"fd00:5::/64\"}]}}
";
    let model = Files::of(text).model();
    assert_eq!(
        interfaces(&model, "r"),
        [
            "eth0 six 10.5.0.2/24 fd00:5::2/64",
            "eth1 last 10.6.0.2/24",
            "eth2 alpha 10.7.0.2/24",
            "eth3 zoo 10.9.0.9/24",
            "eth4 inner 10.8.0.2/24",
        ]
    );
    assert_eq!(routes(&model, "r"), ["0.0.0.0/0 10.5.0.1", "::/0 fd00:5::1"]);
}

#[test]
fn networks_without_a_prefix_get_one_that_is_free() {
    let text = "
services:
  a: {image: x, networks: [one, two, three]}
networks:
  one: {driver: macvlan}
  two: {driver: macvlan, enable_ipv6: true}
  three: {driver: macvlan, ipam: {config: [{subnet: 172.18.0.0/16}]}}
";
    let model = Files::of(text).model();
    assert_eq!(
        interfaces(&model, "a"),
        [
            "eth0 two 172.20.0.2/16 fd6e:6574:636f:1::2/64",
            "eth1 one 172.19.0.2/16",
            "eth2 three 172.18.0.2/16",
        ]
    );
}

#[test]
fn addresses_that_somebody_names_are_nobody_elses() {
    let text = "
services:
  a: {image: x, networks: [lan]}
  b: {image: x, networks: {lan: {ipv4_address: 10.0.0.2}}}
  c: {image: x, networks: [lan]}
  gateway: {image: x, networks: {lan: {ipv4_address: 10.0.0.1}}}
networks:
  lan: {driver: macvlan, ipam: {config: [{subnet: 10.0.0.0/24, aux_addresses: {x: 10.0.0.4}}]}}
";
    let model = Files::of(text).model();
    assert_eq!(interfaces(&model, "a"), ["eth0 lan 10.0.0.3/24"]);
    assert_eq!(interfaces(&model, "c"), ["eth0 lan 10.0.0.5/24"]);
    assert_eq!(routes(&model, "c"), ["0.0.0.0/0 10.0.0.1"]);
    assert_eq!(routes(&model, "gateway"), [""; 0]);
}

#[test]
fn a_bridge_leads_out_and_an_internal_one_nowhere() {
    let text = "
services:
  a: {image: x}
  b: {image: x, networks: [inner]}
networks: {inner: {internal: true}}
";
    let model = Files::of(text).model();
    let uplink = model.uplink.as_ref().unwrap();
    assert_eq!(uplink.nodes.iter().map(|it| it.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(interfaces(&model, "b"), ["eth0 inner 172.18.0.2/16"]);
    assert_eq!(interfaces(&model, "a")[0], "eth0 default 172.19.0.2/16");
    assert!(model.segments.values().all(|it| it.driver == Driver::Bridge));
}

#[test]
fn nodes_have_their_names_in_all_forms() {
    let text = "
services:
  gateway_A: {image: x, container_name: Box.1, hostname: gw, networks: {lan_1: {aliases: [door]}}}
networks: {lan_1: {driver: macvlan}}
";
    let model = Files::of(text).model();
    let node = node(&model, "gateway-a");
    assert_eq!(node.hostname.as_deref(), Some("gw"));
    assert_eq!(node.aliases.iter().collect::<Vec<_>>(), ["Box.1", "gateway_A"]);
    assert_eq!(node.interfaces[0].aliases.iter().collect::<Vec<_>>(), ["door"]);
    assert_eq!(node.interfaces[0].segment.as_str(), "lan-1");
}
