//! What nodes are made from: a recipe, the host, or an image that others have made.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::image::{Platform, Reference};
use crate::name::Name;

/// What a node's root file system is made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Image {
    /// The host's own root file system, read only, under the node's own changes.
    Host,
    /// A Debian system made from packages.
    Recipe(Recipe),
    /// An image that is pulled from a registry.
    Registry {
        /// Its name there.
        reference: Reference,
        /// Which machines it is for; the host's kind if nothing is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        platform: Option<Platform>,
    },
    /// An image that Docker has, taken from it through its socket.
    DockerDaemon {
        /// Its name or id there.
        name: String,
    },
    /// An image in a file or folder.
    Archive(Archive),
}

impl Image {
    /// What people call it: the name of a recipe, or what is written in the lab file.
    pub fn title(&self) -> String {
        match self {
            Self::Host => "host".to_owned(),
            Self::Recipe(recipe) => recipe.name.to_string(),
            Self::Registry { reference, .. } => reference.familiar(),
            Self::DockerDaemon { name } => format!("docker-daemon:{name}"),
            Self::Archive(archive) => archive.to_string(),
        }
    }

    /// Whether others have made it, so that what it says of itself is known only when it is there.
    pub fn is_foreign(&self) -> bool {
        !matches!(self, Self::Host | Self::Recipe(_))
    }
}

/// An image in a file or folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Archive {
    /// Of which form it is.
    pub form: ArchiveForm,
    /// The folder that `path` must not lead out of, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneath: Option<String>,
    /// Where it is.
    pub path: String,
    /// Which of its images is meant, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which machines it is for; the host's kind if nothing is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// Of which form an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveForm {
    /// An OCI image layout, as a folder or in a tar file.
    Oci,
    /// What `docker save` writes.
    Docker,
}

impl ArchiveForm {
    /// What `oci-archive:PATH` and `oci-archive:PATH:NAME` say; nothing, if the word is no archive.
    pub fn split(word: &str) -> Option<(Self, &str, Option<&str>)> {
        [Self::Oci, Self::Docker].into_iter().find_map(|form| {
            let rest = word.strip_prefix(form.mark())?.strip_prefix(':')?;
            let (path, name) =
                rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name)));
            Some((form, path, name))
        })
    }

    /// What such an archive is marked with in a lab file.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Oci => "oci-archive",
            Self::Docker => "docker-archive",
        }
    }
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.form.mark(), self.path)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

/// How to make a Debian root file system. Two equal recipes are one image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Recipe {
    /// The name by which people call it.
    pub name: Name,
    /// The Debian release, `bookworm` for example.
    pub suite: String,
    /// Debian packages besides the essential ones.
    pub packages: BTreeSet<String>,
}

impl Recipe {
    /// The image's address: 64 hexadecimal digits, SHA-256 over suite and packages. The name is
    /// not part of it.
    pub fn digest(&self) -> String {
        let mut text = format!("debian {}\n", self.suite);
        for package in &self.packages {
            text.push_str(package);
            text.push('\n');
        }
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
