//! What a lab file names beside it: read once, when the lab file is, and kept with the lab.
//!
//! A lab file may come from anywhere, so its sources are hostile: no path leads out of its folder,
//! nothing but files and folders is opened, and there is an end to what is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use netarium_core::source::{Digest, Entry, FoundFile, Source, Sources, Wanted};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::engine::native::worker::{write_bytes, write_record};
use crate::linux::confined;

/// The largest file, in bytes.
pub const LARGEST: u64 = 16 << 20;

/// The most that all files of a lab have together, in bytes.
const MOST: u64 = 64 << 20;

/// The most files and folders.
const MOST_ENTRIES: usize = 4096;

/// The deepest folder.
const DEEPEST: usize = 32;

/// The contents of files by their digests.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

/// Looks for what is wanted; what cannot be had is told in its place.
pub(crate) fn look(folder: &Path, wanted: &Wanted) -> (Sources, Contents) {
    let mut reader = Reader { contents: Contents::new(), bytes: 0, entries: 0 };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = rustix::fs::openat(CWD, folder, flags, Mode::empty());
    let file = |path: &String| {
        let source = base.as_ref().map_err(|error| plain(*error)).and_then(|base| {
            let opened = open(base, Path::new(path))?;
            reader.source(opened)
        });
        (path.clone(), source.unwrap_or_else(Source::Refused))
    };
    let files = wanted.files.iter().map(file).collect();
    let shown = |path: &String| (path.clone(), look_at_folder(folder, path).err());
    let folders = wanted.folders.iter().map(shown).collect();
    let path = folder.display().to_string();
    let mut sources = Sources { folder: path, files, folders };
    for path in &wanted.either {
        let source = base.as_ref().map_err(|error| plain(*error)).and_then(|base| {
            let opened = open(base, Path::new(path))?;
            let mode = rustix::fs::fstat(&opened).map_err(plain)?.st_mode;
            match FileType::from_raw_mode(mode) {
                FileType::RegularFile => reader.source(opened).map(Some),
                _ => Ok(None),
            }
        });
        match source {
            Ok(Some(source)) if !path.starts_with('/') => {
                sources.files.insert(path.clone(), source);
            }
            // Why it cannot be opened as a file is no better told than why it is no folder.
            _ => {
                let fault = look_at_folder(folder, path).err();
                sources.folders.insert(path.clone(), fault);
            }
        }
    }
    (sources, reader.contents)
}

/// Reads a text file below a folder.
///
/// # Errors
/// If it is not there, leads out of the folder, is no text or too large: in words.
pub(crate) fn text_below(folder: &Path, path: &str) -> Result<String, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = rustix::fs::openat(CWD, folder, flags, Mode::empty()).map_err(plain)?;
    let opened = open(&base, Path::new(path))?;
    let mode = rustix::fs::fstat(&opened).map_err(plain)?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::RegularFile {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    let longest = u64::try_from(netarium_core::spec::LARGEST).unwrap_or(u64::MAX);
    let mut file = File::from(opened).take(longest + 1);
    file.read_to_end(&mut bytes).map_err(|error| told(&error))?;
    match netarium_core::spec::text(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(problem) => Err(problem.to_string()),
    }
}

/// Looks whether a folder can be shown to a node.
fn look_at_folder(folder: &Path, path: &str) -> Result<(), String> {
    if folder.to_str().is_none() {
        return Err("the path of the lab file's folder is not UTF-8".to_owned());
    }
    let beneath = (!path.starts_with('/')).then_some(folder);
    let opened = confined::open_host_folder(beneath, Path::new(path));
    let opened = opened.map_err(|error| told(&error))?;
    // To be shown is to be listed and read.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&opened, ".", flags, Mode::empty()).map_err(plain)?;
    Ok(())
}

struct Reader {
    contents: Contents,
    bytes: u64,
    entries: usize,
}

