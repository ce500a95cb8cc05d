//! From the lab file as written to the lab as it is meant.
//!
//! [`resolve`] is the only way to a [`Model`]. It looks up every name, chooses addresses, MACs and
//! names, fills in every default, and refuses what cannot be. It goes on after every mistake, so
//! that all of them are reported at once; what could not be resolved is left out in silence after
//! its own problem.

mod checks;
mod engine_network;
mod files;
mod firewall;
mod ground;
mod images;
mod interfaces;
mod ipsec;
mod lookup;
mod names;
mod nat;
mod nodes;
pub(crate) mod order;
mod packets;
mod process;
mod routes;
mod segments;
mod services;
mod sysctls;
mod time;
mod tunnels;
mod uplink;
mod wireguard;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub(crate) use images::base;
pub use images::{BASE_PACKAGES, recipes};

use self::images::Images;
use self::interfaces::Taken;
use self::names::Names;
use self::uplink::Uplinks;
use crate::desired::Subject;
use crate::model::{Interface, Model, Node, Route, Segment};
use crate::name::Name;
use crate::problem::{Place, Problem, Problems};
use crate::source::{Sources, Wanted};
use crate::spec::{self, Spec};

/// A lab file that has been read, and may have mistakes.
#[derive(Debug)]
pub struct Draft {
    spec: Spec,
    problems: Problems,
}

impl Draft {
    /// A lab that was read in another way.
    pub(crate) fn of(spec: Spec, problems: Problems) -> Self {
        Self { spec, problems }
    }

    /// Takes out what people should know, and nothing fails for.
    pub fn take_warnings(&mut self) -> Vec<Problem> {
        self.problems.take_warnings(&self.spec.texts)
    }

    /// Where a part of the lab is given its name.
    pub fn place_of(&self, subject: &Subject) -> Option<Place> {
        self.spec.place_of(subject)
    }

    /// Reads a lab file.
    ///
    /// # Errors
    /// If nothing can be read: the file is no text, too large, or no YAML.
    pub fn read(bytes: &[u8]) -> Result<Self, Problem> {
        let mut problems = Problems::default();
        Ok(Self { spec: spec::read(bytes, &mut problems)?, problems })
    }

    /// What it names on the disk.
    pub fn wanted(&self) -> Wanted {
        files::wanted(&self.spec)
    }

    /// Resolves it, with what was found on the disk; a lab without a name is called `default_name`.
    ///
    /// # Errors
    /// All mistakes of the file, in its order.
    pub fn resolve(self, default_name: &str, sources: &Sources) -> Result<Model, Vec<Problem>> {
        let Self { mut spec, problems } = self;
        files::part(&mut spec, sources);
        finish(&spec, default_name, sources, problems)
    }
}

/// Reads a lab file that names nothing on the disk, and resolves it; a lab without a name is called
/// `default_name`.
///
/// # Errors
/// All mistakes of the file, in its order.
pub fn load(bytes: &[u8], default_name: &str) -> Result<Model, Vec<Problem>> {
    let draft = Draft::read(bytes).map_err(|problem| vec![problem])?;
    draft.resolve(default_name, &Sources::default())
}

/// Resolves a lab file that has been read and names nothing on the disk; a lab without a name is
/// called `default_name`.
///
/// # Errors
/// All mistakes of the file, in its order.
pub fn resolve(spec: &Spec, default_name: &str) -> Result<Model, Vec<Problem>> {
    finish(spec, default_name, &Sources::default(), Problems::default())
}

fn finish(
    spec: &Spec,
    default_name: &str,
    sources: &Sources,
    mut problems: Problems,
) -> Result<Model, Vec<Problem>> {
    let model = model(spec, default_name, sources, &mut problems);
    if let Some(model) = &model {
        engine_network::check(spec, model, &mut problems);
    }
    match model {
        Some(model) if problems.is_empty() => Ok(model),
        _ => Err(problems.finish(&spec.texts)),
    }
}

