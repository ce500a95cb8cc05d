//! Labs for others: a lab as a folder that Docker Compose brings up.
//!
//! What is in the folder is thought out in [`netarium_core::export`]. Here keys are made and all of it is
//! written, whole or not at all.

mod folder;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use netarium_core::export::{Export, ExportedContent, files_of};
use netarium_core::ipsec;
use netarium_core::name::Name;

pub use self::folder::FolderError;
use self::folder::{Fresh, Target};
use crate::event::Report;
use crate::folder::DataFolder;
use crate::lab::{Lab, LabError};
use crate::lab_file::LabFile;
use crate::node_program;
use crate::pki::{Authority, PkiError, TunnelSecret};

/// Whether the engine gets the images of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// It does: the one that `DOCKER_HOST` names.
    Now,
    /// It does not.
    Later,
}

/// A lab that was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Where it is.
    pub folder: PathBuf,
    /// How many nodes it has.
    pub nodes: usize,
    /// The images that Docker gets from Netarium, as the Compose file calls them, each with its own name.
    pub images: BTreeMap<String, String>,
    /// What cannot be expressed, or is done in another way.
    pub notes: BTreeSet<String>,
}

/// Why a lab was not exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The lab cannot be as its file says.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The folder cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A key or certificate cannot be made.
    #[error("cannot make the keys of the lab")]
    Keys(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The program of nodes cannot be had.
    #[error("cannot read the program of nodes")]
    Program(#[source] io::Error),
}

impl ExportError {
    /// What to do about it, if there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lab(error) => error.hint(),
            Self::Folder(error) => error.hint(),
            Self::Keys(_) | Self::Program(_) => None,
        }
    }
}

impl From<PkiError> for ExportError {
    fn from(error: PkiError) -> Self {
        Self::Keys(Box::new(error))
    }
}

/// Writes a lab into the folder `to` as Docker Compose takes it. The folder is made, or was written by this
/// and has not been changed since.
///
/// # Errors
/// If the lab cannot be, or the folder is somebody else's. Nothing is written then.
pub async fn compose(
    file: &LabFile,
    data: &DataFolder,
    to: &Path,
    load: Load,
    report: Report<'_>,
) -> Result<Exported, ExportError> {
    let target = Target::of(to)?;
    let lab = Lab::named(data, &file.model.lab);
    let export = lab.for_compose(file, load, report).await?;
    let mut fresh = target.begin()?;
    write(&export, file, data, &mut fresh)?;
    issue(&export, file, &mut fresh)?;
    let folder = fresh.finish()?;
    let images = export.images.iter().map(|(name, image)| (name.clone(), image.title()));
    Ok(Exported {
        folder,
        nodes: file.model.nodes.len(),
        images: images.collect(),
        notes: export.notes,
    })
}

/// Writes what needs no key.
fn write(
    export: &Export,
    file: &LabFile,
    data: &DataFolder,
    fresh: &mut Fresh,
) -> Result<(), ExportError> {
    for (path, exported) in &export.files {
        match &exported.content {
            ExportedContent::Text(text) => fresh.write(path, exported.mode, text.as_bytes())?,
            ExportedContent::Folder => fresh.make_folder(path, exported.mode)?,
            ExportedContent::Stored(digest) => {
                let bytes = file.contents.get(&digest.sha256).map_or(&[][..], Vec::as_slice);
                fresh.write(path, exported.mode, bytes)?;
            }
            ExportedContent::Probe => {
                let programs = node_program::lay_down(&data.programs());
                let bytes = programs.and_then(|it| std::fs::read(it.node));
                fresh.write(path, exported.mode, &bytes.map_err(ExportError::Program)?)?;
            }
        }
    }
    Ok(())
}

/// Makes the keys, certificates and secrets of the nodes. That of the authority is forgotten.
fn issue(export: &Export, file: &LabFile, fresh: &mut Fresh) -> Result<(), ExportError> {
    if let Some(authority) = &export.authority {
        let authority = Authority::create(authority, SystemTime::now())?;
        for credential in &export.credentials {
            let issued = authority.issue(credential)?;
            for it in issued.files() {
                let path = format!("{}{}", files_of(&credential.node), it.path);
                fresh.write(&path, it.mode, it.content.as_bytes())?;
            }
        }
    }
    // Both ends of a tunnel have the same.
    let mut secrets: BTreeMap<&Name, TunnelSecret> = BTreeMap::new();
    for shared in &export.secrets {
        if !secrets.contains_key(&shared.tunnel) {
            secrets.insert(&shared.tunnel, TunnelSecret::fresh(shared, &file.model.secrets)?);
        }
        let secret = &secrets[&shared.tunnel];
        let text = ipsec::secret_conf(&shared.tunnel, shared.ends, secret.text());
        let path = format!("{}{}", files_of(&shared.node), ipsec::secret_file(&shared.tunnel));
        fresh.write(&path, 0o600, text.as_bytes())?;
    }
    Ok(())
}
