//! Two real daemons in two network namespaces, with our texts, our certificates and our VICI.
//!
//! They need root, and strongSwan in the root file system that `NETARIUM_TEST_ROOT` names, the
//! host's own if it names none.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use netarium_core::ipsec::{CHARON, REVOCATION_LISTS, STRONGSWAN_CONF, SWANCTL_CONF, VICI_SOCKET};
use netarium_core::ipsec::{connection, strongswan_conf, swanctl_conf};
use netarium_core::model::{Ipsec, Tunnel, TunnelEnd, TunnelKind};
use netarium_core::name::Name;
use netarium_core::object::{self, Encryption};
use tokio::time::Instant;

use super::initiate::initiate;
use super::{TunnelError, list_conns, list_sas, load, terminate, unload};
use crate::pki::{Authority, Credential};

/// A root file system of the daemon's own over the given one, then a pause for its files and links.
/// All mounts are below `/mnt` of a mount namespace that ends with the daemon.
const BIRTH: &str = r#"
set -e
mount -t tmpfs stage /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" node /mnt/root
cd /mnt/root
mount -t tmpfs run run
mount --rbind /dev dev
mount --rbind /proc proc
ip link set lo up
echo "born $$"
read -r go
exec chroot . /usr/lib/ipsec/charon
"#;

/// A daemon in a network namespace of its own; it ends with the test.
struct Daemon {
    process: Child,
    root: PathBuf,
}

