//! One project: its files merged, its services and networks read, and a lab made of them.

use std::collections::BTreeSet;

use super::convert::{self, plain_name};
use super::extends::{self, entry};
use super::files::Files;
use super::reader::Keys;
use super::service::{self, Service};
use super::{Inputs, Outcome, Project, build, merge, networks};
use crate::problem::{Placed, Problem, Problems};
use crate::resolve::Draft;
use crate::spec::decode::{entries, list, truth, word};
use crate::spec::tree::{Tree, Value};
use crate::spec::{Spec, Word};

/// The variable with the name of the project.
const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";

/// The variable with the profiles that are asked for, with commas between them.
const PROFILES: &str = "COMPOSE_PROFILES";

/// Reads a project.
pub(super) fn read(inputs: &Inputs) -> Outcome {
    let mut problems = Problems::with(inputs.leniency);
    let mut files = Files::of(inputs, &mut problems);
    let mut whole: Option<Tree> = None;
    let mut is_broken = false;
    for number in 0..inputs.compose.len() {
        let Some(mut tree) = files.named(number, &mut problems) else {
            is_broken = true;
            continue;
        };
        extends::resolve(&mut tree, &mut files, &mut problems);
        whole = Some(match whole {
            Some(base) => merge::files(base, tree),
            None => tree,
        });
    }
    let mut spec = Spec::empty();
    if is_broken {
        spec.unread = vec!["nodes"];
    } else if let Some(tree) = whole {
        fill(&mut spec, &tree, inputs, &mut files, &mut problems);
    }
    if !files.missing.is_empty() {
        return Outcome::More(files.missing);
    }
    let (texts, paths, asked) = files.into_texts();
    spec.texts = texts;
    let draft = Draft::of(spec, problems);
    Outcome::Read(Box::new(Project { draft, paths, asked }))
}

fn fill(
    spec: &mut Spec,
    tree: &Tree,
    inputs: &Inputs,
    files: &mut Files<'_>,
    problems: &mut Problems,
) {
    let Some(mut keys) = Keys::open("a Compose file", tree, problems) else { return };
    spec.name = name(keys.word("name", problems), files, problems);
    let networks = keys.take("networks").map_or_else(Vec::new, |it| networks::read(it, problems));
    let volumes = keys.take("volumes").map_or_else(Vec::new, |tree| volumes(tree, problems));
    let services = keys.take("services");
    keys.refuse(
        &[
            ("configs", "show the file as a volume"),
            ("secrets", "show the file as a volume"),
            ("include", "name the other file too: -f ONE -f OTHER"),
            ("models", ""),
        ],
        problems,
    );
    keys.pass(&["version"]);
    keys.close(problems);
    let Some(services) = services else {
        spec.unread = vec!["nodes"];
        problems.add(Problem::new("there are no services").at(tree.place));
        return;
    };
    if matches!(&services.value, Value::Table(entries) if entries.is_empty()) {
        problems.add(Problem::new("there are no services").at(services.place));
    }
    let services = read_services(services, inputs, files, problems);
    check_volumes(&services, &volumes, problems);
    let lab = convert::convert(networks, services, files, problems);
    (spec.segments, spec.nodes) = (lab.segments, lab.nodes);
    if spec.nodes.is_empty() {
        // What is wrong with them has been said.
        spec.unread = vec!["nodes"];
        if problems.is_empty() {
            let hint = "ask for a profile with --profile, or for all with --profile '*'";
            let problem = Problem::new("no service belongs to a profile that is asked for");
            problems.add(problem.at(tree.place).hint(hint));
        }
    }
}

/// The name of the project as a lab's: that of the environment goes before that of the file, as
/// Compose has it.
fn name(written: Option<Word>, files: &mut Files<'_>, problems: &mut Problems) -> Option<Word> {
    let of_caller = files.variables.get(PROJECT_NAME).map(str::to_owned);
    let place = written.as_ref().map(|word| word.place).unwrap_or_default();
    let of_caller = of_caller.filter(|name| !name.is_empty());
    let word = of_caller.map(|value| Placed { value, place }).or(written)?;
    match plain_name(&word) {
        Some(value) => Some(Placed { value, place: word.place }),
        None => {
            problems.at(word.place, format!("{:?} is no name for a lab", word.value));
            None
        }
    }
}

