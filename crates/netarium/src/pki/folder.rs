//! A folder of PEM files that its owner only can read, with a list of their hashes.
//!
//! It knows nothing of certificates. A file that is not the one saved is refused.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::PkiError;

/// The list. It is written last, so that a folder left half written is seen as damaged.
const LIST: &str = "saved.json";

/// What was found in a folder.
pub(super) struct Saved<S> {
    /// What the files belong to.
    pub(super) subject: S,
    folder: PathBuf,
    files: BTreeMap<String, Zeroizing<String>>,
}

#[derive(Serialize, Deserialize)]
struct List<S> {
    subject: S,
    sha256: BTreeMap<String, String>,
}

impl<S> Saved<S> {
    /// Takes out the content of the file called `name`.
    pub(super) fn take(&mut self, name: &str) -> Result<Zeroizing<String>, PkiError> {
        self.files.remove(name).ok_or_else(|| PkiError::Damaged {
            path: self.folder.join(LIST),
            why: format!("it does not name {name}"),
        })
    }
}

/// Writes `files`, name and content, to `folder`.
pub(super) fn save<S: Serialize>(
    folder: &Path,
    subject: &S,
    files: &[(&str, &str)],
) -> Result<(), PkiError> {
    private_folder(folder).map_err(|source| PkiError::Write { path: folder.to_owned(), source })?;
    for (name, content) in files {
        replace(folder, name, content)?;
    }
    let sha256 = files
        .iter()
        .map(|(name, content)| ((*name).to_owned(), digest(content.as_bytes())))
        .collect();
    let list = serde_json::to_string_pretty(&List { subject, sha256 })
        .expect("names and numbers can be written as JSON");
    replace(folder, LIST, &list)
}

/// Reads what [`save`] has written.
pub(super) fn load<S: DeserializeOwned>(folder: &Path) -> Result<Saved<S>, PkiError> {
    let path = folder.join(LIST);
    let list: List<S> = serde_json::from_str(&read(&path)?)
        .map_err(|source| PkiError::Damaged { path, why: source.to_string() })?;
    let mut files = BTreeMap::new();
    for (name, expected) in list.sha256 {
        let path = folder.join(&name);
        let content = read(&path)?;
        if digest(content.as_bytes()) != expected {
            let why = format!("it is not the file that {LIST} names");
            return Err(PkiError::Damaged { path, why });
        }
        files.insert(name, content);
    }
    Ok(Saved { subject: list.subject, folder: folder.to_owned(), files })
}

fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Writes beside the file and renames, so that nobody reads half of it.
fn replace(folder: &Path, name: &str, content: &str) -> Result<(), PkiError> {
    let path = folder.join(name);
    let fresh = folder.join(format!(".{name}.new"));
    let write = || {
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(content.as_bytes())?;
        fs::rename(&fresh, &path)
    };
    write().map_err(|source| PkiError::Write { path: path.clone(), source })
}

fn read(path: &Path) -> Result<Zeroizing<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Zeroizing::new(content)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(PkiError::Damaged { path: path.to_owned(), why: "it is not text".to_owned() })
        }
        Err(source) => Err(PkiError::Read { path: path.to_owned(), source }),
    }
}

fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
