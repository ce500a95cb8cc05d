//! The lab file as it is written, every value with its place.
//!
//! Nothing is decided or looked up here: names and addresses are still words. Each file of this
//! folder has one part of the format: its types, which are also its JSON Schema, and how they are
//! read.

mod check;
pub(crate) mod decode;
mod file;
mod firewall;
mod lookup;
mod node;
mod process;
mod segment;
mod service;
pub(crate) mod tree;
mod tunnel;

use std::str;

use schemars::JsonSchema;

pub use check::{Answer, Check, During, Expect};
pub use file::{File, Volume};
pub use firewall::{Firewall, Hook, Match, Nat, Rule};
pub use lookup::Dns;
pub use node::{Interface, Limits, Node, Route};
pub use process::{After, Health, Main, Stop};
pub use segment::{Recipe, Segment};
pub use service::{Ready, Service};
pub use tunnel::{Authentication, Ends, Ipsec, Rekey, Tunnel, TunnelEnd, Wireguard};

use self::decode::{Table, choice, entries, list, word};
use self::tree::Tree;
use crate::desired::Subject;
use crate::model::{Engine, Network};
use crate::name::Name;
use crate::problem::{Place, Placed, Problem, Problems};
use crate::schema;

/// The largest lab file, in bytes.
pub const LARGEST: usize = 1024 * 1024;

const ENGINES: [(&str, Engine); 2] = [("native", Engine::Native), ("docker", Engine::Docker)];
const NETWORKS: [(&str, Network); 2] = [("own", Network::Own), ("engine", Network::Engine)];

/// A word of the file.
pub type Word = Placed<String>;

/// Things with names, in the order written. What could not be read is `None`: its name is known
/// all the same.
pub type Named<T> = Vec<(Word, Option<T>)>;

/// A lab: segments, nodes on them, tunnels between nodes, and what must be true of all that.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(title = "Netarium lab file", deny_unknown_fields)]
#[non_exhaustive]
pub struct Spec {
    /// The lab's name. Default: the name of the folder that the file is in.
    #[schemars(with = "Option<schema::Name>")]
    pub name: Option<Word>,
    /// What makes its nodes. Default: what NETARIUM_ENGINE says, else native.
    #[schemars(with = "Option<Engine>")]
    pub engine: Option<Placed<Engine>>,
    /// Whose the segments are: Netarium's `own`, or networks of the container `engine`, with its limits.
    /// Default: `own`.
    #[schemars(with = "Option<Network>")]
    pub network: Option<Placed<Network>>,
    /// The image of every node that names none: a name from `images`, `base`, `host`, or an image
    /// that others have made, `debian:12` for example.
    #[schemars(with = "Option<schema::Image>")]
    pub image: Option<Word>,
    /// Images of the lab's own, besides `base` and `host`.
    #[schemars(with = "Option<schema::Map<Recipe>>")]
    pub images: Named<Recipe>,
    /// The layer-2 segments.
    #[schemars(with = "Option<schema::Map<schema::SegmentForm>>")]
    pub segments: Named<Segment>,
    /// The nodes.
    #[schemars(with = "schema::Map<Node>")]
    pub nodes: Named<Node>,
    /// The tunnels.
    #[schemars(with = "Option<schema::Map<Tunnel>>")]
    pub tunnels: Named<Tunnel>,
    /// What must be true of the running lab.
    #[schemars(with = "Option<Vec<Check>>")]
    pub checks: Vec<Check>,
    /// Top-level keys whose value could not be read at all: that a name is not found there says
    /// nothing.
    #[schemars(skip)]
    pub(crate) unread: Vec<&'static str>,
    /// The texts of its files by the numbers that places have, for the words at fault.
    #[schemars(skip)]
    pub(crate) texts: Vec<String>,
}

