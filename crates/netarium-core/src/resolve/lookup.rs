//! How a node is called, and how it looks names up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::names::Names;
use crate::model::Dns;
use crate::name::{Name, is_host_name};
use crate::problem::{Problem, Problems};
use crate::spec::{self, Word};

/// The longest host name (sethostname(2)).
const LONGEST: usize = 64;

/// The node's own host name.
pub(super) fn hostname(word: &Word, problems: &mut Problems) -> Option<String> {
    let name = host(word, problems)?;
    if name.len() > LONGEST {
        let message = format!("a host name has at most {LONGEST} letters");
        problems.at(word.place, message);
    }
    Some(name)
}

/// Other names of a node.
pub(super) fn aliases(
    node: &Name,
    written: &[Word],
    nodes: &Names<'_>,
    problems: &mut Problems,
) -> BTreeSet<String> {
    let mut aliases = BTreeSet::new();
    for word in written {
        let Some(name) = host(word, problems) else { continue };
        if name != node.as_str() && nodes.has(word) {
            problems.at(word.place, format!("{name} is the name of another node"));
        }
        aliases.insert(name);
    }
    aliases
}

/// Names that one node knows.
pub(super) fn hosts(
    written: &[(Word, Vec<Word>)],
    problems: &mut Problems,
) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut hosts: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for (word, words) in written {
        let name = host(word, problems);
        let found = words.iter().filter_map(|word| address(word, problems)).collect();
        hosts.extend(name.map(|name| (name, found)));
    }
    hosts
}

/// What a node's `/etc/resolv.conf` says.
pub(super) fn dns(written: &spec::Dns, problems: &mut Problems) -> Dns {
    if written.servers.is_empty() {
        let problem = Problem::new("dns names no server").at(written.place);
        problems.add(problem.hint("write dns: 10.0.0.53"));
    }
    for word in written.options.iter().filter(|word| !is_option(word)) {
        let problem = Problem::new(format!("{:?} is no option", word.value)).at(word.place);
        problems.add(problem.hint("write ndots:2 for example, as resolv.conf(5) has it"));
    }
    Dns {
        servers: written.servers.iter().filter_map(|word| address(word, problems)).collect(),
        search: written.search.iter().filter_map(|word| host(word, problems)).collect(),
        options: written.options.iter().map(|word| word.value.clone()).collect(),
    }
}

fn is_option(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'_');
    !word.is_empty() && word.bytes().all(letter)
}

fn host(word: &Word, problems: &mut Problems) -> Option<String> {
    let fault = if word.value == "localhost" {
        "every node calls itself that"
    } else if is_host_name(word) {
        return Some(word.value.clone());
    } else {
        "write letters, digits, - and _, with dots between them"
    };
    let problem = Problem::new(format!("{:?} is no name for a host", word.value)).at(word.place);
    problems.add(problem.hint(fault));
    None
}

fn address(word: &Word, problems: &mut Problems) -> Option<IpAddr> {
    let address = word.parse().ok();
    if address.is_none() {
        problems.at(word.place, format!("{} is no address", word.value));
    }
    address
}
