//! Translation of addresses: what is changed into what.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ground::{Ground, Joined};
use super::packets;
use crate::firewall::{Change, Nat, Ports, Tunnelled, tidy};
use crate::model::TunnelEnd;
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
    let from = ground.parties(&written.from, problems);
    let tunnel = written.tunnel.as_ref().and_then(|word| ground.tunnel(word, problems));
    check_tunnel(written, problems);
    let behind = |ipv4: Option<bool>| behind(tunnel, ipv4);
    let change = if !written.masquerade.is_empty() {
        idle(written, &["in", "out", "from", "to", "tunnel"], "masquerade", problems);
        let outgoing = ground.interfaces(&written.masquerade, problems);
        outgoing.map(|outgoing| Change::Masquerade { outgoing })
    } else if !written.snat.is_empty() {
        idle(written, &["in", "from"], "snat", problems);
        source(written, ground, problems).zip(outgoing).map(|((from, to), outgoing)| {
            let (_, towards) = behind(Some(to.0.is_ipv4()));
            Change::Source { from, towards, outgoing, to }
        })
    } else if let Some(word) = &written.dnat {
        idle(written, &["out"], "dnat", problems);
        let found = destination(word, written, ground, problems);
        let from = from.zip(found.as_ref()).and_then(|(from, (address, ..))| {
            comes_from(written, (word, *address), from, tunnel, problems)
        });
        found.zip(from).zip(incoming).map(|(((address, ports, to), from), incoming)| {
            Change::Destination { from, address, ports, incoming, to }
        })
    } else if let Some(word) = &written.redirect {
        idle(written, &["out"], "redirect", problems);
        let found = redirect(word, written, problems).zip(from).zip(incoming);
        found.map(|(((ports, to), from), incoming)| {
            let (towards, behind) = behind(None);
            let from = if tunnel.is_some() { behind } else { from };
            Change::Redirect { from, towards, ports, incoming, to }
        })
    } else {
        None
    };
    let tunnels = match &written.tunnels {
        Some(tunnels) if tunnels.value => Tunnelled::Changed,
        _ if written.tunnel.is_some() => Tunnelled::Changed,
        _ => Tunnelled::Left,
    };
    change.filter(|_| problems.count() == before).map(|change| Nat { change, tunnels })
}

/// What is behind this end of a tunnel and what behind the other, of one family if that is known.
fn behind(tunnel: Option<Joined<'_>>, ipv4: Option<bool>) -> (Vec<IpNet>, Vec<IpNet>) {
    let of_family = |end: &TunnelEnd| {
        let fits = |prefix: &&IpNet| ipv4.is_none_or(|ipv4| prefix.addr().is_ipv4() == ipv4);
        tidy(&end.carry.iter().filter(fits).copied().collect::<Vec<_>>())
    };
    tunnel.map_or_else(Default::default, |(_, own, peer)| (of_family(own), of_family(peer)))
}

/// A tunnel says itself where what comes out of it comes from, and that it is meant.
fn check_tunnel(written: &spec::Nat, problems: &mut Problems) {
    if written.tunnel.is_none() {
        return;
    }
    if let Some(word) = written.from.first() {
        let problem = Problem::new("from and tunnel do not go together").at(word.place);
        problems.add(problem.hint("the tunnel says that already"));
    }
    if let Some(tunnels) = written.tunnels.as_ref().filter(|it| !it.value) {
        let problem = Problem::new("what a tunnel carries is to be changed, and is not");
        problems.add(problem.at(tunnels.place).hint("leave tunnels out"));
    }
}

/// Where what goes to `address` comes from, of its family: everywhere if nothing says otherwise.
fn comes_from(
    written: &spec::Nat,
    (word, address): (&Word, IpAddr),
    from: Vec<IpNet>,
    tunnel: Option<Joined<'_>>,
    problems: &mut Problems,
) -> Option<Vec<IpNet>> {
    if let Some((name, own)) = tunnel.map(|(it, own, _)| (&it.name, own)) {
        if !own.carry.iter().any(|prefix| prefix.contains(&address)) {
            let message = format!("tunnel {name} carries nothing to {address}");
            problems.at(word.place, message);
        }
        return Some(behind(tunnel, Some(address.is_ipv4())).1);
    }
    let fits = |prefix: &IpNet| prefix.addr().is_ipv4() == address.is_ipv4();
    let of_family: Vec<IpNet> = from.iter().copied().filter(fits).collect();
    if let Some(word) = written.from.first().filter(|_| of_family.is_empty()) {
        mixed(word, problems);
    }
    Some(of_family)
}

/// Complains of keys that mean nothing for this kind.
fn idle(written: &spec::Nat, keys: &[&str], kind: &str, problems: &mut Problems) {
    let places = [
        ("in", written.incoming.first()),
        ("out", written.outgoing.first()),
        ("from", written.from.first()),
        ("to", written.to.as_ref()),
        ("tunnel", written.tunnel.as_ref()),
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
) -> Option<(Vec<IpNet>, (IpAddr, IpAddr))> {
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
