//! Containers inside of a node, made with bubblewrap and pasta as Debian has them.

use std::collections::BTreeSet;
use std::fs;

use netarium::lab::{AfterFailure, UpOptions};
use netarium_core::object::Id;

use crate::lab::{TestLab, wait_until};

/// A server with a container for each of two customers, and a client.
const CUSTOMERS: &str = r#"
segments: {lan: 10.0.0.0/24}
nodes:
  server:
    nesting: true
    interfaces: {lan: 10.0.0.1}
    gateway: 10.0.0.2
    services:
      - {name: customer-a, run: [CONTAINER, --hostname, customer-a, --, PASTA, -t, "30000:8080", --, netarium-probe, http-echo, --port, 8080]}
      - {name: customer-b, run: [CONTAINER, --hostname, customer-b, --, PASTA, -t, "30001:8080", --, netarium-probe, http-echo, --port, 8080]}
  client: {interfaces: {lan: 10.0.0.2}}
"#;

/// A container with a user, processes, mounts, messages, a name and files of its own.
const CONTAINER: &str = "bwrap, --unshare-user, --uid, 1000, --gid, 1000, --unshare-pid, \
    --unshare-ipc, --unshare-uts, --ro-bind, /, /, --proc, /proc, --dev, /dev, \
    --dev-bind, /dev/net/tun, /dev/net/tun, --tmpfs, /tmp, --die-with-parent";

/// A network of its own, with one port.
const PASTA: &str = "pasta, --config-net, -4, -u, none, -T, none, -U, none";

fn customers(name: &str) -> TestLab {
    let body = CUSTOMERS.replace("CONTAINER", CONTAINER).replace("PASTA", PASTA);
    TestLab::of_host(name, &body)
}

/// The processes of the host that descend from the node's first and run this program.
fn inside(lab: &TestLab, program: &str) -> Vec<u32> {
    let init = lab.init("server");
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|it| it.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let children: Vec<(u32, u32)> = pids
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut family = BTreeSet::from([init]);
    while children.iter().any(|(pid, parent)| family.contains(parent) && family.insert(*pid)) {}
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    family.into_iter().filter(|pid| name(pid).trim() == program).collect()
}

fn namespace(pid: u32, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string()
}

pub(crate) fn containers_in_a_node_are_apart_and_are_reached_through_its_ports() {
    let lab = customers("nesting-apart");
    lab.up();
    let ask = |port: &str| {
        let probe = ["netarium-probe", "http", "--address", "10.0.0.1", "--port", port];
        lab.run("client", &probe)
    };
    for (port, customer) in [("30000", "customer-a"), ("30001", "customer-b")] {
        wait_until("the customer's server answers", || ask(port).text.contains(customer));
    }
    assert!(!ask("8080").text.contains("customer"), "it is reached past its container");

    let servers = inside(&lab, "netarium-probe");
    let [a, b] = servers[..] else { panic!("{servers:?}") };
    let init = lab.init("server");
    for kind in ["user", "net", "pid", "mnt", "ipc", "uts"] {
        let all = BTreeSet::from([a, b, init].map(|pid| namespace(pid, kind)));
        assert_eq!(all.len(), 3, "{kind}");
    }
    let me = rustix::process::geteuid().as_raw();
    for pid in [a, b] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        let uid: u32 = uid.split_ascii_whitespace().next().unwrap().parse().unwrap();
        assert!(if me == 0 { uid >= 65_536 } else { uid == me }, "{uid} of the host");
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
    lab.assert_healthy();
    lab.down();
}

pub(crate) fn containers_in_a_node_have_no_right_that_the_node_has_not() {
    let lab = customers("nesting-rights");
    lab.up();
    // The node itself has got nothing by it.
    crate::node::assert_confined(&lab, "server");
    for line in [
        "mount -t tmpfs none /mnt",
        "unshare --mount true",
        "unshare --net true",
        "umount /proc/kcore",
        "ls /dev/.nesting/proc",
        "umount /dev/.nesting",
        "nsenter --target 1 --user true",
        "dmesg | grep .",
        "date -s 2000-01-01",
    ] {
        assert!(!lab.run("server", &["sh", "-c", line]).is_ok(), "{line}");
    }
    // Nor has root of a namespace below it, over what is covered in the node.
    for line in [
        "umount /dev/.nesting && ls /dev/.nesting/proc",
        "umount /proc/sys",
        "umount -l /proc/sysrq-trigger",
        "mount -o remount,rw,bind /proc/sys",
        "mount -o remount,rw,bind /usr/local/bin/netarium-probe",
        "ip link add dummy0 type dummy",
        "date -s 2000-01-01",
        "dmesg | grep .",
        "mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk",
    ] {
        let words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", line];
        assert!(!lab.run("server", &words).is_ok(), "{line}");
    }
    let container: Vec<&str> = CONTAINER.split(", ").map(str::trim).collect();
    let run = |line| {
        let words = [&container[..], &["--unshare-net", "--", "sh", "-c", line]].concat();
        lab.run("server", &words)
    };
    lab.sh("server", "echo secret > /tmp/mark");
    let seen = run("ls -A /tmp; id -u; grep -c : /proc/net/dev; tr '\\0' ' ' < /proc/1/cmdline");
    assert!(seen.is_ok() && seen.text.starts_with("1000\n1\nbwrap "), "{seen:?}");
    let processes = run("ls -d /proc/[0-9]* | wc -l");
    assert!(processes.text.trim().parse::<u32>().unwrap() <= 5, "{processes:?}");
    for line in [
        "head -c 1 /proc/kcore",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo h > /proc/sysrq-trigger",
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /",
        "hostname x",
        "date -s 2000-01-01",
        "echo x > /usr/local/bin/netarium-probe",
    ] {
        let ended = run(line);
        assert!(!ended.is_ok(), "{line}: {ended:?}");
    }
    lab.down();
}

pub(crate) fn without_nesting_a_container_is_refused_and_the_log_says_so() {
    let mut lab = customers("nesting-refused");
    lab.replace("    nesting: true\n", "");
    // On a fast machine the service is given up before the others are ready.
    lab.try_up(UpOptions { after_failure: AfterFailure::Keep, ..UpOptions::default() }).ok();
    let refused = |it: &(Id, String)| it.0.to_string() == "service server/customer-a";
    let reason = || lab.status().findings.into_iter().find(refused).map(|it| it.1);
    wait_until("the service is given up", || {
        reason().is_some_and(|it| it.contains("bwrap: No permissions to create new namespace"))
    });
    let log = fs::read_to_string(lab.folder().join("nodes/server/logs/customer-a.log"));
    assert!(log.unwrap().contains("bwrap: No permissions"));
    assert_eq!(inside(&lab, "netarium-probe"), Vec::<u32>::new());
    lab.down();
}
