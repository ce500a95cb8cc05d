//! Checks: who asks whom, and what must come of it.

use std::net::IpAddr;

use super::Context;
use crate::model::{Answer, Check, Probe, Reach, Url};
use crate::name::Name;
use crate::problem::{Place, Placed, Problem, Problems};
use crate::spec::{self, Expect, Spec, Word};

/// How long a check may take if it does not say, in milliseconds: where an answer is wanted, and
/// where none is, which takes that long each time.
const PATIENCE: u32 = 5000;
const PATIENCE_BLOCKED: u32 = 500;

/// The longest that a check may take, in milliseconds.
const LONGEST: u32 = 3_600_000;

/// The checks in the order written, one for each node that asks.
pub(super) fn resolve(spec: &Spec, context: &Context<'_>, problems: &mut Problems) -> Vec<Check> {
    spec.checks.iter().flat_map(|written| check(written, context, problems)).collect()
}

fn check(written: &spec::Check, context: &Context<'_>, problems: &mut Problems) -> Vec<Check> {
    let timeout = written.timeout.as_ref().and_then(|word| duration(word, problems));
    let probes = [&written.ping, &written.tcp, &written.http];
    let asked: Vec<&Word> = probes.into_iter().flatten().collect();
    let listens = written.on.is_some() || written.only.is_some();
    match asked.as_slice() {
        [] if listens => only(written, timeout, context, problems),
        [target] if !listens => ask(written, target, timeout, context, problems),
        [] => {
            let problem = Problem::new("the check names nothing to do").at(written.place);
            problems.add(problem.hint("write ping, tcp or http with from, or only with on"));
            Vec::new()
        }
        [_, second, ..] => {
            let problem = Problem::new("a check asks one thing").at(second.place);
            problems.add(problem.hint("write a second check"));
            Vec::new()
        }
        [target] => {
            let problem = Problem::new("a check asks or listens, not both").at(target.place);
            problems.add(problem.hint("write a second check"));
            Vec::new()
        }
    }
}

