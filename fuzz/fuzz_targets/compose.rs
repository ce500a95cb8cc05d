//! Any texts are a Compose project, or refused with at least one problem, each at a place in one of
//! its files. A zero byte stands between two files: Compose files over each other, and the last one
//! is of variables, and what other files name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netarium_core::compose::{self, Input, Inputs, Leniency, Other, Outcome};
use netarium_core::source::Sources;

fuzz_target!(|text: &str| {
    let mut parts: Vec<&str> = text.split('\0').collect();
    let last = if parts.len() > 1 { parts.pop().unwrap_or_default() } else { "" };
    let input = |text: &str| Input { path: "/lab/file".to_owned(), text: text.to_owned() };
    for leniency in [Leniency::Strict, Leniency::Lenient] {
        let mut inputs = Inputs {
            folder: "/lab".to_owned(),
            compose: parts.iter().map(|text| input(text)).collect(),
            variables: vec![input(last)],
            leniency,
            ..Inputs::default()
        };
        let project = loop {
            match compose::read(&inputs) {
                Outcome::Read(project) => break project,
                Outcome::More(paths) => {
                    let before = inputs.others.len();
                    let other = |path| (path, Other::Text(last.to_owned()));
                    inputs.others.extend(paths.into_iter().map(other));
                    assert!(inputs.others.len() > before, "what is asked for is new");
                }
            }
        };
        let files = project.paths.len();
        let mut draft = project.draft;
        let warnings = draft.take_warnings();
        let mut problems = Vec::new();
        if let Err(found) = draft.resolve("lab", &Sources::default()) {
            assert!(!found.is_empty());
            problems = found;
        }
        for place in problems.iter().chain(&warnings).filter_map(|problem| problem.place) {
            assert!(place.start <= place.end && place.file < files, "{place:?}");
        }
    }
});
