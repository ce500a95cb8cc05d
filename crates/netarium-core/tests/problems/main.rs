//! The words and places of problems: one line of file, and what is said about it.

#![expect(clippy::too_many_lines, reason = "a table of cases is as long as it is")]

/// Three nodes that share a segment, one apart, one with IPv6 only.
macro_rules! base {
    () => {
        concat!(
            "segments: {a: 10.0.0.0/24, b: 10.1.0.0/24, c: 10.2.0.0/24, s: \"fd00::/64\"}\n",
            "nodes: {x: {interfaces: {a: 10.0.0.1}}, y: {interfaces: {a: 10.0.0.2}}, ",
            "lonely: {interfaces: {b: 10.1.0.1}}, twice: {interfaces: {a: [10.0.0.3, 10.0.0.4]}}, ",
            "six: {interfaces: {s: \"fd00::1\"}}}"
        )
    };
}

mod checks;
mod engine_network;
mod files;
mod firewall;
mod form;
#[path = "../pretend/mod.rs"]
mod pretend;
mod process;
mod running;
mod uplink;
mod wireguard;
mod wiring;

use netarium_core::problem::Problem;
use pretend::load;

fn problems(bytes: &[u8]) -> Vec<Problem> {
    load(bytes, "test").err().unwrap_or_default()
}

/// Asserts that each lab file has exactly these problems.
fn assert_said(cases: &[(&str, &[&str])]) {
    let mut wrong = String::new();
    for (yaml, expected) in cases {
        let said: Vec<String> = problems(yaml.as_bytes()).iter().map(ToString::to_string).collect();
        if said != *expected {
            wrong.push_str(&format!("{yaml}\nsays {said:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_file_that_is_too_large_is_not_parsed() {
    let said = problems(&vec![b'['; 10 * 1024 * 1024]);
    let expected = "the file has 10485760 bytes, and a lab file has at most 1048576 (1 MiB)";
    assert_eq!(said.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_file_that_is_no_text_is_refused_with_the_place_of_the_first_wrong_byte() {
    let said = problems(b"nodes:\n  on\xffe: {}\n");
    assert_eq!(said[0].to_string(), "2:5: the file is not UTF-8 text");
}

#[test]
fn deep_nesting_is_refused() {
    for yaml in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(10_000)] {
        let said = problems(yaml.as_bytes());
        assert_eq!(said.len(), 1);
        assert!(said[0].message.contains("more than 32 deep"), "{}", said[0]);
    }
}

#[test]
fn aliases_that_explode_are_refused_before_they_do() {
    let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let last = level - 1;
        let aliases = vec![format!("*a{last}"); 10].join(", ");
        yaml.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let said = problems(yaml.as_bytes());
    assert_eq!(said[0].message, "the aliases of this file copy more than 100000 values");
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..1000 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(problems(chain.as_bytes())[0].message.contains("more than 32 deep"));
}

#[test]
fn a_problem_knows_the_words_at_fault_and_what_else_has_to_do_with_it() {
    let yaml = "nodes:\n  one: {}\n  one: {imagine: x}\n";
    let said = problems(yaml.as_bytes());
    assert_eq!(said[0].words.as_deref(), Some("one"));
    let place = said[0].place.unwrap();
    assert_eq!(&yaml[place.range()], "one");
    assert_eq!(said[0].note.as_ref().map(|note| note.place.line), Some(2));
}
