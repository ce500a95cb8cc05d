//! ICMP echo (RFC 792, RFC 4443): asks until the first answer, whatever it says.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use netarium_core::outcome::{Icmp, Outcome, Reached, Reason};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recvfrom, sendto,
    socket_with,
};
use rustix::rand::{GetRandomFlags, getrandom};

use super::arguments::{Arguments, UsageError};
use super::deadline::{Deadline, Waited};
use super::refusal;
use super::token::Token;

/// What is asked, and how often.
pub(crate) struct Ping {
    to: IpAddr,
    count: u16,
    interval: Duration,
    token: Option<Token>,
    timeout: Duration,
}

impl Ping {
    /// Reads the arguments.
    ///
    /// # Errors
    /// If they are wrong.
    pub(crate) fn from_arguments(arguments: &mut Arguments) -> Result<Self, UsageError> {
        let to = arguments.next_value("address")?;
        let count: u16 = arguments.option_or("count", 3, "number of requests")?;
        let millis: u32 = arguments.option_or("interval-ms", 200, "number of milliseconds")?;
        let token = arguments.token()?;
        let timeout = arguments.timeout()?;
        arguments.end()?;
        let interval = Duration::from_millis(millis.max(1).into());
        Ok(Self { to, count: count.max(1), interval, token, timeout })
    }
}

/// Asks.
pub(crate) fn run(ping: &Ping) -> Outcome {
    let socket = match open(ping.to) {
        Ok(socket) => socket,
        Err(errno) => {
            return Outcome::Impossible(format!("cannot open a raw ICMP socket: {errno}"));
        }
    };
    let Some(token) = token(ping.token) else {
        return Outcome::Impossible("cannot get a random number".to_owned());
    };
    let deadline = Deadline::new(ping.timeout);
    Exchange { ping, socket, token, sent: Vec::new(), filtered: false, deadline }.run()
}

/// An identifier, and the mark.
fn token(mark: Option<Token>) -> Option<[u8; 10]> {
    let mut token = [0; 10];
    getrandom(&mut token[..], GetRandomFlags::empty()).ok()?;
    if let Some(mark) = mark {
        token[2..].copy_from_slice(&mark.bytes());
    }
    Some(token)
}

fn open(to: IpAddr) -> Result<OwnedFd, Errno> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(family, SocketType::RAW, flags, Some(protocol))
}

struct Exchange<'a> {
    ping: &'a Ping,
    socket: OwnedFd,
    /// An identifier and eight more bytes, so that nobody else's answer is taken for ours.
    token: [u8; 10],
    /// When each request was sent.
    sent: Vec<Duration>,
    /// Whether the node's own firewall drops the requests.
    filtered: bool,
    deadline: Deadline,
}

impl Exchange<'_> {
    fn run(mut self) -> Outcome {
        loop {
            let asked = u32::try_from(self.sent.len()).expect("there are at most 65535 requests");
            let next = if self.sent.len() < usize::from(self.ping.count) {
                self.ping.interval.saturating_mul(asked)
            } else {
                self.ping.timeout
            };
            if next <= self.deadline.elapsed() && next < self.ping.timeout {
                if let Some(outcome) = self.ask() {
                    return outcome;
                }
                continue;
            }
            match self.deadline.wait_until(&self.socket, PollFlags::IN, next) {
                Waited::Ready => {
                    if let Some(outcome) = self.hear() {
                        return outcome;
                    }
                }
                Waited::TooLong if next >= self.ping.timeout => {
                    return if self.filtered {
                        refusal::filtered()
                    } else {
                        self.deadline.silent()
                    };
                }
                Waited::TooLong => {}
            }
        }
    }

    /// Sends the next request. Whatever comes of it at once is the outcome.
    fn ask(&mut self) -> Option<Outcome> {
        let sequence = u16::try_from(self.sent.len()).expect("there are at most 65535 requests");
        self.sent.push(self.deadline.elapsed());
        let request = request(self.ping.to, self.token, sequence);
        let to = SocketAddr::from((self.ping.to, 0));
        match sendto(&self.socket, &request, SendFlags::empty(), &to) {
            // A full queue loses this request, as any router on the way may.
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => None,
            // If a rule of its own firewall refuses it, that is still to be heard.
            Err(Errno::PERM) => {
                self.filtered = true;
                None
            }
            Err(errno) => Some(refusal::from_errno(errno, self.ping.to).unwrap_or_else(|| {
                Outcome::Impossible(format!("cannot send to {}: {errno}", self.ping.to))
            })),
        }
    }

    /// Takes one packet, which may be anybody's.
    fn hear(&self) -> Option<Outcome> {
        let mut packet = [0; 2048];
        let (length, _, from) = recvfrom(&self.socket, &mut packet[..], RecvFlags::empty()).ok()?;
        let by = from.and_then(|from| SocketAddr::try_from(from).ok()).map(|from| from.ip());
        match meaning(packet.get(..length)?, self.ping.to, self.token)? {
            Meaning::Answer { sequence } if by == Some(self.ping.to) => {
                let sent = self.sent.get(usize::from(sequence))?;
                let millis = self.deadline.millis() - sent.as_secs_f64() * 1000.0;
                let millis = (millis * 1000.0).round() / 1000.0;
                Some(Outcome::Reached(Reached { millis, response: None }))
            }
            Meaning::Answer { .. } => None,
            Meaning::Refusal(reason, icmp) => Some(refusal::by_icmp(by, reason, icmp)),
        }
    }
}

