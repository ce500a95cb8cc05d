//! A lab as a Compose file that Docker Compose takes, 1.29 and later.
//!
//! Docker makes bridges and containers; a script in each container does the rest as Netarium would:
//! names and addresses of interfaces, routes, the firewall, services, tunnels. What cannot be
//! expressed is said. Nothing is written here.

mod script;
mod subnets;
mod yaml;

use std::collections::BTreeMap;

use crate::ipsec;
use crate::model::{Model, TunnelKind, VolumeSource};
use crate::name::Name;
use crate::nft;
use crate::object::{Credential, Object, Objects, Secret};
use crate::source::Digest;

use self::subnets::Subnets;

/// Where the folder of a node is in its container.
const FOLDER: &str = "/netarium";

/// A lab for Docker Compose: what is in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The files by their paths below the folder.
    pub files: BTreeMap<String, ExportedFile>,
    /// The certificates of nodes, which are put below [`files_of`] of their nodes.
    pub credentials: Vec<Credential>,
    /// The secrets of tunnels, likewise.
    pub secrets: Vec<Secret>,
    /// The authority that issues the certificates, if there are any.
    pub authority: Option<crate::object::Authority>,
    /// What cannot be expressed, and what is done instead.
    pub notes: Vec<String>,
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

/// Makes a Compose file of a lab, and what it needs.
pub fn export(model: &Model, objects: &Objects) -> Export {
    let mut export = Export {
        files: BTreeMap::new(),
        credentials: Vec::new(),
        secrets: Vec::new(),
        authority: None,
        notes: Vec::new(),
    };
    let subnets = Subnets::of(model, &mut export.notes);
    for (_, object) in objects.iter() {
        match object {
            Object::Authority(it) => export.authority = Some(it.clone()),
            Object::Credential(it) => export.credentials.push(it.clone()),
            Object::Secret(it) => export.secrets.push(it.clone()),
            Object::Firewall(it) => {
                let text = nft::placement(nft::Table::First, &it.text);
                export.put(format!("nodes/{}/firewall.nft", it.node), 0o600, text);
            }
            Object::File(it) => {
                let path = format!("{}{}", files_of(&it.node), it.path);
                let content = match &it.content {
                    crate::model::Content::Text(text) => ExportedContent::Text(text.to_string()),
                    crate::model::Content::Stored(digest) => {
                        ExportedContent::Stored(digest.clone())
                    }
                    crate::model::Content::Folder => ExportedContent::Folder,
                };
                export.files.insert(path, ExportedFile { mode: it.mode, content });
            }
            _ => {}
        }
    }
    for (name, node) in &model.nodes {
        let certified = export.credentials.iter().any(|it| it.node == *name)
            || export.secrets.iter().any(|it| it.node == *name);
        if certified {
            // The daemon reads its configuration by itself where this file is.
            let path = format!("{}{}", files_of(name), ipsec::LOADED);
            export.put(path, 0o600, String::new());
        }
        let script = script::of_node(model, objects, (name, node), &subnets, &mut export.notes);
        export.put(format!("nodes/{name}/start.sh"), 0o755, script);
        let probe = ExportedFile { mode: 0o755, content: ExportedContent::Probe };
        let path = format!("{}{}", files_of(name), crate::control::PROBE_PATH);
        export.files.insert(path, probe);
    }
    note_what_is_missing(model, &mut export.notes);
    let text = yaml::of_lab(model, objects, &subnets, &mut export);
    export.put("compose.yaml".to_owned(), 0o644, text);
    export.notes.sort();
    export.notes.dedup();
    export
}

impl Export {
    fn put(&mut self, path: String, mode: u32, text: String) {
        self.files.insert(path, ExportedFile { mode, content: ExportedContent::Text(text) });
    }
}

/// What of a lab Docker has no way for, whoever tries.
fn note_what_is_missing(model: &Model, notes: &mut Vec<String>) {
    for tunnel in model.tunnels.values() {
        if let TunnelKind::Wireguard(_) = tunnel.kind {
            notes.push(format!("tunnel {} is left out: WireGuard is not exported", tunnel.name));
        }
    }
    for (name, node) in &model.nodes {
        if !node.nesting.is_refused() {
            notes.push(format!(
                "node {name}: whether programs in it may make containers is up to Docker"
            ));
        }
        let is_outside =
            |source: &VolumeSource| matches!(source, VolumeSource::Host { beneath: Some(_), .. });
        if node.volumes.iter().any(|volume| is_outside(&volume.source)) {
            notes.push(format!("node {name} shows folders beside the lab file, by their paths"));
        }
    }
    if !model.checks.is_empty() {
        notes.push("checks are left out: Docker Compose knows none".to_owned());
    }
    notes.push("interfaces are up before a node's firewall is: Docker makes them first".to_owned());
}
