//! The first process of a node: runs the node's services and what people run beside them, reaps
//! every process that is left to it, and answers questions on the control socket.
//!
//! One thread, one loop: it waits for signals, messages and the next moment at which something is
//! due, and never for anything else. What to do is decided in [`services`]. It starts inside the
//! node, with the rights that services may have, and can give them no others.

mod checkups;
mod conversation;
mod gate;
mod health;
mod logs;
mod programs;
mod questions;
mod runs;
mod services;
mod users;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netarium_core::control::{Exit, Reply, Request, Run, WAIT};
use netarium_core::model::{Health, MAIN, Service};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use self::checkups::{Checkups, Finding};
use self::conversation::{Conversation, Received, Wait};
use self::gate::{Gate, Given};
use self::programs::{Input, LaunchError, Program, launch};
use self::questions::Questions;
use self::runs::Runs;
use self::services::{Action, Event, GRACE, Obstacle, Services};
use crate::kernel;

/// How many conversations there may be at the same time; more wait until one has ended.
const MOST_CONVERSATIONS: usize = 256;

/// The pause after a connection could not be taken, since it would be offered again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The signals that are waited for.
const SIGNALS: [i32; 7] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// Runs until SIGTERM.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let gate = match arguments.first() {
        Some(word) if word == WAIT => Gate::Closed,
        _ => Gate::Open,
    };
    match Init::new(gate) {
        Ok(init) => init.run(),
        Err(error) => {
            eprintln!("netarium-init: cannot begin: {error}");
            ExitCode::from(3)
        }
    }
}

struct Init {
    began: Instant,
    gate: Gate,
    listener: OwnedFd,
    logs: OwnedFd,
    signals: OwnedFd,
    nothing: OwnedFd,
    services: Services,
    questions: Questions,
    checkups: Checkups,
    runs: Runs,
    conversations: BTreeMap<u64, Conversation>,
    next_conversation: u64,
    listen_from: Duration,
    /// Whether the node is being shut down.
    closing: bool,
    /// When everything is killed that has not ended yet.
    kill_at: Option<Duration>,
}

impl Init {
    fn new(gate: Gate) -> io::Result<Self> {
        kernel::keep_little_memory();
        let Given { listener, logs } = gate.given()?;
        rustix::io::ioctl_fionbio(&listener, true)?;
        let signals = kernel::signals(&SIGNALS, libc::SFD_NONBLOCK)?;
        let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        // The name is for people who look at the list of processes; it works without it too.
        rustix::thread::set_name(c"netarium-init").ok();
        if !is_first() {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        }
        Ok(Self {
            began: Instant::now(),
            gate,
            listener,
            logs,
            signals,
            nothing,
            services: Services::default(),
            questions: Questions::default(),
            checkups: Checkups::default(),
            runs: Runs::default(),
            conversations: BTreeMap::new(),
            next_conversation: 0,
            listen_from: Duration::ZERO,
            closing: false,
            kill_at: None,
        })
    }

    fn run(mut self) -> ExitCode {
        loop {
            let ready = self.wait();
            self.take_signals();
            for id in ready.conversations {
                self.hear(id);
            }
            if ready.listener {
                self.accept();
            }
            self.handle(Event::Time);
            let now = self.now();
            self.runs.go_on(now);
            self.checkups.listen();
            self.answer_settled();
            if self.closing && self.kill_at.is_none() && !self.services.takes_leave() {
                self.close_all();
            }
            if self.kill_at.is_some() && self.is_over(now) {
                return ExitCode::SUCCESS;
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits until something has come in or is due.
    fn wait(&self) -> Ready {
        let now = self.now();
        let paused = (self.listen_from > now).then_some(self.listen_from);
        let listens = paused.is_none() && self.conversations.len() < MOST_CONVERSATIONS;
        let times = [self.services.next(), self.runs.next(), self.kill_at, paused];
        let timeout = times.into_iter().flatten().min().map(|at| span(at.saturating_sub(now)));
        let listened = if listens { PollFlags::IN } else { PollFlags::empty() };
        let mut watched =
            vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.listener, listened)];
        let sockets = self.conversations.values();
        watched.extend(sockets.map(|talk| PollFd::new(&talk.socket, PollFlags::IN)));
        watched.extend(self.checkups.outputs().map(|it| PollFd::new(it, PollFlags::IN)));
        // Interrupted or out of memory: nothing is ready then, and the loop comes here again.
        let some = poll(&mut watched, timeout.as_ref()).is_ok_and(|count| count > 0);
        let is_ready = |fd: &PollFd<'_>| some && !fd.revents().is_empty();
        let talking = self.conversations.keys().zip(&watched[2..]);
        Ready {
            listener: listens && is_ready(&watched[1]),
            conversations: talking.filter(|(_, fd)| is_ready(fd)).map(|(id, _)| *id).collect(),
        }
    }

    fn take_signals(&mut self) {
        while let Some(signal) = kernel::next_signal(&self.signals) {
            match signal {
                libc::SIGCHLD => {}
                libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => self.close(),
                other => self.signal_services(other),
            }
        }
        // Several children that end at once may be told by one signal, so all are looked for.
        while let Some(pid) = kernel::ended_child() {
            self.ended(pid);
        }
    }

    fn ended(&mut self, pid: u32) {
        let exit = kernel::exit_of(pid);
        if let Some(name) = self.services.name_of(pid).cloned() {
            self.questions.forget(&name);
            self.checkups.abandon(&name);
            let failed = exit != Exit::Code(0);
            let last_words = failed.then(|| logs::last_words(&self.logs, &name)).flatten();
            self.handle(Event::Ended { pid, exit, last_words });
        } else if let Some(Finding { name, run, fault }) = self.checkups.ended(pid, exit) {
            self.handle(Event::Checked { name, run, fault });
        } else if let Some(id) = self.runs.ended(pid) {
            self.reply(id, &Reply::Exited(exit), None);
        }
        // Only now, so that its number meant nobody else while its group was signalled.
        kernel::reap(pid);
    }

    /// Tells the services what has happened and does what they say, until they say nothing more.
    fn handle(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.services.handle(self.now(), event) {
                match action {
                    Action::Launch(service) => events.push(self.launch(&service)),
                    Action::Ask(name, ready) => {
                        let ready = self.questions.ask(&name, &ready);
                        events.push(Event::Asked { name, ready });
                    }
                    Action::Check(service, health, run) => {
                        events.extend(self.check(&service, &health, run));
                    }
                    Action::EndCheck(name) => self.checkups.kill(&name),
                    Action::Signal { pid, signal } => kernel::signal_group(pid, signal),
                    Action::Tell { pid, signal } => kernel::signal_process(pid, signal),
                    Action::Gone(name) => self.answer(&Wait::Gone(name)),
                }
            }
        }
    }

