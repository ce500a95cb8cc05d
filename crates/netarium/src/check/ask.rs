//! Asks from a node until the verdict is final or the check's deadline has come.

use std::fs::File;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netarium_core::model::{Check, Probe, Reach, Source};
use netarium_core::outcome::Outcome;
use netarium_core::verdict::{self, Verdict};

use super::neighbours::Neighbours;
use super::probe::{self, GRACE};
use super::result::Found;
use super::watch::Watch;
use crate::failure::Failure;
use crate::folder::{LabFolder, NodeFolder};

/// The pause before asking again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// A check is not asked again when less than this is left: no answer would count.
const SHORTEST: Duration = Duration::from_millis(5);

/// The pause between two requests of one ping, in milliseconds.
const PING_PAUSES: RangeInclusive<u128> = 10..=100;

/// When a second series of requests begins where none is to be answered, so that one lost packet
/// does not look like a wall. Later ones the kernel sends by itself, after a second.
const SECOND_SERIES: Duration = Duration::from_millis(200);

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    passed: bool,
    /// What was seen, in words.
    seen: String,
    /// How many probes were made.
    attempts: u32,
}

/// Asks from the node that the check names.
pub(super) async fn ask(lab: &LabFolder, check: &Check) -> Found {
    let folder = lab.node(check.probe.at());
    let asked = match check.probe.source() {
        None => ask_from(&Asker { folder, token: None }, check).await,
        Some(source) => match token() {
            Ok(token) => {
                ask_watched(lab, &Asker { folder, token: Some(token) }, check, source).await
            }
            Err(seen) => Asked { passed: false, seen, attempts: 0 },
        },
    };
    Found { attempts: Some(asked.attempts), ..Found::once(asked.passed, asked.seen) }
}

/// The node that asks, and the mark that its requests bear, if somebody looks for them.
pub(super) struct Asker {
    pub(super) folder: NodeFolder,
    pub(super) token: Option<String>,
}

