//! Stages: functions of ours that need a process of their own with one thread, because they make
//! or enter user namespaces.
//!
//! A stage is this same program started again under another name (`argv[0]`), so every program
//! that uses this library calls [`run_if_stage`] first of all in its `main`. A program that cannot
//! (a test of another crate, a plug-in) names one that does in the environment variable
//! `NETARIUM_STAGE_PROGRAM`; it is read once.
//!
//! File descriptor 0 of a stage is one end of a socket pair. Over it come one line of JSON, the
//! call, with the file descriptors that belong to it (SCM_RIGHTS, unix(7)), and go the stage's
//! answers, a line of JSON each. When the caller is gone, the kernel closes its end: a stage that
//! watches the socket ends too, also when the caller was killed.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::OnceLock;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};

use crate::bench;
use crate::engine::docker::{pack, watcher};
use crate::engine::native::{pasta, sweep, worker};
use crate::image::{packer, workshop};
use crate::linux::features;
use crate::linux::program::{Program, ProgramError};

/// What the names of stages begin with.
const PREFIX: &str = "netarium-stage-";

/// How a stage ends that does not understand its call.
const BAD_CALL: i32 = 124;

/// The most file descriptors that go with a call; the kernel's own limit (SCM_MAX_FD) is 253.
const MAX_FDS: usize = 64;

/// Why a stage was not started or did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// There is no program to start.
    #[error("cannot start a stage of this program")]
    Start(#[source] ProgramError),
    /// The socket to it failed.
    #[error("cannot talk to a stage of this program")]
    Talk(#[source] io::Error),
    /// What was said is not what was agreed.
    #[error("a stage of this program does not understand or is not understood")]
    Words(#[source] serde_json::Error),
    /// It ended and had not answered.
    #[error("a stage of this program ended without an answer{}{stderr}", if stderr.is_empty() { "" } else { ":\n" })]
    Silent {
        /// What it wrote to stderr last.
        stderr: String,
    },
}

impl StageError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Silent { stderr } if !stderr.is_empty() => None,
            Self::Start(_) | Self::Talk(_) => None,
            Self::Words(_) | Self::Silent { .. } => Some(
                "a program that uses the netarium library calls netarium::run_if_stage() first \
                 of all in its main, or names one that does in NETARIUM_STAGE_PROGRAM"
                    .to_owned(),
            ),
        }
    }
}

/// A function that runs in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Builds and removes images.
    Image,
    /// Packs an image for another engine.
    Give,
    /// Packs images.
    Pack,
    /// Does steps inside a lab, or looks at it.
    Worker,
    /// Starts what is at the far end of a lab's way out.
    Pasta,
    /// Removes what a lab leaves on the disk.
    Sweep,
    /// Asks the kernel what it can do.
    Features,
    /// Brings a lab up or takes it down while somebody looks at the clock.
    Bench,
}

impl Stage {
    const ALL: [Self; 8] = [
        Self::Image,
        Self::Give,
        Self::Pack,
        Self::Worker,
        Self::Pasta,
        Self::Sweep,
        Self::Features,
        Self::Bench,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Give => "give",
            Self::Pack => "pack",
            Self::Worker => "worker",
            Self::Pasta => "pasta",
            Self::Sweep => "sweep",
            Self::Features => "features",
            Self::Bench => "bench",
        }
    }

    fn run(self, call: Call) -> i32 {
        match self {
            Self::Image => workshop::stage(&call),
            Self::Give => pack::stage(&call),
            Self::Pack => packer::stage(&call),
            Self::Worker => worker::stage(&call),
            Self::Pasta => pasta::stage(&call),
            Self::Sweep => sweep::stage(&call),
            Self::Features => features::stage(&call),
            Self::Bench => bench::stage(&call),
        }
    }
}

/// If this process was started as a stage, runs it and ends the process; otherwise returns at
/// once. To be called first of all in `main`, while there is only one thread.
pub fn run_if_stage() {
    let name = std::env::args_os().next().unwrap_or_default();
    if name == watcher::NAME {
        std::process::exit(watcher::run());
    }
    let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { return };
    let status = match Stage::ALL.into_iter().find(|stage| stage.name() == name) {
        Some(stage) => match Call::receive() {
            Ok(call) => stage.run(call),
            Err(error) => {
                eprintln!("{error}");
                BAD_CALL
            }
        },
        None => BAD_CALL,
    };
    std::process::exit(status);
}

/// The caller's side of a stage that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// The process. It is not killed with this value: it sees that the socket is closed, and may
    /// have to clean up before it ends.
    pub(crate) process: tokio::process::Child,
    /// What the stage answers, line by line.
    answers: Lines<BufReader<tokio::net::UnixStream>>,
}

