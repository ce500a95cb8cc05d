//! Processes of ours, found again without mistaking another for them.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

/// A process as it is kept on record: its number, and when it started, since numbers come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number as the host's `/proc` has it.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since the machine did (proc_pid_stat(5), field 22).
    pub(crate) started: u64,
}

impl Process {
    /// The process that has this number now.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, started: started(pid)? })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        started(self.pid).is_ok_and(|started| started == self.started)
    }

    /// A descriptor that stands for this process, if it still runs.
    ///
    /// # Errors
    /// `ESRCH` if it has ended.
    pub(crate) fn open(self) -> io::Result<OwnedFd> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        // A worker sees the host's /proc from inside the lab, where numbers are others.
        let pid = number_here(self.pid).ok_or_else(gone)?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        // The number may have passed to another process before the descriptor was opened.
        if self.is_alive() { Ok(pidfd) } else { Err(gone()) }
    }

    /// Kills it and waits until it, and all of the process namespace that it is the first
    /// process of, is gone. Fine if it is gone already.
    ///
    /// # Errors
    /// If it is not ours to kill.
    pub(crate) fn kill(self) -> io::Result<()> {
        match self.open() {
            Ok(pidfd) => kill(&pidfd),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Kills the process of `pidfd` and waits until it has ended.
///
/// # Errors
/// If it is not ours to kill.
pub(crate) fn kill(pidfd: &OwnedFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    let mut fds = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
    while let Err(error) = rustix::event::poll(&mut fds, None) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    Ok(())
}

/// The number that the process of `pidfd` has in the host's `/proc`, whichever process namespace
/// the caller is in.
///
/// # Errors
/// If `/proc` is not that of the host, or the process has ended.
pub(crate) fn host_pid(pidfd: &impl AsFd) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// The number that a process has in the process namespace of the caller, which is that of `/proc` or
/// inside of it (NSpid, proc_pid_status(5)).
fn number_here(pid: u32) -> Option<u32> {
    let numbers = |process: &str| -> Option<Vec<u32>> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        line.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
    };
    let depth = numbers("self")?.len();
    numbers(&pid.to_string())?.get(depth.checked_sub(1)?).copied()
}

fn started(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program is in brackets and may have spaces and brackets of its own.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = fields.split_ascii_whitespace();
    // A zombie has ended: nobody has asked for its status yet.
    let ended = matches!(fields.next(), Some("Z" | "X"));
    let started = fields.nth(18).and_then(|field| field.parse().ok()).filter(|_| !ended);
    started.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let process = Process::of(std::process::id()).unwrap();
        assert!(process.is_alive());
        assert!(!Process { started: process.started + 1, ..process }.is_alive());
        assert_eq!(host_pid(&process.open().unwrap()).unwrap(), process.pid);
    }
}
