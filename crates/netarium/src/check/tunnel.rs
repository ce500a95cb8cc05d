//! Asks the daemons at both ends of a tunnel how it is, until that is as wanted or the check's
//! deadline has come.

use std::time::{Duration, Instant};

use netarium_core::model::TunnelState;
use netarium_core::name::{InterfaceName, Name};
use netarium_core::verdict::{self, End, WireguardEnd};

use super::result::Found;
use crate::engine::native::look::Question;
use crate::failure::Failure;
use crate::lab::Lab;

/// The pause before asking again.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks at a tunnel for at most `timeout` milliseconds.
pub(super) async fn look(
    lab: &Lab,
    tunnel: &Name,
    between: &[Name; 2],
    expect: &TunnelState,
    timeout: u32,
) -> Found {
    let deadline = Instant::now() + Duration::from_millis(timeout.into());
    let mut attempts = 0;
    loop {
        attempts += 1;
        let (verdict, seen) = match expect.interface() {
            Some(interface) => {
                verdict::wireguard(expect, &handshakes(lab, between, interface).await)
            }
            None => verdict::tunnel(tunnel, expect, &ends(lab, between).await),
        };
        if verdict.is_final() || Instant::now() + PAUSE >= deadline {
            return Found { attempts: Some(attempts), ..Found::once(verdict.passes(), seen) };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ends(lab: &Lab, between: &[Name; 2]) -> [End; 2] {
    let question = Question { daemons: between.iter().cloned().collect(), ..Question::default() };
    let sight = lab.look(question).await;
    let mut sight = sight.map_err(|error| Failure::of(&error).to_string());
    between.clone().map(|node| {
        let associations = match &mut sight {
            Ok(sight) => sight.associations.remove(&node),
            Err(reason) => Some(Err(reason.clone())),
        };
        let associations = associations.unwrap_or_else(|| Err("it was not asked".to_owned()));
        End { node, associations }
    })
}

async fn handshakes(
    lab: &Lab,
    between: &[Name; 2],
    interface: &InterfaceName,
) -> [WireguardEnd; 2] {
    let wireguard = between.iter().map(|node| (node.clone(), interface.clone())).collect();
    let sight = lab.look(Question { wireguard, ..Question::default() }).await;
    let mut sight = sight.map_err(|error| Failure::of(&error).to_string());
    between.clone().map(|node| {
        let handshake = match &mut sight {
            Ok(sight) => sight.handshakes.remove(&node),
            Err(reason) => Some(Err(reason.clone())),
        };
        (node, handshake.unwrap_or_else(|| Err("it was not asked".to_owned())))
    })
}
