//! A host and a world outside of it, for labs that have a way out: namespaces of their own, so that no
//! packet of a test meets the machine's network.
//!
//! ```text
//! lab ── host: 192.0.2.1, 2001:db8::1 ── world: 192.0.2.9, 2001:db8::9, 198.51.100.1, name servers
//! ```
//!
//! The test program starts itself in there: as the world, and once more for the test.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};

use crate::lab::wait_until;
use crate::owner::{self, Ids, PublicFolder, USERS};

/// The first argument of the process that makes a host and a world, and runs what follows in it.
const HOST: &str = "host-of-a-test";

/// The first argument of the process that is the world.
const WORLD: &str = "world-of-a-test";

/// Says to the test program that it is where the tests of the way out can be run.
const INSIDE: &str = "NETARIUM_TEST_WORLD";

/// The host's own addresses.
pub(crate) const HOST_ADDRESSES: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// An address far outside, and the world's next to the host.
pub(crate) const FAR: &str = "198.51.100.1";
pub(crate) const FAR_IPV6: &str = "2001:db8::9";
const NEXT: &str = "192.0.2.9";

/// The world answers TCP connections here, with the address that they come from.
pub(crate) const TCP: u16 = 80;
/// The same for UDP.
pub(crate) const UDP: u16 = 7;

/// What the world hears before it answers.
pub(crate) const HELLO: &str = "hello\n";

/// Whether this process runs in such a host.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// If this process was started as one of those that are needed here, is that.
pub(crate) fn run_if_child() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((word, rest)) if word == HOST => Some(be_host(rest)),
        Some((word, _)) if word == WORLD => Some(be_world()),
        _ => None,
    }
}

/// The tests with these names, each in a host and a world of its own, as root and as every ordinary
/// user.
pub(crate) fn trials(names: &[String], public: &Arc<PublicFolder>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for name in names {
        let test = name.clone();
        trials.push(Trial::test(name.clone(), move || {
            let program = std::env::current_exe().unwrap();
            let mut command = host_command();
            command.arg(program).args(["--exact", &test]);
            owner::judge(&command.output()?)
        }));
        for (user, ids) in USERS {
            let (test, public) = (name.clone(), Arc::clone(public));
            let trial = move || run_as(user, ids, &test, &public);
            trials.push(Trial::test(format!("{user}::{name}"), trial));
        }
    }
    trials
}

fn run_as(user: &str, ids: Ids, test: &str, public: &PublicFolder) -> Result<(), Failed> {
    owner::judge(&owner::as_user(host_command(), user, ids, test, public)?.output()?)
}

/// What runs the program that follows in a host with a world.
#[expect(clippy::disallowed_methods, reason = "the test program starts itself elsewhere")]
fn host_command() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--net").arg(std::env::current_exe().unwrap()).arg(HOST);
    command.env(INSIDE, "1").stdin(Stdio::null());
    command
}

fn be_host(program: &[String]) -> ExitCode {
    let mut world = start_world();
    connect(&world);
    world.stdin.take().unwrap().write_all(b".").unwrap();
    wait_until("the world answers", || {
        std::net::TcpStream::connect((FAR, TCP)).is_ok()
            && std::net::TcpStream::connect((FAR_IPV6, TCP)).is_ok()
    });
    #[expect(clippy::disallowed_methods, reason = "the test itself")]
    let status = Command::new(&program[0]).args(&program[1..]).status().unwrap();
    world.kill().unwrap();
    world.wait().unwrap();
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}

#[expect(clippy::disallowed_methods, reason = "the test program starts itself elsewhere")]
fn start_world() -> Child {
    let mut command = Command::new("unshare");
    command.args(["--net", "--kill-child"]).arg(std::env::current_exe().unwrap()).arg(WORLD);
    let mut world = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It says a word as soon as it is there.
    world.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    world
}

