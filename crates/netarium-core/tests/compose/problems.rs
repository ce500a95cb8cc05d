//! The words and places of problems: one line of Compose file, and what is said about it.

#![expect(clippy::too_many_lines, reason = "a table of cases is as long as it is")]

use super::Files;

/// Asserts that a service, or a file in whole, has exactly these problems.
fn assert_said(cases: &[(&str, &[&str])], said: impl Fn(Files) -> Vec<String>) {
    let mut wrong = String::new();
    for (text, expected) in cases {
        let whole = match text.strip_prefix("service ") {
            Some(service) => format!("services: {{a: {{image: x, {service}}}}}"),
            None => (*text).to_owned(),
        };
        let found = said(Files::of(&whole));
        if found != *expected {
            wrong.push_str(&format!("{whole}\nsays {found:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn mistakes_are_told_with_their_places() {
    assert_said(&[("[]", &["1:1: a Compose file must be a table"])], Files::mistakes);
}

#[test]
fn what_people_should_know_is_a_warning() {
    assert_said(
        &[(
            "service network_mode: bridge, networks: [default]",
            &["1:40: network_mode counts for nothing beside networks (leave it out)"],
        )],
        Files::warnings,
    );
}

#[test]
fn what_is_not_supported_is_a_warning_where_that_is_asked_for() {
    assert_said(
        &[(
            "service ulimits: {nofile: 10}",
            &["1:26: ulimits is not supported (--lenient leaves it out)"],
        )],
        |files| files.lenient().warnings(),
    );
    let text = "services: {a: {image: x, privileged: true}}";
    assert_eq!(
        Files::of(text).privileged().warnings(),
        ["1:38: privileged gives no more rights than every node has: there is no privileged mode"]
    );
}
