//! Packs a folder into a layer: a tar archive, compressed, with its digests.
//!
//! The same files give the same bytes, whoever packs them and when: entries are in the order of
//! their names, the time of what the build itself has written is that of the newest package, and
//! what only this machine knows (device and inode numbers, access times, names of users) is left
//! out. Nothing here follows a symbolic link.
//!
//! Sources: the OCI image specification (layer.md), POSIX.1-2017 (pax), for the names of extended
//! attributes star(1) and what Docker and Podman read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::{Compression as Level, GzBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

/// What dpkg(1) keeps of each package; the control files among it have the time of their package.
const PACKAGES: &str = "var/lib/dpkg/info";

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Compression {
    /// Every engine and registry can read it.
    #[default]
    Gzip,
    /// Smaller and faster to unpack, but too new for Docker before 23.
    Zstd,
}

/// Whose the files of a layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Those that they belong to, as the packing process sees them.
    Kept,
    /// Root's, whoever has them here.
    Root,
}

/// A layer that was packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// How it is compressed.
    pub(crate) compression: Compression,
    /// The digest of what was written.
    pub(crate) digest: String,
    /// How much was written, in bytes.
    pub(crate) size: u64,
    /// The digest before compression.
    pub(crate) diff_id: String,
    /// The time of the newest package, in seconds since 1970.
    pub(crate) newest: u64,
}

/// Packs all that is in `root` into `out`. `report` is told from time to time how many bytes of
/// files are packed.
///
/// # Errors
/// If a file cannot be read or the layer cannot be written.
pub(crate) fn pack(
    root: &Path,
    owners: Owners,
    compression: Compression,
    out: impl Write,
    report: &mut dyn FnMut(u64),
) -> io::Result<Layer> {
    let newest = newest_package(root)?;
    let packed = Hashing::new(out);
    let (packed, diff_id) = match compression {
        Compression::Gzip => {
            let gzip = GzBuilder::new().mtime(0).write(packed, Level::default());
            let tar = write_tar(root, owners, newest, Hashing::new(gzip), report)?;
            let (gzip, diff_id, _) = tar.finish();
            (gzip.finish()?, diff_id)
        }
        Compression::Zstd => {
            let zstd = zstd::Encoder::new(packed, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            let tar = write_tar(root, owners, newest, Hashing::new(zstd), report)?;
            let (zstd, diff_id, _) = tar.finish();
            (zstd.finish()?, diff_id)
        }
    };
    let (mut out, digest, size) = packed.finish();
    out.flush()?;
    Ok(Layer { compression, digest, size, diff_id, newest })
}

/// The digest of bytes, as OCI writes it.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    written(Sha256::digest(bytes).as_slice())
}

fn written(digest: &[u8]) -> String {
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// When the newest package was made, as far as dpkg has kept it; 0 where there is no dpkg.
fn newest_package(root: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(root.join(PACKAGES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut newest = 0;
    for entry in entries {
        let entry = entry?;
        if entry.path().extension().is_some_and(|word| word == "md5sums") {
            newest = newest.max(entry.metadata()?.mtime());
        }
    }
    Ok(u64::try_from(newest).unwrap_or(0))
}

fn write_tar<W: Write>(
    root: &Path,
    owners: Owners,
    newest: u64,
    out: W,
    report: &mut dyn FnMut(u64),
) -> io::Result<W> {
    let mut archive = tar::Builder::new(out);
    let mut packing = Packing { root, owners, newest, seen: BTreeMap::new(), bytes: 0, report };
    packing.folder(Path::new(""), &mut archive)?;
    archive.into_inner()
}

/// A layer that is being packed.
struct Packing<'a> {
    root: &'a Path,
    owners: Owners,
    newest: u64,
    /// The first name of each file that has several, by its device and inode.
    seen: BTreeMap<(u64, u64), PathBuf>,
    bytes: u64,
    report: &'a mut dyn FnMut(u64),
}

impl Packing<'_> {
    fn folder<W: Write>(&mut self, inside: &Path, out: &mut tar::Builder<W>) -> io::Result<()> {
        let at = self.root.join(inside);
        let entries = fs::read_dir(&at).map_err(|error| named(&at, error))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names: Vec<OsString> = names.collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let inside = inside.join(name);
            let at = self.root.join(&inside);
            let there = fs::symlink_metadata(&at).map_err(|error| named(&at, error))?;
            self.entry(&inside, &there, out).map_err(|error| named(&at, error))?;
            if there.is_dir() {
                self.folder(&inside, out)?;
            }
        }
        Ok(())
    }

    fn entry<W: Write>(
        &mut self,
        inside: &Path,
        there: &Metadata,
        out: &mut tar::Builder<W>,
    ) -> io::Result<()> {
        let at = self.root.join(inside);
        let kind = there.file_type();
        let mut entry = Entry::new(inside, there, self.owners, self.newest);
        if kind.is_symlink() {
            entry.link(EntryType::Symlink, &fs::read_link(&at)?);
            return entry.write(out, io::empty());
        }
        if let Some(first) = self.first_name(inside, there) {
            entry.link(EntryType::Link, &first);
            return entry.write(out, io::empty());
        }
        entry.attributes(&at)?;
        if kind.is_dir() {
            entry.header.set_entry_type(EntryType::Directory);
            entry.name.push(b'/');
        } else if kind.is_fifo() {
            entry.header.set_entry_type(EntryType::Fifo);
        } else if kind.is_file() {
            return self.file(entry, &at, there.len(), out);
        } else {
            // A socket is nothing without its process, and a device is the engine's to give.
            return Ok(());
        }
        entry.write(out, io::empty())
    }

    fn file<W: Write>(
        &mut self,
        mut entry: Entry,
        at: &Path,
        size: u64,
        out: &mut tar::Builder<W>,
    ) -> io::Result<()> {
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(at)?;
        entry.header.set_entry_type(EntryType::Regular);
        entry.header.set_size(size);
        entry.write(out, Exactly { file, left: size })?;
        self.bytes += size;
        (self.report)(self.bytes);
        Ok(())
    }

    /// The name under which a file with several names is in the archive already.
    fn first_name(&mut self, inside: &Path, there: &Metadata) -> Option<PathBuf> {
        if there.is_dir() || there.nlink() < 2 {
            return None;
        }
        match self.seen.entry((there.dev(), there.ino())) {
            std::collections::btree_map::Entry::Occupied(first) => Some(first.get().clone()),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(inside.to_owned());
                None
            }
        }
    }
}

