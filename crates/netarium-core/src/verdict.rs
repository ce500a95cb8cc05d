//! What a check makes of what its probes found out: passed or not, and in words what was wanted and
//! what was seen.
//!
//! Pure judging: who runs the probes, how often and how long, is decided outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::model::{Answer, Probe, Protocol, Reach};
use crate::outcome::{Capture, Kind, LONGEST_BODY, Outcome, Reached, Response};

/// How many frames that are not allowed are shown.
pub const MOST_SAMPLES: usize = 3;

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

/// What an outcome of a ping or of a TCP connection means. Only silence and a refusal are
/// "blocked": a probe that could not be made has proven nothing.
pub fn reach(expect: Reach, outcome: &Outcome) -> Verdict {
    match (outcome, expect) {
        (Outcome::Reached(_), Reach::Reached) => Verdict::Passes,
        (Outcome::Silent { .. } | Outcome::Refused { .. }, Reach::Reached) => Verdict::FailsSoFar,
        (Outcome::Silent { .. } | Outcome::Refused { .. }, Reach::Blocked) => Verdict::PassesSoFar,
        (Outcome::Reached(_), Reach::Blocked)
        | (Outcome::Broken(_) | Outcome::Impossible(_), _) => Verdict::Fails,
    }
}

/// What an outcome of an HTTP request means.
pub fn answer(expect: &Answer, outcome: &Outcome) -> Verdict {
    match expect {
        Answer::Blocked => reach(Reach::Blocked, outcome),
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

/// What an outcome of a check's probe means; a check that listens has no such outcome, so it fails.
pub fn of(probe: &Probe, outcome: &Outcome) -> Verdict {
    match probe {
        Probe::Ping { expect, .. } | Probe::Tcp { expect, .. } => reach(*expect, outcome),
        Probe::Http { expect, .. } => answer(expect, outcome),
        Probe::Only { .. } => Verdict::Fails,
    }
}

/// What a check wants, in words.
pub fn expected(probe: &Probe) -> String {
    match probe {
        Probe::Ping { to, expect: Reach::Reached, .. } => format!("{to} answers"),
        Probe::Ping { to, expect: Reach::Blocked, .. } => format!("no answer from {to}"),
        Probe::Tcp { to, port, expect, .. } => {
            let to = SocketAddr::from((*to, *port));
            match expect {
                Reach::Reached => format!("a connection to {to}"),
                Reach::Blocked => format!("no connection to {to}"),
            }
        }
        Probe::Http { expect: Answer::Blocked, .. } => "no answer".to_owned(),
        Probe::Http { expect: Answer::Response { status, body: None }, .. } => {
            format!("status {status}")
        }
        Probe::Http { expect: Answer::Response { status, body: Some(part) }, .. } => {
            format!("status {status} and {part:?} in the body")
        }
        Probe::Only { protocols, .. } if protocols.is_empty() => "nothing".to_owned(),
        Probe::Only { protocols, .. } => {
            let words: Vec<_> = protocols.iter().map(|it| word(kind(*it))).collect();
            format!("only {}", words.join(" and "))
        }
    }
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
        Outcome::Refused { by, reason } => {
            let reason = serde_json::to_value(reason).ok();
            let reason = reason.as_ref().and_then(|it| it.as_str()).unwrap_or_default();
            match by {
                Some(by) => format!("{by} says {reason}"),
                None => format!("the node itself says {reason}"),
            }
        }
        Outcome::Broken(reason) => format!("an answer that is none: {reason}"),
        Outcome::Impossible(reason) => format!("the probe could not be made: {reason}"),
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

/// What was heard at one interface of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Where: node and interface, `gateway-a:eth1`.
    pub at: String,
    /// What, or why nobody could listen.
    pub capture: Result<Capture, String>,
}

/// What listening to a segment came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether nothing but the allowed protocols was seen.
    pub passed: bool,
    /// What was seen, in words.
    pub seen: String,
    /// The first frames that are not allowed, each with the interface that sent it.
    pub samples: Vec<String>,
}

/// Judges what was heard at all interfaces of a segment. What belongs to the segment itself (ARP,
/// neighbour discovery, group membership) is always allowed. What could not be heard, or was lost,
/// is a failure: it may have been anything.
pub fn only(protocols: &BTreeSet<Protocol>, heard: &[Heard]) -> Finding {
    let allowed: BTreeSet<Kind> = protocols
        .iter()
        .map(|protocol| kind(*protocol))
        .chain([Kind::Arp, Kind::Ndp, Kind::Group])
        .collect();
    let mut faults = Vec::new();
    let mut samples = Vec::new();
    let mut good: BTreeMap<Kind, u64> = BTreeMap::new();
    for Heard { at, capture } in heard {
        match capture {
            Err(reason) => faults.push(format!("nobody listened at {at}: {reason}")),
            Ok(capture) => {
                let (fine, foreign): (Vec<_>, Vec<_>) =
                    capture.frames.iter().partition(|(kind, _)| allowed.contains(kind));
                for (kind, count) in fine {
                    *good.entry(*kind).or_default() += count;
                }
                if !foreign.is_empty() {
                    faults.push(format!("{} from {at}", counts(foreign)));
                }
                if capture.dropped > 0 {
                    faults.push(format!("{} frames from {at} were lost", capture.dropped));
                }
                let lines = capture.samples.iter().filter(|(kind, _)| !allowed.contains(kind));
                samples.extend(lines.flat_map(|(_, it)| it).map(|line| format!("{at}: {line}")));
            }
        }
    }
    samples.truncate(MOST_SAMPLES);
    Finding { passed: faults.is_empty(), seen: summary(faults, &good), samples }
}

/// What was seen, what is at fault first.
fn summary(mut faults: Vec<String>, good: &BTreeMap<Kind, u64>) -> String {
    let of_segment = |kind: &Kind| matches!(kind, Kind::Arp | Kind::Ndp | Kind::Group);
    let all = counts(good);
    if !faults.is_empty() {
        let besides = (!all.is_empty()).then(|| format!("besides {all}"));
        faults.extend(besides);
        return faults.join("; ");
    }
    match (good.is_empty(), good.keys().all(of_segment)) {
        (true, _) => "nothing was seen".to_owned(),
        (false, true) => format!("nothing was seen but {all}"),
        (false, false) => all,
    }
}

/// `esp 812, ike 14`: the most frequent first.
fn counts<'a>(frames: impl IntoIterator<Item = (&'a Kind, &'a u64)>) -> String {
    let mut frames: Vec<_> = frames.into_iter().collect();
    frames.sort_by(|(_, one), (_, other)| other.cmp(one));
    let words: Vec<_> = frames.iter().map(|(kind, n)| format!("{} {n}", word(**kind))).collect();
    words.join(", ")
}

