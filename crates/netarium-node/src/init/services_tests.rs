//! What the services of a node do, without a single process.

use netarium_core::model::Stop;

use super::*;

fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

fn service(word: &str) -> Service {
    Service {
        name: name(word),
        run: vec![word.to_owned()],
        environment: BTreeMap::new(),
        folder: "/".to_owned(),
        user: None,
        after: [].into(),
        restart: Restart::Never,
        ready: Readiness::Started,
        stop: Stop::default(),
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn launched(word: &str, pid: u32) -> Event {
    Event::Launched { name: name(word), pid }
}

fn ended(pid: u32, code: i32) -> Event {
    Event::Ended { pid, exit: Exit::Code(code), last_words: None }
}

fn state(services: &Services, word: &str) -> ServiceState {
    let all = services.status();
    all.into_iter().find(|status| status.service.name == name(word)).unwrap().state
}

fn terminate(pid: u32) -> Action {
    Action::Signal { pid, signal: libc::SIGTERM }
}

fn kill(pid: u32) -> Action {
    Action::Signal { pid, signal: libc::SIGKILL }
}

#[test]
fn a_service_starts_at_once_and_is_ready_when_it_runs() {
    let mut services = Services::default();
    let app = service("app");
    assert_eq!(services.handle(ms(0), Event::Start(app.clone())), [Action::Launch(app)]);
    assert_eq!(state(&services, "app"), ServiceState::Starting);
    assert_eq!(services.handle(ms(1), launched("app", 7)), []);
    assert_eq!(state(&services, "app"), ServiceState::Ready);
    assert!(services.settled());
    assert_eq!(services.next(), None);
}

#[test]
fn a_service_waits_for_those_it_comes_after() {
    let mut services = Services::default();
    let second = Service { after: [name("first")].into(), ..service("second") };
    let first = Service { ready: Readiness::File("/run/first".into()), ..service("first") };
    assert_eq!(services.handle(ms(0), Event::Start(second.clone())), []);
    assert_eq!(state(&services, "second"), ServiceState::Waiting);
    services.handle(ms(0), Event::Start(first.clone()));
    let ask = Action::Ask(name("first"), first.ready);
    assert_eq!(services.handle(ms(0), launched("first", 7)), [ask]);
    assert!(!services.settled());
    let ready = Event::Asked { name: name("first"), ready: Answer::Ready };
    assert_eq!(services.handle(ms(1), ready), [Action::Launch(second)]);
}

#[test]
fn a_service_that_waits_for_a_failed_one_counts_as_failed_until_that_one_is_ready() {
    let mut services = Services::default();
    services.handle(ms(0), Event::Start(service("first")));
    services.handle(ms(0), Event::Start(Service { after: [name("first")].into(), ..service("b") }));
    services.handle(ms(0), Event::Start(Service { after: [name("b")].into(), ..service("c") }));
    let reason = "cannot run first: No such file or directory".to_owned();
    let obstacle = Obstacle::Lasting;
    let reason_given = reason.clone();
    let event = Event::NotLaunched { name: name("first"), reason: reason_given, obstacle };
    services.handle(ms(0), event);
    assert_eq!(state(&services, "first"), ServiceState::Failed(reason));
    let needs = ServiceState::Failed("needs first, which has failed".to_owned());
    assert_eq!(state(&services, "b"), needs);
    assert_eq!(state(&services, "c"), needs);
    assert!(services.settled());
    services.handle(ms(5), Event::Start(service("first")));
    let actions = services.handle(ms(6), launched("first", 9));
    assert!(matches!(&actions[..], [Action::Launch(b)] if b.name == name("b")));
}

#[test]
fn services_that_wait_for_each_other_wait_and_do_no_harm() {
    let mut services = Services::default();
    services.handle(ms(0), Event::Start(Service { after: [name("b")].into(), ..service("a") }));
    services.handle(ms(0), Event::Start(Service { after: [name("a")].into(), ..service("b") }));
    assert_eq!(state(&services, "a"), ServiceState::Waiting);
    assert!(!services.settled());
}

#[test]
fn questions_come_at_growing_intervals_up_to_a_tenth_of_a_second() {
    let mut services = Services::default();
    services.handle(ms(0), Event::Start(Service { ready: Readiness::Tcp(80), ..service("app") }));
    services.handle(ms(0), launched("app", 7));
    let mut now = ms(0);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        services.handle(now, Event::Asked { name: name("app"), ready: Answer::NotYet });
        let next = services.next().unwrap();
        pauses.push((next - now).as_millis());
        now = next;
        let actions = services.handle(now, Event::Time);
        assert_eq!(actions, [Action::Ask(name("app"), Readiness::Tcp(80))]);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 100, 100]);
}

