//! Checks: finds out whether a running lab does what its file says it must.
//!
//! All checks run side by side, each with its own deadline, by programs in the nodes: `ask` for
//! those that ask from a node, `listen` for those that listen to a segment while the others ask.
//! What an outcome means is decided in [`netarium_core::verdict`].

mod ask;
mod listen;
mod neighbours;
mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use netarium_core::model::{Check, Model, Probe};
use netarium_core::name::Name;
use netarium_core::verdict;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::ask::{Asked, ask};
use self::listen::Listening;
use crate::lab::{Lab, State};

/// How many programs are started in nodes at the same time: more would only wait for each other.
const AT_ONCE: usize = 64;

/// Which checks of a lab are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All.
    #[default]
    All,
    /// Those with these names. The name of a check that several nodes make, or that listens on
    /// several segments, stands for all of them.
    Named(BTreeSet<String>),
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CheckResult {
    /// The check's name.
    pub name: String,
    /// How it was made.
    pub kind: CheckKind,
    /// The node that asked, or the segment that was listened on.
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
    /// How often it asked; nothing if it listened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How long it took, in milliseconds.
    pub millis: f64,
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
    /// An HTTP request.
    Http,
    /// Listening to a segment.
    Only,
}

/// Why no check was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The lab is not up.
    #[error("lab {0} is not up")]
    NotUp(Name),
    /// The lab's keeper was killed.
    #[error("lab {0} does not run any more: its keeper was killed")]
    Killed(Name),
    /// No check has this name.
    #[error("there is no check {name:?}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

impl CheckError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotUp(_) => Some("bring it up: netarium up".to_owned()),
            Self::Killed(_) => Some("repair it: netarium up".to_owned()),
            Self::Unknown { known, .. } if known.is_empty() => {
                Some("the lab file has no checks".to_owned())
            }
            Self::Unknown { known, .. } => Some(format!("there are: {}", known.join("; "))),
        }
    }
}

/// Makes the checks of a running lab that are selected. `report` is called as each one ends; the
/// results come in the order of the lab file. Those that listen begin before all others and end
/// after them. Needs a tokio runtime with I/O and time.
///
/// # Errors
/// If the lab is not up, or has no check of a selected name. A node that does not run is no error,
/// but a check that fails.
pub async fn check(
    lab: &Lab,
    model: &Model,
    selection: &Selection,
    report: &(dyn Fn(&CheckResult) + Sync),
) -> Result<Vec<CheckResult>, CheckError> {
    match lab.state() {
        State::Up => {}
        State::Down => return Err(CheckError::NotUp(lab.name().clone())),
        State::Killed => return Err(CheckError::Killed(lab.name().clone())),
    }
    let chosen = choose(&model.checks, selection)?;
    let limit = Arc::new(Semaphore::new(AT_ONCE));
    let began = Instant::now();
    let listening = Listening::begin(lab.folder(), model, &chosen, &limit).await;
    let mut results = BTreeMap::new();
    let mut asking = JoinSet::new();
    for (place, check) in chosen.iter().enumerate() {
        let Some(asker) = asker(&check.probe) else { continue };
        let folder = lab.folder().node(asker);
        let (check, limit) = (Check::clone(check), Arc::clone(&limit));
        asking.spawn(async move {
            let _permit = limit.acquire().await;
            let began = Instant::now();
            let asked = ask(&folder, &check).await;
            (place, of_asking(&check, asked, began))
        });
    }
    while let Some((place, result)) = next(&mut asking).await {
        report(&result);
        results.insert(place, result);
    }
    let heard = listening.end().await;
    for (place, check) in chosen.iter().enumerate() {
        if let Probe::Only { segment, protocols } = &check.probe {
            let heard = heard.get(segment).map_or(&[][..], Vec::as_slice);
            let result = of_listening(check, verdict::only(protocols, heard), began);
            report(&result);
            results.insert(place, result);
        }
    }
    Ok(results.into_values().collect())
}

