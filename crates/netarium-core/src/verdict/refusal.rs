//! What came of opening a tunnel with a certificate that is revoked, and what that means for a check.

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// The word by which a daemon says why it refuses (strongSwan's `certificate was revoked on …`).
const REVOKED: &str = "revoked";

/// How the opening of a tunnel ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Opening {
    /// It stands.
    Stands,
    /// It was not opened, for these reasons: the words of both daemons, each after its node.
    Refused(String),
    /// Nobody was asked, or nobody answered.
    Failed(String),
}

/// Judges the opening of `tunnel` after an end was revoked: `peer`, the other end, must have refused
/// it for that reason and no other. Passed or not, and what was seen, in words.
pub fn refused(tunnel: &Name, peer: &Name, opening: &Opening) -> (bool, String) {
    match opening {
        Opening::Stands => (false, format!("{peer} opened {tunnel} to who is revoked")),
        Opening::Refused(words) if said_by(peer, words).contains(REVOKED) => {
            (true, format!("{tunnel} refused: {words}"))
        }
        Opening::Refused(words) => {
            let why = format!("{peer} does not say that it is since somebody is revoked");
            (false, format!("{tunnel} refused, but {why}: {words}"))
        }
        Opening::Failed(reason) => (false, format!("{tunnel} could not be tried: {reason}")),
    }
}

/// What `node` and those after it said.
fn said_by<'w>(node: &Name, words: &'w str) -> &'w str {
    let marks = [format!("{node}: "), format!(", {node}: ")];
    if words.starts_with(&marks[0]) {
        return words;
    }
    words.find(&marks[1]).map_or("", |place| &words[place..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_peer_that_names_the_revocation_has_refused() {
        let name = |word| Name::new(word).unwrap();
        let judged = |opening: Opening| refused(&name("t"), &name("east"), &opening);
        let no = |words: &str| Opening::Refused(words.to_owned());
        let judges = "certificate was revoked on Nov 22 10:00:00 UTC 2026, reason: unspecified";
        let own = "west: received AUTHENTICATION_FAILED notify error";
        let both = format!("{own}, east: {judges}");
        assert_eq!(judged(no(&both)), (true, format!("t refused: {both}")));
        assert!(judged(no(&format!("east: {judges}, west: no answer"))).0);
        for (opening, seen) in [
            (Opening::Stands, "east opened t to who is revoked"),
            (no(&format!("west: {judges}")), "but east does not say"),
            (no(&format!("{own}, north-east: {judges}")), "but east does not say"),
            (no(&format!("{own}, east: no proposal chosen")), "but east does not say"),
            (Opening::Failed("no daemon".to_owned()), "t could not be tried: no daemon"),
        ] {
            let (passed, words) = judged(opening);
            assert!(!passed && words.contains(seen), "{words}");
        }
    }
}
