//! Where the first process gets its descriptors, and whether its node is wired yet.
//!
//! Netarium's own engine starts it in a node that is wired, with both descriptors open. Another engine
//! can do neither: there it makes its control socket in a folder that it shares with whoever wires the
//! node, and waits for a word.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use netarium_core::control::{CONTROL_FD, GATE_PATH, LOGS_FD, LOGS_PATH};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

use crate::kernel;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 64;

/// Whether services and programs may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// They may.
    Open,
    /// The node is not wired yet.
    Closed,
}

/// What the first process works with.
pub(crate) struct Given {
    /// Its control socket, which listens.
    pub listener: OwnedFd,
    /// The folder of the services' logs.
    pub logs: OwnedFd,
}

impl Gate {
    /// What there is for a first process that begins here.
    ///
    /// # Errors
    /// If it was started without its descriptors, or the folders for them are not there.
    pub(crate) fn given(self) -> io::Result<Given> {
        match self {
            Self::Open => {
                let listener = kernel::inherited(CONTROL_FD)?;
                let logs = kernel::inherited(LOGS_FD)?;
                kernel::close_from(5);
                Ok(Given { listener, logs })
            }
            Self::Closed => {
                kernel::close_from(3);
                let logs = File::open(LOGS_PATH)?.into();
                Ok(Given { listener: socket()?, logs })
            }
        }
    }
}

/// Makes the control socket. One that the last first process of this node has left goes.
fn socket() -> io::Result<OwnedFd> {
    match rustix::fs::unlink(GATE_PATH) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let kind = SocketType::SEQPACKET;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new(GATE_PATH)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}
