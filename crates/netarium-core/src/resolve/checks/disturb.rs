//! Dynamic checks: what is done to the lab, and what must hold meanwhile and afterwards.

use super::host::{address, url};
use super::{Ground, PATIENCE, check, deeds as written_deeds, only_keys, title};
use crate::model::{Check, Deed, Disturbance, Probe, Transfer, TunnelKind, TunnelState, Url};
use crate::name::{InterfaceName, Name};
use crate::problem::{Place, Placed, Problem, Problems};
use crate::resolve::time::time;
use crate::spec::{self, During, Spec, Word};

/// How long a cut lasts, and how long the lab may take to recover, in milliseconds.
const CUT: u32 = 1000;
const RECOVER: u32 = 30_000;

/// The dynamic checks in the order written; `checks` are the others.
pub(super) fn resolve(
    spec: &Spec,
    ground: &Ground<'_>,
    checks: &[Check],
    problems: &mut Problems,
) -> Vec<Disturbance> {
    let written = spec
        .checks
        .iter()
        .filter(|written| deed_key(written).is_some() && written_deeds(written).len() == 1);
    written.flat_map(|written| one(written, ground, checks, problems)).collect()
}

/// The key by which a check disturbs, with its place.
pub(super) fn deed_key(written: &spec::Check) -> Option<(&'static str, Place)> {
    keys(written).next()
}

/// The keys by which a check disturbs, with their places: one, if it is right.
pub(super) fn keys(written: &spec::Check) -> impl Iterator<Item = (&'static str, Place)> {
    let keys = [
        ("kill", &written.kill),
        ("cut", &written.cut),
        ("rekey", &written.rekey),
        ("revoke", &written.revoke),
    ];
    keys.into_iter().filter_map(|(key, words)| Some((key, words.as_ref()?.place)))
}

fn one(
    written: &spec::Check,
    ground: &Ground<'_>,
    checks: &[Check],
    problems: &mut Problems,
) -> Vec<Disturbance> {
    let idle = [
        ("for", written.duration.as_ref().map(|it| it.place), written.cut.is_some()),
        ("during", written.during.as_ref().map(|it| it.place), written.rekey.is_some()),
        ("meanwhile", written.meanwhile.as_ref().map(|it| it.place), written.rekey.is_none()),
    ];
    let Some((key, _)) = deed_key(written) else { return Vec::new() };
    only_keys(
        written,
        "that disturbs",
        &["for", "recover", "then", "during", "meanwhile"],
        problems,
    );
    if let Some(timeout) = &written.timeout {
        let problem = Problem::new("timeout means nothing in a check that disturbs");
        problems.add(problem.at(timeout.place).hint("recover says how long it may take"));
    }
    for (idle, place, is_used) in idle {
        if let Some(place) = place.filter(|_| !is_used) {
            problems.at(place, format!("{idle} means nothing in a check with {key}"));
        }
    }
    let recover = written.recover.as_ref().and_then(|word| time(word, 1, problems));
    let then = then(written, checks, problems);
    let meanwhile = meanwhile(written, ground, problems);
    let deeds = deeds(written, ground, problems);
    let several = deeds.len() > 1;
    let made = deeds.into_iter().map(|(made, deed)| Disturbance {
        name: title(written, made, several, deed.at()),
        group: written.group.as_ref().map(|word| word.value.clone()),
        meanwhile: closed(&deed, ground).chain(meanwhile.iter().cloned()).collect(),
        deed,
        then: then.clone(),
        recover: recover.unwrap_or(RECOVER),
    });
    made.collect()
}

