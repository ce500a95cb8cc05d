//! The keeper of a lab's process namespace, in one of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "these tests need no whole node")]
mod node;

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use self::node::wait_until;

struct Keeper(Child);

impl Keeper {
    /// Starts a keeper with a child that it did not start, as it would inherit one.
    fn start(script: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "it brings the program under test apart")]
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        let script = format!("{script}\nexec -a netarium-keeper \"$0\" a-lab");
        command.args(["bash", "-c", &script, env!("CARGO_BIN_EXE_netarium-node")]);
        let piped = command.arg0("unshare").stdin(Stdio::null()).stdout(Stdio::piped());
        let keeper = Self(piped.spawn().unwrap());
        wait_until("it is the keeper", || keeper.pid().is_some());
        keeper
    }

    fn pid(&self) -> Option<i32> {
        let outer = self.0.id();
        let below = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
        let pid = below.split_whitespace().next()?.parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        (name == "netarium-keeper\n").then_some(pid)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}

#[test]
fn it_keeps_the_lock_and_no_other_descriptor() {
    let keeper = Keeper::start("exec 3</etc/passwd 4</etc/passwd 50</etc/passwd");
    let link = |fd: &str| {
        let pid = keeper.pid().unwrap();
        fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok().map(|path| path.display().to_string())
    };
    let is = |fd, path: &str| link(fd).as_deref() == Some(path);
    wait_until("its streams lead nowhere", || ["0", "1", "2"].iter().all(|fd| is(fd, "/dev/null")));
    assert_eq!(link("3"), Some("/etc/passwd".to_owned()));
    assert_eq!(link("50"), None);
    let fds = fs::read_dir(format!("/proc/{}/fd", keeper.pid().unwrap())).unwrap();
    assert!(fds.count() <= 5, "three streams, the lock and its signals");
}

#[test]
fn it_lets_go_of_its_output() {
    let mut keeper = Keeper::start("true");
    let mut output = keeper.0.stdout.take().unwrap();
    // Ends only if the keeper has closed it; unshare(1) holds it too, and waits for the keeper.
    keeper.signal(rustix::process::Signal::TERM);
    assert_eq!(output.read_to_string(&mut String::new()).unwrap(), 0);
}

#[test]
fn it_reaps_what_is_left_to_it() {
    let keeper = Keeper::start("for i in 1 2 3 4 5; do (sleep 0.01 & sleep 0.01 &) ; done");
    let pid = keeper.pid().unwrap();
    let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    wait_until("all are gone", || children().is_empty());
}

#[test]
fn only_sigterm_ends_it_and_then_all_else_in_its_namespace() {
    let mut keeper = Keeper::start("sleep 1000 & sleep 1000 &");
    let pid = keeper.pid().unwrap();
    let below = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let below: Vec<String> = below.split_whitespace().map(str::to_owned).collect();
    assert_eq!(below.len(), 2);
    for signal in
        [rustix::process::Signal::HUP, rustix::process::Signal::INT, rustix::process::Signal::PIPE]
    {
        keeper.signal(signal);
    }
    keeper.signal(rustix::process::Signal::TERM);
    assert_eq!(keeper.0.wait().unwrap().code(), Some(0));
    assert!(below.iter().all(|pid| !fs::exists(format!("/proc/{pid}")).unwrap()));
}
