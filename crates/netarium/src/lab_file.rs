//! Lab files on the disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use netarium_core::compose::{self, Inputs, Other};
use netarium_core::desired::Subject;
use netarium_core::model::Model;
use netarium_core::problem::{Place, Problem};
use netarium_core::resolve::Draft;
use netarium_core::source::{Sources, Wanted};
use netarium_core::spec::place_of;

pub use crate::compose_file::ComposeOptions;
use crate::compose_file::{self, Unread, WhyUnread};
use crate::lab_source::{self, Contents};

/// The lab file of a folder.
pub const DEFAULT_NAME: &str = "lab.yaml";

/// The most that is read of a lab file; the parser refuses it long before.
const LONGEST: u64 = 16 << 20;

/// A lab file that was read and found to be right.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LabFile {
    /// Where it lies, an absolute path; of several Compose files the first.
    pub path: PathBuf,
    /// What is in it.
    pub text: Vec<u8>,
    /// What it means.
    pub model: Model,
    /// What it names on the disk, as it was found.
    pub sources: Sources,
    /// What people should know of it, and nothing fails for.
    pub warnings: Vec<Problem>,
    /// What is in the files that it names; nothing in the copy that a lab keeps.
    pub(crate) contents: Contents,
    /// What it was made from, if it is a Compose file.
    pub(crate) compose: Option<Box<Inputs>>,
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
    #[error("{} mistakes in {}", problems.len(), files.first().map_or("it", |file| &file.path))]
    Problems {
        /// The files by the numbers that places have. The first is the lab file.
        files: Vec<TextFile>,
        /// The mistakes, in the order of their places.
        problems: Vec<Problem>,
    },
}

/// A file with mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    /// Where it is.
    pub path: String,
    /// What is in it.
    pub text: Vec<u8>,
}

impl LabFile {
    /// Reads the lab file at `path`, which may be a Compose file. A lab that has no name is called
    /// after the folder.
    ///
    /// # Errors
    /// If it cannot be read, or has mistakes: all of them.
    pub fn read(path: &Path) -> Result<Self, LabFileError> {
        Self::read_all(&[path.to_owned()], &ComposeOptions::default())
    }

