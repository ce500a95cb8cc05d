//! Changes of a lab that is up: only the difference is made.

use crate::lab::{TestLab, kill, wait_until};

/// A router between two hosts.
const ROUTED: &str = "
segments:
  left: 10.1.0.0/24
  right: {prefix: 10.2.0.0/24, driver: bridge}
nodes:
  router:
    forward: true
    interfaces: {left: 10.1.0.1, right: 10.2.0.1}
  alice:
    interfaces: {left: 10.1.0.2}
    gateway: 10.1.0.1
  bob:
    interfaces: {right: 10.2.0.2}
    gateway: 10.2.0.1
    services:
      - {name: web, run: [netarium-probe, http-echo, --port, 8080], ready: {tcp: 8080}}
";

const ALL: [&str; 3] = ["alice", "bob", "router"];

pub(crate) fn a_node_that_is_added_or_removed_leaves_the_others_alone() {
    let mut lab = TestLab::of_host("change-node", ROUTED);
    lab.up();
    let inits = lab.inits(&ALL);
    let carol = "  carol: {interfaces: {left: 10.1.0.3}, gateway: 10.1.0.1}\n";
    lab.rewrite(|text| format!("{text}{carol}"));
    let steps = lab.up();
    assert!(steps.contains(&"create node carol".to_owned()), "{steps:#?}");
    // The others learn the new name.
    let others = |step: &&String| !step.contains("carol");
    let others: Vec<&String> = steps.iter().filter(others).collect();
    assert_eq!(
        others,
        [
            "replace file alice:/etc/hosts",
            "replace file bob:/etc/hosts",
            "replace file router:/etc/hosts"
        ]
    );
    lab.assert_healthy();
    assert!(lab.ping("carol", "10.2.0.2"));
    assert_eq!(lab.sh("bob", "getent hosts carol | cut -d' ' -f1"), "10.1.0.3\n");

    let carols = lab.init("carol");
    lab.replace(carol, "");
    let steps = lab.up();
    let is_gone = || !std::path::Path::new(&format!("/proc/{carols}")).exists();
    wait_until("the processes of a removed node have ended", is_gone);
    assert_eq!(steps[0], "remove node carol");
    assert_eq!(steps.len(), 4, "{steps:#?}");
    assert!(!lab.ping("alice", "10.1.0.3"));
    assert!(!lab.folder().join("nodes/carol").exists());

    // The same node with another image is another node.
    lab.replace("  alice:\n", "  alice:\n    limits: {pids: 100}\n");
    let steps = lab.up();
    assert_eq!(steps[0], "remove node alice");
    lab.assert_healthy();
    assert!(lab.ping("alice", "10.2.0.2"));
    assert_eq!(lab.inits(&ALL[1..]), inits[1..]);
    assert_ne!(lab.init("alice"), inits[0]);
    lab.down();
}

pub(crate) fn an_address_a_route_and_an_mtu_are_changed_in_place() {
    let mut lab = TestLab::of_host("change-wire", ROUTED);
    lab.up();
    let inits = lab.inits(&ALL);
    lab.replace("left: 10.1.0.2", "left: [10.1.0.2, 10.1.0.22]");
    let steps = lab.up();
    assert!(steps.contains(&"create address alice:eth0 10.1.0.22".to_owned()), "{steps:#?}");
    assert!(steps.iter().all(|it| it.contains("10.1.0.22") || it.contains("hosts")), "{steps:#?}");
    assert!(lab.ping("bob", "10.1.0.22"));
    lab.assert_healthy();
    // The kernel would remove the second with the first.
    lab.replace("left: [10.1.0.2, 10.1.0.22]", "left: 10.1.0.22");
    let steps = lab.up();
    assert_eq!(steps[0], "remove address alice:eth0 10.1.0.2");
    assert!(steps[1..].iter().all(|it| it.contains("hosts")), "{steps:#?}");
    lab.assert_healthy();
    assert!(lab.ping("bob", "10.1.0.22") && !lab.ping("bob", "10.1.0.2"));
    // The only one takes the route to its gateway along.
    lab.replace("left: 10.1.0.22", "left: 10.1.0.2");
    let steps = lab.up();
    assert!(steps.contains(&"create route alice 0.0.0.0/0".to_owned()), "{steps:#?}");
    lab.assert_healthy();
    assert!(lab.ping("bob", "10.1.0.2"));

    let route = "gateway: 10.1.0.1\n    routes: [{to: 10.9.0.0/16, via: unreachable}]";
    lab.replace("gateway: 10.1.0.1", route);
    assert_eq!(lab.up(), ["create route alice 10.9.0.0/16"]);
    lab.replace("unreachable", "10.1.0.1");
    assert_eq!(lab.up(), ["replace route alice 10.9.0.0/16"]);
    lab.replace(route.replace("unreachable", "10.1.0.1").as_str(), "gateway: 10.1.0.1");
    assert_eq!(lab.up(), ["remove route alice 10.9.0.0/16"]);

    // What stands on a segment is made anew with it; the rest stays.
    lab.replace("left: 10.1.0.0/24", "left: {prefix: 10.1.0.0/24, mtu: 1400}");
    let steps = lab.up();
    assert!(steps.contains(&"create segment left".to_owned()), "{steps:#?}");
    assert!(!steps.iter().any(|it| it.contains("right") || it.contains(" bob")), "{steps:#?}");
    lab.assert_healthy();
    assert_eq!(lab.ip("alice", &["link", "show", "dev", "eth0"])[0]["mtu"], 1400);
    assert!(lab.ping("bob", "10.1.0.2"));
    lab.replace("    forward: true\n", "");
    let steps = lab.up();
    assert!(steps.iter().all(|it| it.starts_with("replace sysctl router")), "{steps:#?}");
    lab.assert_healthy();
    assert!(!lab.ping("bob", "10.1.0.2"));
    assert_eq!(lab.inits(&ALL), inits, "a node was made anew");
    lab.down();
}

