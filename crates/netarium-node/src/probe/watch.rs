//! Looks for a marked request among all that a node receives, and tells where it comes from.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use netarium_core::outcome::{Arrival, Listening};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use super::arguments::{Arguments, UsageError};
use super::capture::{Frames, bind, enlarge, keep, until_input_ends};
use super::print;
use super::token::Token;

/// The most source addresses that are told: each is a line.
const MOST: usize = 16;

/// Reads the arguments.
///
/// # Errors
/// If they are wrong.
pub(crate) fn token(arguments: &mut Arguments) -> Result<Token, UsageError> {
    let token = arguments.token()?;
    arguments.end()?;
    token.ok_or_else(|| UsageError::Missing("--token with a value: token".to_owned()))
}

/// Watches until standard input ends.
pub(crate) fn run(token: Token) -> ExitCode {
    let watched = listen().and_then(|socket| {
        print(&Listening { ready: true });
        watch(&socket, token)
    });
    match watched {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netarium-probe: cannot watch what arrives: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A socket that gets the beginning of every packet that any interface receives. Interfaces differ
/// in what they put before a packet; this kind of socket leaves that away (packet(7)).
fn listen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
    enlarge(&socket)?;
    keep(&socket, Frames::Arrived)?;
    bind(&socket, 0)?;
    Ok(socket)
}

fn watch(socket: &OwnedFd, token: Token) -> io::Result<()> {
    let mut told = BTreeSet::new();
    until_input_ends(socket, || take_all(socket, token, &mut told))
}

fn take_all(socket: &OwnedFd, token: Token, told: &mut BTreeSet<Arrival>) -> io::Result<()> {
    let mut packet = [0; 256];
    // No more than the buffer can hold at a time, so that the end is heard in a busy node.
    for _ in 0..100_000 {
        match recv(socket, &mut packet[..], RecvFlags::empty()) {
            Ok((length, _)) => {
                let seen = arrival(packet.get(..length).unwrap_or(&packet), token);
                if let Some(seen) = seen.filter(|_| told.len() < MOST)
                    && told.insert(seen)
                {
                    print(&seen);
                }
            }
            Err(Errno::AGAIN) => return Ok(()),
            // An interface that went down says so once.
            Err(Errno::INTR | Errno::NETDOWN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The ends of a packet, if it is a request with this mark.
fn arrival(packet: &[u8], token: Token) -> Option<Arrival> {
    let (protocol, arrival, payload) = match packet.first()? >> 4 {
        4 => {
            let source = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
            let to = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?);
            let arrival = Arrival { source: source.into(), to: to.into() };
            (*packet.get(9)?, arrival, packet.get(usize::from(packet[0] & 0x0f) * 4..)?)
        }
        6 => {
            let address = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from);
            let source: IpAddr = address(packet.get(8..24)?)?.into();
            let to = address(packet.get(24..40)?)?.into();
            (*packet.get(6)?, Arrival { source, to }, packet.get(40..)?)
        }
        _ => return None,
    };
    let is_marked = match i32::from(protocol) {
        libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 => {
            matches!(payload.first(), Some(8 | 128)) && payload.get(8..16)? == token.bytes()
        }
        libc::IPPROTO_TCP => {
            // A request for a connection, and no answer to one.
            payload.get(13)? & 0x12 == 2 && payload.get(4..8)? == token.sequence().to_be_bytes()
        }
        libc::IPPROTO_UDP => payload.get(8..)?.starts_with(token.line().as_bytes()),
        _ => false,
    };
    is_marked.then_some(arrival)
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    const A: [u8; 4] = [10, 0, 0, 1];
    const B: [u8; 4] = [10, 0, 0, 2];

    fn token() -> Token {
        "0102030405060708".parse().unwrap()
    }

    fn seen(packet: &[u8]) -> Option<Arrival> {
        arrival(packet, token())
    }

    #[test]
    fn a_marked_request_is_known_by_any_protocol() {
        let ends = Some(Arrival { source: A.into(), to: B.into() });
        let mut packet = Vec::new();
        let mark = token().line();
        PacketBuilder::ipv4(A, B, 64).udp(7, 53).write(&mut packet, mark.as_bytes()).unwrap();
        assert_eq!(seen(&packet), ends);
        assert_eq!(arrival(&packet, "1102030405060708".parse().unwrap()), None);
        let tcp = |number| PacketBuilder::ipv4(A, B, 64).tcp(7, 80, number, 1000);
        let mut packet = Vec::new();
        tcp(token().sequence()).syn().write(&mut packet, &[]).unwrap();
        assert_eq!(seen(&packet), ends);
        for length in 0..packet.len() - 6 {
            assert_eq!(seen(&packet[..length]), None);
        }
        for (number, acknowledged) in [(token().sequence() + 2, false), (token().sequence(), true)]
        {
            let mut packet = Vec::new();
            let step = tcp(number).syn();
            let step = if acknowledged { step.ack(1) } else { step };
            step.write(&mut packet, &[]).unwrap();
            assert_eq!(seen(&packet), None);
        }
        let mut packet = Vec::new();
        PacketBuilder::ipv4(A, B, 64)
            .icmpv4_echo_request(1, 2)
            .write(&mut packet, &token().bytes())
            .unwrap();
        assert_eq!(seen(&packet), ends);
    }

    #[test]
    fn a_marked_request_is_known_in_ipv6() {
        let [a, b] = [1, 2].map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
        let mut packet = Vec::new();
        PacketBuilder::ipv6(a.octets(), b.octets(), 64)
            .icmpv6_echo_request(1, 2)
            .write(&mut packet, &token().bytes())
            .unwrap();
        assert_eq!(seen(&packet), Some(Arrival { source: a.into(), to: b.into() }));
    }
}
