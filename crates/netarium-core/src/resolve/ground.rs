//! What the rules of a firewall can name: the node's interfaces, those who send and receive, and
//! tunnels.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::names::Names;
use super::{Context, Wired, segments};
use crate::firewall::tidy;
use crate::model::{Tunnel, TunnelEnd};
use crate::name::{InterfaceName, Name};
use crate::problem::{Problem, Problems, suggestion};
use crate::spec::Word;

/// A tunnel, the end of it that is the node, and the other.
pub(super) type Joined<'c> = (&'c Tunnel, &'c TunnelEnd, &'c TunnelEnd);

/// One node, and all that its rules can name.
pub(super) struct Ground<'c> {
    pub(super) name: &'c Name,
    pub(super) wired: &'c Wired,
    pub(super) context: &'c Context<'c>,
    pub(super) tunnels: &'c BTreeMap<Name, Tunnel>,
    pub(super) tunnel_names: &'c Names<'c>,
}

impl Ground<'_> {
    /// The node's interfaces with these names, or on these segments. `None` if there was a problem.
    pub(super) fn interfaces(
        &self,
        words: &[Word],
        problems: &mut Problems,
    ) -> Option<Vec<InterfaceName>> {
        let mut found = Vec::new();
        let mut whole = true;
        for word in words {
            let is_meant = |it: &&crate::model::Interface| {
                it.name.as_str() == word.value || it.segment.as_str() == word.value
            };
            let before = found.len();
            let meant = self.wired.all_interfaces().filter(is_meant);
            found.extend(meant.map(|interface| interface.name.clone()));
            if found.len() == before {
                whole = false;
                if !self.wired.broken {
                    self.complain(word, problems);
                }
            }
        }
        found.sort();
        found.dedup();
        whole.then_some(found)
    }

    fn complain(&self, word: &Word, problems: &mut Problems) {
        let is_segment = self.context.segments.keys().any(|name| name.as_str() == word.value);
        let message = if is_segment {
            format!("{} is not on segment {}", self.name, word.value)
        } else {
            format!("{} has no interface or segment {}", self.name, word.value)
        };
        let own = self.wired.all_interfaces();
        let known = own.flat_map(|it| [it.segment.as_str(), it.name.as_str()]).collect();
        let mut problem = Problem::new(message).at(word.place);
        problem.hint = suggestion(word, known);
        problems.add(problem);
    }

    /// The prefixes that these words stand for: addresses, prefixes, nodes and segments. None is in
    /// another, as nft(8) wants it. `None` if there was a problem.
    pub(super) fn parties(&self, words: &[Word], problems: &mut Problems) -> Option<Vec<IpNet>> {
        let mut found = Vec::new();
        let mut whole = true;
        for word in words {
            match self.party(word, problems) {
                Some(prefixes) => found.extend(prefixes),
                None => whole = false,
            }
        }
        whole.then(|| tidy(&found))
    }

    fn party(&self, word: &Word, problems: &mut Problems) -> Option<Vec<IpNet>> {
        // A name has neither dots nor colons, an address has one or the other.
        if word.contains(['.', ':', '/']) {
            return Some(vec![segments::prefix(word, problems)?.value]);
        }
        let name = Name::new(word).ok();
        let node = name.as_ref().and_then(|name| self.context.nodes.get(name));
        let segment = name.as_ref().and_then(|name| self.context.segments.get(name));
        let (prefixes, broken): (Vec<IpNet>, bool) = match (node, segment) {
            (Some(_), Some(_)) => {
                let problem = Problem::new(format!("{} is a node and a segment", word.value));
                problems.add(problem.at(word.place).hint("write the address or the prefix"));
                return None;
            }
            (Some(node), None) => {
                (node.addresses().map(|(_, address)| IpNet::from(address)).collect(), node.broken)
            }
            (None, Some(segment)) => (segment.prefixes.clone(), false),
            (None, None) => {
                self.complain_of_party(word, problems);
                return None;
            }
        };
        if prefixes.is_empty() {
            if !broken {
                problems.at(word.place, format!("{} has no address", word.value));
            }
            return None;
        }
        Some(prefixes)
    }

    fn complain_of_party(&self, word: &Word, problems: &mut Problems) {
        let (nodes, segments) = (&self.context.node_names, &self.context.segment_names);
        let is_known = |names: &Names<'_>| names.is_open() || names.has(word);
        if is_known(nodes) || is_known(segments) {
            return;
        }
        let mut problem =
            Problem::new(format!("no node and no segment is called {}", word.value)).at(word.place);
        problem.hint = suggestion(word, nodes.words().chain(segments.words()).collect());
        problems.add(problem);
    }

    /// The address of a node in the family that is wanted, or the address that is written.
    pub(super) fn host(&self, text: &str, word: &Word, problems: &mut Problems) -> Option<IpAddr> {
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let part = Word { value: text.to_owned(), place: word.place };
        let node = self.context.node_names.find(&part, problems)?;
        let wired = self.context.nodes.get(&node)?;
        let address = wired.addresses().next().map(|(_, address)| address);
        if address.is_none() && !wired.broken {
            problems.at(word.place, format!("{node} has no address"));
        }
        address
    }

    /// A tunnel that ends here: it, this end and the other.
    pub(super) fn tunnel(&self, word: &Word, problems: &mut Problems) -> Option<Joined<'_>> {
        let name = self.tunnel_names.find(word, problems)?;
        // One that could not be resolved has a problem of its own.
        let tunnel = self.tunnels.get(&name)?;
        let ends = tunnel.seen_from(self.name);
        if ends.is_none() {
            let (one, other) = (&tunnel.initiator.node, &tunnel.responder.node);
            let problem = Problem::new(format!("tunnel {name} does not end at {}", self.name));
            problems.add(problem.at(word.place).hint(format!("it joins {one} and {other}")));
        }
        ends.map(|(own, other)| (tunnel, own, other))
    }

    /// What the tunnels that end here carry, in both directions.
    pub(super) fn carried(&self) -> Vec<(IpNet, IpNet)> {
        let mut carried = Vec::new();
        for (own, other) in self.tunnels.values().filter_map(|it| it.seen_from(self.name)) {
            for near in &own.carry {
                for far in &other.carry {
                    if near.addr().is_ipv4() == far.addr().is_ipv4() {
                        carried.extend([(*near, *far), (*far, *near)]);
                    }
                }
            }
        }
        carried.sort();
        carried.dedup();
        carried
    }
}
