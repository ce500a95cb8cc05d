//! What a check makes of what its probes found out: passed or not, and in words what was wanted and
//! what was seen.
//!
//! Pure judging: who runs the probes, how often and how long, is decided outside.

mod isolated;
mod only;
mod tunnel;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

pub use isolated::{Attempt, Isolation, isolated};
pub use only::{Finding, Heard, MOST_SAMPLES, only};
pub use tunnel::{End, Handshake, WireguardEnd, tunnel, wireguard};

use crate::model::{Answer, Deed, Disturbance, Probe, Reach, Source, TunnelState};
use crate::outcome::{Icmp, LONGEST_BODY, Outcome, Reached, Reason, Response};

/// How many characters of a body are shown.
const SHOWN_OF_BODY: usize = 80;

/// What one outcome means for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, whatever would come after.
    Passes,
    /// It fails, whatever would come after.
    Fails,
    /// It passes if nothing else comes until the deadline.
    PassesSoFar,
    /// It fails if nothing else comes until the deadline.
    FailsSoFar,
}

impl Verdict {
    /// Whether asking again could change it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Passes | Self::Fails)
    }

    /// Whether the check passes if it is not asked again.
    pub fn passes(self) -> bool {
        matches!(self, Self::Passes | Self::PassesSoFar)
    }
}

/// What an outcome of a ping, a datagram or a TCP connection means. Only silence and a refusal are
/// "blocked": a probe that could not be made has proven nothing.
pub fn reach(expect: Reach, outcome: &Outcome) -> Verdict {
    use Reach::{Blocked, Dropped, Reached, Rejected};
    match (expect, Coming::of(outcome)) {
        (Reached, Coming::Answer) | (Rejected, Coming::Rejection) => Verdict::Passes,
        (Reached, Coming::Nothing | Coming::Rejection | Coming::Trouble)
        | (Rejected, Coming::Nothing | Coming::Trouble)
        // A host that cannot be found may be found later, and then drop everything.
        | (Dropped, Coming::Trouble) => Verdict::FailsSoFar,
        (Blocked, Coming::Nothing | Coming::Rejection | Coming::Trouble)
        | (Dropped, Coming::Nothing) => Verdict::PassesSoFar,
        (Blocked | Dropped | Rejected, Coming::Answer)
        | (Dropped, Coming::Rejection)
        | (_, Coming::Proof) => Verdict::Fails,
    }
}

/// What came back, as far as it matters to whether something was reached.
enum Coming {
    Answer,
    Nothing,
    /// A word that it is not allowed, or that nothing is there.
    Rejection,
    /// There is no way, but nobody has refused it: a loop, or a node that knows no way itself.
    Trouble,
    /// Something that proves nothing but that something is wrong.
    Proof,
}

impl Coming {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Reached(_) => Self::Answer,
            // What the node's own firewall drops, nobody answers: that the kernel tells the program
            // at once makes no difference.
            Outcome::Silent { .. } | Outcome::Refused { reason: Reason::Filtered, .. } => {
                Self::Nothing
            }
            Outcome::Refused { reason: Reason::TimeExceeded | Reason::TooBig, .. }
            | Outcome::Refused { by: None, .. } => Self::Trouble,
            Outcome::Refused { by: Some(_), .. } => Self::Rejection,
            Outcome::Broken(_) | Outcome::Impossible(_) => Self::Proof,
        }
    }
}

/// What an outcome of an HTTP request means.
pub fn answer(expect: &Answer, outcome: &Outcome) -> Verdict {
    match expect {
        Answer::Blocked | Answer::Dropped | Answer::Rejected => reach(expect.reach(), outcome),
        Answer::Response { status, body } => match outcome {
            Outcome::Reached(Reached { response, .. }) => {
                let fits = |it: &Response| {
                    it.status == *status
                        && body.as_ref().is_none_or(|part| it.body.contains(part.as_str()))
                };
                if response.as_ref().is_some_and(fits) { Verdict::Passes } else { Verdict::Fails }
            }
            other => reach(Reach::Reached, other),
        },
    }
}