#[test]
fn a_service_that_is_done_lets_the_next_one_start() {
    let mut services = Services::default();
    services.handle(ms(0), Event::Start(Service { ready: Readiness::Done, ..service("setup") }));
    services.handle(ms(0), launched("setup", 7));
    let app = Service { after: [name("setup")].into(), ..service("app") };
    assert_eq!(services.handle(ms(0), Event::Start(app.clone())), []);
    assert_eq!(state(&services, "setup"), ServiceState::Starting);
    assert_eq!(services.handle(ms(1), ended(7, 0)), [Action::Launch(app)]);
    assert_eq!(state(&services, "setup"), ServiceState::Done);
}

#[test]
fn a_service_that_is_never_restarted_fails_with_its_status_and_last_words() {
    let mut services = Services::default();
    services.handle(ms(0), Event::Start(service("app")));
    services.handle(ms(0), launched("app", 7));
    let last_words = Some("no such key".to_owned());
    services.handle(ms(1), Event::Ended { pid: 7, exit: Exit::Signal(9), last_words });
    let reason = "was ended by signal 9; the last it said: no such key";
    assert_eq!(state(&services, "app"), ServiceState::Failed(reason.to_owned()));
}

#[test]
fn a_service_that_fails_fast_is_restarted_with_doubling_pauses_and_given_up_the_fifth_time() {
    let mut services = Services::default();
    let app = Service { restart: Restart::OnFailure, ..service("app") };
    services.handle(ms(0), Event::Start(app.clone()));
    let mut now = ms(0);
    for pause in [100, 200, 400, 800] {
        services.handle(now, launched("app", 7));
        assert_eq!(services.handle(now, ended(7, 3)), [kill(7)], "what it left is cleared away");
        assert_eq!(state(&services, "app"), ServiceState::Starting);
        assert_eq!(services.next(), Some(now + ms(pause)));
        now += ms(pause);
        assert_eq!(services.handle(now, Event::Time), [Action::Launch(app.clone())]);
    }
    services.handle(now, launched("app", 7));
    services.handle(now, ended(7, 3));
    let reason = "ended with status 3, 5 times in a row, and is not started again";
    assert_eq!(state(&services, "app"), ServiceState::Failed(reason.to_owned()));
    assert_eq!(services.status()[0].restarts, 4);
    assert_eq!(services.next(), None);
}

#[test]
fn a_service_that_cannot_be_launched_just_now_is_tried_again() {
    let mut services = Services::default();
    let app = Service { restart: Restart::Always, ..service("app") };
    services.handle(ms(0), Event::Start(app.clone()));
    let reason = "cannot start a process: Resource temporarily unavailable".to_owned();
    let obstacle = Obstacle::Passing;
    services.handle(ms(0), Event::NotLaunched { name: name("app"), reason, obstacle });
    assert_eq!(state(&services, "app"), ServiceState::Starting);
    assert_eq!(services.handle(ms(100), Event::Time), [Action::Launch(app)]);
}