fn connect(world: &Child) {
    let pid = world.id().to_string();
    write_setting("ipv6/conf/default/accept_dad", "0");
    let host: &[&[&str]] = &[
        &["ip", "link", "set", "lo", "up"],
        &["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &pid],
        &["ip", "link", "set", "eth0", "up"],
        &["ip", "address", "add", "192.0.2.1/24", "dev", "eth0"],
        &["ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad"],
    ];
    host.iter().for_each(|words| ok(words));
    let outside = ["nsenter", "--net", "--target", &pid, "ip"];
    let far = format!("{FAR}/32");
    let next = [format!("{NEXT}/24"), format!("{FAR_IPV6}/64")];
    let mut there: Vec<Vec<&str>> = vec![
        vec!["link", "set", "lo", "up"],
        vec!["link", "set", "eth0", "up"],
        vec!["address", "add", &next[0], "dev", "eth0"],
        vec!["address", "add", &next[1], "dev", "eth0", "nodad"],
        vec!["address", "add", &far, "dev", "lo"],
    ];
    let resolvers: Vec<String> = resolvers().iter().map(ToString::to_string).collect();
    for resolver in &resolvers {
        there.push(vec!["address", "add", resolver, "dev", "lo"]);
    }
    for words in there {
        ok(&[&outside[..], &words].concat());
    }
    ok(&["ip", "route", "add", "default", "via", NEXT]);
    ok(&["ip", "-6", "route", "add", "default", "via", FAR_IPV6]);
    write_setting("ipv4/ping_group_range", "0 2147483647");
}

#[expect(clippy::disallowed_methods, reason = "a file of /proc is written, not replaced")]
fn write_setting(key: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{key}"), value).unwrap();
}

/// The name servers of the machine that are elsewhere: here the world has their addresses.
fn resolvers() -> Vec<IpAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let words = text.lines().filter_map(|line| line.strip_prefix("nameserver "));
    words.filter_map(|word| word.trim().parse().ok()).filter(|it: &IpAddr| it.is_ipv4()).collect()
}

/// Whether names can be looked up in here: the machine has a name server, and it is not itself that.
pub(crate) fn has_name_server() -> bool {
    resolvers().iter().any(|it| !it.is_loopback())
}

fn ok(words: &[&str]) {
    #[expect(clippy::disallowed_methods, reason = "the kernel is told past the library")]
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Answers for ever.
fn be_world() -> ExitCode {
    io::stdout().write_all(b".").unwrap();
    io::stdout().flush().unwrap();
    // It has addresses now. Answers of UDP come from the one that was asked.
    io::stdin().read_exact(&mut [0]).unwrap();
    let listener = TcpListener::bind(("::", TCP)).unwrap();
    let echo = UdpSocket::bind((FAR, UDP)).unwrap();
    let names: Vec<UdpSocket> =
        resolvers().into_iter().map(|it| UdpSocket::bind((it, 53)).unwrap()).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                // What nobody has read would be answered with a reset.
                stream.read_exact(&mut [0; HELLO.len()]).ok();
                let from = stream.peer_addr().map(|it| it.ip().to_canonical().to_string());
                // Whoever has hung up does not want to know.
                stream.write_all(format!("{}\n", from.unwrap_or_default()).as_bytes()).ok();
            }
        });
        scope.spawn(|| {
            answer(&echo, |_, from| format!("{}\n", from.to_canonical()).into_bytes());
        });
        for names in &names {
            scope.spawn(|| answer(names, |question, _| name_answer(question)));
        }
    });
    ExitCode::SUCCESS
}

fn answer(socket: &UdpSocket, text: impl Fn(&[u8], IpAddr) -> Vec<u8>) {
    let mut bytes = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        socket.send_to(&text(&bytes[..length], from.ip()), from).ok();
    }
}

/// Every name has the address [`FAR`], and no other (RFC 1035).
fn name_answer(question: &[u8]) -> Vec<u8> {
    const HEADER: usize = 12;
    let mut answer = question.to_vec();
    let Some(end) = question.get(HEADER..).and_then(|name| name.iter().position(|it| *it == 0))
    else {
        return answer;
    };
    // One question; what is behind it, and of the header all counts but that, is ours.
    let end = HEADER + end + 1 + 4;
    answer.truncate(end);
    let is_wanted = answer.get(end - 4..end - 2) == Some(&[0, 1]);
    answer[2] = 0x81;
    answer[3] = 0x80;
    answer[6..HEADER].copy_from_slice(&[0, u8::from(is_wanted), 0, 0, 0, 0]);
    if is_wanted {
        let IpAddr::V4(address) = FAR.parse().unwrap() else { return answer };
        // The name of the question, an address, for a minute, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
