//! Translation of addresses: what is changed into what.

use std::net::IpAddr;

use super::ground::Ground;
use super::packets;
use crate::firewall::{Change, Nat, Ports, Tunnelled};
use crate::problem::{Problem, Problems};
use crate::spec::{self, Word};

/// One translation; nothing if there was a problem.
pub(super) fn resolve(
    written: &spec::Nat,
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Option<Nat> {
    let before = problems.count();
    let incoming = ground.interfaces(&written.incoming, problems);
    let outgoing = ground.interfaces(&written.outgoing, problems);
    let change = if !written.masquerade.is_empty() {
        idle(written, &["in", "out", "to"], "masquerade", problems);
        let outgoing = ground.interfaces(&written.masquerade, problems);
        outgoing.map(|outgoing| Change::Masquerade { outgoing })
    } else if !written.snat.is_empty() {
        idle(written, &["in"], "snat", problems);
        source(written, ground, problems)
            .zip(outgoing)
            .map(|((from, to), outgoing)| Change::Source { from, outgoing, to })
    } else if let Some(word) = &written.dnat {
        idle(written, &["out"], "dnat", problems);
        destination(word, written, ground, problems).zip(incoming).map(
            |((address, ports, to), incoming)| Change::Destination { address, ports, incoming, to },
        )
    } else if let Some(word) = &written.redirect {
        idle(written, &["out"], "redirect", problems);
        redirect(word, written, problems)
            .zip(incoming)
            .map(|((ports, to), incoming)| Change::Redirect { ports, incoming, to })
    } else {
        None
    };
    let tunnels = match &written.tunnels {
        Some(tunnels) if tunnels.value => Tunnelled::Changed,
        _ => Tunnelled::Left,
    };
    change.filter(|_| problems.count() == before).map(|change| Nat { change, tunnels })
}

/// Complains of keys that mean nothing for this kind.
fn idle(written: &spec::Nat, keys: &[&str], kind: &str, problems: &mut Problems) {
    let places = [
        ("in", written.incoming.first()),
        ("out", written.outgoing.first()),
        ("to", written.to.as_ref()),
    ];
    for (key, word) in places {
        if let Some(word) = word.filter(|_| keys.contains(&key)) {
            problems.at(word.place, format!("{key} means nothing for {kind}"));
        }
    }
}

fn to<'s>(written: &'s spec::Nat, example: &str, problems: &mut Problems) -> Option<&'s Word> {
    if written.to.is_none() {
        let problem = Problem::new("the translation does not say into what").at(written.place);
        problems.add(problem.hint(format!("write to: {example}")));
    }
    written.to.as_ref()
}

/// Whom `snat` is about, and the addresses that they get.
fn source(
    written: &spec::Nat,
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Option<(Vec<ipnet::IpNet>, (IpAddr, IpAddr))> {
    let from = ground.parties(&written.snat, problems);
    let word = to(written, "172.28.28.28", problems)?;
    let range = word.split_once('-').and_then(|(first, last)| {
        Some((first.parse::<IpAddr>().ok()?, last.parse::<IpAddr>().ok()?))
    });
    let (first, last) = match range {
        Some(range) => range,
        None => {
            let address = ground.host(word, word, problems)?;
            (address, address)
        }
    };
    if first.is_ipv4() != last.is_ipv4() || first > last {
        let problem = Problem::new(format!("{} is no range of addresses", word.value));
        problems.add(problem.at(word.place).hint("write 10.0.0.1-10.0.0.9"));
        return None;
    }
    let from = from?;
    if !from.iter().any(|prefix| prefix.addr().is_ipv4() == first.is_ipv4()) {
        mixed(word, problems);
    }
    Some((from, (first, last)))
}

fn mixed(word: &Word, problems: &mut Problems) {
    let problem = Problem::new(format!("{} is of the other family", word.value)).at(word.place);
    problems.add(problem.hint("IPv4 stays IPv4, and IPv6 stays IPv6"));
}

type Destination = (IpAddr, Option<(u8, Ports)>, (IpAddr, Option<u16>));

/// What `dnat` is about, and where it goes instead.
fn destination(
    word: &Word,
    written: &spec::Nat,
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Option<Destination> {
    let target = to(written, "10.3.0.2:8080", problems);
    let (host, rest) = split(word);
    if rest.is_none() && host.contains('/') {
        let problem = Problem::new(format!("{} names no port", word.value)).at(word.place);
        problems.add(problem.hint("write 10.0.0.1:8080/tcp"));
        return None;
    }
    let address = ground.host(host, word, problems);
    let ports = match rest {
        None => None,
        Some(rest) => Some(port_and_protocol(rest, word, problems)?),
    };
    let target = target?;
    let (host, rest) = split(target);
    let to = ground.host(host, target, problems);
    let port = match rest {
        None => None,
        Some(rest) => Some(port(rest, target, problems)?),
    };
    if port.is_some() && ports.is_none() {
        let problem = Problem::new("a port for all ports and protocols").at(target.place);
        problems.add(problem.hint(format!("write dnat: {}:80/tcp, or to: {host}", word.value)));
    }
    let (address, to) = (address?, to?);
    if address.is_ipv4() != to.is_ipv4() {
        mixed(target, problems);
    }
    Some((address, ports, (to, port)))
}

/// A host, and what is behind its colon. An IPv6 address with something behind it is in brackets.
fn split(word: &Word) -> (&str, Option<&str>) {
    if let Some((host, rest)) = word.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host, rest.strip_prefix(':').or(Some(rest).filter(|rest| !rest.is_empty())));
    }
    match word.split_once(':') {
        Some((host, rest)) if !rest.contains(':') => (host, Some(rest)),
        _ => (word, None),
    }
}

fn port(text: &str, word: &Word, problems: &mut Problems) -> Option<u16> {
    let ports = packets::range(text, word, problems)?;
    if ports.first != ports.last {
        let problem = Problem::new(format!("{text} is more than one port")).at(word.place);
        problems.add(problem.hint("leave the port out to keep it as it is"));
    }
    Some(ports.first)
}

fn redirect(
    word: &Word,
    written: &spec::Nat,
    problems: &mut Problems,
) -> Option<((u8, Ports), u16)> {
    let ports = port_and_protocol(word, word, problems);
    let word = to(written, "8080", problems)?;
    let to = port(word, word, problems);
    ports.zip(to)
}

/// `80/tcp`, `8000-8080/udp`.
fn port_and_protocol(text: &str, word: &Word, problems: &mut Problems) -> Option<(u8, Ports)> {
    let Some((ports, protocol)) = text.split_once('/') else {
        let problem = Problem::new(format!("port {text} of which protocol?")).at(word.place);
        problems.add(problem.hint(format!("write {}/tcp", word.value)));
        return None;
    };
    let ports = packets::range(ports, word, problems);
    let protocol = Word { value: protocol.to_owned(), place: word.place };
    packets::with_ports(&protocol, problems).zip(ports)
}
