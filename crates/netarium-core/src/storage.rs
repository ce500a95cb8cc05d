//! What is put into a node, and what it shares: part of the [`crate::model`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::source;
use crate::user::User;

/// A file of a node, or a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct File {
    /// What is in it.
    pub content: Content,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner; root if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<User>,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Text. Many nodes have the same `/etc/hosts`, which is long in a large lab.
    Text(Arc<str>),
    /// Bytes that lie elsewhere.
    Stored(source::Digest),
    /// It is a folder.
    Folder,
}

impl Content {
    /// The text, if it is text that is at hand.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Arc<str>> for Content {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// A folder that a node shares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Volume {
    /// What is shown.
    pub source: VolumeSource,
    /// Where, an absolute path in the node.
    pub target: String,
    /// What the node may do with it.
    pub access: Access,
}

/// What a volume shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeSource {
    /// A folder that the lab keeps.
    Named(Name),
    /// A folder of the host.
    Host {
        /// The folder that no part of the path leads out of, an absolute path; none if the path is
        /// absolute.
        beneath: Option<String>,
        /// The path.
        path: String,
    },
    /// A folder in memory, empty when the node is made and gone with it.
    Memory {
        /// The most that is in it, in bytes; what the kernel allows if there is no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// Its permission bits.
        mode: u32,
    },
}

/// What a node may do with a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read what is in it.
    ReadOnly,
    /// Change it, too.
    Writable,
}
