//! pasta(1), the process at the far end of a lab's way out. It works in two network namespaces: its
//! sockets are the host's, its TAP device is the lab's.
//!
//! A stage starts it, which has entered the lab's user and process namespaces but not its network: so
//! pasta has no more rights on the host than a node, and ends with the lab's keeper. pasta says when it
//! is ready by locking itself in: its filter for system calls is the last thing that it makes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};

use netarium_core::model::Transport;
use netarium_core::object::{Published, Uplink};
use netarium_core::uplink::arguments;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{FdFlags, fcntl_setfd, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};

use super::keeper::Keeper;
use super::worker::{self, write_record};
use crate::failure::Failure;
use crate::folder::LabFolder;
use crate::linux::clone::{self, Child, Side, into_namespaces};
use crate::linux::idmap::IdMap;
use crate::linux::namespace::NetworkNamespace;
use crate::linux::process::{self, Process};
use crate::linux::program::Program;
use crate::linux::stage::{Call, Running, Stage, StageError};

/// The program.
pub(crate) const PASTA: &str = "pasta";

/// How long it may take to be ready, on a machine with much to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long between two looks whether it is ready.
const PAUSE: Duration = Duration::from_millis(2);

/// How many lines of what it wrote an error shows.
const LAST_LINES: usize = 6;

/// Ports below this need root, if the system says nothing else (ip(7)).
const FIRST_FREE_PORT: u16 = 1024;

#[derive(Serialize, Deserialize)]
struct Order {
    folder: LabFolder,
    uplink: Uplink,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Ready,
    Failed(Failure),
}

/// Why pasta does not run.
#[derive(Debug, thiserror::Error)]
enum PastaError {
    #[error("cannot publish {address} of the host for node {node}")]
    Port { address: String, node: String, source: io::Error },
    #[error("cannot enter the lab's namespaces")]
    Enter(#[source] io::Error),
    #[error("cannot write {}", path.display())]
    Write { path: std::path::PathBuf, source: io::Error },
    #[error("cannot follow pasta")]
    Follow(#[source] io::Error),
    #[error("pasta ended before it was ready{}", quoted(.0))]
    Ended(Vec<String>),
    #[error("pasta is not ready after {} s{}", PATIENCE.as_secs(), quoted(.0))]
    Late(Vec<String>),
}

fn quoted(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Starts pasta for a lab whose router is prepared, and waits until it is ready.
///
/// # Errors
/// If it cannot be started or does not get ready, a port that is taken for example.
pub(crate) async fn start(
    folder: &LabFolder,
    uplink: &Uplink,
) -> Result<Result<(), Failure>, StageError> {
    let order = Order { folder: folder.clone(), uplink: uplink.clone() };
    let mut running = Running::start(Stage::Pasta, &order, &[], Stdio::inherit())?;
    match running.answer().await? {
        Some(Answer::Ready) => Ok(Ok(())),
        Some(Answer::Failed(failure)) => Ok(Err(failure)),
        None => Err(StageError::Silent { stderr: String::new() }),
    }
}

/// Whether the lab's pasta runs.
pub(crate) fn is_alive(folder: &LabFolder) -> bool {
    recorded(folder).is_some_and(Process::is_alive)
}

/// Ends the lab's pasta, if it runs.
///
/// # Errors
/// If it is not ours to kill.
pub(crate) fn kill(folder: &LabFolder) -> io::Result<()> {
    recorded(folder).map_or(Ok(()), Process::kill)
}

/// The last lines that it wrote.
pub(crate) fn last_words(folder: &LabFolder, most: usize) -> Vec<String> {
    let text = fs::read(folder.uplink_log()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(most)..].iter().map(ToString::to_string).collect()
}

fn recorded(folder: &LabFolder) -> Option<Process> {
    serde_json::from_slice(&fs::read(folder.uplink()).ok()?).ok()
}

/// The stage: returns its exit status.
pub(crate) fn stage(call: &Call) -> i32 {
    let order: Order = match call.words() {
        Ok(order) => order,
        Err(error) => return tell(call, Answer::Failed(Failure::of(&error))),
    };
    let answer = match enter(&order.folder) {
        Ok(Place::Outside(child)) => return worker::outside(&child, call),
        Ok(Place::Inside(network)) => run(&order, &network),
        Err(error) => Err(error),
    };
    tell(
        call,
        match answer {
            Ok(()) => Answer::Ready,
            Err(error) => Answer::Failed(Failure::of(&error).with_hint(hint(&error))),
        },
    )
}

fn tell(call: &Call, answer: Answer) -> i32 {
    i32::from(call.answer(&answer).is_err() || matches!(answer, Answer::Failed(_)))
}

fn hint(error: &PastaError) -> Option<String> {
    let PastaError::Port { address, source, .. } = error else { return None };
    Some(match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program has {address}: publish another port, or end that program")
        }
        io::ErrorKind::PermissionDenied => format!(
            "ports below {FIRST_FREE_PORT} are for programs with rights on this host, and a lab has \
             none: publish a higher port, or see net.ipv4.ip_unprivileged_port_start in ip(7)"
        ),
        io::ErrorKind::AddrNotAvailable => "the host has no such address".to_owned(),
        _ => return None,
    })
}

fn run(order: &Order, network: &NetworkNamespace) -> Result<(), PastaError> {
    let log_path = order.folder.uplink_log();
    for published in &order.uplink.published {
        try_port(published)?;
    }
    let log = File::create(&log_path)
        .map_err(|source| PastaError::Write { path: log_path.clone(), source })?;
    let follow = |error: rustix::io::Errno| PastaError::Follow(error.into());
    let (gate, open) = pipe_with(PipeFlags::CLOEXEC).map_err(follow)?;
    let child = match into_namespaces(0).map_err(PastaError::Follow)? {
        Side::Child => {
            drop(open);
            clone::end(become_pasta(&gate, network, log, &order.uplink));
        }
        Side::Parent(child) => child,
    };
    drop(gate);
    // On record before it is there, so that it is found if nobody gets further than here.
    let path = order.folder.uplink();
    Process::of(child.pid)
        .and_then(|process| write_record(&path, &process))
        .map_err(|source| PastaError::Write { path, source })?;
    retry_on_intr(|| rustix::io::write(&open, b".")).map_err(follow)?;
    wait_until_ready(&child, &order.folder)
}

/// In which of the two processes the caller is.
enum Place {
    Outside(Child),
    Inside(NetworkNamespace),
}

/// Enters the lab's user and process namespaces, as root of the lab. The network stays the host's; that
/// of the lab comes back.
///
/// The process inside is a child, so that pasta, a child of that, is the keeper's to reap: left to the
/// host's first process, it could hold up the end of the lab.
#[expect(
    clippy::disallowed_methods,
    reason = "here a process enters a lab, to leave a child there"
)]
fn enter(folder: &LabFolder) -> Result<Place, PastaError> {
    let inside = || -> io::Result<Place> {
        let keeper = Keeper::recorded(folder).map(Keeper::process);
        let keeper = keeper.ok_or(io::ErrorKind::NotFound)?;
        let single = IdMap::of_caller().map_err(io::Error::other)?.is_single();
        let namespaces = ThreadNameSpaceType::USER | ThreadNameSpaceType::PROCESS_ID;
        let pidfd = keeper.open()?;
        rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), namespaces)?;
        clone::become_root(single)?;
        // Else its files in /proc are out of reach for its own children.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        let network = NetworkNamespace::of(keeper.pid)?;
        match into_namespaces(0)? {
            Side::Parent(child) => Ok(Place::Outside(child)),
            Side::Child => {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(Place::Inside(network))
            }
        }
    };
    inside().map_err(PastaError::Enter)
}