/// A check that listens on segments.
fn only(
    written: &spec::Check,
    timeout: Option<u32>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Vec<Check> {
    let idle = [
        written.from.as_ref().map(|it| ("from", it.place)),
        written.expect.as_ref().map(|it| ("expect", it.place)),
    ];
    for (key, place) in idle.into_iter().flatten() {
        problems.at(place, format!("{key} means nothing in a check that listens"));
    }
    let on = several("on", written.on.as_ref(), written.place, problems);
    let segments: Vec<Name> =
        on.iter().filter_map(|word| context.segment_names.find(word, problems)).collect();
    let protocols = match &written.only {
        Some(only) => only.value.iter().map(|protocol| protocol.value).collect(),
        None => {
            let problem = Problem::new("the check does not say only what").at(written.place);
            problems.add(problem.hint("write only: [ike, esp]"));
            return Vec::new();
        }
    };
    let words: Vec<String> = written
        .only
        .iter()
        .flat_map(|only| &only.value)
        .map(|protocol| format!("{:?}", protocol.value).to_lowercase())
        .collect();
    let what = if words.is_empty() { "nothing".to_owned() } else { words.join(" and ") };
    let several = segments.len() > 1;
    segments
        .into_iter()
        .map(|segment| Check {
            name: title(written, format!("only {what} on {segment}"), several, &segment),
            probe: Probe::Only {
                segment,
                protocols: std::collections::BTreeSet::clone(&protocols),
            },
            timeout: timeout.unwrap_or(PATIENCE),
        })
        .collect()
}

/// A check that asks from nodes.
fn ask(
    written: &spec::Check,
    target: &Word,
    timeout: Option<u32>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Vec<Check> {
    let from = several("from", written.from.as_ref(), written.place, problems);
    let nodes: Vec<Name> =
        from.iter().filter_map(|word| context.node_names.find(word, problems)).collect();
    let blocked = matches!(written.expect.as_ref().map(|it| &it.value), Some(Expect::Blocked));
    let answer = answer(written, problems);
    // Without a node that asks, the target is looked at all the same.
    let askers: Vec<Option<&Name>> =
        if nodes.is_empty() { vec![None] } else { nodes.iter().map(Some).collect() };
    let mut checks = Vec::new();
    for asker in askers {
        let probe = probe(written, target, asker, blocked, &answer, context, problems);
        if let (Some(from), Some(probe)) = (asker, probe) {
            let name =
                title(written, describe(written, target, from, blocked), nodes.len() > 1, from);
            let patience = if blocked { PATIENCE_BLOCKED } else { PATIENCE };
            checks.push(Check { name, probe, timeout: timeout.unwrap_or(patience) });
        }
    }
    checks
}

fn describe(written: &spec::Check, target: &Word, from: &Name, blocked: bool) -> String {
    let verb = match (written.ping.is_some(), written.tcp.is_some(), blocked) {
        (true, _, false) => "pings",
        (true, _, true) => "cannot ping",
        (_, true, false) => "connects to",
        (_, true, true) => "cannot connect to",
        (_, _, false) => "gets",
        (_, _, true) => "cannot get",
    };
    format!("{from} {verb} {}", target.value)
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

/// What answer is wanted; only HTTP has more than one kind.
fn answer(written: &spec::Check, problems: &mut Problems) -> Answer {
    let Some(expect) = &written.expect else {
        return Answer::Response { status: 200, body: None };
    };
    let Expect::Answer(answer) = &expect.value else { return Answer::Blocked };
    if written.http.is_none() {
        let problem = Problem::new("only a check with http can expect a response");
        problems.add(problem.at(expect.place).hint("write blocked, or leave it out"));
    }
    let status = answer.status.as_ref();
    if let Some(status) = status.filter(|status| !(100..600).contains(&status.value)) {
        let problem = Problem::new(format!("{} is no status of HTTP", status.value));
        problems.add(problem.at(status.place).hint("it is 100 to 599"));
    }
    let body = answer.body.as_ref().map(|word| word.value.clone());
    Answer::Response { status: status.map_or(200, |status| status.value), body }
}

fn probe(
    written: &spec::Check,
    target: &Word,
    asker: Option<&Name>,
    blocked: bool,
    answer: &Answer,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Probe> {
    let expect = if blocked { Reach::Blocked } else { Reach::Reached };
    let host = |host: &str, problems: &mut Problems| {
        let word = Placed { value: host.to_owned(), place: target.place };
        address(&word, asker, context, problems)
    };
    if written.ping.is_some() {
        let to = host(target, problems)?;
        return Some(Probe::Ping { from: asker?.clone(), to, expect });
    }
    if written.tcp.is_some() {
        let Some((name, Some(port))) = host_and_port(target) else {
            let problem = Problem::new(format!("{} is no host with a port", target.value));
            let hint = "write 10.0.0.1:80, [fd00::1]:80 or a node's name with :80";
            problems.add(problem.at(target.place).hint(hint));
            return None;
        };
        let to = host(name, problems)?;
        return Some(Probe::Tcp { from: asker?.clone(), to, port, expect });
    }
    let (name, port, path) = url(target, problems)?;
    let address = host(name, problems)?;
    let url = Url { host: name.to_owned(), address, port, path };
    Some(Probe::Http { from: asker?.clone(), url, expect: answer.clone() })
}

/// Takes an `http:` URL (RFC 9110) apart: host, port, path with query.
fn url<'w>(word: &'w Word, problems: &mut Problems) -> Option<(&'w str, u16, String)> {
    let fault = |hint: &str| {
        Problem::new(format!("{} is no URL for a check", word.value)).at(word.place).hint(hint)
    };
    let Some(rest) = word.value.strip_prefix("http://") else {
        problems.add(fault("it begins with http://"));
        return None;
    };
    // What is sent must not end the request line.
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['#', '@']) {
        problems
            .add(fault("it has no blanks, user or fragment, and other letters are written %xx"));
        return None;
    }
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(split);
    let Some((host, port)) = host_and_port(authority).filter(|(host, _)| !host.is_empty()) else {
        problems.add(fault("write http://HOST:PORT/PATH"));
        return None;
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some((host, port.unwrap_or(80), path))
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?;
    let port = digits.parse().ok().filter(|&port| port != 0)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some((host, Some(port)))
}

/// The address of a host: itself, or the first one of the node that the asker has the family for.
/// Those on a segment that both are on go first, as in the asker's `/etc/hosts`.
fn address(
    host: &Word,
    asker: Option<&Name>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<IpAddr> {
    if let Ok(address) = host.parse() {
        return Some(address);
    }
    if host.contains(['.', ':']) || host.is_empty() {
        let problem = Problem::new(format!("{:?} is no host", host.value)).at(host.place);
        problems.add(problem.hint("write an address or the name of a node"));
        return None;
    }
    let name = context.node_names.find(host, problems)?;
    let node = context.nodes.get(&name)?;
    let asker = asker.and_then(|asker| context.nodes.get(asker));
    let has_family = |address: &IpAddr| {
        asker.is_none_or(|asker| {
            asker.addresses().any(|(_, own)| own.is_ipv4() == address.is_ipv4())
        })
    };
    let near = |segment: &Name| {
        asker.is_some_and(|asker| asker.interfaces.iter().any(|it| it.segment == *segment))
    };
    let fit: Vec<_> = node.addresses().filter(|(_, address)| has_family(address)).collect();
    let shared = fit.iter().find(|(interface, _)| near(&interface.segment));
    let found = shared.or(fit.first()).map(|(_, address)| *address);
    if found.is_none() && !node.broken && asker.is_none_or(|asker| !asker.broken) {
        let problem = if node.addresses().next().is_none() {
            Problem::new(format!("{name} has no address"))
        } else {
            Problem::new(format!("{name} has no address that can be asked from there"))
                .hint("both need IPv4, or both IPv6")
        };
        problems.add(problem.at(host.place));
    }
    found
}

/// A time in milliseconds.
fn duration(word: &Word, problems: &mut Problems) -> Option<u32> {
    let (digits, unit) = match (word.strip_suffix("ms"), word.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1000),
        (None, None) => ("", 1),
    };
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u32>());
    let time = number.and_then(Result::ok).and_then(|number| number.checked_mul(unit));
    if !time.is_some_and(|time| (1..=LONGEST).contains(&time)) {
        let problem = Problem::new(format!("{} is no time for a check", word.value));
        problems.add(problem.at(word.place).hint("write 2s or 500ms; an hour is the most"));
    }
    time
}
