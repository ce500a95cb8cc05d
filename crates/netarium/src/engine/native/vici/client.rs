//! One conversation with a daemon over VICI: requests, their answers, and events between them.
//!
//! The protocol is that of strongSwan's `src/libcharon/plugins/vici/README.md`. A crate for it
//! exists (`rsvici`); it spins on a daemon that went away and can lose its place in the stream, so
//! that these lines are ours.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netarium_core::ipsec::{MessageError, Section, VICI_SOCKET, values_message};
use netarium_core::name::Name;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::TunnelError;

/// How long a daemon may take to answer what it can answer at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest packet that VICI allows, in bytes.
const LONGEST: usize = 512 * 1024;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const UNKNOWN_REQUEST: u8 = 2;
const REGISTER: u8 = 3;
const UNREGISTER: u8 = 4;
const CONFIRMED: u8 = 5;
const UNKNOWN_EVENT: u8 = 6;
const EVENT: u8 = 7;

/// A connection to a daemon.
pub(super) struct Client {
    node: PathBuf,
    stream: UnixStream,
    /// What has arrived and is not a whole packet yet.
    arrived: Vec<u8>,
}

/// What a daemon has sent.
enum Packet {
    Response(Section),
    Event(String, Section),
    Confirmed,
    Unknown,
}

/// A message that may hold a private key.
pub(super) type Message = Result<Vec<u8>, MessageError>;

impl Client {
    /// Connects to the daemon of `node`.
    pub(super) async fn connect(node: &Path) -> Result<Self, TunnelError> {
        let connecting = timeout(PATIENCE, connect(node));
        let stream = match connecting.await {
            Ok(connected) => connected,
            Err(elapsed) => Err(elapsed.into()),
        };
        let failed = |source| TunnelError::Connect { node: node.to_owned(), source };
        Ok(Self { node: node.to_owned(), stream: stream.map_err(failed)?, arrived: Vec::new() })
    }

    /// Asks for something that the daemon does or refuses.
    pub(super) async fn ask(
        &mut self,
        command: &str,
        message: Message,
    ) -> Result<Section, TunnelError> {
        let mut ignore = drop;
        let answering = timeout(PATIENCE, self.call(command, message, "", &mut ignore));
        let answer = match answering.await {
            Ok(answer) => answer?,
            Err(_) => return Err(self.silent(command)),
        };
        self.granted(command, answer)
    }

    /// Asks for something that comes as events, and gives each to `each`.
    pub(super) async fn stream(
        &mut self,
        command: &str,
        event: &str,
        message: Message,
        each: &mut (dyn FnMut(Section) + Send),
    ) -> Result<Section, TunnelError> {
        self.listen(event).await?;
        let answering = timeout(PATIENCE, self.call(command, message, event, each));
        let answer = match answering.await {
            Ok(answer) => answer?,
            Err(_) => return Err(self.silent(command)),
        };
        self.register(UNREGISTER, event).await?;
        self.granted(command, answer)
    }

    /// Asks, and gives each event called `wanted` on the way to `each`. There is no limit of time.
    pub(super) async fn call(
        &mut self,
        command: &str,
        message: Message,
        wanted: &str,
        each: &mut (dyn FnMut(Section) + Send),
    ) -> Result<Section, TunnelError> {
        let message = message.map_err(|source| self.garbled(command, source))?;
        self.send(REQUEST, command, Zeroizing::new(message)).await?;
        loop {
            match self.receive(command).await? {
                Packet::Response(answer) => return Ok(answer),
                Packet::Event(name, event) if name == wanted => each(event),
                Packet::Event(..) => {}
                Packet::Confirmed | Packet::Unknown => return Err(self.unknown(command)),
            }
        }
    }

    /// Has events called `event` sent from now on.
    pub(super) async fn listen(&mut self, event: &str) -> Result<(), TunnelError> {
        self.register(REGISTER, event).await
    }

    /// The next event. Nothing is lost if this is dropped while it waits.
    pub(super) async fn event(&mut self, event: &str) -> Result<Section, TunnelError> {
        match self.receive(event).await? {
            Packet::Event(_, section) => Ok(section),
            _ => Err(self.unknown(event)),
        }
    }