/// pasta would say less of what is wrong with a port.
fn try_port(published: &Published) -> Result<(), PastaError> {
    let address = SocketAddr::new(published.address, published.port);
    let bound = match published.protocol {
        Transport::Tcp => TcpListener::bind(address).map(drop),
        Transport::Udp => UdpSocket::bind(address).map(drop),
    };
    bound.map_err(|source| PastaError::Port {
        address: format!("{address}/{}", published.protocol),
        node: published.node.to_string(),
        source,
    })
}

/// The child: waits until it is on record, and becomes pasta.
fn become_pasta(gate: &OwnedFd, network: &NetworkNamespace, mut log: File, uplink: &Uplink) -> i32 {
    let mut byte = [0];
    if !matches!(retry_on_intr(|| rustix::io::read(gate, &mut byte)), Ok(1)) {
        return 1;
    }
    let ready = || -> io::Result<Program> {
        rustix::process::setsid()?;
        fcntl_setfd(network, FdFlags::empty())?;
        let path = format!("/proc/self/fd/{}", network.as_fd().as_raw_fd());
        Ok(Program::new(PASTA)
            .args(["--netns-only", "--netns", &path])
            .args(arguments(uplink))
            .stdout(Stdio::null())
            .stderr(log.try_clone()?))
    };
    let failure = match ready() {
        Ok(program) => Failure::of(&program.become_it()),
        Err(error) => Failure::of(&error),
    };
    // Nobody else can be told: the socket is the parent's.
    writeln!(log, "{failure}").ok();
    1
}

fn wait_until_ready(child: &Child, folder: &LabFolder) -> Result<(), PastaError> {
    let filters = filters("self").map_err(PastaError::Follow)?;
    let deadline = Instant::now() + PATIENCE;
    let pause = PAUSE.try_into().expect("it is short");
    loop {
        let mut watched = [PollFd::new(&child.pidfd, PollFlags::IN)];
        retry_on_intr(|| poll(&mut watched, Some(&pause)))
            .map_err(|error| PastaError::Follow(error.into()))?;
        if !watched[0].revents().is_empty() {
            return Err(PastaError::Ended(last_words(folder, LAST_LINES)));
        }
        if Instant::now() > deadline {
            process::kill(&child.pidfd).map_err(PastaError::Follow)?;
            return Err(PastaError::Late(last_words(folder, LAST_LINES)));
        }
        if self::filters(&child.pid.to_string()).is_ok_and(|found| found > filters) {
            return Ok(());
        }
    }
}

/// How many filters for system calls a process has (proc_pid_status(5)).
fn filters(process: &str) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
    let number = value.and_then(|value| value.trim().parse().ok());
    number.ok_or_else(|| io::Error::other("the kernel does not tell of filters"))
}
