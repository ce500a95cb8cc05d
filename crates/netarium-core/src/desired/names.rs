//! How nodes look names up: `/etc/hosts` and `/etc/resolv.conf` of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{self, Dns, Model, Node};
use crate::name::Name;

/// What `/etc/hosts` says about each node, in each of the orders in which it may be said.
pub(super) struct Hosts<'a> {
    pub(super) model: &'a Model,
    /// Each node with its lines in the order of its interfaces, which is right for almost everybody.
    /// A thousand nodes are told of a thousand: nothing is looked up or put together twice.
    plain: Vec<(&'a Name, &'a [model::Interface], String)>,
    /// The texts that were made, by the segments of the nodes that they are for.
    texts: BTreeMap<BTreeSet<&'a Name>, Arc<str>>,
}

impl<'a> Hosts<'a> {
    pub(super) fn of(model: &'a Model) -> Self {
        let lines = |(name, node): (&'a Name, &'a Node)| {
            let interfaces = in_the_lab(model, node);
            (name, interfaces, host_lines(name, node, interfaces))
        };
        Self { model, plain: model.nodes.iter().map(lines).collect(), texts: BTreeMap::new() }
    }

    /// The text for `node`. Of another with several addresses, those on a segment that it shares
    /// with `node` come first, since the first one found is used (hosts(5)).
    pub(super) fn text(&mut self, node: &Name) -> Arc<str> {
        let own = &self.model.nodes[node].hosts;
        let common = self.common_text(node);
        if own.is_empty() {
            return common;
        }
        let lines = own.iter().flat_map(|(name, addresses)| {
            addresses.iter().map(move |address| format!("{address} {name}\n"))
        });
        // Before the others: the first one found is used.
        Arc::from(lines.collect::<String>() + &common)
    }

    fn common_text(&mut self, node: &Name) -> Arc<str> {
        let near: BTreeSet<&Name> =
            in_the_lab(self.model, &self.model.nodes[node]).iter().map(|it| &it.segment).collect();
        if let Some(text) = self.texts.get(&near) {
            return Arc::clone(text);
        }
        let text = Arc::from(self.text_for(&near));
        self.texts.insert(near, Arc::clone(&text));
        text
    }

    fn text_for(&self, near: &BTreeSet<&Name>) -> String {
        let mut text =
            String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
        for (name, interfaces, plain) in &self.plain {
            let is_shared = |it: &model::Interface| near.contains(&it.segment);
            if interfaces.len() < 2 || interfaces.is_sorted_by_key(|it| !is_shared(it)) {
                text.push_str(plain);
            } else {
                let (shared, apart): (Vec<_>, Vec<_>) =
                    interfaces.iter().partition(|it| is_shared(it));
                let node = &self.model.nodes[*name];
                text.push_str(&host_lines(name, node, shared.into_iter().chain(apart)));
            }
        }
        text
    }
}

/// The interfaces where other nodes can reach a node: not the last one, if that is on the way out.
fn in_the_lab<'a>(model: &Model, node: &'a Node) -> &'a [model::Interface] {
    match node.interfaces.split_last() {
        Some((last, others)) if model.is_way_out(&last.segment) => others,
        _ => &node.interfaces,
    }
}

/// The lines of a node: each address with all names that lead to it.
fn host_lines<'a>(
    name: &Name,
    node: &Node,
    interfaces: impl IntoIterator<Item = &'a model::Interface>,
) -> String {
    let mut text = String::new();
    for interface in interfaces {
        let mut others: Vec<&str> = Vec::new();
        let names = node.hostname.iter().chain(&node.aliases).chain(&interface.aliases);
        for other in names.map(String::as_str).filter(|other| *other != name.as_str()) {
            if !others.contains(&other) {
                others.push(other);
            }
        }
        let names: String = others.iter().map(|other| format!(" {other}")).collect();
        for address in &interface.addresses {
            text.push_str(&format!("{} {name}{names}\n", address.addr()));
        }
    }
    text
}

/// What is in `/etc/resolv.conf` of a node that says what its name servers are.
pub(super) fn resolv_conf(dns: &Dns) -> String {
    let mut text: String = dns.servers.iter().map(|it| format!("nameserver {it}\n")).collect();
    for (key, words) in [("search", &dns.search), ("options", &dns.options)] {
        if !words.is_empty() {
            text.push_str(&format!("{key} {}\n", words.join(" ")));
        }
    }
    text
}
