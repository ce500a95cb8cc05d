//! A folder that is written whole or not at all, and only over one of the same kind.
//!
//! It is made beside its place, for its owner alone, and renamed into it. What was written is on a list in it,
//! with hashes: a folder with anything else in it, or changed since, is not ours to replace.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The list of what was written.
const LIST: &str = ".netarium-export.json";

/// The longest list that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// Why a folder was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// It has no name, as `/` and `..` have none.
    #[error("{} is no folder that can be written", path.display())]
    Nameless {
        /// The path.
        path: PathBuf,
    },
    /// There is something that is no folder.
    #[error("{} is there, and is no folder", path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// There is a folder of somebody else's.
    #[error("{} is not empty, and was not written by `netarium export`", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// There is something in it that was not exported, or was changed since.
    #[error("{} was changed since it was exported: {changed}", path.display())]
    Changed {
        /// The folder.
        path: PathBuf,
        /// The first file in it that is not as it was.
        changed: String,
    },
    /// A path of the lab leads out of the folder.
    #[error("{path} cannot be a path in the folder")]
    Path {
        /// The path.
        path: String,
    },
    /// The kernel refuses.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, FolderError>;

impl FolderError {
    /// What to do about it, if there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { .. } | Self::NoFolder { .. } | Self::Changed { .. } => {
                Some("name another folder (--output FOLDER), or remove this one".to_owned())
            }
            _ => None,
        }
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError + use<> {
    let path = path.to_owned();
    move |source| FolderError::Io { what, path, source }
}

/// What was written.
#[derive(Default, Serialize, Deserialize)]
struct List {
    /// The SHA-256 of each file, by its path.
    files: BTreeMap<String, String>,
}

/// A place for a folder.
pub(super) struct Target {
    path: PathBuf,
    /// Whether there is one of ours, which is replaced.
    is_there: bool,
}

impl Target {
    /// Looks whether a folder can be written at `path`.
    ///
    /// # Errors
    /// If there is something that is not ours.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(io_error("find", path))?;
        if !matches!(path.components().next_back(), Some(Component::Normal(_))) {
            return Err(FolderError::Nameless { path });
        }
        // A link to a folder is none: who put it there may not be who calls.
        let is_there = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(io_error("look at", &path)(source)),
            Ok(found) if !found.is_dir() => return Err(FolderError::NoFolder { path }),
            Ok(_) => {
                let mut entries = fs::read_dir(&path).map_err(io_error("read", &path))?;
                entries.next().is_some()
            }
        };
        if is_there {
            see_that_it_is_ours(&path)?;
        }
        Ok(Self { path, is_there })
    }

    /// Begins a folder for it.
    ///
    /// # Errors
    /// If it cannot be made beside the place.
    pub(super) fn begin(self) -> Result<Fresh> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = self.path.with_file_name(format!(".{name}.netarium-{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&beside);
        made.map_err(io_error("make", &beside))?;
        Ok(Fresh { target: self, beside, list: List::default(), modes: BTreeMap::new() })
    }
}

/// A folder that is being written. It is gone with this, unless it is finished.
pub(super) struct Fresh {
    target: Target,
    beside: PathBuf,
    list: List,
    /// What folders may be in the end: until then they must be written into.
    modes: BTreeMap<PathBuf, u32>,
}

impl Fresh {
    /// Writes a file, which must not be there yet, with the folders above it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let full = self.inside(path)?;
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&full)?;
            file.write_all(content)?;
            file.set_permissions(Permissions::from_mode(mode))
        };
        write().map_err(io_error("write", &full))?;
        self.list.files.insert(path.to_owned(), digest(content));
        Ok(())
    }

    /// Makes a folder, if it is not there yet.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn make_folder(&mut self, path: &str, mode: u32) -> Result<()> {
        let full = self.inside(path)?;
        make(&full)?;
        self.modes.insert(full, mode);
        Ok(())
    }

    /// Puts it into its place, and says where that is.
    ///
    /// # Errors
    /// If it cannot be put there.
    pub(super) fn finish(mut self) -> Result<PathBuf> {
        let list = serde_json::to_vec_pretty(&self.list).expect("paths and digits can be JSON");
        self.write(LIST, 0o600, &list)?;
        for (path, mode) in self.modes.iter().rev() {
            let set = fs::set_permissions(path, Permissions::from_mode(*mode));
            set.map_err(io_error("change", path))?;
        }
        let (from, to) = (&self.beside, &self.target.path);
        match self.target.is_there {
            // What was there is then beside, and is removed with this.
            true => renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE).map_err(Into::into),
            false => fs::rename(from, to),
        }
        .map_err(io_error("replace", to))?;
        Ok(to.clone())
    }

    /// A path in the folder, the parent of which is there.
    fn inside(&self, path: &str) -> Result<PathBuf> {
        let is_plain =
            Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !is_plain {
            return Err(FolderError::Path { path: path.to_owned() });
        }
        let mut folder = self.beside.clone();
        let mut parts: Vec<_> = Path::new(path).components().collect();
        let last = parts.pop();
        for part in parts {
            folder.push(part);
            make(&folder)?;
        }
        Ok(folder.join(last.unwrap_or(Component::CurDir)))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // Its own folders may forbid it, which must not keep it here.
        for path in self.modes.keys() {
            fs::set_permissions(path, Permissions::from_mode(0o700)).ok();
        }
        fs::remove_dir_all(&self.beside).ok();
    }
}

