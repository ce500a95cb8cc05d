//! Lab files on the disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use netarium_core::model::Model;
use netarium_core::problem::Problem;
use netarium_core::resolve::Draft;
use netarium_core::source::{Sources, Wanted};

use crate::lab_source::{self, Contents};

/// The lab file of a folder.
pub const DEFAULT_NAME: &str = "lab.yaml";

/// The most that is read of a lab file; the parser refuses it long before.
const LONGEST: u64 = 16 << 20;

/// A lab file that was read and found to be right.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LabFile {
    /// Where it lies, an absolute path.
    pub path: PathBuf,
    /// What is in it.
    pub text: Vec<u8>,
    /// What it means.
    pub model: Model,
    /// What it names on the disk, as it was found.
    pub sources: Sources,
    /// What is in the files that it names; nothing in the copy that a lab keeps.
    pub(crate) contents: Contents,
}

/// Why a lab file is no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabFileError {
    /// It cannot be read.
    #[error("cannot read the lab file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are mistakes in it.
    #[error("{} mistakes in {}", problems.len(), path.display())]
    Problems {
        /// The file.
        path: PathBuf,
        /// What is in it.
        text: Vec<u8>,
        /// The mistakes, in the order of their places.
        problems: Vec<Problem>,
    },
}

impl LabFile {
    /// Reads the lab file at `path`. A lab that has no name is called after the folder.
    ///
    /// # Errors
    /// If it cannot be read, or has mistakes: all of them.
    pub fn read(path: &Path) -> Result<Self, LabFileError> {
        let read = |source| LabFileError::Read { path: path.to_owned(), source };
        let absolute = std::path::absolute(path).map_err(read)?;
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LONGEST).read_to_end(&mut text))
            .map_err(read)?;
        let folder = absolute.parent().and_then(Path::file_name).unwrap_or_default();
        Self::of_text(&absolute, text, &folder.to_string_lossy())
    }

    /// Makes a lab file of `text`, as if it had been read from `path`.
    ///
    /// # Errors
    /// If it has mistakes, or something that it names is not beside `path`: all of them.
    pub fn of_text(path: &Path, text: Vec<u8>, default_name: &str) -> Result<Self, LabFileError> {
        let folder = path.parent().unwrap_or(path);
        Self::resolve(path, text, default_name, |wanted| lab_source::look(folder, wanted))
    }

    /// Makes a lab file of the copy that a lab keeps, with what was found when it was brought up.
    ///
    /// # Errors
    /// If it has mistakes: all of them.
    pub(crate) fn of_copy(
        path: &Path,
        text: Vec<u8>,
        name: &str,
        sources: Sources,
    ) -> Result<Self, LabFileError> {
        Self::resolve(path, text, name, |_| (sources, Contents::new()))
    }

    fn resolve(
        path: &Path,
        text: Vec<u8>,
        default_name: &str,
        look: impl FnOnce(&Wanted) -> (Sources, Contents),
    ) -> Result<Self, LabFileError> {
        let draft = match Draft::read(&text) {
            Ok(draft) => draft,
            Err(problem) => {
                let problems = vec![problem];
                return Err(LabFileError::Problems { path: path.to_owned(), text, problems });
            }
        };
        let (sources, contents) = look(&draft.wanted());
        match draft.resolve(default_name, &sources) {
            Ok(model) => Ok(Self { path: path.to_owned(), text, model, sources, contents }),
            Err(problems) => Err(LabFileError::Problems { path: path.to_owned(), text, problems }),
        }
    }

    /// Whether this copy differs from what is on the disk now.
    pub fn is_outdated(&self) -> bool {
        let folder = self.path.parent().unwrap_or(&self.path);
        let Ok(text) = fs::read(&self.path) else { return false };
        let is_new = |draft: Draft| lab_source::look(folder, &draft.wanted()).0 != self.sources;
        text != self.text || Draft::read(&text).is_ok_and(is_new)
    }
}