impl Reader {
    fn source(&mut self, opened: OwnedFd) -> Result<Source, String> {
        let found = rustix::fs::fstat(&opened).map_err(plain)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Ok(Source::File(self.file(opened, found.st_mode)?)),
            FileType::Directory => {
                let mut entries = BTreeMap::new();
                self.folder(&opened, "", 0, &mut entries)?;
                Ok(Source::Folder { mode: permissions(found.st_mode), entries })
            }
            _ => Err("it is neither a file nor a folder".to_owned()),
        }
    }

    fn file(&mut self, opened: OwnedFd, mode: u32) -> Result<FoundFile, String> {
        let mut bytes = Vec::new();
        File::from(opened)
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| told(&error))?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > LARGEST {
            return Err(format!("it has more than {} MiB", LARGEST >> 20));
        }
        self.bytes += size;
        if self.bytes > MOST {
            return Err(format!("all files together have more than {} MiB", MOST >> 20));
        }
        let content = Digest::of(&bytes);
        self.contents.insert(content.sha256.clone(), bytes);
        Ok(FoundFile { mode: permissions(mode), content })
    }

    /// Reads all that is in a folder. Links are followed as long as they stay in their own folder.
    fn folder(
        &mut self,
        folder: &OwnedFd,
        path: &str,
        depth: usize,
        entries: &mut BTreeMap<String, Entry>,
    ) -> Result<(), String> {
        if depth == DEEPEST {
            return Err(format!("there are more than {DEEPEST} folders in each other"));
        }
        let listed = rustix::fs::openat(
            folder,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let mut names = Vec::new();
        for entry in listed.and_then(Dir::new).map_err(plain)? {
            let name = entry.map_err(plain)?.file_name().to_owned();
            if name.as_bytes() != b"." && name.as_bytes() != b".." {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let name = name.to_str().map_err(|_| "a name in it is not UTF-8".to_owned())?;
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return Err(format!("there are more than {MOST_ENTRIES} files"));
            }
            let in_it = |error: String| format!("{below}: {error}");
            let opened = open(folder, Path::new(name)).map_err(in_it)?;
            let mode = rustix::fs::fstat(&opened).map_err(plain)?.st_mode;
            match FileType::from_raw_mode(mode) {
                FileType::RegularFile => {
                    let found = self.file(opened, mode).map_err(in_it)?;
                    entries.insert(below, Entry::File(found));
                }
                FileType::Directory => {
                    entries.insert(below.clone(), Entry::Folder(permissions(mode)));
                    self.folder(&opened, &below, depth + 1, entries)?;
                }
                _ => return Err(in_it("it is neither a file nor a folder".to_owned())),
            }
        }
        Ok(())
    }
}

/// Opens a file or folder. Without O_NONBLOCK a named pipe would hold us up.
fn open(folder: impl AsFd, path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    confined::open_beneath(folder, path, flags).map_err(plain)
}

/// Rights and nothing else: no file gives its reader another's rights in a node.
fn permissions(mode: u32) -> u32 {
    mode & 0o777
}

fn plain(error: Errno) -> String {
    match error {
        Errno::XDEV => "it leads out of its folder".to_owned(),
        error => told(&error.into()),
    }
}

/// The system's own words without the number that Rust adds.
fn told(error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) {
        return "it leads out of its folder".to_owned();
    }
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The file of a lab's folder that says what was found.
fn manifest(folder: &Path) -> PathBuf {
    folder.join("sources.json")
}

/// The content with a digest in the folder of a lab's sources.
pub(crate) fn content(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(&digest.sha256)
}

/// Keeps what was found, and the contents of files, in the folder of a lab's sources; what is there
/// already stays. They belong to `owner`, root of the lab.
///
/// # Errors
/// If the disk is full, for example.
pub(crate) fn keep(
    folder: &Path,
    sources: &Sources,
    contents: &Contents,
    owner: (u32, u32),
) -> io::Result<()> {
    let (uid, gid) = (Some(owner.0), Some(owner.1));
    if !folder.exists() {
        fs::DirBuilder::new().mode(0o700).create(folder)?;
        chown(folder, uid, gid)?;
    }
    for (digest, bytes) in contents {
        let path = folder.join(digest);
        if !path.exists() {
            write_bytes(&path, bytes)?;
            chown(&path, uid, gid)?;
        }
    }
    write_record(&manifest(folder), sources)
}

