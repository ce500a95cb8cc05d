//! Making a process together with its namespaces (clone(2)).
//!
//! Only a process with a single thread may do so here: the child goes on with a copy of its
//! memory, in which no other thread can have left a lock taken.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Gid, Uid};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::process;

/// On which side of [`into_namespaces`] the caller is.
pub(crate) enum Side {
    /// The process that called, with its child.
    Parent(Child),
    /// The child.
    Child,
}

/// A process that was made here.
#[derive(Debug)]
pub(crate) struct Child {
    /// Stands for the process and no other, also after it has ended (pidfd_open(2)).
    pub(crate) pidfd: OwnedFd,
    /// Its number as the host's `/proc` has it.
    pub(crate) pid: u32,
}

impl Child {
    /// Waits for its end.
    ///
    /// # Errors
    /// If it is no child of the caller.
    pub(crate) fn wait(&self) -> io::Result<ExitStatus> {
        let ended = rustix::io::retry_on_intr(|| {
            waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
        })?;
        let status = ended.ok_or(rustix::io::Errno::CHILD)?;
        // The two ways to end, as wait(2) puts them into one number.
        let code = status.exit_status().unwrap_or(0) << 8;
        Ok(ExitStatus::from_raw(code | status.terminating_signal().unwrap_or(0)))
    }

    /// Waits for its end, or until the other end of `lifeline` is closed: then it is killed, and the
    /// answer is `None`.
    ///
    /// # Errors
    /// If the kernel does not say which of the two happened.
    pub(crate) fn wait_or_end_with(
        &self,
        lifeline: BorrowedFd<'_>,
    ) -> io::Result<Option<ExitStatus>> {
        let mut watched = [
            PollFd::new(&self.pidfd, PollFlags::IN),
            // No flags: that the other end was closed is always told.
            PollFd::from_borrowed_fd(lifeline, PollFlags::empty()),
        ];
        rustix::io::retry_on_intr(|| poll(&mut watched, None))?;
        let ended = !watched[0].revents().is_empty();
        if !ended {
            process::kill(&self.pidfd)?;
        }
        // Left to the host's first process, it would keep its number, and with that the process
        // namespace it is in, for as long as that one takes to reap it.
        let status = self.wait()?;
        Ok(ended.then_some(status))
    }
}

/// Becomes root of the user namespace that the caller is in. Where there is a `single` id, the
/// kernel denies setgroups(2) (user_namespaces(7)).
///
/// # Errors
/// If the namespace has no ids yet.
pub(crate) fn become_root(single: bool) -> io::Result<()> {
    if !single {
        set_thread_groups(&[])?;
    }
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    Ok(())
}

/// Ends a child, without the destructors and buffers that belong to the process it was copied from.
#[expect(unsafe_code, reason = "std::process::exit would run what the parent registered")]
pub(crate) fn end(status: i32) -> ! {
    // SAFETY: _exit(2) takes any number and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// The namespaces that every container of ours has of its own.
pub(crate) const ALL_NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Makes a child process in new namespaces, `flags` of clone(2).
///
/// # Errors
/// Those of clone(2), `ENOSPC` for example when there are too many namespaces.
pub(crate) fn into_namespaces(flags: i32) -> io::Result<Side> {
    debug_assert!(has_one_thread(), "only a process with one thread may copy itself");
    let mut pidfd: i32 = -1;
    match clone3(flags, &mut pidfd)? {
        0 => Ok(Side::Child),
        _ => {
            let pidfd = take(pidfd);
            let pid = process::host_pid(&pidfd)?;
            Ok(Side::Parent(Child { pidfd, pid }))
        }
    }
}

fn has_one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[expect(unsafe_code, reason = "clone3 has no safe wrapper, since it copies the process")]
fn clone3(flags: i32, pidfd: &mut i32) -> io::Result<libc::c_long> {
    // SAFETY: clone_args is plain data for which all zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from((flags | libc::CLONE_PIDFD).cast_unsigned());
    args.pidfd = std::ptr::from_mut(pidfd) as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: without CLONE_VM the child has a copy of the memory, as after fork(2), and callers
    // have a single thread. `args` and `pidfd` outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[expect(unsafe_code, reason = "a raw descriptor from the kernel becomes an owned one")]
fn take(fd: i32) -> OwnedFd {
    // SAFETY: clone3 has just made this descriptor for us; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
