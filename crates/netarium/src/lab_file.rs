//! Lab files on the disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use netarium_core::model::Model;
use netarium_core::problem::Problem;

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
    /// If it has mistakes: all of them.
    pub fn of_text(path: &Path, text: Vec<u8>, default_name: &str) -> Result<Self, LabFileError> {
        match netarium_core::resolve::load(&text, default_name) {
            Ok(model) => Ok(Self { path: path.to_owned(), text, model }),
            Err(problems) => Err(LabFileError::Problems { path: path.to_owned(), text, problems }),
        }
    }
}
