//! Talking to strongSwan's daemons in nodes: loading, opening and listing tunnels over VICI.
//!
//! A node is given by the path of its root folder as seen from here, `/proc/<pid>/root`. Nothing
//! here chooses: connections come from `netarium_core::ipsec`, keys from [`crate::pki`].

mod client;
pub(crate) mod initiate;
mod reason;
pub(crate) mod rekey;

#[cfg(test)]
mod end_to_end;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use netarium_core::ipsec::{
    MessageError, START, START_ACTION, Sa, Section, credential_file, secret_id, secret_message,
    values_message,
};
use netarium_core::name::Name;

use client::Client;

use crate::pki::{Credential, TunnelSecret};

/// Why a daemon did not do what it was asked, or a tunnel is not up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    /// Nobody listens on the daemon's socket.
    #[error("cannot connect to strongSwan in {node}", node = node.display())]
    Connect {
        /// The node's root folder.
        node: PathBuf,
        /// What the kernel says.
        #[source]
        source: std::io::Error,
    },
    /// The daemon went away in the middle of a conversation.
    #[error("strongSwan in {node} broke off at {command}", node = node.display())]
    Broken {
        /// The node's root folder.
        node: PathBuf,
        /// What was asked.
        command: String,
        /// What the kernel says.
        #[source]
        source: std::io::Error,
    },
    /// The daemon is there and says nothing.
    #[error("strongSwan in {node} does not answer {command}", node = node.display())]
    Silent {
        /// The node's root folder.
        node: PathBuf,
        /// What was asked.
        command: String,
    },
    /// What is said does not follow the protocol.
    #[error("strongSwan in {node} cannot be understood at {command}", node = node.display())]
    Garbled {
        /// The node's root folder.
        node: PathBuf,
        /// What was asked.
        command: String,
        /// What is wrong with it.
        #[source]
        source: MessageError,
    },
    /// The daemon says no.
    #[error("strongSwan in {node} refuses {command}: {reason}", node = node.display())]
    Refused {
        /// The node's root folder.
        node: PathBuf,
        /// What was asked.
        command: String,
        /// The daemon's reason.
        reason: String,
    },
    /// A tunnel did not come up.
    #[error("tunnel {tunnel} is not up: {reason}")]
    Down {
        /// The tunnel.
        tunnel: Name,
        /// The daemons' own words, each with its node.
        reason: String,
    },
}

/// A secret that a daemon shares with another.
pub(crate) struct SharedWith {
    /// The tunnel that it is for.
    pub(crate) tunnel: Name,
    /// The addresses of the two ends, by which they call themselves.
    pub(crate) ends: [IpAddr; 2],
    /// The secret.
    pub(crate) secret: TunnelSecret,
}

/// Gives the daemon of `node` its key, certificates, revocation lists and connections. What it
/// has already is replaced or left as it is.
///
/// # Errors
/// If the daemon cannot be reached or refuses something.
pub(crate) async fn load(
    node: &Path,
    connections: &[Section],
    credential: &Credential,
    secrets: &[SharedWith],
) -> Result<(), TunnelError> {
    let mut client = Client::connect(node).await?;
    let key = [("type", "any"), ("data", credential.key())];
    client.ask("load-key", values_message(&key)).await?;
    let authorities = credential.authorities().map(|pem| ("X509", "CA", pem));
    let lists = credential.revocation_lists().map(|pem| ("X509_CRL", "NONE", pem));
    let own = [("X509", "NONE", credential.certificate())];
    for (kind, flag, pem) in authorities.into_iter().chain(lists).chain(own) {
        let certificate = [("type", kind), ("flag", flag), ("data", pem)];
        client.ask("load-cert", values_message(&certificate)).await?;
    }
    for shared in secrets {
        let owners = shared.ends.map(|end| end.to_string());
        let [own, peer] = owners.each_ref().map(String::as_str);
        let id = secret_id(&shared.tunnel);
        let message = secret_message(&id, [own, peer], shared.secret.text());
        client.ask("load-shared", message).await?;
    }
    for connection in connections {
        let message = with_certificates(connection, credential).to_message();
        client.ask("load-conn", message).await?;
    }
    Ok(())
}

