//! The probe, against what there is in namespaces of a test's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "these tests need no whole node")]
mod node;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use netarium_core::control::PROBE;
use netarium_core::outcome::{
    Arrival, Capture, Echo, Icmp, Kind, Listening, Outcome, Reached, Reason, Transfer,
};

use self::node::wait_until;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A program that ends with the test.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn command(arguments: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "it is the program under test")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_netarium-node"));
    command.arg0(PROBE).args(arguments);
    command
}

/// A command in namespaces of its own, with a loopback interface, after this script.
fn apart(script: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "it brings the program under test apart")]
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"]);
    let script =
        format!("set -e; ip link set lo up; probe() {{ (exec -a {PROBE} $0 \"$@\"); }}; {script}");
    command.args(["bash", "-c", &script, env!("CARGO_BIN_EXE_netarium-node")]);
    command
}

fn outcome(output: &Output) -> Outcome {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 1, "{output:?}");
    let outcome = serde_json::from_str(&text).unwrap();
    let code = if matches!(outcome, Outcome::Reached(_)) { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(code));
    outcome
}

fn probe(arguments: &[&str]) -> Outcome {
    outcome(&command(arguments).output().unwrap())
}

fn refused(by: Option<IpAddr>, reason: Reason) -> Outcome {
    Outcome::Refused { by, reason, icmp: None }
}

fn refused_by_icmp(by: &str, reason: Reason, [kind, code]: [u8; 2]) -> Outcome {
    let by = Some(by.parse().unwrap());
    Outcome::Refused { by, reason, icmp: Some(Icmp { kind, code }) }
}

/// A server on a free port.
fn echo_server() -> (Running, u16) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let words = ["http-echo", "--name", "server-s1", "--port", &port.to_string()];
    let server = Running::start(&mut command(&words));
    wait_until("it listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    (server, port)
}

