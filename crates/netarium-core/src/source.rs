//! What a lab file names in its folder, as the one who read it has found it.
//!
//! Nothing is read here. [`crate::resolve::Draft`] says what is wanted; whoever can look at the
//! disk fills a [`Sources`] with it. The contents of files are told by their digests.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What is wanted: paths as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What `files` take their content from: below the lab's folder, files or folders.
    pub files: BTreeSet<String>,
    /// The folders that `volumes` show: below the lab's folder, or absolute.
    pub folders: BTreeSet<String>,
    /// What may be either: a file to take a copy of, below the lab's folder, or a folder to show.
    pub either: BTreeSet<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// The lab's folder, an absolute path.
    pub folder: String,
    /// What was found for [`Wanted::files`], and the files among [`Wanted::either`].
    pub files: BTreeMap<String, Source>,
    /// What was found for [`Wanted::folders`], and all else of [`Wanted::either`]: nothing, or why it
    /// cannot be used.
    pub folders: BTreeMap<String, Option<String>>,
}

/// A file or folder that was wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file.
    File(FoundFile),
    /// A folder, and all that is in it by the path below the folder.
    Folder {
        /// Its own permission bits.
        mode: u32,
        /// What is in it.
        entries: BTreeMap<String, Entry>,
    },
    /// It cannot be used; why.
    Refused(String),
}

impl Source {
    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A file.
    File(FoundFile),
    /// A folder, with its permission bits.
    Folder(u32),
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFile {
    /// Its permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Digest,
}

/// What tells the content of a file from every other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest {
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// How many bytes there are.
    pub size: u64,
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        let sum = sha2::Sha256::digest(bytes);
        let sha256 = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { sha256, size: u64::try_from(bytes.len()).unwrap_or(u64::MAX) }
    }
}
