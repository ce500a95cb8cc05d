//! Checks: finds out whether a running lab does what its file says it must.
//!
//! All checks run side by side, each with its own deadline, by programs in the nodes: `ask` for
//! those that ask from a node, `listen` for those that listen to a segment while the others ask.
//! Those that disturb the lab come after them, one by one: `disturb`. What an outcome means is decided in [`netarium_core::verdict`].

mod ask;
mod disturb;
mod isolated;
mod listen;
mod logs;
mod neighbours;
mod probe;
mod result;
mod transfer;
mod tunnel;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use netarium_core::model::{Check, Disturbance, Model, Probe};
use netarium_core::name::Name;
use netarium_core::verdict;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use self::disturb::disturb;
pub use self::logs::LogTail;
pub use self::result::{CheckKind, CheckResult};

use self::listen::{Ears, Listening};
use self::result::Found;
use crate::lab::{Lab, State};

/// How many programs are started in nodes at the same time: more would only wait for each other.
const AT_ONCE: usize = 64;

/// Which checks of a lab are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All.
    #[default]
    All,
    /// Those that one of these picks: the name of a check or a group, or a pattern with `*` and `?`
    /// for either. The name of a check that several nodes make, or that listens on several segments,
    /// stands for all of them.
    Matching(Vec<String>),
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
    /// No check has this name, or is of this group.
    #[error("no check and no group is called {pattern:?}")]
    Unknown {
        /// The name or pattern.
        pattern: String,
        /// The names that there are.
        known: Vec<String>,
        /// The groups that there are.
        groups: Vec<String>,
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
            Self::Unknown { known, groups, .. } => {
                let groups = match groups.as_slice() {
                    [] => String::new(),
                    groups => format!("; and the groups {}", groups.join("; ")),
                };
                Some(format!("there are: {}{groups}", known.join("; ")))
            }
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
    running(lab)?;
    let chosen = choose(model, selection)?;
    let limit = Arc::new(Semaphore::new(AT_ONCE));
    let began = Instant::now();
    let listening = Listening::begin(lab.folder(), model, &chosen, Ears::Senders, &limit).await;
    let model = Arc::new(model.clone());
    let mut results = BTreeMap::new();
    let mut making = JoinSet::new();
    for (place, check) in chosen.iter().enumerate() {
        if matches!(check.probe, Probe::Only { .. }) {
            continue;
        }
        let (lab, check, limit) = (lab.clone(), Check::clone(check), Arc::clone(&limit));
        let model = Arc::clone(&model);
        making.spawn(async move {
            let _permit = limit.acquire().await;
            let began = Instant::now();
            let found = make(&lab, &model, &check).await;
            (place, told(&lab, &model, &check, found, began))
        });
    }
    while let Some((place, result)) = next(&mut making).await {
        report(&result);
        results.insert(place, result);
    }
    let heard = listening.end().await;
    for (place, check) in chosen.iter().enumerate() {
        if let Probe::Only { segment, protocols } = &check.probe {
            let heard = heard.get(segment).map_or(&[][..], Vec::as_slice);
            let verdict::Finding { passed, seen, samples } = verdict::only(protocols, heard);
            let found = Found { samples, ..Found::once(passed, seen) };
            let result = told(lab, &model, check, found, began);
            report(&result);
            results.insert(place, result);
        }
    }
    Ok(results.into_values().collect())
}

/// Sees that the lab is up.
fn running(lab: &Lab) -> Result<(), CheckError> {
    match lab.state() {
        State::Up => Ok(()),
        State::Down => Err(CheckError::NotUp(lab.name().clone())),
        State::Killed => Err(CheckError::Killed(lab.name().clone())),
    }
}

/// Makes a check that does not listen.
async fn make(lab: &Lab, model: &Model, check: &Check) -> Found {
    match &check.probe {
        Probe::Tunnel { tunnel, between, expect } => {
            tunnel::look(lab, tunnel, between, expect, check.timeout).await
        }
        Probe::Isolated { node, interfaces } => {
            isolated::look(lab, model, node, interfaces, check.timeout).await
        }
        _ => ask::ask(lab.folder(), check).await,
    }
}

/// The result of a check, with the logs if it failed.
fn told(lab: &Lab, model: &Model, check: &Check, found: Found, began: Instant) -> CheckResult {
    let mut result = found.result_of(check, began);
    if !result.passed {
        result.logs = logs::of_check(lab, model, check);
    }
    result
}

