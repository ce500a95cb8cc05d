//! Compose files as labs: what comes of them, and what is said about mistakes in them.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod golden;
mod merging;
#[path = "../pretend/mod.rs"]
mod pretend;
mod problems;
mod wiring;

use std::collections::BTreeMap;

use netarium_core::compose::{self, Input, Inputs, Leniency, Other, Outcome, Privileged};
use netarium_core::model::Model;
use netarium_core::problem::Problem;

/// A project in memory.
#[derive(Clone, Default)]
pub(crate) struct Files {
    inputs: Inputs,
    others: BTreeMap<String, String>,
}

impl Files {
    /// One Compose file.
    pub(crate) fn of(text: &str) -> Self {
        let inputs = Inputs { folder: "/lab".to_owned(), ..Inputs::default() };
        Self { inputs, others: BTreeMap::new() }.over(text)
    }

    /// Another one over it.
    pub(crate) fn over(mut self, text: &str) -> Self {
        let path = format!("/lab/compose-{}.yaml", self.inputs.compose.len());
        self.inputs.compose.push(Input { path, text: text.to_owned() });
        self
    }

    /// A file of variables.
    pub(crate) fn dotenv(mut self, text: &str) -> Self {
        let path = "/lab/.env".to_owned();
        self.inputs.variables.push(Input { path, text: text.to_owned() });
        self
    }

    /// A file that others can name.
    pub(crate) fn beside(mut self, path: &str, text: &str) -> Self {
        self.others.insert(path.to_owned(), text.to_owned());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.inputs.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn profile(mut self, name: &str) -> Self {
        self.inputs.profiles.insert(name.to_owned());
        self
    }

    pub(crate) fn lenient(mut self) -> Self {
        self.inputs.leniency = Leniency::Lenient;
        self
    }

    pub(crate) fn privileged(mut self) -> Self {
        self.inputs.privileged = Privileged::Allowed;
        self
    }

    /// Reads it, and hands in what it asks for.
    pub(crate) fn load(mut self) -> (Result<Model, Vec<Problem>>, Vec<Problem>) {
        loop {
            match compose::read(&self.inputs) {
                Outcome::More(paths) => {
                    for path in paths {
                        let other = match self.others.get(&path) {
                            Some(text) => Other::Text(text.clone()),
                            None => Other::Missing("there is no such file".to_owned()),
                        };
                        let before = self.inputs.others.insert(path, other);
                        assert_eq!(before, None, "asked for twice");
                    }
                }
                Outcome::Read(project) => {
                    let mut draft = project.draft;
                    let warnings = draft.take_warnings();
                    return (pretend::resolve(draft, "test"), warnings);
                }
            }
        }
    }

    pub(crate) fn model(self) -> Model {
        self.load().0.unwrap_or_else(|problems| panic!("{:#?}", lines(&problems)))
    }

    pub(crate) fn mistakes(self) -> Vec<String> {
        lines(&self.load().0.err().unwrap_or_default())
    }

    pub(crate) fn warnings(self) -> Vec<String> {
        let (model, warnings) = self.load();
        model.unwrap_or_else(|problems| panic!("{:#?}", lines(&problems)));
        lines(&warnings)
    }
}

/// Problems as one line each, with the file if it is not the first.
fn lines(problems: &[Problem]) -> Vec<String> {
    let line = |problem: &Problem| match problem.place.map(|place| place.file) {
        Some(file) if file > 0 => format!("{file}:{problem}"),
        _ => problem.to_string(),
    };
    problems.iter().map(line).collect()
}

#[test]
fn a_file_is_told_by_what_is_in_it() {
    assert!(compose::is_one("services: {a: {image: x}}"));
    assert!(compose::is_one("version: '3'\nservices:\n"));
    let lab = "nodes: {a: {image: host}}";
    assert!(!compose::is_one(lab));
    assert_eq!(pretend::load(lab.as_bytes(), "test").unwrap().nodes.len(), 1);
    for text in ["", "[]", "services: {}\nnodes: {}", "services: [", "\u{0}"] {
        assert!(!compose::is_one(text), "{text}");
    }
}
