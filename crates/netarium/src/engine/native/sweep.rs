//! Removing what a lab leaves on the disk: its files may belong to any of its ids, so it takes root
//! of a namespace with the same ids.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::linux::idmap::IdMap;
use crate::linux::stage::{Call, Running, Stage, StageError};
use crate::linux::userns::run_as_root_of_new_namespace;

#[derive(Serialize, Deserialize)]
struct Order {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Swept,
    Failed(Failure),
}

/// Why something is left on the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// No process of ours.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A file that cannot be removed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The folder itself.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Removes `folder`, which belongs to root of the owner's namespaces. Fine if it is gone already.
///
/// # Errors
/// What could not be removed. Whatever can be removed is.
pub(crate) async fn sweep(folder: &Path) -> Result<(), SweepError> {
    if !folder.exists() {
        return Ok(());
    }
    let error = |source| SweepError::Remove { path: folder.to_owned(), source };
    if rustix::process::geteuid().is_root() {
        // Who may remove everything needs no namespace. What containers of another engine have written
        // belongs to ids that labs of ours do not have.
        let path = folder.to_owned();
        let removing = tokio::task::spawn_blocking(move || fs::remove_dir_all(path));
        return removing.await.map_err(io::Error::other).map_err(error)?.map_err(error);
    }
    let order = Order { folder: folder.to_owned() };
    let mut running = Running::start(Stage::Sweep, &order, &[], Stdio::inherit())?;
    match running.answer().await? {
        Some(Answer::Swept) => {}
        Some(Answer::Failed(failure)) => return Err(failure.into()),
        None => return Err(StageError::Silent { stderr: String::new() }.into()),
    }
    // The folder above is the caller's own, where root of the namespace is a stranger.
    fs::remove_dir(folder).map_err(error)
}

/// The stage: returns its exit status.
pub(crate) fn stage(call: &Call) -> i32 {
    let answer = match run(call) {
        Ok(()) => Answer::Swept,
        Err(failure) => Answer::Failed(failure),
    };
    i32::from(call.answer(&answer).is_err())
}

fn run(call: &Call) -> Result<(), Failure> {
    let order: Order = call.words().map_err(|error| Failure::of(&error))?;
    let map = IdMap::of_caller().map_err(|error| Failure::of(&error))?;
    let child = || match empty(&order.folder) {
        Ok(()) => 0,
        Err(failure) => {
            call.answer(&Answer::Failed(failure)).ok();
            1
        }
    };
    let status = run_as_root_of_new_namespace(&map, child).map_err(|error| Failure::of(&error))?;
    if status.success() {
        Ok(())
    } else {
        let what = format!("cannot empty {}", order.folder.display());
        Err(Failure { what, causes: vec![status.to_string()], hint: None })
    }
}

/// Removes all that is in a folder; goes on after an error and tells the first.
fn empty(folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: &io::Error| Failure {
        what: format!("cannot remove {}", path.display()),
        causes: vec![error.to_string()],
        hint: None,
    };
    let mut first = None;
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, &error))? {
        let removed = entry.and_then(|entry| {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            }
        });
        if let Err(error) = removed {
            first.get_or_insert(failed(folder, &error));
        }
    }
    first.map_or(Ok(()), Err)
}
