//! Folders that a node shares: opened outside, mounted inside.
//!
//! The folder of an ordinary user is opened and mounted by the node-to-be itself: its root is that
//! user, who can show nobody what that user may not see. Root of root's labs is nobody, so the
//! folder is opened by the caller before the lab is entered, and its ids are mapped on the way
//! (mount_setattr(2), `MOUNT_ATTR_IDMAP`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use netarium_core::model::Access;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen,
};

use super::clone::{Side, end, into_namespaces};
use super::confined;
use super::idmap;

/// A folder that a node shares.
#[derive(Debug)]
pub(crate) struct Volume {
    /// What is shown.
    pub(crate) origin: Origin,
    /// Where it is in the node.
    pub(crate) target: PathBuf,
    /// What the node may do with it.
    pub(crate) access: Access,
}

/// What a volume shows.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A folder that root of the node can reach by itself.
    Folder {
        /// What no part of the path leads out of.
        beneath: Option<PathBuf>,
        /// The path.
        path: PathBuf,
    },
    /// A mount that was made outside, see [`open_mapped`].
    Tree(OwnedFd),
    /// Memory.
    Memory {
        /// The most that is in it, in bytes.
        size: Option<u64>,
        /// Its permission bits.
        mode: u32,
    },
}

/// Whose ids a folder's files have, as they are on the disk and as the lab sees them.
#[derive(Debug)]
pub(crate) enum Mapping<'a> {
    /// As in the user namespace of this descriptor: 0 on the disk is 0 in it, and so on.
    Namespace(BorrowedFd<'a>),
    /// The folder's owner is this user and group, root of a lab; everybody else is nobody.
    OwnerIs(u32, u32),
}

/// Why a folder cannot be shared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// It is not there, or not for the caller.
    #[error("cannot open {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    /// It would let a node make files of the host's root.
    #[error("{} belongs to root, and nothing that a node writes may", .0.display())]
    OfRoot(PathBuf),
    /// Its file system does not know how.
    #[error("cannot show {} with the ids of the lab", path.display())]
    Map { path: PathBuf, source: io::Error },
}

impl VolumeError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Open { .. } => None,
            Self::OfRoot(path) => Some(format!(
                "use a volume with a name, or give the folder to somebody: chown USER {}",
                path.display()
            )),
            Self::Map { .. } => Some(
                "not every file system can have its ids mapped: use a folder on another one, or \
                 copy it with `files`"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Folder { path, .. } => write!(f, "{}", path.display())?,
            Origin::Tree(_) => f.write_str("a folder of the host")?,
            Origin::Memory { .. } => f.write_str("memory")?,
        }
        write!(f, " on {}", self.target.display())
    }
}

impl Volume {
    /// Mounts it below the root of a node. Whatever the folder says, nothing in it gives rights or
    /// is a device.
    ///
    /// # Errors
    /// If the folder is not there, or its place cannot be made.
    pub(crate) fn mount(&self, root: &Path) -> io::Result<()> {
        let own;
        let tree = match &self.origin {
            Origin::Tree(tree) => tree,
            Origin::Folder { beneath, path } => {
                let folder = confined::open_host_folder(beneath.as_deref(), path)?;
                own = open_tree(&folder, OpenTreeFlags::AT_RECURSIVE)?;
                &own
            }
            Origin::Memory { size, mode } => {
                own = memory(*size, *mode)?;
                &own
            }
        };
        let read_only = match self.access {
            Access::ReadOnly => libc::MOUNT_ATTR_RDONLY,
            Access::Writable => 0,
        };
        set_attributes(tree, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | read_only, None)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, root, flags, Mode::empty())?;
        let target = confined::make_folder(&root, &self.target)?;
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(rustix::mount::move_mount(tree, "", target, "", flags)?)
    }
}

/// Opens a folder as the caller, who is root of the host and in its namespaces, and makes it a
/// mount with mapped ids that is nowhere yet. What is mounted below the folder is left out.
///
/// # Errors
/// If the folder cannot be opened, or its file system cannot map ids.
pub(crate) fn open_mapped(
    beneath: Option<&Path>,
    path: &Path,
    access: Access,
    lab: BorrowedFd<'_>,
    lab_root: (u32, u32),
) -> Result<OwnedFd, VolumeError> {
    let open = |source| VolumeError::Open { path: path.to_owned(), source };
    let folder = confined::open_host_folder(beneath, path).map_err(open)?;
    let found = rustix::fs::fstat(&folder).map_err(|error| open(error.into()))?;
    let mapping = match access {
        Access::ReadOnly => Mapping::Namespace(lab),
        Access::Writable if found.st_uid == 0 || found.st_gid == 0 => {
            return Err(VolumeError::OfRoot(path.to_owned()));
        }
        Access::Writable => Mapping::OwnerIs(found.st_uid, found.st_gid),
    };
    let mapped = || -> io::Result<OwnedFd> {
        let tree = open_tree(&folder, OpenTreeFlags::empty())?;
        match mapping {
            Mapping::Namespace(namespace) => set_attributes(&tree, 0, Some(namespace))?,
            Mapping::OwnerIs(uid, gid) => {
                let namespace = namespace_of((uid, gid), lab_root, 1)?;
                set_attributes(&tree, 0, Some(namespace.as_fd()))?;
            }
        }
        Ok(tree)
    };
    mapped().map_err(|source| VolumeError::Map { path: path.to_owned(), source })
}