/// A mark that nobody else has: sixteen hexadecimal digits.
pub(super) fn token() -> Result<String, String> {
    let mut bytes = [0; 8];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    filled.map_err(|error| format!("cannot get a random number: {error}"))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

/// Asks while somebody watches where the request arrives.
async fn ask_watched(lab: &LabFolder, asker: &Asker, check: &Check, source: &Source) -> Asked {
    let token = asker.token.as_deref().unwrap_or_default();
    let watch = match Watch::begin(lab, source, token).await {
        Ok(watch) => watch,
        Err(seen) => return Asked { passed: false, seen, attempts: 0 },
    };
    let asked = ask_from(asker, check).await;
    let (fits, words) = match watch.end().await {
        Ok(seen) => verdict::arrived(source, &seen),
        Err(reason) => (false, reason),
    };
    Asked { passed: asked.passed && fits, seen: format!("{}; {words}", asked.seen), ..asked }
}

async fn ask_from(asker: &Asker, check: &Check) -> Asked {
    let began = Instant::now();
    let window = Duration::from_millis(check.timeout.into());
    if !wants_second_series(&check.probe) || window <= SECOND_SERIES * 2 {
        return series(asker, &check.probe, began, window).await;
    }
    let first = series(asker, &check.probe, began, window);
    let second = async {
        tokio::time::sleep(SECOND_SERIES).await;
        series(asker, &check.probe, began, window).await
    };
    // What one of them finds to be wrong stands, without waiting for the other.
    match tokio::try_join!(failed_early(first), failed_early(second)) {
        Ok((first, second)) => {
            let attempts = first.attempts + second.attempts;
            Asked { attempts, ..first }
        }
        Err(failed) => failed,
    }
}

async fn failed_early(series: impl Future<Output = Asked>) -> Result<Asked, Asked> {
    let asked = series.await;
    if asked.passed { Ok(asked) } else { Err(asked) }
}

/// A ping asks several times by itself.
fn wants_second_series(probe: &Probe) -> bool {
    let connects = matches!(probe, Probe::Tcp { .. } | Probe::Http { .. });
    connects && matches!(probe.reach(), Some(Reach::Blocked | Reach::Dropped))
}

async fn series(asker: &Asker, probe: &Probe, began: Instant, window: Duration) -> Asked {
    let mut told: Option<Outcome> = None;
    let mut attempts = 0;
    let mut pause = PAUSES.0;
    let neighbours = Neighbours::now();
    loop {
        let left = window.saturating_sub(began.elapsed());
        attempts += 1;
        let outcome = match once(asker, probe, left).await {
            Ok(outcome) => outcome,
            Err(seen) => return Asked { passed: false, seen, attempts },
        };
        let verdict = verdict::of(probe, &outcome);
        let outcome = match told.take() {
            Some(earlier) => verdict::more_telling(earlier, outcome),
            None => outcome,
        };
        let left = window.saturating_sub(began.elapsed());
        if verdict.is_final() || left < pause + SHORTEST {
            let trouble = neighbours.trouble_since();
            let (passed, seen) = settle(verdict, &outcome, trouble);
            return Asked { passed, seen, attempts };
        }
        told = Some(outcome);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// The end of a check. If packets vanished for want of room in the kernel, silence proves nothing,
/// and a failure may have come from that.
fn settle(verdict: Verdict, outcome: &Outcome, trouble: Option<&str>) -> (bool, String) {
    let seen = verdict::seen(outcome);
    match (trouble, outcome) {
        (Some(trouble), Outcome::Silent { .. }) => (false, format!("{seen}; {trouble}")),
        (Some(trouble), Outcome::Refused { .. }) if !verdict.passes() => {
            (false, format!("{seen}; {trouble}"))
        }
        _ => (verdict.passes(), seen),
    }
}

/// Makes one probe.
///
/// # Errors
/// The reason in words, if it says nothing: then asking again is no use.
pub(super) async fn once(asker: &Asker, probe: &Probe, left: Duration) -> Result<Outcome, String> {
    let nothing =
        File::open("/dev/null").map_err(|error| format!("cannot open /dev/null: {error}"))?;
    let deadline = Instant::now() + left + GRACE;
    let running = probe::start(&asker.folder, arguments(asker, probe, left), nothing.as_fd());
    let running = tokio::time::timeout_at(deadline.into(), running)
        .await
        .unwrap_or_else(|_| Err("the first process of the node does not answer".to_owned()))?;
    let ended = tokio::time::timeout_at(deadline.into(), running.end())
        .await
        .map_err(|_| "the probe did not end in time and was killed".to_owned())?
        .map_err(|error| Failure::of(&error).to_string())?;
    probe::answer(&ended)
}

/// What the probe is told.
fn arguments(asker: &Asker, probe: &Probe, left: Duration) -> Vec<String> {
    let millis = left.as_millis().max(1);
    let text = match probe {
        Probe::Ping { to, .. } => {
            let interval = (millis / 5).clamp(*PING_PAUSES.start(), *PING_PAUSES.end());
            let count = millis.div_ceil(interval).min(u16::MAX.into());
            vec![
                "ping".to_owned(),
                to.to_string(),
                format!("--count={count}"),
                format!("--interval-ms={interval}"),
            ]
        }
        Probe::Tcp { to, port, .. } => vec!["tcp".to_owned(), to.to_string(), port.to_string()],
        Probe::Http { url, .. } => vec![
            "http".to_owned(),
            format!("--address={}", url.address),
            format!("--port={}", url.port),
            format!("--host={}", url.host),
            format!("--path={}", url.path),
        ],
        Probe::Udp { to, port, .. } => vec!["udp".to_owned(), to.to_string(), port.to_string()],
        Probe::Only { .. } | Probe::Tunnel { .. } | Probe::Isolated { .. } => Vec::new(),
    };
    let token = asker.token.iter().map(|token| format!("--token={token}"));
    text.into_iter().chain(token).chain([format!("--timeout-ms={millis}")]).collect()
}

#[cfg(test)]
mod tests {
    use netarium_core::outcome::Reason;

    use super::*;

    fn told(check: &str, millis: u64) -> String {
        let lab = format!(
            "name: one\nsegments: {{lan: 10.0.0.0/24}}\nnodes: {{a: {{interfaces: {{lan: 10.0.0.1}}}}}}\n\
             checks: [{{from: a, {check}}}]\n"
        );
        let model = netarium_core::resolve::load(lab.as_bytes(), "one").unwrap();
        let probe = &model.checks[0].probe;
        let token = probe.source().map(|_| "0123456789abcdef".to_owned());
        let folder = crate::folder::DataFolder::at("/data").lab(&model.lab).node(probe.at());
        arguments(&Asker { folder, token }, probe, Duration::from_millis(millis)).join(" ")
    }

    #[test]
    fn a_ping_asks_again_and_again_until_its_end() {
        let ping = |millis| told("ping: 10.0.0.9", millis);
        assert_eq!(ping(5000), "ping 10.0.0.9 --count=50 --interval-ms=100 --timeout-ms=5000");
        assert_eq!(ping(250), "ping 10.0.0.9 --count=5 --interval-ms=50 --timeout-ms=250");
        assert_eq!(ping(0), "ping 10.0.0.9 --count=1 --interval-ms=10 --timeout-ms=1");
    }

    #[test]
    fn a_request_names_address_and_host_apart() {
        assert_eq!(told("tcp: 10.0.0.9:80", 500), "tcp 10.0.0.9 80 --timeout-ms=500");
        assert_eq!(told("udp: 10.0.0.9:53", 500), "udp 10.0.0.9 53 --timeout-ms=500");
        assert_eq!(
            told("tcp: 10.0.0.1:80, source: a", 500),
            "tcp 10.0.0.1 80 --token=0123456789abcdef --timeout-ms=500"
        );
        assert_eq!(
            told("http: \"http://a:8080/x?y=1\"", 500),
            "http --address=10.0.0.1 --port=8080 --host=a --path=/x?y=1 --timeout-ms=500"
        );
    }

    #[test]
    fn a_silence_proves_nothing_where_packets_vanish() {
        let silent = Outcome::Silent { millis: 500.0 };
        let by = Some(std::net::IpAddr::from([10, 0, 0, 1]));
        let refused = Outcome::Refused { by, reason: Reason::Prohibited, icmp: None };
        let (so_far, full) = (Verdict::PassesSoFar, Some("it was full"));
        for (verdict, outcome, trouble, passed, seen) in [
            (so_far, &silent, None, true, "no answer in 500 ms"),
            (so_far, &silent, full, false, "no answer in 500 ms; it was full"),
            (so_far, &refused, full, true, "10.0.0.1 says administratively prohibited"),
            (
                Verdict::FailsSoFar,
                &refused,
                full,
                false,
                "10.0.0.1 says administratively prohibited; it was full",
            ),
        ] {
            assert_eq!(settle(verdict, outcome, trouble), (passed, seen.to_owned()));
        }
    }

    #[test]
    fn only_requests_that_are_not_to_be_answered_are_doubled() {
        let model = |expect: &str| {
            let lab = format!(
                "name: one\nsegments: {{lan: 10.0.0.0/24}}\nnodes: {{a: {{interfaces: {{lan: 10.0.0.1}}}}}}\n\
                 checks: [{{from: a, tcp: 10.0.0.9:80{expect}}}]\n"
            );
            netarium_core::resolve::load(lab.as_bytes(), "one").unwrap()
        };
        assert!(wants_second_series(&model(", expect: blocked").checks[0].probe));
        assert!(wants_second_series(&model(", expect: dropped").checks[0].probe));
        assert!(!wants_second_series(&model(", expect: rejected").checks[0].probe));
        assert!(!wants_second_series(&model("").checks[0].probe));
    }
}
