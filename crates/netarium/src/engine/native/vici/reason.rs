//! The lines of a daemon's log that say why a tunnel did not come up.

use netarium_core::ipsec::Section;
use netarium_core::name::Name;

/// How many lines of one daemon are told.
const TOLD: usize = 4;

/// What a line about a failure has in it, in small letters. The daemon marks no line as an error.
const MARKS: [&str; 16] = [
    "fail",
    "error",
    "revoked",
    "not ",
    "no ",
    "none ",
    "giving up",
    "mismatch",
    "acceptable",
    "invalid",
    "unable",
    "expired",
    "missing",
    "trying again",
    "retransmit",
    "denied",
];

/// What happens on the way to success as well, and the lists of what is in a packet.
const INNOCENT: [&str; 6] = [
    "generating ",
    "parsed ",
    "is not revoked",
    "no ocsp",
    "not found in cache",
    "not supported by peer",
];

/// The lines of one daemon that tell of a failure.
#[derive(Default)]
pub(super) struct Reasons(Vec<String>);

impl Reasons {
    /// Keeps the line in a log event if it tells of a failure of `tunnel`, or of no tunnel yet.
    pub(super) fn note(&mut self, event: &Section, tunnel: &Name) {
        let about = event.get("ikesa-name").unwrap_or_default();
        let line = event.get("msg").unwrap_or_default();
        let small = line.to_lowercase();
        let told = MARKS.iter().any(|mark| small.contains(mark))
            && !INNOCENT.iter().any(|innocent| small.contains(innocent));
        let about_it = about == tunnel.as_str() || about.is_empty() || about == "(unnamed)";
        if told && about_it && !self.0.iter().any(|known| known == line) {
            self.0.push(line.trim().to_owned());
        }
    }

    /// The last of them, with the name of the daemon's node before.
    pub(super) fn told_by(&self, node: &Name) -> Option<String> {
        let told = &self.0[self.0.len().saturating_sub(TOLD)..];
        (!told.is_empty()).then(|| format!("{node}: {}", told.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[(&str, &str)]) -> Option<String> {
        let mut reasons = Reasons::default();
        for (about, line) in lines {
            let event = Section::new().value("ikesa-name", about).value("msg", line);
            reasons.note(&event, &Name::new("a-to-cloud").unwrap());
        }
        reasons.told_by(&Name::new("gateway-a").unwrap())
    }

    #[test]
    fn only_lines_that_tell_of_a_failure_are_kept() {
        let lines = [
            ("a-to-cloud", "initiating IKE_SA a-to-cloud[1] to 172.28.28.28"),
            ("a-to-cloud", "received AUTHENTICATION_FAILED notify error"),
            ("a-to-cloud", "received AUTHENTICATION_FAILED notify error"),
        ];
        let expected = "gateway-a: received AUTHENTICATION_FAILED notify error";
        assert_eq!(told(&lines).as_deref(), Some(expected));
        assert_eq!(told(&lines[..1]), None);
    }

    #[test]
    fn lines_about_another_tunnel_are_not_kept() {
        assert_eq!(told(&[("b-to-cloud", "no IKE config found")]), None);
        assert!(told(&[("(unnamed)", "no IKE config found")]).is_some());
    }
}
