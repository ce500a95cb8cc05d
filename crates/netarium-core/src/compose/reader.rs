//! Tables of Compose files: keys that begin with `x-` may be anywhere, and keys that Netarium has no
//! use for are said one by one.

use crate::problem::{Place, Problem, Problems};
use crate::spec::Word;
use crate::spec::decode::{self, Table};
use crate::spec::tree::{Tree, Value};

/// A table with fixed keys and those that begin with `x-`.
pub(super) struct Keys<'t> {
    table: Table<'t>,
}

impl<'t> Keys<'t> {
    /// Opens `tree` as the table of a `kind` of thing; an empty one if there is nothing.
    pub(super) fn open(
        kind: &'static str,
        tree: &'t Tree,
        problems: &mut Problems,
    ) -> Option<Self> {
        Some(Self { table: Table::open(kind, tree, problems)? })
    }

    /// Where the table is.
    pub(super) fn place(&self) -> Place {
        self.table.place
    }

    /// The value of `key`, if it is there and not empty.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'t Tree> {
        self.table.take(key).filter(|tree| !matches!(tree.value, Value::Nothing))
    }

    /// The scalar of `key`.
    pub(super) fn word(&mut self, key: &'static str, problems: &mut Problems) -> Option<Word> {
        self.take(key).and_then(|tree| decode::word(key, tree, problems))
    }

    /// The scalars of `key`: one, or a list.
    pub(super) fn words(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Word> {
        self.take(key).map_or_else(Vec::new, |tree| decode::words(key, tree, problems))
    }

    /// Whether `key` is `true`.
    pub(super) fn is_true(&mut self, key: &'static str, problems: &mut Problems) -> bool {
        let truth = self.take(key).and_then(|tree| decode::truth(key, tree, problems));
        truth.is_some_and(|truth| truth.value)
    }

    /// Whether `key` was written, and not yet taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.has(key)
    }

    /// Where `key` is said to be `true`, if it is.
    pub(super) fn true_at(&mut self, key: &'static str, problems: &mut Problems) -> Option<Place> {
        let truth = self.take(key).and_then(|tree| decode::truth(key, tree, problems))?;
        truth.value.then_some(truth.place)
    }

    /// Whether `key` is `false`.
    pub(super) fn is_false(&mut self, key: &'static str, problems: &mut Problems) -> bool {
        let truth = self.take(key).and_then(|tree| decode::truth(key, tree, problems));
        truth.is_some_and(|truth| !truth.value)
    }

    /// Passes over keys that change nothing here.
    pub(super) fn pass(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.table.take(key);
        }
    }

    /// Refuses keys that Compose knows and Netarium cannot do, each with what to do about it.
    pub(super) fn refuse(&mut self, keys: &[(&'static str, &str)], problems: &mut Problems) {
        for (key, hint) in keys {
            let Some((word, tree)) = self.table.take_entry(key) else { continue };
            // What is empty or turned off asks for nothing.
            let asks = match &tree.value {
                Value::Nothing => false,
                Value::Scalar(text) => !matches!(text.as_str(), "" | "false" | "0"),
                Value::List(items) => !items.is_empty(),
                Value::Table(entries) => !entries.is_empty(),
            };
            if asks {
                problems.unsupported(unsupported(word, hint));
            }
        }
    }

    /// Closes the table: every other key is unknown.
    pub(super) fn close(mut self, problems: &mut Problems) {
        self.table.forget(|key| key.starts_with("x-"));
        self.table.close(problems);
    }
}

/// The problem that a key is known and not done.
pub(super) fn unsupported(word: &Word, hint: &str) -> Problem {
    let problem = Problem::new(format!("{} is not supported", word.value)).at(word.place);
    let lenient = "--lenient leaves it out";
    if hint.is_empty() { problem.hint(lenient) } else { problem.hint(format!("{hint}; {lenient}")) }
}

/// The same for something else than a key.
pub(super) fn left_out(message: impl Into<String>, place: Place, hint: &str) -> Problem {
    let lenient = "--lenient leaves it out";
    let hint = if hint.is_empty() { lenient.to_owned() } else { format!("{hint}; {lenient}") };
    Problem::new(message).at(place).hint(hint)
}

/// A time: `1m30s`, `500ms`, `1.5s`, in milliseconds.
pub(super) fn duration(key: &str, word: &Word, problems: &mut Problems) -> Option<u32> {
    let milliseconds = milliseconds(word);
    if milliseconds.is_none() {
        let problem = Problem::new(format!("{key} {:?} is no time", word.value)).at(word.place);
        problems.add(problem.hint("write 1m30s, 10s or 500ms"));
    }
    milliseconds
}

fn milliseconds(text: &str) -> Option<u32> {
    const UNITS: [(&str, f64); 6] = [
        ("ms", 1.0),
        ("us", 0.001),
        ("ns", 0.000_001),
        ("h", 3_600_000.0),
        ("m", 60_000.0),
        ("s", 1000.0),
    ];
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let is_digit = |letter: char| letter.is_ascii_digit() || letter == '.';
        let end = rest.find(|letter| !is_digit(letter)).unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        let (unit, length) = UNITS.iter().find(|(unit, _)| rest[end..].starts_with(unit))?;
        total += number * length;
        rest = &rest[end + unit.len()..];
    }
    if !(0.0..=f64::from(u32::MAX)).contains(&total) {
        return None;
    }
    // Less than a millisecond is one, since none would mean something else.
    let whole = if total > 0.0 { total.max(1.0) } else { 0.0 };
    format!("{whole:.0}").parse().ok()
}

/// A number of bytes: `50M`, `1gb`, `512k`, `1024`; units count in steps of 1024.
pub(super) fn bytes(key: &str, word: &Word, problems: &mut Problems) -> Option<u64> {
    let lower = word.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim() {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(10),
        "m" | "mb" | "mib" => Some(20),
        "g" | "gb" | "gib" => Some(30),
        "t" | "tb" | "tib" => Some(40),
        _ => None,
    };
    let number = digits.trim().parse::<u64>().ok();
    let found = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    if found.is_none() {
        let problem = Problem::new(format!("{key} {:?} is no size", word.value)).at(word.place);
        problems.add(problem.hint("write 64m, 1g or a number of bytes"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("1.5s", Some(1500)),
            ("0s", Some(0)),
            ("10us", Some(1)),
            ("10", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("99999999h", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }
}
