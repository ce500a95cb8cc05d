//! Segments and interfaces as the kernel has them.

use netarium_core::address::Mac;
use netarium_core::name::InterfaceName;
use serde_json::Value;

use crate::lab::{TestLab, name, wait_until};

/// One segment of each kind.
const KINDS: &str = r#"
segments:
  office: {prefixes: [10.1.0.0/24, "fd00:1::/64"]}
  servers: {prefixes: [10.2.0.0/24, "fd00:2::/64"], driver: bridge, mtu: 9000}
  cable: {prefixes: [10.3.0.0/30, "fd00:3::/64"], driver: veth, mtu: 1400}
nodes:
  router:
    forward: true
    interfaces:
      office: [10.1.0.1, "fd00:1::1", 10.1.0.99]
      servers: [10.2.0.1, "fd00:2::1"]
      cable: {addresses: [10.3.0.1, "fd00:3::1"], name: uplink}
  desk:
    interfaces: {office: {addresses: [10.1.0.2, "fd00:1::2"], mtu: 1300}}
    gateway: [10.1.0.1, "fd00:1::1"]
  server:
    interfaces: {servers: {addresses: [10.2.0.2, "fd00:2::2"], mac: "02:00:00:00:00:77"}}
    gateway: [10.2.0.1, "fd00:2::1"]
  far:
    interfaces: {cable: [10.3.0.2, "fd00:3::2"]}
    gateway: [10.3.0.1, "fd00:3::1"]
"#;

pub(crate) fn macvlan_bridge_and_veth_carry_both_families() {
    let lab = TestLab::of_host("segment-kinds", KINDS);
    lab.up();
    for node in ["desk", "server", "far"] {
        for address in ["10.1.0.99", "10.1.0.2", "10.2.0.2", "10.3.0.2"] {
            assert!(lab.ping(node, address), "{node} to {address}");
        }
        for address in ["fd00:1::2", "fd00:2::2", "fd00:3::2"] {
            assert!(lab.ping(node, address), "{node} to {address}");
        }
    }
    let addresses = |node: &str, interface: &str| {
        let told = lab.ip(node, &["address", "show", "dev", interface, "scope", "global"]);
        // ip(8) tells an empty object for each interface that it was not asked for.
        let found = told.as_array().unwrap().iter().find_map(|it| it["addr_info"].as_array());
        let found = found.unwrap_or_else(|| panic!("{node} {interface}: {told}"));
        let mut all: Vec<String> = found
            .iter()
            .filter(|it| it["local"].is_string())
            .map(|it| format!("{}/{}", it["local"].as_str().unwrap(), it["prefixlen"]))
            .collect();
        all.sort();
        all.join(" ")
    };
    assert_eq!(addresses("router", "eth0"), "10.1.0.1/24 10.1.0.99/24 fd00:1::1/64");
    assert_eq!(addresses("router", "uplink"), "10.3.0.1/30 fd00:3::1/64");
    assert_eq!(addresses("far", "eth0"), "10.3.0.2/30 fd00:3::2/64");
    lab.down();
}

/// Sends more at once than the cable takes; Python is always there in an image that is the host.
const TOO_BIG: &str = "import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\
                       .sendto(b'x' * 3000, ('fd00:3::2', 9))";

pub(crate) fn what_the_kernel_learns_of_a_path_is_no_change() {
    let lab = TestLab::of_host("segment-path", KINDS);
    lab.up();
    wait_until("the server has learned of the cable", || {
        lab.ok("server", &["python3", "-c", TOO_BIG]);
        lab.ok("server", &["ip", "-6", "route", "show", "cache"]).contains("mtu 1400")
    });
    lab.assert_healthy();
    lab.down();
}

