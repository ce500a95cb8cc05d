//! What this machine's kernel can do, asked once and then remembered until it is started anew.
//!
//! The trials themselves are in [`crate::linux::features`].

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use netarium_core::feature::{Feature, Features};
use serde::{Deserialize, Serialize};

use crate::folder::DataFolder;
use crate::linux::features::{Answers, Tried, ask};

pub use crate::linux::features::AskError;

/// Why nothing is known of the kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeaturesError {
    /// The kernel was not asked.
    #[error("cannot find out what this kernel can do")]
    Ask(#[source] AskError),
    /// A file of `/proc` or of ours.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the kernel answered cannot be kept.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FeaturesError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ask(error) => error.hint(),
            Self::Read { .. } | Self::Write { .. } => None,
        }
    }
}

/// What was answered, and by whom.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    kernel: Kernel,
    features: BTreeMap<Feature, Tried>,
}

/// A run of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kernel {
    /// A random number that it chose when it was started (random(4)).
    boot: String,
    /// Its version, as `uname -r` tells it.
    release: String,
    /// For whom it answered: root may be let do what others may not.
    owner: u32,
    /// What it was asked through: containers with the same data folder may be given more or less.
    /// Whether there is `/dev/net/tun`, and how many system calls are forbidden.
    #[serde(default)]
    given: (bool, String),
}

/// What the kernel can do, as it is remembered in the data folder; it is asked only if it is another
/// one than then.
///
/// # Errors
/// If it cannot be asked, or the data folder cannot be written.
pub async fn features(data: &DataFolder) -> Result<Features, FeaturesError> {
    let kernel = Kernel::running()?;
    if let Some(known) = recall(&data.features(), &kernel) {
        return Ok(known.into_iter().filter_map(|(it, tried)| tried.ok().map(|()| it)).collect());
    }
    let answers = ask(None).await.map_err(FeaturesError::Ask)?;
    remember(data, &answers)?;
    Ok(answers.features())
}

impl Kernel {
    fn running() -> Result<Self, FeaturesError> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot = fs::read_to_string(path)
            .map_err(|source| FeaturesError::Read { path: path.to_owned(), source })?;
        Ok(Self {
            boot: boot.trim().to_owned(),
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            owner: rustix::process::geteuid().as_raw(),
            given: (Path::new("/dev/net/tun").exists(), filters()?),
        })
    }
}

/// How many filters of system calls this process is under (proc_pid_status(5)).
fn filters() -> Result<String, FeaturesError> {
    let path = Path::new("/proc/self/status");
    let text = fs::read_to_string(path)
        .map_err(|source| FeaturesError::Read { path: path.to_owned(), source })?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("Seccomp_filters:"));
    Ok(lines.map(str::trim).collect())
}

/// What is remembered of this kernel about every feature. A file that cannot be read or understood
/// is as good as none: it is written anew.
fn recall(path: &Path, kernel: &Kernel) -> Option<BTreeMap<Feature, Tried>> {
    let remembered: Remembered = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let complete = Feature::ALL.iter().all(|it| remembered.features.contains_key(it));
    (complete && remembered.kernel == *kernel).then_some(remembered.features)
}

/// Keeps what the kernel has just answered, in place of what was remembered.
///
/// # Errors
/// If the data folder cannot be written.
pub(crate) fn remember(data: &DataFolder, answers: &Answers) -> Result<(), FeaturesError> {
    let kernel = Kernel::running()?;
    create_folder(data.path())?;
    let path = data.features();
    let remembered = Remembered { kernel, features: answers.features.clone() };
    replace(&path, &remembered).map_err(|source| FeaturesError::Write { path, source })
}

/// Writes beside the file and renames. Two may do so at once, so each writes a file of its own.
fn replace(path: &Path, remembered: &Remembered) -> io::Result<()> {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let fresh = path.with_extension(format!("{}-{number}", std::process::id()));
    let written = File::create(&fresh)
        .and_then(|mut file| file.write_all(&serde_json::to_vec(remembered)?))
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // The first error is the one to tell; there may be no such file.
        fs::remove_file(&fresh).ok();
    }
    written
}

/// Makes the data folder where it is missing, open to root of the owner's namespaces.
///
/// # Errors
/// If the folder above cannot be written.
fn create_folder(path: &Path) -> Result<(), FeaturesError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|source| FeaturesError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_answers_of_the_same_kernel_are_recalled() {
        let folder = std::env::temp_dir().join(format!("netarium-features-{}", std::process::id()));
        create_folder(&folder).unwrap();
        let path = folder.join("features.json");
        let kernel = Kernel::running().unwrap();
        let all = || Feature::ALL.into_iter().map(|it| (it, Err("no".to_owned())));
        let write = |features: BTreeMap<Feature, Tried>| {
            replace(&path, &Remembered { kernel: kernel.clone(), features }).unwrap();
        };
        assert_eq!(recall(&path, &kernel), None);
        write(all().collect());
        assert_eq!(recall(&path, &kernel), Some(all().collect()));
        assert_eq!(recall(&path, &Kernel { boot: "other".to_owned(), ..kernel.clone() }), None);
        assert_eq!(recall(&path, &Kernel { release: "other".to_owned(), ..kernel.clone() }), None);
        let given = (!kernel.given.0, kernel.given.1.clone());
        assert_eq!(recall(&path, &Kernel { given, ..kernel.clone() }), None);
        write(all().skip(1).collect());
        assert_eq!(recall(&path, &kernel), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