/// What the next task that ends brings. A task that panics takes the caller with it.
async fn next<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    match tasks.join_next().await? {
        Ok(result) => Some(result),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The selected checks, in the order of the lab file, without those that disturb.
///
/// # Errors
/// If a pattern picks none, and nothing that disturbs either.
pub fn choose<'a>(model: &'a Model, selection: &Selection) -> Result<Vec<&'a Check>, CheckError> {
    let patterns = known_patterns(model, selection)?;
    let wanted = |check: &&Check| patterns.is_none_or(|all| all.iter().any(|it| check.fits(it)));
    Ok(model.checks.iter().filter(wanted).collect())
}

/// The selected dynamic checks, in the order of the lab file.
///
/// # Errors
/// As [`choose`].
pub fn choose_disturbances<'a>(
    model: &'a Model,
    selection: &Selection,
) -> Result<Vec<&'a Disturbance>, CheckError> {
    let patterns = known_patterns(model, selection)?;
    let wanted =
        |it: &&Disturbance| patterns.is_none_or(|all| all.iter().any(|pattern| it.fits(pattern)));
    Ok(model.disturbances.iter().filter(wanted).collect())
}

/// The patterns of a selection; none if it is of all.
fn known_patterns<'s>(
    model: &Model,
    selection: &'s Selection,
) -> Result<Option<&'s [String]>, CheckError> {
    let Selection::Matching(patterns) = selection else { return Ok(None) };
    let Model { checks, disturbances, .. } = model;
    for pattern in patterns {
        let is_known = checks.iter().any(|check| check.fits(pattern))
            || disturbances.iter().any(|it| it.fits(pattern));
        if !is_known {
            let names = checks.iter().map(|check| &check.name);
            let known = names.chain(disturbances.iter().map(|it| &it.name)).cloned().collect();
            let (pattern, groups) = (pattern.clone(), groups(model));
            return Err(CheckError::Unknown { pattern, known, groups });
        }
    }
    Ok(Some(patterns))
}

/// The groups of checks, each once, in the order of the lab file.
fn groups(model: &Model) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    let of_checks = model.checks.iter().map(|check| check.group.as_ref());
    let all = of_checks.chain(model.disturbances.iter().map(|it| it.group.as_ref()));
    for group in all.flatten() {
        if !groups.contains(group) {
            groups.push(group.clone());
        }
    }
    groups
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
  - {from: a, ping: b, group: reach}
  - {on: lan, only: [icmp], group: wire}
  - {kill: a, group: change}
";

    fn chosen(names: &[&str]) -> Result<Vec<String>, String> {
        let model = netarium_core::resolve::load(LAB.as_bytes(), "two").unwrap();
        let patterns = names.iter().map(|&name| name.to_owned()).collect();
        let chosen = choose(&model, &Selection::Matching(patterns));
        let names = |checks: Vec<&Check>| checks.iter().map(|it| it.name.clone()).collect();
        chosen.map(names).map_err(|error| error.hint().unwrap_or_default())
    }

    #[test]
    fn checks_are_selected_by_name_group_or_pattern_in_the_order_of_the_lab_file() {
        let all = ["alive (a)", "alive (b)", "a pings b", "only icmp on lan"].map(str::to_owned);
        assert_eq!(chosen(&["only icmp on lan", "a pings b"]), Ok(all[2..].to_vec()));
        assert_eq!(chosen(&["alive"]), Ok(all[..2].to_vec()));
        assert_eq!(chosen(&["alive (b)"]), Ok(all[1..2].to_vec()));
        assert_eq!(chosen(&["wire", "reach"]), Ok(all[2..].to_vec()));
        assert_eq!(chosen(&["*pings*", "wi?e"]), Ok(all[2..].to_vec()));
        assert_eq!(chosen(&["*"]), Ok(all.to_vec()));
        assert_eq!(chosen(&["change"]), Ok(vec![]));
        let names = format!("{}; a is killed", all.join("; "));
        let there_are = format!("there are: {names}; and the groups reach; wire; change");
        for unknown in ["aliv", "x*"] {
            assert_eq!(chosen(&["alive", unknown]), Err(there_are.clone()));
        }
    }
}
