//! Several Compose files, or a service and what it extends, made one
//! (<https://docs.docker.com/reference/compose-file/merge/>).
//!
//! Tables are merged key by key, lists are put one behind the other, anything else is replaced. What
//! is merged here has the one form that [`super::form`] brings it to.

use super::ports;
use super::volumes;
use crate::problem::Placed;
use crate::spec::tree::{Tree, Value};

/// One file over another.
pub(super) fn files(base: Tree, over: Tree) -> Tree {
    merge(base, over, &|key| match key {
        "services" => Rule::Each(&|_| Rule::Inside(&in_service)),
        _ => Rule::Inside(&plain),
    })
}

/// A service over another that it extends.
pub(super) fn services(base: Tree, over: Tree) -> Tree {
    merge(base, over, &in_service)
}

/// What becomes of the value of a key that both have.
enum Rule {
    /// What is in it is merged by these rules for its keys.
    Inside(&'static dyn Fn(&str) -> Rule),
    /// The same for tables whose keys are names.
    Each(&'static dyn Fn(&str) -> Rule),
    /// The later one counts.
    Replaced,
    /// A list in which two items with the same mark are one.
    Marked(fn(&Tree) -> Option<String>),
}

fn plain(_: &str) -> Rule {
    Rule::Inside(&plain)
}

fn in_service(key: &str) -> Rule {
    match key {
        "command" | "entrypoint" => Rule::Replaced,
        "healthcheck" => Rule::Inside(&|key| match key {
            "test" => Rule::Replaced,
            _ => plain(key),
        }),
        "volumes" => Rule::Marked(volumes::target_of),
        "ports" => Rule::Marked(ports::mark_of),
        _ => plain(key),
    }
}

fn merge(base: Tree, over: Tree, rules: &dyn Fn(&str) -> Rule) -> Tree {
    let place = over.place;
    match (base.value, over.value) {
        // A key without a value changes nothing.
        (value, Value::Nothing) => Tree { place: base.place, value },
        (Value::Table(base), Value::Table(over)) => {
            Tree { place, value: Value::Table(tables(base, over, rules)) }
        }
        (Value::List(mut base), Value::List(over)) => {
            base.extend(over);
            Tree { place, value: Value::List(base) }
        }
        (_, value) => Tree { place, value },
    }
}

fn tables(
    mut base: Vec<(Placed<String>, Tree)>,
    over: Vec<(Placed<String>, Tree)>,
    rules: &dyn Fn(&str) -> Rule,
) -> Vec<(Placed<String>, Tree)> {
    let known = base.len();
    for (key, tree) in over {
        let same = base[..known].iter().position(|(other, _)| other.value == key.value);
        // What is there twice in one file stays so, to be told.
        let Some(index) = same else {
            base.push((key, tree));
            continue;
        };
        let empty = Tree { place: tree.place, value: Value::Nothing };
        let below = std::mem::replace(&mut base[index].1, empty);
        base[index].1 = match rules(&key) {
            Rule::Inside(rules) | Rule::Each(rules) => merge(below, tree, rules),
            Rule::Replaced if matches!(tree.value, Value::Nothing) => below,
            Rule::Replaced => tree,
            Rule::Marked(mark) => marked(below, tree, mark),
        };
    }
    base
}

/// An item of the later list takes the place of one with the same mark.
fn marked(base: Tree, over: Tree, mark: fn(&Tree) -> Option<String>) -> Tree {
    let place = over.place;
    match (base.value, over.value) {
        (Value::List(mut items), Value::List(over)) => {
            let known = items.len();
            for item in over {
                let own = mark(&item);
                let same = items[..known].iter().position(|it| own.is_some() && mark(it) == own);
                match same {
                    Some(index) => items[index] = item,
                    None => items.push(item),
                }
            }
            Tree { place, value: Value::List(items) }
        }
        (value, Value::Nothing) => Tree { place: base.place, value },
        (_, value) => Tree { place, value },
    }
}
