//! What IPsec tunnels join: hosts, sites with several prefixes, both families, one inside the
//! other; and that nothing of it is ever seen in plain.

use std::fs;
use std::thread;

use netarium_core::outcome::{Capture, Kind};

use crate::lab::{Conversation, TestLab, wait_until};
use crate::owner;

/// Two customers and a server, all behind gateways and all with the same addresses: the tunnels
/// join the gateways, which translate.
const HOSTS: &str = "
segments:
  internet: 172.16.0.0/24
  site-a: 10.1.0.0/24
  site-b: 10.1.0.0/24
  cloud: 10.1.0.0/24
nodes:
  gateway-a:
    forward: true
    interfaces: {site-a: [10.1.0.1, 10.1.0.99], internet: 172.16.0.1}
    firewall:
      input: {default: drop, accept: {tunnel: a}}
      output: {default: drop, accept: {tunnel: a}}
    nat:
      - {dnat: 10.1.0.99:8080/tcp, to: 172.16.0.9:8080}
      - {snat: site-a, tunnel: a, to: 172.16.0.1}
  gateway-b:
    forward: true
    interfaces: {site-b: [10.1.0.1, 10.1.0.99], internet: 172.16.0.2}
    nat:
      - {dnat: 10.1.0.99:8080/tcp, to: 172.16.0.9:8080}
      - {snat: site-b, tunnel: b, to: 172.16.0.2}
  gateway-s:
    forward: true
    interfaces: {cloud: 10.1.0.1, internet: 172.16.0.9}
    firewall:
      input: {default: drop, accept: [{tunnel: a}, {tunnel: b, icmp: echo-request}, {from: gateway-b, protocol: udp, port: [500, 4500]}]}
    nat:
      - {dnat: 172.16.0.9:8080/tcp, from: 172.16.0.1, to: 10.1.0.2:30000, tunnels: true}
      - {dnat: 172.16.0.9:8080/tcp, tunnel: b, to: 10.1.0.2:30001}
  client-a: {image: host, interfaces: {site-a: 10.1.0.2}, gateway: 10.1.0.1}
  client-b: {image: host, interfaces: {site-b: 10.1.0.2}, gateway: 10.1.0.1}
  server:
    image: host
    interfaces: {cloud: 10.1.0.2}
    gateway: 10.1.0.1
    services:
      - {name: a, run: [netarium-probe, http-echo, --port, 30000], ready: {tcp: 30000}}
      - {name: b, run: [netarium-probe, http-echo, --port, 30001], ready: {tcp: 30001}}
tunnels:
  a: {ipsec: {between: [gateway-a, gateway-s]}}
  b: {ipsec: {between: [gateway-b, gateway-s]}}
";

/// One gateway with two peers, one of them over IPv6, and both families behind each.
const FAMILIES: &str = "
segments:
  four: 172.26.0.0/24
  six: 'fd00:aa::/64'
  left: [10.1.0.0/24, 'fd00:1::/64']
  more: 10.11.0.0/24
  right: [10.2.0.0/24, 'fd00:2::/64']
  wide: 10.22.0.0/24
  north: [10.4.0.0/24, 'fd00:4::/64']
nodes:
  west: {forward: true, interfaces: {four: 172.26.0.1, six: 'fd00:aa::1', left: [10.1.0.1, 'fd00:1::1'], more: 10.11.0.1}}
  east: {forward: true, interfaces: {four: 172.26.0.2, right: [10.2.0.1, 'fd00:2::1'], wide: 10.22.0.1}}
  nord: {forward: true, interfaces: {six: 'fd00:aa::2', north: [10.4.0.1, 'fd00:4::1']}}
  alice: {image: host, interfaces: {left: [10.1.0.2, 'fd00:1::2']}, gateway: [10.1.0.1, 'fd00:1::1']}
  mona: {image: host, interfaces: {more: 10.11.0.2}, gateway: 10.11.0.1}
tunnels:
  four: {ipsec: {between: [west, east], carry: [[left, more], [right, wide]]}}
  six: {ipsec: {between: [west, nord], carry: [left, north]}}
";

/// One peer behind a translation of addresses, one that shares a secret of the lab file.
const SECRETS: &str = "
segments:
  home: 192.168.0.0/24
  internet: 172.26.0.0/24
nodes:
  west: {interfaces: {home: 192.168.0.2}, gateway: 192.168.0.1}
  middle:
    image: host
    forward: true
    interfaces: {home: 192.168.0.1, internet: 172.26.0.1}
    nat: [{masquerade: internet}]
  east:
    interfaces: {internet: 172.26.0.2}
    gateway: 172.26.0.1
    firewall: {input: {default: drop, accept: [{tunnel: hidden}, {tunnel: given}]}}
  nord: {interfaces: {internet: 172.26.0.3}}
tunnels:
  hidden:
    ipsec: {between: [{node: west, nat: true}, east], dpd: 2s}
  given: {ipsec: {between: [nord, east], auth: {psk: swordfish}}}
";

