//! A TCP connection, made without ever waiting longer than its deadline.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use netarium_core::outcome::{Outcome, Reached};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::deadline::{Deadline, Waited};
use super::refusal;
use super::target::Target;
use super::token::Token;

/// Tries it.
pub(super) fn run(tcp: &Target) -> Outcome {
    let deadline = Deadline::new(tcp.timeout);
    match open(tcp.to, tcp.token, &deadline) {
        Ok(_) => Outcome::Reached(Reached { millis: deadline.millis(), response: None }),
        Err(outcome) => outcome,
    }
}

/// Opens a connection that never blocks and bears a mark, if it is to, or says what became of it.
///
/// # Errors
/// The outcome, if it is not reached.
pub(crate) fn open(
    to: SocketAddr,
    token: Option<Token>,
    deadline: &Deadline,
) -> Result<OwnedFd, Outcome> {
    let impossible = |errno: Errno| Outcome::Impossible(format!("cannot connect to {to}: {errno}"));
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(impossible)?;
    // Without it an ICMP error still ends the attempt; only its sender is not known then.
    refusal::keep_errors(&socket, to.ip()).ok();
    let marked = token.map_or(Ok(()), |token| token.mark(&socket));
    marked.map_err(|error| Outcome::Impossible(format!("cannot mark the connection: {error}")))?;
    let refused = |errno: Errno| {
        refusal::from_queue(&socket)
            .or_else(|| refusal::from_errno(errno, to.ip()))
            .unwrap_or_else(|| impossible(errno))
    };
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(refused(errno)),
    }
    match deadline.wait(&socket, PollFlags::OUT) {
        Waited::TooLong => return Err(deadline.silent()),
        Waited::Ready => {}
    }
    match sockopt::socket_error(&socket) {
        Ok(Ok(())) => Ok(socket),
        // The kernel's own deadline was sooner.
        Ok(Err(Errno::TIMEDOUT)) => Err(deadline.silent()),
        Ok(Err(errno)) | Err(errno) => Err(refused(errno)),
    }
}
