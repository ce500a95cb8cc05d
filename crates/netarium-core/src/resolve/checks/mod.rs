//! Checks: who asks whom, and what must come of it.

mod ask;
mod disturb;
mod host;

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::names::Names;
use super::time::time;
use crate::ipsec::Proposal;
use crate::model::{Check, Disturbance, Probe, Tunnel, TunnelKind, TunnelState};
use crate::name::Name;
use crate::problem::{Place, Placed, Problem, Problems};
use crate::spec::{self, Expect, Spec, Word};

/// How long a check may take if it does not say, in milliseconds: where something is waited for,
/// where nothing is to come, which takes that long each time, and where not even a refusal is to
/// come. Nodes do not ration refusals, but a lab file may have them do so, and a network within a
/// node does by itself: then no more than one comes in a second (icmp_ratelimit, icmp(7)).
const PATIENCE: u32 = 5000;
const PATIENCE_BLOCKED: u32 = 500;
const PATIENCE_DROPPED: u32 = 1500;

/// The word for all nodes.
const ALL: &str = "all";

/// What the checks look things up in.
struct Ground<'a> {
    context: &'a Context<'a>,
    tunnels: &'a BTreeMap<Name, Tunnel>,
    tunnel_names: Names<'a>,
}

/// The checks in the order written, one for each node that asks; those that disturb apart.
pub(super) fn resolve(
    spec: &Spec,
    context: &Context<'_>,
    tunnels: &BTreeMap<Name, Tunnel>,
    problems: &mut Problems,
) -> (Vec<Check>, Vec<Disturbance>) {
    let tunnel_names = Names::new("tunnel", &spec.tunnels, spec.unread.contains(&"tunnels"));
    let ground = Ground { context, tunnels, tunnel_names };
    let mut checks = Vec::new();
    for written in &spec.checks {
        match disturb::deed_key(written) {
            // With another key it is told what is wrong with it.
            Some(_) if deeds(written).len() == 1 => {}
            _ => checks.extend(check(written, &ground, problems)),
        }
    }
    let disturbances = disturb::resolve(spec, &ground, &checks, problems);
    (checks, disturbances)
}

