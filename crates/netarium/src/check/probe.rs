//! One program in a node that finds one thing out: where it is started, and what it says.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use netarium_core::control::{Exit, PROBE};
use serde::de::DeserializeOwned;

use crate::engine::native::node::recorded;
use crate::engine::native::run::{Ended, Running};
use crate::failure::Failure;
use crate::folder::NodeFolder;

/// How much longer than it was told a program in a node may take to begin or to end. It ends by
/// itself; but the machine may be busy, and then takes seconds to start a hundred of them at once.
/// Nobody waits for that unless something hangs, so it is long.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// Starts a probe in a node.
///
/// # Errors
/// The reason in words, if the node does not run or will not start it.
pub(super) async fn start(
    folder: &NodeFolder,
    arguments: Vec<String>,
    input: BorrowedFd<'_>,
) -> Result<Running, String> {
    // Without a first process on record there is no socket, or one on which nobody listens: that
    // the node does not run says more.
    if recorded(folder).map_err(|error| Failure::of(&error).to_string())?.is_none() {
        let node = folder.path().file_name().unwrap_or_default().to_string_lossy();
        return Err(format!("node {node} does not run"));
    }
    let argv = [PROBE.to_owned()].into_iter().chain(arguments).collect();
    let started = Running::start(&folder.control(), argv, input).await;
    started.map_err(|error| Failure::of(&error).to_string())
}

/// What a probe that has ended says with its last line.
///
/// # Errors
/// The reason in words, if it says nothing that is understood: its own complaint, where it has one.
pub(super) fn answer<T: DeserializeOwned>(ended: &Ended) -> Result<T, String> {
    serde_json::from_slice(&ended.output).map_err(|_| complaint(ended))
}

/// Why a probe that says nothing has ended.
pub(super) fn complaint(ended: &Ended) -> String {
    let errors = String::from_utf8_lossy(&ended.errors);
    let words = errors.lines().next().unwrap_or_default().trim();
    let words = words.strip_prefix("netarium-probe: ").unwrap_or(words);
    match ended.exit {
        _ if !words.is_empty() => words.to_owned(),
        Exit::Code(code) => format!("the probe ended with status {code} and said nothing"),
        Exit::Signal(signal) => format!("the probe was ended by signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use netarium_core::outcome::Outcome;

    use super::*;

    fn ended(exit: Exit, output: &str, errors: &str) -> Result<Outcome, String> {
        answer(&Ended { exit, output: output.into(), errors: errors.into() })
    }

    #[test]
    fn a_probe_is_taken_at_its_word_whatever_its_status() {
        let silent = ended(Exit::Code(1), "{\"silent\":{\"millis\":5.0}}\n", "");
        assert_eq!(silent, Ok(Outcome::Silent { millis: 5.0 }));
    }

    #[test]
    fn a_probe_that_says_nothing_is_quoted_or_its_end_is_told() {
        let usage = ended(Exit::Code(2), "", "netarium-probe: x is no address\ntry: --help\n");
        assert_eq!(usage, Err("x is no address".to_owned()));
        let mute = ended(Exit::Code(3), "half", "");
        assert_eq!(mute, Err("the probe ended with status 3 and said nothing".to_owned()));
        let killed = ended(Exit::Signal(9), "", "");
        assert_eq!(killed, Err("the probe was ended by signal 9".to_owned()));
    }
}
