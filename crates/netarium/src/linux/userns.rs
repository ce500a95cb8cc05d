//! Makes a user namespace with the owner's ids and runs a function as root of it.
//!
//! Only for a process of one thread (see [`crate::linux::stage`]): the function runs in a copy of
//! the caller's memory. It is process 1 of a process namespace of its own, so that its end is the
//! end of everything it started, and the kernel kills it when the caller ends. The host's mounts
//! are there, but what it mounts is seen by nobody else.
//!
//! Sources: clone(2), user_namespaces(7), pid_namespaces(7), mount_namespaces(7).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::linux::clone::{self, Child, Side, into_namespaces};
use crate::linux::idmap::{IdMap, IdMapError};
use crate::linux::process;

/// The namespaces that every function here gets.
const NAMESPACES: i32 = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID;

/// How a function ends that could not become root of its namespace; it has written why to stderr.
const NOT_ROOT: i32 = 125;

/// Why nothing ran as root of a new namespace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UserNsError {
    /// The kernel makes no such process.
    #[error("cannot make a user namespace")]
    Clone(#[source] io::Error),
    /// The namespace got no ids.
    #[error("cannot give the user namespace its ids")]
    Map(#[source] IdMapError),
    /// A pipe, a wait or a signal failed.
    #[error("cannot follow the process in the user namespace")]
    Follow(#[source] io::Error),
}

impl UserNsError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Clone(_) => Some(
                "user namespaces may be forbidden here: see `sysctl user.max_user_namespaces \
                 kernel.unprivileged_userns_clone`"
                    .to_owned(),
            ),
            Self::Map(error) => error.hint(),
            Self::Follow(_) => None,
        }
    }
}

/// A function that runs as root of a namespace of its own. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct RootOfNamespace {
    child: Child,
    /// Open as long as the process may go on.
    _gate: OwnedFd,
    ended: Option<ExitStatus>,
}

/// Runs `child` as root of a new namespace with the ids of `map`, and waits for its end. What it
/// returns is its exit status; 125 says that it could not become root.
///
/// # Errors
/// If there can be no such namespace.
pub(crate) fn run_as_root_of_new_namespace(
    map: &IdMap,
    child: impl FnOnce() -> i32,
) -> Result<ExitStatus, UserNsError> {
    start_as_root_of_new_namespace(map, child)?.wait()
}

/// Runs `child` as root of a new namespace with the ids of `map`, in an empty network namespace of
/// its own, and waits for its end.
///
/// # Errors
/// If there can be no such namespaces.
pub(crate) fn run_as_root_of_new_network(
    map: &IdMap,
    child: impl FnOnce() -> i32,
) -> Result<ExitStatus, UserNsError> {
    start_in(NAMESPACES | libc::CLONE_NEWNET, map, child)?.wait()
}

/// Runs `child` as root of a new namespace with the ids of `map`, beside the caller.
///
/// # Errors
/// If there can be no such namespace.
pub(crate) fn start_as_root_of_new_namespace(
    map: &IdMap,
    child: impl FnOnce() -> i32,
) -> Result<RootOfNamespace, UserNsError> {
    start_in(NAMESPACES, map, child)
}

fn start_in(
    namespaces: i32,
    map: &IdMap,
    child: impl FnOnce() -> i32,
) -> Result<RootOfNamespace, UserNsError> {
    let (gate_in, gate) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| UserNsError::Follow(error.into()))?;
    let child = match into_namespaces(namespaces).map_err(UserNsError::Clone)? {
        Side::Parent(child) => child,
        Side::Child => {
            drop(gate);
            clone::end(as_root(&gate_in, map.is_single(), child));
        }
    };
    let pid = child.pid;
    let process = RootOfNamespace { child, _gate: gate, ended: None };
    map.write(pid).map_err(UserNsError::Map)?;
    retry_on_intr(|| rustix::io::write(&process._gate, b"."))
        .map_err(|error| UserNsError::Follow(error.into()))?;
    Ok(process)
}

impl RootOfNamespace {
    /// Waits for its end.
    ///
    /// # Errors
    /// If the kernel does not say how it ended.
    pub(crate) fn wait(mut self) -> Result<ExitStatus, UserNsError> {
        self.reap()
    }

    /// Waits for its end, or until the other end of `lifeline` is closed: then it is killed, with
    /// everything it started, and the answer is `None`.
    ///
    /// # Errors
    /// If the kernel does not say which of the two happened.
    pub(crate) fn wait_or_end_with(
        mut self,
        lifeline: BorrowedFd<'_>,
    ) -> Result<Option<ExitStatus>, UserNsError> {
        let ended = self.child.wait_or_end_with(lifeline).map_err(UserNsError::Follow)?;
        // Killed and reaped, or ended by itself.
        self.ended = Some(ended.unwrap_or_default());
        Ok(ended)
    }

    fn reap(&mut self) -> Result<ExitStatus, UserNsError> {
        let status = self.child.wait().map_err(UserNsError::Follow)?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for RootOfNamespace {
    fn drop(&mut self) {
        if self.ended.is_none() && process::kill(&self.child.pidfd).is_ok() {
            // A process that was killed and is not reaped would hold its namespaces.
            self.reap().ok();
        }
    }
}

/// The new process: waits for its ids, becomes root with them, and runs `child`.
fn as_root(gate: &OwnedFd, single: bool, child: impl FnOnce() -> i32) -> i32 {
    match become_root(gate, single) {
        Ok(()) => child(),
        Err(error) => {
            eprintln!("cannot become root of the user namespace: {error}");
            NOT_ROOT
        }
    }
}

fn become_root(gate: &OwnedFd, single: bool) -> io::Result<()> {
    let mut byte = [0];
    if retry_on_intr(|| rustix::io::read(gate, &mut byte))? == 0 {
        return Err(io::Error::other("it got no ids"));
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    clone::become_root(single)?;
    // Only now: the kernel forgets the signal when a process changes its ids.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut gate = [PollFd::from_borrowed_fd(gate.as_fd(), PollFlags::empty())];
    retry_on_intr(|| poll(&mut gate, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })))?;
    if gate[0].revents().is_empty() {
        Ok(())
    } else {
        Err(io::Error::other("the process that started it has ended"))
    }
}