pub(crate) fn a_service_is_added_changed_and_removed() {
    let mut lab = TestLab::of_host("change-service", ROUTED);
    lab.up();
    let inits = lab.inits(&ALL);
    let reaches = |lab: &TestLab, port: &str| {
        let probe = ["netarium-probe", "http", "--address", "10.2.0.2", "--port", port];
        lab.run("alice", &probe).is_ok()
    };
    assert!(reaches(&lab, "8080"));
    let second = "      - {name: more, run: [netarium-probe, http-echo, --port, 9090], after: web, ready: {tcp: 9090}}\n";
    lab.rewrite(|text| format!("{text}{second}"));
    assert_eq!(lab.up(), ["create service bob/more"]);
    assert!(reaches(&lab, "9090"));
    let web = lab.services("bob").iter().find(|it| it.service.name.as_str() == "web").unwrap().pid;
    lab.replace("9090", "9191");
    assert_eq!(lab.up(), ["remove service bob/more", "create service bob/more"]);
    assert!(reaches(&lab, "9191") && !reaches(&lab, "9090"));
    lab.rewrite(|text| {
        text.lines().filter(|it| !it.contains("more")).map(|it| format!("{it}\n")).collect()
    });
    assert_eq!(lab.up(), ["remove service bob/more"]);
    assert!(!reaches(&lab, "9191") && reaches(&lab, "8080"));
    assert_eq!(lab.services("bob")[0].pid, web, "the other service was started anew");
    assert_eq!(lab.inits(&ALL), inits);
    lab.assert_healthy();
    lab.down();
}

pub(crate) fn what_was_changed_by_hand_is_found_and_mended() {
    let lab = TestLab::of_host("change-by-hand", ROUTED);
    lab.up();
    let inits = lab.inits(&ALL);
    let mended = |by_hand: &str, expected: &[&str]| {
        lab.sh("alice", by_hand);
        let found = lab.ailments();
        for step in expected {
            assert!(found.iter().any(|it| it == step), "{by_hand}: {step} not in {found:#?}");
        }
        assert!(!found.is_empty(), "{by_hand}");
        assert_eq!(lab.up(), found, "{by_hand}");
        lab.assert_healthy();
        assert!(lab.ping("alice", "10.2.0.2"), "{by_hand}");
    };
    mended("ip address delete 10.1.0.2/24 dev eth0", &["create address alice:eth0 10.1.0.2"]);
    mended("ip address add 10.1.0.77/24 dev eth0", &["remove address alice:eth0 10.1.0.77"]);
    mended("ip route delete default", &["create route alice 0.0.0.0/0"]);
    mended(
        "ip link set eth0 down",
        &["remove interface alice:eth0", "create interface alice:eth0"],
    );
    mended("ip link set eth0 mtu 1300", &["create interface alice:eth0"]);
    mended("ip link delete eth0", &["create interface alice:eth0"]);
    mended("echo 1 > /proc/sys/net/ipv4/ip_forward", &["replace sysctl alice net.ipv4.ip_forward"]);
    mended("echo nonsense > /etc/hosts", &["replace file alice:/etc/hosts"]);
    mended("rm /etc/hostname", &["create file alice:/etc/hostname"]);
    mended("chmod 600 /etc/resolv.conf", &["replace file alice:/etc/resolv.conf"]);
    assert_eq!(lab.inits(&ALL), inits, "a node was made anew");
    lab.down();
}

