//! Tunnels: the addresses of their ends and what they carry.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Context, Wired, ipsec, names, segments, wireguard};
use crate::ipsec as strongswan;
use crate::model::{Secrets, Tunnel, TunnelEnd, TunnelKind, Via};
use crate::name::Name;
use crate::problem::{Place, Placed, Problem, Problems};
use crate::spec::{self, Ends, Spec, Word};

/// The tunnels that have no problem, and the secrets that are written there.
pub(super) fn resolve(
    spec: &Spec,
    context: &Context<'_>,
    problems: &mut Problems,
) -> (BTreeMap<Name, Tunnel>, Secrets) {
    let mut tunnels = BTreeMap::new();
    let mut secrets = Secrets::default();
    let mut pairs = BTreeMap::new();
    let mut wireguards = Vec::new();
    for (word, written) in &spec.tunnels {
        let name = names::part("tunnel", word, problems);
        let Some(written) = written else { continue };
        let ends = ends(written.ends(), context, problems);
        let ends = name.zip(ends);
        match written {
            spec::Tunnel::Ipsec(of_ipsec) => {
                let kind = TunnelKind::Ipsec(ipsec::resolve(of_ipsec, problems));
                if let Some((name, (initiator, responder))) = ends {
                    let tunnel = Tunnel { name: name.clone(), initiator, responder, kind };
                    check_pair(&mut pairs, word.place, &tunnel, problems);
                    let secret = written.secret().map(|secret| (name.clone(), secret.clone()));
                    secrets.0.extend(secret);
                    tunnels.insert(name, tunnel);
                }
            }
            spec::Tunnel::Wireguard(written) => {
                wireguards.push(wireguard::Pending { place: word.place, written, ends });
            }
        }
    }
    tunnels.extend(wireguard::resolve(&wireguards, context, problems));
    check_services(spec, &tunnels, problems);
    (tunnels, secrets)
}

/// Addresses are the identities of IPsec's ends: of two tunnels between the same two, the second
/// to open would push the first out (`unique = replace`, swanctl.conf(5)).
fn check_pair(
    pairs: &mut BTreeMap<[IpAddr; 2], Place>,
    place: Place,
    tunnel: &Tunnel,
    problems: &mut Problems,
) {
    let mut pair = tunnel.ends().map(|end| end.address);
    pair.sort();
    if let Some(first) = pairs.get(&pair) {
        let message = format!("there is a tunnel between {} and {} already", pair[0], pair[1]);
        let hint = "let the first one carry what both should";
        problems.add(Problem::new(message).at(place).hint(hint).note(*first, "the first is here"));
    } else {
        pairs.insert(pair, place);
    }
}

/// An end of a tunnel runs what encrypts as a service of its own; strongSwan has an interface, too.
fn check_services(spec: &Spec, tunnels: &BTreeMap<Name, Tunnel>, problems: &mut Problems) {
    let ends = |is_meant: fn(&Tunnel) -> bool| -> BTreeSet<&str> {
        let tunnels = tunnels.values().filter(|tunnel| is_meant(tunnel));
        tunnels.flat_map(|tunnel| tunnel.ends().map(|end| end.node.as_str())).collect()
    };
    let ipsec_ends = ends(|tunnel| tunnel.ipsec().is_some());
    let wireguard_ends = ends(|tunnel| tunnel.wireguard().is_some());
    for (word, node) in &spec.nodes {
        let Some(node) = node else { continue };
        let is_ipsec = ipsec_ends.contains(word.value.as_str());
        let names = node.interfaces.iter().filter_map(|it| it.name.as_ref());
        for word in names.filter(|word| is_ipsec && word.value == strongswan::DEVICE) {
            let message = format!("a tunnel end has an interface {} already", word.value);
            let hint = "strongSwan's is called that: call yours otherwise";
            problems.add(Problem::new(message).at(word.place).hint(hint));
        }
        let ours = [
            (is_ipsec, strongswan::service_name()),
            (wireguard_ends.contains(word.value.as_str()), crate::wireguard::service_name()),
        ];
        for service in &node.services {
            let name =
                ours.iter().find(|(is_end, name)| *is_end && *name.as_str() == *service.name.value);
            if let Some((_, name)) = name {
                let problem = Problem::new(format!("a tunnel end has a service {name} already"));
                problems.add(problem.at(service.name.place).hint("call yours something else"));
            }
        }
    }
}

fn ends(
    written: Ends<'_>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<(TunnelEnd, TunnelEnd)> {
    let carry = written.carry.map(|carry| carried(carry, written.place, context, problems));
    let [first, second] = written.between else { return None };
    let first_end = End::find(first, context, problems);
    let second_end = End::find(second, context, problems);
    let (first_end, second_end) = (first_end?, second_end?);
    if first_end.node == second_end.node {
        let message = format!("both ends are {}", first_end.node);
        problems.add(Problem::new(message).at(second.node.place));
        return None;
    }
    let (one, other) = addresses(&first_end, &second_end, problems)?;
    let (one_carries, other_carries) = match carry {
        Some(carry) => carry?,
        None => (vec![IpNet::from(one)], vec![IpNet::from(other)]),
    };
    Some((
        TunnelEnd { node: first_end.node.clone(), address: one, carry: one_carries },
        TunnelEnd { node: second_end.node.clone(), address: other, carry: other_carries },
    ))
}

/// One end, before its address is chosen.
struct End<'c> {
    node: Name,
    wired: &'c Wired,
    written: &'c spec::TunnelEnd,
    explicit: Option<IpAddr>,
}

