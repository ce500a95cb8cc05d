//! The steps from what is there to what must be there.
//!
//! [`diff`] does four jobs: `up` and every later change, `plan`, `status` (no steps: healthy) and
//! `down` (nothing is desired). It asks nobody and decides everything.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Via;
use crate::object::{Id, Object, Objects};

/// One thing to do. It names everything that is needed to do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Take away what is there, and with it everything that it carries.
    Remove(Object),
    /// Make what is not there.
    Create(Object),
    /// Change what is there into this, in place.
    Replace(Object),
}

impl Step {
    /// The object that the step is about.
    pub fn object(&self) -> &Object {
        match self {
            Self::Remove(object) | Self::Create(object) | Self::Replace(object) => object,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Remove(_) => "remove",
            Self::Create(_) => "create",
            Self::Replace(_) => "replace",
        };
        write!(f, "{word} {}", self.object().id())
    }
}
