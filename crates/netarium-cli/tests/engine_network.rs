//! `network: engine` from outside: a lab whose segments are Docker's own networks.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

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

fn on_docker(place: &Place, words: &[&str]) -> Ran {
    let mut command = place.netarium(words);
    command.env("DOCKER_HOST", reached_by("NETARIUM_TEST_DOCKER"));
    command.env("NETARIUM_ENGINE", "docker").output().unwrap().into()
}

#[test]
#[ignore = "needs .ci/daemons, which needs root"]
fn a_lab_on_networks_of_docker_passes_its_checks_and_gives_its_prefixes_back() {
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
