//! The entries of a layer, one after the other, and what becomes of each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::attributes::Attributes;
use super::stream::{Allowance, Stream};
use super::tree::{self, Place, Tree};
use super::{LARGEST, MOST_ENTRIES, Manner, UnpackError, Unpacked, making};

/// How much of a file is written at once, in bytes.
const PIECE: usize = 128 << 10;

/// What a file system gives to a file at once, in bytes.
const BLOCK: u64 = 4096;

type Result<T> = std::result::Result<T, UnpackError>;
type Entry<'a> = tar::Entry<'a, Stream>;

/// Unpacks what `source` has into the empty folder `rootfs`, and reads it to its end.
///
/// # Errors
/// If it is damaged, too large, or tries what no layer may; or the disk is full, for example.
pub(crate) fn unpack(
    source: impl Read + Send + 'static,
    rootfs: &Path,
    manner: Manner,
) -> Result<Unpacked> {
    // Permissions are those of the entries.
    rustix::process::umask(rustix::fs::Mode::empty());
    let stream = Stream::open(source, LARGEST).map_err(UnpackError::Stream)?;
    let allowance = stream.allowance();
    let tree = Tree::open(rootfs).map_err(making(rootfs))?;
    let mut layer = Layer {
        tree,
        manner,
        unpacked: Unpacked::default(),
        folders: BTreeMap::new(),
        last: None,
        buffer: vec![0; PIECE],
        left: LARGEST,
    };
    let mut archive = tar::Archive::new(stream);
    layer.all(&mut archive, &allowance)?;
    layer.finish()?;
    let mut unpacked = layer.unpacked;
    unpacked.diff_id = archive.into_inner().finish().map_err(UnpackError::Stream)?;
    Ok(unpacked)
}

/// A layer that is being unpacked.
struct Layer {
    tree: Tree,
    manner: Manner,
    unpacked: Unpacked,
    /// Folders that entries describe. Their times are set when all is in them.
    folders: BTreeMap<PathBuf, Attributes>,
    /// The folder of the last entry, and the way to it: the next one is likely to be there, too. The way
    /// leads there as long as nothing is removed.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
    buffer: Vec<u8>,
    /// How many bytes files may still have.
    left: u64,
}

impl Layer {
    fn all(&mut self, archive: &mut tar::Archive<Stream>, allowance: &Allowance) -> Result<()> {
        let mut entries = archive.entries().map_err(UnpackError::Stream)?;
        let mut count = 0;
        loop {
            allowance.header();
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(UnpackError::Stream)?;
            allowance.content();
            count += 1;
            let path = entry.path().map_err(UnpackError::Stream)?.into_owned();
            if count > MOST_ENTRIES {
                return Err(UnpackError::Refused { path, what: "is one file too many" });
            }
            self.one(&path, &mut entry)?;
            // What nobody has read of it would else be read with the next header.
            io::copy(&mut entry, &mut io::sink()).map_err(UnpackError::Stream)?;
        }
        allowance.content();
        Ok(())
    }

