//! Dynamic checks: labs that are disturbed on purpose recover, and nothing leaks meanwhile.

use netarium::check::{CheckKind, CheckResult, Selection, disturb};

use crate::lab::{TestLab, run};
use crate::owner;

/// A tunnel through a router that knows no private prefix.
const ROUTED: &str = "
segments: {net-a: 172.26.0.0/24, net-s: 172.28.0.0/24, left: 10.1.0.0/24, right: 10.2.0.0/24}
nodes:
  router: {forward: true, interfaces: {net-a: 172.26.0.1, net-s: 172.28.0.1}}
  west:
    forward: true
    interfaces: {net-a: 172.26.0.2, left: 10.1.0.1}
    gateway: 172.26.0.1
    routes: &no-leak [{to: 10.0.0.0/8, via: unreachable}]
  east:
    forward: true
    interfaces: {net-s: 172.28.0.2, right: 10.2.0.1}
    gateway: 172.28.0.1
    routes: *no-leak
  client: {image: host, interfaces: {left: 10.1.0.2}, gateway: 10.1.0.1}
  server:
    image: host
    interfaces: {right: 10.2.0.2}
    gateway: 10.2.0.1
    services: [{name: app, run: [netarium-probe, http-echo, --port, 80], ready: {tcp: 80}}]
tunnels: {west-east: {ipsec: {between: [west, east], carry: [left, right]}}}
checks:
  - {from: client, http: \"http://10.2.0.2/\"}
  - {from: router, ping: 10.1.0.2, expect: blocked}
  - {tunnel: west-east}
  - {on: [net-a, net-s], only: [ike, esp]}
  - {kill: west, meanwhile: {from: client, ping: server, expect: blocked}}
  - {cut: \"router:net-s\", for: 300ms, meanwhile: {from: client, ping: server, expect: blocked}}
  - {cut: \"west:net-a\", for: 300ms}
  - {rekey: west-east, during: {from: client, http: \"http://10.2.0.2/bytes/1000000000\"}}
  - {revoke: [west, east], meanwhile: {from: client, ping: server, expect: blocked}, recover: 20s}
";

pub(crate) fn a_lab_recovers_from_what_is_done_to_it_and_nothing_leaks() {
    let lab = TestLab::at(owner::data(), "dynamic", ROUTED);
    lab.up();
    let first = lab.inits(&["west", "east", "router", "client", "server"]);
    let results = results(&lab, &Selection::All);
    lab.note();
    let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let kinds: Vec<CheckKind> = results.iter().map(|result| result.kind).collect();
    use CheckKind::{Cut, Kill, Only, Rekey, Revoke};
    assert_eq!(kinds, [Kill, Cut, Cut, Rekey, Revoke, Revoke, Only, Only]);
    for result in &results[..6] {
        assert!(result.recovered_after.is_some_and(|millis| millis > 0.0), "{result:#?}");
    }
    assert!(results[3].seen.contains("1 requests"), "{:#?}", results[3]);
    // Each was refused by the other's word, and has another certificate now.
    for (result, peer) in results[4..6].iter().zip(["east", "west"]) {
        let words = format!("{peer}: certificate was revoked on");
        assert!(result.seen.contains("west-east refused") && result.seen.contains(&words));
        assert!(result.seen.contains("meanwhile, west-east is down"), "{result:#?}");
    }
    let certificates = run(lab.lab.certificates()).unwrap();
    assert!(certificates.certificates.iter().all(|it| it.revoked.is_none()), "{certificates:#?}");
    assert_eq!(certificates.list.revoked.len(), 2);
    // What was listened to is what happened: packets of the tunnel, and nothing else.
    for result in &results[6..] {
        assert!(result.seen.contains("esp") && result.seen.contains("ike"), "{result:#?}");
        assert!(result.name.ends_with("during all dynamic checks"), "{result:#?}");
    }
    lab.assert_healthy();
    let last = lab.inits(&["west", "east", "router", "client", "server"]);
    assert_ne!(first[0], last[0], "the killed node is another");
    assert_eq!(first[1..], last[1..], "the others are the same");
    lab.down();
}

pub(crate) fn what_leaks_while_a_lab_is_disturbed_is_found() {
    // Without the routes that end private traffic at the gateways, it leaves plain when the daemon
    // is not there.
    let body = ROUTED.replace("    routes: &no-leak [{to: 10.0.0.0/8, via: unreachable}]\n", "");
    let body = body.replace("    routes: *no-leak\n", "");
    let body = body.replace(
        "from: client, ping: server, expect: blocked",
        "from: client, ping: 10.9.9.9, expect: blocked",
    );
    let lab = TestLab::at(owner::data(), "dynamic-leak", &body);
    lab.up();
    let results = results(&lab, &Selection::Matching(vec!["router:net-s is cut".to_owned()]));
    let [cut, near, far] = results.as_slice() else { panic!("{results:#?}") };
    assert!(cut.passed, "{cut:#?}");
    assert!(
        !near.passed && near.seen.contains("icmp") && near.seen.contains("west:eth0"),
        "{near:#?}"
    );
    assert!(far.passed, "{far:#?}");
    lab.down();
}

fn results(lab: &TestLab, selection: &Selection) -> Vec<CheckResult> {
    run(disturb(&lab.lab, &lab.lab.file().unwrap(), selection, &|_| ())).unwrap()
}