/// What an outcome of a check's probe means; a check that does not ask has no such outcome, so it
/// fails.
pub fn of(probe: &Probe, outcome: &Outcome) -> Verdict {
    match probe {
        Probe::Ping { expect, .. } | Probe::Tcp { expect, .. } | Probe::Udp { expect, .. } => {
            reach(*expect, outcome)
        }
        Probe::Http { expect, .. } => answer(expect, outcome),
        Probe::Only { .. } | Probe::Tunnel { .. } | Probe::Isolated { .. } => Verdict::Fails,
    }
}

/// What a check wants, in words.
pub fn expected(probe: &Probe) -> String {
    let wanted = match probe {
        Probe::Http { expect: Answer::Response { status, body }, .. } => match body {
            Some(part) => format!("status {status} and {part:?} in the body"),
            None => format!("status {status}"),
        },
        Probe::Only { protocols, .. } if protocols.is_empty() => "nothing".to_owned(),
        Probe::Only { protocols, .. } => {
            let words: Vec<_> = protocols.iter().map(|it| only::word(only::kind(*it))).collect();
            format!("only {}", words.join(" and "))
        }
        Probe::Tunnel { expect: TunnelState::Down, .. } => "no tunnel at either end".to_owned(),
        Probe::Tunnel { expect: TunnelState::Ipsec { ike, esp }, .. } => {
            format!("a tunnel that both ends know, with IKE {ike} and ESP {esp}")
        }
        Probe::Tunnel { expect: TunnelState::Wireguard { .. }, .. } => {
            "a key that both ends have in common".to_owned()
        }
        Probe::Tunnel { expect: TunnelState::WireguardDown { .. }, .. } => {
            "no key that both ends have in common".to_owned()
        }
        Probe::Isolated { .. } => {
            "no way to an address of the machine, and nothing of it to be seen".to_owned()
        }
        Probe::Ping { to, expect, .. } => answered(*expect, "answer from", &to.to_string()),
        Probe::Tcp { to, port, expect, .. } => {
            answered(*expect, "connection to", &SocketAddr::from((*to, *port)).to_string())
        }
        Probe::Udp { to, port, expect, .. } => {
            answered(*expect, "datagram from", &SocketAddr::from((*to, *port)).to_string())
        }
        Probe::Http { expect, url, .. } => {
            let to = SocketAddr::from((url.address, url.port));
            answered(expect.reach(), "answer from", &to.to_string())
        }
    };
    match probe.source() {
        Some(source) => {
            let words: Vec<String> = source.addresses.iter().map(ToString::to_string).collect();
            format!("{wanted}, and {} sees it come from {}", source.seen_by, words.join(" or "))
        }
        None => wanted,
    }
}

/// What must be true after something was done to the lab, in words.
pub fn expected_after(disturbance: &Disturbance) -> String {
    let Disturbance { deed, meanwhile, then, recover, .. } = disturbance;
    let deed = match deed {
        Deed::Kill { node } => format!("{node} comes back"),
        Deed::Cut { node, interface, .. } => format!("{node}:{interface} is up again"),
        Deed::Rekey { tunnel, during: None, .. } => format!("{tunnel} has new keys"),
        Deed::Rekey { tunnel, during: Some(transfer), .. } => {
            format!("{tunnel} has new keys, and no transfer to {} breaks", transfer.from)
        }
    };
    let count = |number: usize| {
        if number == 1 { "1 check holds".to_owned() } else { format!("{number} checks hold") }
    };
    let meanwhile = match meanwhile.len() {
        0 => String::new(),
        number => format!("meanwhile {}; ", count(number)),
    };
    let within = time(f64::from(*recover));
    format!("{meanwhile}{deed}, and {} again within {within}", count(then.len()))
}

fn answered(expect: Reach, what: &str, whom: &str) -> String {
    match expect {
        Reach::Reached if what == "answer from" => format!("{whom} answers"),
        Reach::Reached => format!("a {what} {whom}"),
        Reach::Blocked => format!("no {what} {whom}"),
        Reach::Dropped => format!("no {what} {whom} and no refusal, only silence"),
        Reach::Rejected => format!("a refusal of the way to {whom}, by ICMP or a TCP reset"),
    }
}