/// An entry of the archive. What does not fit into its header goes into a pax header before it.
struct Entry {
    header: Header,
    name: Vec<u8>,
    link: Option<Vec<u8>>,
    pax: Vec<(String, Vec<u8>)>,
}

impl Entry {
    fn new(inside: &Path, there: &Metadata, owners: Owners, newest: u64) -> Self {
        let mut header = Header::new_ustar();
        let (uid, gid) = match owners {
            Owners::Kept => (there.uid(), there.gid()),
            Owners::Root => (0, 0),
        };
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mode(there.mode() & 0o7777);
        header.set_mtime(u64::try_from(there.mtime()).unwrap_or(0).min(newest));
        header.set_size(0);
        Self { header, name: inside.as_os_str().as_bytes().to_owned(), link: None, pax: vec![] }
    }

    fn link(&mut self, kind: EntryType, to: &Path) {
        self.header.set_entry_type(kind);
        self.link = Some(to.as_os_str().as_bytes().to_owned());
    }

    /// Takes in the extended attributes that mean the same on another machine: file capabilities
    /// and those of users. The kernel shows capabilities as they are in the reader's namespace.
    fn attributes(&mut self, at: &Path) -> io::Result<()> {
        let mut names: Vec<OsString> = attribute_names(at)?
            .split(|byte| *byte == 0)
            .filter(|name| *name == b"security.capability" || name.starts_with(b"user."))
            .map(|name| OsString::from_vec(name.to_owned()))
            .collect();
        names.sort();
        for name in names {
            let Some(text) = name.to_str() else { continue };
            self.pax.push((format!("SCHILY.xattr.{text}"), attribute(at, text)?));
        }
        Ok(())
    }

    fn write<W: Write>(mut self, out: &mut tar::Builder<W>, bytes: impl Read) -> io::Result<()> {
        let header = self.header.as_ustar_mut().ok_or(io::ErrorKind::InvalidInput)?;
        if !fit(&mut header.name, &self.name) {
            self.pax.push(("path".to_owned(), self.name));
        }
        if let Some(link) = self.link
            && !fit(&mut header.linkname, &link)
        {
            self.pax.push(("linkpath".to_owned(), link));
        }
        out.append_pax_extensions(
            self.pax.iter().map(|(name, value)| (name.as_str(), value.as_slice())),
        )?;
        self.header.set_cksum();
        out.append(&self.header, bytes)
    }
}

/// Writes a name into a field of a header, as much of it as there is room for, and says whether
/// that is all of it and every reader takes it for the same.
fn fit(field: &mut [u8], name: &[u8]) -> bool {
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
    name.len() <= field.len() && name.is_ascii()
}

/// A file as long as it was when its header was written, so that an archive stays whole.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::other("it became shorter while it was packed"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Passes on what is written, and knows its digest and size.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    fn finish(self) -> (W, String, u64) {
        (self.inner, written(self.hash.finalize().as_slice()), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The names of a file's extended attributes, each with a zero behind it; none where the file
/// system has none.
fn attribute_names(at: &Path) -> io::Result<Vec<u8>> {
    grow(|buffer| rustix::fs::llistxattr(at, buffer)).or_else(|error| match error {
        rustix::io::Errno::OPNOTSUPP => Ok(vec![]),
        error => Err(error.into()),
    })
}

fn attribute(at: &Path, name: &str) -> io::Result<Vec<u8>> {
    Ok(grow(|buffer| rustix::fs::lgetxattr(at, name, buffer))?)
}

/// Asks with a buffer that grows until the answer fits.
fn grow(
    mut ask: impl FnMut(&mut Vec<u8>) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    loop {
        match ask(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // The kernel's own limit is 64 KiB.
            Err(rustix::io::Errno::RANGE) if buffer.len() <= 1 << 16 => {
                buffer.resize(buffer.len() * 2, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    // Said once, by the innermost.
    if error.get_ref().is_some_and(|inner| inner.is::<Named>()) {
        return error;
    }
    io::Error::new(error.kind(), Named { path: path.to_owned(), error })
}

/// An error with the file that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
struct Named {
    path: PathBuf,
    error: io::Error,
}

#[cfg(test)]
mod tests;
