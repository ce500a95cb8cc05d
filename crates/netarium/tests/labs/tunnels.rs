//! IPsec tunnels that are hindered, broken and mended. The images of these labs are built.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use netarium::lab::UpOptions;

use crate::joins::kill_charon;
use crate::lab::{TestLab, in_words, wait_until};
use crate::{node, owner};

/// Two gateways with a host's worth of addresses behind each.
pub(crate) const GATEWAYS: &str = "
segments:
  internet: 172.26.0.0/24
  left: 10.1.0.0/24
  right: 10.2.0.0/24
nodes:
  west: {forward: true, interfaces: {internet: 172.26.0.1, left: 10.1.0.1}}
  east: {forward: true, interfaces: {internet: 172.26.0.2, right: 10.2.0.1}}
  alice: {image: host, interfaces: {left: 10.1.0.2}, gateway: 10.1.0.1}
tunnels:
  west-east:
    ipsec: {between: [west, east], carry: [left, right]}
";

fn lab(name: &str) -> TestLab {
    TestLab::at(owner::data(), name, GATEWAYS)
}

pub(crate) fn a_tunnel_that_cannot_stand_is_named_and_the_lab_undone() {
    let mut lab = lab("tunnel-hindered");
    let hindrance = "172.26.0.1, left: 10.1.0.1}, routes: [{to: 172.26.0.2, via: blackhole}]}";
    lab.replace("172.26.0.1, left: 10.1.0.1}}", hindrance);
    let options = UpOptions { patience: Duration::from_secs(4), ..UpOptions::default() };
    let error = in_words(&lab.try_up(options).unwrap_err());
    assert!(error.contains("west-east"), "{error}");
    let log = lab.lab.failed_logs().join("west/charon.log");
    assert!(fs::read_to_string(log).unwrap().contains("172.26.0.2"));
    lab.assert_nothing_left();
    lab.down();
}

pub(crate) fn a_killed_charon_comes_back_with_its_tunnel() {
    let lab = lab("tunnel-charon");
    lab.up();
    lab.assert_healthy();
    assert!(lab.ping("alice", "10.2.0.1"));
    for end in ["west", "east"] {
        let inits = lab.inits(&["alice", "east", "west"]);
        kill_charon(&lab, end);
        wait_until("the tunnel stands again", || lab.ailments().is_empty());
        assert_eq!(lab.up(), Vec::<String>::new());
        wait_until("the tunnel carries", || lab.ping("alice", "10.2.0.1"));
        assert_eq!(lab.inits(&["alice", "east", "west"]), inits);
    }
    lab.down();
}

pub(crate) fn an_up_that_was_killed_while_tunnels_open_is_mended() {
    let lab = lab("tunnel-killed");
    for words in ["Wired", r#"Step { text: "create service"#, "Tunnel"] {
        let mut up = lab.start_up();
        up.wait_for(words);
        up.kill();
        lab.up();
        lab.assert_healthy();
        assert!(lab.ping("alice", "10.2.0.1"), "after {words}");
        lab.down();
    }
}

pub(crate) fn keys_are_readable_by_their_owner_only_and_new_in_each_lab() {
    let lab = lab("tunnel-keys");
    let keys = || {
        let text = lab.sh("west", "cd /etc/swanctl/private && stat -c '%a %U' * && cat *");
        let (rights, key) = text.split_once('\n').unwrap();
        assert_eq!(rights, "600 root", "{text}");
        assert!(key.contains("PRIVATE KEY"), "{text}");
        key.to_owned()
    };
    lab.up();
    let first = keys();
    for entry in fs::read_dir(lab.folder().join("pki")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
    }
    assert_ne!(lab.sh("east", "cat /etc/swanctl/private/*"), first);
    assert_eq!(lab.sh("alice", "ls /etc/swanctl/private 2>/dev/null || true"), "");
    lab.down();
    lab.up();
    assert_ne!(keys(), first);
    lab.down();
}

pub(crate) fn a_node_of_an_image_is_confined_too() {
    let body = "segments:\n  lan: 10.0.0.0/24\nnodes:\n  alice: {interfaces: {lan: 10.0.0.1}}\n";
    let lab = TestLab::at(owner::data(), "image-node", body);
    lab.up();
    node::assert_confined(&lab, "alice");
    node::assert_walled(&lab, "alice");
    lab.sh("alice", "echo mine > /usr/bin/mine && touch /root/x && test -x /usr/bin/tcpdump");
    lab.assert_healthy();
    lab.down();
    // What the node wrote went with it.
    lab.up();
    assert!(!lab.run("alice", &["cat", "/usr/bin/mine"]).is_ok());
    lab.down();
}
