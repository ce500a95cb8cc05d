//! Checks of running labs: each passes where it must, and fails where it must.

use netarium::check::{CheckResult, Selection, check};

use crate::lab::{TestLab, run};
use crate::owner;

/// A firewall that drops, one that rejects, and one who translates addresses.
const WALLS: &str = "
segments: {office: 10.1.0.0/24, internet: [203.0.113.0/24, \"fd00:9::/64\"]}
nodes:
  desk: {interfaces: {office: 10.1.0.2}, gateway: 10.1.0.1}
  web:
    interfaces: {office: 10.1.0.80}
    gateway: 10.1.0.1
    services: [{name: site, run: [netarium-probe, http-echo, --port, 80], ready: {tcp: 80}}]
  gateway:
    forward: true
    interfaces: {office: 10.1.0.1, internet: 203.0.113.1}
    firewall:
      forward:
        default: drop
        accept: [established, {to: web, protocol: tcp, port: 80}, {in: office, to: visitor}]
        reject: {to: web, protocol: [tcp, udp], port: 81}
    nat:
      - {masquerade: internet}
      - {dnat: 203.0.113.1:8080/tcp, to: 10.1.0.80:80}
      - {dnat: 203.0.113.1:8081/tcp, to: 10.1.0.80:81}
      - {dnat: 203.0.113.1:8082/tcp, to: 10.1.0.80:82}
      - {dnat: 203.0.113.1:81/udp, to: 10.1.0.80:81}
  visitor:
    interfaces: {internet: [203.0.113.9, \"fd00:9::9\"]}
    firewall: {input: {reject: {icmp: echo-request, protocol: icmpv6}}}
    services: [{name: app, run: [netarium-probe, http-echo, --port, 80], ready: {tcp: 80}}]
  neighbour: {interfaces: {internet: \"fd00:9::8\"}}
";

/// What must pass, and what is seen then.
const HOLDS: [(&str, &str); 11] = [
    ("from: visitor, tcp: \"203.0.113.1:8082\", expect: dropped", "no answer in"),
    ("from: visitor, tcp: \"203.0.113.1:8082\", expect: blocked", "no answer in"),
    (
        "from: visitor, tcp: \"203.0.113.1:8081\", expect: rejected",
        "203.0.113.1 says port unreachable (ICMP type 3 code 3)",
    ),
    ("from: visitor, tcp: \"203.0.113.1:8081\", expect: blocked", "says port unreachable"),
    (
        "from: visitor, udp: \"203.0.113.1:81\", expect: rejected",
        "203.0.113.1 says port unreachable (ICMP type 3 code 3)",
    ),
    (
        "from: visitor, http: \"http://203.0.113.1:9/\", expect: rejected",
        "203.0.113.1 says connection refused (a TCP reset)",
    ),
    (
        "from: neighbour, ping: visitor, expect: rejected",
        "fd00:9::9 says port unreachable (ICMPv6 type 1 code 4)",
    ),
    (
        "from: desk, tcp: \"203.0.113.9:80\", source: 203.0.113.1",
        "visitor saw it come from 203.0.113.1",
    ),
    ("from: desk, ping: visitor, source: gateway", "visitor saw it come from 203.0.113.1"),
    (
        "from: visitor, http: \"http://203.0.113.1:8080/\", source: visitor, seen-by: web",
        "web saw it come from 203.0.113.9",
    ),
    ("isolated: all", "by ping and TCP; interfaces lo, eth0"),
];

/// What must fail, and what is seen then.
const FAILS: [(&str, &str); 8] = [
    // Nobody has it: that is no refusal.
    (
        "from: visitor, tcp: \"203.0.113.77:80\", expect: rejected",
        "the node itself says host unreachable",
    ),
    ("from: visitor, tcp: \"203.0.113.1:8082\", expect: rejected, timeout: 1s", "no answer in"),
    ("from: visitor, tcp: \"203.0.113.1:8081\", expect: dropped", "says port unreachable"),
    ("from: visitor, tcp: \"203.0.113.1:8080\", expect: dropped", "an answer after"),
    ("from: neighbour, ping: visitor, expect: dropped", "ICMPv6 type 1 code 4"),
    ("from: desk, tcp: \"203.0.113.9:80\", source: desk", "visitor saw it come from 203.0.113.1"),
    (
        "from: desk, ping: visitor, source: gateway, seen-by: neighbour",
        "neighbour did not see the request arrive",
    ),
    (
        "from: neighbour, ping: 203.0.113.9, expect: dropped",
        "the node itself says network unreachable",
    ),
];

pub(crate) fn each_way_to_get_no_answer_and_each_source_is_told_from_the_others() {
    let all = HOLDS.iter().chain(&FAILS);
    let checks: String = all.map(|(check, _)| format!("  - {{{check}}}\n")).collect();
    let lab = TestLab::of_host("checks-walls", &format!("{WALLS}checks:\n{checks}"));
    lab.up();
    let results = results(&lab, &Selection::All);
    // Of the last that holds, there is one for each node.
    let (good, bad) = results.split_at(results.len() - FAILS.len());
    let wanted = HOLDS.iter().chain(std::iter::repeat(HOLDS.last().unwrap()));
    for (result, (check, seen)) in good.iter().zip(wanted) {
        assert!(result.passed && result.seen.contains(seen), "{check}: {result:#?}");
        assert!(result.logs.is_empty());
    }
    assert_eq!(good.len(), HOLDS.len() + 4, "every node is looked at");
    for (result, (check, seen)) in bad.iter().zip(&FAILS) {
        assert!(!result.passed && result.seen.contains(seen), "{check}: {result:#?}");
    }
    assert_refusals_are_not_rationed(&lab);
    lab.down();
}

/// Kernels by themselves refuse six times at once, and then once in a second.
fn assert_refusals_are_not_rationed(lab: &TestLab) {
    for (node, words) in [
        ("visitor", &["netarium-probe", "udp", "203.0.113.1", "81", "--timeout-ms=800"][..]),
        (
            "neighbour",
            &["netarium-probe", "ping", "fd00:9::9", "--count=1", "--timeout-ms=800"][..],
        ),
    ] {
        for number in 1..=12 {
            let said = lab.run(node, words).text;
            assert!(said.contains("port unreachable"), "{node}, the {number}th time: {said}");
        }
    }
}

pub(crate) fn a_tunnel_is_as_its_daemons_tell_and_a_failure_shows_their_logs() {
    let body = "
segments: {internet: 172.26.0.0/24, left: 10.1.0.0/24, right: 10.2.0.0/24}
nodes:
  west: {forward: true, interfaces: {internet: 172.26.0.1, left: 10.1.0.1}}
  east: {forward: true, interfaces: {internet: 172.26.0.2, right: 10.2.0.1}}
tunnels: {west-east: {ipsec: {between: [west, east], carry: [left, right]}}}
checks:
  - {tunnel: west-east, group: good}
  - {tunnel: west-east, ike: ecp384-prfsha384-aes256gcm16, esp: ecp384-aes256gcm128, group: good}
  - {isolated: [west, east], group: good}
  - {tunnel: west-east, ike: aes128gcm16-prfsha384-ecp384, group: bad}
  - {tunnel: west-east, esp: chacha20poly1305, group: bad}
  - {tunnel: west-east, expect: down, timeout: 300ms, group: bad}
";
    let lab = TestLab::at(owner::data(), "checks-tunnel", body);
    lab.up();
    let of_group = |group: &str| results(&lab, &Selection::Matching(vec![group.to_owned()]));
    let good = of_group("good");
    assert_eq!(good.len(), 4);
    assert!(good.iter().all(|result| result.passed), "{good:#?}");
    let seen = &good[0].seen;
    for words in ["west: ESTABLISHED for", "east: ESTABLISHED", "AES_GCM_16 256", "bytes in"] {
        assert!(seen.contains(words), "{words}: {seen}");
    }
    let bad = of_group("b?d");
    assert_eq!(bad.len(), 3);
    for result in &bad {
        assert!(!result.passed, "{result:#?}");
        let daemons: Vec<_> =
            result.logs.iter().map(|it| (it.node.as_str(), it.service.as_str())).collect();
        assert_eq!(daemons, [("west", "charon"), ("east", "charon")]);
        assert!(result.logs.iter().all(|log| (1..=10).contains(&log.lines.len())), "{result:#?}");
    }
    lab.down();
}

fn results(lab: &TestLab, selection: &Selection) -> Vec<CheckResult> {
    run(check(&lab.lab, &lab.file().model, selection, &|_| ())).unwrap()
}
