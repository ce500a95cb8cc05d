//! The stage in which images are built and removed, and half-built ones cleaned away.
//!
//! It runs as the owner, outside of the namespace in which mmdebstrap is root, so that it outlives
//! an interrupted build: when the caller is gone it ends the build, cleans up, and only then lets
//! go of the image's lock, of which it has a share.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use netarium_core::image::Platform;
use netarium_core::model::Recipe;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::image::install::install;
use crate::image::layer::{self, Order};
use crate::image::store::{ROOTFS, Record};
use crate::image::unpack::Lost;
use crate::linux::idmap::{IdMap, IdMapError};
use crate::linux::stage::Call;
use crate::linux::userns::{
    UserNsError, run_as_root_of_new_namespace, start_as_root_of_new_namespace,
};

/// What the stage is called with; the image's lock comes with it as a file descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The store.
    pub(crate) folder: PathBuf,
    /// The image.
    pub(crate) digest: String,
    /// What is to be done.
    pub(crate) work: Work,
}

/// What is done to an image.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    Build(Recipe, Platform),
    /// Unpacks a layer; it comes through a pipe, the second file descriptor of the call.
    Unpack(Order),
    Remove,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// A layer is unpacked. The stage waits for a word, then it is finished.
    Unpacked { diff_id: String, lost: Lost },
    /// It is done; the image takes so much of the disk.
    Done { bytes: u64 },
    /// A layer is damaged, or tries what no layer may.
    Layer { text: String, errno: Option<i32> },
    /// A file or folder made trouble.
    Folder { path: PathBuf, errno: i32 },
    /// There is no namespace to work in.
    Namespace { text: String, hint: Option<String> },
    /// mmdebstrap failed, and has said why.
    Refused,
}

/// Why an image was not built or removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error("cannot use {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot find the ids of the image")]
    Ids(#[source] IdMapError),
    #[error("cannot work as root of a namespace")]
    Namespace(#[source] UserNsError),
    #[error("the build failed")]
    Refused,
    #[error("{text}")]
    Layer { text: String, errno: Option<i32> },
    #[error("the one who wanted it is gone")]
    Interrupted,
}

/// Where an image is, is made, and is removed.
pub(super) struct Places {
    pub(super) store: PathBuf,
    pub(super) finished: PathBuf,
    pub(super) building: PathBuf,
    pub(super) removed: PathBuf,
}

/// Runs the stage; the answer is its exit status.
pub(crate) fn stage(call: &Call) -> i32 {
    let request: Request = match call.words() {
        Ok(request) => request,
        Err(error) => {
            // Nobody may be left to read it.
            writeln!(io::stderr(), "{error}").ok();
            return 1;
        }
    };
    let places = Places::new(&request);
    let result = work(call, &request, &places);
    let answer = match &result {
        Ok(bytes) => Some(Answer::Done { bytes: *bytes }),
        Err(error) => error.answer(),
    };
    let told = answer.is_some_and(|answer| call.answer(&answer).is_ok());
    i32::from(result.is_err() || !told)
}

fn work(call: &Call, request: &Request, places: &Places) -> Result<u64, WorkError> {
    let map = IdMap::of_caller().map_err(WorkError::Ids)?;
    // Whoever left these is gone, since the lock is ours (and stays so as long as `call` lives).
    let given = 1 + usize::from(matches!(request.work, Work::Unpack(_)));
    if call.fds.len() != given {
        return Err(failed(&request.folder)(Errno::NOLCK.into()));
    }
    clean(&places.building, &map)?;
    clean(&places.removed, &map)?;
    match &request.work {
        Work::Build(recipe, platform) => {
            and_clean(build(call, (recipe, platform), places, &map), places, &map)
        }
        Work::Unpack(order) => and_clean(layer::unpack(call, order, places, &map), places, &map),
        Work::Remove => {
            if fs::symlink_metadata(&places.finished).is_ok() {
                rename(&places.finished, &places.removed)?;
            }
            clean(&places.removed, &map).map(|()| 0)
        }
    }
}

/// What stopped the work is worth more than what stops the cleaning after it.
fn and_clean(
    worked: Result<u64, WorkError>,
    places: &Places,
    map: &IdMap,
) -> Result<u64, WorkError> {
    let cleaned = clean(&places.building, map).and_then(|()| clean(&places.removed, map));
    worked.and_then(|bytes| cleaned.map(|()| bytes))
}

fn build(
    call: &Call,
    (recipe, platform): (&Recipe, &Platform),
    places: &Places,
    map: &IdMap,
) -> Result<u64, WorkError> {
    let building = &places.building;
    open_to_root(&places.store, map)?;
    make_rootfs(building, map)?;
    let (mut size, size_out) = io::pipe().map_err(failed(building))?;
    std::env::set_current_dir(building).map_err(failed(building))?;
    let installing = start_as_root_of_new_namespace(map, || {
        match install(Path::new(ROOTFS), recipe, platform, map)
            .and_then(|bytes| (&size_out).write_all(&bytes.to_ne_bytes()).map_err(Into::into))
        {
            Ok(()) => 0,
            Err(error) => {
                // mmdebstrap's way of telling errors, by which they are found in the output.
                writeln!(io::stderr(), "E: {error}").ok();
                1
            }
        }
    })
    .map_err(WorkError::Namespace)?;
    drop(size_out);
    std::env::set_current_dir("/").map_err(failed(Path::new("/")))?;
    let status = installing.wait_or_end_with(call.lifeline()).map_err(WorkError::Namespace)?;
    if !status.ok_or(WorkError::Interrupted)?.success() {
        return Err(WorkError::Refused);
    }
    let mut bytes = [0; 8];
    size.read_exact(&mut bytes).map_err(failed(building))?;
    let bytes = u64::from_ne_bytes(bytes);
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let record = Record::new(recipe, platform, created, bytes);
    finish("image.json", &record, places, Unwritten::All)?;
    Ok(bytes)
}

/// Lets root of the owner's namespaces, and nobody else, look up images in the store.
pub(super) fn open_to_root(store: &Path, map: &IdMap) -> Result<(), WorkError> {
    rustix::fs::chown(store, None, Some(Gid::from_raw(map.root_gid())))
        .and_then(|()| rustix::fs::chmod(store, Mode::from_raw_mode(0o710)))
        .map_err(|error| failed(store)(error.into()))
}

/// Makes the folder of a build, with an empty root file system that belongs to root inside.
pub(super) fn make_rootfs(building: &Path, map: &IdMap) -> Result<(), WorkError> {
    let rootfs = building.join(ROOTFS);
    for folder in [building, &rootfs] {
        DirBuilder::new().mode(0o755).create(folder).map_err(failed(folder))?;
    }
    let (uid, gid) = (Uid::from_raw(map.root_uid()), Gid::from_raw(map.root_gid()));
    rustix::fs::chown(&rootfs, Some(uid), Some(gid)).map_err(|error| failed(&rootfs)(error.into()))
}

/// What of a build is not on the disk yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// What was made, too.
    All,
    /// Nothing but the note beside it.
    Note,
}

