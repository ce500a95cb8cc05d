//! A lab as a folder for Docker Compose, 1.29 and later: a Compose file and what it needs.
//!
//! Docker makes bridges and containers; a script in each container does the rest as Netarium would:
//! files, the firewall, names and addresses of interfaces, routes, services, tunnels. What cannot be
//! expressed is said. Nothing is written here.

mod readme;
mod script;
mod subnets;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use crate::control::PROBE;
use crate::ipsec;
use crate::model::{Content, Image, Model, Node, TunnelKind};
use crate::name::Name;
use crate::nft;
use crate::object::{Authority, Credential, Id, Object, Objects, Secret};
use crate::resolve;
use crate::source::Digest;

use self::subnets::Subnets;

/// Where the folder of a node is in its container.
const FOLDER: &str = "/netarium";

/// Where the program of nodes is in its container. Its script puts it where it belongs.
const PROBE_HERE: &str = "/netarium-probe";

/// What the names of images begin with that Netarium gives to an engine.
pub const AT_ENGINE: &str = "netarium/";

/// How many digits of an image's digest are its tag where Netarium gives it to an engine.
const DIGITS: usize = 16;

/// A lab for Docker Compose: what is in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The files by their paths below the folder; a folder is before what is in it.
    pub files: BTreeMap<String, ExportedFile>,
    /// The certificates of nodes, whose files are put below [`files_of`] of their nodes.
    pub credentials: Vec<Credential>,
    /// The secrets of tunnels, likewise.
    pub secrets: Vec<Secret>,
    /// The authority that issues the certificates, if there are any.
    pub authority: Option<Authority>,
    /// The images that Docker gets from Netarium, by their names in the Compose file.
    pub images: BTreeMap<String, Image>,
    /// What cannot be expressed, or is done in another way.
    pub notes: BTreeSet<String>,
}

/// A file, or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// Its permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: ExportedContent,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportedContent {
    /// This text.
    Text(String),
    /// What a file of the lab's folder has.
    Stored(Digest),
    /// It is a folder.
    Folder,
    /// The program of nodes, which is the probe too.
    Probe,
}

/// Where the files of a node lie, below which they are as in the node.
pub fn files_of(node: &Name) -> String {
    format!("nodes/{node}/files")
}

/// What an image that Netarium has made is called at an engine.
pub fn name_at_engine(name: &str, digest: &str) -> String {
    let tag: String = digest.chars().take(DIGITS).collect();
    format!("{AT_ENGINE}{name}:{tag}")
}

/// The lab with images that another machine can have, too, and what that changes.
pub fn portable(model: &Model) -> (Model, BTreeSet<String>) {
    let (mut model, mut notes) = (model.clone(), BTreeSet::new());
    let nodes = model.nodes.iter_mut().filter(|(_, node)| node.image == Image::Host);
    let mut changed = Vec::new();
    for (name, node) in nodes {
        if let Some(base) = resolve::base() {
            node.image = base;
            changed.push(name.as_str());
        }
    }
    if !changed.is_empty() {
        let nodes = changed.join(", ");
        notes.insert(format!("{nodes}: the image host is this machine; base is in its place"));
    }
    (model, notes)
}

/// Makes a Compose file of a lab that is [`portable`], and what it needs.
pub fn export(model: &Model, objects: &Objects, notes: BTreeSet<String>) -> Export {
    let mut export = Export {
        files: BTreeMap::new(),
        credentials: Vec::new(),
        secrets: Vec::new(),
        authority: None,
        images: BTreeMap::new(),
        notes,
    };
    let subnets = Subnets::of(model, &mut export.notes);
    for (_, object) in objects.iter() {
        export.take(model, object);
    }
    for (name, node) in &model.nodes {
        if objects.contains(&Id::Credential(name.clone())) {
            // The daemon reads its configuration by itself where this file is.
            let path = format!("{}{}", files_of(name), ipsec::LOADED);
            export.put(path, 0o600, String::new());
        }
        let script = script::of_node(model, objects, (name, node), &subnets, &mut export.notes);
        export.put(format!("nodes/{name}/start.sh"), 0o755, script);
        note_what_is_missing((name, node), &mut export.notes);
    }
    note_what_is_left_out(model, &mut export.notes);
    let probe = ExportedFile { mode: 0o755, content: ExportedContent::Probe };
    export.files.insert(PROBE.to_owned(), probe);
    let text = yaml::of_lab(model, objects, &subnets, &mut export);
    export.put("compose.yaml".to_owned(), 0o644, text);
    // Docker Compose would call the project after the folder.
    export.put(".env".to_owned(), 0o644, format!("COMPOSE_PROJECT_NAME={}\n", model.lab));
    let text = readme::of_lab(model, &export);
    export.put("README.md".to_owned(), 0o644, text);
    export
}

