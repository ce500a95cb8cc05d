//! Dynamic checks of revocation: a node loses its certificate, must be refused, and gets another.

use std::time::{Duration, Instant};

use netarium_core::model::Disturbance;
use netarium_core::name::Name;
use netarium_core::verdict::{self, Opening};

use super::{Stage, Story};
use crate::certificates::{Reason, Standing};
use crate::failure::Failure;

impl Stage<'_> {
    /// Revokes a node's certificate, tries to open its tunnels all the same, and renews it. When
    /// that began.
    pub(super) async fn revoke(
        &self,
        node: &Name,
        tunnels: &[Name],
        disturbance: &Disturbance,
        story: &mut Story,
    ) -> Result<Instant, String> {
        let patience = Duration::from_millis(disturbance.recover.into());
        let revoked = self.lab.revoke(node, Reason::Unspecified, Standing::Closed, &|_| ()).await;
        if revoked.is_ok() {
            self.knock(node, tunnels, patience, story).await;
            self.meanwhile(disturbance, story).await;
        }
        let undone = Instant::now();
        // Also after a failure: that of one node may come when others know of it already.
        let renewed = self.lab.renew_within(node, patience, &|_| ()).await;
        revoked.map_err(|error| format!("cannot revoke {node}: {}", Failure::of(&error)))?;
        renewed.map_err(|error| format!("cannot renew {node}: {}", Failure::of(&error)))?;
        Ok(undone)
    }

    /// Tries to open the tunnels of who is revoked: each other end must refuse.
    async fn knock(&self, node: &Name, tunnels: &[Name], patience: Duration, story: &mut Story) {
        let mut openings = match self.lab.try_tunnels(node, patience).await {
            Ok(openings) => openings,
            Err(error) => {
                let words = format!("cannot try the tunnels of {node}: {}", Failure::of(&error));
                return story.faults.push(words);
            }
        };
        let model = &self.file.model;
        for tunnel in tunnels.iter().filter_map(|name| model.tunnels.get(name)) {
            let Some((_, peer)) = tunnel.seen_from(node) else { continue };
            let untried = || Opening::Failed("the lab does not have it".to_owned());
            let opening = openings.remove(&tunnel.name).unwrap_or_else(untried);
            let (passed, words) = verdict::refused(&tunnel.name, &peer.node, &opening);
            if passed {
                story.notes.push(words);
            } else {
                story.faults.push(words);
            }
        }
    }
}
