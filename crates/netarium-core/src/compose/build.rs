//! `build` of a service: what Docker makes its image from.

use std::collections::BTreeMap;

use super::files::Files;
use super::reader::{Keys, left_out};
use crate::model::Build;
use crate::problem::{Placed, Problem, Problems};
use crate::spec::Word;
use crate::spec::decode::{entries, word};
use crate::spec::tree::{Tree, Value};

/// The recipe of a folder that names none.
const DOCKERFILE: &str = "Dockerfile";

/// What is not supported, with what to do instead.
const REFUSED: [(&str, &str); 14] = [
    ("additional_contexts", ""),
    ("dockerfile_inline", "write it into a file"),
    ("entitlements", ""),
    ("extra_hosts", ""),
    ("isolation", ""),
    ("network", "a build has the network that Docker gives it"),
    ("platforms", "write platform of the service"),
    ("privileged", ""),
    ("provenance", ""),
    ("sbom", ""),
    ("secrets", ""),
    ("shm_size", ""),
    ("ssh", ""),
    ("ulimits", ""),
];

/// What changes how a build goes, and nothing about what comes of it.
const PASSED_OVER: [&str; 6] = ["cache_from", "cache_to", "labels", "no_cache", "pull", "tags"];

/// Reads how a service is built, if it is. `of_caller` tells the caller's variables, for arguments
/// without a value.
pub(super) fn of(
    service: &Tree,
    of_caller: impl FnMut(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<Written> {
    let Value::Table(keys) = &service.value else { return None };
    let (_, tree) = keys.iter().find(|(key, _)| key.value == "build")?;
    if matches!(tree.value, Value::Nothing) {
        return None;
    }
    let mut keys = Keys::open("build", tree, problems)?;
    let here = Placed { value: ".".to_owned(), place: keys.place() };
    let context = keys.word("context", problems).unwrap_or(here);
    let dockerfile = keys.word("dockerfile", problems);
    let args = keys.take("args").map(|tree| args(tree, of_caller, problems)).unwrap_or_default();
    let target = keys.word("target", problems).map(|word| word.value);
    keys.refuse(&REFUSED, problems);
    keys.pass(&PASSED_OVER);
    keys.close(problems);
    if context.contains("://") || context.starts_with("git@") {
        let message = format!("the context {} is no folder", context.value);
        let hint = "fetch it, and name the folder that it is in";
        problems.unsupported(left_out(message, context.place, hint));
        return None;
    }
    Some(Written { context, dockerfile, args, target })
}

/// One without a value has that of the caller, and is left open if the caller has none.
fn args(
    tree: &Tree,
    mut of_caller: impl FnMut(&str) -> Option<String>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for (name, tree) in entries("argument", tree, problems).unwrap_or_default() {
        let value = match tree.value {
            Value::Nothing => of_caller(name),
            _ => word(name, tree, problems).map(|word| word.value),
        };
        args.extend(value.map(|value| (name.value.clone(), value)));
    }
    args
}

impl Written {
    /// The same with paths from the project's folder. What lies outside of that is not built from.
    pub(super) fn settle(self, files: &Files<'_>, problems: &mut Problems) -> Option<Build> {
        let context = files.below(&self.context);
        let dockerfile = self.dockerfile.as_ref().map_or(DOCKERFILE, |word| word.value.as_str());
        let leads_out =
            |path: &str| path.starts_with(['/', '~']) || path.split('/').any(|part| part == "..");
        let wrong = [Some(&self.context).filter(|_| leads_out(&context)), self.dockerfile.as_ref()];
        for word in wrong.into_iter().flatten() {
            if leads_out(&context) || leads_out(word) {
                let problem = Problem::new(format!("{} leads out of its folder", word.value));
                let hint = "what is built lies beside the Compose file or below it";
                problems.add(problem.at(word.place).hint(hint));
                return None;
            }
        }
        let dockerfile = dockerfile.to_owned();
        let (args, target) = (self.args, self.target);
        Some(Build { beneath: String::new(), context, dockerfile, args, target, platform: None })
    }
}

/// What an image is built from, as written.
#[derive(Debug)]
pub(super) struct Written {
    context: Word,
    dockerfile: Option<Word>,
    args: BTreeMap<String, String>,
    target: Option<String>,
}