/// Opens a folder of the host for a container whose root is root of the host, as a mount that is nowhere
/// yet. What is mounted below the folder is left out.
///
/// # Errors
/// As [`open_mapped`].
pub(crate) fn open_for_root(
    beneath: Option<&Path>,
    path: &Path,
    access: Access,
) -> Result<OwnedFd, VolumeError> {
    let open = |source| VolumeError::Open { path: path.to_owned(), source };
    let folder = confined::open_host_folder(beneath, path).map_err(open)?;
    let found = rustix::fs::fstat(&folder).map_err(|error| open(error.into()))?;
    let ids = (found.st_uid, found.st_gid);
    let mapped = || -> io::Result<OwnedFd> {
        let tree = open_tree(&folder, OpenTreeFlags::empty())?;
        if access == Access::Writable {
            set_attributes(&tree, 0, Some(namespace_of(ids, (0, 0), 1)?.as_fd()))?;
        }
        Ok(tree)
    };
    if access == Access::Writable && (ids.0 == 0 || ids.1 == 0) {
        return Err(VolumeError::OfRoot(path.to_owned()));
    }
    mapped().map_err(|source| VolumeError::Map { path: path.to_owned(), source })
}

/// Opens a folder that a lab keeps for such a container: what belongs to the lab's own ids on the disk,
/// so many from `lab_root` on, has the same numbers there as in a lab of ours. Where the file system
/// cannot map ids, it is shown as it is.
///
/// # Errors
/// If it is not there.
pub(crate) fn open_kept(
    path: &Path,
    lab_root: (u32, u32),
    count: u32,
) -> Result<OwnedFd, VolumeError> {
    let open = |source| VolumeError::Open { path: path.to_owned(), source };
    let folder = confined::open_host_folder(None, path).map_err(open)?;
    let tree = open_tree(&folder, OpenTreeFlags::empty()).map_err(open)?;
    let namespace = namespace_of(lab_root, (0, 0), count).map_err(open)?;
    match set_attributes(&tree, 0, Some(namespace.as_fd())) {
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(open(error)),
        _ => Ok(tree),
    }
}

fn open_tree(folder: &OwnedFd, flags: OpenTreeFlags) -> io::Result<OwnedFd> {
    let flags = flags
        | OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(folder, "", flags)?)
}

/// A new file system in memory, which is nowhere yet (tmpfs(5)).
fn memory(size: Option<u64>, mode: u32) -> io::Result<OwnedFd> {
    let files = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(files.as_fd(), "source", "tmpfs")?;
    fsconfig_set_string(files.as_fd(), "mode", format!("{mode:04o}"))?;
    if let Some(size) = size {
        fsconfig_set_string(files.as_fd(), "size", size.to_string())?;
    }
    fsconfig_create(files.as_fd())?;
    let attributes = MountAttrFlags::empty();
    Ok(fsmount(files.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A user namespace in which so many users and groups, from these on, have the ids from others on
/// outside. It lives as long as its descriptor.
fn namespace_of(inside: (u32, u32), outside: (u32, u32), count: u32) -> io::Result<OwnedFd> {
    let (gate, mut inner) = UnixStream::pair()?;
    let child = match into_namespaces(libc::CLONE_NEWUSER)? {
        Side::Child => {
            // Nobody writes: it waits until the other end is closed.
            drop(gate);
            inner.read_exact(&mut [0]).ok();
            end(0)
        }
        Side::Parent(child) => child,
    };
    let written = idmap::write_run(child.pid, inside, outside, count);
    let namespace = written.and_then(|()| File::open(format!("/proc/{}/ns/user", child.pid)));
    drop(gate);
    child.wait()?;
    Ok(namespace?.into())
}

/// Sets attributes of the mounts of a tree that is nowhere yet. They hear of no mount made elsewhere.
#[expect(unsafe_code, reason = "mount_setattr has no safe wrapper yet")]
fn set_attributes(
    tree: &OwnedFd,
    attributes: u64,
    mapping: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    // SAFETY: mount_attr is plain data for which all zero is a valid value.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = attributes;
    attr.propagation = libc::MS_PRIVATE;
    if let Some(namespace) = mapping {
        attr.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attr.userns_fd = u64::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
    }
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is a constant, the attributes outlive the call, and the size is theirs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