fn get(address: &str, port: u16, path: &str) -> Reached {
    let port = port.to_string();
    let words = ["http", "--address", address, "--port", &port, "--path", path];
    match probe(&words) {
        Outcome::Reached(reached) => reached,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_loopback_address_answers_a_ping() {
    for address in ["127.0.0.1", "::1"] {
        let Outcome::Reached(reached) = probe(&["ping", address]) else { panic!("{address}") };
        assert!(reached.millis < 1000.0);
    }
}

#[test]
fn a_ping_tells_apart_why_there_is_no_answer() {
    let ping = |setup: &str, to: &str| {
        let script = format!("{setup}; probe ping {to} --timeout-ms 300 --interval-ms 50");
        outcome(&apart(&script).output().unwrap())
    };
    assert_eq!(ping("true", "10.9.9.9"), refused(None, Reason::NetworkUnreachable));
    assert_eq!(ping("true", "fd00::9"), refused(None, Reason::NetworkUnreachable));
    let prohibited = refused(None, Reason::Prohibited);
    assert_eq!(ping("ip route add prohibit 10.9.9.0/24", "10.9.9.9"), prohibited);
    let unreachable = refused(None, Reason::HostUnreachable);
    assert_eq!(ping("ip route add unreachable 10.9.9.0/24", "10.9.9.9"), unreachable);
    let silent = "nft add table t; nft add chain t c { type filter hook input priority 0\\; policy drop\\; }";
    assert!(matches!(ping(silent, "127.0.0.1"), Outcome::Silent { millis } if millis >= 300.0));
    let own = "nft add table t; nft add chain t c { type filter hook output priority 0\\; policy drop\\; }";
    assert_eq!(ping(own, "127.0.0.1"), refused(None, Reason::Filtered));
    for (family, with, to, reason, icmp) in [
        ("ip", "icmp admin-prohibited", "127.0.0.1", Reason::Prohibited, [3, 13]),
        ("ip", "icmp port-unreachable", "127.0.0.1", Reason::PortUnreachable, [3, 3]),
        ("ip6", "icmpv6 admin-prohibited", "::1", Reason::Prohibited, [1, 1]),
    ] {
        let echo =
            if family == "ip" { "icmp type echo-request" } else { "icmpv6 type echo-request" };
        let setup = format!(
            "nft add table {family} t; nft add chain {family} t c {{ type filter hook input priority 0\\; }}; \
             nft add rule {family} t c {echo} reject with {with}"
        );
        assert_eq!(ping(&setup, to), refused_by_icmp(to, reason, icmp));
        // A rule of the node's own that refuses is heard as well.
        let own = setup.replace("hook input", "hook output");
        assert_eq!(ping(&own, to), refused_by_icmp(to, reason, icmp));
    }
}

#[test]
fn a_connection_is_reached_or_refused_or_silent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    assert!(matches!(probe(&["tcp", "127.0.0.1", &port]), Outcome::Reached(_)));
    drop(listener);
    let reset = refused(Some(LOCALHOST), Reason::ConnectionRefused);
    assert_eq!(probe(&["tcp", "127.0.0.1", &port]), reset);
}

#[test]
fn a_connection_tells_apart_why_there_is_no_answer() {
    let tcp = |rule: &str| {
        let script = format!(
            "nft add table t; nft add chain t c {{ type filter hook input priority 0\\; }}; \
             nft add rule t c tcp dport 80 {rule}; probe tcp 127.0.0.1 80 --timeout-ms 300"
        );
        outcome(&apart(&script).output().unwrap())
    };
    assert!(matches!(tcp("drop"), Outcome::Silent { .. }));
    let reset = refused(Some(LOCALHOST), Reason::ConnectionRefused);
    assert_eq!(tcp("reject with tcp reset"), reset);
    for (with, reason, icmp) in REJECTIONS {
        let told = refused_by_icmp("127.0.0.1", reason, icmp);
        assert_eq!(tcp(&format!("reject with {with}")), told);
    }
}

/// Ways to reject, and what is heard.
const REJECTIONS: [(&str, Reason, [u8; 2]); 3] = [
    ("icmp admin-prohibited", Reason::Prohibited, [3, 13]),
    ("icmp port-unreachable", Reason::PortUnreachable, [3, 3]),
    ("icmp net-unreachable", Reason::NetworkUnreachable, [3, 0]),
];

#[test]
fn a_datagram_is_answered_or_refused_or_silent() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    let answering = std::thread::spawn(move || {
        let mut bytes = [0; 64];
        let (length, from) = server.recv_from(&mut bytes).unwrap();
        server.send_to(b"yes", from).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    });
    let answer = probe(&["udp", "127.0.0.1", &port, "--token", "0123456789abcdef"]);
    assert!(matches!(answer, Outcome::Reached(_)), "{answer:?}");
    assert_eq!(answering.join().unwrap(), "netarium 0123456789abcdef\n");
    let nobody = refused_by_icmp("127.0.0.1", Reason::PortUnreachable, [3, 3]);
    assert_eq!(probe(&["udp", "127.0.0.1", &port]), nobody);
    let udp = |hook: &str, rule: &str| {
        let script = format!(
            "nft add table t; nft add chain t c {{ type filter hook {hook} priority 0\\; }}; \
             nft add rule t c udp dport 80 {rule}; probe udp 127.0.0.1 80 --timeout-ms 300"
        );
        outcome(&apart(&script).output().unwrap())
    };
    assert!(matches!(udp("input", "drop"), Outcome::Silent { millis } if millis >= 300.0));
    assert_eq!(udp("output", "drop"), refused(None, Reason::Filtered));
    for (with, reason, icmp) in REJECTIONS {
        for hook in ["input", "output"] {
            let told = refused_by_icmp("127.0.0.1", reason, icmp);
            assert_eq!(udp(hook, &format!("reject with {with}")), told, "{hook}");
        }
    }
}

