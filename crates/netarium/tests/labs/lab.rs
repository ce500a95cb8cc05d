//! A lab of a test: brought up, asked, and taken down with nothing left.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use netarium::event::Event;
use netarium::folder::DataFolder;
use netarium::lab::{Lab, LabError, State, Status, UpOptions};
use netarium::lab_file::{LabFile, LabFileError};
use netarium::session::{Program, RunningProgram, Streams};
use netarium_core::control::{Exit, ServiceStatus};
use netarium_core::model::Engine;
use netarium_core::name::Name;
use netarium_core::user::User;
use serde_json::Value;

use crate::child::Up;
use crate::owner;
use crate::traces::Traces;

/// How long is waited for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A lab with a lab file.
pub(crate) struct TestLab {
    pub(crate) lab: Lab,
    data: DataFolder,
    text: String,
    /// Where the lab file would lie.
    path: PathBuf,
    /// What it is brought up on, if it is a Compose file, which is read from the disk.
    compose: Option<Engine>,
    seen: Mutex<Traces>,
    /// Nobody else has this lab meanwhile.
    _lock: fs::File,
}

/// How a program in a node ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// Standard output and error.
    pub(crate) text: String,
}

impl Ended {
    /// Whether it ended with status 0.
    pub(crate) fn is_ok(&self) -> bool {
        self.exit == Exit::Code(0)
    }
}

impl TestLab {
    /// A lab of nodes that show the host's programs.
    pub(crate) fn of_host(name: &str, body: &str) -> Self {
        Self::at(owner::data(), name, &format!("image: host\n{body}"))
    }

    /// A lab of nodes that show the host's programs, with an empty folder for its lab file.
    pub(crate) fn in_folder(name: &str, body: &str) -> Self {
        let mut lab = Self::of_host(name, body);
        let folder = owner::data().path().join("beside").join(name);
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        lab.path = folder.join("lab.yaml");
        lab
    }

