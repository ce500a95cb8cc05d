//! Owners, permissions, times and extended attributes of what is unpacked.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};

use super::tree::Place;
use super::{Lost, Manner};

/// Nobody (Debian Policy, section 9.2.2).
const NOBODY: u32 = 65534;

/// How extended attributes are marked in a tar file (star(1), and Go's archive/tar).
const MARK: &str = "SCHILY.xattr.";

/// What an entry says of itself besides its content.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
    seconds: i64,
    extended: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    /// What the header of an entry says.
    ///
    /// # Errors
    /// If it is damaged.
    pub(super) fn of(
        entry: &mut tar::Entry<'_, impl io::Read>,
        manner: Manner,
        lost: &mut Lost,
    ) -> io::Result<Self> {
        let header = entry.header();
        let old = header.as_old();
        let uid = or_zero(header.uid(), &old.uid)?;
        let gid = or_zero(header.gid(), &old.gid)?;
        let mode = or_zero(header.mode(), &old.mode)?;
        let seconds = i64::try_from(header.mtime().unwrap_or_default()).unwrap_or_default();
        let mut is_known = true;
        let mut known = |id: u64| match u32::try_from(id).ok().filter(|id| *id < manner.ids) {
            Some(id) => id,
            None => {
                is_known = false;
                NOBODY
            }
        };
        let (uid, gid) = (known(uid), known(gid));
        // With a single id all belongs to that, and nothing is lost that was not lost before.
        if !is_known && manner.ids > 1 {
            lost.owners += 1;
        }
        let mut extended = Vec::new();
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            let Ok(key) = extension.key() else { continue };
            if key.starts_with("GNU.sparse.") {
                return Err(io::Error::other("it is sparse in a form that is not understood"));
            }
            if let Some(name) = key.strip_prefix(MARK) {
                if may_be_set(name) {
                    extended.push((name.to_owned(), extension.value_bytes().to_vec()));
                } else {
                    lost.attributes += 1;
                }
            }
        }
        Ok(Self { uid, gid, mode: mode & 0o7777, seconds, extended })
    }

    /// Gives them to a file or folder that is open. The order matters: a change of the owner takes
    /// set-user-ID bits and capabilities away.
    ///
    /// # Errors
    /// If the kernel refuses other than extended attributes.
    pub(super) fn give(&self, file: impl AsFd, manner: Manner, lost: &mut Lost) -> io::Result<()> {
        if manner.ids > 1 {
            rustix::fs::fchown(&file, self.owner(), self.group())?;
        }
        for (name, value) in &self.extended {
            let set = rustix::fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty());
            lost.attributes += u64::from(set.is_err());
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode))?;
        Ok(rustix::fs::futimens(&file, &self.times())?)
    }

    /// Gives them to a new file of root's that was made with these permission bits.
    ///
    /// # Errors
    /// If the kernel refuses other than extended attributes.
    pub(super) fn give_new(
        &self,
        file: impl AsFd,
        manner: Manner,
        lost: &mut Lost,
    ) -> io::Result<()> {
        let is_of_root = (self.uid, self.gid) == (0, 0) || manner.ids == 1;
        // Most files are so, and there are many.
        if is_of_root && self.extended.is_empty() && self.mode & 0o7000 == 0 {
            return Ok(rustix::fs::futimens(&file, &self.times())?);
        }
        self.give(file, manner, lost)
    }

    /// Gives them to something that cannot be opened: a symbolic link or a pipe.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn give_place(&self, place: &Place, manner: Manner) -> io::Result<()> {
        let (folder, name, flags) = (&place.folder, &place.name, AtFlags::SYMLINK_NOFOLLOW);
        if manner.ids > 1 {
            rustix::fs::chownat(folder, name, self.owner(), self.group(), flags)?;
        }
        Ok(rustix::fs::utimensat(folder, name, &self.times(), flags)?)
    }

    /// The permission bits.
    pub(super) fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.mode)
    }

    /// When it was changed last.
    pub(super) fn times(&self) -> Timestamps {
        let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let changed = Timespec { tv_sec: self.seconds, tv_nsec: 0 };
        Timestamps { last_access: unchanged, last_modification: changed }
    }

    fn owner(&self) -> Option<Uid> {
        Some(Uid::from_raw(self.uid))
    }

    fn group(&self) -> Option<Gid> {
        Some(Gid::from_raw(self.gid))
    }
}

/// A number of a header; what is blank is 0, as others have it.
fn or_zero<T: Default>(number: io::Result<T>, field: &[u8]) -> io::Result<T> {
    let is_blank = field.iter().all(|byte| matches!(byte, 0 | b' '));
    if is_blank { Ok(T::default()) } else { number }
}

/// Whether a layer may set an extended attribute: capabilities, access lists, and those of users
/// but for what overlayfs keeps there, which would show files of other layers.
fn may_be_set(name: &str) -> bool {
    let of_user = name.starts_with("user.") && !name.starts_with("user.overlay.");
    of_user || name == "security.capability" || name.starts_with("system.posix_acl_")
}

/// Gives a folder owner, permissions and times of another one, and its extended attributes.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd, manner: Manner) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let attributes = Attributes {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        seconds: stat.st_mtime,
        extended: Vec::new(),
    };
    attributes.give(to, manner, &mut Lost::default())
}
