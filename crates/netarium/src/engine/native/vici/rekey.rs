//! Giving a tunnel new keys while it carries packets (RFC 7296, section 1.3.2 and 1.3.3).

use std::path::Path;
use std::time::Duration;

use netarium_core::ipsec::{Sa, values_message};
use netarium_core::name::Name;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::{TunnelError, list};

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The numbers of a tunnel's associations, as one end has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    /// Those of IKE.
    pub(crate) ike: [String; 2],
    /// Those of ESP.
    pub(crate) esp: [String; 2],
}

impl Numbers {
    fn of(sas: &[Sa], tunnel: &Name) -> Option<Self> {
        let sa = sas.iter().find(|sa| sa.carries(tunnel))?;
        let esp = sa.carrying(tunnel).next()?.spis.clone();
        Some(Self { ike: sa.spis.clone(), esp })
    }
}

/// Gives `tunnel` new keys, those of ESP and then those of IKE, and waits until `node` sends nothing
/// with the old ones any more; packets on their way may still come. The numbers before and after.
///
/// # Errors
/// If the tunnel does not stand, the daemon refuses, or it is not done at `deadline`.
pub(crate) async fn rekey(
    node: &Path,
    tunnel: &Name,
    deadline: Instant,
) -> Result<[Numbers; 2], TunnelError> {
    let mut client = Client::connect(node).await?;
    let down =
        |reason: &str| TunnelError::Down { tunnel: tunnel.clone(), reason: reason.to_owned() };
    let before = Numbers::of(&list(&mut client).await?, tunnel);
    let before = before.ok_or_else(|| down("there is nothing to rekey"))?;
    for what in ["child", "ike"] {
        client.ask("rekey", values_message(&[(what, tunnel.as_str())])).await?;
        loop {
            let sas = list(&mut client).await?;
            let is_new = |now: &Numbers| match what {
                "child" => now.esp != before.esp,
                _ => now.ike != before.ike,
            };
            let now = Numbers::of(&sas, tunnel).filter(is_new).filter(|_| is_alone(&sas, tunnel));
            match now {
                Some(now) if what == "ike" => return Ok([before, now]),
                Some(_) => break,
                None if Instant::now() >= deadline => {
                    return Err(down(&format!("the old keys of {what} are not gone in time")));
                }
                None => sleep(PAUSE).await,
            }
        }
    }
    Err(down("nothing was rekeyed"))
}

/// Whether there is one association of the tunnel, with one that packets are sent by. A daemon keeps
/// the one before for some seconds, for what is on its way.
fn is_alone(sas: &[Sa], tunnel: &Name) -> bool {
    let mut ours = sas.iter().filter(|sa| sa.tunnel == tunnel.as_str());
    match (ours.next(), ours.next()) {
        (Some(sa), None) => sa.carrying(tunnel).count() == 1,
        _ => false,
    }
}
