//! The first process of a node, as its own process namespace has it: started by unshare(1) in
//! namespaces of its own, so that everything it starts ends with it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod node;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use netarium_core::control::{Exit, LONGEST, Reply, Request, Run, ServiceState, TerminalSize};
use netarium_core::model::{Readiness, Restart, Service};

use self::node::{Node, name, service, shell, wait_until};

fn run(argv: &[&str]) -> Run {
    Run {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        environment: BTreeMap::new(),
        folder: Some("/".to_owned()),
        user: None,
        terminal: None,
    }
}

/// A pipe, and both ends of it as files.
fn pipe() -> (File, File) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (reader.into(), writer.into())
}

fn everything(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_service_runs_with_exactly_its_own_environment_and_descriptors() {
    let node = Node::start();
    let script =
        "env | sort; ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let environment = [("COLOUR".to_owned(), "red".to_owned())].into();
    node.start_service(&Service { environment, ..shell("app", script) });
    node.wait_for("app", &ServiceState::Done);
    let log = node.log("app");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let expected = format!(
        "COLOUR=red\nHOME=/root\nHOSTNAME={host}\n\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\nTERM=dumb\n\
         0 1 2 3 SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
    assert_eq!(log, expected, "descriptor 3 is the folder that ls reads");
}

#[test]
fn a_service_leads_a_group_of_its_own_in_the_session_of_its_node() {
    let node = Node::start();
    let line = "cut -d' ' -f5,6 /proc/self/stat; cut -d' ' -f6 /proc/$PPID/stat; exec sleep 1000";
    node.start_service(&shell("app", line));
    node.wait_for("app", &ServiceState::Ready);
    let pid = node.status("app").pid.unwrap();
    wait_until("it has written", || node.log("app").lines().count() == 2);
    let log = node.log("app");
    let (group_and_session, session_of_init) = log.trim_end().split_once('\n').unwrap();
    assert_eq!(group_and_session, format!("{pid} {session_of_init}"));
}

#[test]
fn the_log_of_a_service_is_added_to_and_nobody_else_may_read_it() {
    let node = Node::start();
    for word in ["one", "two"] {
        node.start_service(&shell("app", &format!("echo {word}; echo {word} >&2")));
        node.wait_for("app", &ServiceState::Done);
    }
    assert_eq!(node.log("app"), "one\none\ntwo\ntwo\n");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(node.log_path("app")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_program_that_is_not_there_is_a_failure_with_its_reason() {
    let node = Node::start();
    node.start_service(&Service { restart: Restart::Always, ..service("app", &["no-such-thing"]) });
    let reason = "cannot run no-such-thing: No such file or directory".to_owned();
    node.wait_for("app", &ServiceState::Failed(reason));
    node.start_service(&service("app", &["/etc/passwd"]));
    let reason = "cannot run /etc/passwd: Permission denied".to_owned();
    node.wait_for("app", &ServiceState::Failed(reason));
    node.start_service(&Service { folder: "/nowhere".to_owned(), ..shell("app", "true") });
    let reason = "cannot run sh in /nowhere: No such file or directory".to_owned();
    node.wait_for("app", &ServiceState::Failed(reason));
}

#[test]
fn a_service_that_fails_says_how_and_what_it_said_last() {
    let node = Node::start();
    node.start_service(&shell("app", "echo hello; echo 'no such key' >&2; exit 3"));
    let reason = "ended with status 3; the last it said: no such key".to_owned();
    node.wait_for("app", &ServiceState::Failed(reason));
}

#[test]
fn services_start_in_order_and_are_ready_when_their_socket_or_file_is() {
    let node = Node::start();
    let socket = node.path("app.sock");
    let probe = node.probe();
    let file = node.path("ready");
    let waits = format!("until test -e {file}.go; do sleep 0.01; done; > {file}; exec sleep 1000");
    let app = Service { ready: Readiness::File(file.clone()), ..shell("a-file", &waits) };
    let tcp = Service {
        ready: Readiness::Tcp(8099),
        after: [name("a-file")].into(),
        ..service("b-tcp", &[&probe, "http-echo", "--port", "8099"])
    };
    let listen = format!(
        "import socket,time; s=socket.socket(socket.AF_UNIX); s.bind('{socket}'); s.listen(); time.sleep(1000)"
    );
    let unix = Service {
        ready: Readiness::Unix(socket),
        after: [name("b-tcp")].into(),
        ..service("c-unix", &["python3", "-c", &listen])
    };
    let last = Service { after: [name("c-unix")].into(), ..shell("d-last", "exec sleep 1000") };
    for service in [&last, &unix, &tcp, &app] {
        node.start_service(service);
    }
    let settled = node.talk();
    settled.send(&Request::Settled);
    node.wait_for("a-file", &ServiceState::Starting);
    assert_eq!(node.status("b-tcp").state, ServiceState::Waiting);
    File::create(format!("{file}.go")).unwrap();
    let Reply::Services(all) = settled.receive() else { panic!("no services") };
    assert!(all.iter().all(|status| status.state == ServiceState::Ready), "{all:#?}");
    let pids: Vec<_> = all.iter().map(|status| status.pid.unwrap()).collect();
    assert!(pids.is_sorted(), "started one after the other: {pids:?}");
}

#[test]
fn a_service_that_keeps_failing_is_started_again_and_then_given_up() {
    let node = Node::start();
    node.start_service(&Service {
        restart: Restart::OnFailure,
        ..shell("app", "echo again; exit 1")
    });
    let reason = "ended with status 1, 5 times in a row, and is not started again; \
                  the last it said: again";
    node.wait_for("app", &ServiceState::Failed(reason.to_owned()));
    assert_eq!(node.log("app").lines().count(), 5);
    assert_eq!(node.status("app").restarts, 4);
}

#[test]
fn a_service_that_is_killed_is_started_again() {
    let node = Node::start();
    node.start_service(&Service {
        restart: Restart::Always,
        ..shell("app", "echo up; sleep 1000 & wait")
    });
    wait_until("it runs", || node.log("app") == "up\n");
    let pid = node.status("app").pid.unwrap();
    assert_eq!(node.run(&run(&["sh", "-c", &format!("kill -9 {pid}")])).1, Exit::Code(0));
    wait_until("it runs again", || node.log("app") == "up\nup\n");
    assert_eq!(node.status("app").restarts, 1);
    let (sleeping, _) = node.run(&run(&["sh", "-c", "pgrep -c sleep"]));
    assert_eq!(sleeping, "1\n", "what the first one left is gone");
}

#[test]
fn a_stopped_service_ends_with_its_children_even_if_it_does_not_want_to() {
    let node = Node::start();
    let script = "trap '' TERM; sleep 1000 & echo up; while :; do sleep 1000; done";
    node.start_service(&shell("app", script));
    wait_until("it runs", || node.log("app") == "up\n");
    assert_eq!(node.ask(&Request::Stop(name("app"))), Reply::Done);
    assert_eq!(node.ask(&Request::Status), Reply::Services(vec![]));
    assert_eq!(node.run(&run(&["pgrep", "-c", "sleep"])).0, "0\n");
    let refused = Reply::Refused("there is no service app".to_owned());
    assert_eq!(node.ask(&Request::Stop(name("app"))), refused);
}

#[test]
fn a_service_is_replaced_by_one_with_the_same_name() {
    let node = Node::start();
    node.start_service(&shell("app", "echo one; exec sleep 1000"));
    wait_until("it runs", || node.log("app") == "one\n");
    node.start_service(&shell("app", "echo two; exec sleep 1000"));
    wait_until("the other runs", || node.log("app") == "one\ntwo\n");
    node.wait_for("app", &ServiceState::Ready);
    assert_eq!(node.run(&run(&["pgrep", "-c", "sleep"])).0, "1\n");
}

#[test]
fn a_program_runs_on_the_three_descriptors_that_come_with_it() {
    let node = Node::start();
    let (input, mut into) = pipe();
    let (out, output) = pipe();
    let (err, error) = pipe();
    let talk = node.talk();
    let streams: Vec<OwnedFd> = vec![input.into(), output.into(), error.into()];
    let script = "read line; echo got $line $COLOUR; echo bad >&2; exit 7";
    let environment = [("COLOUR".to_owned(), "blue".to_owned())].into();
    let wanted = Run { environment, ..run(&["sh", "-c", script]) };
    talk.send_with(&Request::Run(wanted), &streams);
    drop(streams);
    assert!(matches!(talk.receive(), Reply::Running { pid } if pid > 1));
    into.write_all(b"hello\n").unwrap();
    assert_eq!(everything(out), "got hello blue\n");
    assert_eq!(everything(err), "bad\n");
    assert_eq!(talk.receive(), Reply::Exited(Exit::Code(7)));
}

#[test]
fn a_program_that_cannot_run_is_refused_with_the_reason() {
    let node = Node::start();
    let talk = node.talk();
    let nothing: OwnedFd = File::open("/dev/null").unwrap().into();
    let streams = [nothing.try_clone().unwrap(), nothing.try_clone().unwrap(), nothing];
    talk.send_with(&Request::Run(run(&["no-such-thing"])), &streams);
    let reason = "cannot run no-such-thing: No such file or directory".to_owned();
    assert_eq!(talk.receive(), Reply::Refused(reason));
    talk.send(&Request::Run(run(&["true"])));
    let reason = "a program without a terminal comes with three descriptors, not 0".to_owned();
    assert_eq!(talk.receive(), Reply::Refused(reason));
    talk.send_with(&Request::Run(run(&[])), &streams);
    assert_eq!(talk.receive(), Reply::Refused("no program is named".to_owned()));
}

#[test]
fn a_signal_reaches_the_program_of_its_conversation() {
    let node = Node::start();
    let (out, output) = pipe();
    let talk = node.talk();
    let output: OwnedFd = output.into();
    let streams: Vec<OwnedFd> = (0..3).map(|_| output.try_clone().unwrap()).collect();
    drop(output);
    talk.send_with(&Request::Run(run(&["sleep", "1000"])), &streams);
    drop(streams);
    assert!(matches!(talk.receive(), Reply::Running { .. }));
    talk.send(&Request::Signal(libc::SIGINT));
    assert_eq!(talk.receive(), Reply::Exited(Exit::Signal(libc::SIGINT)));
    assert_eq!(everything(out), "");
    talk.send(&Request::Signal(12345));
    assert_eq!(talk.receive(), Reply::Refused("there is no signal 12345".to_owned()));
}

#[test]
fn a_program_on_a_terminal_has_its_size_and_its_signals() {
    let node = Node::start();
    let talk = node.talk();
    let terminal = Some(TerminalSize { rows: 11, columns: 33 });
    let script = "trap 'stty size; exit 5' WINCH; stty size; tty; ps -o tpgid=,pgid= -p $$; \
                  while :; do sleep 0.01; done";
    talk.send(&Request::Run(Run { terminal, ..run(&["sh", "-c", script]) }));
    let (reply, descriptors) = talk.receive_with();
    let Reply::Running { pid } = reply else { panic!("{reply:?}") };
    let mut screen = node::Screen::new(descriptors.into_iter().next().unwrap().into());
    screen.wait_for("11 33");
    screen.wait_for("/dev/pts/");
    screen.wait_for(&format!("{pid} "));
    talk.send(&Request::Resize(TerminalSize { rows: 22, columns: 44 }));
    screen.wait_for("22 44");
    assert_eq!(talk.receive(), Reply::Exited(Exit::Code(5)));
}

#[test]
fn a_signal_on_a_terminal_reaches_the_job_in_the_foreground_and_not_the_shell() {
    let node = Node::start();
    let talk = node.talk();
    let terminal = Some(TerminalSize { rows: 24, columns: 80 });
    talk.send(&Request::Run(Run { terminal, ..run(&["bash", "--norc", "-i"]) }));
    let (_, descriptors) = talk.receive_with();
    let mut screen = node::Screen::new(descriptors.into_iter().next().unwrap().into());
    screen.write("sh -c 'echo do\"\"zing; exec sleep 1000'; echo woken $((128 - 126))$?\n");
    screen.wait_for("dozing");
    talk.send(&Request::Signal(libc::SIGTERM));
    screen.wait_for("woken 2143");
    screen.write("exit 9\n");
    assert_eq!(talk.receive(), Reply::Exited(Exit::Code(9)));
}

#[test]
fn a_program_that_nobody_listens_to_any_more_is_hung_up_and_then_killed() {
    let node = Node::start();
    for script in ["exec sleep 1000", "trap '' HUP; sleep 1000; sleep 1000"] {
        for terminal in [None, Some(TerminalSize { rows: 24, columns: 80 })] {
            let talk = node.talk();
            let nothing: OwnedFd = File::open("/dev/null").unwrap().into();
            let streams: Vec<_> = (0..3).map(|_| nothing.try_clone().unwrap()).collect();
            let streams = if terminal.is_some() { &streams[..0] } else { &streams[..] };
            talk.send_with(&Request::Run(Run { terminal, ..run(&["sh", "-c", script]) }), streams);
            assert!(matches!(talk.receive(), Reply::Running { .. }));
            drop(talk);
            wait_until("it is gone", || node.run(&run(&["pgrep", "-c", "sleep"])).0 == "0\n");
        }
    }
}

#[test]
fn processes_that_lost_their_parent_are_reaped() {
    let node = Node::start();
    let script = "for i in 1 2 3 4 5 6 7 8; do (sh -c 'sleep 0.01' &) ; done";
    assert_eq!(node.run(&run(&["sh", "-c", script])).1, Exit::Code(0));
    wait_until("all are reaped", || {
        let (states, _) = node.run(&run(&["ps", "-e", "-o", "stat=,comm="]));
        states.lines().count() == 2 && !states.contains('Z')
    });
}

#[test]
fn sigterm_ends_everything_at_once_if_it_wants_to() {
    let mut node = Node::start();
    node.start_service(&shell("app", "trap 'echo bye; exit 0' TERM; echo up; sleep 1000 & wait"));
    node.start_service(&shell("lost", "setsid sleep 1000 & echo up"));
    wait_until("they run", || node.log("app") == "up\n" && node.log("lost") == "up\n");
    let began = std::time::Instant::now();
    node.signal(libc::SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert!(began.elapsed().as_millis() < 1500, "it did not wait for the deadline");
    assert_eq!(node.log("app"), "up\nbye\n");
}

#[test]
fn sigterm_ends_everything_after_two_seconds_if_it_does_not_want_to() {
    let mut node = Node::start();
    node.start_service(&shell("app", "trap 'echo no' TERM; echo up; while :; do sleep 1; done"));
    wait_until("it runs", || node.log("app") == "up\n");
    node.signal(libc::SIGTERM);
    wait_until("it has heard", || node.log("app").contains("no\n"));
    let refused = Reply::Refused("the node is being shut down".to_owned());
    assert_eq!(node.ask(&Request::Start(shell("other", "true"))), refused);
    assert_eq!(node.exit_code(), Some(0));
}

#[test]
fn other_signals_are_passed_on_to_the_services() {
    let node = Node::start();
    node.start_service(&shell(
        "app",
        "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'echo usr2' USR2; echo up; \
         while :; do sleep 0.01; done",
    ));
    wait_until("it runs", || node.log("app") == "up\n");
    node.signal(libc::SIGHUP);
    wait_until("it has heard", || node.log("app").contains("hup\n"));
    node.signal(libc::SIGUSR1);
    wait_until("it has heard", || node.log("app").contains("usr1\n"));
    node.signal(libc::SIGUSR2);
    wait_until("it has heard", || node.log("app").contains("usr2\n"));
}

#[test]
fn nonsense_is_refused_and_does_no_harm() {
    let node = Node::start();
    let talk = node.talk();
    let deep = "[".repeat(LONGEST);
    for nonsense in ["hello", "{", "{\"start\":{\"name\":\"../x\"}}", "\"none\"", "\0", &deep] {
        talk.send_bytes(nonsense.as_bytes());
        assert!(matches!(talk.receive(), Reply::Refused(reason) if !reason.is_empty()));
    }
    talk.send_bytes(&vec![b' '; LONGEST + 1]);
    let reason = format!("a message has at most {LONGEST} bytes");
    assert_eq!(talk.receive(), Reply::Refused(reason));
    let nothing: OwnedFd = File::open("/dev/null").unwrap().into();
    let many: Vec<_> = (0..20).map(|_| nothing.try_clone().unwrap()).collect();
    talk.send_with(&Request::Status, &many);
    let reason = "at most three descriptors come along".to_owned();
    assert_eq!(talk.receive(), Reply::Refused(reason));
    talk.send_with(&Request::Status, &many[..3]);
    assert_eq!(talk.receive(), Reply::Services(vec![]));
    let descriptors = node.run(&run(&["ls", "/proc/1/fd"])).0.lines().count();
    assert!(descriptors < 16, "nothing that came along was kept: {descriptors}");
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_blocks_nobody() {
    let node = Node::start();
    node.start_service(&shell("app", &format!("exec sleep 1000 # {}", "x".repeat(20_000))));
    let deaf = node.talk();
    while deaf.try_send(&Request::Status) {}
    assert_eq!(node.status("app").state, ServiceState::Ready);
}

#[test]
fn more_clients_than_it_can_hold_wait_and_block_nobody() {
    let node = Node::start();
    let mut all: Vec<_> = (0..250).map(|_| node.talk()).collect();
    assert_eq!(node.ask(&Request::Status), Reply::Services(vec![]));
    let last = all.pop().unwrap();
    drop(all);
    last.send(&Request::Status);
    assert_eq!(last.receive(), Reply::Services(vec![]));
}

#[test]
fn it_runs_a_node_in_well_under_a_megabyte() {
    // The program itself is in memory once for all nodes: two of them are needed to see that.
    let (node, _other) = (Node::start(), Node::start());
    for index in 0..5 {
        node.start_service(&shell(&format!("app-{index}"), "exec sleep 1000"));
    }
    node.ask(&Request::Settled);
    assert_eq!(node.run(&run(&["true"])).1, Exit::Code(0));
    let kilobytes = node.private_memory();
    assert!(kilobytes < 1024, "{kilobytes} kB");
}

#[test]
fn as_an_ordinary_process_it_takes_in_what_its_services_leave() {
    let mut node = Node::start_without_namespaces();
    node.start_service(&shell("app", "(sh -c 'echo $PPID; sleep 0.01; echo $PPID' &); exit 0"));
    node.wait_for("app", &ServiceState::Done);
    assert!(node.status("app").pid.is_none());
    node.start_service(&shell("stays", "echo up; exec sleep 1000"));
    wait_until("it runs", || node.log("stays") == "up\n");
    let pid = node.status("stays").pid.unwrap();
    node.signal(libc::SIGTERM);
    assert_eq!(node.exit_code(), Some(0));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_terminal_has_a_folder_even_if_it_is_not_said_which() {
    let node = Node::start();
    let (text, exit) = node.run(&Run { folder: None, ..run(&["pwd"]) });
    assert_eq!((text.as_str(), exit), ("/root\n", Exit::Code(0)));
}
