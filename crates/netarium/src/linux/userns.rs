//! Makes a user namespace with the owner's ids and runs a function as root of it.
//!
//! Only for a process of one thread (see [`crate::linux::stage`]): the function runs in a copy of
//! the caller's memory. It is process 1 of a process namespace of its own, so that its end is the
//! end of everything it started, and the kernel kills it when the caller ends. The host's mounts
//! are there, but what it mounts is seen by nobody else.
//!
//! Sources: clone(2), user_namespaces(7), pid_namespaces(7), mount_namespaces(7).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitOptions, pidfd_send_signal, set_parent_process_death_signal, waitpid,
};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::linux::idmap::{IdMap, IdMapError};

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
    pid: Pid,
    pidfd: OwnedFd,
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
    debug_assert!(has_one_thread(), "only a stage may copy itself");
    let (gate_in, gate) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| UserNsError::Follow(error.into()))?;
    let Some((pid, pidfd)) = clone_process(namespaces).map_err(UserNsError::Clone)? else {
        drop(gate);
        end_process(as_root(&gate_in, map.is_single(), child));
    };
    let process = RootOfNamespace { pid, pidfd, _gate: gate, ended: None };
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
        let mut watched = [
            PollFd::new(&self.pidfd, PollFlags::IN),
            // No flags: that the other end was closed is always told.
            PollFd::from_borrowed_fd(lifeline, PollFlags::empty()),
        ];
        retry_on_intr(|| poll(&mut watched, None))
            .map_err(|error| UserNsError::Follow(error.into()))?;
        let ended = !watched[0].revents().is_empty();
        if ended { self.reap().map(Some) } else { Ok(None) }
    }

    fn reap(&mut self) -> Result<ExitStatus, UserNsError> {
        let ended = retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::empty()))
            .map_err(|error| UserNsError::Follow(error.into()))?;
        let (_, status) = ended.ok_or_else(|| UserNsError::Follow(Errno::CHILD.into()))?;
        let status = ExitStatus::from_raw(status.as_raw());
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for RootOfNamespace {
    fn drop(&mut self) {
        if self.ended.is_none() && pidfd_send_signal(&self.pidfd, Signal::KILL).is_ok() {
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
    // setgroups(2) must be denied in a namespace that somebody without privileges gave its ids.
    if !single {
        set_thread_groups(&[])?;
    }
    set_thread_res_gid(rustix::fs::Gid::ROOT, rustix::fs::Gid::ROOT, rustix::fs::Gid::ROOT)?;
    set_thread_res_uid(rustix::fs::Uid::ROOT, rustix::fs::Uid::ROOT, rustix::fs::Uid::ROOT)?;
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

fn has_one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// fork(2) with namespaces. `None` in the new process.
#[expect(unsafe_code, reason = "there is no safe way to copy a process")]
fn clone_process(namespaces: i32) -> io::Result<Option<(Pid, OwnedFd)>> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all fields of `clone_args` are numbers, for which zero is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (namespaces | libc::CLONE_PIDFD).cast_unsigned().into();
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD.cast_unsigned().into();
    // SAFETY: without CLONE_VM and with no stack named this is fork(2): the new process goes on
    // with a copy of the memory. The callers have one thread only (checked in debug builds), so no
    // lock is held by a thread that the copy does not have. `args` and `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    match i32::try_from(pid).ok().filter(|pid| *pid >= 0) {
        None => Err(io::Error::last_os_error()),
        Some(0) => Ok(None),
        Some(pid) => {
            let pid = Pid::from_raw(pid).ok_or_else(io::Error::last_os_error)?;
            // SAFETY: the kernel has just put a new file descriptor there, and nobody else has it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some((pid, pidfd)))
        }
    }
}

/// Ends this process, without the destructors and buffers that belong to the one it was copied
/// from.
#[expect(unsafe_code, reason = "std::process::exit would run what the first process registered")]
fn end_process(status: i32) -> ! {
    // SAFETY: _exit(2) takes any number and touches no memory of ours.
    unsafe { libc::_exit(status) }
}
