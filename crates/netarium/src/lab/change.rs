//! The worker inside a lab, as seen from outside: it is given steps and says what it did.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use netarium_core::model::{Limits, Secrets};
use netarium_core::name::Name;
use netarium_core::object::{Id, ImageRef, Object};
use netarium_core::plan::Step;

use super::containers::OtherEngine;
use super::lock::Lock;
use super::{Lab, LabError, Result};
use crate::engine::native::look::{Question, Sight};
use crate::engine::native::pasta;
use crate::engine::native::worker::{After, Answer, Order, Task};
use crate::event::{Event, Report};
use crate::failure::Failure;
use crate::image::Store;
use crate::linux::cgroup::Cgroups;
use crate::linux::stage::{Running, Stage, StageError};

/// What goes with a change of a lab from its beginning to its end.
pub(super) struct Work<'a> {
    pub(super) lock: &'a Lock,
    /// Nodes with services that may not be ready yet, whatever the steps are.
    pub(super) unready: BTreeSet<Name>,
    pub(super) patience: Duration,
    /// The nodes that are started after others.
    pub(super) after: &'a After,
    /// Those of the lab file.
    pub(super) secrets: &'a Secrets,
    /// The node that gets a new certificate, whatever became of the last one.
    pub(super) renewed: Option<&'a Name>,
    pub(super) report: Report<'a>,
}

