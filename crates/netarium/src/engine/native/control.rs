//! Talking to the first process of a node (see [`netarium_core::control`]).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use netarium_core::control::{LONGEST, Reply, Request};

use crate::linux::packet;

/// A conversation with the first process of a node.
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

/// Why the first process of a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody listens.
    #[error("cannot reach the first process of the node")]
    Connect(#[source] io::Error),
    /// The socket failed.
    #[error("cannot talk to the first process of the node")]
    Talk(#[source] io::Error),
    /// The answer is not one that was expected.
    #[error("the first process of the node is not understood")]
    Words(#[source] serde_json::Error),
    /// It ended.
    #[error("the first process of the node has ended")]
    Ended,
    /// Its node is not wired.
    #[error("the node is not wired yet")]
    Waiting,
    /// It says no.
    #[error("{0}")]
    Refused(String),
}

impl Control {
    /// Begins a conversation over the socket at `path`.
    ///
    /// # Errors
    /// If nobody listens there.
    pub(crate) fn connect(path: &Path) -> Result<Self, ControlError> {
        packet::connect(path).map(Self).map_err(ControlError::Connect)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// If the answer is a refusal, or there is none.
    pub(crate) fn ask(&self, request: &Request) -> Result<Reply, ControlError> {
        self.say(request, &[])?;
        self.hear().map(|(reply, _)| reply)
    }

    /// Says something, with descriptors.
    ///
    /// # Errors
    /// If the other end is closed.
    pub(crate) fn say(
        &self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ControlError> {
        let words = serde_json::to_vec(request).map_err(ControlError::Words)?;
        packet::send(&self.0, &words, fds).map_err(ControlError::Talk)
    }

    /// Waits for the next answer, with its descriptors.
    ///
    /// # Errors
    /// If it is a refusal, or there is none.
    pub(crate) fn hear(&self) -> Result<(Reply, Vec<OwnedFd>), ControlError> {
        let (words, fds) = packet::receive(&self.0, LONGEST).map_err(ControlError::Talk)?;
        Ok((reply(&words)?, fds))
    }

    /// Waits until there is an answer; `false` if the time is over before.
    ///
    /// # Errors
    /// If the socket fails.
    pub(crate) fn wait(&self, longest: Duration) -> Result<bool, ControlError> {
        packet::wait(&self.0, longest).map_err(ControlError::Talk)
    }
}

/// The answer that these words are.
///
/// # Errors
/// If they are a refusal, none at all, or not understood.
pub(super) fn reply(words: &[u8]) -> Result<Reply, ControlError> {
    if words.is_empty() {
        return Err(ControlError::Ended);
    }
    match serde_json::from_slice(words).map_err(ControlError::Words)? {
        Reply::Waiting => Err(ControlError::Waiting),
        Reply::Refused(reason) => Err(ControlError::Refused(reason)),
        reply => Ok(reply),
    }
}
