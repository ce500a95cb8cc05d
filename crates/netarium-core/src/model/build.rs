//! Images that Docker builds before the lab is made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::image::Platform;

/// What Docker builds an image from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The folder that `context` must not lead out of.
    #[serde(skip)]
    pub beneath: String,
    /// The folder that the builder sees.
    pub context: String,
    /// The recipe, a path from there.
    pub dockerfile: String,
    /// Values for what the recipe leaves open.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// Of a recipe with several stages, the one that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Which machines the image is for; those of the engine's kind if nothing is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}
