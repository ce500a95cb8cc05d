//! Tunnels, as written.

use std::fmt;

use schemars::JsonSchema;

use super::Word;
use super::decode::{Table, choice, list, number, truth, word, words};
use super::tree::{Tree, Value};
use crate::model::Start;
use crate::problem::{Place, Placed, Problem, Problems};
use crate::schema;

/// A tunnel: the word for its kind, and what that kind needs.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a lab has a handful of tunnels")]
pub enum Tunnel {
    /// An IPsec tunnel with IKEv2 (RFC 7296).
    Ipsec(Ipsec),
    /// A WireGuard tunnel.
    Wireguard(Wireguard),
}

/// The words for the kinds of tunnels.
const KINDS: [&str; 2] = ["ipsec", "wireguard"];

impl Tunnel {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("a tunnel", tree, problems)?;
        let named = KINDS.iter().filter(|kind| table.has(kind)).count();
        if named != 1 {
            let problem = Problem::new(format!("a tunnel is of one kind, and this one of {named}"));
            problems.add(problem.at(table.place).hint(format!("write {}", KINDS.join(" or "))));
        }
        let ipsec = table.take("ipsec").and_then(|tree| Ipsec::read(tree, problems));
        let wireguard = table.take("wireguard").and_then(|tree| Wireguard::read(tree, problems));
        table.close(problems);
        ipsec.map(Self::Ipsec).or(wireguard.map(Self::Wireguard)).filter(|_| named == 1)
    }

    /// The secret that is written there.
    pub fn secret(&self) -> Option<&String> {
        match self {
            Self::Ipsec(it) => match &it.auth {
                Some(Authentication::Secret(word)) => Some(&word.value),
                _ => None,
            },
            Self::Wireguard(_) => None,
        }
    }

    /// What all kinds have: the two ends, and what is behind each.
    pub fn ends(&self) -> Ends<'_> {
        match self {
            Self::Ipsec(it) => {
                Ends { between: &it.between, carry: it.carry.as_deref(), place: it.place }
            }
            Self::Wireguard(it) => {
                Ends { between: &it.between, carry: Some(&it.carry), place: it.place }
            }
        }
    }
}

/// An IPsec tunnel.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Ipsec {
    /// Its two ends. The first one opens it.
    #[schemars(with = "[schema::TunnelEndForm; 2]")]
    pub between: Vec<TunnelEnd>,
    /// What is behind each end, in the order of `between`: a segment, a prefix, or a list of them.
    /// Default: nothing; the tunnel carries what the two ends send each other.
    #[schemars(with = "Option<[schema::OneOrMany<schema::SegmentOrPrefix>; 2]>")]
    pub carry: Option<Vec<Vec<Word>>>,
    /// How the ends know each other: `certificate`, issued by the lab; `psk`, a secret that the lab
    /// makes; or a secret of your own. Default: `certificate`.
    #[schemars(with = "Option<schema::AuthForm>")]
    pub auth: Option<Authentication>,
    /// The IKE proposal in strongSwan's words. Default: `aes256gcm16-prfsha384-ecp384`.
    #[schemars(with = "Option<schema::Proposal>")]
    pub ike: Option<Word>,
    /// The ESP proposal in strongSwan's words. Default: `aes256gcm16-ecp384`.
    #[schemars(with = "Option<schema::Proposal>")]
    pub esp: Option<Word>,
    /// When it is opened: `up`, with the lab, or on `demand`, when there is something to carry.
    /// Default: `up`.
    #[schemars(with = "Option<Start>")]
    pub start: Option<Placed<Start>>,
    /// How long keys are used. Default: 4 hours for IKE, 1 hour for ESP.
    pub rekey: Option<Rekey>,
    /// After how much silence an end asks whether the other is still there. Default: `10s`.
    #[schemars(with = "Option<schema::Period>")]
    pub dpd: Option<Word>,
    /// `true`: ESP always goes in UDP. Default: only where it must.
    #[schemars(with = "Option<bool>")]
    pub encap: Option<Placed<bool>>,
    /// Where it is.
    #[schemars(skip)]
    pub place: Place,
}

