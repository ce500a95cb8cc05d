//! Asks the kernel, with a folder on the disk of labs for the trial of overlayfs, and removes the
//! folder again.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid, chown};

use super::{Finding, State};
use crate::engine::native::sweep::sweep;
use crate::failure::Failure;
use crate::features::remember;
use crate::folder::DataFolder;
use crate::linux::features::{Answers, AskError, ask};
use crate::linux::idmap::IdMap;

/// What the name of the folder begins with; the number of the process follows.
const PREFIX: &str = ".trial-";

/// What the kernel answered, and what was seen of the data folder on the way.
pub(super) async fn ask_kernel(data: &DataFolder) -> (Result<Answers, AskError>, Vec<Finding>) {
    let mut findings = Vec::new();
    let folder = data.path().join(format!("{PREFIX}{}", std::process::id()));
    let made = remains(data.path()).into_iter().chain([folder.clone()]).collect::<Vec<_>>();
    let prepared = prepare(&folder);
    let asked = ask(prepared.is_ok().then_some(folder.as_path())).await;
    for folder in made {
        // An empty one may not have been given to the root of the namespaces yet.
        if fs::remove_dir(&folder).is_ok() {
            continue;
        }
        if let Err(error) = sweep(&folder).await {
            findings.push(unusable(data, Failure::of(&error).to_string()));
        }
    }
    let kept = asked.as_ref().map_or(Ok(()), |answers| remember(data, answers));
    let told = kept.map_err(|error| Failure::of(&error).to_string());
    let told = told.and(prepared.map_err(|error| format!("cannot make a folder: {error}")));
    findings.extend(told.err().map(|why| unusable(data, why)));
    (asked, findings)
}

fn unusable(data: &DataFolder, why: String) -> Finding {
    let hint = "NETARIUM_DATA names another folder for images and labs";
    Finding::of(format!("folder {}", data.path().display()), State::Missing, why).hint(hint)
}

/// Makes an empty folder that belongs to root of the owner's namespaces.
fn prepare(folder: &Path) -> io::Result<()> {
    let map = IdMap::of_caller().map_err(io::Error::other)?;
    if let Some(data) = folder.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(data)?;
    }
    DirBuilder::new().mode(0o700).create(folder)?;
    let (uid, gid) = (Uid::from_raw(map.root_uid()), Gid::from_raw(map.root_gid()));
    Ok(chown(folder, Some(uid), Some(gid))?)
}

/// The folders of trials whose process was killed.
fn remains(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    let ended = |name: &str| {
        let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
    };
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(ended))
        .map(|entry| entry.path())
        .collect()
}