/// Answers every line with itself; a program of the host, Perl is always there on Debian.
const ECHO: &str = r#"$SIG{CHLD} = "IGNORE"; my $s = IO::Socket::INET->new(LocalPort => 7000, Listen => 5, ReuseAddr => 1) or die; while (my $c = $s->accept) { if (!fork) { $c->autoflush(1); print $c $_ while <$c>; exit } }"#;

const CLIENT: &str = r#"$| = 1; my $c = IO::Socket::INET->new(PeerAddr => "10.2.0.2", PeerPort => 7000) or die; $c->autoflush(1); while (<STDIN>) { print $c $_; print scalar <$c> }"#;

pub(crate) fn a_connection_through_an_untouched_node_survives() {
    let echo = format!(
        "      - {{name: echo, run: [perl, -MIO::Socket::INET, -e, '{ECHO}'], ready: {{tcp: 7000}}}}\n"
    );
    let mut lab = TestLab::of_host("change-connection", &format!("{ROUTED}{echo}"));
    lab.up();
    let mut talk = lab.talk("alice", &["perl", "-MIO::Socket::INET", "-e", CLIENT]);
    assert_eq!(talk.ask("one"), "one");
    lab.rewrite(|text| format!("{text}  carol: {{interfaces: {{left: 10.1.0.3}}}}\n"));
    lab.up();
    assert_eq!(talk.ask("two"), "two");
    lab.replace("left: 10.1.0.3", "left: [10.1.0.3, 10.1.0.4]");
    lab.up();
    lab.replace("{interfaces: {left: [10.1.0.3, 10.1.0.4]}}", "{interfaces: {right: 10.2.0.9}}");
    lab.up();
    assert_eq!(talk.ask("three"), "three");
    wait_until("carol is reached", || lab.ping("bob", "10.2.0.9"));
    crate::lab::kill(lab.init("carol"));
    assert!(lab.ailments().contains(&"create node carol".to_owned()));
    lab.up();
    assert_eq!(talk.ask("four"), "four");
    drop(talk);
    lab.down();
}

/// Two cables, one of which nobody touches.
const CABLED: &str = "
segments:
  one: {prefix: 10.1.0.0/31, driver: veth}
  two: {prefix: 10.2.0.0/31, driver: veth}
nodes:
  left: {interfaces: {one: 10.1.0.0}}
  middle: {interfaces: {one: 10.1.0.1, two: 10.2.0.0}}
  right: {interfaces: {two: 10.2.0.1}}
";

pub(crate) fn a_cable_whose_end_changes_is_laid_anew() {
    let mut lab = TestLab::of_host("change-cable", CABLED);
    lab.up();
    let untouched = |lab: &TestLab| lab.ip("right", &["link"])[1]["ifindex"].clone();
    let before = untouched(&lab);
    let assert_works = |lab: &TestLab| {
        lab.up();
        lab.assert_healthy();
        assert!(lab.ping("left", "10.1.0.1") && lab.ping("middle", "10.2.0.1"));
        assert_eq!(untouched(lab), before);
    };
    lab.replace("{one: 10.1.0.0}", "{one: {address: 10.1.0.0, mac: \"02:00:00:00:00:07\"}}");
    assert_works(&lab);
    assert_eq!(lab.ip("left", &["link", "show", "eth0"])[0]["address"], "02:00:00:00:00:07");
    // By hand: of another size, down, gone, and gone with its node.
    for (node, words) in
        [("left", "set eth0 mtu 1400"), ("middle", "set eth0 down"), ("middle", "delete eth0")]
    {
        lab.sh(node, &format!("ip link {words}"));
        assert!(!lab.status().steps.is_empty(), "{words}");
        assert_works(&lab);
    }
    kill(lab.init("left"));
    assert_works(&lab);
    // The same cable, to somebody else.
    lab.replace(
        "middle: {interfaces: {one: 10.1.0.1, two: 10.2.0.0}}",
        "middle: {interfaces: {two: 10.2.0.0}}\n  other: {interfaces: {one: 10.1.0.1}}",
    );
    lab.up();
    lab.assert_healthy();
    assert!(lab.ping("left", "10.1.0.1") && !lab.ping("middle", "10.1.0.0"));
    lab.down();
}
