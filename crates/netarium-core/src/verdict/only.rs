//! What listening to a segment came to.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Protocol;
use crate::outcome::{Capture, Kind};

/// How many frames that are not allowed are shown.
pub const MOST_SAMPLES: usize = 3;

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
pub(super) fn kind(protocol: Protocol) -> Kind {
    match protocol {
        Protocol::Ike => Kind::Ike,
        Protocol::Esp => Kind::Esp,
        Protocol::Wireguard => Kind::Wireguard,
        Protocol::Icmp => Kind::Icmp,
        Protocol::Tcp => Kind::Tcp,
        Protocol::Udp => Kind::Udp,
    }
}

pub(super) fn word(kind: Kind) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
