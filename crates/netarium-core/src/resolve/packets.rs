//! Which packets a rule of a firewall is about.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::firewall::Way;
use super::ground::Ground;
use crate::firewall::{Packets, Payload, Ports, tidy};
use crate::ipsec;
use crate::model::{Tunnel, TunnelKind};
use crate::name::Name;
use crate::problem::{Place, Problem, Problems};
use crate::spec::{Match, Word};

/// Protocols by name (IANA); those with ports first.
const PROTOCOLS: [(&str, u8); 9] = [
    ("tcp", TCP),
    ("udp", UDP),
    ("sctp", 132),
    ("icmp", ICMP),
    ("icmpv6", ICMPV6),
    ("esp", ESP),
    ("ah", 51),
    ("gre", 47),
    ("ospf", 89),
];
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const ESP: u8 = 50;
const WITH_PORTS: [u8; 3] = [TCP, UDP, 132];

/// Types of ICMP (RFC 792) and of ICMPv6 (RFC 4443, RFC 4861, RFC 3810), in the words of nft(8).
const ICMP_TYPES: [&str; 11] = [
    "echo-request",
    "echo-reply",
    "destination-unreachable",
    "time-exceeded",
    "parameter-problem",
    "redirect",
    "source-quench",
    "router-advertisement",
    "router-solicitation",
    "timestamp-request",
    "timestamp-reply",
];
const ICMPV6_TYPES: [&str; 15] = [
    "echo-request",
    "echo-reply",
    "destination-unreachable",
    "time-exceeded",
    "parameter-problem",
    "packet-too-big",
    "nd-router-solicit",
    "nd-router-advert",
    "nd-neighbor-solicit",
    "nd-neighbor-advert",
    "nd-redirect",
    "mld-listener-query",
    "mld-listener-report",
    "mld-listener-done",
    "mld2-listener-report",
];

