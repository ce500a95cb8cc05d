//! What services wrote last: shown where a check fails.
//!
//! Programs in nodes write what they like, so that lines are cut and have nothing in them that a
//! terminal would obey.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use netarium_core::ipsec;
use netarium_core::model::{Check, Model, Probe};
use netarium_core::name::Name;
use serde::Serialize;

use crate::lab::Lab;

/// How many lines of each service are shown.
const LINES: usize = 10;

/// The longest line, in letters.
const LONGEST: usize = 300;

/// How much of the end of a log is looked at, in bytes.
const LOOKED_AT: u64 = 16 * 1024;

/// What a service of a node wrote last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogTail {
    /// The node.
    pub node: Name,
    /// The service.
    pub service: Name,
    /// Its last lines, the newest last.
    pub lines: Vec<String>,
}

/// What services of the nodes that a check has to do with wrote last: of a tunnel its daemons, else
/// all services of who asks, who is asked and who looks.
pub(super) fn of_check(lab: &Lab, model: &Model, check: &Check) -> Vec<LogTail> {
    let daemon = ipsec::service_name();
    let of_daemon = matches!(check.probe, Probe::Tunnel { .. }).then_some(&daemon);
    let nodes = concerned(model, &check.probe);
    nodes.into_iter().flat_map(|node| of_node(lab, node, of_daemon)).collect()
}

fn of_node(lab: &Lab, node: &Name, only: Option<&Name>) -> Vec<LogTail> {
    // A node that does not run may have left logs, and one without any has nothing to say.
    let files = lab.logs(node, None).unwrap_or_default();
    let wanted = files.into_iter().filter(|file| only.is_none_or(|only| *only == file.service));
    let tail = |file: crate::session::LogFile| {
        let lines = tail(&file.path).unwrap_or_default();
        let fresh = LogTail { node: node.clone(), service: file.service, lines };
        (!fresh.lines.is_empty()).then_some(fresh)
    };
    wanted.filter_map(tail).collect()
}

/// The nodes that a check has to do with, each once.
fn concerned<'a>(model: &'a Model, probe: &'a Probe) -> Vec<&'a Name> {
    let mut nodes: Vec<&Name> = match probe {
        Probe::Tunnel { between, .. } => between.iter().collect(),
        Probe::Isolated { node, .. } => vec![node],
        _ => Vec::new(),
    };
    if let Some((from, to)) = probe.question() {
        let has = |(_, node): &(&Name, &netarium_core::model::Node)| {
            let addresses = node.interfaces.iter().flat_map(|it| &it.addresses);
            addresses.into_iter().any(|address| address.addr() == to)
        };
        nodes.push(from);
        nodes.extend(model.nodes.iter().filter(has).map(|(name, _)| name));
        nodes.extend(probe.source().map(|source| &source.seen_by));
    }
    let mut seen = std::collections::BTreeSet::new();
    nodes.retain(|node| seen.insert(*node));
    nodes
}

fn tail(path: &Path) -> std::io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOOKED_AT)))?;
    let mut bytes = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut bytes)?;
    Ok(last_lines(&bytes))
}

fn last_lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(|line| shown(line)).collect()
}

/// A line cut to length, with nothing in it but what can be seen.
fn shown(line: &str) -> String {
    let mut letters = line.trim_end().chars();
    let mut text = String::new();
    for letter in letters.by_ref().take(LONGEST) {
        match letter {
            '\t' => text.push(' '),
            letter if is_hidden(letter) => text.extend(letter.escape_default()),
            letter => text.push(letter),
        }
    }
    if letters.next().is_some() {
        text.push('…');
    }
    text
}

/// Whether a letter changes how others are shown: control characters, and those that turn the
/// direction of writing around (Unicode UAX #9).
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_shown() {
        let text: String = (0..30).map(|number| format!("line {number}\n\n")).collect();
        let lines = last_lines(text.as_bytes());
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines.first().map(String::as_str), Some("line 20"));
        assert_eq!(lines.last().map(String::as_str), Some("line 29"));
        assert_eq!(last_lines(b""), Vec::<String>::new());
    }

    #[test]
    fn a_line_cannot_command_the_terminal() {
        assert_eq!(shown("a\x1b[2Jb\tc\u{202e}d\r"), "a\\u{1b}[2Jb c\\u{202e}d");
        let long = shown(&"ä".repeat(1000));
        assert_eq!(long, format!("{}…", "ä".repeat(LONGEST)));
        assert_eq!(last_lines(b"\xff\n"), ["\u{fffd}"]);
    }

    #[test]
    fn who_asks_who_is_asked_and_who_looks_have_to_do_with_a_check() {
        let lab = "
name: three
segments: {lan: 10.0.0.0/24}
nodes:
  a: {interfaces: {lan: 10.0.0.1}}
  b: {interfaces: {lan: 10.0.0.2}}
  c: {interfaces: {lan: 10.0.0.3}}
checks:
  - {from: a, ping: b, source: a, seen-by: c}
  - {from: a, ping: 10.0.0.9, expect: blocked}
  - {from: a, ping: 10.0.0.1}
  - {on: lan, only: [icmp]}
";
        let model = netarium_core::resolve::load(lab.as_bytes(), "three").unwrap();
        let words = |check: &Check| {
            let nodes = concerned(&model, &check.probe);
            nodes.iter().map(|node| node.as_str()).collect::<Vec<_>>().join(" ")
        };
        let all: Vec<String> = model.checks.iter().map(words).collect();
        assert_eq!(all, ["a b c", "a", "a", ""]);
    }
}
