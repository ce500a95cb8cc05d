//! Checks that ask from nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::host::{address, host_and_port, url};
use super::{Ground, Made, PATIENCE, PATIENCE_BLOCKED, PATIENCE_DROPPED, only_keys, several};
use crate::model::{Answer, Probe, Reach, Source, Url};
use crate::name::Name;
use crate::problem::{Placed, Problem, Problems};
use crate::resolve::Context;
use crate::spec::{self, Expect, Word};

/// One check for each node that asks.
pub(super) fn resolve(
    written: &spec::Check,
    target: &Word,
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Vec<Made> {
    only_keys(written, "that asks", &["from", "expect", "source", "seen-by"], problems);
    let context = ground.context;
    let from = several("from", written.from.as_ref(), written.place, problems);
    let nodes: Vec<Name> =
        from.iter().filter_map(|word| context.node_names.find(word, problems)).collect();
    let answer = answer(written, problems);
    // Without a node that asks, the target is looked at all the same.
    let askers: Vec<Option<&Name>> =
        if nodes.is_empty() { vec![None] } else { nodes.iter().map(Some).collect() };
    let mut checks = Vec::new();
    for asker in askers {
        let question = Question { written, target, asker, answer: &answer, context };
        let probe = question.probe(problems);
        if let (Some(from), Some(probe)) = (asker, probe) {
            let name = describe(written, target, from, answer.reach());
            let patience = match answer.reach() {
                Reach::Reached | Reach::Rejected => PATIENCE,
                Reach::Blocked => PATIENCE_BLOCKED,
                Reach::Dropped => PATIENCE_DROPPED,
            };
            checks.push(Made { name, probe, patience });
        }
    }
    checks
}

fn describe(written: &spec::Check, target: &Word, from: &Name, expect: Reach) -> String {
    let (can, cannot) = if written.ping.is_some() {
        ("pings", "cannot ping")
    } else if written.tcp.is_some() {
        ("connects to", "cannot connect to")
    } else if written.udp.is_some() {
        ("hears from", "cannot hear from")
    } else {
        ("gets", "cannot get")
    };
    let target = &target.value;
    let source = written.source.as_ref().map(|it| format!(" as {}", it.value));
    match expect {
        Reach::Reached => format!("{from} {can} {target}{}", source.unwrap_or_default()),
        Reach::Blocked => format!("{from} {cannot} {target}"),
        Reach::Dropped => format!("{from} {cannot} {target}: dropped"),
        Reach::Rejected => format!("{from} {cannot} {target}: rejected"),
    }
}

/// What answer is wanted; only HTTP has more than one kind.
fn answer(written: &spec::Check, problems: &mut Problems) -> Answer {
    let fine = Answer::Response { status: 200, body: None };
    let Some(expect) = &written.expect else { return fine };
    let answer = match &expect.value {
        Expect::Blocked => return Answer::Blocked,
        Expect::Dropped => return Answer::Dropped,
        Expect::Rejected => return Answer::Rejected,
        Expect::Down => {
            let problem = Problem::new("only a tunnel can be expected to be down");
            problems.add(problem.at(expect.place).hint("write blocked, dropped or rejected"));
            return fine;
        }
        Expect::Answer(answer) => answer,
    };
    if written.http.is_none() {
        let problem = Problem::new("only a check with http can expect a response");
        let hint = "write blocked, dropped or rejected, or leave it out";
        problems.add(problem.at(expect.place).hint(hint));
    }
    let status = answer.status.as_ref();
    if let Some(status) = status.filter(|status| !(100..600).contains(&status.value)) {
        let problem = Problem::new(format!("{} is no status of HTTP", status.value));
        problems.add(problem.at(status.place).hint("it is 100 to 599"));
    }
    let body = answer.body.as_ref().map(|word| word.value.clone());
    Answer::Response { status: status.map_or(200, |status| status.value), body }
}

/// Who asks what.
struct Question<'a> {
    written: &'a spec::Check,
    target: &'a Word,
    asker: Option<&'a Name>,
    answer: &'a Answer,
    context: &'a Context<'a>,
}

