//! The forms in which Compose files can be written, brought to one: lists of `NAME=VALUE` become
//! tables, single words become lists. Only then can files be merged.

use crate::problem::{Placed, Problem, Problems};
use crate::spec::decode;
use crate::spec::tree::{Tree, Value};

/// What can be written in more than one way, and which is kept.
const FORMS: [(&str, Form); 13] = [
    ("environment", Form::Pairs),
    ("labels", Form::Pairs),
    ("annotations", Form::Pairs),
    ("sysctls", Form::Pairs),
    ("depends_on", Form::Names),
    ("networks", Form::Names),
    ("extra_hosts", Form::Hosts),
    ("tmpfs", Form::List),
    ("dns", Form::List),
    ("dns_search", Form::List),
    ("dns_opt", Form::List),
    ("env_file", Form::List),
    ("security_opt", Form::List),
];

#[derive(Clone, Copy)]
enum Form {
    /// A table; a list of `NAME=VALUE` is one too.
    Pairs,
    /// A table; a list of names is one without values.
    Names,
    /// A list of `HOST=ADDRESS`; a table is one too.
    Hosts,
    /// A list; one value is a list of one.
    List,
}

/// Brings all services of a file to one form.
pub(super) fn settle(file: &mut Tree, problems: &mut Problems) {
    let Value::Table(entries) = &mut file.value else { return };
    let services = entries.iter_mut().filter(|(key, _)| key.value == "services");
    for (_, services) in services {
        let Value::Table(services) = &mut services.value else { continue };
        services.iter_mut().for_each(|(_, service)| settle_service(service, problems));
    }
}

fn settle_service(service: &mut Tree, problems: &mut Problems) {
    let Value::Table(entries) = &mut service.value else { return };
    for (key, tree) in entries {
        if key.value == "build" {
            settle_build(tree, problems);
        }
        let form = FORMS.iter().find(|(name, _)| *name == key.value);
        let Some((_, form)) = form else { continue };
        let value = std::mem::replace(&mut tree.value, Value::Nothing);
        tree.value = match (form, value) {
            (Form::Pairs, Value::List(items)) => pairs(&key.value, items, problems),
            (Form::Names, Value::List(items)) => names(&key.value, items, problems),
            (Form::Hosts, Value::Table(entries)) => hosts(entries),
            (Form::List, Value::Scalar(text)) => {
                Value::List(vec![Tree { place: tree.place, value: Value::Scalar(text) }])
            }
            (_, value) => value,
        };
    }
}

/// A build is a table; a folder alone is one too.
fn settle_build(build: &mut Tree, problems: &mut Problems) {
    let place = build.place;
    match std::mem::replace(&mut build.value, Value::Nothing) {
        Value::Scalar(text) => {
            let context = Placed { value: "context".to_owned(), place };
            let tree = Tree { place, value: Value::Scalar(text) };
            build.value = Value::Table(vec![(context, tree)]);
        }
        mut value => {
            let entries =
                if let Value::Table(entries) = &mut value { entries } else { &mut vec![] };
            for (_, tree) in entries.iter_mut().filter(|(key, _)| key.value == "args") {
                tree.value = match std::mem::replace(&mut tree.value, Value::Nothing) {
                    Value::List(items) => pairs("args", items, problems),
                    value => value,
                };
            }
            build.value = value;
        }
    }
}

/// Of two values for one name the later counts, as Compose has it.
fn pairs(key: &str, items: Vec<Tree>, problems: &mut Problems) -> Value {
    let mut entries: Vec<(Placed<String>, Tree)> = Vec::new();
    for item in items {
        let Some(word) = decode::word(key, &item, problems) else { continue };
        let place = item.place;
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Value::Scalar(value.to_owned())),
            None => (word.value, Value::Nothing),
        };
        entries.retain(|(other, _)| other.value != name);
        entries.push((Placed { value: name, place }, Tree { place, value }));
    }
    Value::Table(entries)
}

fn names(key: &str, items: Vec<Tree>, problems: &mut Problems) -> Value {
    let mut entries: Vec<(Placed<String>, Tree)> = Vec::new();
    for item in items {
        let Some(word) = decode::word(key, &item, problems) else { continue };
        if entries.iter().any(|(other, _)| other.value == word.value) {
            problems.add(Problem::new(format!("{} is there twice", word.value)).at(word.place));
            continue;
        }
        let tree = Tree { place: word.place, value: Value::Nothing };
        entries.push((word, tree));
    }
    Value::Table(entries)
}

fn hosts(entries: Vec<(Placed<String>, Tree)>) -> Value {
    let mut items = Vec::new();
    for (name, tree) in entries {
        let addresses = match tree.value {
            Value::List(items) => items,
            _ => vec![tree],
        };
        items.extend(addresses.into_iter().map(|mut item| {
            if let Value::Scalar(address) = &mut item.value {
                *address = format!("{}={address}", name.value);
            }
            item
        }));
    }
    Value::List(items)
}
