//! What a node is: which ids, capabilities, system calls, files and devices its processes have.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::lab::TestLab;

/// Two nodes and no services.
const PAIR: &str = "
segments:
  lan: 10.0.0.0/24
nodes:
  alice: {interfaces: {lan: 10.0.0.1}}
  bob: {interfaces: {lan: 10.0.0.2}}
";

/// The usual set of container engines with NET_ADMIN, NET_RAW, by bit (capabilities(7)): CHOWN 0,
/// DAC_OVERRIDE 1, FOWNER 3, FSETID 4, KILL 5, SETGID 6, SETUID 7, SETPCAP 8, NET_BIND_SERVICE 10,
/// NET_ADMIN 12, NET_RAW 13, SYS_CHROOT 18, MKNOD 27, AUDIT_WRITE 29, SETFCAP 31.
const GRANTED: [u32; 15] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 12, 13, 18, 27, 29, 31];

pub(crate) fn a_node_has_its_own_ids_and_granted_capabilities_only() {
    let lab = TestLab::of_host("node-rights", PAIR);
    lab.up();
    assert_confined(&lab, "alice");
    let inside = lab.ok("alice", &["cat", "/proc/self/uid_map", "/proc/self/gid_map"]);
    let first: Vec<&str> = inside.split_ascii_whitespace().take(3).collect();
    assert_eq!(first, ["0", "0", "1"], "{inside}");

    let init = lab.init("alice");
    let owner = fs::metadata(format!("/proc/{init}")).unwrap().uid();
    let me = rustix::process::geteuid().as_raw();
    if me == 0 {
        assert!(owner >= 65_536, "root of the node is user {owner} of the host");
    } else {
        assert_eq!(owner, me);
    }
    let map = fs::read_to_string(format!("/proc/{init}/uid_map")).unwrap();
    assert!(map.split_ascii_whitespace().nth(1) != Some("0"), "{map}");
    let bob = lab.init("bob");
    for kind in ["user", "pid", "net", "mnt", "ipc", "uts", "cgroup"] {
        let of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(of(init), of(bob), "{kind}");
        assert_ne!(of(init), of(std::process::id()), "{kind}");
    }
    lab.down();
}

pub(crate) fn nodes_are_of_one_session_and_each_of_a_group_of_its_own() {
    let lab = TestLab::of_host("node-session", PAIR);
    lab.up();
    let group_and_session = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<String> =
            stat.rsplit_once(") ").unwrap().1.split(' ').map(ToOwned::to_owned).collect();
        (fields[2].clone(), fields[3].clone())
    };
    let [alice, bob] = ["alice", "bob"].map(|node| lab.init(node));
    let (alices_group, session) = group_and_session(alice);
    assert_eq!(group_and_session(bob), (bob.to_string(), session.clone()));
    assert_eq!(alices_group, alice.to_string());
    assert_ne!(group_and_session(std::process::id()).1, session, "it is not that of the caller");
    // Nobody in a node is of the caller's terminal, nor can a signal to a group leave the node.
    let inside = lab.sh("alice", "cut -d' ' -f5,6,7 /proc/1/stat");
    assert_eq!(inside, "1 0 0\n");
    lab.down();
}

/// Asserts what holds for the first process of a node, and for a program that is run in it.
pub(crate) fn assert_confined(lab: &TestLab, node: &str) {
    let granted = GRANTED.iter().fold(0_u64, |all, bit| all | 1 << bit);
    for process in ["1", "self"] {
        let status = lab.ok(node, &["cat", &format!("/proc/{process}/status")]);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim_start_matches(':').trim().to_owned()
        };
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(field(set), format!("{granted:016x}"), "{set} of {process}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(field(set), "0".repeat(16), "{set} of {process}");
        }
        assert_eq!(field("NoNewPrivs"), "1");
        assert_eq!(field("Seccomp"), "2");
        assert_eq!(field("Uid"), "0\t0\t0\t0");
    }
}

pub(crate) fn a_node_cannot_mount_unshare_or_reach_the_machine() {
    let lab = TestLab::of_host("node-walls", PAIR);
    lab.up();
    assert_walled(&lab, "alice");
    lab.down();
}