/// Listens on an interface of a node.
fn listen(lab: &TestLab, node: &str, interface: &str) -> Conversation {
    let mut capture = lab.talk(node, &["netarium-probe", "capture", "--interface", interface]);
    assert_eq!(capture.hear(), r#"{"ready":true}"#, "{node} {interface}");
    capture
}

/// Asserts that nothing was heard but what is encrypted, and what a segment itself needs.
fn assert_nothing_plain(capture: Conversation) {
    let seen: Capture = serde_json::from_str(&capture.end()).unwrap();
    let is_fine =
        |kind: &Kind| matches!(kind, Kind::Arp | Kind::Ndp | Kind::Group | Kind::Ike | Kind::Esp);
    assert!(seen.frames.keys().all(is_fine), "{seen:#?}");
    assert!(seen.frames.contains_key(&Kind::Esp), "{seen:#?}");
}

/// Kills a daemon and waits until another runs in its place.
pub(crate) fn kill_charon(lab: &TestLab, node: &str) {
    let charon = || {
        let services = lab.services(node);
        services.iter().find(|it| it.service.name.as_str() == "charon").and_then(|it| it.pid)
    };
    let killed = charon().unwrap();
    lab.ok(node, &["kill", "-9", &killed.to_string()]);
    wait_until("there is another", || charon().is_some_and(|pid| pid != killed));
}

fn get(lab: &TestLab, client: &str, port: &str) -> String {
    let probe = ["netarium-probe", "http", "--address", "10.1.0.99", "--port", port];
    lab.run(client, &probe).text
}

pub(crate) fn hosts_are_joined_whose_sites_have_the_same_addresses() {
    let lab = TestLab::at(owner::data(), "joins-hosts", HOSTS);
    lab.up();
    lab.assert_healthy();
    let captures = [listen(&lab, "gateway-a", "eth1"), listen(&lab, "gateway-b", "eth1")];
    for (client, address) in [("client-a", "172.16.0.1"), ("client-b", "172.16.0.2")] {
        let answer = get(&lab, client, "8080");
        assert!(answer.contains("server") && answer.contains(address), "{client}: {answer}");
    }
    assert!(lab.ping("gateway-a", "172.16.0.9") && lab.ping("gateway-b", "172.16.0.9"));
    // Of tunnel b, gateway-s lets in no more than echo requests.
    let connect = ["netarium-probe", "tcp", "172.16.0.9", "22", "--timeout-ms", "300"];
    let (open, closed) = (lab.run("gateway-a", &connect), lab.run("gateway-b", &connect));
    assert!(open.text.contains("refused"), "{open:?}");
    assert!(!closed.text.contains("refused"), "{closed:?}");
    captures.into_iter().for_each(assert_nothing_plain);
    lab.down();
}

pub(crate) fn nothing_is_plain_while_a_daemon_is_dead() {
    let lab = TestLab::at(owner::data(), "joins-leak", HOSTS);
    lab.up();
    let capture = listen(&lab, "gateway-s", "eth1");
    // The whole time, packets are on their way from both sides.
    thread::scope(|scope| {
        let pings =
            [("gateway-a", "172.16.0.9"), ("gateway-b", "172.16.0.9"), ("gateway-s", "172.16.0.1")];
        let busy = pings.map(|(node, address)| {
            let words = ["timeout", "4", "ping", "-q", "-i", "0.01", "-W", "1", address];
            let lab = &lab;
            scope.spawn(move || lab.run(node, &words))
        });
        for node in ["gateway-s", "gateway-a"] {
            kill_charon(&lab, node);
            wait_until("it is mended", || lab.ailments().is_empty());
            wait_until("it carries", || lab.ping("gateway-a", "172.16.0.9"));
        }
        busy.into_iter().for_each(|it| assert!(it.join().is_ok()));
    });
    assert_nothing_plain(capture);
    lab.assert_healthy();
    lab.down();
}

pub(crate) fn ends_that_are_hidden_or_share_a_secret_are_joined() {
    let mut lab = TestLab::at(owner::data(), "joins-secret", SECRETS);
    lab.up();
    lab.assert_healthy();
    let capture = listen(&lab, "east", "eth0");
    assert!(lab.ping("west", "172.26.0.2") && lab.ping("nord", "172.26.0.2"));
    assert_nothing_plain(capture);
    assert!(
        lab.sh("nord", "stat -c %a /etc/swanctl/conf.d/netarium-given.conf").starts_with("600")
    );
    let shown = [
        serde_json::to_string(&lab.file().model).unwrap(),
        format!("{:?}", lab.file().model),
        fs::read_to_string(lab.folder().join("journal")).unwrap_or_default(),
        fs::read_to_string(lab.folder().join("nodes/nord/logs/charon.log")).unwrap_or_default(),
    ];
    assert!(shown.iter().all(|text| !text.contains("swordfish")));
    lab.replace("{psk: swordfish}", "psk");
    assert!(lab.up().contains(&"create secret nord/given".to_owned()));
    lab.assert_healthy();
    assert!(lab.ping("nord", "172.26.0.2"));
    lab.down();
}

pub(crate) fn both_families_go_through_both_to_several_peers_and_prefixes() {
    let lab = TestLab::at(owner::data(), "joins-families", FAMILIES);
    lab.up();
    lab.assert_healthy();
    assert_eq!(lab.up(), Vec::<String>::new(), "a second up has something to do");
    let captures = [listen(&lab, "west", "eth0"), listen(&lab, "west", "eth1")];
    for (node, address) in [
        ("alice", "10.2.0.1"),
        ("alice", "fd00:2::1"),
        ("alice", "10.4.0.1"),
        ("alice", "fd00:4::1"),
        ("alice", "10.22.0.1"),
        ("mona", "10.2.0.1"),
        ("mona", "10.22.0.1"),
        ("nord", "fd00:1::2"),
        ("nord", "10.1.0.2"),
    ] {
        assert!(lab.ping(node, address), "{node} {address}");
    }
    // North is behind no tunnel that carries this.
    assert!(!lab.ping("mona", "10.4.0.1"));
    captures.into_iter().for_each(assert_nothing_plain);
    lab.down();
}