/// The packets that a match is about: several sorts, with a comment, if it is about a tunnel.
/// Nothing if there was a problem.
pub(super) fn resolve(
    way: Way,
    written: &Match,
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Vec<(Packets, Option<String>)> {
    let before = problems.count();
    let tunnel = written.tunnel.as_ref().map(|word| (word, ground.tunnel(word, problems)));
    if let Some((word, found)) = &tunnel {
        let joins_hosts = found.is_some_and(|(tunnel, ..)| tunnel.joins_hosts());
        check_tunnel(way, (word, joins_hosts), written, problems);
        if problems.count() > before {
            return vec![];
        }
    }
    let packets = plain(way, written, ground, problems);
    if problems.count() > before {
        return vec![];
    }
    let Some((word, found)) = tunnel else { return vec![(packets, None)] };
    let Some((tunnel, own, peer)) = found else { return vec![] };
    let comment = Some(format!("tunnel {}", word.value));
    if way == Way::Forward {
        let sides = [(&own.carry, &peer.carry), (&peer.carry, &own.carry)];
        return sides
            .into_iter()
            .map(|(from, to)| Packets { from: tidy(from), to: tidy(to), ..packets.clone() })
            .map(|packets| (packets, comment.clone()))
            .collect();
    }
    let receiver = if way == Way::Input { &own.node } else { &peer.node };
    let (own, other) = (vec![IpNet::from(own.address)], vec![IpNet::from(peer.address)]);
    let between = |other: &[IpNet], payload| {
        let (own, other) = (own.clone(), other.to_vec());
        let (from, to) = if way == Way::Input { (other, own) } else { (own, other) };
        (Packets { from, to, payload, ..packets.clone() }, comment.clone())
    };
    // One whose address is translated on the way can have any, as others see it.
    let hidden = tunnel.hides(&peer.node);
    let mut sorts = Vec::new();
    if tunnel.joins_hosts() {
        sorts.push(between(&other, packets.payload.clone()));
    }
    // IKE and ESP are among what two hosts send each other, unless the match is about some of it.
    if !tunnel.joins_hosts() || hidden && packets.payload == Payload::Any {
        let other = if hidden { &[][..] } else { &other };
        sorts.extend(outer(tunnel, receiver).into_iter().map(|payload| between(other, payload)));
    }
    sorts
}

/// What the two ends of a tunnel send each other, towards `receiver`.
fn outer(tunnel: &Tunnel, receiver: &Name) -> Vec<Payload> {
    match tunnel.kind {
        TunnelKind::Ipsec(_) => {
            let ports = ipsec::PORTS.map(|port| Ports { first: port, last: port });
            vec![Payload::Ports([UDP].into(), ports.to_vec()), Payload::Protocols([ESP].into())]
        }
        TunnelKind::Wireguard(_) => {
            let end = tunnel.wireguard_from(receiver).map(|(_, own, _)| own.port);
            let ports = end.map(|port| Ports { first: port, last: port }).into_iter().collect();
            vec![Payload::Ports([UDP].into(), ports)]
        }
    }
}

/// A tunnel says itself who sends and receives, and, outside of `forward`, what, unless it carries
/// what the node itself sends and receives.
fn check_tunnel(
    way: Way,
    (tunnel, joins_hosts): (&Word, bool),
    written: &Match,
    problems: &mut Problems,
) {
    if joins_hosts && way == Way::Forward {
        let message = format!("tunnel {} carries nothing that is forwarded", tunnel.value);
        let problem = Problem::new(message).at(tunnel.place);
        problems
            .add(problem.hint("it joins two nodes, not what is behind them: write from and to"));
    }
    let mut idle = vec![("from", &written.from), ("to", &written.to)];
    if way != Way::Forward && !joins_hosts {
        idle.extend([
            ("protocol", &written.protocol),
            ("port", &written.port),
            ("icmp", &written.icmp),
        ]);
    }
    for (key, words) in idle {
        if let Some(word) = words.first() {
            let problem = Problem::new(format!("{key} and tunnel do not go together"));
            problems.add(problem.at(word.place).hint("the tunnel says that already"));
        }
    }
}

/// The packets without a tunnel.
fn plain(way: Way, written: &Match, ground: &Ground<'_>, problems: &mut Problems) -> Packets {
    let wrong = match way {
        Way::Input => written.outgoing.first().map(|word| ("out", "input", word)),
        Way::Output => written.incoming.first().map(|word| ("in", "output", word)),
        Way::Forward => None,
    };
    if let Some((key, hook, word)) = wrong {
        let message = format!("{key} means nothing in {hook}");
        let hint = if way == Way::Input { "write in" } else { "write out" };
        problems.add(Problem::new(message).at(word.place).hint(hint));
    }
    let before = problems.count();
    let packets = Packets {
        incoming: ground.interfaces(&written.incoming, problems).unwrap_or_default(),
        outgoing: ground.interfaces(&written.outgoing, problems).unwrap_or_default(),
        from: ground.parties(&written.from, problems).unwrap_or_default(),
        to: ground.parties(&written.to, problems).unwrap_or_default(),
        payload: payload(written, problems),
        states: written.state.iter().map(|state| state.value).collect(),
    };
    if problems.count() == before {
        check_families(&packets, written, problems);
    }
    packets
}

/// Whether packets can be IPv4, and whether they can be IPv6.
fn families(prefixes: &[IpNet]) -> [bool; 2] {
    let has = |is_ipv4| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.addr().is_ipv4() == is_ipv4)
    };
    [has(true), has(false)]
}

fn check_families(packets: &Packets, written: &Match, problems: &mut Problems) {
    let payload = match &packets.payload {
        Payload::Icmp(v4, v6) => [!v4.is_empty(), !v6.is_empty()],
        Payload::Protocols(protocols) => {
            let has = |protocol| protocols.iter().any(|it| *it != protocol);
            [has(ICMPV6), has(ICMP)]
        }
        Payload::Any | Payload::Ports(..) => [true, true],
    };
    let what = written.icmp.first().or(written.protocol.first());
    let parts = [
        (written.from.first(), families(&packets.from)),
        (written.to.first(), families(&packets.to)),
        (what, payload),
    ];
    let mut possible: [bool; 2] = [true, true];
    for (word, can) in parts {
        let next = [possible[0] && can[0], possible[1] && can[1]];
        if let Some(word) = word.filter(|_| next == [false, false]) {
            let (this, that) = if can[0] { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
            let message =
                format!("no packet is like that: {} is {this}, the rest {that}", word.value);
            problems.at(word.place, message);
            return;
        }
        possible = next;
    }
}

fn payload(written: &Match, problems: &mut Problems) -> Payload {
    let mut protocols = BTreeSet::new();
    for word in &written.protocol {
        protocols.extend(protocol(word, problems));
    }
    if let Some(first) = written.icmp.first() {
        if let Some(port) = written.port.first() {
            problems.at(port.place, "ICMP has no ports");
        }
        return icmp(&written.icmp, &protocols, first.place, problems);
    }
    if let Some(first) = written.port.first() {
        let ports = ports(&written.port, problems);
        if written.protocol.is_empty() {
            let problem = Problem::new(format!("port {} of which protocol?", first.value));
            problems.add(problem.at(first.place).hint("write protocol: tcp, or udp, or both"));
        }
        let has_none = |word: &&Word| {
            let number = PROTOCOLS.iter().find(|(name, _)| *name == word.value);
            number.is_none_or(|(_, number)| !WITH_PORTS.contains(number))
        };
        // A protocol that nobody knows has its own problem.
        if let Some(word) = written.protocol.iter().find(has_none)
            && protocols.iter().any(|it| !WITH_PORTS.contains(it))
        {
            problems.at(word.place, format!("{} has no ports", word.value));
        }
        return Payload::Ports(protocols, ports);
    }
    if protocols.is_empty() { Payload::Any } else { Payload::Protocols(protocols) }
}

/// A protocol by name or number.
fn protocol(word: &Word, problems: &mut Problems) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == word.value).map(|(_, number)| *number);
    let found = named.or_else(|| word.parse().ok());
    if found.is_none() {
        problems.unknown("protocol", word, PROTOCOLS.iter().map(|(name, _)| *name));
    }
    found
}