/// Judges where a request came from, as far as it was seen arriving: passed or not, and in words.
pub fn arrived(source: &Source, seen: &BTreeSet<IpAddr>) -> (bool, String) {
    let Source { addresses, seen_by } = source;
    if seen.is_empty() {
        return (false, format!("{seen_by} did not see the request arrive"));
    }
    let words: Vec<String> = seen.iter().map(ToString::to_string).collect();
    (seen.is_subset(addresses), format!("{seen_by} saw it come from {}", words.join(" and ")))
}

/// What came of a probe, in words.
pub fn seen(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Reached(Reached { millis, response: None }) => {
            format!("an answer after {}", time(*millis))
        }
        Outcome::Reached(Reached { millis, response: Some(it) }) => {
            let body = beginning(&it.body);
            let body = if body.is_empty() { "an empty body".to_owned() } else { body };
            format!("status {} after {}: {body}{}", it.status, time(*millis), cut(it))
        }
        Outcome::Silent { millis } => format!("no answer in {}", time(*millis)),
        Outcome::Refused { reason: Reason::Filtered, .. } => {
            "the node's own firewall drops it".to_owned()
        }
        Outcome::Refused { by, reason, icmp } => {
            let words = serde_json::to_value(reason).ok();
            let words = words.as_ref().and_then(|it| it.as_str()).unwrap_or_default();
            match by {
                Some(by) => format!("{by} says {words}{}", by_what(*by, *reason, *icmp)),
                None => format!("the node itself says {words}"),
            }
        }
        Outcome::Broken(reason) => format!("an answer that is none: {reason}"),
        Outcome::Impossible(reason) => format!("the probe could not be made: {reason}"),
    }
}

/// The packet that a refusal came in.
fn by_what(by: IpAddr, reason: Reason, icmp: Option<Icmp>) -> String {
    let name = if by.is_ipv4() { "ICMP" } else { "ICMPv6" };
    match (icmp, reason) {
        (Some(Icmp { kind, code }), _) => format!(" ({name} type {kind} code {code})"),
        (None, Reason::ConnectionRefused | Reason::ConnectionReset) => " (a TCP reset)".to_owned(),
        (None, _) => String::new(),
    }
}

/// Which of two outcomes of one check tells more about it. Between refusals, the last request is
/// cut short by the deadline; its silence must not hide them.
pub fn more_telling(earlier: Outcome, later: Outcome) -> Outcome {
    match (&earlier, &later) {
        (Outcome::Refused { .. }, Outcome::Silent { .. }) => earlier,
        (Outcome::Silent { millis: before }, Outcome::Silent { millis: after }) => {
            Outcome::Silent { millis: before.max(*after) }
        }
        _ => later,
    }
}

/// A time for people: what is below a hundred milliseconds matters to its fractions.
fn time(millis: f64) -> String {
    if millis < 10.0 {
        format!("{millis:.2} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", millis / 1000.0)
    }
}

/// The beginning of a body on one line, with nothing in it that a terminal would obey.
fn beginning(body: &str) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut letters = body.trim().chars();
    let mut text: String = letters.by_ref().take(SHOWN_OF_BODY).map(plain).collect();
    if letters.next().is_some() {
        text.push('…');
    }
    text
}