#[test]
fn a_long_run_makes_the_pauses_begin_anew() {
    let mut services = Services::default();
    let app = Service { restart: Restart::Always, ..service("app") };
    services.handle(ms(0), Event::Start(app));
    let mut now = ms(0);
    for _ in 0..20 {
        services.handle(now, launched("app", 7));
        now += LONG_RUN;
        services.handle(now, ended(7, 1));
        assert_eq!(services.next(), Some(now + FIRST_PAUSE));
        now += FIRST_PAUSE;
        services.handle(now, Event::Time);
    }
}

#[test]
fn a_service_that_always_runs_anew_may_end_well_as_often_as_it_likes() {
    let mut services = Services::default();
    let restart = Restart::Always;
    services.handle(ms(0), Event::Start(Service { restart, ..service("app") }));
    let mut now = ms(0);
    let mut pause = Duration::ZERO;
    for _ in 0..40 {
        services.handle(now, launched("app", 7));
        services.handle(now, ended(7, 0));
        pause = services.next().unwrap() - now;
        now += pause;
        assert!(matches!(services.handle(now, Event::Time)[..], [Action::Launch(_)]));
    }
    assert_eq!(pause, LONGEST_PAUSE);
}

#[test]
fn a_service_that_succeeds_is_not_restarted_on_failure() {
    let mut services = Services::default();
    let restart = Restart::OnFailure;
    services.handle(ms(0), Event::Start(Service { restart, ..service("app") }));
    services.handle(ms(0), launched("app", 7));
    assert_eq!(services.handle(ms(1), ended(7, 0)), []);
    assert_eq!(state(&services, "app"), ServiceState::Done);
}

#[test]
fn a_stopped_service_gets_two_seconds_and_is_then_killed_and_forgotten() {
    let mut services = Services::default();
    services.handle(ms(0), Event::Start(Service { restart: Restart::Always, ..service("app") }));
    services.handle(ms(0), launched("app", 7));
    assert_eq!(services.handle(ms(10), Event::Stop(name("app"))), [terminate(7)]);
    assert_eq!(services.next(), Some(ms(2010)));
    assert_eq!(services.handle(ms(2010), Event::Time), [kill(7)]);
    let gone = [kill(7), Action::Gone(name("app"))];
    assert_eq!(services.handle(ms(2011), ended(7, 1)), gone);
    assert!(services.status().is_empty());
}

#[test]
fn a_service_that_does_not_run_is_forgotten_at_once() {
    let mut services = Services::default();
    services.handle(ms(0), Event::Start(service("app")));
    services.handle(ms(0), launched("app", 7));
    services.handle(ms(0), ended(7, 1));
    let gone = [Action::Gone(name("app"))];
    assert_eq!(services.handle(ms(1), Event::Stop(name("app"))), gone);
}

#[test]
fn a_service_is_replaced_when_the_old_one_has_ended() {
    let mut services = Services::default();
    services.handle(ms(0), Event::Start(service("app")));
    services.handle(ms(0), launched("app", 7));
    let new = Service { run: vec!["other".to_owned()], ..service("app") };
    assert_eq!(services.handle(ms(1), Event::Start(new.clone())), [terminate(7)]);
    assert!(!services.settled());
    let expected = [kill(7), Action::Gone(name("app")), Action::Launch(new)];
    assert_eq!(services.handle(ms(2), ended(7, 0)), expected);
}

#[test]
fn nothing_is_started_once_the_node_is_shut_down() {
    let mut services = Services::default();
    services.handle(ms(0), Event::Start(Service { restart: Restart::Always, ..service("a") }));
    services.handle(ms(0), launched("a", 7));
    assert_eq!(services.handle(ms(1), Event::Close), []);
    assert_eq!(services.handle(ms(1), Event::Start(service("b"))), []);
    let gone = [kill(7), Action::Gone(name("a"))];
    assert_eq!(services.handle(ms(2), ended(7, 0)), gone);
    assert_eq!(services.pids().count(), 0);
}

#[test]
fn a_process_nobody_knows_changes_nothing() {
    let mut services = Services::default();
    assert_eq!(services.handle(ms(0), ended(99, 0)), []);
    assert_eq!(services.handle(ms(0), Event::Stop(name("nobody"))), []);
}
