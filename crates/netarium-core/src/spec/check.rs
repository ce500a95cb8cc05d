//! Checks, as written.

use schemars::JsonSchema;

use super::Word;
use super::decode::{Table, choice, number, word, words};
use super::tree::{Tree, Value};
use crate::model::Protocol;
use crate::problem::{Place, Placed, Problem, Problems};
use crate::schema;

/// Something that must be true of the running lab: `from` with one of `ping`, `tcp`, `udp`, `http`,
/// or `on` with `only`, or `tunnel`, or `isolated`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Check {
    /// What it is called. Default: made from what it does.
    #[schemars(with = "Option<String>")]
    pub name: Option<Word>,
    /// What it belongs to: checks of one group are shown and picked together.
    #[schemars(with = "Option<String>")]
    pub group: Option<Word>,
    /// The node that asks; a list for several, each of which asks.
    #[schemars(with = "Option<schema::OneOrMany<schema::Name>>")]
    pub from: Option<Placed<Vec<Word>>>,
    /// Ask with ICMP echo: an address or a node.
    #[schemars(with = "Option<schema::Host>")]
    pub ping: Option<Word>,
    /// Connect with TCP: an address or a node, and a port.
    #[schemars(with = "Option<schema::HostAndPort>")]
    pub tcp: Option<Word>,
    /// Send a datagram with UDP: an address or a node, and a port.
    #[schemars(with = "Option<schema::HostAndPort>")]
    pub udp: Option<Word>,
    /// Get this URL with HTTP/1.1.
    #[schemars(with = "Option<schema::HttpUrl>")]
    pub http: Option<Word>,
    /// What must come of it. `blocked`: no answer, for whatever reason; `dropped`: no answer and no
    /// word why; `rejected`: a word that it is not allowed or not there. For HTTP also a status, or
    /// a table; for a tunnel `down`. Default: an answer, for HTTP with status 200; a tunnel that
    /// stands.
    #[schemars(with = "Option<schema::ExpectForm>")]
    pub expect: Option<Placed<Expect>>,
    /// The source address that the request must have where it arrives: an address, or a node for
    /// any of its addresses.
    #[schemars(with = "Option<schema::Host>")]
    pub source: Option<Word>,
    /// The node at which `source` is looked at. Default: the one that has the address asked.
    #[schemars(with = "Option<schema::Name>")]
    pub seen_by: Option<Word>,
    /// The segment that is listened on while the other checks run; a list for several.
    #[schemars(with = "Option<schema::OneOrMany<schema::Name>>")]
    pub on: Option<Placed<Vec<Word>>>,
    /// The only protocols that may be seen there, besides ARP and neighbour discovery.
    #[schemars(with = "Option<schema::OneOrMany<Protocol>>")]
    pub only: Option<Placed<Vec<Placed<Protocol>>>>,
    /// The tunnel that must stand; a list for several.
    #[schemars(with = "Option<schema::OneOrMany<schema::Name>>")]
    pub tunnel: Option<Placed<Vec<Word>>>,
    /// The IKE proposal that it must have come up with, in strongSwan's words. Default: its own.
    #[schemars(with = "Option<schema::Proposal>")]
    pub ike: Option<Word>,
    /// The ESP proposal that it must have come up with. Default: its own.
    #[schemars(with = "Option<schema::Proposal>")]
    pub esp: Option<Word>,
    /// The node from which nothing of the machine may be reached or seen; a list for several, or
    /// `all`.
    #[schemars(with = "Option<schema::OneOrMany<schema::Name>>")]
    pub isolated: Option<Placed<Vec<Word>>>,
    /// Disturb: kill all processes of this node, which then comes back as `up` would bring it; a
    /// list for several, one after another. Only with `netarium check --dynamic`.
    #[schemars(with = "Option<schema::OneOrMany<schema::Name>>")]
    pub kill: Option<Placed<Vec<Word>>>,
    /// Disturb: set this link of a node down and up again; a list for several.
    #[schemars(with = "Option<schema::OneOrMany<schema::LinkEnd>>")]
    pub cut: Option<Placed<Vec<Word>>>,
    /// Disturb: give this tunnel new keys; a list for several.
    #[schemars(with = "Option<schema::OneOrMany<schema::Name>>")]
    pub rekey: Option<Placed<Vec<Word>>>,
    /// How long a link is cut. Default: `1s`.
    #[schemars(rename = "for", with = "Option<schema::Duration>")]
    pub duration: Option<Word>,
    /// What is transferred while a tunnel is rekeyed, and must not break.
    #[schemars(with = "Option<During>")]
    pub during: Option<Placed<During>>,
    /// Checks that must hold before what was done is undone.
    #[schemars(with = "Option<schema::OneOrMany<Check>>")]
    pub meanwhile: Option<Placed<Vec<Self>>>,
    /// Names or groups of checks that must hold again afterwards, with `*` and `?`. Default: all
    /// that ask or look at a tunnel.
    #[schemars(with = "Option<schema::OneOrMany<String>>")]
    pub then: Option<Placed<Vec<Word>>>,
    /// How long that may take. Default: `30s`.
    #[schemars(with = "Option<schema::Duration>")]
    pub recover: Option<Word>,
    /// How long it may take, `2s` or `500ms`. Default: `5s`; `500ms` where it is `blocked`, and
    /// `1500ms` where it is `dropped`.
    #[schemars(with = "Option<schema::Duration>")]
    pub timeout: Option<Word>,
    /// Where it is.
    #[schemars(skip)]
    pub place: Place,
}