    /// Starts the check of a service; what is to be said at once if it does not start.
    fn check(&mut self, service: &Service, health: &Health, run: u32) -> Option<Event> {
        let started = self.checkups.start(service, health, run, self.nothing.as_fd());
        let fault = Some(started.err()?.to_string());
        Some(Event::Checked { name: service.name.clone(), run, fault })
    }

    fn launch(&self, service: &Service) -> Event {
        let name = service.name.clone();
        let log = match logs::open(&self.logs, &name) {
            Ok(log) => log,
            Err(error) => {
                let reason = format!("cannot open its log: {error}");
                return Event::NotLaunched { name, reason, obstacle: Obstacle::Passing };
            }
        };
        if name.as_str() == MAIN {
            // Engines make the folder that an image or Compose file names; that there is none is told
            // by the launch.
            std::fs::create_dir_all(&service.folder).ok();
        }
        let launched = launch(&Program {
            argv: &service.run,
            environment: &service.environment,
            folder: &service.folder,
            user: service.user.as_ref(),
            streams: [self.nothing.as_fd(), log.as_fd(), log.as_fd()],
            input: Input::Stream,
        });
        match launched {
            Ok(pid) => Event::Launched { name, pid },
            Err(error) => {
                let obstacle = match error {
                    LaunchError::Process(_) => Obstacle::Passing,
                    _ => Obstacle::Lasting,
                };
                Event::NotLaunched { name, reason: error.to_string(), obstacle }
            }
        }
    }

    fn signal_services(&self, signal: i32) {
        for pid in self.services.pids() {
            kernel::signal_group(pid, signal);
        }
    }

    fn accept(&mut self) {
        match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => {
                self.conversations.insert(self.next_conversation, Conversation::new(socket));
                self.next_conversation += 1;
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
            Err(_) => self.listen_from = self.now() + ACCEPT_PAUSE,
        }
    }

    /// Takes one message from a conversation; the next one when the others had their turn.
    fn hear(&mut self, id: u64) {
        let Some(conversation) = self.conversations.get(&id) else { return };
        match conversation.receive() {
            Received::Nothing => {}
            Received::Closed => self.hang_up(id),
            Received::Nonsense(reason) => self.reply(id, &Reply::Refused(reason), None),
            Received::Request(request, descriptors) => self.obey(id, *request, &descriptors),
        }
    }