    /// Closes a tunnel, open or half open.
    pub(super) async fn terminate(&mut self, tunnel: &Name) -> Result<(), TunnelError> {
        // By force: the other end has half a second to agree, then it is not asked any more.
        let message = [("ike", tunnel.as_str()), ("force", "yes"), ("timeout", "500")];
        match self.ask("terminate", values_message(&message)).await {
            // That is what it answers if there is nothing to close, too.
            Ok(_) | Err(TunnelError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn register(&mut self, kind: u8, event: &str) -> Result<(), TunnelError> {
        let registering = async {
            self.send(kind, event, Zeroizing::default()).await?;
            loop {
                match self.receive(event).await? {
                    Packet::Confirmed => return Ok(()),
                    // It was on its way already.
                    Packet::Event(..) => {}
                    _ => return Err(self.unknown(event)),
                }
            }
        };
        match timeout(PATIENCE, registering).await {
            Ok(registered) => registered,
            Err(_) => Err(self.silent(event)),
        }
    }

    async fn send(
        &mut self,
        kind: u8,
        name: &str,
        message: Zeroizing<Vec<u8>>,
    ) -> Result<(), TunnelError> {
        let name_length = u8::try_from(name.len()).expect("commands and events are short words");
        let length = 2 + name.len() + message.len();
        let mut packet = Zeroizing::new(Vec::with_capacity(4 + length));
        packet.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        packet.extend([kind, name_length]);
        packet.extend(name.as_bytes());
        packet.extend(message.iter());
        self.stream.write_all(&packet).await.map_err(|source| self.broken(name, source))
    }

    /// The next packet. What has arrived of it is kept if this is dropped while it waits.
    async fn receive(&mut self, command: &str) -> Result<Packet, TunnelError> {
        loop {
            if let Some(packet) = whole_packet(&mut self.arrived) {
                let packet = packet.map_err(|source| self.broken(command, source))?;
                return parse(&packet).map_err(|source| self.garbled(command, source));
            }
            match self.stream.read_buf(&mut self.arrived).await {
                Ok(0) => return Err(self.broken(command, ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(source) => return Err(self.broken(command, source)),
            }
        }
    }

    /// The answer, unless it says that the command failed.
    fn granted(&self, command: &str, answer: Section) -> Result<Section, TunnelError> {
        if answer.get("success") == Some("no") {
            let reason = answer.get("errmsg").unwrap_or("it gives no reason").to_owned();
            return Err(self.refused(command, reason));
        }
        Ok(answer)
    }

    fn unknown(&self, command: &str) -> TunnelError {
        self.refused(command, "it does not know that".to_owned())
    }

    fn refused(&self, command: &str, reason: String) -> TunnelError {
        TunnelError::Refused { node: self.node.clone(), command: command.to_owned(), reason }
    }

    fn broken(&self, command: &str, source: io::Error) -> TunnelError {
        TunnelError::Broken { node: self.node.clone(), command: command.to_owned(), source }
    }

    fn garbled(&self, command: &str, source: MessageError) -> TunnelError {
        TunnelError::Garbled { node: self.node.clone(), command: command.to_owned(), source }
    }

    fn silent(&self, command: &str) -> TunnelError {
        TunnelError::Silent { node: self.node.clone(), command: command.to_owned() }
    }
}

/// Connects to the socket inside `node`. The path is resolved as if `node` were the root: a
/// symbolic link that a process of the node has put there cannot lead to a socket of the host, to
/// which we would send a private key.
async fn connect(node: &Path) -> io::Result<UnixStream> {
    let place = OFlags::PATH | OFlags::CLOEXEC;
    let root = openat(CWD, node, place | OFlags::DIRECTORY, Mode::empty())?;
    let socket = openat2(&root, VICI_SOCKET, place, Mode::empty(), ResolveFlags::IN_ROOT)?;
    UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
}

/// Takes a packet off the beginning of `arrived`, if it is all there.
fn whole_packet(arrived: &mut Vec<u8>) -> Option<io::Result<Vec<u8>>> {
    let (length, rest) = arrived.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Some(Err(ErrorKind::InvalidData.into()));
    }
    let packet = rest.get(..length)?.to_vec();
    arrived.drain(..4 + length);
    Some(Ok(packet))
}

fn parse(packet: &[u8]) -> Result<Packet, MessageError> {
    let (kind, rest) = packet.split_first().ok_or(MessageError::Short)?;
    match *kind {
        RESPONSE => Section::from_message(rest).map(Packet::Response),
        CONFIRMED => Ok(Packet::Confirmed),
        UNKNOWN_REQUEST | UNKNOWN_EVENT => Ok(Packet::Unknown),
        EVENT => {
            let (length, rest) = rest.split_first().ok_or(MessageError::Short)?;
            let (name, message) =
                rest.split_at_checked(usize::from(*length)).ok_or(MessageError::Short)?;
            let name = String::from_utf8_lossy(name).into_owned();
            Section::from_message(message).map(|section| Packet::Event(name, section))
        }
        other => Err(MessageError::Misplaced(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_taken_only_when_it_is_all_there() {
        let mut arrived = Vec::new();
        for byte in [0, 0, 0, 2, 5, 9] {
            assert!(whole_packet(&mut arrived).is_none());
            arrived.push(byte);
        }
        arrived.push(0);
        assert_eq!(whole_packet(&mut arrived).unwrap().unwrap(), [5, 9]);
        assert_eq!(arrived, [0]);
    }

    #[test]
    fn a_packet_longer_than_the_protocol_allows_is_refused() {
        assert!(whole_packet(&mut vec![255; 4]).unwrap().is_err());
    }

    #[test]
    fn a_packet_that_ends_too_early_is_refused() {
        assert!(parse(&[]).is_err());
        assert!(parse(&[EVENT, 3, b'l']).is_err());
        assert!(parse(&[42]).is_err());
    }
}
