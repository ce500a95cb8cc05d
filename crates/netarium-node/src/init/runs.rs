//! The programs that people run beside the services, each bound to one conversation.
//!
//! It starts, resizes and signals them; that one has ended, it is told.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use netarium_core::control::{Run, TerminalSize};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};

use super::programs::{Input, LaunchError, Program, launch};
use crate::kernel;

/// How long a program may go on after nobody listens to it any more.
const GRACE: Duration = Duration::from_secs(1);

/// Where a program starts if it is not said; the second if the first is not there.
const FOLDERS: [&str; 2] = ["/root", "/"];

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// Without a terminal, its three streams must come along.
    #[error("a program without a terminal comes with three descriptors, not {0}")]
    Descriptors(usize),
    /// A conversation is about one program.
    #[error("a program runs on this connection already")]
    Busy,
    /// The node has no terminals, or none left.
    #[error("cannot make a terminal: {0}")]
    Terminal(#[from] rustix::io::Errno),
    /// It does not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

/// A running program.
pub(crate) struct Running {
    /// The conversation that it belongs to.
    pub conversation: u64,
    /// Its process number.
    pub pid: u32,
    /// The controlling side of its terminal.
    pub terminal: Option<OwnedFd>,
    /// When it is killed, if nobody listens to it any more.
    kill_at: Option<Duration>,
    left_alone: bool,
}

/// All running programs.
#[derive(Default)]
pub(crate) struct Runs {
    all: Vec<Running>,
}

impl Runs {
    /// Starts a program.
    ///
    /// # Errors
    /// If the request does not fit or the program does not run.
    pub(crate) fn start(
        &mut self,
        conversation: u64,
        run: &Run,
        descriptors: &[OwnedFd],
    ) -> Result<&Running, RunError> {
        if self.of(conversation).is_some() {
            return Err(RunError::Busy);
        }
        let (pid, terminal) = match run.terminal {
            Some(size) => {
                let (ours, theirs) = terminal(size)?;
                (start_on(run, [&theirs; 3], Input::Terminal)?, Some(ours))
            }
            None => {
                let [input, output, error] = descriptors else {
                    return Err(RunError::Descriptors(descriptors.len()));
                };
                (start_on(run, [input, output, error], Input::Stream)?, None)
            }
        };
        let kill_at = None;
        self.all.push(Running { conversation, pid, terminal, kill_at, left_alone: false });
        Ok(self.all.last().expect("it was just added"))
    }

    /// Gives the terminal of a conversation's program another size.
    pub(crate) fn resize(&self, conversation: u64, size: TerminalSize) {
        if let Some(terminal) = self.of(conversation).and_then(|run| run.terminal.as_ref()) {
            // The terminal is there as long as we hold it, and takes any size.
            tcsetwinsize(terminal, window(size)).ok();
        }
    }

    /// Sends a signal to whom the people at a conversation's terminal deal with, else to the
    /// program and its group.
    pub(crate) fn signal(&self, conversation: u64, signal: i32) {
        if let Some(run) = self.of(conversation) {
            kernel::signal_group(run.foreground().unwrap_or(run.pid), signal);
        }
    }

    /// Nobody listens to a conversation's program any more: it gets SIGHUP and is killed soon.
    pub(crate) fn leave(&mut self, now: Duration, conversation: u64) {
        for run in self.all.iter_mut().filter(|run| run.conversation == conversation) {
            run.left_alone = true;
            run.kill_at = Some(now + GRACE);
            run.signal(libc::SIGHUP);
        }
    }

    /// Kills the programs whose time is over.
    pub(crate) fn go_on(&mut self, now: Duration) {
        for run in &mut self.all {
            if run.kill_at.is_some_and(|at| at <= now) {
                run.kill_at = None;
                run.signal(libc::SIGKILL);
            }
        }
    }

    /// When [`Runs::go_on`] must be called at the latest.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.all.iter().filter_map(|run| run.kill_at).min()
    }

    /// A process has ended: the conversation of the program it was, if there is still somebody.
    pub(crate) fn ended(&mut self, pid: u32) -> Option<u64> {
        let place = self.all.iter().position(|run| run.pid == pid)?;
        let run = self.all.swap_remove(place);
        if run.left_alone {
            run.signal(libc::SIGKILL);
            return None;
        }
        Some(run.conversation)
    }

    /// The processes of all programs.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.all.iter().map(|run| run.pid)
    }

    fn of(&self, conversation: u64) -> Option<&Running> {
        self.all.iter().find(|run| run.conversation == conversation)
    }
}

impl Running {
    /// Sends a signal to the program, its group, and whoever has its terminal.
    fn signal(&self, signal: i32) {
        if let Some(group) = self.foreground().filter(|group| *group != self.pid) {
            kernel::signal_group(group, signal);
        }
        kernel::signal_group(self.pid, signal);
    }

    /// The group that has the terminal.
    fn foreground(&self) -> Option<u32> {
        let group = tcgetpgrp(self.terminal.as_ref()?).ok()?;
        u32::try_from(group.as_raw_nonzero().get()).ok()
    }
}

fn start_on(run: &Run, streams: [&OwnedFd; 3], input: Input) -> Result<u32, LaunchError> {
    let [first, second] = FOLDERS;
    let start = |folder| {
        let streams = streams.map(AsFd::as_fd);
        let (environment, user) = (&run.environment, run.user.as_ref());
        launch(&Program { argv: &run.argv, environment, folder, user, streams, input })
    };
    match &run.folder {
        Some(folder) => start(folder),
        None => start(first).or_else(|error| match error {
            LaunchError::Folder { .. } => start(second),
            other => Err(other),
        }),
    }
}

/// Makes a terminal: our side and the program's.
fn terminal(size: TerminalSize) -> Result<(OwnedFd, OwnedFd), rustix::io::Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    unlockpt(&ours)?;
    tcsetwinsize(&ours, window(size))?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    Ok((ours, theirs))
}

fn window(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}