/// An echo request. The kernel fills in the checksum of ICMPv6, which covers addresses too.
fn request(to: IpAddr, token: [u8; 10], sequence: u16) -> [u8; 16] {
    let mut packet = [0; 16];
    packet[0] = if to.is_ipv4() { 8 } else { 128 };
    packet[4..6].copy_from_slice(&token[..2]);
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    packet[8..].copy_from_slice(&token[2..]);
    if to.is_ipv4() {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).expect("it was folded to sixteen bits")
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Answer { sequence: u16 },
    Refusal(Reason, Icmp),
}

/// What a packet means for the request with this token; nothing if it is about something else.
fn meaning(packet: &[u8], to: IpAddr, token: [u8; 10]) -> Option<Meaning> {
    let icmp = if to.is_ipv4() { after_ipv4(packet)? } else { packet };
    let (answer, asked) = if to.is_ipv4() { (0, 8) } else { (129, 128) };
    let (kind, code) = (*icmp.first()?, *icmp.get(1)?);
    if kind == answer {
        let ours = icmp.get(4..6)? == &token[..2] && icmp.get(8..16)? == &token[2..];
        let sequence = u16::from_be_bytes(icmp.get(6..8)?.try_into().ok()?);
        return ours.then_some(Meaning::Answer { sequence });
    }
    // An error brings back the beginning of the packet that it is about.
    let quoted = icmp.get(8..)?;
    let (reason, inner) = match to {
        IpAddr::V4(to) => {
            let destined = quoted.get(16..20)? == to.octets();
            (refusal::reason_v4(kind, code)?, after_ipv4(quoted).filter(|_| destined)?)
        }
        IpAddr::V6(to) => {
            let destined = quoted.get(24..40)? == to.octets();
            (refusal::reason_v6(kind, code)?, quoted.get(40..).filter(|_| destined)?)
        }
    };
    let ours = *inner.first()? == asked && inner.get(4..6)? == &token[..2];
    ours.then_some(Meaning::Refusal(reason, Icmp { kind, code }))
}

/// What follows on an IPv4 header.
fn after_ipv4(packet: &[u8]) -> Option<&[u8]> {
    packet.get(usize::from(packet.first()? & 0x0f) * 4..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: [u8; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    const TO: [u8; 4] = [10, 3, 0, 2];

    fn ipv4(to: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 1, 0, 2];
        packet.extend(to);
        packet.extend(payload);
        packet
    }

    #[test]
    fn the_checksum_of_a_request_with_its_checksum_is_zero() {
        assert_eq!(checksum(&request(TO.into(), TOKEN, 7)), 0);
    }

    #[test]
    fn only_the_answer_to_our_request_is_ours() {
        let mut answer = request(TO.into(), TOKEN, 7);
        answer[0] = 0;
        let packet = ipv4(TO, &answer);
        assert_eq!(meaning(&packet, TO.into(), TOKEN), Some(Meaning::Answer { sequence: 7 }));
        assert_eq!(meaning(&packet, TO.into(), [0; 10]), None);
        assert_eq!(meaning(&packet[..30], TO.into(), TOKEN), None);
        let own = ipv4(TO, &request(TO.into(), TOKEN, 7));
        assert_eq!(meaning(&own, TO.into(), TOKEN), None, "a request is no answer");
    }

    #[test]
    fn only_an_error_about_our_request_is_ours() {
        let error = |code, about: &[u8]| {
            let mut icmp = vec![3, code, 0, 0, 0, 0, 0, 0];
            icmp.extend(about);
            ipv4([10, 1, 0, 2], &icmp)
        };
        let about = ipv4(TO, &request(TO.into(), TOKEN, 0)[..8]);
        let refusal = Some(Meaning::Refusal(Reason::Prohibited, Icmp { kind: 3, code: 13 }));
        assert_eq!(meaning(&error(13, &about), TO.into(), TOKEN), refusal);
        assert_eq!(meaning(&error(13, &about), TO.into(), [0; 10]), None);
        let other = ipv4([10, 9, 9, 9], &request(TO.into(), TOKEN, 0)[..8]);
        assert_eq!(meaning(&error(13, &other), TO.into(), TOKEN), None);
    }

    #[test]
    fn the_same_goes_for_ipv6() {
        let to = IpAddr::V6("fd00::2".parse().unwrap());
        let mut answer = request(to, TOKEN, 1);
        answer[0] = 129;
        assert_eq!(meaning(&answer, to, TOKEN), Some(Meaning::Answer { sequence: 1 }));
        let IpAddr::V6(address) = to else { unreachable!() };
        let mut error = vec![1, 0, 0, 0, 0, 0, 0, 0];
        error.extend([0; 24]);
        error.extend(address.octets());
        error.extend(&request(to, TOKEN, 1)[..8]);
        let icmp = Icmp { kind: 1, code: 0 };
        let refusal = Some(Meaning::Refusal(Reason::NetworkUnreachable, icmp));
        assert_eq!(meaning(&error, to, TOKEN), refusal);
    }
}
