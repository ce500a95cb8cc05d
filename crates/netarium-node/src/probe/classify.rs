//! What a frame is, and a line about it in the manner of tcpdump(8).
//!
//! It looks through VLAN tags and IPv6 extension headers, and knows the later fragments of a
//! packet by the first one. It receives nothing.

use std::collections::VecDeque;
use std::net::IpAddr;

use etherparse::{
    ArpPacketSlice, IpNumber, Ipv6ExtensionSlice, LaxIpv4Slice, LaxIpv6Slice, LaxNetSlice,
    LaxSlicedPacket, ip_number,
};
use netarium_core::outcome::Kind;

/// How many packets are remembered whose later fragments may still come.
const REMEMBERED: usize = 64;

/// A frame that has been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What it is.
    pub kind: Kind,
    /// A line about it.
    pub line: String,
}

/// Looks at frames.
#[derive(Default)]
pub(crate) struct Classifier {
    fragmented: VecDeque<(PacketId, Kind)>,
}

/// What the fragments of one packet have in common (RFC 791, RFC 8200).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PacketId {
    from: IpAddr,
    to: IpAddr,
    protocol: IpNumber,
    number: u32,
}

/// What is to be known of an IP packet.
struct Packet<'a> {
    id: PacketId,
    fragment: Fragment,
    length: usize,
    payload: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragment {
    Whole,
    First,
    Later,
}

impl Classifier {
    /// Says what a frame is, from as much of its beginning as there is.
    pub(crate) fn look(&mut self, frame: &[u8]) -> Seen {
        let Ok(sliced) = LaxSlicedPacket::from_ethernet(frame) else {
            return Seen { kind: Kind::Other, line: format!("a frame of {} bytes", frame.len()) };
        };
        match &sliced.net {
            Some(LaxNetSlice::Arp(arp)) => Seen { kind: Kind::Arp, line: arp_line(arp) },
            Some(LaxNetSlice::Ipv4(ip)) => self.packet(&ipv4(ip)),
            Some(LaxNetSlice::Ipv6(ip)) => self.packet(&ipv6(ip)),
            None => {
                let line = format!("{}, {} bytes", ether_type(&sliced), frame.len());
                Seen { kind: Kind::Other, line }
            }
        }
    }

    fn packet(&mut self, packet: &Packet<'_>) -> Seen {
        let (kind, what) = describe(packet);
        let PacketId { from, to, .. } = packet.id;
        let kind = match packet.fragment {
            Fragment::Whole => kind,
            Fragment::First => {
                self.fragmented.truncate(REMEMBERED - 1);
                self.fragmented.push_front((packet.id, kind));
                kind
            }
            Fragment::Later => {
                let first = self.fragmented.iter().find(|(id, _)| *id == packet.id);
                first.map_or(kind, |(_, first)| *first)
            }
        };
        let ends = match ports(packet) {
            Some((source, target)) => format!("{from}.{source} > {to}.{target}"),
            None => format!("{from} > {to}"),
        };
        Seen { kind, line: format!("{ends}: {what}, length {}", packet.length) }
    }
}

fn ipv4<'a>(ip: &LaxIpv4Slice<'a>) -> Packet<'a> {
    let header = ip.header();
    let fragment = fragment(header.fragments_offset().value(), header.more_fragments());
    let id = PacketId {
        from: header.source_addr().into(),
        to: header.destination_addr().into(),
        protocol: ip.payload().ip_number,
        number: header.identification().into(),
    };
    let length = header.total_len().into();
    Packet { id, fragment, length, payload: ip.payload().payload }
}

/// Which part of a packet has this offset, and whether others come behind it.
fn fragment(offset: u16, more: bool) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}