fn read_services(
    tree: &Tree,
    inputs: &Inputs,
    files: &mut Files<'_>,
    problems: &mut Problems,
) -> Vec<Service> {
    let of_variable = files.variables.get(PROFILES).unwrap_or_default().to_owned();
    let named = of_variable.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut profiles: BTreeSet<String> = named.map(str::to_owned).collect();
    profiles.extend(inputs.profiles.iter().cloned());
    let entries = entries("service", tree, problems).unwrap_or_default();
    let mut services = Vec::new();
    for (key, tree) in entries.into_iter().filter(|(key, _)| !key.starts_with("x-")) {
        if !is_asked_for(tree, &profiles, problems) {
            continue;
        }
        let of_files = env_files(tree, files, problems);
        let of_caller = |name: &str| files.variables.get(name).map(str::to_owned);
        let environment = service::environment(tree, of_files, of_caller, problems);
        let build = build::of(tree, |name| files.variables.get(name).map(str::to_owned), problems);
        let said = (environment, build);
        services.extend(service::read(key, tree, said, inputs.privileged, problems));
    }
    services
}

/// Whether a service belongs to no profile, or to one that is asked for.
fn is_asked_for(tree: &Tree, profiles: &BTreeSet<String>, problems: &mut Problems) -> bool {
    let Some(tree) = entry(tree, "profiles") else { return true };
    let items = list("profiles", tree, problems);
    let words: Vec<Word> =
        items.iter().filter_map(|item| word("profile", item, problems)).collect();
    let is_asked = |word: &Word| profiles.contains(&word.value) || profiles.contains("*");
    words.is_empty() || words.iter().any(is_asked)
}

/// The variables of the files that a service names, those of later files over the others.
fn env_files(tree: &Tree, files: &mut Files<'_>, problems: &mut Problems) -> Vec<(Word, Word)> {
    let Some(tree) = entry(tree, "env_file") else { return Vec::new() };
    let mut found = Vec::new();
    for item in list("env_file", tree, problems) {
        let mut is_required = true;
        let path = match &item.value {
            Value::Table(_) => {
                let Some(mut keys) = Keys::open("env_file", item, problems) else { continue };
                let path = keys.word("path", problems);
                if path.is_none() {
                    problems.at(keys.place(), "an env_file has no path");
                }
                is_required = !keys.is_false("required", problems);
                keys.pass(&["format"]);
                keys.close(problems);
                path
            }
            _ => word("env_file", item, problems),
        };
        let Some(path) = path else { continue };
        found.extend(files.variables_of(&path, is_required, problems));
    }
    found
}

/// The names of the volumes that the file has.
fn volumes(tree: &Tree, problems: &mut Problems) -> Vec<Word> {
    let mut names = Vec::new();
    for (name, tree) in entries("volume", tree, problems).unwrap_or_default() {
        if name.starts_with("x-") {
            continue;
        }
        names.push(name.clone());
        let Some(mut keys) = Keys::open("a volume", tree, problems) else { continue };
        let external = keys.take("external");
        let is_external = match external {
            Some(Tree { value: Value::Table(_), place }) => Some(*place),
            Some(tree) => {
                truth("external", tree, problems).filter(|it| it.value).map(|it| it.place)
            }
            None => None,
        };
        if let Some(place) = is_external {
            let problem = Problem::new("a lab keeps its volumes itself: none can be external");
            problems.add(problem.at(place).hint("leave external out, or show a folder"));
        }
        if let Some(driver) = keys.word("driver", problems).filter(|it| it.value != "local") {
            let message = format!("the volume driver {} is not supported", driver.value);
            let problem = super::reader::left_out(message, driver.place, "there is local");
            problems.unsupported(problem);
        }
        keys.refuse(&[("driver_opts", "show a folder of the host")], problems);
        keys.pass(&["labels", "name"]);
        keys.close(problems);
    }
    names
}

/// A volume with a name must be one of the file's.
fn check_volumes(services: &[Service], names: &[Word], problems: &mut Problems) {
    for mount in services.iter().flat_map(|service| &service.mounts) {
        let super::volumes::Mount::Shown { source, .. } = mount else { continue };
        let is_name = !source.contains(['/', '.', '~']);
        if is_name && names.iter().all(|name| name.value != source.value) {
            problems.unknown("volume", source, names.iter().map(|name| name.value.as_str()));
        }
    }
}
