//! What is wrong with a lab file, where, and what to do about it.
//!
//! A [`Problem`] is a plain value: it does not print itself with colours or lines of the file.
//! Messages are lower case, without a full stop.

use std::fmt;
use std::ops::{Deref, Range};

use serde::{Deserialize, Serialize};

/// A stretch of a lab file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Which file it is in, where a lab is made from several: its number among [`Texts`].
    #[serde(skip_serializing_if = "is_first")]
    pub file: usize,
    /// The first byte, counted from 0.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// The line of the first byte, counted from 1.
    pub line: usize,
    /// The column of the first byte, in characters, counted from 1.
    pub column: usize,
}

impl Place {
    /// The bytes it covers.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The same place in another file.
    #[must_use]
    pub(crate) fn in_file(self, file: usize) -> Self {
        Self { file, ..self }
    }

    /// The place of a byte in `bytes`, which need not be text.
    pub(crate) fn of_byte(bytes: &[u8], at: usize) -> Self {
        let before = &bytes[..at];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let column = 1 + String::from_utf8_lossy(&before[line_start..]).chars().count();
        Self { file: 0, start: at, end: bytes.len().min(at + 1), line, column }
    }
}

fn is_first(file: &usize) -> bool {
    *file == 0
}

/// The files that a lab is made from, as text. The first is the lab file.
pub trait Texts {
    /// The text of the file with this number.
    fn text(&self, file: usize) -> Option<&str>;
}

impl Texts for Vec<String> {
    fn text(&self, file: usize) -> Option<&str> {
        self.get(file).map(String::as_str)
    }
}

/// A value, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

impl<T> Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Something else that explains a problem, elsewhere in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// Where it is.
    pub place: Place,
    /// What is there.
    pub message: String,
}

/// One mistake in a lab file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// Where it is; nothing if it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// The words at fault as they are written, no more than one line.
    pub words: Option<Box<str>>,
    /// What to do about it.
    pub hint: Option<String>,
    /// What else has to do with it.
    pub note: Option<Box<Note>>,
}

impl Problem {
    /// A problem of the file as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), words: None, hint: None, note: None }
    }

    /// Says where it is.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Points to something else that has to do with it.
    #[must_use]
    pub fn note(mut self, place: Place, message: impl Into<String>) -> Self {
        self.note = Some(Box::new(Note { place, message: message.into() }));
        self
    }
}

/// One line: place, message, and the hint in brackets.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{}:{}: ", place.line, place.column)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// Problems while they are being found.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    warnings: Vec<Problem>,
    leniency: Leniency,
    suggestions: usize,
}

/// What becomes of what another tool knows and Netarium cannot do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leniency {
    /// It is a mistake.
    #[default]
    Strict,
    /// It is left out, and said in a warning.
    Lenient,
}

/// How many suggestions a report can have. Each takes a look at every name there is, and nobody
/// reads on.
const MOST_SUGGESTIONS: usize = 100;

impl Problems {
    /// Keeps a problem.
    pub(crate) fn add(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Keeps a problem that has a place and nothing more to say.
    pub(crate) fn at(&mut self, place: Place, message: impl Into<String>) {
        self.add(Problem::new(message).at(place));
    }

    /// Keeps the problem that `word` is not one of the `known` things of a `kind`.
    pub(crate) fn unknown<'k>(
        &mut self,
        kind: &str,
        word: &Placed<String>,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        let mut problem = Problem::new(format!("unknown {kind} {}", word.value)).at(word.place);
        self.suggestions += 1;
        if self.suggestions <= MOST_SUGGESTIONS {
            problem.hint = suggestion(word, known.into_iter().collect());
        }
        self.add(problem);
    }

    /// Makes what cannot be done a warning or a mistake.
    pub(crate) fn with(leniency: Leniency) -> Self {
        Self { leniency, ..Self::default() }
    }

