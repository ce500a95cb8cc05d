//! Variables in Compose files: `$NAME`, `${NAME:-default}` and the other forms, `$$` for a dollar
//! (<https://docs.docker.com/reference/compose-file/interpolation/>).

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::{Place, Problem, Problems};
use crate::spec::tree::{Tree, Value};

/// How deep variables may stand in each other's defaults.
const DEEPEST: usize = 16;

/// The most that one value becomes, in bytes.
const LONGEST: usize = 1 << 20;

/// What variables there are, and which of them were asked for.
#[derive(Debug, Default)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    asked: BTreeSet<String>,
}

impl Variables {
    /// Variables with these values.
    pub(super) fn of(values: BTreeMap<String, String>) -> Self {
        Self { values, asked: BTreeSet::new() }
    }

    /// The value of a variable, if it is set.
    pub(super) fn get(&mut self, name: &str) -> Option<&str> {
        self.asked.insert(name.to_owned());
        self.values.get(name).map(String::as_str)
    }

    /// Sets a variable that is not set yet.
    pub(super) fn add(&mut self, name: String, value: String) {
        self.values.entry(name).or_insert(value);
    }

    /// The same variables for a while: what is set in between is forgotten.
    pub(super) fn lend(&self) -> Self {
        Self { values: self.values.clone(), asked: BTreeSet::new() }
    }

    /// Keeps what the lent ones were asked for.
    pub(super) fn take_back(&mut self, lent: Self) {
        self.asked.extend(lent.asked);
    }

    /// The names of all that were asked for.
    pub(super) fn asked(self) -> BTreeSet<String> {
        self.asked
    }

    /// Puts values in place of the variables in every scalar of a tree; keys stay as they are.
    pub(super) fn fill(&mut self, tree: &mut Tree, problems: &mut Problems) {
        match &mut tree.value {
            Value::Nothing => {}
            Value::Scalar(text) if text.contains('$') => {
                tree.value = match self.expand(text, tree.place, problems) {
                    Some(filled) => Value::Scalar(filled),
                    None => Value::Nothing,
                };
            }
            Value::Scalar(_) => {}
            Value::List(items) => items.iter_mut().for_each(|item| self.fill(item, problems)),
            Value::Table(entries) => {
                entries.iter_mut().for_each(|(_, value)| self.fill(value, problems));
            }
        }
    }

    /// The text with values in place of variables; nothing if it is a mistake.
    pub(super) fn expand(
        &mut self,
        text: &str,
        place: Place,
        problems: &mut Problems,
    ) -> Option<String> {
        let mut filler = Filler { variables: self, rest: text, place, problems };
        match filler.until_end(0) {
            Ok(filled) => Some(filled),
            Err(problem) => {
                problems.add(problem.at(place));
                None
            }
        }
    }
}

/// Goes through one text.
struct Filler<'f> {
    variables: &'f mut Variables,
    rest: &'f str,
    place: Place,
    problems: &'f mut Problems,
}

/// What stands between a variable and the words behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Default,
    Demand,
    Instead,
}

