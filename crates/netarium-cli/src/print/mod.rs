//! What is written to the terminal: data to standard output, talk to standard error.
//!
//! Colours are stripped by `anstream` where they are not wanted. Nothing here decides what is told.

mod layers;
pub(crate) mod progress;
pub(crate) mod steps;
pub(crate) mod table;

use std::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style as Paint};
use serde::Serialize;

use crate::args::{Color, Output};

/// Headings.
pub(crate) const HEAD: Paint = Paint::new().bold();
/// What is in order, or comes.
pub(crate) const GOOD: Paint = AnsiColor::Green.on_default();
/// What is not in order, or goes.
pub(crate) const BAD: Paint = AnsiColor::BrightRed.on_default();
/// What changes, or is worth a look.
pub(crate) const WARN: Paint = AnsiColor::Yellow.on_default();
/// What is less important.
pub(crate) const DIM: Paint = Paint::new().dimmed();

/// How results are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// The form of data.
    pub(crate) form: Form,
    /// How much is told.
    pub(crate) talk: Talk,
}

/// The form of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How much is told besides data and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Talk {
    /// Nothing.
    Quiet,
    /// What matters.
    Normal,
    /// Every step.
    Verbose,
}

impl Style {
    /// The style that was asked for. From now on, colours are used as asked.
    pub(crate) fn of(output: Output) -> Self {
        match output.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        let talk = match (output.quiet, output.verbose) {
            (true, _) => Talk::Quiet,
            (_, true) => Talk::Verbose,
            _ => Talk::Normal,
        };
        Self { form: if output.json { Form::Json } else { Form::Text }, talk }
    }

    /// Tells something to the person at the terminal, unless they want it quiet.
    pub(crate) fn say(self, text: impl fmt::Display) {
        if self.talk > Talk::Quiet {
            say(text);
        }
    }
}

/// Writes a line to standard error. If nobody can read it, there is nobody to tell.
pub(crate) fn say(text: impl fmt::Display) {
    writeln!(anstream::stderr().lock(), "{text}").ok();
}

/// Writes a line of data to standard output.
///
/// # Errors
/// If it cannot be written: the pipe is closed, or the disk is full.
pub(crate) fn line(text: impl fmt::Display) -> io::Result<()> {
    writeln!(anstream::stdout().lock(), "{text}")
}

/// Writes one JSON document to standard output.
///
/// # Errors
/// As [`line`].
pub(crate) fn json(data: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(data)?;
    text.push(b'\n');
    io::stdout().lock().write_all(&text)
}

/// Writes one line of JSON to standard output.
///
/// # Errors
/// As [`line`].
pub(crate) fn json_line(data: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(data)?;
    text.push(b'\n');
    io::stdout().lock().write_all(&text)
}

/// `1 node`, `2 nodes`.
pub(crate) fn count(number: usize, word: &str) -> String {
    match (number, word.strip_suffix('y')) {
        (1, _) => format!("1 {word}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ if word.ends_with("ss") => format!("{number} {word}es"),
        _ => format!("{number} {word}s"),
    }
}

/// A span of time in the largest unit that says something: `80 ms`, `2.3 s`.
pub(crate) fn span(time: std::time::Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 9.95 {
        format!("{millis:.1} ms")
    } else if millis < 999.5 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", millis / 1e3)
    }
}

/// How long ago it was, `seconds` seconds: `5 s`, `3 min`, `2 h`, `4 d`.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

/// So many bytes in the unit that people read: `12 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    indicatif::HumanBytes(number).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_agree_with_their_words() {
        assert_eq!(count(1, "node"), "1 node");
        assert_eq!(count(0, "node"), "0 nodes");
        assert_eq!(count(3, "authority"), "3 authorities");
        assert_eq!(count(2, "address"), "2 addresses");
    }

    #[test]
    fn times_have_as_many_digits_as_matter() {
        assert_eq!(span(Duration::from_micros(4_230)), "4.2 ms");
        assert_eq!(span(Duration::from_micros(80_400)), "80 ms");
        assert_eq!(span(Duration::from_millis(2_340)), "2.3 s");
        assert_eq!(age(59), "59 s");
        assert_eq!(age(7200), "2 h");
    }
}
