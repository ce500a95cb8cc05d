//! Firewalls and translation of addresses, as written.

use schemars::JsonSchema;

use super::Word;
use super::decode::{Table, choice, list, truth, word, words};
use super::tree::{Tree, Value};
use crate::firewall::{Policy, State};
use crate::problem::{Place, Placed, Problem, Problems};
use crate::schema;

/// What a node lets in, out and through.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Firewall {
    /// Packets to the node itself. Default: all pass.
    pub input: Option<Hook>,
    /// Packets from the node itself. Default: all pass.
    pub output: Option<Hook>,
    /// Packets that the node forwards. Default: all pass.
    pub forward: Option<Hook>,
    /// nftables text, put into the node's table as it is.
    #[schemars(with = "Option<String>")]
    pub raw: Option<Word>,
}

/// The rules of one hook. The first that takes a packet decides; the keys `accept`, `drop`,
/// `reject`, `log` and `rules` count in the order in which they are written.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hook {
    /// What becomes of a packet that no rule takes. Default: `accept`.
    #[schemars(with = "Option<Policy>")]
    pub default: Option<Placed<Policy>>,
    /// Packets that pass.
    #[schemars(with = "Option<schema::OneOrMany<schema::MatchForm>>")]
    pub accept: Vec<Match>,
    /// Packets that are dropped in silence.
    #[schemars(with = "Option<schema::OneOrMany<schema::MatchForm>>")]
    pub drop: Vec<Match>,
    /// Packets that are dropped, and whose sender is told.
    #[schemars(with = "Option<schema::OneOrMany<schema::MatchForm>>")]
    pub reject: Vec<Match>,
    /// Packets that are logged and go on to the next rule.
    #[schemars(with = "Option<schema::OneOrMany<schema::MatchForm>>")]
    pub log: Vec<Match>,
    /// Rules one by one, with rates and prefixes for the log.
    #[schemars(with = "Option<Vec<Rule>>")]
    pub rules: Vec<Rule>,
    /// The keys of rules, in the order written.
    #[schemars(skip)]
    pub order: Vec<&'static str>,
    /// Where it is.
    #[schemars(skip)]
    pub place: Place,
}

/// One rule: `accept`, `drop` or `reject` with what it is about.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// Packets that pass.
    #[schemars(with = "Option<schema::MatchForm>")]
    pub accept: Option<Match>,
    /// Packets that are dropped in silence.
    #[schemars(with = "Option<schema::MatchForm>")]
    pub drop: Option<Match>,
    /// Packets that are dropped, and whose sender is told.
    #[schemars(with = "Option<schema::MatchForm>")]
    pub reject: Option<Match>,
    /// No more than this; the rest goes on to the next rule.
    #[schemars(with = "Option<schema::Rate>")]
    pub rate: Option<Word>,
    /// Log the packet, with this before it.
    #[schemars(with = "Option<String>")]
    pub log: Option<Word>,
    /// Where it is.
    #[schemars(skip)]
    pub place: Place,
}

/// Which packets a rule is about: those for which all of this is true.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename = "MatchTable", deny_unknown_fields)]
#[non_exhaustive]
pub struct Match {
    /// The segment or interface that they come in by.
    #[schemars(rename = "in", with = "Option<schema::OneOrMany<schema::SegmentOrInterface>>")]
    pub incoming: Vec<Word>,
    /// The segment or interface that they go out by.
    #[schemars(rename = "out", with = "Option<schema::OneOrMany<schema::SegmentOrInterface>>")]
    pub outgoing: Vec<Word>,
    /// Where they come from: an address, a prefix, a node or a segment.
    #[schemars(with = "Option<schema::OneOrMany<schema::Party>>")]
    pub from: Vec<Word>,
    /// Where they go to.
    #[schemars(with = "Option<schema::OneOrMany<schema::Party>>")]
    pub to: Vec<Word>,
    /// Their protocol.
    #[schemars(with = "Option<schema::OneOrMany<schema::IpProtocol>>")]
    pub protocol: Vec<Word>,
    /// The port that they go to, or a range.
    #[schemars(with = "Option<schema::OneOrMany<schema::Ports>>")]
    pub port: Vec<Word>,
    /// Their type of ICMP or ICMPv6.
    #[schemars(with = "Option<schema::OneOrMany<schema::IcmpType>>")]
    pub icmp: Vec<Word>,
    /// What connection tracking says of them.
    #[schemars(with = "Option<schema::OneOrMany<State>>")]
    pub state: Vec<Placed<State>>,
    /// In `input` and `output`: IKE and ESP with the other end of this tunnel, and what it carries
    /// if that is between its two ends. In `forward`: what it carries.
    #[schemars(with = "Option<schema::Name>")]
    pub tunnel: Option<Word>,
    /// Where it is.
    #[schemars(skip)]
    pub place: Place,
}

