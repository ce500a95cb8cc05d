//! The terminal that the command runs on, while a program in a node has it.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use netarium_core::control::TerminalSize;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// How long is waited for the last words of a program that has ended.
const LAST_WORDS: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Whether a person sits at both ends of the command.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// How large the terminal is now; the usual size if it does not say.
pub(crate) fn size() -> TerminalSize {
    let usual = TerminalSize { rows: 24, columns: 80 };
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            TerminalSize { rows: size.ws_row, columns: size.ws_col }
        }
        _ => usual,
    }
}

/// The terminal in raw mode: every key goes to the program. Dropping it, also while panicking, puts
/// the terminal back as it was.
pub(crate) struct Raw(Termios);

impl Raw {
    /// Puts the terminal into raw mode.
    ///
    /// # Errors
    /// If standard input is no terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        // From here on there is something to put back.
        let guard = Self(before);
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(guard)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // If the terminal has gone there is nothing to put back.
        tcsetattr(io::stdin(), OptionalActions::Drain, &self.0).ok();
    }
}

/// Copies what is typed to the program, until one of the two has gone.
pub(crate) fn pass_keys(program: &OwnedFd) {
    let mut bytes = [0; 4096];
    loop {
        let typed = rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut bytes));
        let Ok(length @ 1..) = typed else { return };
        if write_all(program, &bytes[..length]).is_err() {
            return;
        }
    }
}

/// Copies what the program shows to the terminal, until `over` is closed at its other end and
/// nothing more comes.
pub(crate) fn pass_screen(program: &OwnedFd, over: &OwnedFd) {
    let mut bytes = [0; 16384];
    let mut patience = None;
    loop {
        let mut watched =
            vec![PollFd::new(program, PollFlags::IN), PollFd::new(over, PollFlags::empty())];
        watched.truncate(if patience.is_some() { 1 } else { 2 });
        let ready = match poll(&mut watched, patience.as_ref()) {
            Err(Errno::INTR) => continue,
            Ok(0) | Err(_) => return,
            Ok(_) => [0, 1].map(|at| watched.get(at).is_some_and(|it| !it.revents().is_empty())),
        };
        if ready[1] {
            patience = Some(LAST_WORDS);
        }
        if ready[0] {
            // The kernel says EIO when nobody has the other side of the terminal any more.
            let Ok(length @ 1..) = rustix::io::read(program, &mut bytes) else { return };
            if write_all(&io::stdout(), &bytes[..length]).is_err() {
                return;
            }
        }
    }
}

fn write_all(to: &impl AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
