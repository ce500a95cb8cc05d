//! What a node could reach and see of the machine that it runs on.

use std::net::IpAddr;

use super::seen;
use crate::outcome::Outcome;

/// What was found out from one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Isolation {
    /// How its addresses were tried.
    pub attempts: Vec<Attempt>,
    /// The interfaces that the node has.
    pub interfaces: Vec<String>,
    /// Those that are not its own, each with the reason.
    pub foreign: Vec<String>,
    /// The kinds of namespaces that it shares with the machine.
    pub shared: Vec<String>,
    /// What could not be found out.
    pub unknown: Vec<String>,
}

/// An address of the machine, asked from the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The address.
    pub to: IpAddr,
    /// How: `ping`, or the word for a connection.
    pub how: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

/// Judges what was found out: passed or not, and in words.
pub fn isolated(found: &Isolation) -> (bool, String) {
    let mut faults = Vec::new();
    for Attempt { to, how, outcome } in &found.attempts {
        let is_answer = match outcome {
            Outcome::Silent { .. } => false,
            // A word of the machine itself is an answer, too.
            Outcome::Refused { by, .. } => *by == Some(*to),
            Outcome::Reached(_) | Outcome::Broken(_) | Outcome::Impossible(_) => true,
        };
        if is_answer {
            faults.push(format!("{how} to {to}: {}", seen(outcome)));
        }
    }
    faults.extend(found.foreign.iter().map(|it| format!("interface {it}")));
    faults.extend(found.shared.iter().map(|kind| format!("the machine's {kind} namespace")));
    faults.extend(found.unknown.iter().cloned());
    let passed = faults.is_empty();
    faults.push(tried(found));
    (passed, faults.join("; "))
}

/// What was tried.
fn tried(found: &Isolation) -> String {
    let mut addresses: Vec<String> = Vec::new();
    for attempt in &found.attempts {
        let address = attempt.to.to_string();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let interfaces = match found.interfaces.as_slice() {
        [] => "no interfaces".to_owned(),
        names => format!("interfaces {}", names.join(", ")),
    };
    if addresses.is_empty() {
        return format!("the machine has no address to try; {interfaces}");
    }
    format!("tried {} by ping and TCP; {interfaces}", addresses.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reached;

    fn attempt(how: &'static str, outcome: Outcome) -> Attempt {
        Attempt { to: IpAddr::from([192, 0, 2, 1]), how, outcome }
    }

    fn silent() -> Outcome {
        Outcome::Silent { millis: 500.0 }
    }

    #[test]
    fn a_node_that_reaches_and_sees_nothing_is_isolated() {
        let found = Isolation {
            attempts: vec![attempt("ping", silent()), attempt("TCP", silent())],
            interfaces: vec!["lo".to_owned(), "eth0".to_owned()],
            ..Isolation::default()
        };
        let seen = "tried 192.0.2.1 by ping and TCP; interfaces lo, eth0".to_owned();
        assert_eq!(isolated(&found), (true, seen));
    }

    #[test]
    fn every_way_to_the_machine_is_told() {
        let answer = Outcome::Reached(Reached { millis: 0.5, response: None });
        let found = Isolation {
            attempts: vec![attempt("ping", answer), attempt("TCP", silent())],
            interfaces: vec!["wlan0".to_owned()],
            foreign: vec!["wlan0 is hardware".to_owned()],
            shared: vec!["pid".to_owned()],
            unknown: vec!["nobody knows".to_owned()],
        };
        let seen = "ping to 192.0.2.1: an answer after 0.50 ms; interface wlan0 is hardware; \
                    the machine's pid namespace; nobody knows; \
                    tried 192.0.2.1 by ping and TCP; interfaces wlan0";
        assert_eq!(isolated(&found), (false, seen.to_owned()));
    }

    #[test]
    fn a_try_that_could_not_be_made_proves_nothing() {
        let found = Isolation {
            attempts: vec![attempt("ping", Outcome::Impossible("no memory".to_owned()))],
            ..Isolation::default()
        };
        assert!(!isolated(&found).0);
    }
}