fn ipv6<'a>(ip: &LaxIpv6Slice<'a>) -> Packet<'a> {
    let header = ip.header();
    let mut which = Fragment::Whole;
    let mut number = 0;
    for extension in ip.extensions().clone() {
        if let Ipv6ExtensionSlice::Fragment(part) = extension {
            number = part.identification();
            which = fragment(part.fragment_offset().value(), part.more_fragments());
        }
    }
    let id = PacketId {
        from: header.source_addr().into(),
        to: header.destination_addr().into(),
        protocol: ip.payload().ip_number,
        number,
    };
    let length = header.payload_length().into();
    Packet { id, fragment: which, length, payload: ip.payload().payload }
}

fn describe(packet: &Packet<'_>) -> (Kind, String) {
    let payload = packet.payload;
    let plain = |kind, what: &str| (kind, what.to_owned());
    let readable = packet.fragment != Fragment::Later;
    match packet.id.protocol {
        ip_number::ENCAPSULATING_SECURITY_PAYLOAD => (Kind::Esp, esp_line(payload)),
        ip_number::IGMP => plain(Kind::Group, "IGMP"),
        ip_number::TCP => (Kind::Tcp, tcp_line(payload.get(13).copied().filter(|_| readable))),
        ip_number::UDP if readable => udp(payload),
        ip_number::UDP => plain(Kind::Udp, "UDP, a later fragment"),
        ip_number::ICMP if readable => {
            let line = icmp_line("ICMP", payload, [8, 0]);
            match payload.first() {
                Some(3 | 4 | 11 | 12) => error(payload, line),
                _ => (Kind::Icmp, line),
            }
        }
        ip_number::IPV6_ICMP if readable => icmpv6(payload),
        ip_number::ICMP | ip_number::IPV6_ICMP => plain(Kind::Icmp, "ICMP, a later fragment"),
        other => (Kind::Other, format!("IP protocol {}", other.0)),
    }
}

/// Tells IKE, ESP (RFC 3948 section 2), WireGuard and the rest apart.
fn udp(payload: &[u8]) -> (Kind, String) {
    let content = payload.get(8..).unwrap_or_default();
    let has = |wanted| two_ports(payload).is_some_and(|(a, b)| a == wanted || b == wanted);
    let length = payload.get(4..6).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    if has(500) {
        (Kind::Ike, "IKE".to_owned())
    } else if !has(4500) {
        match wireguard(content, length) {
            Some(what) => (Kind::Wireguard, format!("WireGuard {what}")),
            None => (Kind::Udp, "UDP".to_owned()),
        }
    } else if length == 9 && content.first() == Some(&0xff) {
        (Kind::Esp, "NAT keepalive".to_owned())
    } else if content.starts_with(&[0; 4]) {
        (Kind::Ike, "IKE in UDP 4500".to_owned())
    } else {
        (Kind::Esp, format!("{} in UDP", esp_line(content)))
    }
}

/// What message of WireGuard it is, if it is one (<https://www.wireguard.com/protocol/>): each begins
/// with its number and three zeros, and has a length of its own. That holds on every port, also behind
/// a translation of addresses; other UDP is not like that but by a rare chance.
fn wireguard(content: &[u8], length: u16) -> Option<&'static str> {
    // With the header of UDP.
    let length = length.checked_sub(8)?;
    match (content.get(..4)?, length) {
        ([1, 0, 0, 0], 148) => Some("handshake initiation"),
        ([2, 0, 0, 0], 92) => Some("handshake response"),
        ([3, 0, 0, 0], 64) => Some("cookie"),
        ([4, 0, 0, 0], 32) => Some("keepalive"),
        // What is carried is filled up to 16 bytes; the last one before the limit of a link is not.
        ([4, 0, 0, 0], 33..) => Some("data"),
        _ => None,
    }
}

