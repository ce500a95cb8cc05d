//! `network: engine` from outside: a lab whose segments are Docker's own networks.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod place;
#[path = "../../netarium/tests/daemons/reached_by.rs"]
mod reached_by;

use place::{Place, Ran};
use reached_by::reached_by;

const LAB: &str = "image: host
network: engine
segments: {a: [10.61.0.0/24, 'fd61::/64'], b: {prefix: 10.62.0.0/24, mtu: 1400}}
nodes:
  one: {interfaces: {a: [10.61.0.1, 'fd61::1']}, gateway: 10.61.0.2}
  mid: {forward: true, interfaces: {a: [10.61.0.2, 'fd61::2'], b: 10.62.0.1}}
  two: {interfaces: {b: 10.62.0.2}, gateway: 10.62.0.1}
checks:
  - {from: one, ping: 10.62.0.2}
  - {from: one, ping: 'fd61::2'}
";

fn to_docker(place: &Place, words: &[&str]) -> Command {
    let mut command = place.netarium(words);
    command.env("DOCKER_HOST", reached_by("NETARIUM_TEST_DOCKER"));
    command.env("NETARIUM_ENGINE", "docker").stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn on_docker(place: &Place, words: &[&str]) -> Ran {
    to_docker(place, words).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap().into()
}

/// Tests of the engine's own networks take turns: their labs have the same prefixes.
fn turn() -> File {
    let lock = File::create(folder_of_engine().join("networks.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// Where the engine of the tests keeps what it has.
fn folder_of_engine() -> PathBuf {
    let socket = reached_by("NETARIUM_TEST_DOCKER");
    Path::new(socket.trim_start_matches("unix://")).parent().unwrap().to_owned()
}

/// What the engine has of a lab: its networks and containers, and all parents that are in its network,
/// which nobody has but these tests.
fn of_engine(lab: &str) -> Vec<String> {
    let socket = reached_by("NETARIUM_TEST_DOCKER");
    let said = |words: &[&str]| {
        #[expect(clippy::disallowed_methods, reason = "the engine is asked past the command")]
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let engine = std::fs::read_to_string(folder_of_engine().join("dockerd.pid")).unwrap();
    let network = format!("--net=/proc/{}/ns/net", engine.trim());
    let label = format!("label=io.netarium.lab={lab}");
    let mut found = Vec::new();
    for words in [["network", "ls", "--quiet"], ["ps", "--all", "--quiet"]] {
        let docker = ["docker", "--host", &socket];
        let words = [&docker[..], &words, &["--filter", &label]].concat();
        found.extend(said(&words).lines().map(str::to_owned));
    }
    let links = said(&["nsenter", &network, "ip", "-brief", "link"]);
    let is_parent = |name: &&str| name.starts_with('m') && name.len() > 12;
    let names = links.lines().filter_map(|line| line.split(['@', ' ']).next());
    found.extend(names.filter(is_parent).map(str::to_owned));
    found
}

#[test]
#[ignore = "needs .ci/daemons, which needs root"]
fn a_lab_on_networks_of_docker_passes_its_checks_and_gives_its_prefixes_back() {
    let _turn = turn();
    let place = Place::new("engine-network");
    for name in ["first", "second"] {
        place.write(&format!("{name}/lab.yaml"), &format!("name: network-{name}\n{LAB}"));
    }
    let fine = |words: &[&str]| {
        let ran = on_docker(&place, words);
        assert_eq!(ran.code, Some(0), "{words:?}: {}{}", ran.data, ran.talk);
    };
    fine(&["up", "first"]);
    fine(&["check", "first"]);
    fine(&["status", "first"]);

    let ran = on_docker(&place, &["up", "second"]);
    assert_eq!(ran.code, Some(3), "{}", ran.talk);
    for words in [
        "4:12: 10.61.0.0/24 of segment a overlaps with 10.61.0.0/24 of Docker's network netarium-network-first.000.a",
        "4:44: 10.62.0.0/24 of segment b overlaps with",
    ] {
        assert!(ran.talk.contains(words), "{}", ran.talk);
    }

    place.write("first/lab.yaml", &format!("name: network-first\n{LAB}").replace("1400", "1300"));
    let ran = on_docker(&place, &["up", "first"]);
    assert_eq!(ran.code, Some(3), "{}", ran.talk);
    assert!(ran.talk.contains("cannot be changed while lab network-first is up"), "{}", ran.talk);

    fine(&["down", "network-first"]);
    fine(&["up", "second"]);
    fine(&["down", "network-second"]);
    for lab in ["network-first", "network-second"] {
        assert_eq!(of_engine(lab), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs .ci/daemons, which needs root"]
fn nothing_of_a_failed_up_stays_at_the_engine() {
    let _turn = turn();
    let place = Place::new("engine-network-failed");
    let failing = LAB.replace(
        "gateway: 10.62.0.1}",
        "gateway: 10.62.0.1, services: [{name: never, run: [sleep, inf], ready: {tcp: 9}}]}",
    );
    place.write("lab.yaml", &format!("name: network-failed\n{failing}"));
    let ran = on_docker(&place, &["up", "--timeout", "1s"]);
    assert_eq!(ran.code, Some(3), "{}", ran.talk);
    assert!(ran.talk.contains("not ready after 1 s"), "{}", ran.talk);
    assert_eq!(of_engine("network-failed"), Vec::<String>::new());
}

#[test]
#[ignore = "needs .ci/daemons, which needs root"]
fn down_takes_all_away_that_a_killed_up_has_made() {
    let _turn = turn();
    let place = Place::new("engine-network-killed");
    place.write("lab.yaml", &format!("name: network-killed\n{LAB}"));
    // The first sign of it that the engine shows: a parent, a network, or both networks.
    for wanted in 1..=3 {
        let mut up = to_docker(&place, &["up"]).spawn().unwrap();
        while of_engine("network-killed").len() < wanted && up.try_wait().unwrap().is_none() {}
        up.kill().unwrap();
        up.wait().unwrap();
        let ran = on_docker(&place, &["down"]);
        assert_eq!(ran.code, Some(0), "{}", ran.talk);
        assert_eq!(of_engine("network-killed"), Vec::<String>::new());
    }
}

#[test]
fn the_native_engine_has_no_networks() {
    let place = Place::new("engine-network-native");
    place.write("lab.yaml", &format!("name: network-native\n{LAB}"));
    let ran = place.run(&["up", "--engine", "native"]);
    assert_eq!(ran.code, Some(3), "{}", ran.talk);
    assert!(ran.talk.contains("the native engine has none"), "{}", ran.talk);
    assert!(ran.talk.contains("--engine docker"), "{}", ran.talk);
}
