//! Names: of the lab, of its parts, and finding them again.

use std::collections::BTreeSet;

use crate::name::Name;
use crate::problem::{Problem, Problems};
use crate::spec::{Named, Spec, Word};

/// Names that every node's `/etc/hosts` has already.
const TAKEN_HOSTS: [&str; 3] = ["localhost", "ip6-localhost", "ip6-loopback"];

/// The names of one kind of thing.
pub(super) struct Names<'s> {
    kind: &'static str,
    words: BTreeSet<&'s str>,
    in_order: Vec<&'s str>,
    /// Whether there may be others that could not be read.
    open: bool,
}

impl<'s> Names<'s> {
    pub(super) fn new<T>(kind: &'static str, named: &'s Named<T>, open: bool) -> Self {
        let in_order: Vec<&str> = named.iter().map(|(word, _)| word.value.as_str()).collect();
        Self { kind, words: in_order.iter().copied().collect(), in_order, open }
    }

    /// Whether there may be others, which could not be read.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether `word` is one of them.
    pub(super) fn has(&self, word: &Word) -> bool {
        self.words.contains(word.value.as_str())
    }

    /// All of them, in the order written.
    pub(super) fn words(&self) -> impl Iterator<Item = &'s str> {
        self.in_order.iter().copied()
    }

    /// The name that `word` says, if there is such a thing.
    pub(super) fn find(&self, word: &Word, problems: &mut Problems) -> Option<Name> {
        if self.words.contains(word.value.as_str()) {
            // A name that is none has its own problem where it is given.
            return Name::new(word).ok();
        }
        if !self.open {
            problems.unknown(self.kind, word, self.in_order.iter().copied());
        }
        None
    }
}

/// The lab's name.
pub(super) fn lab(spec: &Spec, default_name: &str, problems: &mut Problems) -> Option<Name> {
    if let Some(word) = &spec.name {
        return part("lab", word, problems);
    }
    let name = Name::new(default_name);
    if let Err(error) = &name {
        let message = format!("the lab has no name, and {default_name:?} cannot be one: {error}");
        let name = tidy(default_name).unwrap_or_else(|| "lab".to_owned());
        problems.add(Problem::new(message).hint(format!("write name: {name}")));
    }
    name.ok()
}

/// The name of a part of the lab.
pub(super) fn part(kind: &str, word: &Word, problems: &mut Problems) -> Option<Name> {
    match Name::new(word) {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("{:?} is no name for a {kind}: {error}", word.value);
            let mut problem = Problem::new(message).at(word.place);
            problem.hint = tidy(word).map(|name| format!("write {name}"));
            problems.add(problem);
            None
        }
    }
}

/// The name of a node, which is also a host name.
pub(super) fn node(word: &Word, problems: &mut Problems) -> Option<Name> {
    if TAKEN_HOSTS.contains(&word.value.as_str()) {
        let message = format!("a node cannot be called {}", word.value);
        let hint = "every node calls itself that";
        problems.add(Problem::new(message).at(word.place).hint(hint));
        return None;
    }
    part("node", word, problems)
}

/// The nearest name to any words, if they have a letter.
fn tidy(words: &str) -> Option<String> {
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    };
    let name: String = words.chars().map(letter).take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { None } else { Some(name.to_owned()) }
}
