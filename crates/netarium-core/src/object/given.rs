//! What a node is given before its first process starts, and may belong to its programs from then on.

use super::{Id, Object, Objects};
use crate::name::{InterfaceName, Name};
use crate::source::Digest;

impl Object {
    /// The node that is given this before its first process starts, and the interface that bears it,
    /// if one does; nothing for what is never its programs' own.
    pub fn given_to(&self) -> Option<(&Name, Option<&InterfaceName>)> {
        match self {
            Self::Sysctl(it) => Some((&it.node, None)),
            Self::InterfaceSysctl(it) => Some((&it.node, Some(&it.interface))),
            Self::Address(it) => Some((&it.node, Some(&it.interface))),
            Self::Route(it) => Some((&it.node, it.via.interface())),
            Self::File(it) => Some((&it.node, None)),
            _ => None,
        }
    }
}

impl Objects {
    /// Whether what a node was given belongs to its programs.
    pub fn leaves_to_programs(&self, node: &Name) -> bool {
        match self.get(&Id::Node(node.clone())) {
            Some(Object::Node(it)) => it.begins_with.is_some(),
            _ => false,
        }
    }

    /// What a node's programs begin with: its wiring, and what it runs. Files are not of it: other
    /// nodes have a say in those, and one is put in the place of another while a node runs.
    pub(crate) fn beginning_of(&self, node: &Name) -> String {
        let begins = self.iter().filter_map(|(_, object)| {
            let owner = match object {
                Object::File(_) => None,
                Object::Interface(it) => Some(&it.node),
                Object::Service(it) => Some(&it.node),
                other => other.given_to().map(|(node, _)| node),
            };
            (owner == Some(node)).then_some(object)
        });
        let text = serde_json::to_vec(&begins.collect::<Vec<_>>());
        Digest::of(&text.expect("objects have keys that are words, and no numbers that JSON lacks"))
            .sha256
    }
}
