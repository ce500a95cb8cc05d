//! Firewalls in a lab that runs: changed by the lab file, by hand, and never open for a moment.

use serde_json::Value;

use crate::lab::{TestLab, wait_until};

/// Bob lets nothing in by UDP.
const GUARDED: &str = "
segments:
  lan: 10.0.0.0/24
nodes:
  alice: {interfaces: {lan: 10.0.0.1}}
  bob:
    interfaces: {lan: 10.0.0.2}
    firewall: {input: {default: drop, accept: [{from: alice, protocol: icmp}]}}
";

/// A table of somebody's own, which sees what ours has let in.
const WATCH: &str = "nft add table inet watch; \
     nft add chain inet watch input '{ type filter hook input priority 10; }'; \
     nft add rule inet watch input udp dport 9 counter";

/// Sends as fast as it can, and says so when it begins.
const FLOOD: &str = r#"$| = 1; my $s = IO::Socket::INET->new(Proto => "udp", PeerAddr => "10.0.0.2", PeerPort => 9) or die; print "begun\n"; while (1) { $s->send("x") }"#;

pub(crate) fn a_firewall_that_was_changed_by_hand_is_found_and_mended() {
    let lab = TestLab::of_host("firewall-by-hand", GUARDED);
    lab.up();
    let mended = |by_hand: &str, step: &str| {
        lab.sh("bob", by_hand);
        assert_eq!(lab.ailments(), [step], "{by_hand}");
        assert_eq!(lab.up(), [step], "{by_hand}");
        lab.assert_healthy();
    };
    mended("nft flush chain inet netarium filter_input", "replace firewall bob");
    mended("nft insert rule inet netarium2 filter_input accept", "replace firewall bob");
    mended("nft delete table inet netarium", "create firewall bob");
    lab.down();
}

pub(crate) fn a_table_of_somebodys_own_is_left_alone() {
    let mut lab = TestLab::of_host("firewall-own-table", GUARDED);
    lab.up();
    lab.sh("bob", WATCH);
    lab.assert_healthy();
    lab.replace("protocol: icmp", "protocol: tcp");
    assert_eq!(lab.up(), ["replace firewall bob"]);
    lab.assert_healthy();
    assert!(lab.sh("bob", "nft list tables").contains("inet watch"));
    lab.down();
}

pub(crate) fn a_firewall_that_is_replaced_is_never_open() {
    let mut lab = TestLab::of_host("firewall-replaced", GUARDED);
    lab.up();
    lab.sh("bob", WATCH);
    let mut flood = lab.talk("alice", &["perl", "-MIO::Socket::INET", "-e", FLOOD]);
    assert_eq!(flood.hear(), "begun");
    for (rule, other) in [("icmp", "tcp"), ("tcp", "sctp"), ("sctp", "icmp")] {
        lab.replace(&format!("protocol: {rule}"), &format!("protocol: {other}"));
        assert_eq!(lab.up(), ["replace firewall bob"]);
    }
    assert_eq!(let_in(&lab), 0, "packets came through");
    lab.replace("protocol: icmp", "protocol: udp");
    lab.up();
    wait_until("what is let in is seen", || let_in(&lab) > 0);
    drop(flood);
    lab.down();
}

/// How many packets the table of somebody's own has seen.
fn let_in(lab: &TestLab) -> u64 {
    let listed: Value =
        serde_json::from_str(&lab.sh("bob", "nft -j list table inet watch")).unwrap();
    let rules = listed["nftables"].as_array().unwrap().iter().filter_map(|it| it.get("rule"));
    let counters = rules.flat_map(|it| it["expr"].as_array().unwrap());
    counters.filter_map(|it| it["counter"]["packets"].as_u64()).sum()
}
