//! Files of variables: `.env`, and what `env_file` names
//! (<https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/>).

use super::interpolate::Variables;
use crate::problem::{Place, Placed, Problem, Problems};

/// Reads a file of variables, in its order. What it says itself can be used further below in it;
/// `variables` go before that.
pub(super) fn read(
    bytes: &[u8],
    file: usize,
    variables: &mut Variables,
    problems: &mut Problems,
) -> Vec<(Placed<String>, Placed<String>)> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let place = Place::of_byte(bytes, error.valid_up_to()).in_file(file);
            problems.at(place, "the file is not UTF-8 text");
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((line, more)) = first_line(rest) {
        let start = text.len() - rest.len();
        rest = more;
        let trimmed = line.trim_start();
        let words = trimmed.strip_prefix("export ").map_or(trimmed, str::trim_start);
        if words.trim_end().is_empty() || words.starts_with('#') {
            continue;
        }
        let begin = start + (line.len() - words.len());
        let place_of = |from: usize, to: usize| Place { end: to, ..Place::of_byte(bytes, from) };
        let Some((name, value)) = words.split_once('=') else {
            let place = place_of(begin, start + line.trim_end().len()).in_file(file);
            let problem = Problem::new("a line without = sets no variable").at(place);
            problems.add(problem.hint("write NAME=value"));
            continue;
        };
        let key_place = place_of(begin, begin + name.trim_end().len()).in_file(file);
        let name = name.trim_end();
        if !is_name(name) {
            problems.at(key_place, format!("{name:?} is no name for a variable"));
            continue;
        }
        let at = begin + (words.len() - value.len());
        let place = place_of(at, start + line.trim_end().len()).in_file(file);
        let value = match quoted(value.trim_start(), &mut rest) {
            Some(Ok(Quoted::Literal(text))) => Some(text),
            Some(Ok(Quoted::Text(text))) => variables.expand(&text, place, problems),
            Some(Err(problem)) => {
                problems.add(problem.at(place));
                None
            }
            None => variables.expand(without_comment(value), place, problems),
        };
        let Some(value) = value else { continue };
        variables.add(name.to_owned(), value.clone());
        found.push((Placed { value: name.to_owned(), place: key_place }, Placed { value, place }));
    }
    found
}

/// The next line without its end, and what is behind it.
fn first_line(text: &str) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    Some(text.split_once('\n').unwrap_or((text, "")))
}

fn is_name(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !word.is_empty() && word.bytes().all(letter)
}

/// A comment has a blank before it.
fn without_comment(value: &str) -> &str {
    let end = value.match_indices('#').find(|(at, _)| value[..*at].ends_with([' ', '\t']));
    let begins = value.trim_start().starts_with('#');
    let value = if begins { "" } else { end.map_or(value, |(at, _)| &value[..at]) };
    value.trim()
}

enum Quoted {
    /// As it is written.
    Literal(String),
    /// With variables in it.
    Text(String),
}

/// A value in quotes, which may go on over further lines of `rest`; nothing if it has no quotes.
fn quoted(value: &str, rest: &mut &str) -> Option<Result<Quoted, Problem>> {
    let quote = value.chars().next().filter(|letter| matches!(letter, '\'' | '"'))?;
    let mut text = String::new();
    let mut line = &value[1..];
    loop {
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if quote == '"' => match letters.next() {
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some(letter @ ('"' | '\\')) => text.push(letter),
                    Some('$') => text.push_str("$$"),
                    Some(letter) => text.extend(['\\', letter]),
                    None => text.push('\\'),
                },
                letter if letter == quote => {
                    let behind = letters.as_str().trim();
                    if !behind.is_empty() && !behind.starts_with('#') {
                        return Some(Err(Problem::new("there is something behind the quotes")));
                    }
                    return Some(Ok(match quote {
                        '"' => Quoted::Text(text),
                        _ => Quoted::Literal(text),
                    }));
                }
                letter => text.push(letter),
            }
        }
        let Some((next, more)) = first_line(rest) else {
            return Some(Err(Problem::new("a quote is not closed")));
        };
        text.push('\n');
        (line, *rest) = (next, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let mut variables = Variables::of([("HOME".to_owned(), "/root".to_owned())].into());
        let found = read(text.as_bytes(), 0, &mut variables, &mut problems);
        let said = problems.finish(&vec![text.to_owned()]);
        assert!(said.is_empty(), "{said:?}");
        found.into_iter().map(|(name, value)| (name.value, value.value)).collect()
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        let text = "# a comment\n\nexport A=1\r\nB = two words # and a comment\nC='$HOME'\n\
                    D=\"$HOME/${A}\\n\"\nE=\nF=a#b\nG=\"x\ny\" # more\nH=$B\n";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "$HOME"),
            ("D", "/root/1\n"),
            ("E", ""),
            ("F", "a#b"),
            ("G", "x\ny"),
            ("H", "two words"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(lines(text), expected);
    }

    #[test]
    fn mistakes_have_their_places() {
        let text = "A=1\n  odd\nB=\"x\n";
        let mut problems = Problems::default();
        read(text.as_bytes(), 0, &mut Variables::default(), &mut problems);
        let said: Vec<String> =
            problems.finish(&vec![text.to_owned()]).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "2:3: a line without = sets no variable (write NAME=value)",
                "3:3: a quote is not closed"
            ]
        );
    }
}