/// Makes a folder that everybody may enter who may enter the one above, whatever the umask says.
fn make(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(io_error("make", path)(source)),
        Ok(()) => {
            let set = fs::set_permissions(path, Permissions::from_mode(0o755));
            set.map_err(io_error("change", path))
        }
    }
}

/// # Errors
/// If a folder was not written here, or is not as it was.
fn see_that_it_is_ours(path: &Path) -> Result<()> {
    let foreign = || FolderError::Foreign { path: path.to_owned() };
    let list = path.join(LIST);
    if !fs::symlink_metadata(&list).is_ok_and(|it| it.is_file()) {
        return Err(foreign());
    }
    let mut bytes = Vec::new();
    let opened = fs::File::open(&list).and_then(|it| it.take(LONGEST).read_to_end(&mut bytes));
    opened.map_err(io_error("read", &list))?;
    let List { files } = serde_json::from_slice(&bytes).map_err(|_| foreign())?;
    let changed = |changed: String| FolderError::Changed { path: path.to_owned(), changed };
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = path.join(&folder);
        for entry in fs::read_dir(&full).map_err(io_error("read", &full))? {
            let entry = entry.map_err(io_error("read", &full))?;
            let below = folder.join(entry.file_name());
            let name = below.to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(io_error("look at", &full))?;
            if kind.is_dir() {
                folders.push(below);
            } else if name != LIST && !(kind.is_file() && is_as_it_was(&entry, files.get(&name))) {
                return Err(changed(name));
            }
        }
    }
    Ok(())
}

fn is_as_it_was(entry: &fs::DirEntry, wanted: Option<&String>) -> bool {
    let bytes = fs::read(entry.path());
    wanted.is_some_and(|wanted| bytes.is_ok_and(|bytes| digest(&bytes) == *wanted))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the test's own.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("netarium-export-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn entries(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn write(path: &Path, text: &str) -> Result<PathBuf> {
        let mut fresh = Target::of(path)?.begin()?;
        fresh.make_folder("a", 0o555)?;
        fresh.write("a/b", 0o640, text.as_bytes())?;
        fresh.write("c/d/e", 0o600, b"secret")?;
        fresh.finish()
    }

    fn mode(path: PathBuf) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_folder_is_written_whole_and_over_itself() {
        let place = Place::new("itself");
        let path = place.0.join("out");
        for text in ["one", "two"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(path.join("a/b")).unwrap(), text);
        }
        assert_eq!(mode(path.clone()), 0o700);
        assert_eq!((mode(path.join("a")), mode(path.join("a/b"))), (0o555, 0o640));
        assert_eq!((mode(path.join("c/d")), mode(path.join("c/d/e"))), (0o755, 0o600));
        assert_eq!(place.entries(), ["out"]);
        // It must go for the test to end.
        fs::set_permissions(path.join("a"), Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn what_is_not_ours_stays_as_it_is() {
        let place = Place::new("foreign");
        let path = place.0.join("out");
        let refused = |path: &Path| write(path, "new").unwrap_err().to_string();
        fs::create_dir(&path).unwrap();
        write(&path, "one").unwrap();
        fs::File::create(path.join("mine")).unwrap();
        assert!(refused(&path).ends_with("was changed since it was exported: mine"));
        fs::remove_file(path.join("mine")).unwrap();
        fs::remove_file(path.join("c/d/e")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", path.join("c/d/e")).unwrap();
        assert!(refused(&path).ends_with("since it was exported: c/d/e"));
        fs::remove_file(path.join(LIST)).unwrap();
        assert!(refused(&path).ends_with("was not written by `netarium export`"));
        let link = place.0.join("link");
        std::os::unix::fs::symlink("out", &link).unwrap();
        assert!(refused(&link).ends_with("link is there, and is no folder"));
        assert!(refused(Path::new("/")).contains("no folder that can be written"));
        assert_eq!(fs::read_to_string(path.join("a/b")).unwrap(), "one");
        fs::set_permissions(path.join("a"), Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn nothing_is_left_of_a_folder_that_is_not_finished() {
        let place = Place::new("unfinished");
        let mut fresh = Target::of(&place.0.join("out")).unwrap().begin().unwrap();
        fresh.make_folder("a", 0o555).unwrap();
        fresh.write("a/b", 0o600, b"x").unwrap();
        for path in ["../x", "/x", "a/../../x", ""] {
            assert!(
                matches!(fresh.write(path, 0o600, b""), Err(FolderError::Path { .. })),
                "{path}"
            );
        }
        drop(fresh);
        assert_eq!(place.entries(), Vec::<String>::new());
    }
}
