//! A node for tests: the real first process in namespaces of its own, and what it takes to talk
//! to it. It ends, with all it has started, when it is dropped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use netarium_core::control::{
    CONTROL_FD, Exit, INIT, LOGS_FD, LONGEST, PROBE, Reply, Request, Run, ServiceState,
    ServiceStatus,
};
use netarium_core::model::{Readiness, Restart, Service, Stop};
use netarium_core::name::Name;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen, recvmsg, sendmsg, socket_with,
};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "waited too long until {what}");
        std::thread::yield_now();
    }
}

/// A name.
pub(crate) fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

/// A service that is ready when it runs and never started again.
pub(crate) fn service(word: &str, run: &[&str]) -> Service {
    Service {
        name: name(word),
        run: run.iter().map(|word| (*word).to_owned()).collect(),
        environment: BTreeMap::new(),
        folder: "/".to_owned(),
        user: None,
        after: [].into(),
        restart: Restart::Never,
        ready: Readiness::Started,
        stop: Stop::default(),
    }
}

/// A service that is a shell script.
pub(crate) fn shell(word: &str, script: &str) -> Service {
    service(word, &["sh", "-c", script])
}

/// A running node.
pub(crate) struct Node {
    child: Child,
    folder: PathBuf,
}

impl Node {
    /// Starts the first process as process 1 of its own namespaces.
    pub(crate) fn start() -> Self {
        let unshare = "unshare --user --map-root-user --pid --fork --kill-child --mount --uts --net --mount-proc";
        let start = "ip link set lo up && exec \"$0\"";
        let mut words: Vec<&str> = unshare.split(' ').collect();
        words.extend(["sh", "-c", start]);
        Self::start_by(&words)
    }

    /// Starts it as an ordinary process.
    pub(crate) fn start_without_namespaces() -> Self {
        Self::start_by(&["env"])
    }

    fn start_by(words: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let index = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("netarium-node-test-{}-{index}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir(&folder).unwrap();
        for called in [INIT, PROBE] {
            let program = env!("CARGO_BIN_EXE_netarium-node");
            std::os::unix::fs::symlink(program, folder.join(called)).unwrap();
        }
        let kind = SocketType::SEQPACKET;
        let control = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        bind(&control, &SocketAddrUnix::new(folder.join("control")).unwrap()).unwrap();
        listen(&control, 300).unwrap();
        let logs: OwnedFd = File::open(&folder).unwrap().into();
        #[expect(clippy::disallowed_methods, reason = "it is the program under test")]
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(folder.join(INIT)).stdin(Stdio::null());
        give(&mut command, control, logs);
        let child = command.spawn().unwrap();
        let node = Self { child, folder };
        node.ask(&Request::Status);
        node
    }

    /// The path of a file in a folder of the node's own.
    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().unwrap().to_owned()
    }

    /// The path of the probe.
    pub(crate) fn probe(&self) -> String {
        self.path(PROBE)
    }

    /// The path of the log of a service.
    pub(crate) fn log_path(&self, service: &str) -> String {
        self.path(&format!("{service}.log"))
    }

    /// The log of a service.
    pub(crate) fn log(&self, service: &str) -> String {
        std::fs::read_to_string(self.log_path(service)).unwrap_or_default()
    }

