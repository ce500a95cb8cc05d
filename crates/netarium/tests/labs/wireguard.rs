//! WireGuard tunnels in user space or in the kernel: broken, changed by hand, and mended.

use std::time::Duration;

use netarium::lab::UpOptions;
use netarium_core::outcome::{Capture, Kind};

use crate::lab::{TestLab, in_words, wait_until};

/// Two gateways on one segment, with a host behind each.
const GATEWAYS: &str = "
segments:
  internet: 172.26.0.0/24
  left: 10.1.0.0/24
  right: 10.2.0.0/24
nodes:
  west: {forward: true, interfaces: {internet: 172.26.0.1, left: 10.1.0.1}, gateway: 172.26.0.2}
  east: {forward: true, interfaces: {internet: 172.26.0.2, right: 10.2.0.1}, gateway: 172.26.0.1}
  alice: {interfaces: {left: 10.1.0.2}, gateway: 10.1.0.1}
  bob: {interfaces: {right: 10.2.0.2}, gateway: 10.2.0.1}
tunnels:
  one: {wireguard: {between: [west, east], carry: [left, right]}}
";

pub(crate) fn a_killed_program_is_started_again_and_nothing_leaks_meanwhile() {
    let lab = TestLab::of_host("wireguard-killed", GATEWAYS);
    lab.up();
    lab.assert_healthy();
    assert_eq!(lab.up(), Vec::<String>::new(), "a second up has something to do");
    let mut capture = lab.talk("west", &["netarium-probe", "capture", "--interface", "eth0"]);
    assert!(capture.hear().contains("ready"));
    assert!(lab.ping("alice", "10.2.0.2"));
    for end in ["west", "east"] {
        // The kernel's own WireGuard has no program to kill.
        for service in lab.services(end) {
            let pid = service.pid.unwrap().to_string();
            lab.ok(end, &["kill", "-9", &pid]);
            // Those that were sent while it was dead are lost, and not sent in plain.
            lab.ping("alice", "10.2.0.2");
        }
        wait_until("the tunnel carries", || lab.ping("alice", "10.2.0.2"));
    }
    wait_until("the lab is healthy", || lab.ailments().is_empty());
    let seen: Capture = serde_json::from_str(&capture.end()).unwrap();
    let expected = [Kind::Arp, Kind::Ndp, Kind::Group, Kind::Wireguard];
    assert!(seen.frames.keys().all(|kind| expected.contains(kind)), "{seen:#?}");
    assert!(seen.frames.contains_key(&Kind::Wireguard), "{seen:#?}");
    lab.down();
}

pub(crate) fn what_was_changed_about_an_interface_is_seen_and_mended() {
    let lab = TestLab::of_host("wireguard-changed", GATEWAYS);
    lab.up();
    let inits = lab.inits(&["alice", "east", "west"]);
    let mode = lab.sh("west", "stat -c %a%u /etc/wireguard/wg-one.conf");
    assert_eq!(mode.trim(), "6000");
    // Without its interface a packet has the default route only, which leads to the other end.
    lab.ok("west", &["ip", "link", "del", "wg-one"]);
    assert!(!lab.ping("alice", "10.2.0.2"));
    assert!(lab.ailments().contains(&"create tunnel one".to_owned()), "{:?}", lab.ailments());
    lab.up();
    lab.assert_healthy();
    assert!(lab.ping("alice", "10.2.0.2"));
    lab.sh("east", "sed -i s/^ListenPort.*/ListenPort=1/ /etc/wireguard/wg-one.conf");
    let ailments = lab.ailments();
    assert!(ailments.contains(&"create file east:/etc/wireguard/wg-one.conf".to_owned()));
    lab.up();
    lab.assert_healthy();
    assert!(lab.ping("bob", "10.1.0.2"));
    assert_eq!(lab.inits(&["alice", "east", "west"]), inits);
    lab.down();
}

pub(crate) fn a_tunnel_that_cannot_stand_says_what_went_to_and_fro() {
    let mut lab = TestLab::of_host("wireguard-hindered", GATEWAYS);
    lab.replace(
        "left: 10.1.0.1}, gateway",
        "left: 10.1.0.1}, firewall: {input: {default: drop}}, gateway",
    );
    let options = UpOptions { patience: Duration::from_secs(2), ..UpOptions::default() };
    let error = in_words(&lab.try_up(options).unwrap_err());
    assert!(error.contains("tunnel one is not up: west: "), "{error}");
    assert!(error.contains(" bytes sent, 0 received"), "{error}");
    lab.assert_nothing_left();
    lab.down();
}