impl<'c> End<'c> {
    fn find(
        written: &'c spec::TunnelEnd,
        context: &'c Context<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let node = context.node_names.find(&written.node, problems)?;
        let wired = context.nodes.get(&node)?;
        let mut explicit = None;
        if let Some(word) = &written.address {
            let address: Option<IpAddr> = word.parse().ok();
            let own = address.is_some_and(|it| wired.addresses().any(|(_, own)| own == it));
            if !own {
                if !wired.broken {
                    let message = format!("{} is no address of {node}", word.value);
                    let own: Vec<String> =
                        wired.addresses().map(|(_, address)| address.to_string()).collect();
                    let hint = format!("{node} has {}", own.join(", "));
                    problems.add(Problem::new(message).at(word.place).hint(hint));
                }
                return None;
            }
            explicit = address;
        }
        Some(Self { node, wired, written, explicit })
    }

    /// The addresses of one family that it can have towards `peer`: the one that is written; else
    /// those on a segment that both are on; else those on the segment of its default route.
    fn candidates(&self, peer: &End<'_>, ipv4: bool) -> Vec<IpAddr> {
        let of_family = |address: &IpAddr| address.is_ipv4() == ipv4;
        if let Some(address) = self.explicit {
            return Some(address).filter(of_family).into_iter().collect();
        }
        let peer_segments = || peer.wired.interfaces.iter().map(|interface| &interface.segment);
        let own = || self.wired.addresses().filter(|(_, address)| of_family(address));
        let shared: Vec<IpAddr> = own()
            .filter(|(interface, _)| peer_segments().any(|segment| *segment == interface.segment))
            .map(|(_, address)| address)
            .collect();
        if !shared.is_empty() {
            return shared;
        }
        let default = self
            .wired
            .routes
            .iter()
            .find(|route| route.to.prefix_len() == 0 && route.to.addr().is_ipv4() == ipv4);
        let (Some(Via::Gateway { interface: out, .. }) | Some(Via::Interface(out))) =
            default.map(|route| &route.via)
        else {
            return Vec::new();
        };
        own().filter(|(interface, _)| interface.name == *out).map(|(_, address)| address).collect()
    }

    fn complain(&self, why: &str, problems: &mut Problems) {
        // What is missing may be what had a problem of its own.
        if !self.wired.broken {
            let message = format!("a tunnel end with no address: {} {why}", self.node);
            let hint = format!("write {{node: {}, address: …}}", self.node);
            problems.add(Problem::new(message).at(self.written.node.place).hint(hint));
        }
    }
}

/// The addresses of both ends, of one family, IPv4 if there is a choice.
fn addresses(one: &End<'_>, other: &End<'_>, problems: &mut Problems) -> Option<(IpAddr, IpAddr)> {
    let found =
        [true, false].map(|ipv4| (one.candidates(other, ipv4), other.candidates(one, ipv4)));
    let family = found.iter().find(|(one, other)| !one.is_empty() && !other.is_empty());
    let Some((ours, theirs)) = family else {
        let first = found.iter().all(|(ours, _)| ours.is_empty());
        let second = found.iter().all(|(_, theirs)| theirs.is_empty());
        let why = "shares no segment with the other end and has no gateway";
        if first {
            one.complain(why, problems);
        }
        if second {
            other.complain(why, problems);
        }
        if !first && !second {
            other.complain("and the other end are IPv4 and IPv6", problems);
        }
        return None;
    };
    for (end, addresses) in [(one, ours), (other, theirs)] {
        if addresses.len() > 1 {
            let words: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            end.complain(&format!("could use {}", words.join(" or ")), problems);
        }
    }
    match (ours.as_slice(), theirs.as_slice()) {
        ([one], [other]) => Some((*one, *other)),
        _ => None,
    }
}

/// What is behind each end.
fn carried(
    carry: &[Vec<Word>],
    place: Place,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<(Vec<IpNet>, Vec<IpNet>)> {
    let sides: Vec<Option<Vec<Placed<IpNet>>>> =
        carry.iter().map(|words| side(words, context, problems)).collect();
    let [Some(one), Some(other)] = sides.as_slice() else { return None };
    for prefix in other {
        if let Some(same) = one.iter().find(|same| same.value == prefix.value) {
            let message = format!("{} is behind both ends", prefix.value);
            problems.add(Problem::new(message).at(prefix.place).note(same.place, "the other end"));
        }
    }
    let fits = |a: &IpNet, b: &IpNet| a.addr().is_ipv4() == b.addr().is_ipv4();
    if !one.iter().any(|a| other.iter().any(|b| fits(a, b))) {
        let place = carry.iter().flatten().next().map_or(place, |it| it.place);
        problems.at(place, "the tunnel carries nothing: one end is IPv4, the other IPv6");
    }
    let values = |side: &[Placed<IpNet>]| side.iter().map(|prefix| prefix.value).collect();
    Some((values(one), values(other)))
}

fn side(
    words: &[Word],
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Vec<Placed<IpNet>>> {
    let mut prefixes = Vec::new();
    let mut whole = !words.is_empty();
    for word in words {
        // A name has neither dots nor colons, a prefix has one or the other.
        if word.contains(['.', ':', '/']) {
            let prefix = segments::prefix(word, problems);
            whole &= prefix.is_some();
            prefixes.extend(prefix);
            continue;
        }
        let segment = context.segment_names.find(word, problems);
        let Some(segment) = segment.and_then(|name| context.segments.get(&name)) else {
            whole = false;
            continue;
        };
        if segment.prefixes.is_empty() {
            let problem = Problem::new(format!("segment {} has no prefix to carry", word.value));
            problems.add(problem.at(word.place).hint("write the prefix itself"));
            whole = false;
        }
        let place = word.place;
        prefixes.extend(segment.prefixes.iter().map(|&value| Placed { value, place }));
    }
    whole.then_some(prefixes)
}
