//! The few system calls that rustix has not or cannot make safe, each in a small function.
//!
//! Nothing here decides anything.

use std::io;
use std::mem::{MaybeUninit, size_of_val};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use netarium_core::control::Exit;
use rustix::process::{Pid, WaitOptions, waitpid};

/// The descriptor that this process was started with under this number, from now on closed when
/// another program is executed.
///
/// # Errors
/// If there is none.
#[expect(unsafe_code, reason = "an inherited descriptor has no owner in this program yet")]
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_SETFD takes an integer and touches no memory.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, as has just been seen, and each number is asked for once, at the start,
    // before anything else is opened.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes all descriptors from this number on.
#[expect(unsafe_code, reason = "rustix has no close_range(2)")]
pub(crate) fn close_from(number: u32) {
    // SAFETY: called first of all, when nothing in this program owns such a descriptor.
    unsafe { libc::close_range(number, u32::MAX, 0) };
}

/// Blocks these signals and returns a descriptor from which they are read; see [`next_signal`].
///
/// # Errors
/// If the kernel has no descriptor left.
#[expect(unsafe_code, reason = "rustix has no signalfd(2)")]
pub(crate) fn signals(wanted: &[i32], flags: i32) -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills the set in before anything reads it, the set outlives the calls,
    // and a descriptor that signalfd returns belongs to nobody else.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in wanted {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        let number = libc::signalfd(-1, set.as_ptr(), flags | libc::SFD_CLOEXEC);
        if number == -1 {
            Err(io::Error::last_os_error())
        } else {
            Ok(OwnedFd::from_raw_fd(number))
        }
    }
}

/// The next signal that has come, from a descriptor made by [`signals`].
pub(crate) fn next_signal(signals: &OwnedFd) -> Option<i32> {
    let mut information = [0; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(signals, &mut information) {
        Ok(length) if length == information.len() => {
            let number = [information[0], information[1], information[2], information[3]];
            i32::try_from(u32::from_ne_bytes(number)).ok()
        }
        _ => None,
    }
}

/// Lets large pieces of memory go back to the kernel as soon as they are not needed: without
/// this, the C library keeps what one long message has taken.
#[expect(unsafe_code, reason = "there is no other way to set up the C library's allocator")]
pub(crate) fn keep_little_memory() {
    const PIECE: i32 = 32 * 1024;
    // SAFETY: these are numbers for the allocator, set before there is anything but one thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, PIECE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, PIECE);
        libc::mallopt(libc::M_TOP_PAD, 0);
    }
}

/// Lets a signal have no effect.
#[expect(unsafe_code, reason = "rustix has no signal(2)")]
pub(crate) fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is no function of ours that could run at a bad time.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// A child that has ended and is still there, a zombie. Its number and its group's are not given
/// to others until it is reaped, so that they can still be signalled.
#[expect(unsafe_code, reason = "rustix does not tell whom waitid(2) has found")]
pub(crate) fn ended_child() -> Option<u32> {
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: siginfo_t is plain data for which zeroes are valid; si_pid reads the part that
    // waitid fills in, and zero there means that it has found nobody.
    let pid = unsafe {
        if libc::waitid(libc::P_ALL, 0, information.as_mut_ptr(), options) == -1 {
            return None;
        }
        information.assume_init().si_pid()
    };
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

/// Whether there is any child, running or ended.
#[expect(unsafe_code, reason = "rustix does not tell this from a wrong question")]
pub(crate) fn has_children() -> bool {
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid fills in what it is given, which outlives the call.
    unsafe { libc::waitid(libc::P_ALL, 0, information.as_mut_ptr(), options) == 0 }
}

/// How an ended child has ended. It stays there.
#[expect(unsafe_code, reason = "rustix does not tell whom waitid(2) has found")]
pub(crate) fn exit_of(pid: u32) -> Exit {
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: as in `ended_child`.
    let (code, status) = unsafe {
        libc::waitid(libc::P_PID, pid, information.as_mut_ptr(), options);
        let information = information.assume_init();
        (information.si_code, information.si_status())
    };
    if code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) }
}

/// Lets an ended child go.
pub(crate) fn reap(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It was just found to have ended; if it is gone all the same, that is what was wanted.
        waitpid(Some(pid), WaitOptions::NOHANG).ok();
    }
}

/// Sends a signal to a process, to a group (negative), or to all others (-1). That there is
/// nobody to get it is no error: it may have ended meanwhile.
#[expect(unsafe_code, reason = "rustix sends named signals only, and people may send any")]
pub(crate) fn send_signal(target: i32, signal: i32) {
    // SAFETY: kill(2) touches no memory.
    unsafe { libc::kill(target, signal) };
}

/// Sends a signal to a process that leads its group, and to the group.
pub(crate) fn signal_group(pid: u32, signal: i32) {
    match i32::try_from(pid) {
        // Groups 0 and 1 would be this process's own, and everybody.
        Ok(pid) if pid > 1 => send_signal(-pid, signal),
        _ => {}
    }
}

/// Sends a signal to a process and nobody else.
pub(crate) fn signal_process(pid: u32, signal: i32) {
    match i32::try_from(pid) {
        Ok(pid) if pid > 1 => send_signal(pid, signal),
        _ => {}
    }
}

/// Sets an option of a socket.
///
/// # Errors
/// If the kernel refuses it.
#[expect(unsafe_code, reason = "rustix has only some options of sockets")]
pub(crate) fn set_option<T: Copy>(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: &T,
) -> io::Result<()> {
    let length = u32::try_from(size_of_val(value)).expect("options are a few bytes long");
    // SAFETY: the pointer and the length are those of `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
