//! Files inside a node, written from outside.
//!
//! What is in a node is not trusted: every path is resolved by the kernel as if the node's root
//! were the only one (openat2(2), `RESOLVE_IN_ROOT`), so no symbolic link leads out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The most that is read of a file to compare it.
const LONGEST: u64 = 4 << 20;

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

    /// Writes a file, in place of the one that is there, in one step. Folders that are missing are
    /// made.
    ///
    /// # Errors
    /// If the disk is full, or a folder of the path is a file.
    pub(crate) fn write(&self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let path = Path::new(path);
        let name = path.file_name().ok_or(Errno::ISDIR)?;
        let folder = self.folder(path.parent().unwrap_or_else(|| Path::new("/")))?;
        let fresh = format!(".{}.netarium", name.display());
        remove(&folder, Path::new(&fresh))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, &fresh, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        let written = file
            .write_all(content)
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
        Ok(Some((found.st_mode & 0o7777, content)))
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
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// Opens a folder, and makes it and those above it where they are missing.
    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.open(path, OFlags::DIRECTORY) {
            Ok(folder) => return Ok(folder),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let mut folder = self.open(Path::new("/"), OFlags::DIRECTORY)?;
        let mut done = std::path::PathBuf::from("/");
        for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
            done.push(part);
            folder = match self.open(&done, OFlags::DIRECTORY) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&folder, part.as_os_str(), Mode::from_raw_mode(0o755))?;
                    self.open(&done, OFlags::DIRECTORY)?
                }
                result => result?,
            };
        }
        Ok(folder)
    }
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
