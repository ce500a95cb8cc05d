//! Which lab is meant by what was typed.
//!
//! A word is the path of a lab file or of its folder, or the name of a lab that is up. Commands
//! that bring something about need a file; those that look into a lab need the lab.

use std::path::{Path, PathBuf};

use netarium::folder::DataFolder;
use netarium::lab::{Lab, State};
use netarium::lab_file::{ComposeOptions, DEFAULT_NAME, LabFile};
use netarium_core::compose::{Leniency, Privileged};
use netarium_core::name::Name;
use netarium_core::problem::suggestion;

use crate::args::{Compose, OnEngine, OneLab};

/// Why no lab could be chosen.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct ChooseError {
    what: String,
    /// What to do about it.
    pub(crate) hint: String,
}

/// What is taken where nothing was typed and the current folder has no lab file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// The only lab that is up: right for commands that look.
    OnlyLab,
    /// Nothing: a command that changes something must be told what.
    Nothing,
}

/// A word, looked up.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Files(Vec<PathBuf>),
    Lab(Name),
}

/// The word for a lab where there may be one only.
///
/// # Errors
/// If there are several.
pub(crate) fn at_most_one(words: &[String]) -> Result<Option<&str>, ChooseError> {
    match words {
        [] => Ok(None),
        [word] => Ok(Some(word)),
        [first, ..] => Err(ChooseError {
            what: format!("{} labs are named, where one is meant", words.len()),
            hint: format!("name one: {first}"),
        }),
    }
}

/// The lab file that is meant. The name of a lab that is up means the file that it came from.
///
/// # Errors
/// If none is meant, or the file cannot be read or has mistakes.
pub(crate) fn file<'a>(data: &DataFolder, asked: impl Into<Asked<'a>>) -> anyhow::Result<LabFile> {
    let asked = asked.into();
    match meaning(data, &asked, Otherwise::Nothing)? {
        Meaning::Files(paths) => Ok(LabFile::read_all(&paths, &asked.options())?),
        Meaning::Lab(name) => {
            let lab = Lab::named(data, &name);
            // A Compose file is read as it was, unless its copy is not to be had.
            match lab.file() {
                Ok(copy) => Ok(copy.read_again()?),
                Err(_) => Ok(LabFile::read(&path_of(&lab)?)?),
            }
        }
    }
}

/// What was typed for a lab.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    word: Option<&'a str>,
    compose: Option<&'a Compose>,
}

impl<'a> From<Option<&'a str>> for Asked<'a> {
    fn from(word: Option<&'a str>) -> Self {
        Self { word, compose: None }
    }
}

impl<'a> From<&'a OneLab> for Asked<'a> {
    fn from(lab: &'a OneLab) -> Self {
        Self { word: lab.lab.as_deref(), compose: Some(&lab.compose) }
    }
}

impl Asked<'_> {
    /// How Compose files are to be read.
    fn options(&self) -> ComposeOptions {
        let Some(compose) = self.compose else { return ComposeOptions::default() };
        ComposeOptions {
            variables: compose.variables.clone(),
            profiles: compose.profiles.iter().cloned().collect(),
            leniency: if compose.lenient { Leniency::Lenient } else { Leniency::Strict },
            privileged: match compose.allow_privileged {
                true => Privileged::Allowed,
                false => Privileged::Refused,
            },
        }
    }

    /// The files that are named by options.
    fn files(&self) -> &[PathBuf] {
        self.compose.map_or(&[], |compose| compose.files.as_slice())
    }
}

/// The same, for a command that says on which engine.
///
/// # Errors
/// As [`file`].
pub(crate) fn file_on<'a>(
    data: &DataFolder,
    asked: impl Into<Asked<'a>>,
    on: OnEngine,
) -> anyhow::Result<LabFile> {
    let mut file = file(data, asked)?;
    file.model.engine = on.engine.or(file.model.engine);
    Ok(file)
}

/// The lab that is meant, up or not.
///
/// # Errors
/// If none is meant, or it is meant by a file that cannot be read or has mistakes.
pub(crate) fn lab<'a>(
    data: &DataFolder,
    asked: impl Into<Asked<'a>>,
    otherwise: Otherwise,
) -> anyhow::Result<Lab> {
    let asked = asked.into();
    match meaning(data, &asked, otherwise)? {
        Meaning::Lab(name) => Ok(Lab::named(data, &name)),
        Meaning::Files(paths) => match paths.first().and_then(|path| came_from(data, path)) {
            // Mistakes made in its file since do not matter to a lab that is up.
            Some(lab) => Ok(lab),
            None => {
                let file = LabFile::read_all(&paths, &asked.options())?;
                Ok(Lab::named(data, &file.model.lab))
            }
        },
    }
}

/// The labs that are up, or were and left something.
///
/// # Errors
/// If the folder of labs cannot be read.
pub(crate) fn all(data: &DataFolder) -> anyhow::Result<Vec<Lab>> {
    Ok(Lab::all(data)?)
}

