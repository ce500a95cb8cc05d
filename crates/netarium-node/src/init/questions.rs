//! The question whether a service is ready, asked without ever waiting for the answer.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use netarium_core::model::Readiness;
use netarium_core::name::Name;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};

use super::services::Answer;

/// The connections that are being tried.
#[derive(Default)]
pub(crate) struct Questions {
    pending: BTreeMap<Name, Vec<(SocketAddr, OwnedFd)>>,
}

impl Questions {
    /// Asks once whether a service is ready. A TCP connection that is neither made nor refused is
    /// kept, so that a slow answer to it counts the next time.
    pub(crate) fn ask(&mut self, name: &Name, ready: &Readiness) -> Answer {
        let ready = match ready {
            // These are not found out by asking.
            Readiness::Started | Readiness::Done | Readiness::Command(_) => false,
            Readiness::File(path) => rustix::fs::stat(path.as_str()).is_ok(),
            Readiness::Unix(path) => accepts_unix(path),
            Readiness::Tcp(port) => self.accepts_tcp(name, *port),
        };
        if ready {
            self.forget(name);
            Answer::Ready
        } else {
            Answer::NotYet
        }
    }

    /// Drops the connections tried for a service.
    pub(crate) fn forget(&mut self, name: &Name) {
        self.pending.remove(name);
    }

    fn accepts_tcp(&mut self, name: &Name, port: u16) -> bool {
        let mut pending = self.pending.remove(name).unwrap_or_default();
        pending.retain(|(address, _)| address.port() == port);
        let loopback: [SocketAddr; 2] =
            [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
        for address in loopback {
            if !pending.iter().any(|(other, _)| *other == address)
                && let Ok(socket) = begin(address)
            {
                pending.push((address, socket));
            }
        }
        let mut accepted = false;
        pending.retain(|(_, socket)| match progress(socket) {
            Progress::Open => true,
            Progress::Accepted => {
                accepted = true;
                false
            }
            Progress::Refused => false,
        });
        if !accepted && !pending.is_empty() {
            self.pending.insert(name.clone(), pending);
        }
        accepted
    }
}

enum Progress {
    Open,
    Accepted,
    Refused,
}

fn begin(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn progress(socket: &OwnedFd) -> Progress {
    let mut watched = [PollFd::new(socket, PollFlags::OUT)];
    match poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(0) | Err(_) => Progress::Open,
        Ok(_) if matches!(sockopt::socket_error(socket), Ok(Ok(()))) => Progress::Accepted,
        Ok(_) => Progress::Refused,
    }
}

fn accepts_unix(path: &str) -> bool {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let Ok(address) = SocketAddrUnix::new(path) else { return false };
    // A server may listen with packets in place of a stream; the kernel then says EPROTOTYPE.
    [SocketType::STREAM, SocketType::SEQPACKET].into_iter().any(|kind| {
        socket_with(AddressFamily::UNIX, kind, flags, None)
            .is_ok_and(|socket| connect(&socket, &address).is_ok())
    })
}