    /// Writes a file beside the lab file.
    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let mut file = fs::File::create(self.beside(path)).unwrap();
        file.write_all(content.as_ref()).unwrap();
    }

    /// A path beside the lab file.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.path.with_file_name(path)
    }

    /// Whether there are other ids than root's in its nodes.
    pub(crate) fn has_ids(&self, node: &str) -> bool {
        self.ok(node, &["cat", "/proc/self/uid_map"]).lines().count() > 1
    }

    /// A lab in a data folder of its own.
    pub(crate) fn at(data: DataFolder, name: &str, body: &str) -> Self {
        let name = Name::new(name).unwrap();
        let lock = owner::lock(&data, &name);
        let lab = Lab::named(&data, &name);
        let text = format!("name: {name}\n{body}");
        let (path, seen) = (PathBuf::from("/lab.yaml"), Mutex::default());
        let this = Self { lab, data, text, path, compose: None, seen, _lock: lock };
        // What a run of the tests has left that was killed.
        run(this.lab.down(&|_| ())).unwrap();
        this
    }

    /// The lab of this name that a Compose file makes, which may come to be later.
    pub(crate) fn of_compose(data: DataFolder, name: &str, path: PathBuf, engine: Engine) -> Self {
        let mut lab = Self::at(data, name, "");
        (lab.path, lab.compose) = (path, Some(engine));
        lab
    }

    /// A lab that comes with the project.
    pub(crate) fn of_file(path: &Path) -> Self {
        Self::of_file_at(owner::data(), path, "")
    }

    /// The same in a data folder of its own, with more in its file.
    pub(crate) fn of_file_at(data: DataFolder, path: &Path, more: &str) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let file = LabFile::read(path).unwrap();
        let body = text.replacen(&format!("\nname: {}\n", file.model.lab), "\n", 1);
        let body = format!("{more}{body}");
        let mut lab = Self::at(data, file.model.lab.as_str(), &body);
        lab.path = file.path;
        lab
    }

    /// Changes the lab file, but not yet the lab.
    pub(crate) fn rewrite(&mut self, change: impl FnOnce(&str) -> String) {
        let changed = change(&self.text);
        assert_ne!(changed, self.text, "the change changes nothing");
        self.text = changed;
    }

    /// Changes words of the lab file.
    pub(crate) fn replace(&mut self, words: &str, others: &str) {
        self.rewrite(|text| text.replace(words, others));
    }

    pub(crate) fn file(&self) -> LabFile {
        self.try_file().unwrap()
    }

    /// The lab file, or why it is none.
    pub(crate) fn try_file(&self) -> Result<LabFile, LabFileError> {
        let Some(engine) = self.compose else {
            return LabFile::of_text(&self.path, self.text.clone().into_bytes(), "unnamed");
        };
        let mut file = LabFile::read(&self.path)?;
        assert_eq!(file.model.lab, *self.lab.name());
        file.model.engine = Some(engine);
        Ok(file)
    }

    /// Brings the lab up and tells the steps.
    pub(crate) fn up(&self) -> Vec<String> {
        match self.try_up(UpOptions::default()) {
            Ok(steps) => steps,
            Err(error) => panic!("up: {}", in_words(&error)),
        }
    }

    pub(crate) fn try_up(&self, options: UpOptions) -> Result<Vec<String>, LabError> {
        self.note();
        let report = |event| {
            if matches!(event, Event::Undoing) {
                self.note();
            }
        };
        let result = run(self.lab.up(&self.file(), options, &report));
        self.note();
        result.map(|steps| steps.iter().map(ToString::to_string).collect())
    }

    /// Starts `up` in a process of its own.
    pub(crate) fn start_up(&self) -> Up {
        Up::start(&self.data, &self.text)
    }

    /// Remembers what belongs to the lab now.
    pub(crate) fn note(&self) {
        // A record may be of another process.
        let is_keeper = |pid: &u32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.starts_with(b"netarium-keeper\0")
        };
        if let Some(keeper) = self.keeper().filter(is_keeper) {
            self.seen.lock().unwrap().note(keeper);
        }
    }

    pub(crate) fn status(&self) -> Status {
        match run(self.lab.status()) {
            Ok(status) => status,
            Err(error) => panic!("status: {}", in_words(&error)),
        }
    }

    /// The steps that `status` finds to do.
    pub(crate) fn ailments(&self) -> Vec<String> {
        self.status().steps.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn assert_healthy(&self) {
        let status = self.status();
        assert_eq!(status.state, State::Up);
        assert!(status.steps.is_empty() && status.findings.is_empty(), "{status:#?}");
    }

    /// Takes the lab down and asserts that nothing of it is left.
    pub(crate) fn down(&self) {
        self.note();
        let was_up = self.keeper().is_some();
        assert!(
            !was_up || self.seen.lock().unwrap().processes() > 0,
            "nothing was seen of the lab"
        );
        if let Err(error) = run(self.lab.down(&|_| ())) {
            panic!("down: {}", in_words(&error));
        }
        self.assert_nothing_left();
    }

    /// Asserts that the lab is down and nothing of it is left.
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.lab.state(), State::Down);
        let left = self.left();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    fn left(&self) -> Vec<String> {
        self.seen.lock().unwrap().left(&self.data, self.lab.name().as_str())
    }

    /// The folder of the lab on the host.
    pub(crate) fn folder(&self) -> PathBuf {
        self.data.labs().join(self.lab.name().as_str())
    }

    /// The process number of the keeper on the host, if there is one on record.
    pub(crate) fn keeper(&self) -> Option<u32> {
        recorded_pid(&self.folder().join("keeper.json"))
    }

    /// The process number on the host of a node's first process.
    pub(crate) fn init(&self, node: &str) -> u32 {
        let record = self.folder().join("nodes").join(node).join("process.json");
        recorded_pid(&record).expect("the node is there")
    }

    /// The process numbers of the first processes of some nodes.
    pub(crate) fn inits(&self, nodes: &[&str]) -> Vec<u32> {
        nodes.iter().map(|node| self.init(node)).collect()
    }

    pub(crate) fn services(&self, node: &str) -> Vec<ServiceStatus> {
        self.lab.services(&name(node)).unwrap()
    }

    /// Runs a program in a node to its end.
    pub(crate) fn run(&self, node: &str, words: &[&str]) -> Ended {
        self.run_as(node, None, words)
    }

    /// Runs a program in a node as one of its users.
    pub(crate) fn run_as(&self, node: &str, user: Option<&str>, words: &[&str]) -> Ended {
        let user = user.map(|word| User::parse(word).unwrap());
        let nothing = fs::File::open("/dev/null").unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let streams = [nothing.as_fd(), writer.as_fd(), writer.as_fd()];
        let argv = words.iter().map(ToString::to_string).collect();
        let program = Program { argv, user, folder: Some("/".to_owned()), ..Program::default() };
        let running = self.lab.run(&name(node), program, Streams::Given(streams)).unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        Ended { exit: running.wait().unwrap(), text }
    }

    /// Runs a program in a node that must succeed, and tells what it wrote.
    pub(crate) fn ok(&self, node: &str, words: &[&str]) -> String {
        let ended = self.run(node, words);
        assert!(ended.is_ok(), "{node}: {words:?}: {ended:?}");
        ended.text
    }

    /// Runs a line of shell in a node that must succeed.
    pub(crate) fn sh(&self, node: &str, line: &str) -> String {
        self.ok(node, &["sh", "-c", line])
    }

    /// What ip(8) says in a node.
    pub(crate) fn ip(&self, node: &str, words: &[&str]) -> Value {
        let text = self.ok(node, &[&["ip", "-j"], words].concat());
        if text.trim().is_empty() {
            Value::Array(vec![])
        } else {
            serde_json::from_str(&text).unwrap()
        }
    }

    /// Whether a node gets an answer from an address to an ICMP echo request.
    pub(crate) fn ping(&self, node: &str, address: &str) -> bool {
        self.run(node, &["netarium-probe", "ping", address, "--timeout-ms", "1000"]).is_ok()
    }

    /// Starts a program that is talked to line by line.
    pub(crate) fn talk(&self, node: &str, words: &[&str]) -> Conversation {
        let (theirs, to) = std::io::pipe().unwrap();
        let (from, answers) = std::io::pipe().unwrap();
        let streams = Streams::Given([theirs.as_fd(), answers.as_fd(), answers.as_fd()]);
        let running = self.start(node, words, streams);
        Conversation { _running: running, to, from }
    }

    fn start(&self, node: &str, words: &[&str], streams: Streams<'_>) -> RunningProgram {
        let argv = words.iter().map(ToString::to_string).collect();
        let program = Program { argv, ..Program::default() };
        self.lab.run(&name(node), program, streams).unwrap()
    }
}

