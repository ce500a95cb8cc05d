//! Opening and closing tunnels over the control sockets of the daemons at their ends.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netarium_core::control::{Reply, Request, ServiceState};
use netarium_core::ipsec::{self, Section};
use netarium_core::model::{self, Start};
use netarium_core::name::Name;
use netarium_core::object::Tunnel;
use tokio::task::JoinSet;

use super::control::Control;
use super::vici::initiate::{Established, initiate};
use super::vici::{self, SharedWith, TunnelError};
use crate::failure::Failure;
use crate::pki::Credential;

/// How long between two looks whether a daemon is there.
const PAUSE: Duration = Duration::from_millis(3);

/// One end of tunnels: a node with its daemon.
pub(crate) struct End {
    /// The node's root folder, as the host sees it.
    pub(crate) root: PathBuf,
    /// The control socket of its first process.
    pub(crate) control: PathBuf,
    /// Its key and certificates.
    pub(crate) credential: Credential,
    /// The secrets that it shares with others.
    pub(crate) secrets: Vec<SharedWith>,
}

/// Why tunnels cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelStepError {
    /// There is no asynchronous runtime.
    #[error("cannot prepare to talk to strongSwan")]
    Runtime(#[source] io::Error),
    /// A daemon did not come up.
    #[error("strongSwan in {node} does not run: {reason}")]
    Daemon {
        /// The node.
        node: Name,
        /// What its first process says, with the daemon's last words.
        reason: String,
    },
    /// A daemon refuses or does not answer.
    #[error(transparent)]
    Daemons(#[from] TunnelError),
}

/// Why not all tunnels stand.
pub(crate) enum OpenError {
    /// The daemons could not be told about them.
    Prepare(TunnelStepError),
    /// These were not opened.
    Tunnels(Vec<TunnelError>),
    /// One that was opened could not be put on record.
    Record(Failure),
}

/// Opens `tunnels` side by side: first every daemon is told about all of its tunnels, so that none
/// is asked for one that it does not know. Calls `opened` for each that stands, or that both ends
/// will open when there is something for it to carry.
///
/// # Errors
/// All those that do not stand at `deadline`, with the daemons' own reasons.
pub(crate) fn open(
    tunnels: Vec<Tunnel>,
    ends: BTreeMap<Name, End>,
    deadline: Instant,
    mut opened: impl FnMut(&Name, Option<&Established>) -> Result<(), Failure>,
) -> Result<(), OpenError> {
    let runtime = runtime().map_err(OpenError::Prepare)?;
    runtime.block_on(async {
        let ends: BTreeMap<Name, Arc<End>> =
            ends.into_iter().map(|(name, end)| (name, Arc::new(end))).collect();
        load_all(&tunnels, &ends, deadline).await.map_err(OpenError::Prepare)?;
        let waits = |it: &Tunnel| it.tunnel.ipsec().is_some_and(|it| it.start == Start::Demand);
        let (later, now): (Vec<_>, Vec<_>) = tunnels.into_iter().partition(waits);
        for it in later {
            opened(&it.tunnel.name, None).map_err(OpenError::Record)?;
        }
        initiate_all(now, &ends, deadline, opened).await
    })
}

/// Closes a tunnel at those of its ends that are there, the root folders of which are given.
///
/// # Errors
/// If a daemon that is there refuses.
pub(crate) fn close(tunnel: &model::Tunnel, ends: &[PathBuf]) -> Result<(), TunnelStepError> {
    runtime()?.block_on(async {
        for root in ends {
            for result in
                [vici::unload(root, &tunnel.name).await, vici::terminate(root, &tunnel.name).await]
            {
                match result {
                    // A daemon that is gone, or has forgotten it, has closed it.
                    Ok(()) | Err(TunnelError::Connect { .. } | TunnelError::Refused { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    })
}

/// A runtime on this thread alone: a worker must not get another.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, TunnelStepError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(TunnelStepError::Runtime)
}

async fn load_all(
    tunnels: &[Tunnel],
    ends: &BTreeMap<Name, Arc<End>>,
    deadline: Instant,
) -> Result<(), TunnelStepError> {
    let mut loading = JoinSet::new();
    for (node, end) in ends {
        let connections: Vec<Section> = tunnels
            .iter()
            .filter_map(|it| ipsec::connection(&it.tunnel, node, it.encryption))
            .collect();
        loading.spawn(load(node.clone(), Arc::clone(end), connections, deadline));
    }
    while let Some(result) = loading.join_next().await {
        result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    }
    Ok(())
}

/// Tells a daemon about its tunnels as soon as it listens. One that is about to be replaced, as
/// after an `up` that was killed, or that dies meanwhile, would forget them.
async fn load(
    node: Name,
    end: Arc<End>,
    connections: Vec<Section>,
    deadline: Instant,
) -> Result<(), TunnelStepError> {
    loop {
        let is_early = Instant::now() < deadline;
        match daemon_state(&end) {
            Some(ServiceState::Failed(reason)) => {
                return Err(TunnelStepError::Daemon { node, reason });
            }
            Some(ServiceState::Waiting) if is_early => {}
            _ => match vici::load(&end.root, &connections, &end.credential, &end.secrets).await {
                Err(TunnelError::Connect { .. } | TunnelError::Broken { .. }) if is_early => {}
                result => return Ok(result?),
            },
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How the daemon is, in the words of its node's first process.
fn daemon_state(end: &End) -> Option<ServiceState> {
    let control = Control::connect(&end.control).ok()?;
    let Reply::Services(services) = control.ask(&Request::Status).ok()? else { return None };
    services.into_iter().find(|it| it.service.name == ipsec::service_name()).map(|it| it.state)
}

async fn initiate_all(
    tunnels: Vec<Tunnel>,
    ends: &BTreeMap<Name, Arc<End>>,
    deadline: Instant,
    mut opened: impl FnMut(&Name, Option<&Established>) -> Result<(), Failure>,
) -> Result<(), OpenError> {
    let mut opening = JoinSet::new();
    for Tunnel { tunnel, .. } in tunnels {
        let root = |node: &Name| ends.get(node).map(|end| end.root.clone()).unwrap_or_default();
        let (initiator, responder) = (root(&tunnel.initiator.node), root(&tunnel.responder.node));
        opening.spawn(async move {
            let result = initiate(&tunnel, &initiator, &responder, deadline.into()).await;
            (tunnel.name, result)
        });
    }
    let mut failures = Vec::new();
    while let Some(result) = opening.join_next().await {
        let (tunnel, result) =
            result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match result {
            Ok(established) => opened(&tunnel, Some(&established)).map_err(OpenError::Record)?,
            Err(error) => failures.push(error),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(OpenError::Tunnels(failures)) }
}
