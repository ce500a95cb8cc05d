//! Services that extend others, of the same file or another one
//! (<https://docs.docker.com/reference/compose-file/services/#extends>).

use super::files::Files;
use super::merge;
use super::reader::Keys;
use crate::problem::{Placed, Problem, Problems};
use crate::spec::Word;
use crate::spec::decode::word;
use crate::spec::tree::{Tree, Value};

/// How many services may extend each other in a row.
const LONGEST: usize = 32;

/// Puts what they extend below all services of a file.
pub(super) fn resolve(file: &mut Tree, files: &mut Files<'_>, problems: &mut Problems) {
    let all = services_of(file).to_vec();
    let Value::Table(entries) = &mut file.value else { return };
    let Some((_, services)) = entries.iter_mut().find(|(key, _)| key.value == "services") else {
        return;
    };
    let Value::Table(services) = &mut services.value else { return };
    for (name, tree) in services {
        if entry(tree, "extends").is_some() {
            let mut chain = vec![(name.place.file, name.value.clone())];
            *tree = extended(tree.clone(), &all, &mut chain, files, problems);
        }
    }
}

/// A service with all that it extends.
fn extended(
    mut own: Tree,
    beside: &[(Word, Tree)],
    chain: &mut Vec<(usize, String)>,
    files: &mut Files<'_>,
    problems: &mut Problems,
) -> Tree {
    let Some(extends) = entry(&own, "extends").cloned() else { return own };
    if let Value::Table(entries) = &mut own.value {
        entries.retain(|(key, _)| key.value != "extends");
    }
    let Some((service, file)) = read(&extends, problems) else { return own };
    let other = match &file {
        None => None,
        Some(path) => match files.load(path, problems) {
            Some(tree) => Some(services_of(&tree).to_vec()),
            None => return own,
        },
    };
    let services = other.as_deref().unwrap_or(beside);
    let found = services.iter().find(|(name, _)| name.value == service.value);
    let Some((name, base)) = found else {
        let names = services.iter().map(|(name, _)| name.value.as_str());
        problems.unknown("service", &service, names);
        return own;
    };
    let link = (name.place.file, name.value.clone());
    if chain.contains(&link) {
        problems.at(service.place, format!("{} extends itself", service.value));
        return own;
    }
    if chain.len() == LONGEST {
        problems.at(service.place, format!("more than {LONGEST} services extend each other"));
        return own;
    }
    chain.push(link);
    let base = extended(base.clone(), services, chain, files, problems);
    merge::services(base, own)
}

/// The service, and the file that it is in if it is another one.
fn read(tree: &Tree, problems: &mut Problems) -> Option<(Word, Option<Word>)> {
    if let Value::Scalar(_) = tree.value {
        return Some((word("extends", tree, problems)?, None));
    }
    let mut keys = Keys::open("extends", tree, problems)?;
    let service = keys.word("service", problems);
    let file = keys.word("file", problems);
    let place = keys.place();
    keys.close(problems);
    if service.is_none() {
        problems.add(Problem::new("extends has no service").at(place));
    }
    Some((service?, file))
}

fn services_of(file: &Tree) -> &[(Word, Tree)] {
    match entry(file, "services").map(|tree| &tree.value) {
        Some(Value::Table(services)) => services,
        _ => &[],
    }
}

/// The value of a key of a table.
pub(super) fn entry<'t>(tree: &'t Tree, key: &str) -> Option<&'t Tree> {
    let Value::Table(entries) = &tree.value else { return None };
    entries.iter().find(|(Placed { value, .. }, _)| value == key).map(|(_, tree)| tree)
}