/// Behind translation of addresses and of ports.
#[test]
fn a_marked_request_is_seen_where_it_arrives_with_the_source_it_has_there() {
    let mark = "00112233445566aa";
    let translate = "nft add table t; \
        nft add chain t s { type nat hook postrouting priority 100\\; }; \
        nft add chain t d { type nat hook output priority -100\\; }; \
        nft add rule t s ip daddr 127.0.0.2 meta l4proto tcp snat to 127.0.0.9:4000; \
        nft add rule t d ip daddr 127.0.0.3 tcp dport 81 dnat to 127.0.0.2:80; \
        nft add rule t s ip daddr 127.0.0.2 snat to 127.0.0.9";
    for (asked, to, source) in [
        ("ping 127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("ping 127.0.0.2", "127.0.0.2", "127.0.0.9"),
        ("ping ::1", "::1", "::1"),
        ("tcp 127.0.0.3 81", "127.0.0.2", "127.0.0.9"),
        ("udp 127.0.0.2 53", "127.0.0.2", "127.0.0.9"),
        ("http --address 127.0.0.1 --port 80", "127.0.0.1", "127.0.0.1"),
    ] {
        let script = format!(
            "{translate}; coproc probe watch --token {mark}; read -r ready <&${{COPROC[0]}}; \
             probe ping 127.0.0.2 --token 00112233445566ab >&2; \
             probe {asked} --token {mark} >&2 || true; \
             exec {{COPROC[1]}}>&-; cat <&${{COPROC[0]}}"
        );
        let output = apart(&script).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let seen: Vec<Arrival> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [source, to] = [source, to].map(|it| it.parse::<IpAddr>().unwrap());
        assert_eq!(seen, [Arrival { source, to }], "{asked}: {output:?}");
    }
}

#[test]
fn the_server_says_who_asked_who_answers_and_something_fresh() {
    let (_server, port) = echo_server();
    let mut seen = Vec::new();
    for address in ["127.0.0.1", "::1"] {
        let response = get(address, port, "/x?y=z").response.unwrap();
        assert_eq!((response.status, response.cut), (200, false));
        let echo: Echo = serde_json::from_str(&response.body).unwrap();
        assert_eq!(echo.client.address.to_string(), address);
        assert_eq!(echo.server.address.to_string(), address);
        assert_eq!((echo.server.name.as_str(), echo.server.port), ("server-s1", port));
        assert_eq!((echo.method.as_str(), echo.path.as_str()), ("GET", "/x?y=z"));
        assert_eq!(echo.fresh.len(), 32);
        seen.push(echo.fresh);
    }
    assert_ne!(seen[0], seen[1]);
}

#[test]
fn a_slow_client_keeps_nobody_waiting() {
    let (_server, port) = echo_server();
    let mut slow: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HT").unwrap();
    }
    assert!(get("127.0.0.1", port, "/").millis < 1000.0);
    let mut answer = String::new();
    let mut last = slow.pop().unwrap();
    last.write_all(b"TP/1.1\r\n\r\n").unwrap();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_request_that_is_none_gets_an_answer_too() {
    let (_server, port) = echo_server();
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000));
    for (request, status) in [("nonsense\r\n\r\n", "400"), (long.as_str(), "431")] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_eq!(get("127.0.0.1", port, "/").response.unwrap().status, 200);
}

/// Asks a server that answers with this and closes.
fn answered_with(bytes: &'static [u8]) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(bytes).unwrap();
    });
    let port = address.port().to_string();
    let outcome = probe(&["http", "--address", "127.0.0.1", "--port", &port]);
    server.join().unwrap();
    outcome
}

#[test]
fn what_is_not_http_is_broken_and_not_silent() {
    let broken = Outcome::Broken("what came back is not HTTP/1.1".to_owned());
    assert_eq!(answered_with(b"SSH-2.0-x\r\n"), broken);
    let early = Outcome::Broken("the response ended too early".to_owned());
    assert_eq!(answered_with(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), early);
}

#[test]
fn who_takes_a_connection_and_says_nothing_is_not_silent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let words = ["http", "--address", "127.0.0.1", "--port", &port, "--timeout-ms", "200"];
    let outcome = probe(&words);
    assert!(matches!(&outcome, Outcome::Broken(it) if it.contains("was made")), "{outcome:?}");
}