impl Export {
    fn put(&mut self, path: String, mode: u32, text: String) {
        self.files.insert(path, ExportedFile { mode, content: ExportedContent::Text(text) });
    }

    /// Puts in what an object is as a file.
    fn take(&mut self, model: &Model, object: &Object) {
        match object {
            Object::Authority(it) => self.authority = Some(it.clone()),
            Object::Credential(it) => self.credentials.push(it.clone()),
            Object::Secret(it) => self.secrets.push(it.clone()),
            Object::Firewall(it) => {
                let text = nft::placement(nft::Table::First, &it.text);
                self.put(format!("nodes/{}/firewall.nft", it.node), 0o600, text);
            }
            // Docker knows the name servers of the host.
            Object::File(it)
                if it.path == "/etc/resolv.conf" && asks_host(model, &model.nodes[&it.node]) => {}
            // What daemons are told here that have Netarium beside them, they are not told there.
            Object::File(it) if it.path == ipsec::SWANCTL_CONF => {}
            Object::Tunnel(it) => {
                for end in it.tunnel.ends() {
                    let tunnels = model.tunnels.values();
                    let text = ipsec::standalone_conf(tunnels, &end.node, it.encryption);
                    let path = format!("{}{}", files_of(&end.node), ipsec::SWANCTL_CONF);
                    if it.tunnel.ipsec().is_some() {
                        self.put(path, 0o644, text);
                    }
                }
            }
            Object::File(it) => {
                let content = match &it.content {
                    Content::Text(text) => ExportedContent::Text(text.to_string()),
                    Content::Stored(digest) => ExportedContent::Stored(digest.clone()),
                    Content::Folder => ExportedContent::Folder,
                };
                let path = format!("{}{}", files_of(&it.node), it.path);
                self.files.insert(path, ExportedFile { mode: it.mode, content });
            }
            _ => {}
        }
    }
}

/// Whether a node asks the name servers of the host.
fn asks_host(model: &Model, node: &Node) -> bool {
    let is_outside = node.interfaces.iter().any(|it| model.is_way_out(&it.segment));
    is_outside && node.dns.is_none()
}

/// What of a node Docker Compose has no way for.
fn note_what_is_missing((name, node): (&Name, &Node), notes: &mut BTreeSet<String>) {
    if !node.nesting.is_refused() {
        notes.insert(format!(
            "node {name}: its programs cannot make containers of their own, for which Docker Compose \
             has no way but `privileged: true`"
        ));
    }
    let of_interface = |key: &str| {
        let mut parts = key.split('/').skip(3);
        let interface = parts.next();
        node.interfaces.iter().any(|it| interface == Some(it.name.as_str()))
    };
    for key in node.sysctls.keys().filter(|key| of_interface(key)) {
        let key = key.replace('/', ".");
        notes.insert(format!(
            "node {name}: {key} is left out, since Docker sets it before the interface has its name"
        ));
    }
    let mut seen = BTreeSet::new();
    for interface in &node.interfaces {
        if !seen.insert(&interface.segment) {
            notes.insert(format!(
                "node {name}: {} is left out: Docker puts a container on network {} once",
                interface.name, interface.segment
            ));
        }
    }
    if node.image.is_foreign() {
        notes.insert(format!(
            "node {name}: its script needs sh and ip, which {} must have (iproute2), and nft for a firewall",
            node.image.title()
        ));
    }
}

/// What of a lab Docker Compose has no way for.
fn note_what_is_left_out(model: &Model, notes: &mut BTreeSet<String>) {
    for (name, tunnel) in &model.tunnels {
        if let TunnelKind::Wireguard(_) = tunnel.kind {
            notes.insert(format!("tunnel {name} is left out: WireGuard is not exported"));
        }
    }
    for (name, segment) in &model.segments {
        if segment.driver == crate::model::Driver::Veth {
            notes.insert(format!("segment {name} is a bridge: Docker has no veth pairs"));
        }
    }
    if !model.checks.is_empty() || !model.disturbances.is_empty() {
        notes.insert("checks are left out: Docker Compose has none".to_owned());
    }
    if model.nodes.values().any(|node| !node.firewall.is_empty()) || !model.tunnels.is_empty() {
        notes.insert(
            "for a moment interfaces are up and a firewall is not: Docker makes them first"
                .to_owned(),
        );
    }
}
