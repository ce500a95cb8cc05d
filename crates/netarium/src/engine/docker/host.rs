//! The image `host` for an engine that has no way to lay folders of the host over each other: the
//! host's programs and libraries are bound read-only, its settings are copied as far as everybody may
//! read them, and the rest is empty.
//!
//! Root of a container is root of the host here, so that nothing is shown which only root may read.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Folders that are shown whole, where they are folders and no links.
const SHOWN: &[&str] = &["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/sbin"];

/// Folders of which what is in them is shown, but for that which a container has of its own.
const SHOWN_IN_PART: &[(&str, &str)] = &[("/usr", "local"), ("/usr/local", "bin")];

/// What may be a link on the host, and then is one in the container.
const LINKS: &[&str] =
    &["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/var/lock", "/var/run"];

/// Folders that there are besides, with nothing in them, as far as the host has them.
pub(super) const EMPTY: &[&str] = &[
    "dev",
    "etc",
    "home",
    "media",
    "mnt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr",
    "usr/local",
    "usr/local/bin",
    "var",
    "var/cache",
    "var/lib",
    "var/local",
    "var/log",
    "var/mail",
    "var/opt",
    "var/spool",
    "var/tmp",
];

/// The largest file of `/etc` that is copied, in bytes.
const LARGEST: u64 = 1 << 20;

/// Files of `/etc` that are about this host, and change.
const NOT_COPIED: &[&str] = &["hostname", "hosts", "mtab", "resolv.conf", ".pwd.lock"];

/// The folders of the host that are bound, each at its own place.
pub(super) fn shown() -> Vec<PathBuf> {
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
    let mut shown: Vec<PathBuf> =
        SHOWN.iter().map(PathBuf::from).filter(|path| is_folder(path)).collect();
    for (folder, own) in SHOWN_IN_PART {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let entries = entries.filter(|it| it.file_name() != *own).map(|it| it.path());
        shown.extend(entries.filter(|path| is_folder(path)));
    }
    shown.sort();
    shown
}

/// The links of [`LINKS`] that there are, with what they lead to.
pub(super) fn links() -> Vec<(PathBuf, PathBuf)> {
    let read = |path: &&str| Some((PathBuf::from(path), fs::read_link(path).ok()?));
    LINKS.iter().filter_map(read).collect()
}

/// The files, folders and links below `/etc` that everybody may read.
pub(super) fn settings() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::from("/etc")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_ours = folder == Path::new("/etc") && NOT_COPIED.iter().any(|it| name == *it);
            let Ok(metadata) = entry.metadata() else { continue };
            let mode = metadata.permissions().mode();
            if metadata.is_dir() && mode & 0o005 == 0o005 {
                folders.push(entry.path());
                found.insert(entry.path());
            } else if !is_ours
                && (metadata.is_symlink()
                    || metadata.is_file() && mode & 0o004 != 0 && metadata.len() <= LARGEST)
            {
                found.insert(entry.path());
            }
        }
    }
    found
}

/// A name for what the image is made from: it changes when any of that does.
pub(super) fn digest() -> String {
    let mut hasher = Sha256::new();
    for path in settings() {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        hasher.update(path.as_os_str().as_bytes());
        for number in [u64::from(found.mode()), found.len(), found.mtime().cast_unsigned()] {
            hasher.update(number.to_le_bytes());
        }
    }
    for (path, target) in links() {
        hasher.update(path.as_os_str().as_bytes());
        hasher.update(target.as_os_str().as_bytes());
    }
    hasher.update(format!("{EMPTY:?} {SHOWN:?} {SHOWN_IN_PART:?}").as_bytes());
    let mut text = String::new();
    for byte in hasher.finalize() {
        write!(text, "{byte:02x}").expect("a string takes all that is written to it");
    }
    text
}