/// A transfer that lasts as long as something else.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct During {
    /// The node that asks.
    #[schemars(with = "schema::Name")]
    pub from: Word,
    /// What it gets with HTTP/1.1: one long body, or one after another.
    #[schemars(with = "schema::HttpUrl")]
    pub http: Word,
}

/// What must come of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// No answer.
    Blocked,
    /// No answer, and no word why.
    Dropped,
    /// A word that it is not allowed or not there.
    Rejected,
    /// A tunnel that does not stand.
    Down,
    /// A response of an HTTP server.
    Answer(Answer),
}

/// The response of an HTTP server.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Answer {
    /// Its status. Default: 200.
    #[schemars(with = "Option<u16>", range(min = 100, max = 599))]
    pub status: Option<Placed<u16>>,
    /// Text that must be found in its body.
    #[schemars(with = "Option<String>")]
    pub body: Option<Word>,
}

const PROTOCOLS: [(&str, Protocol); 6] = [
    ("ike", Protocol::Ike),
    ("esp", Protocol::Esp),
    ("wireguard", Protocol::Wireguard),
    ("icmp", Protocol::Icmp),
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
];

impl Check {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("a check", tree, problems)?;
        let mut take = |key| table.take(key);
        let mut one =
            |key, problems: &mut Problems| take(key).and_then(|tree| word(key, tree, problems));
        let [name, group, ping, tcp] =
            ["name", "group", "ping", "tcp"].map(|key| one(key, problems));
        let [udp, http, source, seen_by] =
            ["udp", "http", "source", "seen-by"].map(|key| one(key, problems));
        let [ike, esp, timeout] = ["ike", "esp", "timeout"].map(|key| one(key, problems));
        let [duration, recover] = ["for", "recover"].map(|key| one(key, problems));
        let mut many = |key| {
            let tree = table.take(key)?;
            Some(Placed { value: words(key, tree, problems), place: tree.place })
        };
        let [from, on, tunnel, isolated] = ["from", "on", "tunnel", "isolated"].map(&mut many);
        let [kill, cut, rekey, then] = ["kill", "cut", "rekey", "then"].map(&mut many);
        let during = table.take("during").and_then(|tree| During::read(tree, problems));
        let meanwhile = table.take("meanwhile").map(|tree| {
            let items = items(tree).iter().filter_map(|item| Self::read(item, problems));
            Placed { value: items.collect(), place: tree.place }
        });
        let expect = table.take("expect").and_then(|tree| Expect::read(tree, problems));
        let only = table.take("only");
        let only = only.map(|it| Placed { value: protocols(it, problems), place: it.place });
        table.close(problems);
        let place = tree.place;
        Some(Self {
            name,
            group,
            from,
            ping,
            tcp,
            udp,
            http,
            expect,
            source,
            seen_by,
            on,
            only,
            tunnel,
            ike,
            esp,
            isolated,
            kill,
            cut,
            rekey,
            duration,
            during,
            meanwhile,
            then,
            recover,
            timeout,
            place,
        })
    }
}

impl During {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Placed<Self>> {
        let mut table = Table::open("during", tree, problems)?;
        let from = table.need("from", problems).and_then(|tree| word("from", tree, problems));
        let http = table.need("http", problems).and_then(|tree| word("http", tree, problems));
        table.close(problems);
        Some(Placed { value: Self { from: from?, http: http? }, place: tree.place })
    }
}

/// The items of a list, or the one thing that is there.
fn items(tree: &Tree) -> &[Tree] {
    match &tree.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(tree),
    }
}

fn protocols(tree: &Tree, problems: &mut Problems) -> Vec<Placed<Protocol>> {
    items(tree).iter().filter_map(|item| choice("protocol", item, &PROTOCOLS, problems)).collect()
}

impl Expect {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Placed<Self>> {
        let place = tree.place;
        let value = match &tree.value {
            Value::Scalar(text) if word_of(text).is_some() => word_of(text)?,
            Value::Scalar(text) if text.starts_with(|first: char| first.is_ascii_digit()) => {
                Self::Answer(Answer { status: Some(number("expect", tree, problems)?), body: None })
            }
            Value::Table(_) => {
                let mut table = Table::open("expect", tree, problems)?;
                let status = table.take("status").and_then(|it| number("status", it, problems));
                let body = table.take("body").and_then(|it| word("body", it, problems));
                table.close(problems);
                Self::Answer(Answer { status, body })
            }
            _ => {
                let word = word("expect", tree, problems)?;
                let message = format!("a check cannot expect {}", word.value);
                let hint = "write blocked, dropped or rejected, for http a status like 200 or \
                            {status: 200, body: text}, for a tunnel down";
                problems.add(Problem::new(message).at(place).hint(hint));
                return None;
            }
        };
        Some(Placed { value, place })
    }
}

/// What a word alone can expect.
fn word_of(text: &str) -> Option<Expect> {
    Some(match text {
        "blocked" => Expect::Blocked,
        "dropped" => Expect::Dropped,
        "rejected" => Expect::Rejected,
        "down" => Expect::Down,
        _ => return None,
    })
}
