//! Dynamic checks: does something to the lab, sees what holds meanwhile, undoes it, and waits until
//! all is as before. One after another, while every segment that a check listens on is listened to
//! from both ends of each frame's way.

mod revoke;

use std::sync::Arc;
use std::time::{Duration, Instant};

use netarium_core::model::{Check, Deed, Disturbance, Model, Probe, Reach, TunnelState};
use netarium_core::name::Name;
use netarium_core::object::LinkState;
use netarium_core::verdict;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::listen::{Ears, Listening};
use super::result::{CheckResult, Found};
use super::transfer::Course;
use super::{AT_ONCE, CheckError, Selection, choose_disturbances, logs, make, next, running, told};
use crate::failure::Failure;
use crate::lab::{AfterFailure, Lab, UpOptions};
use crate::lab_file::LabFile;

/// The pause before a check that does not hold again yet is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// What is appended to the name of a check that listens while all of this happens.
const THROUGHOUT: &str = "during all dynamic checks";

/// Makes the selected dynamic checks of a running lab, one after another. `report` is called as each
/// one ends, and at last for each check that listens to a segment, whether it is selected or not.
/// What is done to the lab is undone before the next; bringing the lab up mends what cannot be.
///
/// # Errors
/// If the lab is not up, or nothing is called as selected.
pub async fn disturb(
    lab: &Lab,
    file: &LabFile,
    selection: &Selection,
    report: &(dyn Fn(&CheckResult) + Sync),
) -> Result<Vec<CheckResult>, CheckError> {
    running(lab)?;
    let chosen = choose_disturbances(&file.model, selection)?;
    let mut results = Vec::new();
    if chosen.is_empty() {
        return Ok(results);
    }
    let model = &file.model;
    let is_listening = |check: &&Check| matches!(check.probe, Probe::Only { .. });
    let ears: Vec<&Check> = model.checks.iter().filter(is_listening).collect();
    let limit = Arc::new(Semaphore::new(AT_ONCE));
    let began = Instant::now();
    let listening = Listening::begin(lab.folder(), model, &ears, Ears::BothEnds, &limit).await;
    let mut stage = Stage { lab, file, ears: &ears, listening, limit };
    for disturbance in chosen {
        let result = stage.play(disturbance).await;
        report(&result);
        results.push(result);
    }
    let heard = stage.listening.end().await;
    for check in ears {
        if let Probe::Only { segment, protocols } = &check.probe {
            let heard = heard.get(segment).map_or(&[][..], Vec::as_slice);
            let verdict::Finding { passed, seen, samples } = verdict::only(protocols, heard);
            let found = Found { samples, ..Found::once(passed, seen) };
            let mut result = told(lab, model, check, found, began);
            result.name = format!("{} {THROUGHOUT}", result.name);
            report(&result);
            results.push(result);
        }
    }
    Ok(results)
}

/// Where it happens.
struct Stage<'a> {
    lab: &'a Lab,
    file: &'a LabFile,
    /// The checks that listen.
    ears: &'a [&'a Check],
    listening: Listening,
    limit: Arc<Semaphore>,
}

/// How one disturbance went.
#[derive(Default)]
struct Story {
    /// What was not as it must be.
    faults: Vec<String>,
    /// What else is worth telling.
    notes: Vec<String>,
    /// What failed, for its logs.
    failed: Vec<Check>,
}

