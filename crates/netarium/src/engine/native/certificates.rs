//! Showing the certificates of a lab, and revoking one: a new list is kept, put into every node
//! that judges certificates, and told to its daemon. Trying what a certificate is still good for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use netarium_core::model::Tunnel;
use netarium_core::name::Name;
use netarium_core::object::{Object, Objects};
use netarium_core::verdict::Opening;
use tokio::time::Instant;

use super::node::{NodeError, RunningNode};
use super::tunnels::{self, TunnelStepError};
use super::vici::initiate::initiate;
use super::vici::{self, TunnelError};
use crate::certificates::{Certificates, Reason, Standing};
use crate::failure::Failure;
use crate::folder::LabFolder;
use crate::pki::{Authority, Credential, PkiError};

/// Why a certificate is not shown or revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Tunnel(#[from] TunnelStepError),
    #[error("cannot tell a daemon what is revoked")]
    Tell(#[source] TunnelError),
    #[error("cannot write {path} in {node}")]
    Write { node: Name, path: String, source: std::io::Error },
    #[error("cannot read the journal {}", path.display())]
    Journal { path: PathBuf, source: std::io::Error },
}

type Result<T> = std::result::Result<T, CertificateError>;

/// All certificates of the lab.
///
/// # Errors
/// If they cannot be read, or are not what was saved.
pub(crate) fn show(folder: &LabFolder) -> Result<Certificates> {
    let pki = folder.pki();
    Ok(Authority::load(&pki)?.certificates(&pki)?)
}

/// Revokes the certificate of `node`. What was done before by a call that was killed is done again.
///
/// # Errors
/// If the list cannot be made, kept, put into a node or told to a daemon that runs.
pub(crate) fn revoke(
    folder: &LabFolder,
    node: &Name,
    reason: Reason,
    standing: Standing,
) -> Result<()> {
    let pki = folder.pki();
    let mut authority = Authority::load(&pki)?;
    authority.revoke(&Credential::load(&pki, node)?, reason, SystemTime::now())?;
    authority.save(&pki)?;
    let credentials = authority.credentials(&pki)?;
    credentials.iter().try_for_each(|credential| credential.save(&pki))?;
    for credential in &credentials {
        publish(folder, credential)?;
    }
    match standing {
        Standing::Stays => Ok(()),
        Standing::Closed => close(folder, node),
    }
}

/// Puts a credential's lists into its node, if that runs.
fn publish(folder: &LabFolder, credential: &Credential) -> Result<()> {
    let name = &credential.object().node;
    let Ok(node) = RunningNode::find(folder, name) else { return Ok(()) };
    for file in credential.files() {
        let written =
            node.root().and_then(|root| root.write(&file.path, file.mode, file.content.as_bytes()));
        let failed = |source| CertificateError::Write {
            node: name.clone(),
            path: file.path.clone(),
            source,
        };
        written.map_err(failed)?;
    }
    let lists = credential.revocation_lists();
    let told = tunnels::runtime()?.block_on(vici::publish(&node.root_path(), lists));
    match told {
        // One that does not run reads its files when it does.
        Ok(()) | Err(TunnelError::Connect { .. }) => Ok(()),
        Err(error) => Err(CertificateError::Tell(error)),
    }
}

/// Closes the tunnels of a node for which certificates vouch.
fn close(folder: &LabFolder, node: &Name) -> Result<()> {
    let recorded = recorded(folder)?;
    let runtime = tunnels::runtime()?;
    for tunnel in certified(&recorded, node) {
        for end in tunnel.ends() {
            let Ok(end) = RunningNode::find(folder, &end.node) else { continue };
            match runtime.block_on(vici::terminate(&end.root_path(), &tunnel.name)) {
                Ok(()) | Err(TunnelError::Connect { .. }) => {}
                Err(error) => return Err(CertificateError::Tell(error)),
            }
        }
    }
    Ok(())
}

/// Tries to open the tunnels of a node for which certificates vouch: what came of each.
///
/// # Errors
/// If it is not known which there are, or an end of one does not run.
pub(crate) fn try_tunnels(
    folder: &LabFolder,
    node: &Name,
    patience: Duration,
) -> Result<BTreeMap<Name, Opening>> {
    let recorded = recorded(folder)?;
    let runtime = tunnels::runtime()?;
    let tried = certified(&recorded, node).map(|tunnel| {
        let tunnel = as_asked_by(node, tunnel);
        let [asks, answers] = tunnel.ends().map(|end| RunningNode::find(folder, &end.node));
        let (asks, answers) = (asks?.root_path(), answers?.root_path());
        let deadline = Instant::now() + patience;
        let opening = match runtime.block_on(initiate(&tunnel, &asks, &answers, deadline)) {
            Ok(_) => Opening::Stands,
            Err(TunnelError::Down { reason, .. }) => Opening::Refused(reason),
            Err(error) => Opening::Failed(Failure::of(&error).to_string()),
        };
        Ok((tunnel.name, opening))
    });
    tried.collect()
}

/// The tunnel with `node` as the end that asks, if it can: an end whose address nobody knows cannot
/// be asked, so that it asks itself. Either way each shows the other who it is.
fn as_asked_by(node: &Name, tunnel: &Tunnel) -> Tunnel {
    let mut tunnel = tunnel.clone();
    if tunnel.responder.node == *node && !tunnel.hides(&tunnel.initiator.node) {
        std::mem::swap(&mut tunnel.initiator, &mut tunnel.responder);
    }
    tunnel
}

fn recorded(folder: &LabFolder) -> Result<Objects> {
    let path = folder.journal();
    super::journal::replay(&path).map_err(|source| CertificateError::Journal { path, source })
}

/// The tunnels of a node for which certificates vouch.
pub(crate) fn certified<'o>(
    objects: &'o Objects,
    node: &'o Name,
) -> impl Iterator<Item = &'o Tunnel> {
    objects.iter().filter_map(move |(_, object)| match object {
        Object::Tunnel(it) if it.tunnel.seen_from(node).is_some() => {
            it.tunnel.is_certified().then_some(&it.tunnel)
        }
        _ => None,
    })
}
