//! A program run in a node beside its services, its output kept.
//!
//! Nothing here blocks. Whoever drops a [`Running`] ends the conversation with the node's first
//! process, which then ends the program.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use netarium_core::control::{Exit, Reply, Request, Run};
use rustix::pipe::PipeFlags;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

use super::control::{ControlError, reply};
use crate::linux::packet::AsyncSocket;

/// The longest answer that is read, in bytes: it is a number or a reason.
const LONGEST_REPLY: usize = 16 * 1024;

/// The most that is kept of what a program writes, in bytes: an outcome with the longest body, each
/// of its bytes written as `\u0000`, fits. The rest is read and thrown away, so that it ends.
const MOST_KEPT: usize = 512 * 1024;

/// The pause before a first process with too many conversations is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// A program that runs in a node.
#[derive(Debug)]
pub(crate) struct Running {
    conversation: AsyncSocket,
    output: BufReader<pipe::Receiver>,
    errors: pipe::Receiver,
}

/// A program that has ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
}

/// Why a program in a node did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The node's first process did not do it.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// No pipe.
    #[error("cannot make a pipe to the node")]
    Pipe(#[source] io::Error),
    /// What it writes cannot be read.
    #[error("cannot read what the program in the node writes")]
    Read(#[source] io::Error),
}

impl Running {
    /// Starts a program in the node whose first process listens at `control`.
    ///
    /// # Errors
    /// If the node does not run, or the program cannot be started in it.
    pub(crate) async fn start(
        control: &Path,
        argv: Vec<String>,
        input: BorrowedFd<'_>,
    ) -> Result<Self, RunError> {
        let conversation = connect(control).await?;
        let (output, output_end) = pipe_from_node()?;
        let (errors, errors_end) = pipe_from_node()?;
        let (environment, folder, user, terminal) = (BTreeMap::new(), None, None, None);
        let request = Request::Run(Run { argv, environment, folder, user, terminal });
        let words = serde_json::to_vec(&request).map_err(ControlError::Words)?;
        let fds = [input, output_end.as_fd(), errors_end.as_fd()];
        conversation.send(&words, &fds).await.map_err(ControlError::Talk)?;
        let running = Self { conversation, output: BufReader::new(output), errors };
        match running.hear().await? {
            Reply::Running { .. } => Ok(running),
            _ => Err(ControlError::Ended.into()),
        }
    }

    /// The next line that it writes; empty if no more comes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) async fn line(&mut self) -> Result<Vec<u8>, RunError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.output).take(MOST_KEPT as u64);
        bounded.read_until(b'\n', &mut line).await.map_err(RunError::Read)?;
        Ok(line)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If the node ends before it.
    pub(crate) async fn end(mut self) -> Result<Ended, RunError> {
        let exit = async {
            match hear(&self.conversation).await? {
                Reply::Exited(exit) => Ok(exit),
                _ => Err(ControlError::Ended.into()),
            }
        };
        let (exit, output, errors) =
            tokio::try_join!(exit, read(&mut self.output), read(&mut self.errors))?;
        Ok(Ended { exit, output, errors })
    }

    async fn hear(&self) -> Result<Reply, RunError> {
        hear(&self.conversation).await
    }
}

async fn connect(control: &Path) -> Result<AsyncSocket, RunError> {
    loop {
        match AsyncSocket::connect(control) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(ControlError::Connect(error).into()),
        }
    }
}

async fn hear(conversation: &AsyncSocket) -> Result<Reply, RunError> {
    let words = conversation.receive(LONGEST_REPLY).await.map_err(ControlError::Talk)?;
    Ok(reply(&words)?)
}

/// A pipe: the end that is read here, and the end for the node.
fn pipe_from_node() -> Result<(pipe::Receiver, OwnedFd), RunError> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|error| RunError::Pipe(error.into()))?;
    Ok((pipe::Receiver::from_owned_fd(ours).map_err(RunError::Pipe)?, theirs))
}

/// Reads to the end and keeps the beginning.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, RunError> {
    let mut kept = Vec::new();
    stream.take(MOST_KEPT as u64).read_to_end(&mut kept).await.map_err(RunError::Read)?;
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map_err(RunError::Read)?;
    Ok(kept)
}
