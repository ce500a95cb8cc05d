//! `networks` of a service: which it joins, and what it has there.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::reader::{self, Keys};
use crate::problem::{Place, Placed, Problem, Problems};
use crate::spec::Word;
use crate::spec::decode::{entries, list, word};
use crate::spec::tree::Tree;

/// A network that a service joins.
#[derive(Clone, Debug)]
pub(super) struct Join {
    /// The key of the network.
    pub(super) network: Word,
    /// An address that it is to have there.
    pub(super) ipv4: Option<Placed<Ipv4Addr>>,
    /// The same in IPv6.
    pub(super) ipv6: Option<Placed<Ipv6Addr>>,
    /// Its hardware address.
    pub(super) mac: Option<Word>,
    /// Other names by which it is known there.
    pub(super) aliases: BTreeSet<String>,
    /// Networks with a higher one come first.
    pub(super) priority: i64,
    /// The default route is that of the network with the highest one.
    pub(super) gateway_priority: i64,
    /// What the interface is called.
    pub(super) interface: Option<Word>,
}

impl Join {
    /// A network about which nothing more is said.
    pub(super) fn plain(network: &str, place: Place) -> Self {
        Self {
            network: Placed { value: network.to_owned(), place },
            ipv4: None,
            ipv6: None,
            mac: None,
            aliases: BTreeSet::new(),
            priority: 0,
            gateway_priority: 0,
            interface: None,
        }
    }
}

/// Reads the networks of a service.
pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Vec<Join> {
    let entries = entries("network", tree, problems).unwrap_or_default();
    entries.into_iter().filter_map(|(name, tree)| read_one(name, tree, problems)).collect()
}

fn read_one(name: &Word, tree: &Tree, problems: &mut Problems) -> Option<Join> {
    let mut keys = Keys::open("a network of a service", tree, problems)?;
    let mut join = Join::plain(name, name.place);
    join.ipv4 = keys.word("ipv4_address", problems).and_then(|it| address(&it, problems));
    join.ipv6 = keys.word("ipv6_address", problems).and_then(|it| address(&it, problems));
    join.mac = keys.word("mac_address", problems).map(mac);
    if let Some(tree) = keys.take("aliases") {
        let words = list("aliases", tree, problems).iter();
        let words = words.filter_map(|item| host_name(word("alias", item, problems)?, problems));
        join.aliases = words.collect();
    }
    join.priority = keys.word("priority", problems).map_or(0, |it| whole(&it, problems));
    join.gateway_priority = keys.word("gw_priority", problems).map_or(0, |it| whole(&it, problems));
    join.interface = keys.word("interface_name", problems);
    keys.refuse(
        &[
            ("link_local_ips", "give it an ipv4_address or ipv6_address"),
            ("driver_opts", "interfaces have no options here"),
        ],
        problems,
    );
    keys.close(problems);
    Some(join)
}

fn address<T: std::str::FromStr>(word: &Word, problems: &mut Problems) -> Option<Placed<T>> {
    let address = word.trim().parse().ok();
    if address.is_none() {
        let family = if std::any::type_name::<T>().contains("Ipv4") { "IPv4" } else { "IPv6" };
        let problem = Problem::new(format!("{} is no {family} address", word.value));
        problems.add(problem.at(word.place));
    }
    Some(Placed { value: address?, place: word.place })
}

/// Hardware addresses may be written with dashes and in capital letters.
pub(super) fn mac(word: Word) -> Word {
    let value = word.value.replace('-', ":").to_ascii_lowercase();
    Placed { value, place: word.place }
}

/// A name in `/etc/hosts`.
pub(super) fn host_name(word: Word, problems: &mut Problems) -> Option<String> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = !word.is_empty() && word.len() <= 253 && word.bytes().all(letter);
    if !fits {
        problems.at(word.place, format!("{:?} is no name for a host", word.value));
    }
    fits.then_some(word.value)
}

fn whole(word: &Word, problems: &mut Problems) -> i64 {
    // Old files have 1000.0 here.
    let number = word.parse().or_else(|_| word.trim_end_matches(".0").parse());
    if number.is_err() {
        problems.at(word.place, format!("{} is no whole number", word.value));
    }
    number.unwrap_or(0)
}

/// Reads `network_mode`: the networks that a service joins by it, or nothing where those of
/// `networks` count.
pub(super) fn of_mode(
    mode: &Word,
    has_networks: bool,
    problems: &mut Problems,
) -> Option<Vec<Join>> {
    if has_networks {
        let problem = Problem::new("network_mode counts for nothing beside networks");
        problems.warn(problem.at(mode.place).hint("leave it out"));
        return None;
    }
    match mode.value.as_str() {
        "bridge" | "default" => None,
        "none" => Some(Vec::new()),
        other => {
            let message = format!("network_mode {other} is not supported");
            let hint = "a node has a network of its own: name it under networks";
            problems.unsupported(reader::left_out(message, mode.place, hint));
            None
        }
    }
}
