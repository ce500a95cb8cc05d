//! The certificates of a lab: shown, revoked, renewed.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::Duration;

use netarium_core::desired::Desired;
use netarium_core::name::Name;
use netarium_core::object::{Id, Object, Objects};
use netarium_core::plan::Step;

use super::change::Work;
use super::{Lab, LabError, PATIENCE, Result, State};
use crate::certificates::{Certificates, Reason, Standing};
use crate::engine::native::worker::{After, Answer, Task};
use crate::event::{Event, Report};
use crate::linux::stage::StageError;

impl Lab {
    /// The certificates of the lab's authority and of its nodes. Keys are not among that.
    ///
    /// # Errors
    /// If the lab is not up, or has no authority.
    pub async fn certificates(&self) -> Result<Certificates> {
        self.must_be_up()?;
        let mut running = self.start_worker(Task::Certificates, &[])?;
        match running.answer().await.map_err(LabError::Stage)? {
            Some(Answer::Certificates(certificates)) => Ok(certificates),
            Some(Answer::Failed(failure)) => Err(LabError::Step(failure)),
            _ => Err(LabError::Stage(StageError::Silent { stderr: String::new() })),
        }
    }

    /// Revokes the certificate of `node`, and has all nodes know. Who asks the node for it again
    /// refuses it; `up` leaves its tunnels closed until it is renewed.
    ///
    /// # Errors
    /// If the lab is not up, the node has no certificate, or a node cannot be told.
    pub async fn revoke(
        &self,
        node: &Name,
        reason: Reason,
        standing: Standing,
        report: Report<'_>,
    ) -> Result<()> {
        let lock = self.lock(report).await?;
        self.must_have_certificate(node).await?;
        let task = Task::Revoke { node: node.clone(), reason, standing };
        let mut running = self.start_worker(task, &[lock.as_fd()])?;
        match running.answer().await.map_err(LabError::Stage)? {
            Some(Answer::Settled) => Ok(()),
            Some(Answer::Failed(failure)) => Err(LabError::Step(failure)),
            _ => Err(LabError::Stage(StageError::Silent { stderr: String::new() })),
        }
    }

    /// Gives `node` a new key and a new certificate, and opens its tunnels anew.
    ///
    /// # Errors
    /// If the lab is not up, the node has no certificate, or a tunnel does not stand in the end.
    pub async fn renew(&self, node: &Name, report: Report<'_>) -> Result<Vec<Step>> {
        self.renew_within(node, PATIENCE, report).await
    }

    /// The same for those who do not want to wait as long for tunnels.
    pub(crate) async fn renew_within(
        &self,
        node: &Name,
        patience: Duration,
        report: Report<'_>,
    ) -> Result<Vec<Step>> {
        let lock = self.lock(report).await?;
        let objects = self.must_have_certificate(node).await?;
        let before = self.observe().await?;
        let mut revoked = before.revoked;
        revoked.remove(node);
        let file = self.file()?;
        let steps = renewal(&objects, node, &revoked);
        report(Event::Planned { steps: steps.len() });
        let work = Work {
            lock: &lock,
            unready: BTreeSet::new(),
            patience,
            after: &After::new(),
            secrets: &file.model.secrets,
            renewed: Some(node),
            report,
        };
        self.apply(&steps, &work).await?;
        report(Event::Settled);
        Ok(steps)
    }

    fn must_be_up(&self) -> Result<()> {
        if self.state() == State::Up { Ok(()) } else { Err(LabError::NotUp(self.name.clone())) }
    }

    /// Everything that the lab must have, with a certificate for `node`.
    async fn must_have_certificate(&self, node: &Name) -> Result<Objects> {
        self.must_be_up()?;
        let Desired { objects, .. } = self.desired(&self.file()?.model).await?;
        if objects.contains(&Id::Credential(node.clone())) {
            return Ok(objects);
        }
        let have = objects.iter().filter_map(|(id, _)| match id {
            Id::Credential(node) => Some(node.to_string()),
            _ => None,
        });
        Err(LabError::NoCertificate { node: node.clone(), have: have.collect() })
    }
}

/// The steps of a renewal.
fn renewal(objects: &Objects, node: &Name, revoked: &BTreeSet<Name>) -> Vec<Step> {
    let of_node = |object: &&Object| match object {
        Object::Tunnel(it) => {
            it.tunnel.seen_from(node).is_some() && refused(object, revoked).is_none()
        }
        _ => false,
    };
    let tunnels: Vec<&Object> = objects.iter().map(|(_, object)| object).filter(of_node).collect();
    let credential = objects.get(&Id::Credential(node.clone()));
    let closed = tunnels.iter().map(|it| Step::Remove((*it).clone()));
    let issued = credential.into_iter().map(|it| Step::Create(it.clone()));
    let opened = tunnels.iter().map(|it| Step::Create((*it).clone()));
    closed.chain(issued).chain(opened).collect()
}

/// The end of a tunnel that is refused since its certificate is revoked.
pub(super) fn refused<'r>(object: &Object, revoked: &'r BTreeSet<Name>) -> Option<&'r Name> {
    let Object::Tunnel(it) = object else { return None };
    let ends = it.tunnel.ends().map(|end| &end.node);
    revoked.iter().find(|node| it.tunnel.is_certified() && ends.contains(node))
}
