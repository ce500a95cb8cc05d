//! How the first process of a node tells whether a service is well, and how it stops one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "these tests need a part of it")]
mod node;

use std::fs::File;

use netarium_core::control::{Exit, Reply, Request, Run, ServiceState};
use netarium_core::model::{Health, MAIN, Readiness, Restart, Service, Stop};

use self::node::{Node, name, service, shell, wait_until};

/// A program that goes on, and a shell script that tells whether it is well.
fn watched(check: &str, health: Health) -> Service {
    let run = ["sh", "-c", check].map(str::to_owned).to_vec();
    let ready = Readiness::Command(Health { run, ..health });
    Service { ready, ..shell("app", "exec sleep 1000") }
}

fn fast() -> Health {
    let health = Health::of(vec![]);
    Health { interval: 20, timeout: 10_000, retries: 2, start_interval: 20, ..health }
}

fn run(argv: &[&str]) -> Run {
    Run {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        environment: [].into(),
        folder: Some("/".to_owned()),
        user: None,
        terminal: None,
    }
}

fn unhealthy(node: &Node) -> Option<String> {
    match node.status("app").state {
        ServiceState::Unhealthy(why) => Some(why),
        _ => None,
    }
}

#[test]
fn a_service_is_ready_when_its_check_succeeds_and_unhealthy_when_it_fails_later() {
    let node = Node::start();
    let well = node.path("well");
    let check = format!("echo asked; echo no such file >&2; test -e {well}");
    let health = Health { start_period: 600_000, ..fast() };
    node.start_service(&watched(&check, health));
    let settled = node.talk();
    settled.send(&Request::Settled);
    assert_eq!(node.status("app").state, ServiceState::Starting);
    File::create(&well).unwrap();
    let Reply::Services(all) = settled.receive() else { panic!("no services") };
    assert_eq!(all[0].state, ServiceState::Ready);
    std::fs::remove_file(&well).unwrap();
    wait_until("it is unhealthy", || unhealthy(&node).is_some());
    let why = unhealthy(&node).unwrap();
    let expected = "its check ended with status 1 and said: no such file, 2 times in a row";
    // It may have failed once more meanwhile, which changes nothing.
    assert!(why.starts_with(expected.trim_end_matches("2 times in a row")), "{why}");
    assert_eq!(node.status("app").restarts, 0);
    File::create(&well).unwrap();
    node.wait_for("app", &ServiceState::Ready);
    assert_eq!(node.log("app"), "", "what a check writes is not in the log");
}

#[test]
fn a_check_has_the_environment_the_folder_and_the_user_of_its_service() {
    let node = Node::start();
    let app = watched("test \"$COLOUR $PWD\" = 'red /tmp' && test -r /dev/null", fast());
    let environment = [("COLOUR".to_owned(), "red".to_owned())].into();
    node.start_service(&Service { environment, folder: "/tmp".to_owned(), ..app });
    node.wait_for("app", &ServiceState::Ready);
}

#[test]
fn a_check_that_hangs_is_killed_with_all_it_has_started() {
    let node = Node::start();
    let check = "sleep 1234 & sleep 1234";
    node.start_service(&watched(check, Health { timeout: 50, retries: 1, ..fast() }));
    wait_until("it is unhealthy", || unhealthy(&node).is_some());
    assert_eq!(unhealthy(&node).unwrap(), "its check took more than 50ms");
    assert_eq!(node.ask(&Request::Stop(name("app"))), Reply::Done);
    wait_until("none is left", || node.run(&run(&["pgrep", "sleep"])).0.is_empty());
    let zombies = node.run(&run(&["sh", "-c", "ps -eo stat= | grep -c Z"])).0;
    assert_eq!(zombies, "0\n");
}

#[test]
fn a_check_that_writes_without_end_is_not_held_up_and_costs_no_memory() {
    let node = Node::start();
    let check = "head -c 3000000 /dev/zero; echo; echo the end; exit 1";
    node.start_service(&watched(check, Health { retries: 1, ..fast() }));
    wait_until("it is unhealthy", || unhealthy(&node).is_some());
    assert_eq!(unhealthy(&node).unwrap(), "its check ended with status 1 and said: the end");
}