impl Filler<'_> {
    /// Everything up to the end of the text, or of the braces that it is in.
    fn until_end(&mut self, depth: usize) -> Result<String, Problem> {
        if depth > DEEPEST {
            let message = format!("variables stand more than {DEEPEST} deep in each other");
            return Err(Problem::new(message));
        }
        let mut filled = String::new();
        loop {
            let stops: &[char] = if depth > 0 { &['$', '}'] } else { &['$'] };
            let Some(stop) = self.rest.find(stops) else {
                filled.push_str(self.rest);
                self.rest = "";
                return if depth > 0 { Err(open()) } else { Ok(filled) };
            };
            filled.push_str(&self.rest[..stop]);
            let is_brace = self.rest[stop..].starts_with('}');
            self.rest = &self.rest[stop + 1..];
            if is_brace {
                return Ok(filled);
            }
            filled.push_str(&self.variable(depth)?);
            if filled.len() > LONGEST {
                return Err(Problem::new("the variables in this value make it too long"));
            }
        }
    }

    /// What is behind a dollar.
    fn variable(&mut self, depth: usize) -> Result<String, Problem> {
        if let Some(rest) = self.rest.strip_prefix('$') {
            self.rest = rest;
            return Ok("$".to_owned());
        }
        if let Some(rest) = self.rest.strip_prefix('{') {
            self.rest = rest;
            let name = self.name().ok_or_else(stray)?;
            return self.braced(&name, depth);
        }
        let name = self.name().ok_or_else(stray)?;
        Ok(self.plain(&name))
    }

    fn name(&mut self) -> Option<String> {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let end = self.rest.find(|letter| !is_part(letter)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        let begins = name.chars().next().is_some_and(|first| !first.is_ascii_digit());
        self.rest = rest;
        begins.then(|| name.to_owned())
    }

    /// The value of a variable for which nothing stands in.
    fn plain(&mut self, name: &str) -> String {
        if let Some(value) = self.variables.get(name) {
            return value.to_owned();
        }
        let problem = Problem::new(format!("the variable {name} is not set: it counts as empty"));
        self.problems.warn(problem.at(self.place));
        String::new()
    }

    /// What is behind the name in `${NAME…}`.
    fn braced(&mut self, name: &str, depth: usize) -> Result<String, Problem> {
        if let Some(rest) = self.rest.strip_prefix('}') {
            self.rest = rest;
            return Ok(self.plain(name));
        }
        let also_empty = self.rest.starts_with(':');
        let mut letters = self.rest[usize::from(also_empty)..].chars();
        let operator = match letters.next() {
            Some('-') => Operator::Default,
            Some('?') => Operator::Demand,
            Some('+') => Operator::Instead,
            None => return Err(open()),
            Some(_) => return Err(stray()),
        };
        self.rest = letters.as_str();
        let value = self.variables.get(name).map(str::to_owned);
        let value = value.filter(|value| !also_empty || !value.is_empty());
        // What is not used says nothing of variables that are not set.
        let counts = value.is_some() == (operator == Operator::Instead);
        let words = if counts { self.until_end(depth + 1)? } else { self.pass_over(depth + 1)? };
        match (operator, value) {
            (Operator::Default, value) => Ok(value.unwrap_or(words)),
            (Operator::Instead, _) => Ok(words),
            (Operator::Demand, Some(value)) => Ok(value),
            (Operator::Demand, None) => {
                let said = if words.is_empty() { String::new() } else { format!(": {words}") };
                let problem = Problem::new(format!("the variable {name} must be set{said}"));
                Err(problem.hint(format!("write {name}=… before the command, or into .env")))
            }
        }
    }

    /// Goes behind the next closing brace that has no opening one.
    fn pass_over(&mut self, depth: usize) -> Result<String, Problem> {
        let mut open_braces = 1_usize;
        while open_braces > 0 {
            let Some(stop) = self.rest.find(['$', '}']) else { return Err(open()) };
            let rest = &self.rest[stop..];
            let (length, change) = match rest.as_bytes() {
                [b'}', ..] => (1, -1),
                [b'$', b'{', ..] => (2, 1),
                [b'$', b'$', ..] => (2, 0),
                _ => (1, 0),
            };
            self.rest = &rest[length..];
            open_braces = open_braces.saturating_add_signed(change);
            if open_braces + depth > DEEPEST {
                let message = format!("variables stand more than {DEEPEST} deep in each other");
                return Err(Problem::new(message));
            }
        }
        Ok(String::new())
    }
}

fn open() -> Problem {
    Problem::new("a brace of a variable is not closed").hint("write ${NAME} or ${NAME:-default}")
}

fn stray() -> Problem {
    Problem::new("a dollar with no variable behind it").hint("write $$ for a dollar")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<(String, usize), String> {
        let values = [("SET", "x"), ("EMPTY", "")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut problems = Problems::default();
        let filled = Variables::of(values.into()).expand(text, Place::default(), &mut problems);
        let warnings = problems.take_warnings(&vec![]).len();
        match filled {
            Some(filled) => Ok((filled, warnings)),
            None => Err(problems.finish(&vec![])[0].message.clone()),
        }
    }

    #[test]
    fn every_form_of_a_variable_is_known() {
        for (text, filled, warnings) in [
            ("a$SET-${SET}b", "ax-xb", 0),
            ("$UNSET", "", 1),
            ("${UNSET}${UNSET}", "", 1),
            ("${UNSET:-d}${UNSET-d}${EMPTY:-d}${EMPTY-d}", "ddd", 0),
            ("${SET:-$UNSET}", "x", 0),
            ("${SET:+a}${SET+a}${EMPTY:+a}${EMPTY+a}${UNSET+a}", "aaa", 0),
            ("${SET:?no}${EMPTY?no}", "x", 0),
            ("${UNSET:-${OTHER:-${SET}}}!", "x!", 0),
            ("${SET:-${OTHER:-}}}", "x}", 0),
            ("$$SET $${SET}", "$SET ${SET}", 0),
            ("${UNSET-a}}", "a}", 0),
            ("}", "}", 0),
        ] {
            assert_eq!(expand(text), Ok((filled.to_owned(), warnings)), "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_told() {
        for (text, message) in [
            ("$(date)", "a dollar with no variable behind it"),
            ("100$", "a dollar with no variable behind it"),
            ("${SET", "a brace of a variable is not closed"),
            ("${UNSET:-${SET}", "a brace of a variable is not closed"),
            ("${1}", "a dollar with no variable behind it"),
            ("${SET!x}", "a dollar with no variable behind it"),
            ("${UNSET:?say it}", "the variable UNSET must be set: say it"),
            ("${EMPTY:?}", "the variable EMPTY must be set"),
        ] {
            assert_eq!(expand(text), Err(message.to_owned()), "{text}");
        }
        let deep = "${U:-".repeat(100);
        assert!(expand(&deep).unwrap_err().contains("deep"));
        let deep = "${SET:-".repeat(100);
        assert!(expand(&deep).unwrap_err().contains("deep"));
    }
}
