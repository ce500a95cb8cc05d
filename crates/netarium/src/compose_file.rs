//! Compose files on the disk, and what they name beside them.
//!
//! What they mean is the business of [`netarium_core::compose`]; here is what it is handed: the
//! files, those that they name, and the variables of whoever calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use netarium_core::compose::{
    self, DEFAULT_NAMES, Input, Inputs, Leniency, OVERRIDE_NAMES, Other, Outcome, Privileged,
    Project,
};
use netarium_core::spec;

use crate::lab_source::text_below;

/// The file of variables of a folder.
const VARIABLES: &str = ".env";

/// How Compose files are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComposeOptions {
    /// Files of variables, in place of `.env` in the project's folder.
    pub variables: Vec<PathBuf>,
    /// The profiles that are asked for.
    pub profiles: BTreeSet<String>,
    /// What becomes of what is not supported.
    pub leniency: Leniency,
    /// Whether `privileged` is passed over.
    pub privileged: Privileged,
}

/// A file that cannot be read.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) path: PathBuf,
    pub(crate) why: WhyUnread,
}

/// Why a file is no use.
#[derive(Debug)]
pub(crate) enum WhyUnread {
    Io(io::Error),
    /// It is no text; all that is in it, and what is wrong.
    Text(Vec<u8>, Box<netarium_core::problem::Problem>),
}

/// The Compose files of a folder: the usual one, and what goes over it.
pub(crate) fn of_folder(folder: &Path) -> Option<Vec<PathBuf>> {
    let there =
        |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    let file = there(&DEFAULT_NAMES)?;
    Some([file].into_iter().chain(there(&OVERRIDE_NAMES)).collect())
}

/// Whether these bytes are a Compose file.
pub(crate) fn is_one(text: &[u8]) -> bool {
    spec::text(text).is_ok_and(compose::is_one)
}

/// Reads the files that are named.
///
/// # Errors
/// The first that cannot be read.
pub(crate) fn gather(paths: &[PathBuf], options: &ComposeOptions) -> Result<Inputs, Unread> {
    let compose = paths.iter().map(|path| input(path)).collect::<Result<Vec<_>, _>>()?;
    let folder = compose.first().and_then(|it| Path::new(&it.path).parent());
    let folder = folder.map(Path::to_path_buf).unwrap_or_default();
    let usual = folder.join(VARIABLES);
    let mut variables = options.variables.clone();
    if variables.is_empty() && usual.is_file() {
        variables.push(usual);
    }
    // What is no text cannot be in a Compose file either.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Inputs {
        folder: folder.display().to_string(),
        compose,
        // Of two files the later counts.
        variables: variables.iter().rev().map(|path| input(path)).collect::<Result<_, _>>()?,
        environment: environment.collect(),
        profiles: options.profiles.clone(),
        leniency: options.leniency,
        privileged: options.privileged,
        others: BTreeMap::new(),
    })
}

fn input(path: &Path) -> Result<Input, Unread> {
    let unread = |why| Unread { path: path.to_owned(), why };
    let absolute = std::path::absolute(path).map_err(|error| unread(WhyUnread::Io(error)))?;
    let mut bytes = Vec::new();
    let longest = u64::try_from(spec::LARGEST).unwrap_or(u64::MAX) + 1;
    File::open(path)
        .and_then(|file| file.take(longest).read_to_end(&mut bytes))
        .map_err(|error| unread(WhyUnread::Io(error)))?;
    match spec::text(&bytes) {
        Ok(text) => Ok(Input { path: absolute.display().to_string(), text: text.to_owned() }),
        Err(problem) => Err(unread(WhyUnread::Text(bytes, Box::new(problem)))),
    }
}

/// Reads a project with all that it names. Of the variables those stay that were asked for.
pub(crate) fn complete(inputs: &mut Inputs) -> Project {
    let folder = PathBuf::from(&inputs.folder);
    loop {
        match compose::read(inputs) {
            Outcome::Read(project) => {
                inputs.environment.retain(|name, _| project.asked.contains(name));
                return *project;
            }
            Outcome::More(paths) => {
                let read = |path: String| match text_below(&folder, &path) {
                    Ok(text) => (path, Other::Text(text)),
                    Err(why) => (path, Other::Missing(why)),
                };
                inputs.others.extend(paths.into_iter().map(read));
            }
        }
    }
}

/// The same project as it is on the disk now, with the variables that it had; nothing if a file is
/// no longer there.
pub(crate) fn again(inputs: &Inputs) -> Option<(Inputs, Project)> {
    let now = |input: &Input| {
        let text = fs::read_to_string(&input.path).ok()?;
        Some(Input { path: input.path.clone(), text })
    };
    let mut again = Inputs {
        compose: inputs.compose.iter().map(now).collect::<Option<_>>()?,
        variables: inputs.variables.iter().map(now).collect::<Option<_>>()?,
        others: BTreeMap::new(),
        ..inputs.clone()
    };
    let project = complete(&mut again);
    Some((again, project))
}

/// How a project was read.
pub(crate) fn options_of(inputs: &Inputs) -> (Vec<PathBuf>, ComposeOptions) {
    let paths = inputs.compose.iter().map(|input| PathBuf::from(&input.path)).collect();
    let usual = Path::new(&inputs.folder).join(VARIABLES);
    let variables = inputs.variables.iter().rev().map(|input| PathBuf::from(&input.path));
    let options = ComposeOptions {
        variables: variables.filter(|path| *path != usual).collect(),
        profiles: inputs.profiles.clone(),
        leniency: inputs.leniency,
        privileged: inputs.privileged,
    };
    (paths, options)
}
