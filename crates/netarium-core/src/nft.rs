//! A node's firewall as nftables text (nft(8)): what is in its table, and the transactions that put
//! one in place and take it away. Nothing is decided here.
//!
//! A table that is deleted and made anew under its name, in one transaction, lets a few packets
//! through that neither of the two would (kernel 6.18: ten of half a million packets while one was
//! replaced a hundred times). So there are two names that take turns: the new table is made under the
//! one, and in the same transaction the old one is deleted under the other.

mod guard;

use std::collections::BTreeSet;
use std::fmt::Display;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::firewall::{
    Change, Firewall, Guard, Hook, Nat, Packets, Payload, Policy, Ports, Rule, State, Tunnelled,
    Verdict,
};
use crate::name::InterfaceName;

/// The table of a node's firewall, by its name in the family `inet`. The two take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// `inet netarium`.
    First,
    /// `inet netarium2`.
    Second,
}

impl Table {
    /// Family and name, as nft(8) wants them.
    pub fn words(self) -> [&'static str; 2] {
        match self {
            Self::First => ["inet", "netarium"],
            Self::Second => ["inet", "netarium2"],
        }
    }

    /// The one whose turn comes after it.
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// Deletes it, whether it is there or not: what has just been declared is there.
    fn removal(self) -> String {
        let name = self.words().join(" ");
        format!("table {name}\ndelete table {name}\n")
    }
}

/// The transaction that makes `table` with `content` and takes the other one away.
pub fn placement(table: Table, content: &str) -> String {
    let name = table.words().join(" ");
    format!("{}table {name} {{\n{content}}}\n{}", table.removal(), table.other().removal())
}

/// The transaction after which there is no table of ours.
pub fn removal() -> String {
    Table::First.removal() + &Table::Second.removal()
}

/// Neighbours are found with these (RFC 4861), which come from the link itself: no router has
/// forwarded them.
const NEIGHBOURS: &str =
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept";

/// Path MTU discovery, without which IPv6 does not work (RFC 8201).
const TOO_BIG: &str = "icmpv6 type packet-too-big accept";

/// What is in the table, with guards for what the node's tunnels carry.
pub fn render(firewall: &Firewall, guards: &[Guard]) -> String {
    let mut text = Text(String::new());
    let hooks = [
        ("input", &firewall.input, Some("iifname \"lo\" accept")),
        ("output", &firewall.output, Some("oifname \"lo\" accept")),
        ("forward", &firewall.forward, None),
    ];
    for (name, hook, loopback) in hooks {
        if let Some(hook) = hook {
            text.hook(name, hook, loopback, firewall.ipv6);
        }
    }
    text.translations(firewall);
    text.guards(guards);
    if let Some(raw) = &firewall.raw {
        raw.lines().for_each(|line| text.line(1, line));
    }
    text.0
}

/// The text, line by line.
struct Text(String);

impl Text {
    fn line(&mut self, depth: usize, line: impl Display) {
        self.0.push_str(&format!("{}{line}", "\t".repeat(depth)).trim_end().replace('\r', ""));
        self.0.push('\n');
    }

    fn hook(&mut self, name: &str, hook: &Hook, loopback: Option<&str>, ipv6: bool) {
        let policy = match hook.default {
            Policy::Accept => "accept",
            Policy::Drop => "drop",
        };
        self.line(1, format!("chain filter_{name} {{"));
        self.line(2, format!("type filter hook {name} priority filter; policy {policy};"));
        loopback.into_iter().for_each(|line| self.line(2, line));
        hook.rules.iter().flat_map(rule).for_each(|line| self.line(2, line));
        if ipv6 && hook.default == Policy::Drop {
            if name != "forward" {
                self.line(2, NEIGHBOURS);
            }
            self.line(2, TOO_BIG);
        }
        self.line(1, "}");
    }

