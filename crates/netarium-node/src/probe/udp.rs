//! A UDP datagram, sent again and again until something comes back.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use netarium_core::outcome::{Outcome, Reached, Reason};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

use super::deadline::{Deadline, Waited};
use super::refusal;
use super::target::Target;
use super::token::Token;

/// How long between two datagrams.
const INTERVAL: Duration = Duration::from_millis(200);

/// Asks. Whatever comes back is an answer.
pub(super) fn run(udp: &Target) -> Outcome {
    let deadline = Deadline::new(udp.timeout);
    exchange(udp, &deadline).unwrap_or_else(|outcome| outcome)
}

fn exchange(udp: &Target, deadline: &Deadline) -> Result<Outcome, Outcome> {
    let impossible = |errno: Errno| Outcome::Impossible(format!("cannot ask {}: {errno}", udp.to));
    let token = udp.token.map_or_else(Token::random, Ok).map_err(impossible)?;
    let socket = open(udp.to).map_err(|errno| failed(errno, None, udp.to))?;
    let mut filtered = false;
    let mut next = Duration::ZERO;
    while next < udp.timeout {
        match send(&socket, token.line().as_bytes(), SendFlags::empty()) {
            // A full queue loses this one, as any router on the way may.
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => {}
            // If a rule of its own firewall refuses it, that is still to be heard.
            Err(Errno::PERM) => filtered = true,
            Err(errno) => return Err(failed(errno, Some(&socket), udp.to)),
        }
        next += INTERVAL;
        while deadline.wait_until(&socket, PollFlags::IN, next) == Waited::Ready {
            let mut bytes = [0; 2048];
            match recv(&socket, &mut bytes[..], RecvFlags::empty()) {
                Ok(_) => {
                    let millis = deadline.millis();
                    return Ok(Outcome::Reached(Reached { millis, response: None }));
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(failed(errno, Some(&socket), udp.to)),
            }
        }
    }
    Err(if filtered { refusal::filtered() } else { deadline.silent() })
}

fn open(to: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    // Without it an ICMP error is heard all the same; only its sender is not known then.
    refusal::keep_errors(&socket, to.ip()).ok();
    connect(&socket, &to)?;
    Ok(socket)
}

/// What an error says about the way. Only ICMP brings one about another node.
fn failed(errno: Errno, socket: Option<&OwnedFd>, to: SocketAddr) -> Outcome {
    let told = socket.and_then(refusal::from_queue);
    let known = told.or_else(|| match errno {
        Errno::CONNREFUSED => {
            let (by, reason) = (Some(to.ip()), Reason::PortUnreachable);
            Some(Outcome::Refused { by, reason, icmp: None })
        }
        errno => refusal::from_errno(errno, to.ip()),
    });
    known.unwrap_or_else(|| Outcome::Impossible(format!("cannot ask {to}: {errno}")))
}