/// A protocol that has ports.
pub(super) fn with_ports(word: &Word, problems: &mut Problems) -> Option<u8> {
    let names = PROTOCOLS.iter().filter(|(_, number)| WITH_PORTS.contains(number));
    let found = names.clone().find(|(name, _)| *name == word.value).map(|(_, number)| *number);
    if found.is_none() {
        problems.unknown("protocol", word, names.map(|(name, _)| *name));
    }
    found
}

fn icmp(
    words: &[Word],
    protocols: &BTreeSet<u8>,
    place: Place,
    problems: &mut Problems,
) -> Payload {
    if protocols.iter().any(|it| ![ICMP, ICMPV6].contains(it)) {
        let problem = Problem::new("only ICMP has types of ICMP").at(place);
        problems.add(problem.hint("leave protocol out, or write icmp or icmpv6"));
        return Payload::Any;
    }
    let takes = |protocol| protocols.is_empty() || protocols.contains(&protocol);
    let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
    for word in words {
        let find = |types: &[&'static str]| types.iter().copied().find(|it| *it == word.value);
        let (in_v4, in_v6) = (find(&ICMP_TYPES), find(&ICMPV6_TYPES));
        if in_v4.is_none() && in_v6.is_none() {
            let known = ICMP_TYPES.into_iter().chain(ICMPV6_TYPES.into_iter().skip(5));
            problems.unknown("type of ICMP", word, known);
            continue;
        }
        let (in_v4, in_v6) = (in_v4.filter(|_| takes(ICMP)), in_v6.filter(|_| takes(ICMPV6)));
        if in_v4.is_none() && in_v6.is_none() && !protocols.is_empty() {
            let (this, that) = if takes(ICMP) { ("icmp", "icmpv6") } else { ("icmpv6", "icmp") };
            let problem = Problem::new(format!("{this} has no type {}", word.value));
            problems.add(problem.at(word.place).hint(format!("it is one of {that}")));
        }
        v4.extend(in_v4);
        v6.extend(in_v6);
    }
    Payload::Icmp(v4, v6)
}

/// Ports in their order, each in one range only.
fn ports(words: &[Word], problems: &mut Problems) -> Vec<Ports> {
    let mut found: Vec<Ports> =
        words.iter().filter_map(|word| range(word, word, problems)).collect();
    found.sort();
    let mut merged: Vec<Ports> = Vec::new();
    for ports in found {
        match merged.last_mut() {
            Some(last) if ports.first <= last.last => last.last = last.last.max(ports.last),
            _ => merged.push(ports),
        }
    }
    merged
}

/// A port or a range of them: `text` is the part of `word` that says it.
pub(super) fn range(text: &str, word: &Word, problems: &mut Problems) -> Option<Ports> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| digits && *port > 0)
    };
    let found = number(first).zip(number(last)).filter(|(first, last)| first <= last);
    if found.is_none() {
        let problem = Problem::new(format!("{text} is no port")).at(word.place);
        problems.add(problem.hint("write a number up to 65535, or a range like 8000-8080"));
    }
    found.map(|(first, last)| Ports { first, last })
}
