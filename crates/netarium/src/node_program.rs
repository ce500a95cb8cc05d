//! The programs that are inside every node, kept in the library and laid down where nodes find them.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// First process, probe and keeper, built by `build.rs`.
const NODE: &[u8] = include_bytes!(env!("NETARIUM_NODE_PROGRAM"));

/// WireGuard in user space, built by `build.rs`.
const WIREGUARD: &[u8] = include_bytes!(env!("NETARIUM_WIREGUARD_PROGRAM"));

/// How often this process began to lay one down.
static FRESH: AtomicU64 = AtomicU64::new(0);

/// Where the programs lie on the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Programs {
    /// First process, probe and keeper.
    pub(crate) node: PathBuf,
    /// WireGuard in user space.
    pub(crate) wireguard: PathBuf,
}

/// Lays the programs down in `folder`, each under a name with its digest, once for all labs, and tells
/// where.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn lay_down(folder: &Path) -> io::Result<Programs> {
    Ok(Programs {
        node: lay_one_down(
            folder,
            concat!("netarium-node-", env!("NETARIUM_NODE_PROGRAM_DIGEST")),
            NODE,
        )?,
        wireguard: lay_one_down(
            folder,
            concat!("netarium-wireguard-", env!("NETARIUM_WIREGUARD_PROGRAM_DIGEST")),
            WIREGUARD,
        )?,
    })
}

fn lay_one_down(folder: &Path, name: &str, program: &[u8]) -> io::Result<PathBuf> {
    let path = folder.join(name);
    // Renamed into place when it is whole: if it is there, it is right.
    if !path.exists() {
        fs::create_dir_all(folder)?;
        // Several labs of one process may begin at the same time.
        let number = FRESH.fetch_add(1, Ordering::Relaxed);
        let fresh = folder.join(format!(".{name}-{}-{number}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o755).open(&fresh)?;
        file.write_all(program)?;
        drop(file);
        fs::rename(&fresh, &path)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_labs_of_one_process_may_lay_a_program_down_at_once() {
        let folder = std::env::temp_dir().join(format!("netarium-laid-{}", std::process::id()));
        for round in 0..20 {
            let name = format!("program-{round}");
            std::thread::scope(|scope| {
                let lay = || lay_one_down(&folder, &name, b"words").expect("it is laid down");
                (0..8).for_each(|_| drop(scope.spawn(lay)));
            });
            assert_eq!(fs::read(folder.join(name)).expect("it is there"), b"words");
        }
        assert_eq!(fs::read_dir(&folder).expect("it is a folder").count(), 20);
        fs::remove_dir_all(&folder).expect("nobody else has it");
    }
}
