//! Checks, as written.

use schemars::JsonSchema;

use super::Word;
use super::decode::{Table, choice, number, word, words};
use super::tree::{Tree, Value};
use crate::model::Protocol;
use crate::problem::{Place, Placed, Problem, Problems};
use crate::schema;

/// Something that must be true of the running lab: `from` with one of `ping`, `tcp`, `http`, or
/// `on` with `only`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Check {
    /// What it is called. Default: made from what it does.
    #[schemars(with = "Option<String>")]
    pub name: Option<Word>,
    /// The node that asks; a list for several, each of which asks.
    #[schemars(with = "Option<schema::OneOrMany<schema::Name>>")]
    pub from: Option<Placed<Vec<Word>>>,
    /// Ask with ICMP echo: an address or a node.
    #[schemars(with = "Option<schema::Host>")]
    pub ping: Option<Word>,
    /// Connect with TCP: an address or a node, and a port.
    #[schemars(with = "Option<schema::HostAndPort>")]
    pub tcp: Option<Word>,
    /// Get this URL with HTTP/1.1.
    #[schemars(with = "Option<schema::HttpUrl>")]
    pub http: Option<Word>,
    /// What must come of it: `blocked` for no answer at all; for HTTP also a status, or a table.
    /// Default: an answer, for HTTP with status 200.
    #[schemars(with = "Option<schema::ExpectForm>")]
    pub expect: Option<Placed<Expect>>,
    /// The segment that is listened on while the other checks run; a list for several.
    #[schemars(with = "Option<schema::OneOrMany<schema::Name>>")]
    pub on: Option<Placed<Vec<Word>>>,
    /// The only protocols that may be seen there, besides ARP and neighbour discovery.
    #[schemars(with = "Option<schema::OneOrMany<Protocol>>")]
    pub only: Option<Placed<Vec<Placed<Protocol>>>>,
    /// How long it may take, `2s` or `500ms`. Default: `5s`, and `500ms` where it is `blocked`.
    #[schemars(with = "Option<schema::Duration>")]
    pub timeout: Option<Word>,
    /// Where it is.
    #[schemars(skip)]
    pub place: Place,
}

/// What must come of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// No answer.
    Blocked,
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
        let check = Self {
            name: take("name").and_then(|tree| word("name", tree, problems)),
            from: take("from")
                .map(|tree| Placed { value: words("from", tree, problems), place: tree.place }),
            ping: take("ping").and_then(|tree| word("ping", tree, problems)),
            tcp: take("tcp").and_then(|tree| word("tcp", tree, problems)),
            http: take("http").and_then(|tree| word("http", tree, problems)),
            expect: take("expect").and_then(|tree| Expect::read(tree, problems)),
            on: take("on")
                .map(|tree| Placed { value: words("on", tree, problems), place: tree.place }),
            only: take("only")
                .map(|tree| Placed { value: protocols(tree, problems), place: tree.place }),
            timeout: take("timeout").and_then(|tree| word("timeout", tree, problems)),
            place: tree.place,
        };
        table.close(problems);
        Some(check)
    }
}

fn protocols(tree: &Tree, problems: &mut Problems) -> Vec<Placed<Protocol>> {
    let items = match &tree.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(tree),
    };
    items.iter().filter_map(|item| choice("protocol", item, &PROTOCOLS, problems)).collect()
}

impl Expect {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Placed<Self>> {
        let place = tree.place;
        let value = match &tree.value {
            Value::Scalar(text) if text == "blocked" => Self::Blocked,
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
                let hint =
                    "write blocked, or for http a status like 200 or {status: 200, body: text}";
                problems.add(Problem::new(message).at(place).hint(hint));
                return None;
            }
        };
        Some(Placed { value, place })
    }
}