    /// The chains of translation. Where tunnels carry something, each rule that must leave it alone
    /// has a chain of its own, which what is carried returns from.
    fn translations(&mut self, firewall: &Firewall) {
        let mut chains = [("prerouting", "dstnat", vec![]), ("postrouting", "srcnat", vec![])];
        for (index, nat) in firewall.nat.iter().enumerate() {
            let changes_source =
                matches!(nat.change, Change::Masquerade { .. } | Change::Source { .. });
            let lines = translation(nat);
            let may_meet = |(from, _): &&(IpNet, IpNet)| {
                nat.change.is_ipv4().is_none_or(|is_ipv4| from.addr().is_ipv4() == is_ipv4)
            };
            let carried: Vec<_> = firewall.carried.iter().filter(may_meet).collect();
            let lines = if nat.tunnels == Tunnelled::Left && !carried.is_empty() {
                let name = format!("nat_{}", index + 1);
                self.line(1, format!("chain {name} {{"));
                for (from, to) in carried {
                    let family = family(from);
                    self.line(
                        2,
                        format!(
                            "{family} saddr {from} {family} daddr {to} return",
                            from = short(from),
                            to = short(to)
                        ),
                    );
                }
                lines.iter().for_each(|line| self.line(2, line));
                self.line(1, "}");
                vec![format!("jump {name}")]
            } else {
                lines
            };
            chains[usize::from(changes_source)].2.extend(lines);
        }
        for (hook, priority, lines) in chains {
            if !lines.is_empty() {
                self.line(1, format!("chain nat_{hook} {{"));
                self.line(2, format!("type nat hook {hook} priority {priority}; policy accept;"));
                lines.iter().for_each(|line| self.line(2, line));
                self.line(1, "}");
            }
        }
    }
}

fn family(prefix: &IpNet) -> &'static str {
    if prefix.addr().is_ipv4() { "ip" } else { "ip6" }
}

/// A prefix, or the address if it has only one.
fn short(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.to_string()
    }
}

/// A rule in as many lines as nftables needs: one for each family, if it is about addresses.
fn rule(rule: &Rule) -> Vec<String> {
    let rest = [
        rule.rate.map(|rate| format!("limit rate {}/{}", rate.packets, rate.each)),
        rule.log.as_ref().map(|prefix| format!("log prefix \"{prefix}\" group 0")),
        rule.verdict.map(|verdict| {
            match verdict {
                Verdict::Accept => "accept",
                Verdict::Drop => "drop",
                Verdict::Reject => "reject",
            }
            .to_owned()
        }),
        rule.comment.as_ref().map(|comment| format!("comment \"{comment}\"")),
    ];
    let rest: Vec<String> = rest.into_iter().flatten().collect();
    packets(&rule.packets)
        .into_iter()
        .map(|mut words| {
            words.extend(rest.iter().cloned());
            words.join(" ")
        })
        .collect()
}

/// The words for packets, once for each family if that makes a difference.
fn packets(packets: &Packets) -> Vec<Vec<String>> {
    let both = |words: Vec<String>| vec![words];
    let mut begin = interfaces("iifname", &packets.incoming);
    begin.extend(interfaces("oifname", &packets.outgoing));
    let states = states(&packets.states);
    let is_icmp = matches!(packets.payload, Payload::Icmp(..));
    if packets.from.is_empty() && packets.to.is_empty() && !is_icmp {
        return both([begin, payload(&packets.payload, true), states].concat());
    }
    let mut lines = Vec::new();
    for is_ipv4 in [true, false] {
        let Some(addresses) = between(&packets.from, &packets.to, is_ipv4) else { continue };
        if let Payload::Icmp(v4, v6) = &packets.payload
            && (if is_ipv4 { v4 } else { v6 }).is_empty()
        {
            continue;
        }
        let payload = payload(&packets.payload, is_ipv4);
        lines.push([&begin[..], &addresses, &payload, &states].concat());
    }
    lines
}

/// The words for packets of one family from some of these prefixes to some of those; everywhere is
/// meant by none. Nothing if no packet can be like that.
fn between(from: &[IpNet], to: &[IpNet], is_ipv4: bool) -> Option<Vec<String>> {
    let word = if is_ipv4 { "ip" } else { "ip6" };
    let mut words = Vec::new();
    for (key, list) in [("saddr", from), ("daddr", to)] {
        let own = list.iter().filter(|it| it.addr().is_ipv4() == is_ipv4);
        let own: Vec<String> = own.map(short).collect();
        if own.is_empty() && !list.is_empty() {
            return None;
        }
        if !own.is_empty() {
            words.push(format!("{word} {key} {}", set(&own)));
        }
    }
    Some(words)
}