/// How long keys are used before they are made anew.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rekey {
    /// Those of the IKE association. Default: `4h`.
    #[schemars(with = "Option<schema::Period>")]
    pub ike: Option<Word>,
    /// Those of the ESP associations. Default: `1h`.
    #[schemars(with = "Option<schema::Period>")]
    pub esp: Option<Word>,
}

/// A WireGuard tunnel.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Wireguard {
    /// Its two ends.
    #[schemars(with = "[schema::TunnelEndForm; 2]")]
    pub between: Vec<TunnelEnd>,
    /// What is behind each end, in the order of `between`: a segment, a prefix, or a list of them.
    #[schemars(with = "[schema::OneOrMany<schema::SegmentOrPrefix>; 2]")]
    pub carry: Vec<Vec<Word>>,
    /// The UDP port of both ends, or a list with one for each. Default: 51820, or the next that is
    /// free at its node.
    #[schemars(with = "Option<schema::OneOrMany<schema::UdpPort>>")]
    pub port: Option<Placed<Vec<Placed<u16>>>>,
    /// After how long without a packet an end sends an empty one. Default: `25s`.
    #[schemars(with = "Option<schema::Seconds>")]
    pub keepalive: Option<Word>,
    /// The largest packet that it carries, in bytes. Default: 80 less than on the way.
    #[schemars(with = "Option<u32>")]
    pub mtu: Option<Placed<u32>>,
    /// Whether the ends share a key besides their own ones. Default: true.
    #[schemars(with = "Option<bool>")]
    pub psk: Option<Placed<bool>>,
    /// Where it is.
    #[schemars(skip)]
    pub place: Place,
}

/// The two ends of a tunnel of any kind.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// The two nodes, with their addresses.
    pub between: &'a [TunnelEnd],
    /// What is behind each end; `None` for what the two ends send each other.
    pub carry: Option<&'a [Vec<Word>]>,
    /// Where it says so.
    pub place: Place,
}

/// How the ends of a tunnel know each other.
#[derive(Clone)]
#[non_exhaustive]
pub enum Authentication {
    /// By X.509 certificates from the lab's own authority.
    Certificate,
    /// By a secret that the lab makes.
    Psk,
    /// By this secret.
    Secret(Word),
}

/// A secret is never shown.
impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "Certificate",
            Self::Psk => "Psk",
            Self::Secret(_) => "Secret",
        })
    }
}

const STARTS: [(&str, Start); 2] = [("up", Start::Up), ("demand", Start::Demand)];

/// One end of a tunnel in its long form.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename = "TunnelEndTable", deny_unknown_fields)]
#[non_exhaustive]
pub struct TunnelEnd {
    /// The node.
    #[schemars(with = "schema::Name")]
    pub node: Word,
    /// Its address towards the other end. Default: the one on a segment that both are on, else the
    /// one on the segment of its gateway.
    #[schemars(with = "Option<schema::Address>")]
    pub address: Option<Word>,
    /// `true`: somebody between the ends translates its address, so that the other end does not
    /// know it. Only for the first end, which opens the tunnel. Default: `false`.
    #[schemars(with = "Option<bool>")]
    pub nat: Option<Placed<bool>>,
}

impl Ipsec {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("ipsec", tree, problems)?;
        let between = table.need("between", problems).map(|tree| {
            let items = two("between", tree, problems);
            items.iter().filter_map(|item| TunnelEnd::read(item, problems)).collect()
        });
        let carry = table.take("carry").map(|tree| {
            let items = two("carry", tree, problems);
            items.iter().map(|item| behind(item, problems)).collect()
        });
        let auth = table.take("auth").and_then(|tree| Authentication::read(tree, problems));
        let ike = table.take("ike").and_then(|tree| word("ike", tree, problems));
        let esp = table.take("esp").and_then(|tree| word("esp", tree, problems));
        let start = table.take("start").and_then(|tree| choice("start", tree, &STARTS, problems));
        let rekey = table.take("rekey").and_then(|tree| Rekey::read(tree, problems));
        let dpd = table.take("dpd").and_then(|tree| word("dpd", tree, problems));
        let encap = table.take("encap").and_then(|tree| truth("encap", tree, problems));
        let place = table.place;
        table.close(problems);
        Some(Self { between: between?, carry, auth, ike, esp, start, rekey, dpd, encap, place })
    }
}

