//! Services of a node.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, names};
use crate::model::{Readiness, Restart, Service, Stop};
use crate::name::Name;
use crate::problem::{Place, Problem, Problems};
use crate::spec::{self, Ready, Word};

/// The services of a node, in the order written.
pub(super) fn resolve(written: &[spec::Service], problems: &mut Problems) -> Vec<Service> {
    let words = written.iter().map(|service| service.name.value.as_str()).collect();
    let mut first: BTreeMap<&str, Place> = BTreeMap::new();
    let mut services = Vec::new();
    for service in written {
        if let Some(&place) = first.get(service.name.value.as_str()) {
            let message = format!("two services are called {}", service.name.value);
            let problem = Problem::new(message).at(service.name.place);
            problems.add(problem.note(place, "the first is here"));
            continue;
        }
        first.insert(&service.name, service.name.place);
        services.extend(resolve_one(service, &words, problems));
    }
    check_order(written, &services, problems);
    services
}

fn resolve_one(
    written: &spec::Service,
    words: &BTreeSet<&str>,
    problems: &mut Problems,
) -> Option<Service> {
    let name = names::part("service", &written.name, problems);
    if let Some(program) = written.run.first().filter(|program| program.is_empty()) {
        problems.at(program.place, "the program to run has no name");
    }
    for word in written.run.iter().filter(|word| word.contains('\0')) {
        problems.at(word.place, "an argument cannot have a NUL character in it");
    }
    let environment = environment(&written.env, problems);
    let after = written.after.iter().filter_map(|word| earlier(word, words, problems)).collect();
    let folder = match &written.folder {
        Some(word) => absolute(word, problems),
        None => "/".to_owned(),
    };
    let user = written.user.as_ref().and_then(|word| files::user("user", word, problems));
    let restart = written.restart.as_ref().map_or(Restart::OnFailure, |restart| restart.value);
    let ready = readiness(written.ready.as_ref(), restart, problems);
    let run = written.run.iter().map(|word| word.value.clone()).collect();
    let (name, stop) = (name?, Stop::default());
    Some(Service { name, run, environment, folder, user, after, restart, ready, stop })
}

fn earlier(word: &Word, words: &BTreeSet<&str>, problems: &mut Problems) -> Option<Name> {
    if words.contains(word.value.as_str()) {
        return Name::new(word).ok();
    }
    problems.unknown("service", word, words.iter().copied());
    None
}

fn environment(written: &[(Word, Word)], problems: &mut Problems) -> BTreeMap<String, String> {
    for (key, value) in written {
        if key.is_empty() || key.contains(['=', '\0']) {
            problems.at(key.place, format!("{:?} is no name for a variable", key.value));
        }
        if value.contains('\0') {
            problems.at(value.place, "a variable cannot have a NUL character in it");
        }
    }
    written.iter().map(|(key, value)| (key.value.clone(), value.value.clone())).collect()
}

fn absolute(word: &Word, problems: &mut Problems) -> String {
    if !word.starts_with('/') || word.contains('\0') {
        let problem = Problem::new(format!("{} is no absolute path", word.value)).at(word.place);
        problems.add(problem.hint("it begins with /"));
    }
    word.value.clone()
}

fn readiness(ready: Option<&Ready>, restart: Restart, problems: &mut Problems) -> Readiness {
    match ready {
        None | Some(Ready::Started) => Readiness::Started,
        Some(Ready::Done(word)) => {
            if restart == Restart::Always {
                let problem = Problem::new("a service that is always restarted is never done");
                problems.add(problem.at(word.place).hint("write restart: never"));
            }
            Readiness::Done
        }
        Some(Ready::Tcp(port)) => {
            if port.value == 0 {
                problems.at(port.place, "there is no TCP port 0");
            }
            Readiness::Tcp(port.value)
        }
        Some(Ready::Unix(path)) => Readiness::Unix(absolute(path, problems)),
        Some(Ready::File(path)) => Readiness::File(absolute(path, problems)),
    }
}

/// Nothing can come after itself: services are taken away as soon as all that they come after are
/// gone; what stays is in a circle, or comes after one.
fn check_order(written: &[spec::Service], services: &[Service], problems: &mut Problems) {
    let known: BTreeSet<&Name> = services.iter().map(|service| &service.name).collect();
    let mut left: BTreeMap<&Name, BTreeSet<&Name>> = BTreeMap::new();
    let mut waiting: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
    for service in services {
        // What is not there has its own problem.
        let after: BTreeSet<&Name> =
            service.after.iter().filter(|name| known.contains(name)).collect();
        for name in &after {
            waiting.entry(name).or_default().push(&service.name);
        }
        left.insert(&service.name, after);
    }
    let mut gone: Vec<&Name> =
        left.iter().filter(|(_, after)| after.is_empty()).map(|(name, _)| *name).collect();
    while let Some(name) = gone.pop() {
        left.remove(name);
        for next in waiting.get(name).into_iter().flatten() {
            if let Some(after) = left.get_mut(next) {
                after.remove(name);
                if after.is_empty() {
                    gone.push(next);
                }
            }
        }
    }
    if let Some(start) = left.keys().next() {
        problems.add(circular(&circle(start, &left), written));
    }
}

/// The problem that these services wait for each other, at what the first of them comes after.
fn circular(circle: &[&Name], written: &[spec::Service]) -> Problem {
    let words: Vec<&str> = circle.iter().map(|name| name.as_str()).collect();
    let problem = match words.as_slice() {
        [one] => Problem::new(format!("{one} waits for itself")),
        _ => Problem::new(format!("{} wait for each other", words.join(", "))),
    };
    let first = written.iter().find(|service| words.first() == Some(&service.name.value.as_str()));
    let next = words.get(1).or(words.first());
    let word = first
        .and_then(|service| service.after.iter().find(|word| Some(&word.value.as_str()) == next));
    match word {
        Some(word) => problem.at(word.place),
        None => problem,
    }
}

/// The services of one circle, from those that are in one or come after one.
fn circle<'s>(start: &'s Name, left: &BTreeMap<&'s Name, BTreeSet<&'s Name>>) -> Vec<&'s Name> {
    let mut path = vec![start];
    loop {
        let last = path[path.len() - 1];
        let next = left[last].iter().find(|name| left.contains_key(*name)).copied();
        let Some(next) = next else { return path };
        if let Some(index) = path.iter().position(|name| *name == next) {
            return path.split_off(index);
        }
        path.push(next);
    }
}
