//! Dynamic checks: what is done to the running lab, and what must be true then.

use serde::Serialize;

use super::Url;
use super::check::{Check, picks};
use crate::name::{InterfaceName, Name};

/// Something that is done to the running lab, and undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Disturbance {
    /// What it is called, from the file or made from what it does.
    pub name: String,
    /// What it belongs to, if the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What is done.
    pub deed: Deed,
    /// What must be true before it is undone.
    pub meanwhile: Vec<Check>,
    /// What must be true again, as places in [`Model::checks`](super::Model::checks).
    pub then: Vec<usize>,
    /// How long that may take, in milliseconds.
    pub recover: u32,
}

/// What is done to the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// All processes of a node are killed. Undone by bringing the lab up.
    Kill {
        /// The node.
        node: Name,
    },
    /// An interface is set down. Undone by setting it up, with its addresses and routes.
    Cut {
        /// Its node.
        node: Name,
        /// The interface.
        interface: InterfaceName,
        /// For how long, in milliseconds.
        millis: u32,
    },
    /// A tunnel gets new keys. Nothing is to be undone.
    Rekey {
        /// The tunnel.
        tunnel: Name,
        /// The end that asks for them.
        node: Name,
        /// What is transferred meanwhile and must not break.
        during: Option<Transfer>,
    },
    /// The certificate of a node is revoked, and its tunnels are closed. Undone by a new one.
    Revoke {
        /// The node.
        node: Name,
        /// Its tunnels for which certificates vouch.
        tunnels: Vec<Name>,
    },
}

/// A transfer that lasts as long as something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// The node that asks.
    pub from: Name,
    /// What it asks for.
    pub url: Url,
}

impl Disturbance {
    /// Whether `pattern` picks it, as [`Check::fits`].
    pub fn fits(&self, pattern: &str) -> bool {
        picks(pattern, &self.name, self.deed.at(), self.group.as_deref())
    }
}

impl Deed {
    /// The node or tunnel that it is done to.
    pub fn at(&self) -> &Name {
        match self {
            Self::Kill { node } | Self::Cut { node, .. } | Self::Revoke { node, .. } => node,
            Self::Rekey { tunnel, .. } => tunnel,
        }
    }
}