impl Stage<'_> {
    async fn play(&mut self, disturbance: &Disturbance) -> CheckResult {
        let began = Instant::now();
        let mut story = Story::default();
        let undone = match &disturbance.deed {
            Deed::Kill { node } => self.kill(node, disturbance, &mut story).await,
            Deed::Cut { node, interface, millis } => {
                let lasts = Duration::from_millis((*millis).into());
                self.cut((node, interface), lasts, disturbance, &mut story).await
            }
            Deed::Rekey { tunnel, node, during } => {
                let patience = Duration::from_millis(disturbance.recover.into());
                self.rekey(tunnel, node, during.as_ref(), patience, &mut story).await
            }
            Deed::Revoke { node, tunnels } => {
                self.revoke(node, tunnels, disturbance, &mut story).await
            }
        };
        let recovered = match undone {
            Ok(undone) => self.recover(disturbance, undone, &mut story).await,
            Err(reason) => {
                story.faults.push(reason);
                None
            }
        };
        self.result(disturbance, story, began, recovered)
    }

    /// Kills a node and brings it back. When its return began.
    async fn kill(
        &mut self,
        node: &Name,
        disturbance: &Disturbance,
        story: &mut Story,
    ) -> Result<Instant, String> {
        self.listening.pause(node).await;
        let killed = self.lab.kill_node(node, &|_| ()).await;
        if killed.is_ok() {
            self.meanwhile(disturbance, story).await;
        }
        let undone = Instant::now();
        let patience = Duration::from_millis(disturbance.recover.into());
        let options =
            UpOptions { after_failure: AfterFailure::Keep, patience, ..UpOptions::default() };
        let up = self.lab.up(self.file, options, &|_| ()).await;
        let (lab, model) = (self.lab.folder(), &self.file.model);
        self.listening.resume(lab, model, self.ears, node, &self.limit).await;
        killed.map_err(|error| format!("cannot kill {node}: {}", Failure::of(&error)))?;
        up.map_err(|error| format!("{node} does not come back: {}", Failure::of(&error)))?;
        Ok(undone)
    }

    /// Sets a link down for a while. When it was set up again.
    async fn cut(
        &self,
        (node, interface): (&Name, &netarium_core::name::InterfaceName),
        lasts: Duration,
        disturbance: &Disturbance,
        story: &mut Story,
    ) -> Result<Instant, String> {
        let words = |error| format!("{node}:{interface}: {}", Failure::of(&error));
        let ends = Instant::now() + lasts;
        let cut = self.lab.set_link(node, interface, LinkState::Down, &|_| ()).await;
        if cut.is_ok() {
            self.meanwhile(disturbance, story).await;
            tokio::time::sleep_until(ends.into()).await;
        }
        let undone = Instant::now();
        self.lab.set_link(node, interface, LinkState::Up, &|_| ()).await.map_err(words)?;
        cut.map_err(words)?;
        Ok(undone)
    }

    /// Gives a tunnel new keys, while something is transferred. When that was asked for.
    async fn rekey(
        &self,
        tunnel: &Name,
        node: &Name,
        during: Option<&netarium_core::model::Transfer>,
        patience: Duration,
        story: &mut Story,
    ) -> Result<Instant, String> {
        let course = match during {
            Some(transfer) => Some(Course::begin(self.lab.folder(), transfer).await?),
            None => None,
        };
        let asked = Instant::now();
        let numbers = self.lab.rekey(node, tunnel, patience).await;
        if let Some(course) = course {
            match course.end().await {
                Ok(words) => story.notes.push(words),
                Err(reason) => story.faults.push(reason),
            }
        }
        let [before, after] = numbers.map_err(|error| Failure::of(&error).to_string())?;
        story.notes.push(format!(
            "IKE {} became {}, ESP {} became {}",
            before.ike.join("/"),
            after.ike.join("/"),
            before.esp.join("/"),
            after.esp.join("/")
        ));
        Ok(asked)
    }

    /// Makes the checks that must hold before it is undone.
    async fn meanwhile(&self, disturbance: &Disturbance, story: &mut Story) {
        let mut making = JoinSet::new();
        for check in &disturbance.meanwhile {
            let (lab, model, check) =
                (self.lab.clone(), self.file.model.clone(), Check::clone(check));
            making.spawn(async move {
                let found = make(&lab, &model, &check).await;
                (check, found)
            });
        }
        while let Some((check, found)) = next(&mut making).await {
            if found.passed {
                story.notes.push(format!("meanwhile, {}", check.name));
            } else {
                story.faults.push(format!("meanwhile, {}: {}", check.name, found.seen));
                story.failed.push(check);
            }
        }
    }

    /// Waits until what must hold again does. How long after `undone` that was.
    async fn recover(
        &self,
        disturbance: &Disturbance,
        undone: Instant,
        story: &mut Story,
    ) -> Option<Duration> {
        let deadline = undone + Duration::from_millis(disturbance.recover.into());
        let checks = &self.file.model.checks;
        let all: Vec<&Check> =
            disturbance.then.iter().filter_map(|place| checks.get(*place)).collect();
        let (come, stay): (Vec<&Check>, Vec<&Check>) = all.into_iter().partition(|it| waits(it));
        let before = story.faults.len();
        self.hold(&come, Some(deadline), story).await;
        let recovered = undone.elapsed();
        let has_recovered = story.faults.len() == before;
        // What must not be reached takes its time to be sure of, which is no time of recovery.
        self.hold(&stay, None, story).await;
        has_recovered.then_some(recovered)
    }

    /// Makes checks, each again and again until it holds or the deadline has come.
    async fn hold(&self, checks: &[&Check], deadline: Option<Instant>, story: &mut Story) {
        let model = Arc::new(Model::clone(&self.file.model));
        let mut making = JoinSet::new();
        for check in checks {
            let (lab, model, limit) =
                (self.lab.clone(), Arc::clone(&model), Arc::clone(&self.limit));
            let check = Check::clone(check);
            making.spawn(async move {
                let _permit = limit.acquire().await;
                let found = again(&lab, &model, &check, deadline).await;
                (check, found)
            });
        }
        while let Some((check, found)) = next(&mut making).await {
            if !found.passed {
                story.faults.push(format!("afterwards, {}: {}", check.name, found.seen));
                story.failed.push(check);
            }
        }
    }

    fn result(
        &self,
        disturbance: &Disturbance,
        story: Story,
        began: Instant,
        recovered: Option<Duration>,
    ) -> CheckResult {
        let Story { faults, notes, failed } = story;
        let passed = faults.is_empty();
        let recovery = recovered.map(|time| format!("all as before after {} ms", time.as_millis()));
        let seen: Vec<String> = faults.into_iter().chain(recovery).chain(notes).collect();
        let mut result =
            CheckResult::of_disturbance(disturbance, passed, seen.join("; "), began, recovered);
        for check in &failed {
            for log in logs::of_check(self.lab, &self.file.model, check) {
                if !result.logs.contains(&log) {
                    result.logs.push(log);
                }
            }
        }
        result
    }
}

/// Whether a check waits for something to come, which a lab that recovers brings back.
fn waits(check: &Check) -> bool {
    match &check.probe {
        Probe::Tunnel { expect, .. } => *expect != TunnelState::Down,
        probe => probe.reach() == Some(Reach::Reached),
    }
}

async fn again(lab: &Lab, model: &Model, check: &Check, deadline: Option<Instant>) -> Found {
    loop {
        let found = make(lab, model, check).await;
        let is_over = deadline.is_none_or(|deadline| Instant::now() + PAUSE >= deadline);
        if found.passed || is_over {
            return found;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
