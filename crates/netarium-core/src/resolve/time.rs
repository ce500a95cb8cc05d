//! Times, as a lab file writes them: `500ms`, `5s`.

use crate::problem::{Problem, Problems};
use crate::spec::Word;

/// An hour, in milliseconds.
const LONGEST: u32 = 60 * 60 * 1000;

/// A time in milliseconds, `least` of them or more, and an hour at the most.
pub(super) fn time(word: &Word, least: u32, problems: &mut Problems) -> Option<u32> {
    let (digits, unit) = match (word.strip_suffix("ms"), word.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1000),
        (None, None) => ("", 1),
    };
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u32>());
    let time = number.and_then(Result::ok).and_then(|number| number.checked_mul(unit));
    let time = time.filter(|time| (least..=LONGEST).contains(time));
    if time.is_none() {
        let problem = Problem::new(format!("{} is no time", word.value)).at(word.place);
        problems.add(problem.hint("write 5s or 500ms; an hour is the most"));
    }
    time
}