impl Drop for TestLab {
    /// A test that failed must not leave its lab to the next.
    fn drop(&mut self) {
        if std::thread::panicking() {
            run(self.lab.down(&|_| ())).ok();
        }
        fs::remove_dir_all(self.lab.failed_logs()).ok();
    }
}

/// A program in a node that answers every line with a line. It ends with this value.
pub(crate) struct Conversation {
    _running: RunningProgram,
    to: std::io::PipeWriter,
    from: std::io::PipeReader,
}

impl Conversation {
    /// Says a line and waits for the answer.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        writeln!(self.to, "{line}").unwrap();
        self.hear()
    }

    /// Says that there is no more to say, and waits for the last line.
    pub(crate) fn end(self) -> String {
        let Self { _running: running, to, from } = self;
        drop(to);
        let mut last = Self { _running: running, to: std::io::pipe().unwrap().1, from };
        last.hear()
    }

    /// Waits for a line.
    pub(crate) fn hear(&mut self) -> String {
        let mut answer = Vec::new();
        while answer.last() != Some(&b'\n') {
            let mut fds = [rustix::event::PollFd::new(&self.from, rustix::event::PollFlags::IN)];
            let patience = PATIENCE.try_into().unwrap();
            let heard =
                rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&patience)));
            assert!(heard.unwrap() > 0, "nothing is said");
            let mut byte = [0];
            assert_eq!(self.from.read(&mut byte).unwrap(), 1, "it ended");
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap().trim_end().to_owned()
    }
}

pub(crate) fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

fn recorded_pid(path: &Path) -> Option<u32> {
    let record: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    record["pid"].as_u64()?.try_into().ok()
}

/// Kills a process and waits until it has ended.
pub(crate) fn kill(pid: u32) {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    pidfd_send_signal(&process, Signal::KILL).unwrap();
    let mut fds = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
    let patience = PATIENCE.try_into().unwrap();
    let ended = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&patience)));
    assert_eq!(ended.unwrap(), 1, "it does not end");
}

/// Waits until something is so; `what` says what.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An error with all its causes.
pub(crate) fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    words
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
