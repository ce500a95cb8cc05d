//! Files inside a node, written from outside.
//!
//! What is in a node is not trusted: every path is resolved by the kernel as if the node's root
//! were the only one (openat2(2), `RESOLVE_IN_ROOT`), so no symbolic link leads out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::linux::confined;

/// The most that is read of a file to compare it: a byte more than a file of a lab can have.
const LONGEST: u64 = crate::lab_source::LARGEST + 1;

/// Who owns a file, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    /// The user.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
}

/// A file as it is.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Its owner.
    pub(crate) owner: Ids,
    /// What is in it.
    pub(crate) content: Vec<u8>,
}

/// The root folder of a node.
#[derive(Debug)]
pub(crate) struct NodeRoot(OwnedFd);

impl NodeRoot {
    /// The root folder of the process with this number in the host's `/proc`.
    ///
    /// # Errors
    /// If it has ended or is not ours.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?))
    }

    /// Writes a file of root, in place of the one that is there, in one step. Folders that are
    /// missing are made.
    ///
    /// # Errors
    /// If the disk is full, or a folder of the path is a file.
    pub(crate) fn write(&self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.write_for(path, mode, None, content)
    }

    /// Writes a file as [`NodeRoot::write`] does, and gives it to somebody.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn write_for(
        &self,
        path: &str,
        mode: u32,
        owner: Option<Ids>,
        content: &[u8],
    ) -> io::Result<()> {
        let path = Path::new(path);
        let name = path.file_name().ok_or(Errno::ISDIR)?;
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        let folder = confined::make_folder(&self.0, folder)?;
        let fresh = format!(".{}.netarium", name.display());
        remove(&folder, Path::new(&fresh))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, &fresh, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        let written = file
            .write_all(content)
            .and_then(|()| give(&file, owner))
            .and_then(|()| Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?))
            .and_then(|()| Ok(rustix::fs::renameat(&folder, &fresh, &folder, name)?));
        if written.is_err() {
            remove(&folder, Path::new(&fresh))?;
        }
        written
    }

    /// What is in a file, and its permission bits; `None` if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(&self, path: &str) -> io::Result<Option<(u32, Vec<u8>)>> {
        Ok(self.look(path)?.map(|found| (found.mode, found.content)))
    }

    /// Makes a folder; one that is there stays as it is.
    ///
    /// # Errors
    /// If something else is in its place.
    pub(crate) fn make_folder(&self, path: &str, mode: u32, owner: Option<Ids>) -> io::Result<()> {
        if self.open(Path::new(path), OFlags::DIRECTORY | OFlags::PATH).is_ok() {
            return Ok(());
        }
        self.change_folder(path, mode, owner)
    }

    /// Gives a folder its mode and owner, and makes it if it is missing.
    ///
    /// # Errors
    /// If something else is in its place.
    pub(crate) fn change_folder(
        &self,
        path: &str,
        mode: u32,
        owner: Option<Ids>,
    ) -> io::Result<()> {
        let folder = confined::make_folder(&self.0, Path::new(path))?;
        give(&folder, owner)?;
        Ok(rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode))?)
    }

    /// Whether there is a folder.
    pub(crate) fn has_folder(&self, path: &str) -> bool {
        self.open(Path::new(path), OFlags::DIRECTORY | OFlags::PATH).is_ok()
    }

    /// Removes a folder if nothing is in it. Fine if it is gone already.
    ///
    /// # Errors
    /// If the folder above cannot be written.
    pub(crate) fn remove_folder(&self, path: &str) -> io::Result<()> {
        let path = Path::new(path);
        let above = path.parent().unwrap_or_else(|| Path::new("/"));
        let name = path.file_name().ok_or(Errno::ISDIR)?;
        let removed = self
            .open(above, OFlags::DIRECTORY)
            .and_then(|folder| rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR));
        match removed {
            // What somebody else has put there stays, and with it the folder.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR | Errno::BUSY) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A file as it is; `None` if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn look(&self, path: &str) -> io::Result<Option<Found>> {
        // Without O_NONBLOCK a named pipe in the place of the file would hold us up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match self.open(Path::new(path), flags) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let found = rustix::fs::fstat(&file)?;
        if !rustix::fs::FileType::from_raw_mode(found.st_mode).is_file() {
            return Ok(None);
        }
        let mut content = Vec::new();
        file.take(LONGEST).read_to_end(&mut content)?;
        let owner = Ids { uid: found.st_uid, gid: found.st_gid };
        Ok(Some(Found { mode: found.st_mode & 0o7777, owner, content }))
    }

    /// Removes a file. Fine if it is gone already.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        let path = Path::new(path);
        match self.open(path.parent().unwrap_or_else(|| Path::new("/")), OFlags::DIRECTORY) {
            Ok(folder) => remove(&folder, Path::new(path.file_name().ok_or(Errno::ISDIR)?)),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        confined::open(&self.0, path, flags)
    }
}

fn give(file: impl AsFd, owner: Option<Ids>) -> io::Result<()> {
    let Some(Ids { uid, gid }) = owner else { return Ok(()) };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(rustix::fs::fchown(file, Some(uid), Some(gid))?)
}

fn remove(folder: &OwnedFd, name: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_inside_a_node_leads_out_of_it() {
        let base = std::env::temp_dir().join(format!("netarium-root-{}", std::process::id()));
        let inside = base.join("inside");
        std::fs::create_dir_all(&inside).unwrap();
        std::os::unix::fs::symlink(&base, inside.join("absolute")).unwrap();
        std::os::unix::fs::symlink("..", inside.join("above")).unwrap();
        let root = NodeRoot(File::open(&inside).unwrap().into());
        root.write("/above/etc/hosts", 0o640, b"text").unwrap();
        assert!(root.write("/absolute/hosts", 0o640, b"text").is_err());
        assert_eq!(root.read("/etc/hosts").unwrap(), Some((0o640, b"text".to_vec())));
        assert_eq!(root.read("/absolute/hosts").unwrap(), None);
        root.remove("/etc/hosts").unwrap();
        assert_eq!(root.read("/etc/hosts").unwrap(), None);
        assert!(!base.join("etc").exists());
        std::fs::remove_dir_all(&base).unwrap();
    }
}