/// What an ICMP error is: it belongs to what it is about, if that is IKE or ESP. A router that cannot
/// pass on a tunnel's packets says so, and nothing plain is in that.
fn error(payload: &[u8], line: String) -> (Kind, String) {
    let about = payload.get(8..).and_then(|quoted| {
        let (protocol, inside) = match quoted.first()? >> 4 {
            4 => (*quoted.get(9)?, quoted.get(usize::from(quoted[0] & 0x0f) * 4..)?),
            6 => (*quoted.get(6)?, quoted.get(40..)?),
            _ => return None,
        };
        match IpNumber(protocol) {
            ip_number::ENCAPSULATING_SECURITY_PAYLOAD => Some((Kind::Esp, esp_line(inside))),
            // Whoever passes on no more than the ports has passed on enough.
            ip_number::UDP => Some(udp(inside)),
            _ => None,
        }
    });
    match about {
        Some((kind @ (Kind::Ike | Kind::Esp | Kind::Wireguard), what)) => {
            (kind, format!("{line} about {what}"))
        }
        _ => (Kind::Icmp, line),
    }
}

fn icmpv6(payload: &[u8]) -> (Kind, String) {
    let ndp = |what: &str| (Kind::Ndp, format!("ICMPv6 {what}"));
    let group = |what: &str| (Kind::Group, format!("ICMPv6 {what}"));
    match payload.first() {
        Some(133) => ndp("router solicitation"),
        Some(134) => ndp("router advertisement"),
        Some(135) => ndp("neighbour solicitation"),
        Some(136) => ndp("neighbour advertisement"),
        Some(137) => ndp("redirect"),
        Some(130) => group("multicast listener query"),
        Some(131 | 143) => group("multicast listener report"),
        Some(132) => group("multicast listener done"),
        Some(1..=4) => error(payload, icmp_line("ICMPv6", payload, [128, 129])),
        _ => (Kind::Icmp, icmp_line("ICMPv6", payload, [128, 129])),
    }
}

fn icmp_line(name: &str, payload: &[u8], [request, answer]: [u8; 2]) -> String {
    match payload {
        [kind, ..] if *kind == request => format!("{name} echo request"),
        [kind, ..] if *kind == answer => format!("{name} echo reply"),
        [kind, code, ..] => format!("{name} type {kind} code {code}"),
        _ => name.to_owned(),
    }
}

fn esp_line(payload: &[u8]) -> String {
    match payload {
        [a, b, c, d, e, f, g, h, ..] => {
            let spi = u32::from_be_bytes([*a, *b, *c, *d]);
            format!("ESP spi {spi:#010x} seq {}", u32::from_be_bytes([*e, *f, *g, *h]))
        }
        _ => "ESP".to_owned(),
    }
}

fn tcp_line(flags: Option<u8>) -> String {
    let Some(flags) = flags else { return "TCP".to_owned() };
    let letters = [(2, 'S'), (1, 'F'), (4, 'R'), (8, 'P'), (16, '.')];
    let set = letters.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, letter)| letter);
    format!("TCP [{}]", set.collect::<String>())
}

fn ports(packet: &Packet<'_>) -> Option<(u16, u16)> {
    let has = matches!(packet.id.protocol, ip_number::TCP | ip_number::UDP);
    if has && packet.fragment != Fragment::Later { two_ports(packet.payload) } else { None }
}

fn two_ports(payload: &[u8]) -> Option<(u16, u16)> {
    match payload {
        [a, b, c, d, ..] => Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
        _ => None,
    }
}

fn arp_line(arp: &ArpPacketSlice<'_>) -> String {
    let address = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
        Ok(bytes) => IpAddr::from(bytes).to_string(),
        Err(_) => "?".to_owned(),
    };
    let (sender, target) =
        (address(arp.sender_protocol_addr()), address(arp.target_protocol_addr()));
    match arp.operation().0 {
        1 => format!("ARP who has {target}, tell {sender}"),
        2 => format!("ARP {sender} is here"),
        other => format!("ARP operation {other}"),
    }
}

fn ether_type(packet: &LaxSlicedPacket<'_>) -> String {
    match packet.ether_payload() {
        Some(payload) => format!("ether type {:#06x}", payload.ether_type.0),
        None => "no ether type".to_owned(),
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
