//! The files that a project is made from, as text: those that were named, and those that they name.
//!
//! Nothing is read here. What is not at hand is asked for, and all begins anew when it is.

use std::collections::{BTreeMap, BTreeSet};

use super::interpolate::Variables;
use super::{Inputs, Other, dotenv, form};
use crate::problem::{Problem, Problems};
use crate::spec::tree::{self, Tree, Value};
use crate::spec::{self, Word};

/// The files of a project while they are read.
pub(super) struct Files<'i> {
    inputs: &'i Inputs,
    /// The texts by the numbers that places have.
    texts: Vec<String>,
    /// The folder of each, below that of the project: empty or with a slash at its end.
    folders: Vec<String>,
    /// What each is called.
    paths: Vec<String>,
    loaded: BTreeMap<String, Option<Tree>>,
    /// What is asked for and not at hand.
    pub(super) missing: BTreeSet<String>,
    /// The variables that can be used in all of them.
    pub(super) variables: Variables,
}

impl<'i> Files<'i> {
    /// No files yet, with the variables of the caller and those of files of variables.
    pub(super) fn of(inputs: &'i Inputs, problems: &mut Problems) -> Self {
        let mut files = Self {
            inputs,
            texts: Vec::new(),
            folders: Vec::new(),
            paths: Vec::new(),
            loaded: BTreeMap::new(),
            missing: BTreeSet::new(),
            variables: Variables::of(inputs.environment.clone()),
        };
        // The first file has the number 0, whatever else there is.
        for file in &inputs.compose {
            files.add(file.path.clone(), String::new(), file.text.clone());
        }
        for file in &inputs.variables {
            let number = files.add(file.path.clone(), String::new(), file.text.clone());
            dotenv::read(file.text.as_bytes(), number, &mut files.variables, problems);
        }
        files
    }

    fn add(&mut self, path: String, folder: String, text: String) -> usize {
        self.texts.push(text);
        self.folders.push(folder);
        self.paths.push(path);
        self.texts.len() - 1
    }

    /// The texts and what they are called, by the numbers that places have.
    pub(super) fn into_texts(self) -> (Vec<String>, Vec<String>, BTreeSet<String>) {
        (self.texts, self.paths, self.variables.asked())
    }

    /// Reads one of the files that were named, in one form and with its variables filled in.
    pub(super) fn named(&mut self, number: usize, problems: &mut Problems) -> Option<Tree> {
        let text = self.texts.get(number)?.clone();
        self.read(number, &text, problems)
    }

    fn read(&mut self, number: usize, text: &str, problems: &mut Problems) -> Option<Tree> {
        let grown = spec::check_size(text.len()).and_then(|()| tree::grow(text));
        let tree = match grown {
            Ok(Some(tree)) => tree.in_file(number),
            Ok(None) => {
                let whole = Problem::new("the file is empty").at(Default::default());
                problems.add(in_file(whole, number));
                return None;
            }
            Err(problem) => {
                problems.add(in_file(problem, number));
                return None;
            }
        };
        let mut tree = tree;
        if !matches!(tree.value, Value::Table(_)) {
            problems.at(tree.place, "a Compose file must be a table");
            return None;
        }
        self.variables.fill(&mut tree, problems);
        form::settle(&mut tree, problems);
        Some(tree)
    }

    /// Reads a Compose file that another names; nothing if it is not at hand.
    pub(super) fn load(&mut self, path: &Word, problems: &mut Problems) -> Option<Tree> {
        let below = self.below(path);
        if let Some(tree) = self.loaded.get(&below) {
            return tree.clone();
        }
        let (number, text) = self.text(&below, path, problems)?;
        let tree = self.read(number, &text, problems);
        self.loaded.insert(below, tree.clone());
        tree
    }

    /// Reads a file of variables that a service names.
    pub(super) fn variables_of(
        &mut self,
        path: &Word,
        is_required: bool,
        problems: &mut Problems,
    ) -> Vec<(Word, Word)> {
        let below = self.below(path);
        if !is_required && matches!(self.inputs.others.get(&below), Some(Other::Missing(_))) {
            return Vec::new();
        }
        let Some((number, text)) = self.text(&below, path, problems) else { return Vec::new() };
        // What it says is for the service, and not for other files.
        let mut variables = self.variables.lend();
        let found = dotenv::read(text.as_bytes(), number, &mut variables, problems);
        self.variables.take_back(variables);
        found
    }

    fn text(
        &mut self,
        below: &str,
        path: &Word,
        problems: &mut Problems,
    ) -> Option<(usize, String)> {
        match self.inputs.others.get(below) {
            None => {
                self.missing.insert(below.to_owned());
                None
            }
            Some(Other::Missing(why)) => {
                problems.at(path.place, format!("cannot read {}: {why}", path.value));
                None
            }
            Some(Other::Text(text)) => {
                let folder = below.rfind('/').map_or("", |slash| &below[..=slash]);
                let known = self.paths.iter().position(|it| it == below);
                let number = known
                    .unwrap_or_else(|| self.add(below.to_owned(), folder.to_owned(), text.clone()));
                Some((number, text.clone()))
            }
        }
    }

    /// A path as it is written in a file, from the project's folder.
    pub(super) fn below(&self, path: &Word) -> String {
        let folder = self.folders.get(path.place.file).map_or("", String::as_str);
        below(&self.inputs.folder, folder, path)
    }
}

/// A path from the project's folder: `./` and what is below it, or absolute.
fn below(project: &str, folder: &str, path: &str) -> String {
    let inside = path.strip_prefix(project).and_then(|rest| rest.strip_prefix('/'));
    match inside {
        Some(inside) if !project.is_empty() => format!("./{inside}"),
        _ if path.starts_with(['/', '~']) => path.to_owned(),
        _ => {
            let joined = format!("{folder}{path}");
            let parts = joined.split('/').filter(|part| !matches!(*part, "" | "."));
            // A folder and the way out of it again are nothing.
            let mut kept: Vec<&str> = Vec::new();
            for part in parts {
                match (part, kept.last()) {
                    ("..", Some(last)) if *last != ".." => drop(kept.pop()),
                    _ => kept.push(part),
                }
            }
            if kept.is_empty() { ".".to_owned() } else { format!("./{}", kept.join("/")) }
        }
    }
}

fn in_file(mut problem: Problem, number: usize) -> Problem {
    problem.place = problem.place.map(|place| place.in_file(number));
    problem
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn paths_count_from_the_folder_of_their_file() {
        for (folder, path, expected) in [
            ("", "./a/b", "./a/b"),
            ("", "a", "./a"),
            ("", ".", "."),
            ("./common/", "./x.env", "./common/x.env"),
            ("./common/", "../x.env", "./x.env"),
            ("", "../x", "./../x"),
            ("", "/lab/x", "./x"),
            ("", "/labs", "/labs"),
            ("", "/etc/x", "/etc/x"),
            ("", "~/x", "~/x"),
        ] {
            assert_eq!(below("/lab", folder, path), expected, "{folder} {path}");
        }
    }
}