impl Wireguard {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("wireguard", tree, problems)?;
        let between = table.need("between", problems).map(|tree| {
            let items = two("between", tree, problems);
            items.iter().filter_map(|item| TunnelEnd::read(item, problems)).collect()
        });
        let carry = table.need("carry", problems).map(|tree| {
            let items = two("carry", tree, problems);
            items.iter().map(|item| words("carry", item, problems)).collect()
        });
        let port = table.take("port").map(|tree| {
            let items = match &tree.value {
                Value::List(_) => two("port", tree, problems),
                _ => std::slice::from_ref(tree),
            };
            let ports = items.iter().filter_map(|item| number("port", item, problems)).collect();
            Placed { value: ports, place: tree.place }
        });
        let keepalive = table.take("keepalive").and_then(|it| word("keepalive", it, problems));
        let mtu = table.take("mtu").and_then(|tree| number("mtu", tree, problems));
        let psk = table.take("psk").and_then(|tree| truth("psk", tree, problems));
        let place = table.place;
        table.close(problems);
        Some(Self { between: between?, carry: carry?, port, keepalive, mtu, psk, place })
    }
}

/// What is behind one end.
fn behind(tree: &Tree, problems: &mut Problems) -> Vec<Word> {
    let before = problems.count();
    let words = words("carry", tree, problems);
    if words.is_empty() && problems.count() == before {
        let problem = Problem::new("carry names nothing behind this end").at(tree.place);
        problems.add(problem.hint("leave carry out for what the two ends send each other"));
    }
    words
}

/// The items of a list that has one for each end.
fn two<'t>(key: &str, tree: &'t Tree, problems: &mut Problems) -> &'t [Tree] {
    let items = list(key, tree, problems);
    if items.len() != 2 && !matches!(tree.value, Value::Scalar(_) | Value::Table(_)) {
        let message = format!("{key} has {} of two values, one for each end", items.len());
        problems.at(tree.place, message);
    }
    items
}

impl Authentication {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        if let Value::Table(_) = tree.value {
            let mut table = Table::open("auth", tree, problems)?;
            let secret = table.need("psk", problems).and_then(|tree| word("psk", tree, problems));
            table.close(problems);
            return secret.map(Self::Secret);
        }
        let word = word("auth", tree, problems)?;
        match word.value.as_str() {
            "certificate" => Some(Self::Certificate),
            "psk" => Some(Self::Psk),
            _ => {
                let problem = Problem::new("auth is certificate, psk or {psk: TEXT}");
                problems.add(problem.at(word.place));
                None
            }
        }
    }
}

impl Rekey {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("rekey", tree, problems)?;
        let mut take = |key| table.take(key).and_then(|tree| word(key, tree, problems));
        let (ike, esp) = (take("ike"), take("esp"));
        table.close(problems);
        Some(Self { ike, esp })
    }
}

impl TunnelEnd {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        if let Value::Scalar(_) = tree.value {
            let node = word("node", tree, problems)?;
            return Some(Self { node, address: None, nat: None });
        }
        let mut table = Table::open("a tunnel end", tree, problems)?;
        let node = table.need("node", problems).and_then(|tree| word("node", tree, problems));
        let address = table.take("address").and_then(|tree| word("address", tree, problems));
        let nat = table.take("nat").and_then(|tree| truth("nat", tree, problems));
        table.close(problems);
        Some(Self { node: node?, address, nat })
    }
}
