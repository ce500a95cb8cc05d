//! One conversation over the control socket: a message is received, a message is sent.
//!
//! Nothing here waits, and nothing that comes in can harm: what is no request is told apart.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use netarium_core::control::{LONGEST, Reply, Request};
use netarium_core::name::Name;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};

/// How many answers one conversation may wait for at the same time.
const MOST_WAITS: usize = 16;

/// A connection and what is still to be said on it.
pub(crate) struct Conversation {
    /// The connection.
    pub socket: OwnedFd,
    waits: Vec<Wait>,
}

/// What must have happened before an answer is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// No service is waiting or starting any more.
    Settled,
    /// This service has ended and is forgotten.
    Gone(Name),
}

/// What has come in.
pub(crate) enum Received {
    /// Nothing.
    Nothing,
    /// The other side has gone.
    Closed,
    /// Something that is no request; why.
    Nonsense(String),
    /// A request, and the descriptors that came with it.
    Request(Box<Request>, Vec<OwnedFd>),
}

/// The other side does not read, or has gone.
#[derive(Debug, thiserror::Error)]
#[error("the answer cannot be sent: {0}")]
pub(crate) struct SendError(#[from] Errno);

impl Conversation {
    /// Begins a conversation on a connection that never blocks.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, waits: Vec::new() }
    }

    /// Takes note of an answer to be sent later. `false` if there are too many already.
    pub(crate) fn wait(&mut self, wait: Wait) -> bool {
        let fits = self.waits.len() < MOST_WAITS;
        if fits {
            self.waits.push(wait);
        }
        fits
    }

    /// How often this was waited for. It is no more.
    pub(crate) fn take(&mut self, wait: &Wait) -> usize {
        let before = self.waits.len();
        self.waits.retain(|other| other != wait);
        before - self.waits.len()
    }

    /// Receives one message, if there is one.
    pub(crate) fn receive(&self) -> Received {
        // How long it is, is asked first: so no memory is set aside for the longest possible one.
        let peek = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
        let mut nothing = [0_u8; 1];
        let length = match recv(&self.socket, &mut nothing[..], peek) {
            Ok((_, 0)) => return Received::Closed,
            Ok((_, length)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Received::Nothing,
            Err(_) => return Received::Closed,
        };
        let mut bytes = vec![0; length.min(LONGEST)];
        match self.receive_into(&mut bytes) {
            Err(_) => Received::Closed,
            Ok(_) if length > LONGEST => {
                Received::Nonsense(format!("a message has at most {LONGEST} bytes"))
            }
            Ok(None) => Received::Nonsense("at most three descriptors come along".to_owned()),
            Ok(Some(descriptors)) => match serde_json::from_slice(&bytes) {
                Ok(request) => Received::Request(Box::new(request), descriptors),
                Err(error) => Received::Nonsense(format!("that is no request: {error}")),
            },
        }
    }

    /// Receives the message that is there. `None` if too many descriptors came with it.
    fn receive_into(&self, bytes: &mut [u8]) -> Result<Option<Vec<OwnedFd>>, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = recvmsg(&self.socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
        let mut descriptors = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                descriptors.extend(rights);
            }
        }
        Ok((!message.flags.contains(ReturnFlags::CTRUNC)).then_some(descriptors))
    }

    /// Sends an answer, and a descriptor with it if one is given.
    ///
    /// # Errors
    /// If the other side has gone or has left so much unread that there is no room.
    pub(crate) fn send(
        &self,
        reply: &Reply,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), SendError> {
        let mut text = serde_json::to_vec(reply).expect("replies are plain data");
        if text.len() > LONGEST {
            let refused = Reply::Refused(format!("the answer has more than {LONGEST} bytes"));
            text = serde_json::to_vec(&refused).expect("replies are plain data");
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptor.into_iter().collect();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.socket, &[IoSlice::new(&text)], &mut control, flags)?;
        Ok(())
    }
}
