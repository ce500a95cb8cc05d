//! Showing the certificates of a lab, and revoking one: a new list is kept, put into every node
//! that judges certificates, and told to its daemon.

use std::path::PathBuf;
use std::time::SystemTime;

use netarium_core::model::Auth;
use netarium_core::name::Name;
use netarium_core::object::{Object, Objects};

use super::node::RunningNode;
use super::tunnels::{self, TunnelStepError};
use super::vici::{self, TunnelError};
use crate::certificates::{Certificates, Reason, Standing};
use crate::folder::LabFolder;
use crate::pki::{Authority, Credential, PkiError};

/// Why a certificate is not shown or revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error(transparent)]
    Pki(#[from] PkiError),
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
    let path = folder.journal();
    let recorded = super::journal::replay(&path)
        .map_err(|source| CertificateError::Journal { path, source })?;
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

/// The tunnels of a node for which certificates vouch.
pub(crate) fn certified<'o>(
    objects: &'o Objects,
    node: &'o Name,
) -> impl Iterator<Item = &'o netarium_core::model::Tunnel> {
    objects.iter().filter_map(move |(_, object)| match object {
        Object::Tunnel(it) if it.tunnel.seen_from(node).is_some() => {
            let ipsec = it.tunnel.ipsec()?;
            (ipsec.auth == Auth::Certificate).then_some(&it.tunnel)
        }
        _ => None,
    })
}
