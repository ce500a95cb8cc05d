//! Processes that are killed at bad moments: `status` tells, `up` mends, `down` leaves nothing.

use netarium::lab::State;
use netarium_core::control::ServiceState;

use crate::lab::{TestLab, kill, wait_until};

/// A bit of everything that needs no image.
const MIXED: &str = "
segments:
  left: 10.1.0.0/24
  right: {prefix: 10.2.0.0/24, driver: bridge}
  cable: {prefix: 10.3.0.0/30, driver: veth}
nodes:
  router:
    forward: true
    interfaces: {left: 10.1.0.1, right: 10.2.0.1, cable: 10.3.0.1}
  alice: {interfaces: {left: 10.1.0.2}, gateway: 10.1.0.1}
  bob:
    interfaces: {right: 10.2.0.2}
    gateway: 10.2.0.1
    services:
      - {name: web, run: [netarium-probe, http-echo, --port, 8080], ready: {tcp: 8080}}
      - {name: late, run: [sleep, infinity], after: web}
  carol: {interfaces: {cable: 10.3.0.2}, gateway: 10.3.0.1}
";

const ALL: [&str; 4] = ["alice", "bob", "carol", "router"];

fn assert_works(lab: &TestLab) {
    lab.assert_healthy();
    for address in ["10.2.0.2", "10.3.0.2"] {
        assert!(lab.ping("alice", address), "alice to {address}");
    }
    let probe = ["netarium-probe", "http", "--address", "10.2.0.2", "--port", "8080"];
    lab.ok("carol", &probe);
}

pub(crate) fn an_up_that_was_killed_is_told_mended_and_cleaned_away() {
    let lab = TestLab::of_host("fault-up", MIXED);
    // The lab's file is known only once the work begins, and a lab of no steps is healthy.
    let mut moment = 0;
    let mut killed = 0;
    loop {
        let mut up = lab.start_up();
        (0..moment).map_while(|_| up.next()).for_each(drop);
        if !up.kill() {
            // It was done before all that it said was read.
            lab.assert_healthy();
            lab.down();
            break;
        }
        killed += 1;
        lab.note();
        let status = lab.status();
        match status.state {
            // It may have done more than was read, even all of it. What is told to be healthy works.
            State::Up if status.steps.is_empty() => assert_works(&lab),
            State::Up => {}
            State::Down => assert!(moment < 3, "after {moment} events the lab is down"),
            other => panic!("after {moment} events the lab is {other:?}"),
        }
        // Every other time it is taken down as it is.
        if killed % 2 == 0 {
            lab.up();
            assert_works(&lab);
        }
        lab.down();
        moment += if moment < 4 { 1 } else { 9 };
    }
    assert!(killed >= 10, "{killed}");
}

pub(crate) fn a_killed_init_is_seen_and_its_node_mended() {
    let lab = TestLab::of_host("fault-init", MIXED);
    lab.up();
    let before = lab.inits(&ALL);
    for (place, node) in ALL.iter().enumerate() {
        let inits = lab.inits(&ALL);
        kill(lab.init(node));
        let status = lab.status();
        assert_eq!(status.state, State::Up);
        assert!(status.findings.iter().any(|(_, why)| why.contains("ended")), "{status:#?}");
        let steps = lab.up();
        assert!(steps.contains(&format!("create node {node}")), "{steps:#?}");
        assert_works(&lab);
        let now = lab.inits(&ALL);
        let anew: Vec<usize> =
            (0..ALL.len()).filter(|other| inits[*other] != now[*other]).collect();
        assert_eq!(anew, [place], "after {node} was killed");
    }
    assert!(lab.inits(&ALL).iter().zip(&before).all(|(now, then)| now != then));
    // All at once, and one after a kill that `up` never saw.
    ALL.iter().for_each(|node| kill(lab.init(node)));
    lab.up();
    assert_works(&lab);
    kill(lab.init("router"));
    lab.down();
}

pub(crate) fn a_killed_service_is_started_again() {
    let lab = TestLab::of_host("fault-service", MIXED);
    lab.up();
    let web = || {
        let services = lab.services("bob");
        services.into_iter().find(|it| it.service.name.as_str() == "web").unwrap()
    };
    let pid = web().pid.unwrap().to_string();
    lab.ok("bob", &["kill", "-9", &pid]);
    wait_until("it was started again", || {
        web().restarts == 1 && web().state == ServiceState::Ready
    });
    assert_ne!(web().pid.unwrap().to_string(), pid);
    wait_until("the lab is healthy", || lab.ailments().is_empty());
    assert_works(&lab);
    lab.down();
}

pub(crate) fn a_killed_keeper_is_seen_and_the_lab_mended() {
    let lab = TestLab::of_host("fault-keeper", MIXED);
    lab.up();
    kill(lab.keeper().unwrap());
    let status = lab.status();
    assert_eq!(status.state, State::Killed);
    assert!(!status.steps.is_empty());
    lab.up();
    assert_works(&lab);
    lab.down();
}

pub(crate) fn a_lab_whose_keeper_was_killed_leaves_nothing_when_taken_down() {
    let lab = TestLab::of_host("fault-keeper-down", MIXED);
    lab.up();
    lab.note();
    kill(lab.keeper().unwrap());
    assert_eq!(lab.lab.state(), State::Killed);
    lab.down();

    // A keeper whose record was lost is found by its mark.
    lab.up();
    lab.note();
    std::fs::remove_file(lab.folder().join("keeper.json")).unwrap();
    lab.down();

    // One whose record is of another process is not mistaken for that.
    lab.up();
    lab.note();
    let record = format!(r#"{{"pid":{},"started":1}}"#, std::process::id());
    let mut file = std::fs::File::create(lab.folder().join("keeper.json")).unwrap();
    std::io::Write::write_all(&mut file, record.as_bytes()).unwrap();
    assert_eq!(lab.lab.state(), State::Killed);
    lab.down();
}

pub(crate) fn two_ups_at_the_same_time_both_succeed() {
    let lab = TestLab::of_host("fault-two", MIXED);
    let ups = [lab.start_up(), lab.start_up(), lab.start_up()];
    let mut worked = 0;
    for up in ups {
        let (is_ok, events) = up.finish();
        assert!(is_ok, "{events:#?}");
        worked += usize::from(events.iter().any(|it| it.starts_with("Step")));
    }
    assert_eq!(worked, 1, "more than one did the work");
    assert_works(&lab);

    // Changes from two sides, too, come one after the other.
    let mut up = lab.start_up();
    up.wait_for("Planned");
    lab.note();
    lab.down();
    let (is_ok, events) = up.finish();
    assert!(is_ok, "{events:#?}");
}

pub(crate) fn a_worker_ends_with_the_up_that_started_it() {
    let slow = "
nodes:
  alice:
    services: [{name: never, run: [sleep, infinity], ready: {file: /never}}]
";
    let lab = TestLab::of_host("fault-worker", slow);
    let mut up = lab.start_up();
    up.wait_for("Wired");
    up.wait_for("Step");
    lab.note();
    assert!(up.kill());
    // The next one gets its turn as soon as the worker of the killed one is gone.
    let mut next = lab.start_up();
    next.wait_for("Planned");
    lab.note();
    assert!(next.kill());
    lab.down();
}
