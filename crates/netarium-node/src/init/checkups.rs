//! The programs that tell whether services are well: started, listened to, ended.
//!
//! When one is due and what its answer means is decided in [`super::health`].

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netarium_core::control::Exit;
use netarium_core::model::{Health, Service};
use netarium_core::name::Name;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::logs;
use super::programs::{Input, LaunchError, Program, launch};
use super::services::ending;
use crate::kernel;

/// How much is kept of what a check writes: its end, where the reason stands.
const MOST_KEPT: usize = 1024;

/// The longest line that is told.
const LONGEST_LINE: usize = 200;

/// What came of a check.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The service.
    pub name: Name,
    /// The process of the run that was looked at.
    pub run: u32,
    /// Why the service is not well; nothing if it is.
    pub fault: Option<String>,
}

/// The checks that run, by their process numbers.
#[derive(Default)]
pub(crate) struct Checkups {
    running: BTreeMap<u32, Checkup>,
}

struct Checkup {
    name: Name,
    run: u32,
    /// What it writes; nothing if that has come to its end.
    output: Option<OwnedFd>,
    said: Vec<u8>,
}

impl Checkups {
    /// Starts the check of a service whose first process is `run`.
    ///
    /// # Errors
    /// If the check does not run.
    pub(crate) fn start(
        &mut self,
        service: &Service,
        health: &Health,
        run: u32,
        nothing: BorrowedFd<'_>,
    ) -> Result<(), LaunchError> {
        let flags = PipeFlags::CLOEXEC;
        let (reader, writer) = pipe_with(flags).map_err(|it| LaunchError::Process(it.into()))?;
        rustix::io::ioctl_fionbio(&reader, true).map_err(|it| LaunchError::Process(it.into()))?;
        let pid = launch(&Program {
            argv: &health.run,
            environment: &service.environment,
            folder: &service.folder,
            user: service.user.as_ref(),
            streams: [nothing, writer.as_fd(), writer.as_fd()],
            input: Input::Stream,
        })?;
        let (name, output) = (service.name.clone(), Some(reader));
        self.running.insert(pid, Checkup { name, run, output, said: vec![] });
        Ok(())
    }

    /// Where checks may have written something.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &OwnedFd> {
        self.running.values().filter_map(|it| it.output.as_ref())
    }

    /// Reads what they have written, so that none is held up by it.
    pub(crate) fn listen(&mut self) {
        self.running.values_mut().for_each(Checkup::listen);
    }

    /// Ends the check of a service; that it has ended is told as ever.
    pub(crate) fn kill(&self, name: &Name) {
        let pids = self.running.iter().filter(|(_, it)| it.name == *name);
        pids.for_each(|(pid, _)| kernel::signal_group(*pid, libc::SIGKILL));
    }

    /// Ends the check of a service that nobody asks for any more.
    pub(crate) fn abandon(&mut self, name: &Name) {
        self.kill(name);
        self.running.retain(|_, it| it.name != *name);
    }

    /// Ends all checks; nobody asks for them any more.
    pub(crate) fn abandon_all(&mut self) {
        self.running.keys().for_each(|pid| kernel::signal_group(*pid, libc::SIGKILL));
        self.running.clear();
    }

    /// A process has ended: what came of the check that it was, if it was one. What it left behind
    /// in its group ends too.
    pub(crate) fn ended(&mut self, pid: u32, exit: Exit) -> Option<Finding> {
        let mut checkup = self.running.remove(&pid)?;
        kernel::signal_group(pid, libc::SIGKILL);
        checkup.listen();
        let Checkup { name, run, said, .. } = checkup;
        let fault = (exit != Exit::Code(0)).then(|| {
            let ending = format!("its check {}", ending(exit));
            last_line(&said).map_or(ending.clone(), |line| format!("{ending} and said: {line}"))
        });
        Some(Finding { name, run, fault })
    }
}

impl Checkup {
    fn listen(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut bytes) {
                Ok(0) => self.output = None,
                Ok(length) => {
                    self.said.extend_from_slice(&bytes[..length]);
                    let surplus = self.said.len().saturating_sub(MOST_KEPT);
                    self.said.drain(..surplus);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.output = None,
            }
        }
    }
}

/// The last line with something on it, if it is not too long to be told.
fn last_line(said: &[u8]) -> Option<String> {
    let line = logs::last_line(&String::from_utf8_lossy(said))?;
    Some(line.chars().take(LONGEST_LINE).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_told_and_nothing_that_moves_a_cursor() {
        assert_eq!(last_line(b"one\ntwo \n\n"), Some("two".to_owned()));
        assert_eq!(last_line(b"a\x1b[2Jb"), Some("a[2Jb".to_owned()));
        assert_eq!(last_line(b" \n"), None);
        assert_eq!(last_line(&[b'x'; 900]).unwrap().len(), LONGEST_LINE);
    }
}
