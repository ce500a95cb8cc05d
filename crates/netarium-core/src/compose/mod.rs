//! Compose files (<https://compose-spec.io>) as labs.
//!
//! Several files are merged, variables filled in, and what comes of it becomes a [`Draft`], as of a
//! lab file: services are nodes, networks are segments. What Netarium cannot do is a mistake with
//! its place, or a warning where that is asked for; nothing is passed over in silence.
//!
//! Nothing is read here: whoever can look at the disk hands in the files and the variables.

mod addresses;
mod build;
mod convert;
mod dotenv;
mod extends;
mod files;
mod form;
mod interpolate;
mod joins;
mod merge;
mod networks;
mod ports;
mod project;
mod reader;
mod rights;
mod running;
mod service;
mod volumes;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub(crate) use self::convert::Given;
pub use self::rights::Privileged;
pub use crate::problem::Leniency;
use crate::resolve::Draft;
use crate::spec::tree::{self, Value};

/// Names of Compose files in a folder, the best first.
pub const DEFAULT_NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// What a file that is merged over the one of a folder is called.
pub const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];

/// Everything that a project is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The project's folder, an absolute path: that of the first file.
    pub folder: String,
    /// The Compose files, each over those before it.
    pub compose: Vec<Input>,
    /// Files of variables, each under those before it.
    pub variables: Vec<Input>,
    /// The variables of the caller, which go before those of files.
    pub environment: BTreeMap<String, String>,
    /// The profiles that are asked for, besides those of `COMPOSE_PROFILES`.
    pub profiles: BTreeSet<String>,
    /// What becomes of what is not supported.
    pub leniency: Leniency,
    /// Whether `privileged` is passed over.
    pub privileged: Privileged,
    /// Files that others name, by their paths from the project's folder.
    pub others: BTreeMap<String, Other>,
}

/// A file that was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Where it is.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// A file that another names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Other {
    /// What is in it.
    Text(String),
    /// It cannot be read; why.
    Missing(String),
}

/// What comes of reading a project.
#[derive(Debug)]
pub enum Outcome {
    /// These files are wanted too, by their paths from the project's folder.
    More(BTreeSet<String>),
    /// All of it was read.
    Read(Box<Project>),
}

/// A project that has been read, and may have mistakes.
#[derive(Debug)]
pub struct Project {
    /// The lab.
    pub draft: Draft,
    /// What its files are called, by the numbers that places have.
    pub paths: Vec<String>,
    /// The variables that were asked for.
    pub asked: BTreeSet<String>,
}

/// Whether `text` is a Compose file and not a lab file: it has services, and no nodes.
pub fn is_one(text: &str) -> bool {
    let Ok(Some(tree)) = tree::grow(text) else { return false };
    let Value::Table(entries) = tree.value else { return false };
    let has = |key: &str| entries.iter().any(|(word, _)| word.value == key);
    has("services") && !has("nodes")
}

/// What the lab of a project without a name is called, that lies in a folder of this name.
pub fn name_of_folder(folder: &str) -> String {
    convert::plain_name(folder).unwrap_or_else(|| "lab".to_owned())
}

/// Reads a project.
pub fn read(inputs: &Inputs) -> Outcome {
    project::read(inputs)
}
