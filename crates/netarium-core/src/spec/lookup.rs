//! How a node is called and looks names up, as written.

use schemars::JsonSchema;

use super::Word;
use super::decode::{Table, entries, words};
use super::tree::{Tree, Value};
use crate::problem::{Place, Problems};
use crate::schema;

/// Name servers: a table, or their addresses.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename = "DnsTable", deny_unknown_fields)]
#[non_exhaustive]
pub struct Dns {
    /// The name servers, in the order in which they are asked.
    #[schemars(with = "Option<schema::OneOrMany<schema::Address>>")]
    pub servers: Vec<Word>,
    /// The domains in which names without a dot are looked for.
    #[schemars(with = "Option<schema::OneOrMany<schema::HostName>>")]
    pub search: Vec<Word>,
    /// Options of resolv.conf(5), `ndots:2` for example.
    #[schemars(with = "Option<schema::OneOrMany<schema::ResolverOption>>")]
    pub options: Vec<Word>,
    /// Where it is.
    #[schemars(skip)]
    pub(crate) place: Place,
}

impl Dns {
    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let place = tree.place;
        let Value::Table(_) = &tree.value else {
            let servers = words("dns", tree, problems);
            return Some(Self { servers, search: vec![], options: vec![], place });
        };
        let mut table = Table::open("dns", tree, problems)?;
        let mut take = |key| table.take(key).map_or_else(Vec::new, |it| words(key, it, problems));
        let (servers, search, options) = (take("servers"), take("search"), take("options"));
        table.close(problems);
        Some(Self { servers, search, options, place })
    }
}

/// Names with the addresses that they lead to.
pub(super) fn hosts(tree: &Tree, problems: &mut Problems) -> Vec<(Word, Vec<Word>)> {
    let hosts = entries("host", tree, problems).unwrap_or_default();
    let read = |(name, tree): (&Word, &Tree)| (name.clone(), words(&name.value, tree, problems));
    hosts.into_iter().map(read).collect()
}