fn interfaces(key: &str, names: &[InterfaceName]) -> Vec<String> {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    if names.is_empty() { vec![] } else { vec![format!("{key} {}", set(&names))] }
}

fn payload(payload: &Payload, is_ipv4: bool) -> Vec<String> {
    match payload {
        Payload::Any => vec![],
        Payload::Protocols(protocols) => {
            vec![format!("meta l4proto {}", set(protocols.iter().map(|it| protocol(*it))))]
        }
        Payload::Ports(protocols, ports) => match named(protocols) {
            Some(name) => vec![format!("{name} dport {}", set(ports))],
            None => {
                vec![
                    format!("meta l4proto {}", set(protocols.iter().map(|it| protocol(*it)))),
                    format!("th dport {}", set(ports)),
                ]
            }
        },
        Payload::Icmp(v4, _) if is_ipv4 => vec![format!("icmp type {}", set(v4))],
        Payload::Icmp(_, v6) => vec![format!("icmpv6 type {}", set(v6))],
    }
}

/// The word for the ports of one protocol.
fn named(protocols: &BTreeSet<u8>) -> Option<String> {
    let mut protocols = protocols.iter();
    let first = protocols.next().filter(|_| protocols.next().is_none())?;
    Some(protocol(*first))
}

/// A protocol by its name in nft(8), where that is sure to know it.
fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        50 => "esp".to_owned(),
        51 => "ah".to_owned(),
        58 => "ipv6-icmp".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

fn states(states: &BTreeSet<State>) -> Vec<String> {
    let words: Vec<&str> = states
        .iter()
        .map(|state| match state {
            State::Established => "established",
            State::Related => "related",
            State::New => "new",
            State::Invalid => "invalid",
            State::Untracked => "untracked",
        })
        .collect();
    if words.is_empty() { vec![] } else { vec![format!("ct state {}", set(&words))] }
}

fn translation(nat: &Nat) -> Vec<String> {
    let joined = |begin: Vec<String>, words: Vec<String>| [begin, words].concat().join(" ");
    let port = |(number, ports): &(u8, Ports)| format!("{} dport {ports}", protocol(*number));
    match &nat.change {
        Change::Masquerade { outgoing } => {
            vec![joined(interfaces("oifname", outgoing), vec!["masquerade".to_owned()])]
        }
        Change::Source { from, towards, outgoing, to: (first, last) } => {
            let family = if first.is_ipv4() { "ip" } else { "ip6" };
            let to = if first == last { first.to_string() } else { format!("{first}-{last}") };
            let mut words = between(from, towards, first.is_ipv4()).unwrap_or_default();
            words.push(format!("snat {family} to {to}"));
            vec![joined(interfaces("oifname", outgoing), words)]
        }
        Change::Destination { from, address, ports, incoming, to } => {
            let family = if address.is_ipv4() { "ip" } else { "ip6" };
            let mut words = between(from, &[], address.is_ipv4()).unwrap_or_default();
            words.push(format!("{family} daddr {address}"));
            words.extend(ports.as_ref().map(port));
            words.push(format!("dnat {family} to {}", Change::destination(*to)));
            vec![joined(interfaces("iifname", incoming), words)]
        }
        Change::Redirect { from, towards, ports, incoming, to } => {
            let end = [port(ports), format!("redirect to :{to}")];
            let line = |words: Vec<String>| {
                joined(interfaces("iifname", incoming), [&words[..], &end].concat())
            };
            if from.is_empty() && towards.is_empty() {
                return vec![line(vec![])];
            }
            let families = [true, false];
            families.into_iter().filter_map(|it| between(from, towards, it)).map(line).collect()
        }
    }
}

/// One, or a set.
fn set<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if let [item] = items.as_slice() { item.clone() } else { format!("{{ {} }}", items.join(", ")) }
}

impl Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}