    /// Whether what is left out is a warning.
    pub(crate) fn is_lenient(&self) -> bool {
        self.leniency == Leniency::Lenient
    }

    /// Keeps what is left out: a mistake, or a warning if that is asked for.
    pub(crate) fn unsupported(&mut self, problem: Problem) {
        match self.leniency {
            Leniency::Strict => self.found.push(problem),
            Leniency::Lenient => self.warnings.push(problem),
        }
    }

    /// Keeps what people should know, and nothing fails for.
    pub(crate) fn warn(&mut self, problem: Problem) {
        self.warnings.push(problem);
    }

    /// All warnings, as [`Problems::finish`] has the mistakes.
    pub(crate) fn take_warnings(&mut self, texts: &impl Texts) -> Vec<Problem> {
        in_order(std::mem::take(&mut self.warnings), texts)
    }

    /// Gives the last problem a hint beside the one that it has, unless that says what was meant.
    pub(crate) fn also_hint(&mut self, hint: impl FnOnce() -> String) {
        if let Some(Problem { hint: Some(first), .. }) = self.found.last_mut()
            && !first.starts_with("did you mean")
        {
            *first = format!("{first}; {}", hint());
        }
    }

    /// How many were found so far.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them in the order of the files, none twice, each with its words taken from `texts`.
    pub(crate) fn finish(self, texts: &impl Texts) -> Vec<Problem> {
        in_order(self.found, texts)
    }
}

fn in_order(mut found: Vec<Problem>, texts: &impl Texts) -> Vec<Problem> {
    found.sort();
    found.dedup();
    for problem in &mut found {
        let text = |place: Place| texts.text(place.file)?.get(place.range());
        let words = problem.place.and_then(text);
        problem.words = words.and_then(|text| text.lines().next()).map(Box::from);
    }
    found
}

/// The known word that was probably meant, or all of them if they are few.
pub fn suggestion(word: &str, known: Vec<&str>) -> Option<String> {
    // Letters that have changed places are the likeliest slip: `form` is `from`, and not `for`.
    let letters = |word: &str| {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    let swapped = |known: &&&str| letters(known) == letters(word) && distance(word, known) == 1;
    if let Some(known) = known.iter().find(swapped) {
        return Some(format!("did you mean {known}?"));
    }
    // People write the beginning of a word, or more of it than there is.
    let longer = |a: &str, b: &str| b.len() >= 3 && a.starts_with(b);
    if let Some(known) = known.iter().find(|known| longer(known, word) || longer(word, known)) {
        return Some(format!("did you mean {known}?"));
    }
    let nearest = known.iter().map(|known| (distance(word, known), known)).min_by_key(|it| it.0);
    match nearest {
        Some((steps, known)) if steps <= 1 + known.len() / 4 && steps < known.len() => {
            Some(format!("did you mean {known}?"))
        }
        Some(_) if known.len() == 1 => Some(format!("there is only {}", known[0])),
        Some(_) if known.len() <= 16 => Some(format!("there are {}", known.join(", "))),
        _ => None,
    }
}

/// How many letters must be inserted, deleted, changed or swapped with their neighbour to get from
/// one word to the other (optimal string alignment distance).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // A word this long is no slip of the fingers, and the table would be large.
    if from.len() > 80 || to.len() > 80 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=to.len()).collect::<Vec<_>>()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let change = rows[i][j] + usize::from(a != b);
            let mut best = change.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_one_step() {
        for (from, to, steps) in
            [("mtu", "mtu", 0), ("mut", "mtu", 1), ("gatway", "gateway", 1), ("", "abc", 3)]
        {
            assert_eq!(distance(from, to), steps, "{from} {to}");
        }
    }

    #[test]
    fn a_byte_has_its_line_and_column() {
        let place = Place::of_byte("ab\nä\u{fffd}c".as_bytes(), 5);
        assert_eq!((place.line, place.column, place.start), (2, 2, 5));
    }
}