#[test]
fn a_capture_counts_what_an_interface_sends() {
    let script = "coproc probe capture --interface lo; read -r ready <&${COPROC[0]}; echo $ready; \
                  probe ping 127.0.0.1 >&2; probe ping ::1 >&2; \
                  echo x > /dev/udp/127.0.0.1/500; exec {COPROC[1]}>&-; cat <&${COPROC[0]}";
    let mut running = Running::start(&mut apart(script));
    let listening: Listening = serde_json::from_str(&running.line()).unwrap();
    assert!(listening.ready);
    let capture: Capture = serde_json::from_str(&running.line()).unwrap();
    // That the port of IKE is not reachable is about IKE.
    assert_eq!(capture.frames.get(&Kind::Ike), Some(&2), "{capture:#?}");
    // Two requests, two answers.
    assert_eq!(capture.frames.get(&Kind::Icmp), Some(&4), "{capture:#?}");
    assert_eq!(capture.dropped, 0);
    let lines = &capture.samples[&Kind::Icmp];
    assert_eq!(lines[0], "127.0.0.1 > 127.0.0.1: ICMP echo request, length 36");
}

#[test]
fn a_transfer_lasts_until_its_input_ends() {
    let (_server, port) = echo_server();
    let port = port.to_string();
    let words = ["transfer", "--address", "127.0.0.1", "--port", &port];
    let mut running = Running::start(command(&words).args(["--path", "/bytes/1000000000"]));
    assert_eq!(running.line(), "{\"ready\":true}\n");
    running.input = None;
    let transfer: Transfer = serde_json::from_str(&running.line()).unwrap();
    assert_eq!((transfer.fault, transfer.requests), (None, 1));
    assert!(transfer.bytes > 0 && transfer.longest_pause < 5000.0);
}

#[test]
fn a_transfer_asks_again_when_a_response_is_over() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut running =
        Running::start(&mut command(&["transfer", "--address", "127.0.0.1", "--port", &port]));
    for number in 1..=3 {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        if number == 3 {
            running.input = None;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    }
    assert_eq!(running.line(), "{\"ready\":true}\n");
    let transfer: Transfer = serde_json::from_str(&running.line()).unwrap();
    assert_eq!((transfer.fault, transfer.requests), (None, 3));
}

#[test]
fn a_transfer_that_breaks_says_why() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = std::thread::spawn(move || {
        for answer in
            [&b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"[..], b"HTTP/1.1 404 No\r\n\r\n"]
        {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(answer).unwrap();
        }
    });
    for fault in ["the response ended too early", "the response has status 404"] {
        let words = ["transfer", "--address", "127.0.0.1", "--port", &port];
        let output = command(&words).stdin(Stdio::piped()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let transfer: Transfer = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(transfer.fault.as_deref(), Some(fault));
    }
    server.join().unwrap();
}

#[test]
fn a_capture_ends_when_its_input_does() {
    let mut running = Running::start(&mut command(&["capture", "--interface", "lo"]));
    assert_eq!(running.line(), "{\"ready\":true}\n");
    running.input = None;
    let capture: Capture = serde_json::from_str(&running.line()).unwrap();
    assert_eq!(capture.dropped, 0);
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn wrong_usage_is_told_from_an_outcome() {
    for words in [
        &["ping"][..],
        &["ping", "not-an-address"],
        &["tcp", "10.0.0.1", "99999"],
        &["http", "--address", "10.0.0.1", "--colour", "red"],
        &["capture", "--interface", "a-name-that-is-too-long"],
        &["nothing"],
        &["watch"],
        &["ping", "10.0.0.1", "--token", "xyz"],
        &[],
    ] {
        let output = command(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words:?}");
    }
    let output = command(&["--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("usage: netarium-probe ping"));
    assert_eq!(output.status.code(), Some(0));
}