    fn one(&mut self, written: &Path, entry: &mut Entry<'_>) -> Result<()> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let leads_out =
            || UnpackError::Refused { path: written.to_owned(), what: "leads out of the image" };
        let path = tree::parts(written).ok_or_else(leads_out)?;
        let attributes =
            Attributes::of(entry, self.manner, &mut self.unpacked.lost).map_err(making(written))?;
        let Some(name) = path.file_name() else {
            // The root folder itself: nodes have one of their own.
            return Ok(());
        };
        if let Some(hidden) = tree::whiteout(name) {
            return self.hide(&path, hidden.as_bytes());
        }
        if kind == EntryType::Directory {
            return self.folder(path, attributes);
        }
        if matches!(kind, EntryType::Char | EntryType::Block) {
            self.unpacked.lost.devices += 1;
            return Ok(());
        }
        let place = self.place(&path)?;
        self.unpacked.bytes +=
            entry.header().entry_size().unwrap_or_default().next_multiple_of(BLOCK);
        if matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) {
            let file = self.create(&path, &place, &attributes)?;
            return self.fill(&path, file, kind, entry, &attributes);
        }
        self.clear(&path, &place)?;
        match kind {
            EntryType::Link => self.link(path, &place, entry),
            EntryType::Symlink => {
                let target = entry.link_name().map_err(UnpackError::Stream)?.unwrap_or_default();
                rustix::fs::symlinkat(&*target, &place.folder, &place.name)
                    .map_err(io::Error::from)
                    .and_then(|()| attributes.give_place(&place, self.manner))
                    .map_err(making(&path))
            }
            EntryType::Fifo => {
                let (folder, name) = (&place.folder, &place.name);
                rustix::fs::mknodat(folder, name, FileType::Fifo, attributes.mode(), 0)
                    .map_err(io::Error::from)
                    .and_then(|()| attributes.give_place(&place, self.manner))
                    .map_err(making(&path))
            }
            _ => Err(UnpackError::Refused { path, what: "is of a kind that is not known" }),
        }
    }

    fn place(&mut self, path: &Path) -> Result<Place> {
        let above = path.parent().unwrap_or(Path::new(""));
        if let (Some((last, folder)), Some(name)) = (&self.last, path.file_name())
            && last == above
        {
            return Ok(Place { folder: Rc::clone(folder), name: name.to_owned() });
        }
        let undescribed = &mut self.unpacked.undescribed;
        let made = |folder| undescribed.extend([folder]);
        let place = self.tree.place(path, made).map_err(making(path))?;
        self.last = Some((above.to_owned(), Rc::clone(&place.folder)));
        Ok(place)
    }

    /// Makes a new file, in place of what an entry before this one has put there.
    fn create(&mut self, path: &Path, place: &Place, attributes: &Attributes) -> Result<File> {
        let created = match place.create(attributes.mode()) {
            Err(Errno::EXIST) => {
                self.clear(path, place)?;
                place.create(attributes.mode())
            }
            created => created,
        };
        created.map(File::from).map_err(|error| making(path)(error.into()))
    }

    /// Removes what an entry before this one has put there.
    fn clear(&mut self, path: &Path, place: &Place) -> Result<()> {
        if place.stat().map_err(making(path))?.is_none() {
            return Ok(());
        }
        self.last = None;
        place.clear().map_err(making(path))?;
        self.forget(path);
        Ok(())
    }

    /// What was a folder is none any more.
    fn forget(&mut self, path: &Path) {
        let is_in = |it: &Path| it.starts_with(path);
        if self.folders.contains_key(path) || self.unpacked.undescribed.contains(path) {
            self.folders.retain(|folder, _| !is_in(folder));
            self.unpacked.undescribed.retain(|folder| !is_in(folder));
        }
    }

    fn folder(&mut self, path: PathBuf, attributes: Attributes) -> Result<()> {
        self.unpacked.bytes += BLOCK;
        let place = self.place(&path)?;
        let there = place.stat().map_err(making(&path))?;
        if !there.as_ref().is_some_and(tree::is_folder) {
            self.last = None;
            let was_hidden = place.clear().map_err(making(&path))?;
            rustix::fs::mkdirat(&place.folder, &place.name, attributes.mode())
                .map_err(|error| making(&path)(error.into()))?;
            if was_hidden {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                place.open(flags).and_then(tree::make_opaque).map_err(making(&path))?;
            }
        }
        self.unpacked.undescribed.remove(&path);
        self.folders.insert(path, attributes);
        Ok(())
    }

    /// Hides something of the layers below. What this layer has itself stays.
    fn hide(&mut self, mark: &Path, hidden: &[u8]) -> Result<()> {
        let above = mark.parent().unwrap_or(Path::new(""));
        match hidden {
            b".wh..opq" if self.manner.is_lowest => Ok(()),
            b".wh..opq" if above == Path::new("") => {
                self.unpacked.hides_all = true;
                Ok(())
            }
            b".wh..opq" => {
                let undescribed = &mut self.unpacked.undescribed;
                let made = |folder| undescribed.extend([folder]);
                self.tree.folder(above, made).and_then(tree::make_opaque).map_err(making(mark))
            }
            // What aufs keeps for itself.
            _ if hidden.starts_with(b".wh.") => Ok(()),
            b"" | b"." | b".." => {
                let path = mark.to_owned();
                Err(UnpackError::Refused { path, what: "hides what has no name" })
            }
            _ if self.manner.is_lowest => Ok(()),
            name => {
                let path = above.join(std::ffi::OsStr::from_bytes(name));
                let place = self.place(&path)?;
                let there = place.stat().map_err(making(mark))?;
                match there {
                    None => place.hide().map_err(making(mark)),
                    Some(stat) if tree::is_folder(&stat) => {
                        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                        place.open(flags).and_then(tree::make_opaque).map_err(making(mark))
                    }
                    Some(_) => Ok(()),
                }
            }
        }
    }

    fn link(&mut self, path: PathBuf, place: &Place, entry: &Entry<'_>) -> Result<()> {
        let written = entry.link_name().map_err(UnpackError::Stream)?.unwrap_or_default();
        let target = tree::parts(&written).filter(|target| target.file_name().is_some());
        let Some(target) = target else {
            return Err(UnpackError::Refused {
                path,
                what: "is a link that leads out of the image",
            });
        };
        let linked = self.tree.find(&target).and_then(|target| {
            let flags = AtFlags::empty();
            let (folder, name) = (&place.folder, &place.name);
            Ok(rustix::fs::linkat(&target.folder, &target.name, folder, name, flags)?)
        });
        match linked {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.manner.is_lowest => {
                self.unpacked.links.push((path, target));
                Ok(())
            }
            result => result.map_err(making(&path)),
        }
    }

    /// Writes what is in a file. Of one with holes, what is nothing but zeros is left out.
    fn fill(
        &mut self,
        path: &Path,
        mut file: File,
        kind: EntryType,
        entry: &mut Entry<'_>,
        attributes: &Attributes,
    ) -> Result<()> {
        let size = entry.size();
        self.left = self.left.checked_sub(size).ok_or_else(|| {
            let what = "makes the image larger than it may be";
            UnpackError::Refused { path: path.to_owned(), what }
        })?;
        let mut done = 0;
        loop {
            let count = entry.read(&mut self.buffer).map_err(UnpackError::Stream)?;
            let piece = &self.buffer[..count];
            if count == 0 {
                break;
            }
            done += u64::try_from(count).unwrap_or(u64::MAX);
            let is_hole = kind == EntryType::GNUSparse && piece.iter().all(|byte| *byte == 0);
            let written = if is_hole {
                file.seek(SeekFrom::Start(done)).map(drop)
            } else {
                file.write_all(piece)
            };
            written.map_err(making(path))?;
        }
        if done != size {
            return Err(UnpackError::Stream(io::ErrorKind::UnexpectedEof.into()));
        }
        if kind == EntryType::GNUSparse {
            file.set_len(size).map_err(making(path))?;
        }
        attributes.give_new(&file, self.manner, &mut self.unpacked.lost).map_err(making(path))
    }

    /// Gives folders what entries say of them, now that all is in them.
    fn finish(&mut self) -> Result<()> {
        for (path, attributes) in std::mem::take(&mut self.folders).into_iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let opened = self.tree.find(&path).and_then(|place| place.open(flags));
            let (manner, lost) = (self.manner, &mut self.unpacked.lost);
            opened
                .and_then(|folder| attributes.give(&folder, manner, lost))
                .map_err(making(&path))?;
        }
        Ok(())
    }
}