impl Daemon {
    #[expect(clippy::disallowed_methods, reason = "a test's own namespaces, gone with its process")]
    fn create() -> Self {
        let lower = std::env::var("NETARIUM_TEST_ROOT").unwrap_or_else(|_| "/".to_owned());
        assert!(Path::new(&lower).join(&CHARON[1..]).exists(), "no {CHARON} in {lower}");
        let mut process = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "sh", "-c", BIRTH, "sh", &lower])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut born = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut born).unwrap();
        assert!(born.starts_with("born"), "{}", Self::words(&mut process));
        // The shell works in the root folder to be: `/proc/<pid>/root` is it after chroot(1) only.
        let root = PathBuf::from(format!("/proc/{}/cwd", process.id()));
        Self { process, root }
    }

    fn words(process: &mut Child) -> String {
        let lines = BufReader::new(process.stderr.as_mut().unwrap()).lines();
        lines.map_while(Result::ok).collect::<Vec<_>>().join("\n")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a file in a root folder that ends with the test"
    )]
    fn write(&self, path: &str, content: &str) {
        let path = self.root.join(&path[1..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Runs a program in the daemon's network namespace.
    #[expect(clippy::disallowed_methods, reason = "links of namespaces that end with the test")]
    fn run(&self, words: &str) -> bool {
        let net = format!("--net=/proc/{}/ns/net", self.process.id());
        let mut command = Command::new("nsenter");
        let status = command.arg(net).args(words.split(' ')).stdout(Stdio::null()).status();
        status.unwrap().success()
    }

    /// Sends one datagram to where nobody listens, which is answered with a refusal (ICMP). Twenty
    /// bytes of IP, eight of UDP and two of text go one way; something comes back.
    #[expect(clippy::disallowed_methods, reason = "a datagram needs the test's own namespace")]
    fn knock(&self, at: &str) {
        let net = format!("--net=/proc/{}/ns/net", self.process.id());
        let script = format!("echo x > /dev/udp/{at}/9");
        let status = Command::new("nsenter").args([&net, "bash", "-c", &script]).status();
        assert!(status.unwrap().success(), "{at}");
    }

    fn must(&self, words: &str) {
        assert!(self.run(words), "{words}");
    }

    /// Lets the daemon start, and tells how long it took to open its socket.
    async fn start(&mut self) -> Duration {
        let begin = Instant::now();
        self.process.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        self.root = PathBuf::from(format!("/proc/{}/root", self.process.id()));
        while !self.is_listening() {
            assert!(begin.elapsed() < Duration::from_secs(5), "no socket after five seconds");
            assert!(
                self.process.try_wait().unwrap().is_none(),
                "{}",
                Self::words(&mut self.process)
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        begin.elapsed()
    }

    /// Until it has changed its root folder, the socket would be looked for in the host's.
    fn is_listening(&self) -> bool {
        let program = std::fs::read_link(format!("/proc/{}/exe", self.process.id()));
        let socket = self.root.join(&VICI_SOCKET[1..]);
        program.is_ok_and(|path| path.ends_with("charon"))
            && std::os::unix::net::UnixStream::connect(socket).is_ok()
    }

    /// Kilobytes of memory, shared pages divided by those who share them.
    fn proportional_set_size(&self) -> String {
        let path = format!("/proc/{}/smaps_rollup", self.process.id());
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().find(|line| line.starts_with("Pss:")).unwrap().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        if std::thread::panicking() {
            eprintln!("{}", Self::words(&mut self.process));
        }
    }
}

fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

fn end(node: &str, address: &str, carry: &str) -> TunnelEnd {
    TunnelEnd {
        node: name(node),
        address: address.parse().unwrap(),
        carry: vec![carry.parse().unwrap()],
    }
}

fn tunnel() -> Tunnel {
    Tunnel {
        name: name("a-to-cloud"),
        initiator: end("gateway-a", "172.26.26.1", "10.1.0.0/16"),
        responder: end("gateway-s", "172.26.26.2", "10.3.0.0/16"),
        kind: TunnelKind::Ipsec(Ipsec::example()),
    }
}

fn authority() -> Authority {
    let lab = object::Authority { lab: name("pair"), days: 3650 };
    Authority::create(&lab, SystemTime::now()).unwrap()
}

fn issue(authority: &Authority, node: &str, address: &str) -> Credential {
    let addresses: Vec<IpAddr> = vec![address.parse().unwrap()];
    authority.issue(&object::Credential { node: name(node), addresses }).unwrap()
}

/// Two nodes with a wire between them, their daemons not started yet.
fn pair() -> [Daemon; 2] {
    let [a, s] = [Daemon::create(), Daemon::create()];
    a.must(&format!("ip link add wire type veth peer name wire netns {}", s.process.id()));
    for (node, outside, inside) in
        [(&a, "172.26.26.1/24", "10.1.0.1/32"), (&s, "172.26.26.2/24", "10.3.0.1/32")]
    {
        node.must(&format!("ip address add {outside} dev wire"));
        node.must(&format!("ip address add {inside} dev lo"));
        node.must("ip link set wire up");
        node.write(STRONGSWAN_CONF, &strongswan_conf(Encryption::Userspace));
    }
    a.must("ip route add default via 172.26.26.2");
    s.must("ip route add default via 172.26.26.1");
    [a, s]
}

/// Two nodes whose daemons have read their files as swanctl(8) reads them, but for the credential
/// files that are not `wanted`.
async fn pair_with_files(wanted: fn(&str) -> bool) -> [Daemon; 2] {
    let [mut a, mut s] = pair();
    let authority = authority();
    for (node, word, address) in
        [(&a, "gateway-a", "172.26.26.1"), (&s, "gateway-s", "172.26.26.2")]
    {
        let credential = issue(&authority, word, address);
        for file in credential.files().iter().filter(|file| wanted(&file.path)) {
            node.write(&file.path, file.content);
        }
        node.write(SWANCTL_CONF, &swanctl_conf([&tunnel()], &name(word), Encryption::Userspace));
    }
    a.start().await;
    s.start().await;
    for node in [&s, &a] {
        node.must(&format!("chroot {} swanctl --load-all", node.root.display()));
    }
    [a, s]
}

async fn load_both(nodes: [&Daemon; 2], credentials: [&Credential; 2], tunnels: [&Tunnel; 2]) {
    // The responder first, as always.
    for at in [1, 0] {
        let node = &credentials[at].object().node;
        let connections = [connection(tunnels[at], node, Encryption::Userspace).unwrap()];
        load(&nodes[at].root, &connections, credentials[at], &[]).await.unwrap();
    }
}

/// Bytes in and out of the one tunnel of a node, as soon as there are some of both.
async fn carried(node: &Daemon, deadline: Instant) -> (u64, u64) {
    loop {
        let child = list_sas(&node.root).await.unwrap().remove(0).children.remove(0);
        let bytes = (child.bytes_in, child.bytes_out);
        if (bytes.0 > 0 && bytes.1 > 0) || Instant::now() > deadline {
            return bytes;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn soon(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

#[tokio::test]
#[ignore = "needs root, and strongSwan in NETARIUM_TEST_ROOT or on the host"]
async fn a_tunnel_comes_up_carries_packets_and_is_closed() {
    let [mut a, mut s] = pair();
    println!("daemons start in {:?}, {:?}", a.start().await, s.start().await);
    let tunnel = tunnel();
    let authority = authority();
    let credentials = [
        issue(&authority, "gateway-a", "172.26.26.1"),
        issue(&authority, "gateway-s", "172.26.26.2"),
    ];
    let begin = Instant::now();
    load_both([&a, &s], [&credentials[0], &credentials[1]], [&tunnel; 2]).await;
    println!("both loaded in {:?}", begin.elapsed());
    assert_eq!(list_conns(&s.root).await.unwrap(), ["a-to-cloud"]);

    let begin = Instant::now();
    let first = initiate(&tunnel, &a.root, &s.root, soon(5000)).await.unwrap();
    println!("established in {:?}, try {}: {:?}", begin.elapsed(), first.tries, first.sa);
    assert_eq!(first.tries, 1);
    a.knock("10.3.0.1");
    assert_eq!(carried(&s, soon(2000)).await, (30, 58));
    println!("memory: {}, {}", a.proportional_set_size(), s.proportional_set_size());

    let again = initiate(&tunnel, &a.root, &s.root, soon(5000)).await.unwrap();
    assert_eq!((again.tries, &again.sa.spis), (0, &first.sa.spis));

    terminate(&a.root, &tunnel.name).await.unwrap();
    terminate(&a.root, &tunnel.name).await.unwrap();
    assert_eq!(list_sas(&s.root).await.unwrap(), []);
    unload(&s.root, &tunnel.name).await.unwrap();
    assert!(list_conns(&s.root).await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs root, and strongSwan in NETARIUM_TEST_ROOT or on the host"]
async fn a_tunnel_that_one_end_has_forgotten_is_opened_again() {
    let [mut a, mut s] = pair();
    a.start().await;
    s.start().await;
    let (tunnel, authority) = (tunnel(), authority());
    let credentials = [
        issue(&authority, "gateway-a", "172.26.26.1"),
        issue(&authority, "gateway-s", "172.26.26.2"),
    ];
    load_both([&a, &s], [&credentials[0], &credentials[1]], [&tunnel; 2]).await;
    let first = initiate(&tunnel, &a.root, &s.root, soon(5000)).await.unwrap();
    // Cut off, the responder closes its side, and the initiator does not hear of it.
    a.must("ip link set wire down");
    terminate(&s.root, &tunnel.name).await.unwrap();
    a.must("ip link set wire up");
    a.must("ip route add default via 172.26.26.2");
    let second = initiate(&tunnel, &a.root, &s.root, soon(5000)).await.unwrap();
    assert_ne!(first.sa.spis, second.sa.spis);
}

#[tokio::test]
#[ignore = "needs root, and strongSwan in NETARIUM_TEST_ROOT or on the host"]
async fn a_tunnel_that_does_not_come_up_tells_the_daemons_own_reason() {
    let [mut a, mut s] = pair();
    a.start().await;
    s.start().await;
    let (tunnel, ours, theirs) = (tunnel(), authority(), authority());
    let s_credential = issue(&ours, "gateway-s", "172.26.26.2");
    let stranger = issue(&theirs, "gateway-a", "172.26.26.1");
    load_both([&a, &s], [&stranger, &s_credential], [&tunnel; 2]).await;
    let refused = initiate(&tunnel, &a.root, &s.root, soon(5000)).await.unwrap_err();
    println!("{refused}");
    assert!(matches!(refused, TunnelError::Down { .. }), "{refused}");
    assert!(refused.to_string().contains("no issuer certificate found"), "{refused}");

    let friend = issue(&ours, "gateway-a", "172.26.26.1");
    let mut other = tunnel.clone();
    let TunnelKind::Ipsec(ipsec) = &mut other.kind else { panic!("it is IPsec") };
    ipsec.ike = "aes128gcm16-prfsha256-ecp256".to_owned();
    load_both([&a, &s], [&friend, &s_credential], [&other, &tunnel]).await;
    let refused = initiate(&tunnel, &a.root, &s.root, soon(5000)).await.unwrap_err();
    println!("{refused}");
    assert!(refused.to_string().contains("NO_PROPOSAL_CHOSEN"), "{refused}");

    load_both([&a, &s], [&friend, &s_credential], [&tunnel; 2]).await;
    s.must("ip link set wire down");
    let begin = Instant::now();
    let silent = initiate(&tunnel, &a.root, &s.root, soon(1500)).await.unwrap_err();
    println!("{silent}");
    assert!(silent.to_string().contains("retransmit 1 of request"), "{silent}");
    assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());

    let gone = Path::new("/nonexistent");
    let absent = initiate(&tunnel, &a.root, gone, soon(300)).await.unwrap_err();
    assert!(matches!(absent, TunnelError::Connect { .. }), "{absent}");
}

#[tokio::test]
#[ignore = "needs root, and strongSwan in NETARIUM_TEST_ROOT or on the host"]
async fn what_the_files_say_is_what_swanctl_makes_of_them() {
    let [a, s] = pair_with_files(|_| true).await;
    initiate(&tunnel(), &a.root, &s.root, soon(5000)).await.unwrap();
    a.knock("10.3.0.1");
    assert_eq!(carried(&s, soon(2000)).await, (30, 58));
}

#[tokio::test]
#[ignore = "needs root, and strongSwan in NETARIUM_TEST_ROOT or on the host"]
async fn without_a_revocation_list_no_certificate_is_believed() {
    let [a, s] = pair_with_files(|path| !path.starts_with(REVOCATION_LISTS)).await;
    let refused = initiate(&tunnel(), &a.root, &s.root, soon(5000)).await.unwrap_err();
    println!("{refused}");
    assert!(refused.to_string().contains("RULE_CRL_VALIDATION"), "{refused}");
}

#[tokio::test]
#[ignore = "needs root, and strongSwan in NETARIUM_TEST_ROOT or on the host"]
async fn a_tunnel_may_carry_the_address_of_its_own_other_end() {
    let [mut a, mut s] = pair();
    a.start().await;
    s.start().await;
    let authority = authority();
    let credentials = [
        issue(&authority, "gateway-a", "172.26.26.1"),
        issue(&authority, "gateway-s", "172.26.26.2"),
    ];
    let mut everything = tunnel();
    everything.responder.carry = vec!["0.0.0.0/0".parse().unwrap()];
    load_both([&a, &s], [&credentials[0], &credentials[1]], [&everything; 2]).await;
    initiate(&everything, &a.root, &s.root, soon(5000)).await.unwrap();
    a.knock("10.3.0.1");
    assert_eq!(carried(&s, soon(2000)).await, (30, 58));
}