/// What is done, each with the name that it has if the file gives none.
fn deeds(
    written: &spec::Check,
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Vec<(String, Deed)> {
    let nothing = |words: &Placed<Vec<Word>>, key: &str, problems: &mut Problems| {
        if words.value.is_empty() {
            problems.at(words.place, format!("{key} names nothing"));
        }
    };
    let names = &ground.context.node_names;
    let mut deeds = Vec::new();
    if let Some(words) = &written.kill {
        nothing(words, "kill", problems);
        let nodes = words.value.iter().filter_map(|word| names.find(word, problems));
        deeds.extend(nodes.map(|node| (format!("{node} is killed"), Deed::Kill { node })));
    }
    if let Some(words) = &written.cut {
        nothing(words, "cut", problems);
        let millis = written.duration.as_ref().and_then(|word| time(word, 1, problems));
        for word in &words.value {
            let Some((node, interface)) = end(word, ground, problems) else { continue };
            let name = format!("{} is cut", word.value);
            deeds.push((name, Deed::Cut { node, interface, millis: millis.unwrap_or(CUT) }));
        }
    }
    if let Some(words) = &written.rekey {
        nothing(words, "rekey", problems);
        let during = written.during.as_ref().map(|it| transfer(&it.value, ground, problems));
        for word in &words.value {
            let name = ground.tunnel_names.find(word, problems);
            // One that is there and has a problem of its own was told about there.
            let Some(tunnel) = name.and_then(|name| ground.tunnels.get(&name)) else { continue };
            let Some(during) = during.clone().map_or(Some(None), |it| it.map(Some)) else {
                continue;
            };
            match &tunnel.kind {
                TunnelKind::Ipsec(_) => {
                    let (tunnel, node) = (tunnel.name.clone(), tunnel.initiator.node.clone());
                    let name = format!("{tunnel} is rekeyed");
                    deeds.push((name, Deed::Rekey { tunnel, node, during }));
                }
                TunnelKind::Wireguard(_) => {
                    let message = format!("tunnel {} cannot be rekeyed on demand", tunnel.name);
                    let hint = "WireGuard makes new keys every two minutes by itself";
                    problems.add(Problem::new(message).at(word.place).hint(hint));
                }
            }
        }
    }
    if let Some(words) = &written.revoke {
        nothing(words, "revoke", problems);
        let revoked = words.value.iter().filter_map(|word| revocation(word, ground, problems));
        deeds.extend(revoked);
    }
    deeds
}

/// The revocation of a node's certificate. If it seems to have none, a tunnel with a problem of its
/// own may be the reason, which was told about there.
fn revocation(word: &Word, ground: &Ground<'_>, problems: &mut Problems) -> Option<(String, Deed)> {
    let node = ground.context.node_names.find(word, problems)?;
    let certified = ground.tunnels.values().filter(|tunnel| tunnel.is_certified());
    let mut tunnels = certified.filter(|it| it.seen_from(&node).is_some()).peekable();
    if tunnels.peek().is_none() {
        let is_read = |word: &str| ground.tunnels.keys().any(|name| name.as_str() == word);
        if ground.tunnel_names.is_open() || !ground.tunnel_names.words().all(is_read) {
            return None;
        }
        let problem = Problem::new(format!("{node} has no certificate that could be revoked"));
        let hint = "name an end of an IPsec tunnel without auth: psk";
        problems.add(problem.at(word.place).hint(hint));
        return None;
    }
    let tunnels = tunnels.map(|tunnel| tunnel.name.clone()).collect();
    Some((format!("{node} is revoked"), Deed::Revoke { node, tunnels }))
}

/// `NODE:SEGMENT` or `NODE:INTERFACE`.
fn end(word: &Word, ground: &Ground<'_>, problems: &mut Problems) -> Option<(Name, InterfaceName)> {
    let Some((node, rest)) = word.split_once(':') else {
        let problem = Problem::new(format!("{} does not say which link is cut", word.value));
        problems.add(problem.at(word.place).hint("write NODE:SEGMENT or NODE:INTERFACE"));
        return None;
    };
    let placed = Placed { value: node.to_owned(), place: word.place };
    let node = ground.context.node_names.find(&placed, problems)?;
    let wired = ground.context.nodes.get(&node)?;
    let fits: Vec<_> = wired
        .interfaces
        .iter()
        .filter(|it| it.name.as_str() == rest || it.segment.as_str() == rest)
        .collect();
    match fits.as_slice() {
        [one] => Some((node, one.name.clone())),
        [] if wired.broken => None,
        [] => {
            let known = wired.interfaces.iter().map(|it| it.segment.as_str());
            let known = known.chain(wired.interfaces.iter().map(|it| it.name.as_str()));
            let rest = Placed { value: rest.to_owned(), place: word.place };
            problems.unknown(&format!("link of {node}"), &rest, known);
            None
        }
        [one, ..] => {
            let problem = Problem::new(format!("{node} is on {} more than once", one.segment));
            problems.add(problem.at(word.place).hint(format!("write {node}:{}", one.name)));
            None
        }
    }
}

fn transfer(written: &During, ground: &Ground<'_>, problems: &mut Problems) -> Option<Transfer> {
    let from = ground.context.node_names.find(&written.from, problems);
    let (name, port, path) = url(&written.http, problems)?;
    let word = Placed { value: name.to_owned(), place: written.http.place };
    let address = address(&word, from.as_ref(), ground.context, problems)?;
    let url = Url { host: name.to_owned(), address, port, path };
    Some(Transfer { from: from?, url })
}

/// The checks that must hold afterwards: those named, else all that ask or look at a tunnel.
fn then(written: &spec::Check, checks: &[Check], problems: &mut Problems) -> Vec<usize> {
    let can_hold = |check: &Check| {
        check.probe.question().is_some() || matches!(check.probe, Probe::Tunnel { .. })
    };
    let places = |fits: &dyn Fn(&Check) -> bool| -> Vec<usize> {
        let all = checks.iter().enumerate();
        all.filter(|(_, check)| can_hold(check) && fits(check)).map(|(place, _)| place).collect()
    };
    let Some(words) = &written.then else { return places(&|_| true) };
    for word in &words.value {
        if places(&|check| check.fits(word)).is_empty() {
            let message =
                format!("no check that asks or is of a tunnel is called {:?}", word.value);
            let hint = "write the name or group of another check";
            problems.add(Problem::new(message).at(word.place).hint(hint));
        }
    }
    places(&|check| words.value.iter().any(|word| check.fits(word)))
}

/// That the tunnels of a node that is revoked do not stand.
fn closed(deed: &Deed, ground: &Ground<'_>) -> impl Iterator<Item = Check> {
    let tunnels = match deed {
        Deed::Revoke { tunnels, .. } => tunnels.as_slice(),
        _ => &[],
    };
    tunnels.iter().filter_map(|name| ground.tunnels.get(name)).map(|tunnel| Check {
        name: format!("{} is down", tunnel.name),
        group: None,
        probe: Probe::Tunnel {
            tunnel: tunnel.name.clone(),
            between: tunnel.ends().map(|end| end.node.clone()),
            expect: TunnelState::Down,
        },
        timeout: PATIENCE,
    })
}

/// What must hold before it is undone, as written.
fn meanwhile(written: &spec::Check, ground: &Ground<'_>, problems: &mut Problems) -> Vec<Check> {
    let mut checks = Vec::new();
    for inner in written.meanwhile.iter().flat_map(|it| &it.value) {
        if let Some((key, place)) = deed_key(inner) {
            problems.at(place, format!("{key} means nothing within another check"));
        } else if let Some(place) = inner.only.as_ref().map(|only| only.place) {
            let problem = Problem::new("only means nothing within another check").at(place);
            problems.add(problem.hint("all segments that a check names are listened to anyway"));
        } else {
            checks.extend(check(inner, ground, problems));
        }
    }
    checks
}