/// Removes the contents that `sources` do not name.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn forget_others(folder: &Path, sources: &Sources) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for source in sources.files.values() {
        match source {
            Source::File(it) => drop(named.insert(&it.content.sha256)),
            Source::Folder { entries, .. } => named.extend(entries.values().filter_map(|it| {
                if let Entry::File(it) = it { Some(it.content.sha256.as_str()) } else { None }
            })),
            Source::Refused(_) => {}
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_named = name.to_str().is_some_and(|name| named.contains(name));
        if !is_named && entry.path() != manifest(folder) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Reads what was found when the lab was brought up; nothing if it had no sources.
///
/// # Errors
/// If the record is damaged.
pub(crate) fn recorded(folder: &Path) -> io::Result<Sources> {
    match fs::read(manifest(folder)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Sources::default()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("netarium-source-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// What is said about a path in it.
        fn said(&self, path: &str) -> String {
            let wanted = Wanted { files: [path.to_owned()].into(), ..Wanted::default() };
            match look(&self.0, &wanted).0.files.remove(path).unwrap() {
                Source::Refused(why) => why,
                found => panic!("{found:?}"),
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn what_is_no_file_holds_nobody_up() {
        let folder = Folder::new("pipe");
        let mode = Mode::from_raw_mode(0o600);
        let pipe = rustix::fs::mknodat(CWD, folder.0.join("pipe"), FileType::Fifo, mode, 0);
        pipe.unwrap();
        symlink("/dev/zero", folder.0.join("zero")).unwrap();
        symlink("/proc/self/root/etc/passwd", folder.0.join("magic")).unwrap();
        symlink("loop", folder.0.join("loop")).unwrap();
        assert_eq!(folder.said("./pipe"), "it is neither a file nor a folder");
        assert_eq!(folder.said("zero"), "it leads out of its folder");
        assert_eq!(folder.said("magic"), "it leads out of its folder");
        assert_eq!(folder.said("loop"), "Too many levels of symbolic links");
        assert_eq!(folder.said("."), "loop: Too many levels of symbolic links");
    }

    #[test]
    fn there_is_an_end_to_what_is_read() {
        let folder = Folder::new("end");
        let file = File::create(folder.0.join("large")).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        assert_eq!(folder.said("large"), "it has more than 16 MiB");
        fs::create_dir(folder.0.join("many")).unwrap();
        for name in ["a", "b", "c", "d", "e"] {
            let file = File::create(folder.0.join("many").join(name)).unwrap();
            file.set_len(LARGEST).unwrap();
        }
        assert_eq!(folder.said("many"), "e: all files together have more than 64 MiB");
        let deep = folder.0.join("deep").join("d/".repeat(DEEPEST));
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(folder.said("deep"), "there are more than 32 folders in each other");
        // A folder in itself, by a link, ends there too.
        fs::create_dir(folder.0.join("round")).unwrap();
        symlink(".", folder.0.join("round/again")).unwrap();
        assert_eq!(folder.said("round"), "there are more than 32 folders in each other");
    }

    #[test]
    fn contents_that_nothing_names_any_more_go() {
        let folder = Folder::new("keep");
        File::create(folder.0.join("one")).unwrap();
        let wanted = Wanted { files: ["one".to_owned()].into(), ..Wanted::default() };
        let (sources, contents) = look(&folder.0, &wanted);
        let kept = folder.0.join("kept");
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        keep(&kept, &sources, &contents, owner).unwrap();
        assert_eq!(recorded(&kept).unwrap(), sources);
        let Source::File(found) = &sources.files["one"] else { panic!() };
        assert!(content(&kept, &found.content).exists());
        forget_others(&kept, &sources).unwrap();
        assert!(content(&kept, &found.content).exists());
        forget_others(&kept, &Sources::default()).unwrap();
        assert!(!content(&kept, &found.content).exists());
    }
}
