//! Firewalls: which packets each rule is about, and whether rules contradict each other.

use std::collections::BTreeMap;

use super::ground::Ground;
use super::names::Names;
use super::{Context, nat, packets};
use crate::firewall::{Firewall, Hook, Packets, Policy, Rate, Rule, Verdict};
use crate::model::{Node, Tunnel};
use crate::name::Name;
use crate::problem::{Place, Problem, Problems};
use crate::spec::{self, Match, Spec, Word};

/// The longest prefix of a log line (`NF_LOG_PREFIXLEN` of the kernel, without its closing zero).
const LONGEST_PREFIX: usize = 127;

/// Which packets a rule meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Those to the node.
    Input,
    /// Those from the node.
    Output,
    /// Those through the node.
    Forward,
}

/// Gives each node its firewall.
pub(super) fn resolve(
    spec: &Spec,
    context: &Context<'_>,
    tunnels: &BTreeMap<Name, Tunnel>,
    nodes: &mut BTreeMap<Name, Node>,
    problems: &mut Problems,
) {
    let tunnel_names = Names::new("tunnel", &spec.tunnels, spec.unread.contains(&"tunnels"));
    for (word, written) in &spec.nodes {
        let (Some(written), Ok(name)) = (written, Name::new(word)) else { continue };
        let (Some(node), Some(wired)) = (nodes.get_mut(&name), context.nodes.get(&name)) else {
            continue;
        };
        let ground = Ground { name: &name, wired, context, tunnels, tunnel_names: &tunnel_names };
        node.firewall = firewall(written, &ground, problems);
    }
}

fn firewall(written: &spec::Node, ground: &Ground<'_>, problems: &mut Problems) -> Firewall {
    let mut of = |way, written: &Option<spec::Hook>| {
        written.as_ref().map(|written| hook(way, written, ground, problems))
    };
    let input = of(Way::Input, &written.firewall.input);
    let output = of(Way::Output, &written.firewall.output);
    let forward = of(Way::Forward, &written.firewall.forward);
    let raw = written.firewall.raw.as_ref().map(|raw| {
        check_raw(raw, problems);
        raw.value.clone()
    });
    let nat = written.nat.iter().filter_map(|it| nat::resolve(it, ground, problems)).collect();
    let firewall = Firewall {
        input,
        output,
        forward,
        raw,
        nat,
        carried: Vec::new(),
        ipv6: ground.wired.addresses().any(|(_, address)| address.is_ipv6()),
    };
    // One without rules is no firewall, whatever its node's tunnels carry.
    if firewall.is_empty() {
        return Firewall::default();
    }
    let carried = if firewall.nat.is_empty() { Vec::new() } else { ground.carried() };
    Firewall { carried, ..firewall }
}

/// A rule as it is written, whatever its form.
struct Written<'s> {
    verdict: Option<Verdict>,
    packets: &'s Match,
    rate: Option<Rate>,
    log: Option<String>,
}

fn hook(way: Way, written: &spec::Hook, ground: &Ground<'_>, problems: &mut Problems) -> Hook {
    let default = written.default.as_ref().map_or(Policy::Accept, |it| it.value);
    let before = problems.count();
    let mut rules = Vec::new();
    let mut decided: Vec<(Packets, Verdict, Place)> = Vec::new();
    for rule in in_order(written, problems) {
        for (packets, comment) in packets::resolve(way, rule.packets, ground, problems) {
            let place = rule.packets.place;
            if let Some(verdict) = rule.verdict {
                check_decided(&decided, &packets, verdict, place, problems);
                // What is more than a rate, later rules decide.
                if rule.rate.is_none() {
                    decided.push((packets.clone(), verdict, place));
                }
            }
            rules.push(Rule {
                packets,
                rate: rule.rate,
                log: rule.log.clone(),
                verdict: rule.verdict,
                comment,
            });
        }
    }
    let only_accepts = rules.iter().all(|it| it.verdict == Some(Verdict::Accept));
    let is_whole = problems.count() == before;
    if is_whole && default == Policy::Accept && !rules.is_empty() && only_accepts {
        let problem = Problem::new("everything is accepted here, with or without these rules");
        problems.add(problem.at(written.place).hint("write default: drop"));
    }
    Hook { default, rules }
}