/// A translation of addresses: one of `masquerade`, `snat`, `dnat`, `redirect`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Nat {
    /// What goes out by this segment or interface gets the address that the node has there.
    #[schemars(with = "Option<schema::OneOrMany<schema::SegmentOrInterface>>")]
    pub masquerade: Vec<Word>,
    /// What comes from here gets the source `to`.
    #[schemars(with = "Option<schema::OneOrMany<schema::Party>>")]
    pub snat: Vec<Word>,
    /// What goes to this address, port and protocol goes to `to` instead.
    #[schemars(with = "Option<schema::NatTarget>")]
    pub dnat: Option<Word>,
    /// What goes to this port and protocol anywhere goes to port `to` of the node itself.
    #[schemars(with = "Option<schema::PortAndProtocol>")]
    pub redirect: Option<Word>,
    /// The new address, with a port where one was named, or the new port.
    #[schemars(with = "Option<schema::NatTo>")]
    pub to: Option<Word>,
    /// Only what comes from this address, prefix, node or segment; for `dnat` and `redirect`.
    #[schemars(with = "Option<schema::OneOrMany<schema::Party>>")]
    pub from: Vec<Word>,
    /// Only what comes in by this segment or interface.
    #[schemars(rename = "in", with = "Option<schema::OneOrMany<schema::SegmentOrInterface>>")]
    pub incoming: Vec<Word>,
    /// Only what goes out by this segment or interface.
    #[schemars(rename = "out", with = "Option<schema::OneOrMany<schema::SegmentOrInterface>>")]
    pub outgoing: Vec<Word>,
    /// Whether what tunnels carry is changed too. Default: `false`.
    #[schemars(with = "Option<bool>")]
    pub tunnels: Option<Placed<bool>>,
    /// Only what comes out of this tunnel, for `dnat` and `redirect`, or goes into it, for `snat`.
    #[schemars(with = "Option<schema::Name>")]
    pub tunnel: Option<Word>,
    /// Where it is.
    #[schemars(skip)]
    pub place: Place,
}

const POLICIES: [(&str, Policy); 2] = [("accept", Policy::Accept), ("drop", Policy::Drop)];

const STATES: [(&str, State); 5] = [
    ("established", State::Established),
    ("related", State::Related),
    ("new", State::New),
    ("invalid", State::Invalid),
    ("untracked", State::Untracked),
];

impl Firewall {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("a firewall", tree, problems)?;
        let firewall = Self {
            input: table.take("input").and_then(|tree| Hook::read(tree, problems)),
            output: table.take("output").and_then(|tree| Hook::read(tree, problems)),
            forward: table.take("forward").and_then(|tree| Hook::read(tree, problems)),
            raw: table.take("raw").and_then(|tree| word("raw", tree, problems)),
        };
        table.close(problems);
        Some(firewall)
    }
}

