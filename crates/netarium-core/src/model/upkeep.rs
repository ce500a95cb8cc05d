//! Who owns what a node is given before its first process starts.

use serde::{Deserialize, Serialize};

/// Who owns the addresses, routes, settings and files that a node is given before its first process
/// starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upkeep {
    /// The lab: what differs later is a fault, and is mended.
    #[default]
    Lab,
    /// Its own programs, as in a container of Docker: it is what they begin with, and nobody looks
    /// what they make of it.
    Programs,
}

impl Upkeep {
    /// Whether it is the lab.
    pub fn is_of_lab(&self) -> bool {
        *self == Self::Lab
    }
}