fn model(
    spec: &Spec,
    default_name: &str,
    sources: &Sources,
    problems: &mut Problems,
) -> Option<Model> {
    let lab = names::lab(spec, default_name, problems);
    let images = Images::resolve(spec, &sources.folder, problems);
    let mut segments = segments::resolve(spec, problems);
    let uplinks = Uplinks::resolve(spec, &mut segments, problems);
    let lab_or_any = lab.clone().or_else(|| Name::new("lab").ok())?;
    let mut context = Context {
        lab: lab_or_any,
        node_names: Names::new("node", &spec.nodes, spec.unread.contains(&"nodes")),
        segment_names: Names::new("segment", &spec.segments, spec.unread.contains(&"segments")),
        segments,
        uplinks,
        nodes: BTreeMap::new(),
        sources,
    };
    let mut nodes = nodes(spec, &images, &mut context, problems);
    let (tunnels, secrets) = tunnels::resolve(spec, &context, problems);
    wireguard::add_routes(spec, &tunnels, &context, &mut nodes, problems);
    firewall::resolve(spec, &context, &tunnels, &mut nodes, problems);
    let (checks, disturbances) = checks::resolve(spec, &context, &tunnels, problems);
    let builds = images::builds(spec, &nodes, &context.sources.folder, problems);
    let uplink = context.uplinks.model();
    let segments = context.segments;
    let engine = spec.engine.as_ref().map(|engine| engine.value);
    let network = spec.network.as_ref().map(|network| network.value).unwrap_or_default();
    Some(Model {
        lab: lab?,
        engine,
        network,
        segments,
        nodes,
        tunnels,
        checks,
        disturbances,
        uplink,
        builds,
        secrets,
    })
}

/// What the later stages look things up in.
struct Context<'s> {
    lab: Name,
    node_names: Names<'s>,
    segment_names: Names<'s>,
    segments: BTreeMap<Name, Segment>,
    uplinks: Uplinks,
    nodes: BTreeMap<Name, Wired>,
    sources: &'s Sources,
}

/// A node as far as others need to know it.
struct Wired {
    interfaces: Vec<Interface>,
    /// Its interface on the way out. It is not among the others: nobody in the lab can reach it there.
    uplink: Option<Interface>,
    routes: Vec<Route>,
    /// Whether something of its wiring is missing here because it had a problem of its own.
    broken: bool,
}

impl Wired {
    /// All its interfaces, that on the way out last.
    fn all_interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().chain(&self.uplink)
    }

    /// Its addresses, each with the interface that has it.
    fn addresses(&self) -> impl Iterator<Item = (&Interface, IpAddr)> {
        self.interfaces.iter().flat_map(|interface| {
            interface.addresses.iter().map(move |address| (interface, address.addr()))
        })
    }
}

fn nodes(
    spec: &Spec,
    images: &Images<'_>,
    context: &mut Context<'_>,
    problems: &mut Problems,
) -> BTreeMap<Name, Node> {
    if spec.nodes.is_empty() && !spec.unread.contains(&"nodes") {
        let hint = "the smallest lab is `nodes: {one: {}}`";
        problems.add(Problem::new("the lab has no nodes").hint(hint));
    }
    let mut taken = Taken::default();
    let mut nodes = BTreeMap::new();
    for (index, (word, node)) in spec.nodes.iter().enumerate() {
        let name = names::node(word, problems);
        let Some(node) = node else { continue };
        // A node without a name is looked at all the same, for the problems inside of it.
        let any = || Name::new(&format!("unnamed-{index}")).ok();
        let Some(name) = name.or_else(any) else { continue };
        let (node, wired) = nodes::resolve(&name, node, images, context, &mut taken, problems);
        context.nodes.insert(name.clone(), wired);
        nodes.insert(name, node);
    }
    segments::check_pairs(spec, context, problems);
    order::check_nodes(spec, &nodes, problems);
    nodes
}