impl Lab {
    /// Starts a worker; what comes with it stays open until it ends.
    pub(super) fn start_worker(&self, task: Task, fds: &[BorrowedFd<'_>]) -> Result<Running> {
        let laid = self.lay_down()?;
        let order = Order {
            lab: self.name.clone(),
            engine: self.engine().unwrap_or_default(),
            folder: self.folder.clone(),
            images: self.data.images(),
            stacks: stacks(&self.data.images(), &task)?,
            programs: laid,
            hidden: vec![PathBuf::from("/var/tmp"), self.data.path().to_owned()],
            volumes: self.data.volumes(&self.name),
            task,
        };
        Running::start(Stage::Worker, &order, fds, Stdio::inherit()).map_err(LabError::Stage)
    }

    /// Looks closer at nodes than [`Lab::status`] does.
    pub(crate) async fn look(&self, question: Question) -> Result<Sight> {
        let path = "/proc/self/ns/net";
        let machine = File::open(path).map_err(|source| LabError::Folder {
            what: "open",
            path: path.into(),
            source,
        })?;
        let mut running = self.start_worker(Task::Look(question), &[machine.as_fd()])?;
        match running.answer().await.map_err(LabError::Stage)? {
            Some(Answer::Saw(sight)) => Ok(sight),
            Some(Answer::Failed(failure)) => Err(LabError::Step(failure)),
            _ => Err(LabError::Stage(StageError::Silent { stderr: String::new() })),
        }
    }

    /// Does the steps. The worker has the lock, too: if the caller is killed, nobody else may change
    /// the lab before the worker has ended.
    pub(super) async fn apply(&self, steps: &[Step], work: &Work<'_>) -> Result<()> {
        let Work { lock, unready, patience, after, secrets, renewed, report } = work;
        if steps.is_empty() && unready.is_empty() {
            return Ok(());
        }
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let (steps_to_do, secrets) = (steps.to_vec(), (*secrets).clone());
        let (unready, after, renewed) = (unready.clone(), (*after).clone(), renewed.cloned());
        let task = Task::Apply { steps: steps_to_do, patience, unready, after, secrets, renewed };
        let engine = self.other_engine(steps, *report).await?;
        let mut running = self.start_worker(task, &[lock.as_fd()])?;
        let last_wire = steps.iter().rposition(|step| is_wiring(&step.object().id()));
        let mut done = 0;
        let mut unmet = None;
        loop {
            match running.answer().await.map_err(LabError::Stage)? {
                Some(Answer::Did(number)) => {
                    done += 1;
                    let Some(step) = steps.get(number) else { continue };
                    report(Event::Step { text: step.to_string(), done, total: steps.len() });
                    if Some(number) == last_wire {
                        report(Event::Wired);
                    }
                }
                Some(Answer::Born(nodes)) => {
                    // A worker that waits for no word may have ended by now.
                    if self.limit(steps, &nodes, report)? == Limited::Some {
                        running.go_on().await.map_err(LabError::Stage)?;
                    }
                }
                Some(word @ (Answer::Wanted(_) | Answer::Unwanted(_) | Answer::Pasta(_))) => {
                    self.help(word, engine.as_ref(), steps).await?;
                    running.go_on().await.map_err(LabError::Stage)?;
                }
                Some(Answer::Opened { step, algorithms, tries }) => {
                    if let Some(Step::Create(Object::Tunnel(it))) = steps.get(step) {
                        report(Event::Tunnel { name: it.tunnel.name.clone(), algorithms, tries });
                    }
                }
                Some(Answer::Settled) => return Ok(()),
                Some(Answer::Unmet { node, other }) => unmet = Some((node, other)),
                Some(Answer::Failed(failure)) => return Err(why(failure, unmet)),
                Some(
                    Answer::Certificates(_)
                    | Answer::Observed(_)
                    | Answer::Saw(_)
                    | Answer::Rekeyed(_)
                    | Answer::Tried(_),
                ) => {}
                None => return Err(LabError::Stage(StageError::Silent { stderr: String::new() })),
            }
        }
    }

    /// Does for a worker what it waits for: it has no conversation with another engine, and is not in the
    /// host's network.
    async fn help(&self, word: Answer, engine: Option<&OtherEngine>, steps: &[Step]) -> Result<()> {
        match (word, engine) {
            (Answer::Wanted(numbers), Some(engine)) => {
                self.make_containers(engine, steps, &numbers).await
            }
            (Answer::Unwanted(nodes), Some(engine)) => self.remove_containers(engine, &nodes).await,
            (Answer::Pasta(number), _) => match steps.get(number) {
                Some(step) => self.start_pasta(step).await,
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    async fn start_pasta(&self, step: &Step) -> Result<()> {
        let Object::Uplink(uplink) = step.object() else { return Ok(()) };
        let started = pasta::start(&self.folder, uplink).await.map_err(LabError::Stage)?;
        let failed = |it: Failure| it.while_doing(format!("cannot {step}"));
        started.map_err(|failure| LabError::Step(failed(failure)))
    }

    /// Puts the processes of new nodes where their limits are kept. That takes rights of the owner
    /// on the host, which a worker does not have.
    fn limit(&self, steps: &[Step], nodes: &[(Name, u32)], report: Report<'_>) -> Result<Limited> {
        let limited: Vec<_> = nodes
            .iter()
            .map(|(name, pid)| (name, *pid, limits(steps, name)))
            .filter(|(_, _, limits)| !limits.is_none())
            .collect();
        if limited.is_empty() {
            return Ok(Limited::None);
        }
        let cgroups = Cgroups::of_host();
        for (name, pid, limits) in limited {
            cgroups.remove_node(&self.name, name).into_iter().try_for_each(Err)?;
            let lacking = cgroups.limit(&self.name, name, &limits, pid)?;
            lacking.iter().for_each(|it| report(Event::Warning(it.to_string())));
        }
        Ok(Limited::Some)
    }
}

/// The layers of the images of others that a task makes nodes from.
fn stacks(images: &Path, task: &Task) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut stacks = BTreeMap::new();
    let Task::Apply { steps, .. } = task else { return Ok(stacks) };
    for step in steps {
        let Object::Node(node) = step.object() else { continue };
        let ImageRef::Pulled { digest, .. } = &node.image else { continue };
        // One that a node is made from is held; of others, nothing is made.
        let found = Store::stack(images, digest);
        match (found, step) {
            (Ok(stack), _) => drop(stacks.insert(digest.clone(), stack)),
            (Err(source), Step::Create(_) | Step::Replace { .. }) => {
                let path = images.to_owned();
                return Err(LabError::Folder { what: "read", path, source });
            }
            (Err(_), _) => {}
        }
    }
    Ok(stacks)
}

/// Whether any of the nodes that were created has limits; then the worker waits for a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limited {
    Some,
    None,
}

/// The error of a step, or that a node is not as another waits for.
fn why(failure: Failure, unmet: Option<(Name, Name)>) -> LabError {
    match unmet {
        Some((node, other)) => LabError::Unmet { node, other, failure: Box::new(failure) },
        None => LabError::Step(failure),
    }
}

fn limits(steps: &[Step], node: &Name) -> Limits {
    let created = steps.iter().find_map(|step| match step {
        Step::Create(Object::Node(it)) if it.name == *node => Some(it.limits),
        _ => None,
    });
    created.unwrap_or_default()
}

/// Whether an object is part of the wiring: everything that is there before a node's first process.
fn is_wiring(id: &Id) -> bool {
    !matches!(id, Id::Service(..) | Id::Tunnel(_))
}
