//! What comes after what, and that nothing comes after itself.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Names;
use crate::model::{Condition, Node, Restart};
use crate::name::Name;
use crate::problem::{Problem, Problems};
use crate::spec::{self, Spec, Word};

/// Something with a name, and the names of those that it comes after. Names that nothing has are
/// passed over: they have a problem of their own.
pub(crate) struct Waiting<'s> {
    pub(crate) name: &'s str,
    pub(crate) after: Vec<&'s Word>,
}

/// The nodes that a node comes after. One that is only named must be ready.
pub(super) fn after(
    written: &spec::After,
    nodes: &Names<'_>,
    problems: &mut Problems,
) -> BTreeMap<Name, Condition> {
    let mut after = BTreeMap::new();
    for (word, condition) in written {
        let Some(name) = nodes.find(word, problems) else { continue };
        let condition = condition.as_ref().map_or(Condition::Healthy, |it| it.value);
        if after.insert(name, condition).is_some() {
            problems.at(word.place, format!("{} is there twice", word.value));
        }
    }
    after
}

/// Looks at the order of all nodes.
pub(super) fn check_nodes(spec: &Spec, nodes: &BTreeMap<Name, Node>, problems: &mut Problems) {
    let mut waiting = Vec::new();
    for (name, node) in &spec.nodes {
        let Some(node) = node else { continue };
        for (word, condition) in &node.after {
            let other = Name::new(word).ok().and_then(|name| nodes.get(&name));
            let (Some(condition), Some(other)) = (condition, other) else { continue };
            if condition.value == Condition::Completed
                && let Some(problem) = never_done(word, other)
            {
                problems.add(problem.at(condition.place));
            }
        }
        let after = node.after.iter().map(|(word, _)| word).collect();
        waiting.push(Waiting { name, after });
    }
    check(&waiting, problems);
}

/// Why a node cannot have done its work.
fn never_done(word: &Word, node: &Node) -> Option<Problem> {
    let restarts = node.main.as_ref().is_some_and(|main| main.restart == Restart::Always);
    let may_run = node.main.is_some() || node.image.is_foreign() && node.services.is_empty();
    if !may_run {
        let message = format!("{} runs nothing of its own that could be done", word.value);
        return Some(Problem::new(message).hint("what its key command runs would be that"));
    }
    restarts.then(|| {
        let message = format!("{} is always started again, so it is never done", word.value);
        Problem::new(message).hint("write restart: never there")
    })
}

/// Nothing can come after itself: all are taken away that come after nothing which is still there;
/// what stays is in a circle, or comes after one.
pub(crate) fn check(all: &[Waiting<'_>], problems: &mut Problems) {
    let known: BTreeSet<&str> = all.iter().map(|it| it.name).collect();
    let mut left: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut followers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for it in all {
        let after = it.after.iter().map(|word| word.value.as_str());
        let after: BTreeSet<&str> = after.filter(|name| known.contains(name)).collect();
        for name in &after {
            followers.entry(name).or_default().push(it.name);
        }
        left.insert(it.name, after);
    }
    let mut gone: Vec<&str> =
        left.iter().filter(|(_, after)| after.is_empty()).map(|(name, _)| *name).collect();
    while let Some(name) = gone.pop() {
        left.remove(name);
        for next in followers.get(name).into_iter().flatten() {
            if let Some(after) = left.get_mut(next) {
                after.remove(name);
                if after.is_empty() {
                    gone.push(next);
                }
            }
        }
    }
    if let Some(start) = left.keys().next() {
        problems.add(circular(&circle(start, &left), all));
    }
}

/// The problem that these wait for each other, at what the first of them comes after.
fn circular(circle: &[&str], all: &[Waiting<'_>]) -> Problem {
    let problem = match circle {
        [one] => Problem::new(format!("{one} waits for itself")),
        _ => Problem::new(format!("{} wait for each other", circle.join(", "))),
    };
    let first = all.iter().find(|it| circle.first() == Some(&it.name));
    let next = circle.get(1).or(circle.first());
    let word = first.and_then(|it| it.after.iter().find(|word| Some(&word.value.as_str()) == next));
    match word {
        Some(word) => problem.at(word.place),
        None => problem,
    }
}

/// Those of one circle, from those that are in one or come after one.
fn circle<'s>(start: &'s str, left: &BTreeMap<&'s str, BTreeSet<&'s str>>) -> Vec<&'s str> {
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
