//! What nodes run by themselves, whether it is well, in which order nodes start, and how programs
//! are stopped.

use std::fs;

use netarium::lab::UpOptions;
use netarium_core::control::ServiceState;

use crate::lab::{TestLab, in_words, run, wait_until};

/// The last starts first; the first waits for both.
const ORDERED: &str = "
segments:
  lan: 10.0.0.0/24
nodes:
  alice:
    interfaces: {lan: 10.0.0.1}
    command: [sh, -c, 'cat /order/*; exec sleep infinity']
    after: {bob: ready, carol: done}
    volumes: [order:/order]
  bob:
    interfaces: {lan: 10.0.0.2}
    command: [sh, -c, 'cat /order/*; echo bob > /order/bob; exec sleep infinity']
    ready: {command: [test, -e, /order/bob], interval: 50ms}
    after: carol
    volumes: [order:/order]
  carol:
    interfaces: {lan: 10.0.0.3}
    command: [sh, -c, 'echo carol > /order/carol']
    volumes: [order:/order]
";

pub(crate) fn state(lab: &TestLab, node: &str) -> ServiceState {
    let main = lab.services(node).into_iter().find(|it| it.service.name.as_str() == "main");
    main.expect("the node runs something by itself").state
}

pub(crate) fn log(lab: &TestLab, node: &str) -> String {
    let path = lab.folder().join("nodes").join(node).join("logs/main.log");
    fs::read_to_string(path).unwrap_or_default()
}

pub(crate) fn nodes_start_when_those_they_come_after_are_as_they_want_them() {
    let lab = TestLab::of_host("process-order", ORDERED);
    lab.up();
    wait_until("both have written", || {
        log(&lab, "bob") == "carol\n" && log(&lab, "alice") == "bob\ncarol\n"
    });
    assert_eq!(state(&lab, "alice"), ServiceState::Ready);
    assert_eq!(state(&lab, "carol"), ServiceState::Done);
    lab.assert_healthy();
    assert_eq!(lab.up(), [""; 0]);
    lab.down();
    run(lab.lab.remove_volumes(&|_| ())).unwrap();
}

pub(crate) fn a_node_that_waits_in_vain_is_told_with_the_reason_and_the_lab_undone() {
    let mut lab = TestLab::of_host("process-vain", ORDERED);
    lab.replace("echo carol > /order/carol", "echo no disk; exit 3");
    lab.replace(
        "    command: [sh, -c, 'echo no",
        "    restart: never\n    command: [sh, -c, 'echo no",
    );
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    for words in ["after carol", "ended with status 3", "no disk"] {
        assert!(error.contains(words), "{words} not in: {error}");
    }
    lab.assert_nothing_left();
    lab.replace("echo no disk; exit 3", "exit 0");
    lab.replace(
        "[test, -e, /order/bob], interval",
        "[sh, -c, 'echo never; exit 1'], retries: 1, interval",
    );
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    for words in ["cannot start alice", "after bob", "unhealthy", "never"] {
        assert!(error.contains(words), "{words} not in: {error}");
    }
    lab.assert_nothing_left();
    lab.down();
}

/// A node about which everything is said.
const SAID: &str = "
segments:
  lan: 10.0.0.0/24
nodes:
  alice:
    interfaces: {lan: {address: 10.0.0.1, aliases: [www]}}
    entrypoint: [sh, -c]
    command: ['id -u; pwd; hostname; echo $COLOUR; exec sleep infinity']
    env: {COLOUR: red}
    folder: /scratch/made
    volumes: [{memory: 1MiB, target: /scratch}]
    hostname: alice.example.org
    hosts: {db.example.org: 192.0.2.9}
    dns: {servers: 192.0.2.53, search: example.org}
  bob: {interfaces: {lan: 10.0.0.2}}
";