/// The frames that a protocol is made of.
fn kind(protocol: Protocol) -> Kind {
    match protocol {
        Protocol::Ike => Kind::Ike,
        Protocol::Esp => Kind::Esp,
        Protocol::Wireguard => Kind::Wireguard,
        Protocol::Icmp => Kind::Icmp,
        Protocol::Tcp => Kind::Tcp,
        Protocol::Udp => Kind::Udp,
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Arp => "arp",
        Kind::Ndp => "ndp",
        Kind::Group => "group",
        Kind::Ike => "ike",
        Kind::Esp => "esp",
        Kind::Wireguard => "wireguard",
        Kind::Icmp => "icmp",
        Kind::Tcp => "tcp",
        Kind::Udp => "udp",
        Kind::Other => "other",
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
    use std::net::IpAddr;

    use super::*;
    use crate::outcome::Reason;

    fn reached(response: Option<(u16, &str)>) -> Outcome {
        let response =
            response.map(|(status, body)| Response { status, body: body.to_owned(), cut: false });
        Outcome::Reached(Reached { millis: 0.314, response })
    }

    fn silent(millis: f64) -> Outcome {
        Outcome::Silent { millis }
    }

    fn refused() -> Outcome {
        Outcome::Refused { by: Some(IpAddr::from([10, 0, 0, 1])), reason: Reason::Prohibited }
    }

    fn broken() -> Outcome {
        Outcome::Broken("no status line".to_owned())
    }

    fn impossible() -> Outcome {
        Outcome::Impossible("no memory".to_owned())
    }

    #[test]
    fn what_is_wanted_may_still_come_and_what_could_not_be_asked_is_never_blocked() {
        use Reach::{Blocked, Reached};
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
        let by_itself = Outcome::Refused { by: None, reason: Reason::NetworkUnreachable };
        for (outcome, words) in [
            (reached(None), "an answer after 0.31 ms"),
            (reached(Some((200, "{\"a\":1}\n"))), "status 200 after 0.31 ms: {\"a\":1}"),
            (reached(Some((204, ""))), "status 204 after 0.31 ms: an empty body"),
            (reached(Some((200, "a\x1b[2Jb"))), "status 200 after 0.31 ms: a [2Jb"),
            (silent(500.2), "no answer in 500 ms"),
            (silent(5000.0), "no answer in 5.0 s"),
            (refused(), "10.0.0.1 says administratively prohibited"),
            (by_itself, "the node itself says network unreachable"),
            (broken(), "an answer that is none: no status line"),
            (impossible(), "the probe could not be made: no memory"),
        ] {
            assert_eq!(seen(&outcome), words);
        }
        let long = seen(&reached(Some((200, &"ä".repeat(200)))));
        assert!(long.ends_with(&format!("{}…", "ä".repeat(SHOWN_OF_BODY))), "{long}");
    }

    #[test]
    fn a_silence_does_not_hide_a_refusal() {
        assert_eq!(more_telling(refused(), silent(3.0)), refused());
        assert_eq!(more_telling(silent(3.0), refused()), refused());
        assert_eq!(more_telling(silent(9.0), silent(3.0)), silent(9.0));
        assert_eq!(more_telling(refused(), reached(None)), reached(None));
    }

    fn heard(at: &str, frames: &[(Kind, u64)], dropped: u64) -> Heard {
        let line = |kind: &Kind| vec![format!("a {} frame", word(*kind)); 2];
        let samples = frames.iter().map(|(kind, _)| (*kind, line(kind))).collect();
        let capture = Capture { frames: frames.iter().copied().collect(), dropped, samples };
        Heard { at: at.to_owned(), capture: Ok(capture) }
    }

    fn passed(heard: &[Heard]) -> (bool, String) {
        let finding = only(&[Protocol::Ike, Protocol::Esp].into(), heard);
        assert_eq!(finding.samples, Vec::<String>::new());
        (finding.passed, finding.seen)
    }

    #[test]
    fn allowed_frames_are_counted_together() {
        use Kind::{Arp, Esp, Ike};
        let one = heard("a:eth0", &[(Esp, 400), (Ike, 7), (Arp, 4)], 0);
        let other = heard("b:eth0", &[(Esp, 412), (Ike, 7), (Arp, 2)], 0);
        assert_eq!(passed(&[one, other]), (true, "esp 812, ike 14, arp 6".to_owned()));
    }

    #[test]
    fn an_idle_segment_passes_and_says_so() {
        assert_eq!(passed(&[]), (true, "nothing was seen".to_owned()));
        assert_eq!(passed(&[heard("a:eth0", &[], 0)]), (true, "nothing was seen".to_owned()));
        let arp = heard("a:eth0", &[(Kind::Arp, 6)], 0);
        assert_eq!(passed(&[arp]), (true, "nothing was seen but arp 6".to_owned()));
    }

    #[test]
    fn lost_frames_and_deaf_places_are_failures() {
        let lossy = heard("a:eth0", &[(Kind::Esp, 5)], 3);
        let seen = "3 frames from a:eth0 were lost; besides esp 5".to_owned();
        assert_eq!(passed(&[lossy]), (false, seen));
        let deaf =
            Heard { at: "b:eth1".to_owned(), capture: Err("node b does not run".to_owned()) };
        let seen = "nobody listened at b:eth1: node b does not run".to_owned();
        assert_eq!(passed(&[deaf]), (false, seen));
    }

    #[test]
    fn foreign_frames_are_named_with_their_place_and_at_most_three_are_shown() {
        use Kind::{Esp, Icmp, Other, Tcp};
        let one = heard("a:eth0", &[(Esp, 4), (Icmp, 1), (Tcp, 9)], 0);
        let other = heard("b:eth1", &[(Other, 2)], 0);
        let finding = only(&[Protocol::Esp].into(), &[one, other]);
        assert!(!finding.passed);
        assert_eq!(finding.seen, "tcp 9, icmp 1 from a:eth0; other 2 from b:eth1; besides esp 4");
        let samples = ["a:eth0: a icmp frame", "a:eth0: a icmp frame", "a:eth0: a tcp frame"];
        assert_eq!(finding.samples, samples);
        let nothing_allowed = only(&BTreeSet::new(), &[heard("a:eth0", &[(Esp, 1)], 0)]);
        assert_eq!(nothing_allowed.seen, "esp 1 from a:eth0");
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
        let tcp = |to, expect| Probe::Tcp { from: from(), to, port: 80, expect };
        for (probe, words) in [
            (Probe::Ping { from: from(), to, expect: Reach::Reached }, "10.0.0.2 answers"),
            (Probe::Ping { from: from(), to, expect: Reach::Blocked }, "no answer from 10.0.0.2"),
            (tcp(to, Reach::Reached), "a connection to 10.0.0.2:80"),
            (tcp(six, Reach::Blocked), "no connection to [fd00::2]:80"),
            (only(&[Protocol::Esp, Protocol::Ike]), "only ike and esp"),
            (only(&[]), "nothing"),
        ] {
            assert_eq!(expected(&probe), words);
        }
    }
}
