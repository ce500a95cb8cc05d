//! The way out to the world and in from the host, in a host and a world made for that.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use netarium::lab::{State, UpOptions};
use serde_json::Value;

use crate::lab::{PATIENCE, TestLab, in_words, kill, wait_until};
use crate::world::{self, FAR, FAR_IPV6, HOST_ADDRESSES};

/// A site behind a router with a way out, and a server that only publishes.
const SITE: &str = "
segments:
  home: {prefix: [10.0.0.0/24, \"fd00::/64\"], driver: bridge}
nodes:
  router:
    forward: true
    interfaces: {home: [10.0.0.1, \"fd00::1\"]}
    uplink: true
    nat: [{masquerade: uplink}]
  desk:
    interfaces: {home: [10.0.0.2, \"fd00::2\"]}
    gateway: [10.0.0.1, \"fd00::1\"]
  server:
    interfaces: {home: 10.0.0.3}
    publish: [18080:80, \"192.0.2.1:18081:80\", \"[::1]:18443:80\", 19000-19001:80-81]
    services: [{name: web, run: [netarium-probe, http-echo, --port, 80], ready: {tcp: 80}}]
";

pub(crate) fn nodes_reach_the_world_which_sees_one_address() {
    let before = host();
    let lab = TestLab::of_host("uplink-out", SITE);
    lab.up();
    lab.assert_healthy();
    assert_eq!(host(), before, "something was changed on the host");
    for node in ["router", "desk"] {
        assert_eq!(lab.sh(node, &ask("tcp", FAR, world::TCP)), "192.0.2.1\n", "{node}");
        assert_eq!(lab.sh(node, &ask("udp", FAR, world::UDP)), "192.0.2.1\n", "{node}");
        assert_eq!(lab.sh(node, &ask("tcp", FAR_IPV6, world::TCP)), "2001:db8::1\n", "{node}");
        assert!(lab.ping(node, FAR), "{node}");
    }
    // Who only publishes has no way out, and without a translation nobody knows the way back.
    let out = lab.run("server", &["sh", "-c", &ask("tcp", FAR, world::TCP)]);
    assert!(!out.is_ok(), "{out:?}");
    if world::has_name_server() {
        let found = lab.sh("router", "getent ahostsv4 host.example | cut -d' ' -f1 | sort -u");
        assert_eq!(found, format!("{FAR}\n"));
    }
    lab.down();
    assert_eq!(host(), before, "something is left on the host");
}

pub(crate) fn no_address_of_the_host_can_be_reached() {
    let lab = TestLab::of_host("uplink-walls", SITE);
    lab.up();
    let listeners = ["0.0.0.0:0", "[::]:0"].map(|it| TcpListener::bind(it).unwrap());
    let sockets = ["0.0.0.0:0", "[::]:0"].map(|it| UdpSocket::bind(it).unwrap());
    let [from_v4, from_v6] = HOST_ADDRESSES;
    let addresses = [
        [from_v4, "127.0.0.1", "100.64.0.1", "100.64.1.1", "100.64.1.2"],
        [from_v6, "::1", "fd6e:6574:6172::1", "fd6e:6574:6172:1::1", "fd6e:6574:6172:1::2"],
    ];
    // Root of the node does what can be done there.
    lab.sh("router", "ip route replace default via 100.64.0.1 dev uplink src 100.64.0.2");
    for ((listener, socket), addresses) in listeners.iter().zip(&sockets).zip(addresses) {
        listener.set_nonblocking(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let tcp = listener.local_addr().unwrap().port();
        let udp = socket.local_addr().unwrap().port();
        for address in addresses {
            let tried = lab.run("router", &["sh", "-c", &ask("tcp", address, tcp)]);
            assert!(!tried.is_ok(), "{address}: {tried:?}");
            lab.run("router", &["sh", "-c", &ask("udp", address, udp)]);
        }
        assert!(listener.accept().is_err(), "somebody came in");
        assert!(socket.recv_from(&mut [0]).is_err(), "somebody wrote");
    }
    // The rest of the host's network can be reached all the same.
    assert_eq!(lab.sh("router", &ask("tcp", "192.0.2.9", world::TCP)), "192.0.2.1\n");
    lab.down();
}

pub(crate) fn nodes_with_a_way_out_cannot_reach_each_other_over_it() {
    let lab = TestLab::of_host("uplink-apart", "nodes: {a: {uplink: true}, b: {uplink: true}}");
    lab.up();
    lab.assert_healthy();
    for (node, own, other) in [("a", "100.64.0.2", "100.64.0.3"), ("b", "100.64.0.3", "100.64.0.2")]
    {
        assert!(lab.ping(node, own) && lab.ping(node, "100.64.0.1") && lab.ping(node, FAR));
        assert!(!lab.ping(node, other), "{node} reaches the other");
    }
    lab.down();
}

pub(crate) fn published_ports_lead_to_nodes() {
    let body = SITE.replace("19000-19001:80-81", "19000-19001:80-81, 15353:53/udp");
    let lab = TestLab::of_host("uplink-in", &body);
    lab.up();
    for address in ["127.0.0.1:18080", "192.0.2.1:18081", "[::1]:18443", "127.0.0.1:19000"] {
        let answer = http(address).unwrap();
        assert!(answer.contains("\"name\":\"server\",\"address\""), "{address}: {answer}");
    }
    // Each on its own address only.
    for address in ["192.0.2.1:18080", "127.0.0.1:18081", "127.0.0.1:18443", "[2001:db8::1]:18443"]
    {
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{address}");
    }
    // UDP: somebody in the node answers with what it hears.
    let answer = "import socket\nit = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                  it.bind(('', 53))\nprint('there', flush=True)\nword, whom = it.recvfrom(99)\n\
                  it.sendto(word + b' ' + whom[0].encode(), whom)\n";
    let mut there = lab.talk("server", &["python3", "-c", answer]);
    assert_eq!(there.hear(), "there");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"hello", "127.0.0.1:15353").unwrap();
    let mut bytes = [0; 99];
    let (length, _) = socket.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"hello 100.64.0.1");
    lab.down();
    assert!(TcpStream::connect("127.0.0.1:18080").is_err());
}

pub(crate) fn a_port_that_is_taken_is_named_and_the_lab_undone() {
    let lab = TestLab::of_host("uplink-taken", SITE);
    let taken = TcpListener::bind("127.0.0.1:19001").unwrap();
    let error = lab.try_up(UpOptions::default()).unwrap_err();
    let words = in_words(&error);
    let expected = "cannot publish 127.0.0.1:19001/tcp of the host for node server";
    assert!(words.contains(expected), "{words}");
    assert!(error.hint().unwrap().contains("another program has 127.0.0.1:19001/tcp"), "{words}");
    lab.assert_nothing_left();
    drop(taken);
    lab.up();
    lab.down();
}

pub(crate) fn what_is_published_can_be_changed_while_nodes_run() {
    let nodes = ["router", "desk", "server"];
    let mut lab = TestLab::of_host("uplink-change", SITE);
    lab.up();
    let (inits, first) = (lab.inits(&nodes), pasta(&lab));
    lab.replace("18080:80", "18090:80");
    assert_eq!(lab.up(), ["remove uplink", "create uplink"]);
    assert!(!is_there(first), "the old pasta is left");
    http("127.0.0.1:18090").unwrap();
    assert!(TcpStream::connect("127.0.0.1:18080").is_err());
    lab.replace("    uplink: true\n    nat: [{masquerade: uplink}]\n", "");
    lab.up();
    lab.assert_healthy();
    let out = lab.run("desk", &["sh", "-c", &ask("tcp", FAR, world::TCP)]);
    assert!(!out.is_ok(), "{out:?}");
    assert_eq!(lab.inits(&nodes), inits);
    lab.down();
}

pub(crate) fn a_killed_pasta_is_seen_and_mended() {
    let nodes = ["router", "desk", "server"];
    let lab = TestLab::of_host("uplink-killed", SITE);
    lab.up();
    let (inits, first) = (lab.inits(&nodes), pasta(&lab));
    kill(first);
    let status = lab.status();
    assert_eq!(status.findings.len(), 1, "{status:#?}");
    assert_eq!(status.findings[0].1, "pasta has ended");
    assert_eq!(lab.up(), ["create uplink"]);
    lab.assert_healthy();
    assert_eq!(lab.inits(&nodes), inits);
    assert_ne!(pasta(&lab), first);
    assert_eq!(lab.sh("desk", &ask("tcp", FAR, world::TCP)), "192.0.2.1\n");
    http("127.0.0.1:18080").unwrap();
    lab.down();
}

pub(crate) fn a_killed_keeper_takes_pasta_with_it() {
    let lab = TestLab::of_host("uplink-keeper", SITE);
    lab.up();
    let first = pasta(&lab);
    kill(lab.keeper().unwrap());
    wait_until("pasta has ended", || !is_there(first));
    assert_eq!(lab.status().state, State::Killed);
    lab.up();
    lab.assert_healthy();
    http("127.0.0.1:18080").unwrap();
    lab.down();
}

pub(crate) fn rules_that_were_changed_by_hand_are_seen_and_mended() {
    let lab = TestLab::of_host("uplink-rules", SITE);
    lab.up();
    let keeper = lab.keeper().unwrap().to_string();
    let mut into = vec!["--target", &keeper, "--user", "--net"];
    if !rustix::process::geteuid().is_root() {
        // They are root of the lab already, and some have no right to drop groups.
        into.push("--preserve-credentials");
    }
    #[expect(clippy::disallowed_methods, reason = "the kernel is changed past the library")]
    let status = std::process::Command::new("nsenter")
        .args(into)
        .args(["nft", "flush", "ruleset"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .status();
    assert!(status.unwrap().success());
    assert_eq!(lab.status().findings[0].1, "its rules were changed by somebody else");
    lab.up();
    lab.assert_healthy();
    assert_eq!(lab.sh("desk", &ask("tcp", FAR, world::TCP)), "192.0.2.1\n");
    lab.down();
}

pub(crate) fn two_labs_get_out_at_the_same_time() {
    let first = TestLab::of_host("uplink-one", SITE);
    let second = TestLab::of_host("uplink-two", "nodes: {a: {uplink: true, publish: 18500:80}}");
    first.up();
    second.up();
    assert_eq!(first.sh("desk", &ask("tcp", FAR, world::TCP)), "192.0.2.1\n");
    assert_eq!(second.sh("a", &ask("tcp", FAR, world::TCP)), "192.0.2.1\n");
    first.down();
    second.assert_healthy();
    assert_eq!(second.sh("a", &ask("tcp", FAR, world::TCP)), "192.0.2.1\n");
    second.down();
}

/// A line of shell that says a word to a port and tells the line that comes back.
fn ask(protocol: &str, address: &str, port: u16) -> String {
    let hello = world::HELLO.trim_end();
    // A datagram must be read at once, which bash itself does not do.
    let talk = format!(
        "exec 3<>/dev/{protocol}/{address}/{port} && echo {hello} >&3 && head -n 1 <&3 | grep ."
    );
    format!("timeout 2 bash -c '{talk}' 2>&1")
}

/// What a web server answers.
fn http(address: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The process number of the lab's pasta.
fn pasta(lab: &TestLab) -> u32 {
    let record = std::fs::read(lab.folder().join("uplink.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    record["pid"].as_u64().unwrap().try_into().unwrap()
}

fn is_there(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// The host's links, addresses, routes and, for root, rules.
fn host() -> Vec<String> {
    let looks: [&[&str]; 5] = [
        &["ip", "-o", "link"],
        &["ip", "-o", "address"],
        &["ip", "route", "show", "table", "all"],
        &["ip", "-6", "route", "show", "table", "all"],
        &["nft", "list", "ruleset"],
    ];
    let is_root = rustix::process::geteuid().is_root();
    let looks = looks.into_iter().filter(|words| is_root || words[0] == "ip");
    looks
        .map(|words| {
            #[expect(clippy::disallowed_methods, reason = "the kernel is asked past the library")]
            let output = std::process::Command::new(words[0]).args(&words[1..]).output().unwrap();
            assert!(output.status.success(), "{words:?}");
            String::from_utf8(output.stdout).unwrap()
        })
        .collect()
}
