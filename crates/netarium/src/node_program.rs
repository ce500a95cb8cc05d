//! The program that is inside every node, kept in the library and laid down where nodes find it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The program, built by `build.rs`.
const PROGRAM: &[u8] = include_bytes!(env!("NETARIUM_NODE_PROGRAM"));

/// The beginning of its SHA-256, which tells versions apart.
const DIGEST: &str = env!("NETARIUM_NODE_DIGEST");

/// Lays the program down in `folder`, once for all labs, and tells where.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn lay_down(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join(format!("netarium-node-{DIGEST}"));
    // Renamed into place when it is whole: if it is there, it is right.
    if !path.exists() {
        fs::create_dir_all(folder)?;
        let fresh = folder.join(format!(".netarium-node-{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o755).open(&fresh)?;
        file.write_all(PROGRAM)?;
        drop(file);
        fs::rename(&fresh, &path)?;
    }
    Ok(path)
}
