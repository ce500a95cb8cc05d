//! Paths that nothing leads out of: the kernel resolves them as if a folder were the root, or
//! refuses those that leave it (openat2(2)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens what is at `path` if `root` is taken for the root: absolute links and `..` stay in it.
///
/// # Errors
/// Those of openat2(2).
pub(crate) fn open(root: impl AsFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Opens what is at `path` below `folder`. A link that leads out is refused with `EXDEV`.
///
/// # Errors
/// Those of openat2(2).
pub(crate) fn open_beneath(
    folder: impl AsFd,
    path: &Path,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Opens a folder of the host: beneath another one, or as the caller sees it.
///
/// # Errors
/// If it is no folder, or the caller may not go there.
pub(crate) fn open_host_folder(beneath: Option<&Path>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match beneath {
        Some(folder) => {
            let folder = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
            Ok(open_beneath(folder, path, flags)?)
        }
        None => Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?),
    }
}

/// Opens a folder as [`open`] does, and makes it and those above it where they are missing.
///
/// # Errors
/// If something else is in the way, or a folder cannot be made.
pub(crate) fn make_folder(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    match open(&root, path, OFlags::DIRECTORY) {
        Ok(folder) => return Ok(folder),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mut folder = open(&root, Path::new("/"), OFlags::DIRECTORY)?;
    let mut done = PathBuf::from("/");
    for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
        done.push(part);
        folder = match open(&root, &done, OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&folder, part.as_os_str(), Mode::from_raw_mode(0o755))?;
                open(&root, &done, OFlags::DIRECTORY)?
            }
            result => result?,
        };
    }
    Ok(folder)
}