fn cut(response: &Response) -> String {
    if response.cut {
        format!(" (only the first {} KiB of the body were looked at)", LONGEST_BODY / 1024)
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn reached(response: Option<(u16, &str)>) -> Outcome {
        let response =
            response.map(|(status, body)| Response { status, body: body.to_owned(), cut: false });
        Outcome::Reached(Reached { millis: 0.314, response })
    }

    fn silent(millis: f64) -> Outcome {
        Outcome::Silent { millis }
    }

    fn refused() -> Outcome {
        Outcome::Refused {
            by: Some(IpAddr::from([10, 0, 0, 1])),
            reason: Reason::Prohibited,
            icmp: Some(Icmp { kind: 3, code: 13 }),
        }
    }

    fn broken() -> Outcome {
        Outcome::Broken("no status line".to_owned())
    }

    fn impossible() -> Outcome {
        Outcome::Impossible("no memory".to_owned())
    }

    #[test]
    fn what_is_wanted_may_still_come_and_what_could_not_be_asked_is_never_blocked() {
        use Reach::{Blocked, Dropped, Reached, Rejected};
        let by = Some(IpAddr::from([10, 0, 0, 1]));
        let told = |by, reason| Outcome::Refused { by, reason, icmp: None };
        let filtered = || told(None, Reason::Filtered);
        let reset = || told(by, Reason::ConnectionRefused);
        let nowhere = || told(None, Reason::NetworkUnreachable);
        let loops = || told(by, Reason::TimeExceeded);
        for (expect, outcome, verdict) in [
            (Reached, reached(None), Verdict::Passes),
            (Reached, silent(5.0), Verdict::FailsSoFar),
            (Reached, refused(), Verdict::FailsSoFar),
            (Reached, broken(), Verdict::Fails),
            (Reached, impossible(), Verdict::Fails),
            (Blocked, reached(None), Verdict::Fails),
            (Blocked, silent(5.0), Verdict::PassesSoFar),
            (Blocked, refused(), Verdict::PassesSoFar),
            (Blocked, broken(), Verdict::Fails),
            (Blocked, impossible(), Verdict::Fails),
            (Blocked, filtered(), Verdict::PassesSoFar),
            (Blocked, nowhere(), Verdict::PassesSoFar),
            (Dropped, reached(None), Verdict::Fails),
            (Dropped, silent(5.0), Verdict::PassesSoFar),
            (Dropped, filtered(), Verdict::PassesSoFar),
            (Dropped, refused(), Verdict::Fails),
            (Dropped, reset(), Verdict::Fails),
            (Dropped, nowhere(), Verdict::FailsSoFar),
            (Dropped, loops(), Verdict::FailsSoFar),
            (Dropped, impossible(), Verdict::Fails),
            (Rejected, reached(None), Verdict::Fails),
            (Rejected, silent(5.0), Verdict::FailsSoFar),
            (Rejected, filtered(), Verdict::FailsSoFar),
            (Rejected, refused(), Verdict::Passes),
            (Rejected, reset(), Verdict::Passes),
            (Rejected, nowhere(), Verdict::FailsSoFar),
            (Rejected, loops(), Verdict::FailsSoFar),
            (Rejected, broken(), Verdict::Fails),
        ] {
            assert_eq!(reach(expect, &outcome), verdict, "{expect:?} {outcome:?}");
        }
    }

    #[test]
    fn a_response_must_have_the_status_and_the_text() {
        let want =
            |status, body: Option<&str>| Answer::Response { status, body: body.map(str::to_owned) };
        for (expect, outcome, verdict) in [
            (want(200, None), reached(Some((200, ""))), Verdict::Passes),
            (want(200, None), reached(Some((404, ""))), Verdict::Fails),
            (want(404, None), reached(Some((404, ""))), Verdict::Passes),
            (want(200, Some("me")), reached(Some((200, "welcome"))), Verdict::Passes),
            (want(200, Some("me")), reached(Some((200, "other"))), Verdict::Fails),
            (want(200, Some("me")), reached(Some((500, "welcome"))), Verdict::Fails),
            (want(200, None), reached(None), Verdict::Fails),
            (want(200, None), silent(9.0), Verdict::FailsSoFar),
            (want(200, None), refused(), Verdict::FailsSoFar),
            (want(200, None), broken(), Verdict::Fails),
            (Answer::Blocked, reached(Some((403, ""))), Verdict::Fails),
            (Answer::Blocked, refused(), Verdict::PassesSoFar),
            (Answer::Blocked, broken(), Verdict::Fails),
        ] {
            assert_eq!(answer(&expect, &outcome), verdict, "{expect:?} {outcome:?}");
        }
    }

    #[test]
    fn outcomes_are_told_in_words() {
        let by_itself =
            Outcome::Refused { by: None, reason: Reason::NetworkUnreachable, icmp: None };
        for (outcome, words) in [
            (reached(None), "an answer after 0.31 ms"),
            (reached(Some((200, "{\"a\":1}\n"))), "status 200 after 0.31 ms: {\"a\":1}"),
            (reached(Some((204, ""))), "status 204 after 0.31 ms: an empty body"),
            (reached(Some((200, "a\x1b[2Jb"))), "status 200 after 0.31 ms: a [2Jb"),
            (silent(500.2), "no answer in 500 ms"),
            (silent(5000.0), "no answer in 5.0 s"),
            (refused(), "10.0.0.1 says administratively prohibited (ICMP type 3 code 13)"),
            (by_itself, "the node itself says network unreachable"),
            (
                Outcome::Refused {
                    by: Some(IpAddr::from([10, 0, 0, 2])),
                    reason: Reason::ConnectionRefused,
                    icmp: None,
                },
                "10.0.0.2 says connection refused (a TCP reset)",
            ),
            (
                Outcome::Refused { by: None, reason: Reason::Filtered, icmp: None },
                "the node's own firewall drops it",
            ),
            (broken(), "an answer that is none: no status line"),
            (impossible(), "the probe could not be made: no memory"),
        ] {
            assert_eq!(seen(&outcome), words);
        }
        let long = seen(&reached(Some((200, &"ä".repeat(200)))));
        assert!(long.ends_with(&format!("{}…", "ä".repeat(SHOWN_OF_BODY))), "{long}");
    }

    #[test]
    fn a_source_must_be_seen_and_be_one_of_those_wanted() {
        let [one, other, third] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        let seen_by = crate::name::Name::new("b").unwrap();
        let source = Source { addresses: [one, other].into(), seen_by };
        let judged = |seen: &[IpAddr]| arrived(&source, &seen.iter().copied().collect());
        assert_eq!(judged(&[one]), (true, "b saw it come from 10.0.0.1".to_owned()));
        let both = "b saw it come from 10.0.0.1 and 10.0.0.3".to_owned();
        assert_eq!(judged(&[one, third]), (false, both));
        assert_eq!(judged(&[]), (false, "b did not see the request arrive".to_owned()));
    }

    #[test]
    fn a_silence_does_not_hide_a_refusal() {
        assert_eq!(more_telling(refused(), silent(3.0)), refused());
        assert_eq!(more_telling(silent(3.0), refused()), refused());
        assert_eq!(more_telling(silent(9.0), silent(3.0)), silent(9.0));
        assert_eq!(more_telling(refused(), reached(None)), reached(None));
    }

    #[test]
    fn what_is_wanted_is_told_in_words() {
        let from = || crate::name::Name::new("a").unwrap();
        let to = IpAddr::from([10, 0, 0, 2]);
        let six: IpAddr = "fd00::2".parse().unwrap();
        let only = |protocols: &[Protocol]| Probe::Only {
            segment: from(),
            protocols: protocols.iter().copied().collect(),
        };
        let tcp = |to, expect| Probe::Tcp { from: from(), to, port: 80, expect, source: None };
        let ping = |expect, source| Probe::Ping { from: from(), to, expect, source };
        let source = Source {
            addresses: [IpAddr::from([10, 0, 0, 3]), IpAddr::from([10, 0, 0, 4])].into(),
            seen_by: crate::name::Name::new("b").unwrap(),
        };
        for (probe, words) in [
            (ping(Reach::Reached, None), "10.0.0.2 answers"),
            (ping(Reach::Blocked, None), "no answer from 10.0.0.2"),
            (ping(Reach::Dropped, None), "no answer from 10.0.0.2 and no refusal, only silence"),
            (
                ping(Reach::Rejected, None),
                "a refusal of the way to 10.0.0.2, by ICMP or a TCP reset",
            ),
            (
                ping(Reach::Reached, Some(source)),
                "10.0.0.2 answers, and b sees it come from 10.0.0.3 or 10.0.0.4",
            ),
            (tcp(to, Reach::Reached), "a connection to 10.0.0.2:80"),
            (tcp(six, Reach::Blocked), "no connection to [fd00::2]:80"),
            (only(&[Protocol::Esp, Protocol::Ike]), "only ike and esp"),
            (only(&[]), "nothing"),
        ] {
            assert_eq!(expected(&probe), words);
        }
    }
}
