//! The keeper: first process of a lab's process namespace. It holds the lab's namespaces by being
//! there, and reaps what is left to it. When it ends, the kernel ends everything below it.
//!
//! It starts nothing and answers nobody.

use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};

use crate::kernel;

/// The lock of the lab, which lasts as long as this process if it is given one.
const LOCK_FD: u32 = 3;

/// Runs until SIGTERM.
pub(crate) fn run() -> ExitCode {
    kernel::close_from(LOCK_FD + 1);
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE] {
        kernel::ignore(signal);
    }
    // The name is for people who look at the list of processes; it works without it too.
    rustix::thread::set_name(c"netarium-keeper").ok();
    let signals = match kernel::signals(&[libc::SIGCHLD, libc::SIGTERM], 0) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("netarium-keeper: cannot wait for signals: {error}");
            return ExitCode::from(3);
        }
    };
    if let Err(error) = quiet() {
        eprintln!("netarium-keeper: cannot open /dev/null: {error}");
        return ExitCode::from(3);
    }
    loop {
        if kernel::next_signal(&signals) == Some(libc::SIGTERM) {
            return ExitCode::SUCCESS;
        }
        while let Some(pid) = kernel::ended_child() {
            kernel::reap(pid);
        }
    }
}

/// Lets go of the standard streams, which may be a terminal or a pipe that others wait for.
fn quiet() -> rustix::io::Result<()> {
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)
}
