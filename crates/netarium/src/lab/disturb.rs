//! What is done to a running lab on purpose: nodes killed, links cut, tunnels rekeyed or tried.
//! Bringing the lab up mends all of it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netarium_core::name::{InterfaceName, Name};
use netarium_core::object::LinkState;
use netarium_core::verdict::Opening;

use super::{Lab, LabError, Result, State};
use crate::engine::native::node::recorded;
use crate::engine::native::vici::rekey::Numbers;
use crate::engine::native::worker::{Answer, Task};
use crate::event::Report;
use crate::failure::Failure;
use crate::linux::stage::StageError;

impl Lab {
    /// Kills all processes of a node, and waits until they are gone. Fine if none runs.
    ///
    /// Its interfaces go down first. The kernel takes the network of a dead node apart only some time
    /// later, and until then it forwards, encrypts and answers without any process.
    ///
    /// # Errors
    /// If the lab is not up, or they are not ours to kill.
    pub async fn kill_node(&self, node: &Name, report: Report<'_>) -> Result<()> {
        let lock = self.lock(report).await?;
        if self.state() != State::Up {
            return Err(LabError::NotUp(self.name.clone()));
        }
        let process = recorded(&self.folder.node(node));
        let process = process.map_err(|error| LabError::Step(Failure::of(&error)))?;
        let Some(process) = process else { return Ok(()) };
        self.settle(Task::Unplug(node.clone()), lock.as_fd()).await?;
        let killing = tokio::task::spawn_blocking(move || process.kill());
        let killed = killing.await.unwrap_or_else(|it| std::panic::resume_unwind(it.into_panic()));
        killed.map_err(LabError::Kill)
    }

    /// Sets an interface of a node down, or up with its addresses and routes.
    ///
    /// # Errors
    /// If the lab is not up, or has no such interface.
    pub async fn set_link(
        &self,
        node: &Name,
        interface: &InterfaceName,
        state: LinkState,
        report: Report<'_>,
    ) -> Result<()> {
        let lock = self.lock(report).await?;
        let task = Task::SetLink { node: node.clone(), interface: interface.clone(), state };
        self.settle(task, lock.as_fd()).await
    }

    /// Has a worker do what it answers to with nothing but that it is done. It has the lock, too.
    async fn settle(&self, task: Task, lock: BorrowedFd<'_>) -> Result<()> {
        let mut running = self.start_worker(task, &[lock])?;
        match running.answer().await.map_err(LabError::Stage)? {
            Some(Answer::Settled) => Ok(()),
            Some(Answer::Failed(failure)) => Err(LabError::Step(failure)),
            _ => Err(LabError::Stage(StageError::Silent { stderr: String::new() })),
        }
    }

    /// Gives a tunnel new keys, asked for by the end at `node`: the numbers of its associations
    /// before and after.
    pub(crate) async fn rekey(
        &self,
        node: &Name,
        tunnel: &Name,
        patience: Duration,
    ) -> Result<[Numbers; 2]> {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let task = Task::Rekey { node: node.clone(), tunnel: tunnel.clone(), patience };
        let mut running = self.start_worker(task, &[])?;
        match running.answer().await.map_err(LabError::Stage)? {
            Some(Answer::Rekeyed(numbers)) => Ok(numbers),
            Some(Answer::Failed(failure)) => Err(LabError::Step(failure)),
            _ => Err(LabError::Stage(StageError::Silent { stderr: String::new() })),
        }
    }

    /// Tries to open each tunnel of `node` for which certificates vouch: what came of it. One that
    /// stands is left alone.
    pub(crate) async fn try_tunnels(
        &self,
        node: &Name,
        patience: Duration,
    ) -> Result<BTreeMap<Name, Opening>> {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let task = Task::Try { node: node.clone(), patience };
        let mut running = self.start_worker(task, &[])?;
        match running.answer().await.map_err(LabError::Stage)? {
            Some(Answer::Tried(openings)) => Ok(openings),
            Some(Answer::Failed(failure)) => Err(LabError::Step(failure)),
            _ => Err(LabError::Stage(StageError::Silent { stderr: String::new() })),
        }
    }
}
