//! The keeper of a lab: the first process of its namespaces. When it ends, the kernel ends every
//! process of the lab and takes its network apart.
//!
//! It is found by its record, and where that was lost by its mark: its own arguments name the
//! lab's folder.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::folder::LabFolder;
use crate::linux::process::Process;

/// What the keeper calls itself.
pub(crate) const NAME: &str = "netarium-keeper";

/// The keeper of a lab, alive or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeper(Process);

impl Keeper {
    /// The keeper on record, if there is a record.
    pub(crate) fn recorded(folder: &LabFolder) -> Option<Self> {
        let record = fs::read(folder.keeper()).ok()?;
        serde_json::from_slice(&record).ok().map(Self)
    }

    /// Whether the lab lives.
    pub(crate) fn is_alive(self) -> bool {
        self.0.is_alive()
    }

    pub(crate) fn process(self) -> Process {
        self.0
    }
}

/// Ends every keeper of the lab, on record or not, and with it the lab. Says whether there was one.
///
/// # Errors
/// If a keeper is not ours to kill.
pub(crate) fn kill_all(folder: &LabFolder) -> io::Result<bool> {
    let mut keepers = marked(folder.path())?;
    keepers.extend(Keeper::recorded(folder).map(Keeper::process));
    let alive = keepers.iter().any(|keeper| keeper.is_alive());
    keepers.into_iter().try_for_each(Process::kill)?;
    Ok(alive)
}

/// All processes that bear the mark of the lab with this folder. What a stranger's process claims
/// about itself does not count: it must run as an id of ours.
fn marked(folder: &Path) -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Processes come and go while we look.
        let Ok(words) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let mut words = words.split(|byte| *byte == 0);
        let is_keeper = words.next() == Some(NAME.as_bytes())
            && words.nth(1) == Some(folder.as_os_str().as_bytes());
        if is_keeper && is_ours(pid, folder) {
            found.extend(Process::of(pid).ok());
        }
    }
    Ok(found)
}

/// Whether a process runs as root of the owner's labs, to whom the folder of the lab belongs; where
/// that is gone too, whether it is the caller's to signal is left to the kernel.
fn is_ours(pid: u32, folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = |path: &Path| fs::metadata(path).map(|found| found.uid());
    match (owner(Path::new(&format!("/proc/{pid}"))), owner(folder)) {
        (Ok(process), Ok(folder)) => process == folder,
        (Ok(_), Err(_)) => true,
        (Err(_), _) => false,
    }
}