pub(crate) fn a_node_runs_what_is_said_and_is_called_as_is_said() {
    let lab = TestLab::of_host("process-said", SAID);
    lab.up();
    wait_until("it has written", || log(&lab, "alice").lines().count() == 4);
    assert_eq!(log(&lab, "alice"), "0\n/scratch/made\nalice.example.org\nred\n");
    assert_eq!(lab.sh("alice", "echo $COLOUR"), "red\n");
    assert_eq!(lab.sh("bob", "getent hosts www | cut -d' ' -f1"), "10.0.0.1\n");
    assert_eq!(lab.sh("alice", "getent hosts db.example.org | cut -d' ' -f1"), "192.0.2.9\n");
    assert!(!lab.run("bob", &["grep", "db.example", "/etc/hosts"]).is_ok());
    let resolv = lab.ok("alice", &["cat", "/etc/resolv.conf"]);
    assert_eq!(resolv, "nameserver 192.0.2.53\nsearch example.org\n");
    let mount = lab.sh("alice", "grep ' /scratch ' /proc/mounts");
    for word in ["tmpfs", "nosuid", "nodev", "size=1024k"] {
        assert!(mount.contains(word), "{word} not in {mount}");
    }
    assert!(
        !lab.run("alice", &["dd", "if=/dev/zero", "of=/scratch/file", "bs=1M", "count=2"]).is_ok()
    );
    lab.assert_healthy();
    lab.down();
}

/// A node that is well as long as a file is there.
const WATCHED: &str = "
nodes:
  alice:
    command: [sleep, infinity]
    ready: {command: [sh, -c, 'echo gone; test ! -e /run/ill'], interval: 20ms, retries: 2}
";

pub(crate) fn an_unhealthy_node_is_seen_and_left_to_get_well() {
    let lab = TestLab::of_host("process-health", WATCHED);
    lab.up();
    let pid = lab.services("alice")[0].pid;
    lab.sh("alice", "touch /run/ill");
    wait_until("it is unhealthy", || !lab.status().findings.is_empty());
    let status = lab.status();
    assert!(status.steps.is_empty(), "{status:#?}");
    assert!(
        status.findings[0].1.contains("unhealthy: its check ended with status 1 and said: gone")
    );
    let error = in_words(&lab.try_up(UpOptions::default()).unwrap_err());
    assert!(error.contains("alice/main") && error.contains("unhealthy"), "{error}");
    assert_eq!(lab.services("alice")[0].pid, pid, "it is not started again");
    lab.sh("alice", "rm /run/ill");
    wait_until("it is well", || lab.status().findings.is_empty());
    lab.assert_healthy();
    lab.down();
}

/// A node that says farewell, if it may.
const LEAVING: &str = "
nodes:
  alice:
    command: [sh, -c, 'trap \"echo bye >> /kept/said; exit 0\" USR1; echo up; while :; do sleep 0.02; done']
    stop: {signal: USR1, grace: 20s}
    volumes: [kept:/kept]
  bob: {}
";

pub(crate) fn who_asks_for_time_to_end_gets_it_when_the_lab_or_the_node_goes() {
    let mut lab = TestLab::of_host("process-farewell", LEAVING);
    let said = |lab: &TestLab| {
        let folder = lab.lab.volumes().unwrap().into_values().next().unwrap();
        fs::read_to_string(folder.join("said")).unwrap_or_default().lines().count()
    };
    lab.up();
    wait_until("it listens", || log(&lab, "alice") == "up\n");
    lab.down();
    assert_eq!(said(&lab), 1);

    lab.up();
    wait_until("it listens", || log(&lab, "alice") == "up\n");
    lab.replace("    volumes: [kept:/kept]", "    hostname: other\n    volumes: [kept:/kept]");
    lab.up();
    assert_eq!(said(&lab), 2, "the node was made anew");
    wait_until("it listens", || log(&lab, "alice") == "up\n");

    lab.replace(", grace: 20s", "");
    lab.up();
    wait_until("it listens", || log(&lab, "alice") == "up\nup\n");
    assert_eq!(said(&lab), 3, "the service was started anew");
    lab.down();
    assert_eq!(said(&lab), 3, "without a grace it ends at once");
    run(lab.lab.remove_volumes(&|_| ())).unwrap();
}
