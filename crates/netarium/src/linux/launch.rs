//! Starting the containers of a lab: its keeper, and nodes in two phases.
//!
//! A node is first created: its namespaces and its root file system are there, and a process that
//! waits. Then others wire it. Then it is started: the waiting process gives up what a node may
//! not have and becomes the node's first process. If the caller ends in between, the waiting
//! process ends too.
//!
//! Only for a process with one thread: the child runs in a copy of its memory.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use netarium_core::model::Nesting;
use netarium_core::{control, wireguard};

use super::clone::{ALL_NAMESPACES, Child, Side, become_root, end, into_namespaces};
use super::idmap::{IdMap, IdMapError};
use super::mount::{self, MountError, Ours, RootFolders};
use super::volume::Volume;
use super::{capability, process, seccomp};
use crate::node_program::Programs;

/// Why a container was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LaunchError {
    /// The kernel makes no namespaces.
    #[error("cannot make the namespaces of a container")]
    Clone(#[source] io::Error),
    /// The user namespace got no ids.
    #[error("cannot give the container's user namespace its ids")]
    Map(#[from] IdMapError),
    /// The ids of a nested namespace could not be written.
    #[error("cannot write {}", path.display())]
    NodeMap {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The child failed; its words.
    #[error("{0}")]
    Child(String),
    /// The socket to the child failed.
    #[error("cannot talk to the new container")]
    Talk(#[source] io::Error),
}

/// What a node is made from.
pub(crate) struct Blueprint {
    /// Its host name.
    pub(crate) hostname: String,
    /// Its root file system.
    pub(crate) root: RootFolders,
    /// The programs of nodes, on the host.
    pub(crate) programs: Programs,
    /// The folder for logs, on the host.
    pub(crate) logs: PathBuf,
    /// The socket at which its first process will listen.
    pub(crate) control: OwnedFd,
    /// How many ids it has: those of the lab.
    pub(crate) ids: u32,
    /// Whether its programs may make containers of their own.
    pub(crate) nesting: Nesting,
    /// What it shares, in the order in which it is mounted.
    pub(crate) volumes: Vec<Volume>,
}

/// A node that is being created, by a process of its own.
#[derive(Debug)]
pub(crate) struct Begun(Waiting);

/// A node that has been created and waits to be started.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The process that waits.
    pub(crate) child: Child,
    gate: UnixStream,
}

/// The word that the ids are written.
const MAPPED: u8 = b'm';
/// The word that the node may start.
const START: u8 = b's';
/// The child's word that it is where it should be.
const READY: u8 = b'r';

/// Starts the keeper of a lab: the first process of the lab's own namespaces. It is a child of the
/// caller until that ends, and goes on after.
///
/// # Errors
/// If the kernel refuses namespaces or ids.
pub(crate) fn start_keeper(
    map: &IdMap,
    program: &Path,
    name: &str,
    arguments: &[&str],
) -> Result<Child, LaunchError> {
    let (gate, inner) = UnixStream::pair().map_err(LaunchError::Talk)?;
    let child = match into_namespaces(ALL_NAMESPACES).map_err(LaunchError::Clone)? {
        Side::Child => {
            drop(gate);
            end_with(inner, |gate| {
                hear(gate, MAPPED)?;
                become_root(map.is_single())?;
                rustix::process::setsid().map_err(io::Error::from)?;
                use_null()?;
                execute(program, name, arguments)
            })
        }
        Side::Parent(child) => child,
    };
    drop(inner);
    let mapped = map.write(child.pid);
    finish(&child, mapped.map_err(LaunchError::Map).and_then(|()| say(&gate, MAPPED)))?;
    // The socket closes when the keeper's program starts; a word before is what went wrong.
    finish(&child, hear_end(&gate))?;
    Ok(child)
}

/// Begins to create a node: everything but its first process. The rest of it is done by the node's
/// own process, beside the caller, who may begin the next one.
///
/// # Errors
/// If the kernel refuses namespaces or ids; nothing is left.
pub(crate) fn begin(
    blueprint: &Blueprint,
    filters: &seccomp::Filters,
) -> Result<Begun, LaunchError> {
    let (gate, inner) = UnixStream::pair().map_err(LaunchError::Talk)?;
    let child = match into_namespaces(ALL_NAMESPACES).map_err(LaunchError::Clone)? {
        Side::Child => {
            drop(gate);
            end_with(inner, |gate| {
                hear(gate, MAPPED)?;
                set_up(blueprint)?;
                gate.write_all(&[READY])?;
                hear(gate, START)?;
                become_init(blueprint, filters)
            })
        }
        Side::Parent(child) => child,
    };
    drop(inner);
    let mapped = write_identity_map(child.pid, blueprint.ids);
    finish(&child, mapped.and_then(|()| say(&gate, MAPPED)))?;
    Ok(Begun(Waiting { child, gate }))
}

impl Begun {
    /// Waits until the node is created.
    ///
    /// # Errors
    /// Names what could not be made; nothing is left.
    pub(crate) fn finish(self) -> Result<Waiting, LaunchError> {
        finish(&self.0.child, hear_ready(&self.0.gate))?;
        Ok(self.0)
    }
}

impl Waiting {
    /// Lets the node start its first process, beside the caller.
    ///
    /// # Errors
    /// If the node is gone.
    pub(crate) fn start(&self) -> Result<(), LaunchError> {
        say(&self.gate, START)
    }

    /// Waits until the first process runs.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub(crate) fn started(self) -> Result<(), LaunchError> {
        hear_end(&self.gate)
    }
}

/// A child that failed must not stay.
fn finish<T>(child: &Child, result: Result<T, LaunchError>) -> Result<T, LaunchError> {
    if result.is_err() {
        process::kill(&child.pidfd).map_err(LaunchError::Talk)?;
    }
    result
}

fn say(gate: &UnixStream, word: u8) -> Result<(), LaunchError> {
    (&*gate).write_all(&[word]).map_err(LaunchError::Talk)
}

/// Hears [`READY`], or what went wrong.
fn hear_ready(mut gate: &UnixStream) -> Result<(), LaunchError> {
    let mut word = [0];
    match gate.read(&mut word).map_err(LaunchError::Talk)? {
        1 if word[0] == READY => Ok(()),
        1 => hear_words(gate, &word),
        _ => Err(LaunchError::Child("the new container was killed".to_owned())),
    }
}

/// Hears that the other end was closed, or what went wrong.
fn hear_end(gate: &UnixStream) -> Result<(), LaunchError> {
    hear_words(gate, &[])
}

fn hear_words(mut gate: &UnixStream, first: &[u8]) -> Result<(), LaunchError> {
    let mut words = first.to_vec();
    gate.read_to_end(&mut words).map_err(LaunchError::Talk)?;
    let words = String::from_utf8_lossy(&words).into_owned();
    if words.is_empty() { Ok(()) } else { Err(LaunchError::Child(words)) }
}

/// The nested user namespace of a node has the ids of its lab, one to one. Root and the others are
/// written apart: a run of ids must not reach over two runs of the lab's own mapping, and those of
/// a user with subordinate ids are two.
#[expect(clippy::disallowed_methods, reason = "a file of /proc is written, not replaced")]
fn write_identity_map(pid: u32, ids: u32) -> Result<(), LaunchError> {
    let others = if ids > 1 { format!("\n1 1 {}", ids - 1) } else { String::new() };
    for file in ["uid_map", "gid_map"] {
        let path = PathBuf::from(format!("/proc/{pid}/{file}"));
        std::fs::write(&path, format!("0 0 1{others}"))
            .map_err(|source| LaunchError::NodeMap { path, source })?;
    }
    Ok(())
}

/// Why the child could not go on.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("{0}: {source}", source = cause(.0))]
    Mount(#[from] MountError),
    #[error("cannot drop capabilities: {0}")]
    Capability(#[source] io::Error),
    #[error("cannot restrict system calls: {0}")]
    Seccomp(#[source] seccompiler::Error),
    #[error("cannot start {program}: {source}")]
    Execute { program: String, source: io::Error },
    #[error("cannot prepare the container: {0}")]
    Prepare(#[from] io::Error),
    #[error("the process that started it has ended")]
    Orphan,
}

fn cause(error: &MountError) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}

/// What the child does, to its end. It never returns into the caller's code.
fn end_with(
    mut gate: UnixStream,
    life: impl FnOnce(&mut UnixStream) -> Result<std::convert::Infallible, ChildError>,
) -> ! {
    let Err(error) = life(&mut gate);
    // If nobody listens any more, nobody wants to know.
    gate.write_all(error.to_string().as_bytes()).ok();
    end(127)
}

fn hear(gate: &mut UnixStream, expected: u8) -> Result<(), ChildError> {
    let mut word = [0];
    match gate.read(&mut word)? {
        1 if word[0] == expected => Ok(()),
        _ => Err(ChildError::Orphan),
    }
}

fn set_up(blueprint: &Blueprint) -> Result<(), ChildError> {
    become_root(blueprint.ids == 1)?;
    // The session stays the one of who makes nodes: where the scheduler shares out by session
    // (sched(7), autogroup), packets that go from node to node would wait at each for its turn. The
    // group of processes does not: kill(2) reaches all of a group, in whatever node they are.
    rustix::process::setpgid(None, None).map_err(io::Error::from)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::system::sethostname(blueprint.hostname.as_bytes()).map_err(io::Error::from)?;
    let ours = Ours {
        programs: vec![
            (blueprint.programs.node.clone(), control::PROBE_PATH),
            (blueprint.programs.wireguard.clone(), wireguard::PROGRAM),
        ],
        logs: blueprint.logs.clone(),
        logs_in_node: control::LOGS_PATH,
    };
    mount::enter_root(&blueprint.root, &ours, &blueprint.volumes, blueprint.nesting)?;
    use_null()?;
    Ok(())
}

/// Standard input, output and error lead nowhere.
fn use_null() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}

fn become_init(
    blueprint: &Blueprint,
    filters: &seccomp::Filters,
) -> Result<std::convert::Infallible, ChildError> {
    let logs: OwnedFd = std::fs::File::open(control::LOGS_PATH)?.into();
    // Copies out of the way first, so that neither target overwrites the other's source.
    let above = control::LOGS_FD + 1;
    let control_copy = rustix::io::fcntl_dupfd_cloexec(&blueprint.control, above);
    let control_copy = control_copy.map_err(io::Error::from)?;
    let logs_copy = rustix::io::fcntl_dupfd_cloexec(&logs, above).map_err(io::Error::from)?;
    inherit(&control_copy, control::CONTROL_FD)?;
    inherit(&logs_copy, control::LOGS_FD)?;
    capability::keep_granted().map_err(ChildError::Capability)?;
    rustix::thread::set_no_new_privs(true).map_err(io::Error::from)?;
    filters.apply().map_err(ChildError::Seccomp)?;
    execute(Path::new(control::PROBE_PATH), control::INIT, &[])
}

/// Puts a copy of `fd` at `number`, to be there in the program that is executed next.
#[expect(unsafe_code, reason = "descriptors with fixed numbers have no owner in Rust's types")]
fn inherit(fd: &OwnedFd, number: i32) -> io::Result<()> {
    // SAFETY: what had this number before is not used again: the process executes another program.
    let result = unsafe { libc::dup2(fd.as_raw_fd(), number) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[expect(unsafe_code, reason = "execve has no safe wrapper that keeps the process")]
fn execute(
    program: &Path,
    name: &str,
    arguments: &[&str],
) -> Result<std::convert::Infallible, ChildError> {
    let text = |text: &str| CString::new(text).map_err(io::Error::from);
    let failed = |source| ChildError::Execute { program: program.display().to_string(), source };
    let path = text(&program.display().to_string())?;
    let words = std::iter::once(&name).chain(arguments).map(|word| text(word));
    let words: Vec<CString> = words.collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let environment = [std::ptr::null()];
    // SAFETY: both lists end with a null pointer, and they and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), pointers.as_ptr(), environment.as_ptr()) };
    Err(failed(io::Error::last_os_error()))
}