/// What the next task that ends brings. A task that panics takes the caller with it.
async fn next<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    match tasks.join_next().await? {
        Ok(result) => Some(result),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The selected checks, in the order of the lab file.
fn choose<'a>(checks: &'a [Check], selection: &Selection) -> Result<Vec<&'a Check>, CheckError> {
    let Selection::Named(names) = selection else { return Ok(checks.iter().collect()) };
    for name in names {
        if !checks.iter().any(|check| is_called(check, name)) {
            let known = checks.iter().map(|check| check.name.clone()).collect();
            return Err(CheckError::Unknown { name: name.clone(), known });
        }
    }
    let wanted = |check: &&Check| names.iter().any(|name| is_called(check, name));
    Ok(checks.iter().filter(wanted).collect())
}

/// Whether a check has this name, alone or followed by who makes it: `NAME (client-a)`.
fn is_called(check: &Check, name: &str) -> bool {
    let rest = check.name.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest == format!(" ({})", at(&check.probe)))
}

/// The node that asks.
fn asker(probe: &Probe) -> Option<&Name> {
    match probe {
        Probe::Ping { from, .. } | Probe::Tcp { from, .. } | Probe::Http { from, .. } => Some(from),
        Probe::Only { .. } => None,
    }
}

/// The node that asks, or the segment that is listened on.
fn at(probe: &Probe) -> &Name {
    match probe {
        Probe::Ping { from, .. } | Probe::Tcp { from, .. } | Probe::Http { from, .. } => from,
        Probe::Only { segment, .. } => segment,
    }
}

fn kind(probe: &Probe) -> CheckKind {
    match probe {
        Probe::Ping { .. } => CheckKind::Ping,
        Probe::Tcp { .. } => CheckKind::Tcp,
        Probe::Http { .. } => CheckKind::Http,
        Probe::Only { .. } => CheckKind::Only,
    }
}

fn of_asking(check: &Check, asked: Asked, began: Instant) -> CheckResult {
    CheckResult {
        name: check.name.clone(),
        kind: kind(&check.probe),
        at: at(&check.probe).clone(),
        passed: asked.passed,
        expected: verdict::expected(&check.probe),
        seen: asked.seen,
        samples: Vec::new(),
        attempts: Some(asked.attempts),
        millis: millis_since(began),
    }
}

fn of_listening(check: &Check, finding: verdict::Finding, began: Instant) -> CheckResult {
    CheckResult {
        name: check.name.clone(),
        kind: kind(&check.probe),
        at: at(&check.probe).clone(),
        passed: finding.passed,
        expected: verdict::expected(&check.probe),
        seen: finding.seen,
        samples: finding.samples,
        attempts: None,
        millis: millis_since(began),
    }
}

/// To the microsecond.
fn millis_since(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = "
name: two
segments: {lan: 10.0.0.0/24}
nodes:
  a: {interfaces: {lan: 10.0.0.1}}
  b: {interfaces: {lan: 10.0.0.2}}
checks:
  - {from: [a, b], ping: 10.0.0.1, name: alive}
  - {from: a, ping: b}
  - {on: lan, only: [icmp]}
";

    fn chosen(names: &[&str]) -> Result<Vec<String>, String> {
        let model = netarium_core::resolve::load(LAB.as_bytes(), "two").unwrap();
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let chosen = choose(&model.checks, &Selection::Named(names));
        let names = |checks: Vec<&Check>| checks.iter().map(|it| it.name.clone()).collect();
        chosen.map(names).map_err(|error| error.hint().unwrap_or_default())
    }

    #[test]
    fn checks_are_selected_by_name_in_the_order_of_the_lab_file() {
        let all = ["alive (a)", "alive (b)", "a pings b", "only icmp on lan"].map(str::to_owned);
        assert_eq!(chosen(&["only icmp on lan", "a pings b"]), Ok(all[2..].to_vec()));
        assert_eq!(chosen(&["alive"]), Ok(all[..2].to_vec()));
        assert_eq!(chosen(&["alive (b)"]), Ok(all[1..2].to_vec()));
        assert_eq!(chosen(&["aliv"]), Err(format!("there are: {}", all.join("; "))));
    }
}
