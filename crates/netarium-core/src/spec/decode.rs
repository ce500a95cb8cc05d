//! Taking a [`Tree`] apart, and going on after every mistake.
//!
//! Every function here returns what can be used and puts what is wrong among the problems.

use std::collections::BTreeMap;

use super::Word;
use super::tree::{Tree, Value};
use crate::problem::{Place, Placed, Problem, Problems, suggestion};

/// A table with fixed keys.
pub(crate) struct Table<'t> {
    kind: &'static str,
    pub(crate) place: Place,
    entries: Vec<(&'t Word, &'t Tree)>,
    present: Vec<&'t str>,
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// Opens `tree` as the table of a `kind` of thing; an empty one if there is nothing.
    pub(crate) fn open(
        kind: &'static str,
        tree: &'t Tree,
        problems: &mut Problems,
    ) -> Option<Self> {
        let entries = match &tree.value {
            Value::Nothing => Vec::new(),
            Value::Table(entries) => without_repeats(entries, problems, |key| {
                Problem::new(format!("the key {key} is there twice"))
            }),
            _ => {
                problems.at(tree.place, format!("{kind} must be a table, not {}", form(tree)));
                return None;
            }
        };
        let present = entries.iter().map(|(word, _)| word.value.as_str()).collect();
        Some(Self { kind, place: tree.place, entries, present, known: Vec::new() })
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// Whether `key` was written, whatever became of its value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.present.contains(&key)
    }

    /// Those of `keys` that were written, in the order written.
    pub(crate) fn in_order(&self, keys: &[&'static str]) -> Vec<&'static str> {
        let known = |word: &&str| keys.iter().copied().find(|key| key == word);
        self.present.iter().filter_map(known).collect()
    }

    /// The value of `key`, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'t Tree> {
        self.known.push(key);
        let index = self.entries.iter().position(|(word, _)| word.value == key)?;
        Some(self.entries.remove(index).1)
    }

    /// The value of `key` and the key as it is written, if it is there.
    pub(crate) fn take_entry(&mut self, key: &'static str) -> Option<(&'t Word, &'t Tree)> {
        self.known.push(key);
        let index = self.entries.iter().position(|(word, _)| word.value == key)?;
        Some(self.entries.remove(index))
    }

    /// Passes over all keys that are like that.
    pub(crate) fn forget(&mut self, is_like_that: impl Fn(&str) -> bool) {
        self.entries.retain(|(word, _)| !is_like_that(word));
    }

    /// The value of a key that must be there.
    pub(crate) fn need(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'t Tree> {
        let value = self.take(key);
        if value.is_none() {
            problems.at(self.place, format!("{} has no {key}", self.kind));
        }
        value
    }

    /// The words of a key that has one value, or of its twin that has many.
    pub(crate) fn take_words(
        &mut self,
        one: &'static str,
        many: &'static str,
        problems: &mut Problems,
    ) -> Vec<Word> {
        let (first, second) = (self.take(one), self.take(many));
        if let (Some(_), Some(tree)) = (first, second) {
            problems.at(tree.place, format!("{one} and {many} are one and the same: write one"));
        }
        [first.map(|tree| (one, tree)), second.map(|tree| (many, tree))]
            .into_iter()
            .flatten()
            .flat_map(|(key, tree)| words(key, tree, problems))
            .collect()
    }

    /// Closes the table: every key that nobody asked for is unknown.
    pub(crate) fn close(self, problems: &mut Problems) {
        for (word, _) in self.entries {
            let message = format!("unknown key {} in {}", word.value, self.kind);
            let mut problem = Problem::new(message).at(word.place);
            problem.hint = suggestion(word, self.known.clone());
            problems.add(problem);
        }
    }
}