impl Question<'_> {
    fn probe(&self, problems: &mut Problems) -> Option<Probe> {
        let expect = self.answer.reach();
        if self.written.ping.is_some() {
            let to = self.host(self.target, problems)?;
            let source = self.source(to, problems);
            return Some(Probe::Ping { from: self.asker?.clone(), to, expect, source });
        }
        if self.written.http.is_some() {
            let (name, port, path) = url(self.target, problems)?;
            let address = self.host(name, problems)?;
            let url = Url { host: name.to_owned(), address, port, path };
            let (source, expect) = (self.source(address, problems), self.answer.clone());
            return Some(Probe::Http { from: self.asker?.clone(), url, expect, source });
        }
        let Some((name, Some(port))) = host_and_port(self.target) else {
            let problem = Problem::new(format!("{} is no host with a port", self.target.value));
            let hint = "write 10.0.0.1:80, [fd00::1]:80 or a node's name with :80";
            problems.add(problem.at(self.target.place).hint(hint));
            return None;
        };
        let to = self.host(name, problems)?;
        let (source, from) = (self.source(to, problems), self.asker?.clone());
        Some(match self.written.tcp {
            Some(_) => Probe::Tcp { from, to, port, expect, source },
            None => Probe::Udp { from, to, port, expect, source },
        })
    }

    fn host(&self, host: &str, problems: &mut Problems) -> Option<IpAddr> {
        let word = Placed { value: host.to_owned(), place: self.target.place };
        address(&word, self.asker, self.context, problems)
    }

    /// The source that a request to `to` must arrive with.
    fn source(&self, to: IpAddr, problems: &mut Problems) -> Option<Source> {
        let Some(word) = &self.written.source else {
            if let Some(idle) = &self.written.seen_by {
                problems.at(idle.place, "seen-by means nothing without source");
            }
            return None;
        };
        if self.answer.reach().is_denied() {
            problems.at(word.place, "source means nothing where no answer is wanted");
            return None;
        }
        let seen_by = match &self.written.seen_by {
            Some(node) => self.context.node_names.find(node, problems),
            None => self.owner(word, to, problems),
        };
        let addresses = self.addresses(word, to, problems);
        Some(Source { addresses: addresses?, seen_by: seen_by? })
    }

    /// The addresses that a word stands for where a source is meant: itself, or all of a node's of
    /// the family of `to`.
    fn addresses(
        &self,
        word: &Word,
        to: IpAddr,
        problems: &mut Problems,
    ) -> Option<BTreeSet<IpAddr>> {
        let fits = |address: &IpAddr| address.is_ipv4() == to.is_ipv4();
        let addresses: BTreeSet<IpAddr> = match word.parse() {
            Ok(address) => [address].into(),
            Err(_) => {
                let node = self.context.node_names.find(word, problems)?;
                let node = self.context.nodes.get(&node)?;
                if node.broken {
                    return None;
                }
                node.addresses().map(|(_, address)| address).collect()
            }
        };
        let addresses: BTreeSet<_> = addresses.into_iter().filter(fits).collect();
        if addresses.is_empty() {
            let family = if to.is_ipv4() { "IPv4" } else { "IPv6" };
            let message = format!("{} has no address of {family}, which {to} is", word.value);
            problems.at(word.place, message);
            return None;
        }
        Some(addresses)
    }

    /// The node that has the address asked.
    fn owner(&self, source: &Word, to: IpAddr, problems: &mut Problems) -> Option<Name> {
        let nodes = &self.context.nodes;
        let has = |(_, node): &(&Name, &crate::resolve::Wired)| {
            node.addresses().any(|(_, address)| address == to)
        };
        let owners: Vec<&Name> = nodes.iter().filter(has).map(|(name, _)| name).collect();
        let message = match owners.as_slice() {
            [owner] => return Some((*owner).clone()),
            // It may be that of a node that could not be read.
            [] if nodes.values().any(|node| node.broken) => return None,
            [] => format!("{to} is an address of no node: nobody sees the source"),
            [one, other, ..] => format!("{to} is an address of {one} and of {other}"),
        };
        problems.add(Problem::new(message).at(source.place).hint("write seen-by: NODE"));
        None
    }
}