impl Spec {
    /// A lab of which nothing is known.
    pub(crate) fn empty() -> Self {
        Self {
            name: None,
            engine: None,
            network: None,
            image: None,
            images: Vec::new(),
            segments: Vec::new(),
            nodes: Vec::new(),
            tunnels: Vec::new(),
            checks: Vec::new(),
            unread: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Where a part of the lab is given its name.
    pub(crate) fn place_of(&self, subject: &Subject) -> Option<Place> {
        fn find<T>(named: &Named<T>, name: &Name) -> Option<Place> {
            named.iter().find(|(word, _)| word.value == name.as_str()).map(|(word, _)| word.place)
        }
        match subject {
            Subject::Segment(name) => find(&self.segments, name),
            Subject::Node(name) => find(&self.nodes, name),
            Subject::Tunnel(name) => find(&self.tunnels, name),
            Subject::After(name, other) => {
                let node = self.nodes.iter().find(|(word, _)| word.value == name.as_str());
                let mut after =
                    node.and_then(|(_, node)| node.as_ref()).into_iter().flat_map(|it| &it.after);
                after.find(|(word, _)| word.value == other.as_str()).map(|(word, _)| word.place)
            }
        }
    }
}

/// Reads a lab file.
///
/// # Errors
/// All mistakes in the form of the file, in its order: no text or too much of it, no YAML, unknown
/// and repeated keys, values of the wrong form. What the values mean is looked at by `resolve`.
pub fn parse(bytes: &[u8]) -> Result<Spec, Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = read(bytes, &mut problems).map_err(|problem| vec![problem])?;
    if problems.is_empty() { Ok(spec) } else { Err(problems.finish(&spec.texts)) }
}

/// Where a lab file gives a part of the lab its name.
pub fn place_of(text: &[u8], subject: &Subject) -> Option<Place> {
    read(text, &mut Problems::default()).ok()?.place_of(subject)
}

/// The text of a lab file.
///
/// # Errors
/// If it is too large, or no text.
pub fn text(bytes: &[u8]) -> Result<&str, Problem> {
    check_size(bytes.len())?;
    str::from_utf8(bytes).map_err(|error| {
        Problem::new("the file is not UTF-8 text").at(Place::of_byte(bytes, error.valid_up_to()))
    })
}

/// Whether a lab file may have so many bytes.
pub(crate) fn check_size(size: usize) -> Result<(), Problem> {
    if size <= LARGEST {
        return Ok(());
    }
    let message =
        format!("the file has {size} bytes, and a lab file has at most {LARGEST} (1 MiB)");
    Err(Problem::new(message))
}

/// Reads what can be read of a lab file.
///
/// # Errors
/// If nothing can be read: the file is no text, too large, or no YAML.
pub(crate) fn read(bytes: &[u8], problems: &mut Problems) -> Result<Spec, Problem> {
    let source = text(bytes)?;
    let empty = || {
        Problem::new("the file is empty")
            .hint("the smallest lab is `nodes: {one: {}}`; `netarium schema` describes the rest")
    };
    let tree = tree::grow(source)?.ok_or_else(empty)?;
    if matches!(tree.value, tree::Value::Nothing) {
        return Err(empty());
    }
    Ok(lab(&tree, source, problems))
}

fn lab(tree: &Tree, source: &str, problems: &mut Problems) -> Spec {
    let mut spec = Spec { texts: vec![source.to_owned()], ..Spec::empty() };
    let Some(mut table) = Table::open("the lab", tree, problems) else {
        spec.unread = vec!["nodes"];
        return spec;
    };
    spec.name = table.take("name").and_then(|tree| word("name", tree, problems));
    spec.engine = table.take("engine").and_then(|tree| choice("engine", tree, &ENGINES, problems));
    spec.network =
        table.take("network").and_then(|tree| choice("network", tree, &NETWORKS, problems));
    spec.image = table.take("image").and_then(|tree| word("image", tree, problems));
    let unread = &mut spec.unread;
    spec.images = named(&mut table, ("images", "image"), Recipe::read, unread, problems);
    spec.segments = named(&mut table, ("segments", "segment"), Segment::read, unread, problems);
    spec.nodes = named(&mut table, ("nodes", "node"), Node::read, unread, problems);
    spec.tunnels = named(&mut table, ("tunnels", "tunnel"), Tunnel::read, unread, problems);
    if let Some(tree) = table.take("checks") {
        let items = list("checks", tree, problems);
        spec.checks = items.iter().filter_map(|item| Check::read(item, problems)).collect();
    }
    table.close(problems);
    spec
}

/// The things under one key of the lab, each read with `read`.
fn named<T>(
    table: &mut Table<'_>,
    (key, kind): (&'static str, &str),
    read: impl Fn(&Tree, &mut Problems) -> Option<T>,
    unread: &mut Vec<&'static str>,
    problems: &mut Problems,
) -> Named<T> {
    let Some(tree) = table.take(key) else { return Vec::new() };
    let Some(entries) = entries(kind, tree, problems) else {
        unread.push(key);
        return Vec::new();
    };
    entries.into_iter().map(|(name, value)| (name.clone(), read(value, problems))).collect()
}