/// The entries of a table whose keys are the names of a `kind` of thing.
pub(crate) fn entries<'t>(
    kind: &str,
    tree: &'t Tree,
    problems: &mut Problems,
) -> Option<Vec<(&'t Word, &'t Tree)>> {
    match &tree.value {
        Value::Nothing => Some(Vec::new()),
        Value::Table(entries) => {
            let repeat = |name: &str| Problem::new(format!("two {kind}s are called {name}"));
            Some(without_repeats(entries, problems, repeat))
        }
        _ => {
            let message = format!("{kind}s must be a table, not {}", form(tree));
            problems.add(Problem::new(message).at(tree.place).hint("write {name: …}"));
            None
        }
    }
}

/// The items of a list.
pub(crate) fn list<'t>(key: &str, tree: &'t Tree, problems: &mut Problems) -> &'t [Tree] {
    match &tree.value {
        Value::Nothing => &[],
        Value::List(items) => items,
        _ => {
            let message = format!("{key} must be a list, not {}", form(tree));
            problems.add(Problem::new(message).at(tree.place).hint("write [one, two]"));
            &[]
        }
    }
}

/// A scalar as text.
pub(crate) fn word(key: &str, tree: &Tree, problems: &mut Problems) -> Option<Word> {
    match &tree.value {
        Value::Scalar(text) => Some(Placed { value: text.clone(), place: tree.place }),
        Value::Nothing => {
            problems.at(tree.place, format!("{key} has no value"));
            None
        }
        _ => {
            problems.at(tree.place, format!("{key} must be one value, not {}", form(tree)));
            None
        }
    }
}

/// One scalar or a list of them.
pub(crate) fn words(key: &str, tree: &Tree, problems: &mut Problems) -> Vec<Word> {
    match &tree.value {
        Value::List(items) => items.iter().filter_map(|item| word(key, item, problems)).collect(),
        _ => word(key, tree, problems).into_iter().collect(),
    }
}

/// A whole number.
pub(crate) fn number<T: TryFrom<u64>>(
    key: &str,
    tree: &Tree,
    problems: &mut Problems,
) -> Option<Placed<T>> {
    let word = word(key, tree, problems)?;
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.parse::<u64>().ok().filter(|_| digits).and_then(|it| T::try_from(it).ok());
    if number.is_none() {
        let fault = if digits { "is too large" } else { "is no whole number" };
        problems.at(word.place, format!("{key} {} {fault}", word.value));
    }
    Some(Placed { value: number?, place: word.place })
}

/// `true` or `false`.
pub(crate) fn truth(key: &str, tree: &Tree, problems: &mut Problems) -> Option<Placed<bool>> {
    let word = word(key, tree, problems)?;
    let value = match word.value.as_str() {
        "true" => true,
        "false" => false,
        other => {
            problems.at(word.place, format!("{key} is true or false, not {other}"));
            return None;
        }
    };
    Some(Placed { value, place: word.place })
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(
    key: &str,
    tree: &Tree,
    choices: &[(&str, T)],
    problems: &mut Problems,
) -> Option<Placed<T>> {
    let word = word(key, tree, problems)?;
    match choices.iter().find(|(text, _)| *text == word.value) {
        Some((_, value)) => Some(Placed { value: *value, place: word.place }),
        None => {
            problems.unknown(key, &word, choices.iter().map(|(text, _)| *text));
            None
        }
    }
}

/// The entries without those whose key was there before, which are problems.
pub(crate) fn without_repeats<'t>(
    entries: &'t [(Word, Tree)],
    problems: &mut Problems,
    repeat: impl Fn(&str) -> Problem,
) -> Vec<(&'t Word, &'t Tree)> {
    let mut first: BTreeMap<&str, Place> = BTreeMap::new();
    let mut kept = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        match first.get(key.as_str()) {
            Some(&place) => {
                problems.add(repeat(key).at(key.place).note(place, "the first is here"))
            }
            None => {
                first.insert(key, key.place);
                kept.push((key, value));
            }
        }
    }
    kept
}

/// What a value is, in words.
pub(crate) fn form(tree: &Tree) -> &'static str {
    match &tree.value {
        Value::Nothing => "nothing",
        Value::Scalar(_) => "one value",
        Value::List(_) => "a list",
        Value::Table(_) => "a table",
    }
}
