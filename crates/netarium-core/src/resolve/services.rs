//! Services of a node.

use std::collections::{BTreeMap, BTreeSet};

use super::order::{self, Waiting};
use super::{files, names, process};
use crate::model::{MAIN, Main, Readiness, Restart, Service};
use crate::name::Name;
use crate::problem::{Place, Problem, Problems};
use crate::spec::{self, Ready, Word};

/// The services of a node, in the order written.
pub(super) fn resolve(
    written: &[spec::Service],
    main: Option<&Main>,
    problems: &mut Problems,
) -> Vec<Service> {
    let words = written.iter().map(|service| service.name.value.as_str());
    let words = words.chain(main.map(|_| MAIN)).collect();
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
    process::check_names(main, written, &services, problems);
    let waiting =
        written.iter().map(|it| Waiting { name: &it.name.value, after: it.after.iter().collect() });
    order::check(&waiting.collect::<Vec<_>>(), problems);
    services
}

fn resolve_one(
    written: &spec::Service,
    words: &BTreeSet<&str>,
    problems: &mut Problems,
) -> Option<Service> {
    let name = names::part("service", &written.name, problems);
    process::words(&written.run, problems);
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
    let (name, stop) = (name?, process::stop(&written.stop, problems));
    Some(Service { name, run, environment, folder, user, after, restart, ready, stop })
}

fn earlier(word: &Word, words: &BTreeSet<&str>, problems: &mut Problems) -> Option<Name> {
    if words.contains(word.value.as_str()) {
        return Name::new(word).ok();
    }
    problems.unknown("service", word, words.iter().copied());
    None
}

pub(super) fn environment(
    written: &[(Word, Word)],
    problems: &mut Problems,
) -> BTreeMap<String, String> {
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

pub(super) fn absolute(word: &Word, problems: &mut Problems) -> String {
    if !word.starts_with('/') || word.contains('\0') {
        let problem = Problem::new(format!("{} is no absolute path", word.value)).at(word.place);
        problems.add(problem.hint("it begins with /"));
    }
    word.value.clone()
}

pub(super) fn readiness(
    ready: Option<&Ready>,
    restart: Restart,
    problems: &mut Problems,
) -> Readiness {
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
        Some(Ready::Command(health)) => Readiness::Command(process::health(health, problems)),
    }
}
