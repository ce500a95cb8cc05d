//! WireGuard interfaces of nodes: their devices, what they are told, and what they say of themselves.
//!
//! In the kernel they are asked over netlink, in user space over the socket of wg(8) in the node,
//! where nobody is trusted. Nothing here chooses.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use netarium_core::name::InterfaceName;
use netarium_core::object::{Encryption, TunnelInterface, WireguardConf};
use netarium_core::wireguard::{Conf, Seen, socket_path};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use super::node::RunningNode;
use crate::linux::netlink::{Kind, NetlinkError, NewLink, wireguard};
use crate::linux::tun;
use crate::pki::{self, PkiError};

/// How long a program may take to answer what it can answer at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest answer that is read, in bytes: an interface here has one peer.
const LONGEST: u64 = 256 * 1024;

/// Why an interface does not do or say what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireguardError {
    /// The node's network cannot be entered.
    #[error("cannot enter the network of the node")]
    Enter(#[source] io::Error),
    /// The kernel refuses.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// There is no device for the program.
    #[error("cannot make a TUN device")]
    Tun(#[source] io::Error),
    /// The program does not answer.
    #[error("netarium-wireguard does not answer")]
    Ask(#[source] io::Error),
    /// The program's answer is none.
    #[error("netarium-wireguard cannot be understood")]
    Garbled,
}

/// What an interface is to be told, with its keys, which lie below `pki`.
///
/// # Errors
/// If a key cannot be read.
pub(crate) fn conf(it: &WireguardConf, pki: &Path) -> Result<Conf, PkiError> {
    Ok(Conf {
        private: pki::wireguard::private(pki, &it.node)?,
        port: it.port,
        peer: pki::wireguard::public(pki, &it.peer)?,
        preshared: it.shared.as_ref().map(|it| pki::wireguard::shared(pki, it)).transpose()?,
        endpoint: it.endpoint,
        carry: it.carry.clone(),
        keepalive: it.keepalive,
    })
}

/// Makes the interface in its node and sets it up.
///
/// # Errors
/// If there is one with its name, or the kernel has no such interfaces.
pub(crate) fn create(node: &mut RunningNode, it: &TunnelInterface) -> Result<(), WireguardError> {
    let link = NewLink { mtu: Some(it.mtu), ..NewLink::named(it.name.as_str()) };
    match it.encryption {
        Encryption::Kernel => Ok(node.netlink().add_link(&link, Kind::Wireguard)?),
        Encryption::Userspace => {
            let name = it.name.as_str();
            let made = node.namespace.enter(|| tun::make(name)).map_err(WireguardError::Enter)?;
            made.map_err(WireguardError::Tun)?;
            let index = node.netlink().index(name)?;
            Ok(node.netlink().move_link(index, &link)?)
        }
    }
}

/// Tells an interface of the kernel what it needs to know.
///
/// # Errors
/// If it is not there, or its port is taken.
pub(crate) fn set(
    node: &RunningNode,
    name: &InterfaceName,
    conf: &Conf,
) -> Result<(), WireguardError> {
    let set = node.namespace.enter(|| wireguard::set(name.as_str(), conf));
    Ok(set.map_err(WireguardError::Enter)??)
}

/// Asks an interface.
///
/// # Errors
/// If it is not there, or nobody answers for it.
pub(crate) fn look(
    node: &RunningNode,
    name: &InterfaceName,
    encryption: Encryption,
) -> Result<Seen, WireguardError> {
    match encryption {
        Encryption::Kernel => {
            let seen = node.namespace.enter(|| wireguard::look(name.as_str()));
            Ok(seen.map_err(WireguardError::Enter)??)
        }
        Encryption::Userspace => {
            let answer = ask(&node.root_path(), name).map_err(WireguardError::Ask)?;
            Seen::parse(&answer).ok_or(WireguardError::Garbled)
        }
    }
}

/// The time, as handshakes are told.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Asks the program in a node for all that it has to say of an interface.
fn ask(root: &Path, name: &InterfaceName) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = connect(root, &socket_path(name))?;
    stream.write_all(b"get=1\n\n")?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    let mut bounded = stream.take(LONGEST);
    while !answer.ends_with(b"\n\n") {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match bounded.read(&mut part)? {
            0 => break,
            length => answer.extend_from_slice(&part[..length]),
        }
    }
    String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Connects to a socket in a node. The path is resolved as if the node's root folder were the only
/// one, and who listens there cannot hold us up.
fn connect(root: &Path, path: &str) -> io::Result<UnixStream> {
    let place = OFlags::PATH | OFlags::CLOEXEC;
    let root = openat(CWD, root, place | OFlags::DIRECTORY, Mode::empty())?;
    let socket = openat2(&root, path, place, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    for direction in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&stream, direction, Some(PATIENCE))?;
    }
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
    rustix::net::connect(&stream, &address)?;
    Ok(stream.into())
}