pub(crate) fn interfaces_have_the_names_macs_and_mtus_of_the_file() {
    let lab = TestLab::of_host("segment-links", KINDS);
    lab.up();
    let link = |node: &str, interface: &str| {
        let told = lab.ip(node, &["-d", "link", "show", "dev", interface]);
        let link = &told[0];
        assert_eq!(link["operstate"], "UP", "{link}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&link["linkinfo"]["info_kind"]),
            link["mtu"].as_u64().unwrap(),
            text(&link["address"]),
        )
    };
    let derived = |node: &str, interface: &str| {
        let interface = InterfaceName::new(interface).unwrap();
        Mac::derive(lab.lab.name(), &name(node), &interface).to_string()
    };
    let kind = |word: &str| word.to_owned();
    assert_eq!(link("router", "eth0"), (kind("macvlan"), 1500, derived("router", "eth0")));
    assert_eq!(link("router", "eth1"), (kind("veth"), 9000, derived("router", "eth1")));
    assert_eq!(link("router", "uplink"), (kind("veth"), 1400, derived("router", "uplink")));
    assert_eq!(link("desk", "eth0"), (kind("macvlan"), 1300, derived("desk", "eth0")));
    assert_eq!(link("server", "eth0"), (kind("veth"), 9000, kind("02:00:00:00:00:77")));
    let links = lab.ip("router", &["link"]);
    let names: Vec<&str> =
        links.as_array().unwrap().iter().map(|it| it["ifname"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let mode = lab.ip("desk", &["-d", "link", "show", "dev", "eth0"]);
    assert_eq!(mode[0]["linkinfo"]["info_data"]["mode"], "bridge");
    lab.down();
}

pub(crate) fn routes_end_where_the_file_says() {
    let body = r#"
segments:
  lan: [10.0.0.0/24, "fd00::/64"]
  plain: {driver: bridge}
nodes:
  alice:
    interfaces: {lan: [10.0.0.1, "fd00::1"], plain: {address: 192.168.9.1/24}}
    gateway: [10.0.0.2, "fd00::2"]
    routes:
      - {to: 10.8.0.0/16, via: unreachable}
      - {to: 10.9.0.0/16, via: blackhole}
      - {to: "fd09::/64", via: prohibit}
      - {to: 10.7.0.0/16, via: 10.0.0.3}
      - {to: 10.6.0.1, via: eth1}
  bob: {interfaces: {lan: [10.0.0.2, "fd00::2"], plain: {address: 192.168.9.2/24}}}
"#;
    let lab = TestLab::of_host("segment-routes", body);
    lab.up();
    let route = |to: &str| {
        let family = if to.contains(':') { "-6" } else { "-4" };
        let told = lab.ip("alice", &[family, "route", "show", "exact", to, "table", "all"]);
        let found = told.as_array().unwrap();
        assert_eq!(found.len(), 1, "{to}: {told}");
        let text = |key: &str| found[0][key].as_str().unwrap_or_default().to_owned();
        [text("type"), text("gateway"), text("dev")].join(" ").trim().to_owned()
    };
    assert_eq!(route("default"), "10.0.0.2 eth0");
    assert_eq!(route("::/0"), "fd00::2 eth0");
    assert_eq!(route("10.8.0.0/16"), "unreachable");
    assert_eq!(route("10.9.0.0/16"), "blackhole");
    assert!(route("fd09::/64").starts_with("prohibit"));
    assert_eq!(route("10.7.0.0/16"), "10.0.0.3 eth0");
    assert_eq!(route("10.6.0.1"), "eth1");
    assert!(lab.ping("alice", "192.168.9.2"));
    let refused = lab.run("alice", &["netarium-probe", "ping", "10.8.0.1"]);
    assert!(refused.text.contains("refused"), "{refused:?}");
    lab.down();
}

pub(crate) fn settings_of_the_kernel_are_those_of_the_file() {
    let body = r#"
segments:
  lan: 10.0.0.0/24
  six: "fd00::/64"
nodes:
  alice:
    interfaces: {lan: 10.0.0.1, six: "fd00::1"}
    sysctls: {net.ipv4.tcp_ecn: 1, net.ipv4.conf.eth0.rp_filter: 2, net.ipv4.ip_default_ttl: 33}
  bob: {forward: true, interfaces: {lan: 10.0.0.2}}
"#;
    let lab = TestLab::of_host("segment-settings", body);
    lab.up();
    let setting = |node: &str, key: &str| {
        lab.ok(node, &["cat", &format!("/proc/sys/net/{key}")]).trim_end().to_owned()
    };
    assert_eq!(setting("alice", "ipv4/tcp_ecn"), "1");
    assert_eq!(setting("alice", "ipv4/conf/eth0/rp_filter"), "2");
    assert_eq!(setting("alice", "ipv4/ip_default_ttl"), "33");
    assert_eq!(setting("alice", "ipv4/ip_forward"), "0");
    assert_eq!(setting("alice", "ipv6/conf/all/forwarding"), "0");
    assert_eq!(setting("bob", "ipv4/ip_forward"), "1");
    assert_eq!(setting("bob", "ipv6/conf/all/forwarding"), "1");
    // An interface without an IPv6 address is silent in IPv6.
    assert_eq!(setting("alice", "ipv6/conf/eth0/disable_ipv6"), "1");
    assert_eq!(setting("alice", "ipv6/conf/eth1/disable_ipv6"), "0");
    lab.down();
}

pub(crate) fn segments_are_out_of_reach_of_each_other_and_of_the_machine() {
    let body = "
segments:
  one: 10.0.0.0/24
  two: {prefix: 10.0.1.0/24, driver: bridge}
nodes:
  alice: {interfaces: {one: 10.0.0.1}}
  bob: {interfaces: {two: 10.0.1.1}}
  carol: {interfaces: {two: {address: 10.0.1.2}}}
";
    let links = || std::fs::read_dir("/sys/class/net").unwrap().count();
    let lab = TestLab::of_host("segment-walls", body);
    let before = links();
    lab.up();
    assert_eq!(links(), before, "something was made in the host's network");
    assert!(lab.ping("bob", "10.0.1.2"));
    lab.ok("alice", &["ip", "route", "add", "default", "dev", "eth0"]);
    assert!(!lab.ping("alice", "10.0.1.1"));
    // The lab's own namespace says nothing on any segment.
    let keeper = lab.keeper().unwrap().to_string();
    let told = in_network_of(&keeper, &["-d", "address"]);
    for link in told.as_array().unwrap() {
        assert_eq!(link["addr_info"], Value::Array(vec![]), "{link}");
    }
    let mut marks: Vec<&str> =
        told.as_array().unwrap().iter().filter_map(|it| it["ifalias"].as_str()).collect();
    marks.sort_unstable();
    assert_eq!(marks, ["netarium:one", "netarium:two"]);
    lab.down();
}

/// What ip(8) says in the network namespace of a process.
fn in_network_of(pid: &str, words: &[&str]) -> Value {
    #[expect(clippy::disallowed_methods, reason = "the kernel is asked past the library")]
    let output = std::process::Command::new("nsenter")
        .args(["--target", pid, "--user", "--net", "--preserve-credentials", "ip", "-j"])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