    fn obey(&mut self, id: u64, request: Request, descriptors: &[OwnedFd]) {
        match request {
            Request::Open => {
                self.gate = Gate::Open;
                self.reply(id, &Reply::Done, None);
            }
            _ if self.gate == Gate::Closed => self.reply(id, &Reply::Waiting, None),
            Request::Start(_) | Request::Run(_) if self.closing => {
                self.reply(id, &Reply::Refused("the node is being shut down".to_owned()), None);
            }
            Request::Start(service) => {
                self.reply(id, &Reply::Done, None);
                self.questions.forget(&service.name);
                self.checkups.abandon(&service.name);
                self.handle(Event::Start(service));
            }
            Request::Stop(name) if self.services.has(&name) => {
                self.wait_for(id, Wait::Gone(name.clone()));
                self.checkups.abandon(&name);
                self.handle(Event::Stop(name));
            }
            Request::Stop(name) => {
                self.reply(id, &Reply::Refused(format!("there is no service {name}")), None);
            }
            Request::Status => self.reply(id, &Reply::Services(self.services.status()), None),
            Request::Settled => self.wait_for(id, Wait::Settled),
            Request::Run(run) => match self.runs.start(id, &self.as_in_main(run), descriptors) {
                Ok(running) => {
                    let reply = Reply::Running { pid: running.pid };
                    let terminal = running.terminal.as_ref().map(AsFd::as_fd);
                    let sent = self.conversations.get(&id).map(|talk| talk.send(&reply, terminal));
                    if !matches!(sent, Some(Ok(()))) {
                        self.hang_up(id);
                    }
                }
                Err(error) => self.reply(id, &Reply::Refused(error.to_string()), None),
            },
            Request::Resize(size) => self.runs.resize(id, size),
            Request::Signal(signal) if (1..=libc::SIGRTMAX()).contains(&signal) => {
                self.runs.signal(id, signal);
            }
            Request::Signal(signal) => {
                self.reply(id, &Reply::Refused(format!("there is no signal {signal}")), None);
            }
        }
    }

    /// What people run has the environment of the node's own program, if it has one: an image's
    /// `PATH` leads to its programs.
    fn as_in_main(&self, mut run: Run) -> Run {
        let main = self.services.environment_of(MAIN).into_iter().flatten();
        let mut environment: BTreeMap<_, _> =
            main.map(|(name, value)| (name.clone(), value.clone())).collect();
        environment.append(&mut run.environment);
        Run { environment, ..run }
    }

    fn wait_for(&mut self, id: u64, wait: Wait) {
        if !self.conversations.get_mut(&id).is_some_and(|talk| talk.wait(wait)) {
            self.reply(id, &Reply::Refused("too many answers are waited for".to_owned()), None);
        }
    }

    /// Sends an answer. Whoever does not read what was sent before is dropped.
    fn reply(&mut self, id: u64, reply: &Reply, descriptor: Option<std::os::fd::BorrowedFd<'_>>) {
        let sent = self.conversations.get(&id).map(|talk| talk.send(reply, descriptor));
        if matches!(sent, Some(Err(_))) {
            self.hang_up(id);
        }
    }

    /// Answers everybody who waited for this.
    fn answer(&mut self, wait: &Wait) {
        let waited = |(id, talk): (&u64, &mut Conversation)| (*id, talk.take(wait));
        let waiting: Vec<_> = self.conversations.iter_mut().map(waited).collect();
        for (id, times) in waiting {
            for _ in 0..times {
                let reply = match wait {
                    Wait::Gone(_) => Reply::Done,
                    Wait::Settled => Reply::Services(self.services.status()),
                };
                self.reply(id, &reply, None);
            }
        }
    }

    fn answer_settled(&mut self) {
        if self.services.settled() {
            self.answer(&Wait::Settled);
        }
    }

    fn hang_up(&mut self, id: u64) {
        self.conversations.remove(&id);
        let now = self.now();
        self.runs.leave(now, id);
    }

    /// Begins to shut the node down: first the services that say how they are stopped, then the
    /// rest.
    fn close(&mut self) {
        if !self.closing {
            self.closing = true;
            self.checkups.abandon_all();
            self.handle(Event::Farewell);
        }
    }

    fn close_all(&mut self) {
        self.kill_at = Some(self.now() + GRACE);
        // A shell on a terminal does not listen to SIGTERM.
        self.runs.pids().for_each(|pid| kernel::signal_group(pid, libc::SIGHUP));
        if is_first() {
            // To everybody, once: services may have left processes outside their groups, and to
            // some programs a second SIGTERM means that they must not take their time.
            kernel::send_signal(-1, libc::SIGTERM);
        } else {
            self.signal_services(libc::SIGTERM);
            self.runs.pids().for_each(|pid| kernel::signal_group(pid, libc::SIGTERM));
        }
        self.handle(Event::Close);
    }

    /// Whether everything has ended; what has not until the deadline is killed.
    fn is_over(&self, now: Duration) -> bool {
        let late = self.kill_at.is_some_and(|at| at <= now);
        if late && is_first() {
            kernel::send_signal(-1, libc::SIGKILL);
        } else if late {
            self.services.pids().for_each(|pid| kernel::signal_group(pid, libc::SIGKILL));
            self.runs.pids().for_each(|pid| kernel::signal_group(pid, libc::SIGKILL));
        }
        late || !kernel::has_children()
    }
}

/// What [`Init::wait`] has found.
struct Ready {
    listener: bool,
    conversations: Vec<u64>,
}

/// Whether this is the first process of its namespace, and all others in it are its own.
fn is_first() -> bool {
    rustix::process::getpid().is_init()
}

fn span(duration: Duration) -> Timespec {
    // A little later rather than a little sooner: what is due is then really due.
    let duration = duration + Duration::from_micros(1);
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}