    /// Begins a conversation.
    pub(crate) fn talk(&self) -> Talk {
        let kind = SocketType::SEQPACKET;
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(self.folder.join("control")).unwrap()).unwrap();
        Talk { socket }
    }

    /// Asks for one thing.
    pub(crate) fn ask(&self, request: &Request) -> Reply {
        let talk = self.talk();
        talk.send(request);
        talk.receive()
    }

    /// Starts a service.
    pub(crate) fn start_service(&self, service: &Service) {
        assert_eq!(self.ask(&Request::Start(service.clone())), Reply::Done);
    }

    /// How a service is.
    pub(crate) fn status(&self, service: &str) -> ServiceStatus {
        let Reply::Services(all) = self.ask(&Request::Status) else { panic!("no services") };
        all.into_iter().find(|status| status.service.name.as_str() == service).unwrap()
    }

    /// Waits until a service is in this state.
    pub(crate) fn wait_for(&self, service: &str, state: &ServiceState) {
        let began = Instant::now();
        while self.status(service).state != *state {
            let status = self.status(service);
            assert!(began.elapsed() < DEADLINE, "wanted {state:?}, there is {status:#?}");
            std::thread::yield_now();
        }
    }

    /// Runs a program to its end: what it has written, and how it ended.
    pub(crate) fn run(&self, run: &Run) -> (String, Exit) {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let streams =
            [File::open("/dev/null").unwrap().into(), writer.try_clone().unwrap(), writer];
        let talk = self.talk();
        talk.send_with(&Request::Run(run.clone()), &streams);
        drop(streams);
        let reply = talk.receive();
        assert!(matches!(reply, Reply::Running { .. }), "{reply:?}");
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        let Reply::Exited(exit) = talk.receive() else { panic!("it has not ended") };
        (text, exit)
    }

    /// Sends a signal to the first process.
    pub(crate) fn signal(&self, signal: i32) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the first process to end.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The memory that the first process shares with nobody, in kilobytes.
    pub(crate) fn private_memory(&self) -> u32 {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = std::fs::read_to_string(path).unwrap();
        let private = text.lines().filter(|line| line.starts_with("Private_"));
        private.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()).sum()
    }

    fn pid(&self) -> i32 {
        let outer = self.child.id();
        let below = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
        let own = std::fs::read_to_string(format!("/proc/{outer}/comm")).unwrap();
        if own.trim() == "unshare" {
            below.unwrap().split_whitespace().next().unwrap().parse().unwrap()
        } else {
            i32::try_from(outer).unwrap()
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// Lets a program begin with the two descriptors that a first process has, and end with us.
#[expect(unsafe_code, reason = "std has no other way to hand on descriptors by their number")]
fn give(command: &mut Command, control: OwnedFd, logs: OwnedFd) {
    let begin = move || {
        // SAFETY: only system calls on numbers; those given away are the new process's own.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let control = libc::fcntl(control.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100);
            let logs = libc::fcntl(logs.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100);
            libc::dup2(control, CONTROL_FD);
            libc::dup2(logs, LOGS_FD);
        }
        Ok(())
    };
    // SAFETY: it neither allocates nor takes a lock.
    unsafe { command.pre_exec(begin) };
}

/// A conversation with a node's first process.
pub(crate) struct Talk {
    socket: OwnedFd,
}

impl Talk {
    /// Sends a request.
    pub(crate) fn send(&self, request: &Request) {
        self.send_with(request, &[]);
    }

    /// Sends a request if there is room for it and somebody to get it.
    pub(crate) fn try_send(&self, request: &Request) -> bool {
        let bytes = serde_json::to_vec(request).unwrap();
        rustix::net::send(&self.socket, &bytes, SendFlags::NOSIGNAL).is_ok()
    }

    /// Sends a request and descriptors with it.
    pub(crate) fn send_with(&self, request: &Request, descriptors: &[OwnedFd]) {
        let bytes = serde_json::to_vec(request).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
    }

    /// Sends whatever it is.
    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL).unwrap();
    }

    /// Waits for an answer.
    pub(crate) fn receive(&self) -> Reply {
        self.receive_with().0
    }

    /// Waits for an answer and the descriptors that come with it.
    pub(crate) fn receive_with(&self) -> (Reply, Vec<OwnedFd>) {
        wait_for_input(&self.socket);
        let mut bytes = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let length = recvmsg(&self.socket, &mut parts, &mut control, flags).unwrap().bytes;
        let mut descriptors = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                descriptors.extend(rights);
            }
        }
        (serde_json::from_slice(&bytes[..length]).unwrap(), descriptors)
    }
}

/// The controlling side of a terminal.
pub(crate) struct Screen {
    terminal: File,
    seen: String,
}

impl Screen {
    /// Looks at a terminal.
    pub(crate) fn new(terminal: File) -> Self {
        Self { terminal, seen: String::new() }
    }

    /// Types.
    pub(crate) fn write(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this is seen, and forgets what was before.
    pub(crate) fn wait_for(&mut self, text: &str) {
        loop {
            if let Some(place) = self.seen.find(text) {
                self.seen.drain(..place + text.len());
                return;
            }
            wait_for_input(&self.terminal);
            let mut bytes = [0; 1024];
            let length = self.terminal.read(&mut bytes).unwrap_or(0);
            assert!(length > 0, "wanted {text:?}, there is {:?}", self.seen);
            self.seen += &String::from_utf8_lossy(&bytes[..length]);
        }
    }
}

fn wait_for_input(source: &impl AsFd) {
    let deadline = Timespec { tv_sec: 20, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(source, PollFlags::IN)], Some(&deadline)).unwrap();
    assert_eq!(ready, 1, "nothing came in");
}