impl Running {
    /// Starts `stage` with a call and the file descriptors that belong to it. `stderr` is where
    /// its messages go, and those of the programs it starts.
    ///
    /// # Errors
    /// If the program cannot be started or the call cannot be sent.
    pub(crate) fn start(
        stage: Stage,
        call: &impl Serialize,
        fds: &[BorrowedFd<'_>],
        stderr: Stdio,
    ) -> Result<Self, StageError> {
        let (ours, theirs) = UnixStream::pair().map_err(StageError::Talk)?;
        let process = Program::new(stage_program())
            .arg0(format!("{PREFIX}{}", stage.name()))
            .stdin(OwnedFd::from(theirs))
            .stderr(stderr)
            // Ctrl-C is for the caller: the stage may have to clean up when the caller has ended.
            .own_group()
            .start_detached()
            .map_err(StageError::Start)?;
        let mut line = serde_json::to_vec(call).map_err(StageError::Words)?;
        line.push(b'\n');
        send(&ours, &line, fds).map_err(StageError::Talk)?;
        ours.set_nonblocking(true).map_err(StageError::Talk)?;
        let ours = tokio::net::UnixStream::from_std(ours).map_err(StageError::Talk)?;
        Ok(Self { process, answers: BufReader::new(ours).lines() })
    }

    /// The stage's next answer; `None` when it has ended.
    ///
    /// # Errors
    /// If the socket fails or the answer is not understood.
    pub(crate) async fn answer<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StageError> {
        match self.answers.next_line().await.map_err(StageError::Talk)? {
            Some(line) => serde_json::from_str(&line).map(Some).map_err(StageError::Words),
            None => Ok(None),
        }
    }

    /// Tells a stage that waits for it to go on.
    ///
    /// # Errors
    /// If the stage has ended.
    pub(crate) async fn go_on(&mut self) -> Result<(), StageError> {
        self.answers.get_mut().get_mut().write_all(b"\n").await.map_err(StageError::Talk)
    }
}

/// The stage's side: what it was called with.
#[derive(Debug)]
pub(crate) struct Call {
    line: Vec<u8>,
    /// The file descriptors that came with the call, in their order.
    pub(crate) fds: Vec<OwnedFd>,
    socket: UnixStream,
}

impl Call {
    /// The call's words.
    ///
    /// # Errors
    /// If they are not what this stage understands.
    pub(crate) fn words<T: DeserializeOwned>(&self) -> Result<T, StageError> {
        serde_json::from_slice(&self.line).map_err(StageError::Words)
    }

    /// Gives the caller an answer.
    ///
    /// # Errors
    /// If the caller is gone.
    pub(crate) fn answer(&self, answer: &impl Serialize) -> Result<(), StageError> {
        let mut line = serde_json::to_vec(answer).map_err(StageError::Words)?;
        line.push(b'\n');
        (&self.socket).write_all(&line).map_err(StageError::Talk)
    }

    /// Waits until the caller says that the stage may go on.
    ///
    /// # Errors
    /// If the caller is gone.
    pub(crate) fn wait_for_word(&self) -> Result<(), StageError> {
        let mut word = [0];
        (&self.socket).read_exact(&mut word).map_err(StageError::Talk)
    }

    /// Tells poll(2) that the other end was closed when the caller is gone.
    pub(crate) fn lifeline(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive() -> Result<Self, StageError> {
        // A copy with close-on-exec, so that no program that the stage starts holds the socket.
        let socket = rustix::stdio::stdin().try_clone_to_owned().map_err(StageError::Talk)?;
        let null = std::fs::File::open("/dev/null").map_err(StageError::Talk)?;
        rustix::stdio::dup2_stdin(&null).map_err(|error| StageError::Talk(error.into()))?;
        let socket = UnixStream::from(socket);
        let (line, fds) = receive(&socket).map_err(StageError::Talk)?;
        Ok(Self { line, fds, socket })
    }
}

/// The program that is started for a stage.
pub(crate) fn stage_program() -> &'static OsString {
    static PROGRAM: OnceLock<OsString> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        std::env::var_os("NETARIUM_STAGE_PROGRAM").unwrap_or_else(|| "/proc/self/exe".into())
    })
}

/// Sends all of `bytes`, and `fds` with the first of them.
fn send(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = vec![MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(fds).size()];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many file descriptors"));
    }
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    let mut socket = socket;
    socket.write_all(&bytes[sent..])
}

/// Receives one line, without its end, and the file descriptors that came with it.
fn receive(socket: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut line, mut fds) = (Vec::new(), Vec::new());
    let mut bytes = [0; 4096];
    while line.last() != Some(&b'\n') {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(
                socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&bytes[..received.bytes]);
    }
    line.pop();
    Ok((line, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_call_and_its_file_descriptors_arrive() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let text = format!("\"{}\"\n", "x".repeat(1_000_000));
        let expected = text.trim_end().as_bytes().to_vec();
        let sender = std::thread::spawn(move || {
            let null = std::fs::File::open("/dev/null").unwrap();
            send(&ours, text.as_bytes(), &[null.as_fd(), null.as_fd()]).unwrap();
        });
        let (line, fds) = receive(&theirs).unwrap();
        sender.join().unwrap();
        assert_eq!((line, fds.len()), (expected, 2));
    }
}
