//! `pki`: shows, revokes and renews the certificates of a lab.

use netarium::certificates::{Certificate, Certificates, Holder, Reason, Standing};
use netarium::lab::{Lab, LabError};
use netarium_core::name::Name;

use super::Context;
use crate::args::Pki;
use crate::choose::{self, Otherwise};
use crate::ending::Ending;
use crate::print::{self, BAD, Form, GOOD, HEAD};

/// Does what was asked with the certificates of a lab.
///
/// # Errors
/// If no lab is meant, it is not up, or the node has no certificate.
pub(crate) async fn pki(context: &Context, pki: Pki) -> anyhow::Result<Ending> {
    match pki {
        Pki::Show { lab, node } => show(context, lab.as_deref(), node.as_deref()).await,
        Pki::Revoke { lab, reason, now, node } => {
            let lab = choose::lab(&context.data, lab.lab.as_deref(), Otherwise::OnlyLab)?;
            let standing = if now { Standing::Closed } else { Standing::Stays };
            revoke(context, &lab, &name(&node)?, reason, standing).await
        }
        Pki::Renew { lab, node } => {
            let lab = choose::lab(&context.data, lab.lab.as_deref(), Otherwise::OnlyLab)?;
            renew(context, &lab, &name(&node)?).await
        }
    }
}

async fn show(context: &Context, lab: Option<&str>, node: Option<&str>) -> anyhow::Result<Ending> {
    let lab = choose::lab(&context.data, lab, Otherwise::OnlyLab)?;
    let mut shown = lab.certificates().await?;
    if let Some(node) = node {
        keep(&mut shown, name(node)?)?;
    }
    match context.style.form {
        Form::Json => print::json(&shown)?,
        Form::Text => print::line(text(&shown))?,
    }
    Ok(Ending::Fine)
}

/// Leaves out the certificates of other nodes.
fn keep(shown: &mut Certificates, node: Name) -> Result<(), LabError> {
    let holder = |it: &Certificate| match &it.holder {
        Holder::Node(other) => Some(other.to_string()),
        Holder::Root | Holder::Intermediate => None,
    };
    let have: Vec<String> = shown.certificates.iter().filter_map(holder).collect();
    if !have.contains(&node.to_string()) {
        return Err(LabError::NoCertificate { node, have });
    }
    shown.certificates.retain(|it| holder(it).is_none_or(|other| other == node.as_str()));
    shown.list.revoked.retain(|it| it.node == node);
    Ok(())
}

fn text(shown: &Certificates) -> String {
    let mut parts: Vec<String> = shown.certificates.iter().map(one).collect();
    let list = &shown.list;
    let revoked = print::count(list.revoked.len(), "certificate");
    let mut lines = vec![format!(
        "{HEAD}revoked{HEAD:#} {revoked}, on list {} which counts until {}",
        list.number, list.until
    )];
    let line = |it: &netarium::certificates::Revocation| {
        format!("  {} {} {} {}", it.at, it.node, it.serial, it.reason)
    };
    lines.extend(list.revoked.iter().map(line));
    parts.push(lines.join("\n"));
    parts.join("\n\n")
}

fn one(certificate: &Certificate) -> String {
    let whose = match &certificate.holder {
        Holder::Root => "root".to_owned(),
        Holder::Intermediate => "intermediate".to_owned(),
        Holder::Node(node) => node.to_string(),
    };
    let state = match &certificate.revoked {
        Some(it) => format!("{BAD}revoked{BAD:#} {} ({})", it.at, it.reason),
        None => format!("{GOOD}not revoked{GOOD:#}"),
    };
    let mut lines = vec![format!("{HEAD}{whose}{HEAD:#} {state}")];
    let mut line = |key: &str, value: &str| lines.push(format!("  {key:<8} {value}"));
    line("subject", &certificate.subject);
    line("issuer", &certificate.issuer);
    if !certificate.names.is_empty() {
        line("names", &certificate.names.join(", "));
    }
    line("serial", &certificate.serial);
    line("SHA-256", &certificate.sha256);
    line("from", &certificate.from);
    line("until", &certificate.until);
    lines.join("\n")
}

async fn revoke(
    context: &Context,
    lab: &Lab,
    node: &Name,
    reason: Reason,
    standing: Standing,
) -> anyhow::Result<Ending> {
    lab.revoke(node, reason, standing, &|_| ()).await?;
    let tunnels = match standing {
        Standing::Stays => "tunnels that stand stay until their ends must show again who they are",
        Standing::Closed => "its tunnels are closed",
    };
    context.style.say(format_args!("the certificate of {node} is revoked; {tunnels}"));
    Ok(Ending::Fine)
}

async fn renew(context: &Context, lab: &Lab, node: &Name) -> anyhow::Result<Ending> {
    lab.renew(node, &|_| ()).await?;
    context.style.say(format_args!("{node} has a new key and certificate"));
    Ok(Ending::Fine)
}

fn name(word: &str) -> anyhow::Result<Name> {
    Name::new(word).map_err(|error| anyhow::anyhow!("{word:?} is no name of a node: {error}"))
}
