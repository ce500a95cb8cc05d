//! Sockets that keep messages apart and can pass descriptors (unix(7), `SOCK_SEQPACKET`).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most descriptors that come with one message.
const MOST_FDS: usize = 3;

/// Opens a listening socket at `path`, readable and writable by its owner.
///
/// # Errors
/// If something is there already, or the folder cannot be written.
pub(crate) fn listen(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket(SocketFlags::CLOEXEC)?;
    let near = Near::open(path)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(near.path())?)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

/// Connects to the socket at `path`.
///
/// # Errors
/// If nobody listens there.
pub(crate) fn connect(path: &Path) -> io::Result<OwnedFd> {
    connect_with(path, SocketFlags::CLOEXEC)
}

fn connect_with(path: &Path, flags: SocketFlags) -> io::Result<OwnedFd> {
    let socket = socket(flags)?;
    let near = Near::open(path)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(near.path())?)?;
    Ok(socket)
}

/// Sends one message, with descriptors.
///
/// # Errors
/// If the other end is closed.
pub(crate) fn send(socket: &OwnedFd, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    rustix::io::retry_on_intr(|| {
        let parts = [IoSlice::new(message)];
        rustix::net::sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Receives one message of at most `longest` bytes, with descriptors. An empty message means that
/// the other end was closed.
///
/// # Errors
/// If the socket fails, or the message is longer.
pub(crate) fn receive(socket: &OwnedFd, longest: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; longest];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    if received.flags.contains(rustix::net::ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    bytes.truncate(received.bytes);
    Ok((bytes, fds))
}

/// Waits until there is something to receive, or the other end was closed; `false` if the time is
/// over before.
///
/// # Errors
/// If the socket cannot be waited for.
pub(crate) fn wait(socket: &OwnedFd, longest: Duration) -> io::Result<bool> {
    let deadline = std::time::Instant::now() + longest;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The process at the other end of a connected socket: the one that began to listen there. `None` if
/// the caller's process namespace does not have it.
///
/// # Errors
/// If the socket is not connected.
#[expect(unsafe_code, reason = "rustix takes it for granted that the number is not zero")]
pub(crate) fn peer(socket: &OwnedFd) -> io::Result<Option<u32>> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of_val(&found)).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of what is written to.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(found.pid).ok().filter(|pid| *pid > 0))
}

fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// A connected socket that never blocks a thread.
#[derive(Debug)]
pub(crate) struct AsyncSocket(AsyncFd<OwnedFd>);

impl AsyncSocket {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// If nobody listens there; `WouldBlock` if too many wait there to be accepted.
    #[expect(unsafe_code, reason = "tokio wants a word that nobody else closes the descriptor")]
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let socket = connect_with(path, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        // SAFETY: an OwnedFd is the same open descriptor for as long as it lives, and nothing
        // replaces this one.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    /// Sends one message, with descriptors.
    ///
    /// # Errors
    /// If the other end is closed.
    pub(crate) async fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, |socket| send(socket, message, fds)).await
    }

    /// Receives one message of at most `longest` bytes. An empty message means that the other end
    /// was closed.
    ///
    /// # Errors
    /// If the socket fails, or the message is longer.
    pub(crate) async fn receive(&self, longest: usize) -> io::Result<Vec<u8>> {
        let received = self.0.async_io(Interest::READABLE, |socket| receive(socket, longest));
        received.await.map(|(message, _)| message)
    }
}

/// A path that fits into a socket address, which has room for 107 bytes: the folder is named by a
/// descriptor.
struct Near {
    folder: File,
    name: OsString,
}

impl Near {
    fn open(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok(Self { folder: File::open(folder)?, name })
    }

    fn path(&self) -> PathBuf {
        let folder = self.folder.as_fd().as_raw_fd();
        Path::new("/proc/self/fd").join(folder.to_string()).join(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_apart_and_bring_descriptors_even_under_a_long_path() {
        let base = std::env::temp_dir().join(format!("netarium-packet-{}", std::process::id()));
        let folder = base.join("a".repeat(120));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let listening = listen(&path).unwrap();
        let client = connect(&path).unwrap();
        let server = rustix::net::accept(&listening).unwrap();
        send(&client, b"one", &[client.as_fd()]).unwrap();
        send(&client, b"two", &[]).unwrap();
        let (message, fds) = receive(&server, 16).unwrap();
        assert_eq!((message.as_slice(), fds.len()), (&b"one"[..], 1));
        assert_eq!(receive(&server, 16).unwrap().0, b"two");
        assert!(!wait(&server, Duration::ZERO).unwrap());
        std::fs::remove_dir_all(&base).unwrap();
    }
}
