//! Packing a root file system into one tar stream, by tar(1).
//!
//! It is a stage: the files of an image belong to the ids of its owner's labs, and only root of a
//! namespace with those ids sees them as the image has them.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use super::host;
use crate::failure::Failure;
use crate::linux::idmap::IdMap;
use crate::linux::mount::{self, RootFolders};
use crate::linux::program::Program;
use crate::linux::stage::{Call, Running, Stage, StageError};
use crate::linux::userns::run_as_root_of_new_namespace;

const TAR: &str = "tar";

/// A folder that every host has (Filesystem Hierarchy Standard), and that is nothing to us.
const PLACE: &str = "/mnt";

/// What is packed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Pack {
    /// What a container shows of the host, besides what is bound.
    Host,
    /// A root file system of the store.
    Rootfs(PathBuf),
    /// Layers of the store, the highest first.
    Layers(Vec<PathBuf>),
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Packed,
    Failed(Failure),
}

/// Why nothing was packed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("cannot make a pipe")]
    Pipe(#[source] io::Error),
}

/// Begins to pack. What is packed comes out of the pipe.
///
/// # Errors
/// If there is no process of ours for it.
pub(super) fn start(pack: &Pack) -> Result<(Running, OwnedFd), PackError> {
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| PackError::Pipe(error.into()))?;
    let running = Running::start(Stage::Give, pack, &[writer.as_fd()], Stdio::inherit())?;
    Ok((running, reader))
}

/// Waits until all is packed.
///
/// # Errors
/// If not all was.
pub(super) async fn finish(mut running: Running) -> Result<(), PackError> {
    match running.answer().await? {
        Some(Answer::Packed) => Ok(()),
        Some(Answer::Failed(failure)) => Err(failure.into()),
        None => Err(StageError::Silent { stderr: String::new() }.into()),
    }
}

/// The stage: returns its exit status.
pub(crate) fn stage(call: &Call) -> i32 {
    let answer = match run(call) {
        Ok(()) => Answer::Packed,
        Err(failure) => Answer::Failed(failure),
    };
    i32::from(call.answer(&answer).is_err())
}

fn run(call: &Call) -> Result<(), Failure> {
    let pack: Pack = call.words().map_err(|error| Failure::of(&error))?;
    match pack {
        Pack::Host => pack_host(call),
        Pack::Rootfs(folder) => as_root(call, || pack_folder(&folder, call)),
        Pack::Layers(layers) => as_root(call, || pack_layers(layers, call)),
    }
}

/// Packs as root of a namespace with the ids of the owner's labs.
fn as_root(call: &Call, pack: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let map = IdMap::of_caller().map_err(|error| Failure::of(&error))?;
    let child = || match pack() {
        Ok(()) => 0,
        Err(failure) => {
            call.answer(&Answer::Failed(failure)).ok();
            1
        }
    };
    let status = run_as_root_of_new_namespace(&map, child).map_err(|error| Failure::of(&error))?;
    if status.success() {
        return Ok(());
    }
    let what = "cannot pack the image".to_owned();
    Err(Failure { what, causes: vec![status.to_string()], hint: None })
}

/// Lays layers over each other as a node has them, where nobody else sees it.
fn pack_layers(lower: Vec<PathBuf>, call: &Call) -> Result<(), Failure> {
    let place = Path::new(PLACE);
    let part = |name: &str| place.join(name);
    mount::tmpfs(place, "mode=0700").map_err(|error| Failure::of(&error))?;
    for name in ["upper", "work", "merged"] {
        std::fs::create_dir(part(name)).map_err(|error| Failure::of(&error))?;
    }
    let (upper, work, merged) = (part("upper"), part("work"), part("merged"));
    let folders = RootFolders { lower, upper, work, merged, hidden: vec![] };
    mount::mount_image(&folders).map_err(|error| Failure::of(&error))?;
    pack_folder(&folders.merged, call)
}

fn pack_folder(folder: &Path, call: &Call) -> Result<(), Failure> {
    let tar = tar(call)?.args(["--xattrs", "--xattrs-include=security.capability"]);
    let tar = tar.arg("--directory").arg(folder).arg(".");
    tar.run_now().map(drop).map_err(|error| Failure::of(&error))
}

fn pack_host(call: &Call) -> Result<(), Failure> {
    let list = list_of_host().map_err(|error| Failure::of(&error))?;
    let tar =
        tar(call)?.args(["--no-recursion", "--directory", "/", "--null", "--files-from", "-"]);
    tar.stdin(list).run_now().map(drop).map_err(|error| Failure::of(&error))
}

/// tar(1), which writes into the pipe that came with the call.
fn tar(call: &Call) -> Result<Program, Failure> {
    let pipe = call.fds.first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput));
    let pipe = pipe.and_then(|pipe| pipe.try_clone()).map_err(|error| Failure::of(&error))?;
    Ok(Program::new(TAR).args(["--create", "--numeric-owner"]).stdout(pipe))
}

/// What of the host is packed, each path with a zero byte behind it, in a file without a name.
fn list_of_host() -> io::Result<File> {
    let mut file = File::from(memfd_create(TAR, MemfdFlags::CLOEXEC)?);
    let folders = host::EMPTY.iter().map(|path| Path::new("/").join(path));
    let links = host::links().into_iter().map(|(path, _)| path);
    for path in folders.filter(|path| path.is_dir()).chain(links).chain(host::settings()) {
        let inside = path.strip_prefix("/").unwrap_or(&path);
        file.write_all(inside.as_os_str().as_bytes())?;
        file.write_all(&[0])?;
    }
    file.rewind()?;
    Ok(file)
}
