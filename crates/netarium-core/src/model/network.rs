//! Whose the segments of a lab are.

use serde::{Deserialize, Serialize};

/// Whose the segments of a lab are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "lab-file", derive(schemars::JsonSchema))]
pub enum Network {
    /// Netarium's own.
    #[default]
    Own,
    /// Networks of the container engine, with its limits.
    Engine,
}

impl Network {
    /// Whether they are Netarium's own.
    pub fn is_own(&self) -> bool {
        *self == Self::Own
    }
}