#[test]
fn a_check_that_cannot_run_says_so() {
    let node = Node::start();
    let health = Health { run: vec!["no-such-thing".to_owned()], retries: 1, ..fast() };
    let ready = Readiness::Command(health);
    node.start_service(&Service { ready, ..shell("app", "exec sleep 1000") });
    wait_until("it is unhealthy", || unhealthy(&node).is_some());
    let why = unhealthy(&node).unwrap();
    assert_eq!(why, "cannot run no-such-thing: No such file or directory");
}

#[test]
fn a_service_that_comes_after_an_unhealthy_one_keeps_nobody_waiting() {
    let node = Node::start();
    node.start_service(&watched("exit 1", Health { retries: 1, ..fast() }));
    let after = [name("app")].into();
    node.start_service(&Service { after, ..shell("next", "exec sleep 1000") });
    let Reply::Services(all) = node.ask(&Request::Settled) else { panic!("no services") };
    let reason = "needs app, which has failed".to_owned();
    assert_eq!(all[1].state, ServiceState::Failed(reason));
}

#[test]
fn a_service_gets_the_signal_that_it_asks_for_and_its_children_do_not() {
    let node = Node::start();
    let script = "(trap 'echo child' USR1; while :; do sleep 0.01; done) & \
                  trap 'echo asked; exit 0' USR1; trap 'echo told' TERM; echo up; \
                  while :; do sleep 0.01; done";
    let stop = Stop { signal: Some(libc::SIGUSR1), grace: None };
    node.start_service(&Service { stop, ..shell("app", script) });
    wait_until("it runs", || node.log("app") == "up\n");
    assert_eq!(node.ask(&Request::Stop(name("app"))), Reply::Done);
    assert_eq!(node.log("app"), "up\nasked\n");
}

#[test]
fn a_service_has_the_time_that_it_asks_for_and_no_more() {
    let node = Node::start();
    let script = "trap '' TERM; echo up; while :; do sleep 0.01; done";
    let stop = Stop { signal: None, grace: Some(30) };
    node.start_service(&Service { stop, ..shell("app", script) });
    wait_until("it runs", || node.log("app") == "up\n");
    let began = std::time::Instant::now();
    assert_eq!(node.ask(&Request::Stop(name("app"))), Reply::Done);
    let took = began.elapsed();
    assert!(took.as_millis() >= 30, "{took:?}");
}

#[test]
fn a_node_that_is_shut_down_stops_as_they_say_those_who_say_it_before_the_others() {
    let mut node = Node::start_without_namespaces();
    let file = node.path("order");
    let last =
        format!("trap 'echo last >> {file}; exit 0' TERM; echo up; while :; do sleep 0.01; done");
    let first = format!(
        "trap 'echo wrong >> {file}' TERM; trap 'sleep 0.1; echo first >> {file}; exit 0' INT; \
         echo up; while :; do sleep 0.01; done"
    );
    let stop = Stop { signal: Some(libc::SIGINT), grace: Some(20_000) };
    node.start_service(&shell("a-last", &last));
    node.start_service(&Service { stop, restart: Restart::Always, ..shell("z-first", &first) });
    wait_until("they run", || node.log("a-last") + &node.log("z-first") == "up\nup\n");
    let order = node.path("order");
    node.signal(libc::SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert_eq!(std::fs::read_to_string(order).unwrap(), "first\nlast\n");
}

#[test]
fn what_people_run_has_the_environment_of_the_nodes_own_program_under_its_own() {
    let node = Node::start();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let environment = [pair("COLOUR", "red"), pair("SIZE", "small")].into();
    let folder = node.path("made/for/it");
    let main = service(MAIN, &["sh", "-c", "pwd; exec sleep 1000"]);
    node.start_service(&Service { environment, folder: folder.clone(), ..main });
    wait_until("it runs", || node.log(MAIN) == format!("{folder}\n"));
    let environment = [pair("SIZE", "large")].into();
    let (text, exit) =
        node.run(&Run { environment, ..run(&["sh", "-c", "echo $COLOUR $SIZE $TERM"]) });
    assert_eq!((text.as_str(), exit), ("red large dumb\n", Exit::Code(0)));
}
