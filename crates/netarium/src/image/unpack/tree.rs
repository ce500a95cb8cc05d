//! The folder that a layer is unpacked into, and what is made in it.
//!
//! The way to an entry is resolved as if the folder were the root of all (openat2(2)): neither a
//! symbolic link of the layer nor `..` leads out. The last part of a way is never followed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

use crate::linux::confined;

/// The attribute of a folder that hides what layers below have in it (overlayfs, `userxattr`).
const OPAQUE: &str = "user.overlay.opaque";

/// The permission bits of a folder that no entry describes.
const UNDESCRIBED: u32 = 0o755;

/// A place for an entry: the folder that it is in, and its name there.
pub(super) struct Place {
    pub(super) folder: Rc<OwnedFd>,
    pub(super) name: OsString,
}

/// The folder.
pub(super) struct Tree {
    root: OwnedFd,
}

/// The parts of a way, without what means nothing. `None` where it leads upwards.
pub(super) fn parts(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts)
}

impl Tree {
    /// # Errors
    /// If there is no such folder.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// The place at `path`. Folders on the way that are not there are made, and told to `made`.
    ///
    /// # Errors
    /// If something on the way is no folder.
    pub(super) fn place(&self, path: &Path, made: impl FnMut(PathBuf)) -> io::Result<Place> {
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        let above = path.parent().unwrap_or(Path::new(""));
        Ok(Place { folder: Rc::new(self.folder(above, made)?), name })
    }

    /// The place of something that is there.
    ///
    /// # Errors
    /// If the way to it is not there.
    pub(super) fn find(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        let above = rooted(path.parent().unwrap_or(Path::new("")));
        let folder = confined::open(&self.root, &above, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Place { folder: Rc::new(folder), name })
    }

    /// The folder at `path`, made if it is not there.
    ///
    /// # Errors
    /// If something on the way is no folder.
    pub(super) fn folder(&self, path: &Path, mut made: impl FnMut(PathBuf)) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match confined::open(&self.root, &rooted(path), flags) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            result => return Ok(result?),
        }
        let mut folder = confined::open(&self.root, Path::new("/"), flags)?;
        let mut done = PathBuf::new();
        for part in path.components() {
            done.push(part);
            folder = match confined::open(&self.root, &rooted(&done), flags) {
                Err(error @ (Errno::NOENT | Errno::NOTDIR)) => {
                    let here = Place { folder: Rc::new(folder), name: part.as_os_str().to_owned() };
                    let is_mark = here.stat()?.as_ref().is_some_and(is_hidden);
                    if error == Errno::NOTDIR && !is_mark {
                        return Err(error.into());
                    }
                    // A link that leads nowhere, or a mark that something is gone.
                    here.clear()?;
                    rustix::fs::mkdirat(&here.folder, &here.name, UNDESCRIBED.into())?;
                    made(done.clone());
                    let folder = confined::open(&self.root, &rooted(&done), flags)?;
                    if is_mark {
                        make_opaque(&folder)?;
                    }
                    folder
                }
                result => result?,
            };
        }
        Ok(folder)
    }
}

fn rooted(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}

impl Place {
    /// What is there, if anything.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub(super) fn stat(&self) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens what is there, and does not follow it.
    ///
    /// # Errors
    /// If it is not there, or a symbolic link.
    pub(super) fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty())?)
    }

    /// Makes a new file that can be written, with these permission bits for all who open it later.
    ///
    /// # Errors
    /// If something is there.
    pub(super) fn create(&self, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, &self.name, flags, mode)
    }

    /// Removes what is there, with all that is in it. Says whether it was a mark that hides what
    /// layers below have.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(super) fn clear(&self) -> io::Result<bool> {
        let Some(stat) = self.stat()? else { return Ok(false) };
        if is_folder(&stat) {
            // By way of the folder that is open, so that nothing is resolved twice.
            let above = format!("/proc/self/fd/{}", self.folder.as_raw_fd());
            fs::remove_dir_all(Path::new(&above).join(&self.name))?;
        } else {
            rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty())?;
        }
        Ok(is_hidden(&stat))
    }

    /// Hides what layers below have there. Nobody needs a right to make this one sort of device
    /// (mknod(2); since Linux 5.8).
    ///
    /// # Errors
    /// If something is there.
    pub(super) fn hide(&self) -> io::Result<()> {
        let mode = Mode::empty();
        Ok(rustix::fs::mknodat(&self.folder, &self.name, FileType::CharacterDevice, mode, 0)?)
    }
}

/// Hides what layers below have in a folder.
///
/// # Errors
/// If the file system keeps no attributes.
pub(super) fn make_opaque(folder: impl AsFd) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(folder, ".", flags, Mode::empty())?;
    Ok(rustix::fs::fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty())?)
}

pub(super) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether it is a mark that hides what layers below have there.
pub(super) fn is_hidden(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The name after the mark of what is gone, if `name` is such a mark (OCI image specification,
/// layer.md).
pub(super) fn whiteout(name: &OsStr) -> Option<&OsStr> {
    name.as_bytes().strip_prefix(b".wh.").map(OsStr::from_bytes)
}
