//! What became of a check.

use std::time::{Duration, Instant};

use netarium_core::model::{Check, Deed, Disturbance, Probe};
use netarium_core::name::Name;
use netarium_core::verdict;
use serde::Serialize;

use super::logs::LogTail;

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CheckResult {
    /// The check's name.
    pub name: String,
    /// What it belongs to, if the lab file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How it was made.
    pub kind: CheckKind,
    /// The node that asked or was looked at, the segment that was listened on, or the tunnel.
    pub at: Name,
    /// Whether it passed.
    pub passed: bool,
    /// What was wanted, in words.
    pub expected: String,
    /// What was seen, or why nothing could be, in words.
    pub seen: String,
    /// The first frames that were not allowed, if it listened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
    /// How often it asked; nothing if it does not ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How long it took, in milliseconds.
    pub millis: f64,
    /// If it disturbed the lab, how long after that was undone all was as before, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered_after: Option<f64>,
    /// If it failed, what services of the nodes that have to do with it wrote last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogTail>,
}

/// How a check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CheckKind {
    /// ICMP echo.
    Ping,
    /// A TCP connection.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// An HTTP request.
    Http,
    /// Listening to a segment.
    Only,
    /// Asking the daemons of a tunnel.
    Tunnel,
    /// Looking for ways to the machine.
    Isolated,
    /// A node is killed and comes back.
    Kill,
    /// A link goes down and comes up.
    Cut,
    /// A tunnel gets new keys.
    Rekey,
    /// A node's certificate is revoked, and it gets another.
    Revoke,
}

impl CheckResult {
    /// The result of a check that passed, and nothing more to say about it.
    pub fn passed(check: &Check) -> Self {
        Found::once(true, String::new()).result_of(check, Instant::now())
    }

    /// The result of something that was done to the lab, beginning at `began`.
    pub(super) fn of_disturbance(
        disturbance: &Disturbance,
        passed: bool,
        seen: String,
        began: Instant,
        recovered: Option<Duration>,
    ) -> Self {
        Self {
            name: disturbance.name.clone(),
            group: disturbance.group.clone(),
            kind: match disturbance.deed {
                Deed::Kill { .. } => CheckKind::Kill,
                Deed::Cut { .. } => CheckKind::Cut,
                Deed::Rekey { .. } => CheckKind::Rekey,
                Deed::Revoke { .. } => CheckKind::Revoke,
            },
            at: disturbance.deed.at().clone(),
            passed,
            expected: verdict::expected_after(disturbance),
            seen,
            samples: Vec::new(),
            attempts: None,
            millis: millis(began.elapsed()),
            recovered_after: recovered.map(millis),
            logs: Vec::new(),
        }
    }
}

impl CheckKind {
    /// How a check with this probe is made.
    pub fn of(probe: &Probe) -> Self {
        match probe {
            Probe::Ping { .. } => Self::Ping,
            Probe::Tcp { .. } => Self::Tcp,
            Probe::Udp { .. } => Self::Udp,
            Probe::Http { .. } => Self::Http,
            Probe::Only { .. } => Self::Only,
            Probe::Tunnel { .. } => Self::Tunnel,
            Probe::Isolated { .. } => Self::Isolated,
        }
    }
}

/// What was found out, whoever found it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) passed: bool,
    /// What was seen, in words.
    pub(super) seen: String,
    /// Frames that are not allowed.
    pub(super) samples: Vec<String>,
    /// How often was asked.
    pub(super) attempts: Option<u32>,
}

impl Found {
    /// Something that was found out at once.
    pub(super) fn once(passed: bool, seen: String) -> Self {
        Self { passed, seen, samples: Vec::new(), attempts: None }
    }

    /// The result of `check`, which began at `began`.
    pub(super) fn result_of(self, check: &Check, began: Instant) -> CheckResult {
        CheckResult {
            name: check.name.clone(),
            group: check.group.clone(),
            kind: CheckKind::of(&check.probe),
            at: check.probe.at().clone(),
            passed: self.passed,
            expected: verdict::expected(&check.probe),
            seen: self.seen,
            samples: self.samples,
            attempts: self.attempts,
            millis: millis(began.elapsed()),
            recovered_after: None,
            logs: Vec::new(),
        }
    }
}

/// To the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