fn meaning(data: &DataFolder, asked: &Asked<'_>, otherwise: Otherwise) -> anyhow::Result<Meaning> {
    if !asked.files().is_empty() {
        return Ok(Meaning::Files(asked.files().to_vec()));
    }
    let Some(word) = asked.word else { return unsaid(data, otherwise) };
    if let Some(paths) = lab_files_at(Path::new(word)) {
        return Ok(Meaning::Files(paths));
    }
    let labs = names(&all(data)?);
    match labs.iter().find(|name| name.as_str() == word) {
        Some(name) => Ok(Meaning::Lab(name.clone())),
        None => Err(unknown(word, &labs).into()),
    }
}

fn unsaid(data: &DataFolder, otherwise: Otherwise) -> anyhow::Result<Meaning> {
    if let Some(paths) = LabFile::of_folder(Path::new("")) {
        return Ok(Meaning::Files(paths));
    }
    let labs = names(&all(data)?);
    match (otherwise, labs.as_slice()) {
        (Otherwise::OnlyLab, [only]) => Ok(Meaning::Lab(only.clone())),
        _ => {
            let what =
                format!("no lab is named, and there is no {DEFAULT_NAME} and no compose.yaml here");
            Err(ChooseError { what, hint: ways(&labs) }.into())
        }
    }
}

/// The lab file that a path stands for, if it is one, or Compose files.
fn lab_files_at(path: &Path) -> Option<Vec<PathBuf>> {
    if path.is_dir() {
        // A folder without a lab file may bear the name of a lab by chance.
        return LabFile::of_folder(path);
    }
    path.exists().then(|| vec![path.to_owned()])
}

fn unknown(word: &str, labs: &[Name]) -> ChooseError {
    let path = Path::new(word);
    let what = if path.is_dir() {
        format!("the folder {word} has no {DEFAULT_NAME}, and no lab called that is up")
    } else if word.contains('/') || path.extension().is_some() {
        format!("there is no lab file {word}")
    } else {
        format!("there is no file or folder {word}, and no lab called that is up")
    };
    let meant = suggestion(word, labs.iter().map(Name::as_str).collect());
    let meant = meant.filter(|text| text.starts_with("did you mean"));
    ChooseError { what, hint: meant.unwrap_or_else(|| ways(labs)) }
}

/// All three ways of naming a lab.
fn ways(labs: &[Name]) -> String {
    let up = match labs {
        [] => "none is".to_owned(),
        labs => labs.iter().map(Name::as_str).collect::<Vec<_>>().join(", "),
    };
    format!(
        "name a lab file or its folder, or a lab that is up ({up}), or go to a folder with a \
         {DEFAULT_NAME}"
    )
}

fn names(labs: &[Lab]) -> Vec<Name> {
    labs.iter().map(|lab| lab.name().clone()).collect()
}

fn path_of(lab: &Lab) -> Result<PathBuf, ChooseError> {
    let record = lab.record().ok_or_else(|| ChooseError {
        what: format!("it is not known from which file lab {} was brought up", lab.name()),
        hint: "name the file".to_owned(),
    })?;
    Ok(record.file)
}

/// The lab that was brought up from the file at `path`, if one was and is still there.
fn came_from(data: &DataFolder, path: &Path) -> Option<Lab> {
    // The same file can be reached by many paths.
    let path = path.canonicalize().ok()?;
    let is_it = |record: PathBuf| record.canonicalize().is_ok_and(|file| file == path);
    let mut found = Lab::all(data).ok()?.into_iter().filter(|lab| {
        lab.state() != State::Down && lab.record().is_some_and(|record| is_it(record.file))
    });
    // There are two if the name in the file was changed in between: then the file decides.
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<Name> {
        words.iter().map(|word| Name::new(word).unwrap()).collect()
    }

    #[test]
    fn a_word_that_names_nothing_is_told_with_all_three_ways() {
        let error = unknown("office", &names(&["hello", "site-to-site"]));
        assert_eq!(
            error.to_string(),
            "there is no file or folder office, and no lab called that is up"
        );
        assert_eq!(
            error.hint,
            "name a lab file or its folder, or a lab that is up (hello, site-to-site), or go to a \
             folder with a lab.yaml"
        );
        assert_eq!(unknown("x", &[]).hint.matches("(none is)").count(), 1);
    }

    #[test]
    fn a_slip_in_the_name_of_a_lab_that_is_up_is_told() {
        assert_eq!(unknown("helo", &names(&["hello"])).hint, "did you mean hello?");
    }

    #[test]
    fn a_word_with_a_slash_is_a_path() {
        assert_eq!(unknown("labs/x", &[]).to_string(), "there is no lab file labs/x");
        assert_eq!(unknown("x.yaml", &[]).to_string(), "there is no lab file x.yaml");
    }
}