    /// Reads a lab file, or several Compose files, each over those before it.
    ///
    /// # Errors
    /// If one cannot be read, or there are mistakes: all of them.
    pub fn read_all(paths: &[PathBuf], options: &ComposeOptions) -> Result<Self, LabFileError> {
        let Some(path) = paths.first() else {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(LabFileError::Read { path: PathBuf::new(), source });
        };
        let read = |source| LabFileError::Read { path: path.to_owned(), source };
        let absolute = std::path::absolute(path).map_err(read)?;
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LONGEST).read_to_end(&mut text))
            .map_err(read)?;
        let folder = absolute.parent().and_then(Path::file_name).unwrap_or_default();
        let folder = folder.to_string_lossy();
        if paths.len() == 1 && !compose_file::is_one(&text) {
            return Self::of_text(&absolute, text, &folder);
        }
        let inputs = compose_file::gather(paths, options).map_err(LabFileError::from)?;
        let base = PathBuf::from(&inputs.folder);
        let name = compose::name_of_folder(&folder);
        Self::of_compose(inputs, &name, |wanted| lab_source::look(&base, wanted))
    }

    /// The files of a folder that a lab is made from: a lab file, or Compose files.
    pub fn of_folder(folder: &Path) -> Option<Vec<PathBuf>> {
        let usual = folder.join(DEFAULT_NAME);
        if usual.exists() { Some(vec![usual]) } else { compose_file::of_folder(folder) }
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

    /// The same for what a lab keeps that was made from Compose files.
    ///
    /// # Errors
    /// If there are mistakes: all of them.
    pub(crate) fn of_compose_copy(
        inputs: Inputs,
        name: &str,
        sources: Sources,
    ) -> Result<Self, LabFileError> {
        Self::of_compose(inputs, name, |_| (sources, Contents::new()))
    }

    /// Reads what this lab file was read from once more, in the same way.
    ///
    /// # Errors
    /// As [`LabFile::read`].
    pub fn read_again(&self) -> Result<Self, LabFileError> {
        match &self.compose {
            Some(inputs) => {
                let (paths, options) = compose_file::options_of(inputs);
                Self::read_all(&paths, &options)
            }
            None => Self::read(&self.path),
        }
    }

    fn resolve(
        path: &Path,
        text: Vec<u8>,
        default_name: &str,
        look: impl FnOnce(&Wanted) -> (Sources, Contents),
    ) -> Result<Self, LabFileError> {
        let of_text = |problems, text| {
            let files = vec![TextFile { path: path.display().to_string(), text }];
            LabFileError::Problems { files, problems }
        };
        let mut draft = match Draft::read(&text) {
            Ok(draft) => draft,
            Err(problem) => return Err(of_text(vec![problem], text)),
        };
        let warnings = draft.take_warnings();
        let (sources, contents) = look(&draft.wanted());
        let path = path.to_owned();
        match draft.resolve(default_name, &sources) {
            Ok(model) => Ok(Self { path, text, model, sources, warnings, contents, compose: None }),
            Err(problems) => Err(of_text(problems, text)),
        }
    }

    fn of_compose(
        mut inputs: Inputs,
        default_name: &str,
        look: impl FnOnce(&Wanted) -> (Sources, Contents),
    ) -> Result<Self, LabFileError> {
        let project = compose_file::complete(&mut inputs);
        let mut draft = project.draft;
        let warnings = draft.take_warnings();
        let (sources, contents) = look(&draft.wanted());
        match draft.resolve(default_name, &sources) {
            Ok(model) => {
                let first = inputs.compose.first();
                let path = first.map(|it| PathBuf::from(&it.path)).unwrap_or_default();
                let text = first.map(|it| it.text.clone().into_bytes()).unwrap_or_default();
                let compose = Some(Box::new(inputs));
                Ok(Self { path, text, model, sources, warnings, contents, compose })
            }
            Err(problems) => {
                let files = text_files(&inputs, project.paths);
                Err(LabFileError::Problems { files, problems })
            }
        }
    }

    /// All files that places can be in, by their numbers.
    pub fn texts(&self) -> Vec<TextFile> {
        match &self.compose {
            Some(inputs) => {
                let mut inputs = inputs.as_ref().clone();
                let paths = compose_file::complete(&mut inputs).paths;
                text_files(&inputs, paths)
            }
            None => {
                let path = self.path.display().to_string();
                vec![TextFile { path, text: self.text.clone() }]
            }
        }
    }

    /// Where a part of the lab is given its name: the file and the place in it.
    pub fn place_of(&self, subject: &Subject) -> Option<(PathBuf, Place)> {
        let Some(inputs) = &self.compose else {
            return Some((self.path.clone(), place_of(&self.text, subject)?));
        };
        let project = compose_file::complete(&mut inputs.as_ref().clone());
        let place = project.draft.place_of(subject)?;
        Some((PathBuf::from(project.paths.get(place.file)?), place))
    }

    /// Whether this copy differs from what is on the disk now.
    pub fn is_outdated(&self) -> bool {
        let folder = self.path.parent().unwrap_or(&self.path);
        if let Some(inputs) = &self.compose {
            let Some((again, project)) = compose_file::again(inputs) else { return false };
            return again != **inputs
                || lab_source::look(folder, &project.draft.wanted()).0 != self.sources;
        }
        let Ok(text) = fs::read(&self.path) else { return false };
        let is_new = |draft: Draft| lab_source::look(folder, &draft.wanted()).0 != self.sources;
        text != self.text || Draft::read(&text).is_ok_and(is_new)
    }
}

/// The files of a project by the numbers that places have.
fn text_files(inputs: &Inputs, paths: Vec<String>) -> Vec<TextFile> {
    let named = inputs.compose.iter().chain(&inputs.variables);
    let mut texts = named.map(|input| input.text.clone());
    let text = |path: String| {
        let text = texts.next().or_else(|| match inputs.others.get(&path) {
            Some(Other::Text(text)) => Some(text.clone()),
            _ => None,
        });
        TextFile { text: text.unwrap_or_default().into_bytes(), path }
    };
    paths.into_iter().map(text).collect()
}

impl From<Unread> for LabFileError {
    fn from(unread: Unread) -> Self {
        let Unread { path, why } = unread;
        match why {
            WhyUnread::Io(source) => Self::Read { path, source },
            WhyUnread::Text(text, problem) => {
                let files = vec![TextFile { path: path.display().to_string(), text }];
                Self::Problems { files, problems: vec![*problem] }
            }
        }
    }
}