/// Puts a finished build in its place. It is written to the disk first: an image that a power cut has
/// emptied would look whole.
pub(super) fn finish(
    note: &str,
    record: &impl Serialize,
    places: &Places,
    unwritten: Unwritten,
) -> Result<(), WorkError> {
    let note = places.building.join(note);
    let text = serde_json::to_vec_pretty(record).map_err(|error| failed(&note)(error.into()))?;
    let mut file = File::create_new(&note).map_err(failed(&note))?;
    file.write_all(&text).map_err(failed(&note))?;
    match unwritten {
        Unwritten::All => rustix::fs::syncfs(&file).map_err(io::Error::from),
        Unwritten::Note => file.sync_all(),
    }
    .map_err(failed(&note))?;
    if fs::symlink_metadata(&places.finished).is_ok() {
        rename(&places.finished, &places.removed)?;
    }
    rename(&places.building, &places.finished)
}

/// Removes a folder with a root file system in it, if it is there. Never follows a symbolic link.
fn clean(folder: &Path, map: &IdMap) -> Result<(), WorkError> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(folder)(error)),
        Ok(there) if !there.is_dir() => return fs::remove_file(folder).map_err(failed(folder)),
        Ok(_) => {}
    }
    let rootfs = folder.join(ROOTFS);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(opened) = rustix::fs::open(&rootfs, flags, Mode::empty()) {
        empty(&rootfs, &opened, map)?;
    }
    fs::remove_dir_all(folder).map_err(failed(folder))
}

/// Removes what is in the root file system `opened`. Its files belong to ids that only root of a
/// namespace has; the way to it may be closed for that root, so it is entered before.
fn empty(rootfs: &Path, opened: &impl std::os::fd::AsFd, map: &IdMap) -> Result<(), WorkError> {
    rustix::process::fchdir(opened).map_err(|error| failed(rootfs)(error.into()))?;
    let status = run_as_root_of_new_namespace(map, || match remove_all_in(Path::new(".")) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    })
    .map_err(WorkError::Namespace)?;
    std::env::set_current_dir("/").map_err(failed(Path::new("/")))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(errno) => Err(failed(rootfs)(io::Error::from_raw_os_error(errno))),
        None => Err(failed(rootfs)(io::ErrorKind::Interrupted.into())),
    }
}

fn remove_all_in(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Places {
    fn new(request: &Request) -> Self {
        let Request { folder, digest, .. } = request;
        Self {
            store: folder.clone(),
            finished: folder.join(digest),
            building: folder.join(format!(".building-{digest}")),
            removed: folder.join(format!(".removed-{digest}")),
        }
    }
}

impl WorkError {
    fn answer(&self) -> Option<Answer> {
        match self {
            Self::Folder { path, source } => Some(Answer::Folder {
                path: path.clone(),
                errno: source.raw_os_error().unwrap_or(libc::EIO),
            }),
            Self::Ids(error) => Some(told(error, error.hint())),
            Self::Namespace(error) => Some(told(error, error.hint())),
            Self::Refused => Some(Answer::Refused),
            Self::Layer { text, errno } => {
                Some(Answer::Layer { text: text.clone(), errno: *errno })
            }
            Self::Interrupted => None,
        }
    }
}

/// The error and all its causes in one line.
fn told(error: &dyn std::error::Error, hint: Option<String>) -> Answer {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text: Vec<String> = causes.map(ToString::to_string).collect();
    Answer::Namespace { text: text.join(": "), hint }
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> WorkError {
    let path = path.to_owned();
    move |source| WorkError::Folder { path, source }
}

fn rename(from: &Path, to: &Path) -> Result<(), WorkError> {
    fs::rename(from, to).map_err(failed(to))
}

/// How much of the disk a file or a folder with all that is in it takes, in bytes.
pub(crate) fn bytes_of(path: &Path) -> io::Result<u64> {
    let there = fs::symlink_metadata(path)?;
    let mut bytes = there.blocks() * 512;
    if there.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += bytes_of(&entry?.path())?;
        }
    }
    Ok(bytes)
}