impl Hook {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("a hook of a firewall", tree, problems)?;
        let order = table.in_order(&["accept", "drop", "reject", "log", "rules"]);
        let default =
            table.take("default").and_then(|tree| choice("default", tree, &POLICIES, problems));
        let mut matches = |key| {
            let items = table.take(key).map_or(&[][..], one_or_many);
            items.iter().filter_map(|item| Match::read(item, problems)).collect()
        };
        let (accept, drop, reject, log) =
            (matches("accept"), matches("drop"), matches("reject"), matches("log"));
        let rules = table.take("rules").map_or(&[][..], |tree| list("rules", tree, problems));
        let rules = rules.iter().filter_map(|item| Rule::read(item, problems)).collect();
        table.close(problems);
        Some(Self { default, accept, drop, reject, log, rules, order, place: tree.place })
    }
}

fn one_or_many(tree: &Tree) -> &[Tree] {
    match &tree.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(tree),
    }
}

impl Rule {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("a rule", tree, problems)?;
        let mut packets = |key| table.take(key).and_then(|tree| Match::read(tree, problems));
        let (accept, drop, reject) = (packets("accept"), packets("drop"), packets("reject"));
        let rate = table.take("rate").and_then(|tree| word("rate", tree, problems));
        let log = table.take("log").and_then(|tree| word("log", tree, problems));
        let place = table.place;
        let named = ["accept", "drop", "reject"].iter().filter(|key| table.has(key)).count();
        if named != 1 {
            let problem = Problem::new(format!("a rule does one thing, and this one {named}"));
            problems.add(problem.at(place).hint("write one of accept, drop and reject"));
        }
        table.close(problems);
        (named == 1).then_some(Self { accept, drop, reject, rate, log, place })
    }
}

impl Match {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let place = tree.place;
        if let Value::Scalar(text) = &tree.value {
            let word = word("a match", tree, problems)?;
            return Some(if text == "established" {
                let state = |value| Placed { value, place };
                let state = vec![state(State::Established), state(State::Related)];
                Self { state, place, ..Self::default() }
            } else {
                Self { protocol: vec![word], place, ..Self::default() }
            });
        }
        let mut table = Table::open("a match", tree, problems)?;
        if table.is_empty() {
            let problem = Problem::new("a match that asks nothing takes every packet").at(place);
            problems.add(problem.hint("write default: accept or default: drop"));
            return None;
        }
        let mut take = |key| table.take(key).map_or_else(Vec::new, |it| words(key, it, problems));
        let (incoming, outgoing, from, to) = (take("in"), take("out"), take("from"), take("to"));
        let (protocol, port, icmp) = (take("protocol"), take("port"), take("icmp"));
        let states = table.take("state").map_or(&[][..], one_or_many);
        let state = states.iter().filter_map(|it| choice("state", it, &STATES, problems)).collect();
        let tunnel = table.take("tunnel").and_then(|tree| word("tunnel", tree, problems));
        table.close(problems);
        Some(Self { incoming, outgoing, from, to, protocol, port, icmp, state, tunnel, place })
    }
}

impl Nat {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("a translation", tree, problems)?;
        let mut take = |key| table.take(key).map_or_else(Vec::new, |it| words(key, it, problems));
        let (masquerade, snat) = (take("masquerade"), take("snat"));
        let (incoming, outgoing, from) = (take("in"), take("out"), take("from"));
        let mut take = |key| table.take(key).and_then(|tree| word(key, tree, problems));
        let (dnat, redirect, to) = (take("dnat"), take("redirect"), take("to"));
        let tunnel = take("tunnel");
        let tunnels = table.take("tunnels").and_then(|tree| truth("tunnels", tree, problems));
        let place = table.place;
        let kinds = ["masquerade", "snat", "dnat", "redirect"];
        let named = kinds.iter().filter(|key| table.has(key)).count();
        if named != 1 {
            let problem =
                Problem::new(format!("a translation does one thing, and this one {named}"));
            problems
                .add(problem.at(place).hint("write one of masquerade, snat, dnat and redirect"));
        }
        table.close(problems);
        (named == 1).then_some(Self {
            masquerade,
            snat,
            dnat,
            redirect,
            to,
            from,
            incoming,
            outgoing,
            tunnels,
            tunnel,
            place,
        })
    }
}