/// The rules of all keys, in the order written.
fn in_order<'s>(written: &'s spec::Hook, problems: &mut Problems) -> Vec<Written<'s>> {
    let mut rules = Vec::new();
    for key in &written.order {
        let (matches, verdict) = match *key {
            "accept" => (&written.accept, Some(Verdict::Accept)),
            "drop" => (&written.drop, Some(Verdict::Drop)),
            "reject" => (&written.reject, Some(Verdict::Reject)),
            "log" => (&written.log, None),
            _ => {
                rules.extend(written.rules.iter().filter_map(|rule| one(rule, problems)));
                continue;
            }
        };
        rules.extend(matches.iter().map(|packets| Written {
            verdict,
            packets,
            rate: None,
            log: verdict.is_none().then(|| "netarium: ".to_owned()),
        }));
    }
    rules
}

fn one<'s>(rule: &'s spec::Rule, problems: &mut Problems) -> Option<Written<'s>> {
    let rate = rule.rate.as_ref().and_then(|word| rate(word, problems));
    let log = rule.log.as_ref().map(|word| prefix(word, problems));
    let forms = [
        (&rule.accept, Verdict::Accept),
        (&rule.drop, Verdict::Drop),
        (&rule.reject, Verdict::Reject),
    ];
    let (packets, verdict) =
        forms.into_iter().find_map(|(packets, verdict)| Some((packets.as_ref()?, verdict)))?;
    Some(Written { verdict: Some(verdict), packets, rate, log })
}

fn rate(word: &Word, problems: &mut Problems) -> Option<Rate> {
    let rate = word.split_once('/').and_then(|(number, each)| {
        let each = ["second", "minute", "hour", "day"].into_iter().find(|known| *known == each)?;
        let packets = number.parse().ok().filter(|packets| *packets > 0)?;
        Some(Rate { packets, each })
    });
    if rate.is_none() {
        let problem = Problem::new(format!("{} is no rate", word.value)).at(word.place);
        problems.add(problem.hint("write 10/second, or minute, hour, day"));
    }
    rate
}

fn prefix(word: &Word, problems: &mut Problems) -> String {
    let fits = |letter: char| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\');
    if word.len() > LONGEST_PREFIX || !word.chars().all(fits) {
        let problem = Problem::new("this cannot stand before a line of the log").at(word.place);
        problems.add(problem.hint("write at most 127 ASCII characters, without \" and \\"));
    }
    word.value.clone()
}

fn check_decided(
    decided: &[(Packets, Verdict, Place)],
    packets: &Packets,
    verdict: Verdict,
    place: Place,
    problems: &mut Problems,
) {
    let earlier = decided.iter().find(|(earlier, ..)| earlier == packets);
    if let Some((_, first, at)) = earlier.filter(|(_, first, _)| *first != verdict) {
        let message = format!("the same packets are {} already", participle(*first));
        let problem = Problem::new(message).at(place).note(*at, "the first rule is here");
        problems.add(problem.hint("the first rule that takes a packet decides"));
    }
}

fn participle(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accepted",
        Verdict::Drop => "dropped",
        Verdict::Reject => "rejected",
    }
}

/// Raw text stays inside of the table, and reads no files: nft(8) would read those of the host.
fn check_raw(raw: &Word, problems: &mut Problems) {
    let mut depth = 0_i32;
    let mut closes_table = false;
    let mut words = String::new();
    let mut quoted = false;
    let mut comment = false;
    for letter in raw.chars() {
        match letter {
            '\n' => comment = false,
            _ if comment => continue,
            '"' => quoted = !quoted,
            _ if quoted => continue,
            '#' => comment = true,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        closes_table |= depth < 0;
        words.push(if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { ' ' });
    }
    if closes_table || depth != 0 || quoted {
        let problem = Problem::new("raw has a brace or a quote without its partner").at(raw.place);
        problems.add(problem.hint("it is put between the braces of a table"));
    }
    if words.split_whitespace().any(|word| word == "include") {
        let problem = Problem::new("raw cannot include a file").at(raw.place);
        problems.add(problem.hint("write here what is in the file"));
    }
    if raw.contains(|letter: char| letter.is_control() && !matches!(letter, '\n' | '\t')) {
        problems.at(raw.place, "raw is text, without control characters");
    }
}