/// Asserts what no program in a node can do.
pub(crate) fn assert_walled(lab: &TestLab, node: &str) {
    for line in [
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /proc/sys",
        "umount /proc/kcore",
        "unshare --user true",
        "unshare --mount true",
        "unshare --net true",
        // `h` only prints a help text into the kernel's log, should it get that far.
        "echo h > /proc/sysrq-trigger",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/irq/default_smp_affinity",
        "echo x > /sys/kernel/uevent_helper",
        "mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk",
        "dmesg | grep .",
        "echo x > /usr/local/bin/netarium-probe",
        "chroot /proc/1/root mount -t proc none /mnt",
        "nsenter --target 1 --user true",
        "date -s 2000-01-01",
    ] {
        let ended = lab.run(node, &["sh", "-c", line]);
        assert!(!ended.is_ok(), "{line}: {ended:?}");
    }
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"] {
        let size = lab.sh(node, &format!("test ! -e {path} || wc -c < {path}"));
        assert!(["", "0"].contains(&size.trim()), "{path}: {size}");
    }
    for folder in ["/sys/firmware", "/proc/acpi", "/proc/scsi", "/home", "/srv", "/mnt"] {
        let content = lab.sh(node, &format!("test ! -e {folder} || ls -A {folder}"));
        assert_eq!(content, "", "{folder}");
    }
}

pub(crate) fn a_node_is_called_by_its_own_name_and_knows_its_neighbours() {
    let lab = TestLab::of_host("node-names", PAIR);
    lab.up();
    assert_eq!(lab.ok("alice", &["cat", "/proc/sys/kernel/hostname"]), "alice\n");
    assert_eq!(lab.ok("bob", &["cat", "/etc/hostname"]), "bob\n");
    assert_eq!(lab.sh("bob", "echo $HOSTNAME"), "bob\n");
    let hosts = lab.ok("alice", &["cat", "/etc/hosts"]);
    for line in ["127.0.0.1 localhost", "10.0.0.1 alice", "10.0.0.2 bob"] {
        assert!(hosts.lines().any(|it| it == line), "{hosts}");
    }
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let resolver = lab.ok("alice", &["cat", "/etc/resolv.conf"]);
    let servers: Vec<&str> = resolver.lines().filter(|it| it.starts_with("nameserver")).collect();
    assert!(servers.is_empty() && resolver != host, "{resolver}");
    assert_eq!(lab.sh("alice", "getent hosts bob | cut -d' ' -f1"), "10.0.0.2\n");
    lab.down();
}

pub(crate) fn a_node_sees_its_own_devices_processes_and_interfaces_only() {
    let lab = TestLab::of_host("node-sight", PAIR);
    lab.up();
    let devices = lab.ok("alice", &["ls", "/dev"]);
    let expected =
        "fd full mqueue net null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(devices.split_ascii_whitespace().collect::<Vec<_>>().join(" "), expected);
    lab.sh("alice", "test -c /dev/net/tun && echo x > /dev/null && test -c /dev/ptmx");
    let run = "ip tuntap add mode tun name tun9 && ip link delete tun9";
    lab.sh("alice", run);

    let seen = lab.sh("alice", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done");
    let processes: Vec<&str> = seen.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    assert!(processes[0].starts_with("netarium-init"), "{seen}");
    assert!(processes.len() <= 4, "{seen}");
    let links = lab.sh("alice", "ls /sys/class/net | sort | tr '\\n' ' '");
    assert_eq!(links, "eth0 lo ");
    // Nor is there anything of other nodes or of the host on its abstract sockets or in its IPC.
    assert_eq!(lab.sh("alice", "grep -c @ /proc/net/unix || true"), "0\n");
    lab.down();
}

pub(crate) fn what_a_node_writes_is_its_own() {
    let lab = TestLab::of_host("node-files", PAIR);
    lab.up();
    let mark = "/etc/netarium-test-mark";
    lab.sh(
        "alice",
        &format!("echo mine > {mark} && echo mine > /tmp/mark && echo > /var/log/mark"),
    );
    assert_eq!(lab.ok("alice", &["cat", mark]), "mine\n");
    assert!(!lab.run("bob", &["cat", mark]).is_ok());
    assert!(fs::metadata(mark).is_err(), "a node writes to the host's file system");
    // The host's files are nobody's: root of a node has no right to what only root may read.
    if rustix::process::geteuid().is_root() {
        assert!(!lab.run("alice", &["cat", "/etc/shadow"]).is_ok());
    }
    // Files that are replaced in a node's own layer do not disturb it.
    lab.sh("alice", "rm /tmp/mark && mkdir -p /tmp/a/b && ln -s /etc/shadow /tmp/a/b/link");
    lab.assert_healthy();
    lab.down();
}

pub(crate) fn the_files_of_a_lab_are_its_owners_alone() {
    let lab = TestLab::of_host("node-private", PAIR);
    lab.up();
    let folder = fs::metadata(lab.folder()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let init = fs::metadata(format!("/proc/{}", lab.init("alice"))).unwrap();
    assert_eq!(folder.uid(), init.uid(), "the folder belongs to the lab's root");
    lab.down();
}
