//! One change of a lab at a time (flock(2)).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The right to change a lab. It ends with this value, or with the process.
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl AsFd for Lock {
    /// Whoever has a copy of this descriptor has the right, too, until all copies are closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Lock {
    /// Takes the lock at `path`; calls `busy` if another has it, and waits.
    ///
    /// # Errors
    /// If there can be no such file.
    pub(super) async fn take(path: PathBuf, busy: impl FnOnce()) -> io::Result<Self> {
        let mut busy = Some(busy);
        loop {
            let file = File::options().create(true).append(true).open(&path)?;
            let file = match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => file,
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    if let Some(busy) = busy.take() {
                        busy();
                    }
                    tokio::task::spawn_blocking(move || {
                        rustix::fs::flock(&file, FlockOperation::LockExclusive).map(|()| file)
                    })
                    .await
                    .map_err(io::Error::other)??
                }
                Err(error) => return Err(error.into()),
            };
            // The one who had it may have removed it.
            if is_same(&file, &path) {
                return Ok(Self { path, file });
            }
        }
    }

    /// Gives the lock up and removes its file.
    pub(super) fn remove(self) {
        // While it is held, so that nobody else can hold it and see it vanish.
        fs::remove_file(&self.path).ok();
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    let held = file.metadata().map(identity);
    held.is_ok_and(|held| fs::metadata(path).map(identity).is_ok_and(|there| there == held))
}
