//! A disk that is not there: whatever a lab file names is found, and what is in it is its name.
//! Names that begin with `./no-` are not found; those without a dot are folders.

use netarium_core::model::Model;
use netarium_core::problem::Problem;
use netarium_core::resolve::Draft;
use netarium_core::source::{Digest, Entry, FoundFile, Source, Sources};

/// Reads a lab file and resolves it with what is pretended to be beside it.
pub(crate) fn load(bytes: &[u8], name: &str) -> Result<Model, Vec<Problem>> {
    resolve(Draft::read(bytes).map_err(|problem| vec![problem])?, name)
}

/// Resolves what was read with what is pretended to be beside it.
pub(crate) fn resolve(draft: Draft, name: &str) -> Result<Model, Vec<Problem>> {
    let wanted = draft.wanted();
    let missing = |path: &str| path.starts_with("./no-").then(|| "it is not there".to_owned());
    let source = |path: &String| {
        let file = FoundFile { mode: 0o600, content: Digest::of(path.as_bytes()) };
        let source = match missing(path) {
            Some(why) => Source::Refused(why),
            None if !path.trim_start_matches("./").contains('.') => Source::Folder {
                mode: 0o750,
                entries: [
                    ("a".to_owned(), Entry::File(file)),
                    ("b".to_owned(), Entry::Folder(0o700)),
                ]
                .into(),
            },
            None => Source::File(file),
        };
        (path.clone(), source)
    };
    let is_file = |path: &&String| !path.starts_with('/') && source(path).1.is_file();
    let (either, folders): (Vec<&String>, Vec<&String>) = wanted.either.iter().partition(is_file);
    let folders = folders.into_iter().chain(&wanted.folders);
    let sources = Sources {
        folder: "/lab".to_owned(),
        files: wanted.files.iter().chain(either).map(source).collect(),
        folders: folders.map(|path| (path.clone(), missing(path))).collect(),
    };
    draft.resolve(name, &sources)
}