/// Tells the daemon of `node` what is revoked now. It keeps the newest list of each authority.
///
/// # Errors
/// If the daemon cannot be reached or refuses a list.
pub(crate) async fn publish(node: &Path, lists: [&str; 2]) -> Result<(), TunnelError> {
    let mut client = Client::connect(node).await?;
    for list in lists {
        let message = [("type", "X509_CRL"), ("flag", "NONE"), ("data", list)];
        client.ask("load-cert", values_message(&message)).await?;
    }
    // What it has judged before it judges again.
    client.ask("flush-certs", values_message(&[("type", "X509_CRL")])).await.map(drop)
}

/// Makes the daemon of `node` forget the connection of `tunnel`. An open tunnel stays open.
///
/// # Errors
/// If the daemon cannot be reached, or knows no such connection.
pub(crate) async fn unload(node: &Path, tunnel: &Name) -> Result<(), TunnelError> {
    let message = values_message(&[("name", tunnel.as_str())]);
    Client::connect(node).await?.ask("unload-conn", message).await.map(drop)
}

/// Closes `tunnel` at `node`, and at its other end if that answers soon. A tunnel that is not open
/// is closed.
///
/// # Errors
/// If the daemon cannot be reached.
pub(crate) async fn terminate(node: &Path, tunnel: &Name) -> Result<(), TunnelError> {
    Client::connect(node).await?.terminate(tunnel).await
}

/// The tunnels that are open, or about to be, at `node`.
///
/// # Errors
/// If the daemon cannot be reached or understood.
pub(crate) async fn list_sas(node: &Path) -> Result<Vec<Sa>, TunnelError> {
    list(&mut Client::connect(node).await?).await
}

async fn list(client: &mut Client) -> Result<Vec<Sa>, TunnelError> {
    let mut found = Vec::new();
    let mut each = |event: Section| found.extend(Sa::of_event(&event));
    client.stream("list-sas", "list-sa", values_message(&[]), &mut each).await?;
    Ok(found)
}

/// The names of the connections that the daemon of `node` knows.
///
/// # Errors
/// If the daemon cannot be reached or understood.
#[cfg(test)]
pub(crate) async fn list_conns(node: &Path) -> Result<Vec<String>, TunnelError> {
    let mut names = Vec::new();
    let mut each = |event: Section| names.extend(event.sections().map(|(key, _)| key.to_owned()));
    let mut client = Client::connect(node).await?;
    client.stream("list-conns", "list-conn", values_message(&[]), &mut each).await?;
    Ok(names)
}

/// The tunnels that the daemon of `node` opens as soon as there is something for them to carry.
///
/// # Errors
/// If the daemon cannot be reached or understood.
pub(crate) async fn list_traps(node: &Path) -> Result<BTreeSet<String>, TunnelError> {
    let mut traps = BTreeSet::new();
    let mut each = |event: Section| {
        let children = event.sections().filter_map(|(_, policy)| policy.get("child"));
        traps.extend(children.map(str::to_owned));
    };
    let mut client = Client::connect(node).await?;
    let only = values_message(&[("trap", "yes")]);
    client.stream("list-policies", "list-policy", only, &mut each).await?;
    Ok(traps)
}

/// Over VICI the certificates themselves stand where swanctl.conf(5) has their files, and what is
/// opened is opened by us, when both ends know of it: else the two would cross.
fn with_certificates(connection: &Section, credential: &Credential) -> Section {
    let own = credential_file(&credential.object().node);
    connection.with_values(&|key, value| match key {
        "certs" if value == own => Some(credential.certificate().to_owned()),
        "cacerts" => Some(credential.root().to_owned()),
        START_ACTION if value == START => Some("none".to_owned()),
        _ => None,
    })
}