/// What a check does.
enum Deed<'w> {
    Ask(&'w Word),
    Listen,
    Tunnel(&'w Placed<Vec<Word>>),
    Isolated(&'w Placed<Vec<Word>>),
    /// It is resolved when all others are.
    Disturb,
}

/// What a check says that it does, each with its key and place: one thing, if it is right.
fn deeds(written: &spec::Check) -> Vec<(&'static str, Place, Deed<'_>)> {
    let asks = [
        ("ping", &written.ping),
        ("tcp", &written.tcp),
        ("udp", &written.udp),
        ("http", &written.http),
    ];
    let asks = asks
        .into_iter()
        .filter_map(|(key, word)| word.as_ref().map(|word| (key, word.place, Deed::Ask(word))));
    let only = written.only.as_ref().map(|it| ("only", it.place, Deed::Listen));
    let on = written.on.as_ref().map(|it| ("on", it.place, Deed::Listen));
    let tunnel = written.tunnel.as_ref().map(|it| ("tunnel", it.place, Deed::Tunnel(it)));
    let isolated = written.isolated.as_ref().map(|it| ("isolated", it.place, Deed::Isolated(it)));
    let disturbs = disturb::keys(written).map(|(key, place)| (key, place, Deed::Disturb));
    asks.chain(only.or(on)).chain(tunnel).chain(isolated).chain(disturbs).collect()
}

fn check(written: &spec::Check, ground: &Ground<'_>, problems: &mut Problems) -> Vec<Check> {
    let timeout = written.timeout.as_ref().and_then(|word| time(word, 1, problems));
    let deeds = deeds(written);
    let (deed, second) = match deeds.as_slice() {
        [] => {
            let problem = Problem::new("the check names nothing to do").at(written.place);
            let hint = "write ping, tcp, udp or http with from, only with on, tunnel, isolated, \
                        kill, cut, rekey or revoke";
            problems.add(problem.hint(hint));
            return Vec::new();
        }
        [(_, _, deed)] => (deed, None),
        [(first, _, deed), (key, place, _), ..] => (deed, Some((first, key, place))),
    };
    if let Some((first, second, place)) = second {
        let message = format!("a check does one thing, not both {first} and {second}");
        problems.add(Problem::new(message).at(*place).hint("write a second check"));
        return Vec::new();
    }
    let made = match deed {
        Deed::Ask(target) => ask::resolve(written, target, ground, problems),
        Deed::Listen => only(written, ground, problems),
        Deed::Tunnel(words) => tunnel(written, words, ground, problems),
        Deed::Isolated(words) => isolated(written, words, ground, problems),
        Deed::Disturb => Vec::new(),
    };
    let several = made.len() > 1;
    let group = written.group.as_ref().map(|word| word.value.clone());
    made.into_iter()
        .map(|Made { name, probe, patience }| Check {
            name: title(written, name, several, probe.at()),
            group: group.clone(),
            probe,
            timeout: timeout.unwrap_or(patience),
        })
        .collect()
}

/// A check that was made from a written one.
struct Made {
    /// What it is called if the file does not say.
    name: String,
    probe: Probe,
    /// How long it takes if the file does not say.
    patience: u32,
}

/// Refuses keys that mean nothing in this kind of check.
fn only_keys(written: &spec::Check, kind: &str, allowed: &[&str], problems: &mut Problems) {
    let word = |word: &Option<Word>| word.as_ref().map(|it| it.place);
    let keys = [
        ("from", written.from.as_ref().map(|it| it.place)),
        ("expect", written.expect.as_ref().map(|it| it.place)),
        ("source", word(&written.source)),
        ("seen-by", word(&written.seen_by)),
        ("ike", word(&written.ike)),
        ("esp", word(&written.esp)),
        ("for", word(&written.duration)),
        ("recover", word(&written.recover)),
        ("then", written.then.as_ref().map(|it| it.place)),
        ("during", written.during.as_ref().map(|it| it.place)),
        ("meanwhile", written.meanwhile.as_ref().map(|it| it.place)),
    ];
    for (key, place) in keys {
        if let Some(place) = place.filter(|_| !allowed.contains(&key)) {
            problems.at(place, format!("{key} means nothing in a check {kind}"));
        }
    }
}

/// A check that listens on segments.
fn only(written: &spec::Check, ground: &Ground<'_>, problems: &mut Problems) -> Vec<Made> {
    only_keys(written, "that listens", &[], problems);
    let on = several("on", written.on.as_ref(), written.place, problems);
    let names = &ground.context.segment_names;
    let segments: Vec<Name> = on.iter().filter_map(|word| names.find(word, problems)).collect();
    let Some(only) = &written.only else {
        let problem = Problem::new("the check does not say only what").at(written.place);
        problems.add(problem.hint("write only: [ike, esp]"));
        return Vec::new();
    };
    let protocols: BTreeSet<_> = only.value.iter().map(|protocol| protocol.value).collect();
    let word = |it: &Placed<_>| format!("{:?}", it.value).to_lowercase();
    let words: Vec<String> = only.value.iter().map(word).collect();
    let what = if words.is_empty() { "nothing".to_owned() } else { words.join(" and ") };
    let made = |segment: Name| Made {
        name: format!("only {what} on {segment}"),
        probe: Probe::Only { segment, protocols: protocols.clone() },
        patience: PATIENCE,
    };
    segments.into_iter().map(made).collect()
}

/// A check of how tunnels are.
fn tunnel(
    written: &spec::Check,
    words: &Placed<Vec<Word>>,
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Vec<Made> {
    only_keys(written, "of a tunnel", &["expect", "ike", "esp"], problems);
    let is_down = match &written.expect {
        None => false,
        Some(expect) if expect.value == Expect::Down => {
            let idle = [("ike", &written.ike), ("esp", &written.esp)];
            for (key, word) in idle.into_iter().filter_map(|(key, it)| Some((key, it.as_ref()?))) {
                problems.at(word.place, format!("{key} means nothing where the tunnel is down"));
            }
            true
        }
        Some(expect) => {
            let problem = Problem::new("a tunnel can only be expected to be down");
            problems.add(problem.at(expect.place).hint("leave it out for a tunnel that stands"));
            false
        }
    };
    let [ike, esp] = [&written.ike, &written.esp].map(|word| proposal(word.as_ref(), problems));
    let names = several("tunnel", Some(words), written.place, problems).iter();
    let names: Vec<Name> =
        names.filter_map(|word| ground.tunnel_names.find(word, problems)).collect();
    // One that is there and has a problem of its own was told about there.
    let tunnels = names.iter().filter_map(|name| ground.tunnels.get(name));
    if let Some(first) = names.iter().find(|it| is_wireguard(ground, it)) {
        for word in [&written.ike, &written.esp].into_iter().flatten() {
            let problem = Problem::new(format!("tunnel {first} is WireGuard"));
            problems.add(problem.at(word.place).hint("only IPsec has proposals"));
        }
    }
    let made = |it: &Tunnel| {
        let or_own = |word: &Option<String>, own: &String| word.clone().unwrap_or(own.clone());
        let expect = match &it.kind {
            TunnelKind::Wireguard(own) => {
                let interface = own.interface.clone();
                match is_down {
                    true => TunnelState::WireguardDown { interface },
                    false => TunnelState::Wireguard { interface },
                }
            }
            _ if is_down => TunnelState::Down,
            TunnelKind::Ipsec(own) => {
                TunnelState::Ipsec { ike: or_own(&ike, &own.ike), esp: or_own(&esp, &own.esp) }
            }
        };
        let between = it.ends().map(|end| end.node.clone());
        Made {
            name: format!("{} {}", it.name, if is_down { "is down" } else { "stands" }),
            probe: Probe::Tunnel { tunnel: it.name.clone(), between, expect },
            patience: PATIENCE,
        }
    };
    tunnels.map(made).collect()
}

fn is_wireguard(ground: &Ground<'_>, name: &Name) -> bool {
    ground.tunnels.get(name).is_some_and(|it| it.wireguard().is_some())
}

fn proposal(word: Option<&Word>, problems: &mut Problems) -> Option<String> {
    let word = word?;
    if let Some(unknown) =
        word.split(',').flat_map(|it| Proposal::read(it).unknown().to_vec()).next()
    {
        let problem = Problem::new(format!("{unknown:?} is no algorithm that can be compared"));
        let hint = "write a proposal like aes256gcm16-prfsha384-ecp384";
        problems.add(problem.at(word.place).hint(hint));
    }
    Some(word.value.clone())
}

/// A check that nothing of the machine is reached from nodes.
fn isolated(
    written: &spec::Check,
    words: &Placed<Vec<Word>>,
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Vec<Made> {
    only_keys(written, "of isolation", &[], problems);
    let nodes = &ground.context.nodes;
    let words = several("isolated", Some(words), written.place, problems);
    let mut names: Vec<Name> = Vec::new();
    for word in words {
        match word.value.as_str() {
            ALL => names.extend(nodes.keys().cloned()),
            _ => names.extend(ground.context.node_names.find(word, problems)),
        }
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let made = |node: Name| {
        let wired = nodes.get(&node)?;
        let interfaces = wired.all_interfaces().map(|it| it.name.clone()).collect();
        let name = format!("{node} is isolated");
        Some(Made { name, probe: Probe::Isolated { node, interfaces }, patience: PATIENCE_BLOCKED })
    };
    names.into_iter().filter_map(made).collect()
}

fn title(written: &spec::Check, made: String, several: bool, who: &Name) -> String {
    match &written.name {
        Some(word) if several => format!("{} ({who})", word.value),
        Some(word) => word.value.clone(),
        None => made,
    }
}

/// The words of a key that must name something.
fn several<'w>(
    key: &str,
    words: Option<&'w Placed<Vec<Word>>>,
    check: Place,
    problems: &mut Problems,
) -> &'w [Word] {
    match words {
        Some(words) if words.value.is_empty() => {
            problems.at(words.place, format!("{key} names nothing"));
            &[]
        }
        Some(words) => &words.value,
        None => {
            let problem = Problem::new(format!("a check without {key}")).at(check);
            let example = if key == "from" { "from: NODE" } else { "on: SEGMENT" };
            problems.add(problem.hint(format!("write {example}")));
            &[]
        }
    }
}
