//! Labs whose segments are networks of the engine's own.

use std::collections::BTreeMap;

use netarium_core::engine_network::{EngineNetwork, networks, overlaps};
use netarium_core::model::{Engine, Model, Network};
use netarium_core::name::Name;
use netarium_core::object::{Object, Port, SegmentLink};
use netarium_core::plan::Step;

use super::{Lab, LabError, Result};
use crate::engine::docker::client::Client;
use crate::engine::docker::networks::Networks;

impl Lab {
    pub(super) fn networks<'a>(&'a self, client: &'a Client) -> Networks<'a> {
        Networks { client, lab: &self.name, data: self.data.path().to_owned() }
    }

    /// Sees that the engine can make the networks of a lab that asks for them, besides what its file says.
    ///
    /// # Errors
    /// If the engine has no networks, or others have their prefixes.
    pub(super) async fn check_networks(&self, model: &Model, engine: Engine) -> Result<()> {
        if model.network == Network::Own {
            return Ok(());
        }
        if engine == Engine::Native {
            return Err(LabError::NoNetworks(self.name.clone()));
        }
        let client = self.client().await?;
        let there = self.networks(&client).of_others().await?;
        let limits = match networks(model) {
            Ok(networks) => overlaps(&networks, &there),
            Err(limits) => limits,
        };
        if limits.is_empty() { Ok(()) } else { Err(LabError::Limits(limits)) }
    }

    /// Sees that no network is to be changed that containers are on.
    ///
    /// # Errors
    /// If one is.
    pub(super) fn check_changes(&self, steps: &[Step]) -> Result<()> {
        let removed = |node: &Name| {
            steps
                .iter()
                .any(|step| matches!(step, Step::Remove(Object::Node(it)) if it.name == *node))
        };
        let is_fixed = |step: &Step| match step {
            Step::Create(_) => false,
            Step::Remove(object) | Step::Replace(object) => match object {
                Object::Segment(it) => it.link == SegmentLink::Network,
                Object::Interface(it) => it.port == Port::Network && !removed(&it.node),
                _ => false,
            },
        };
        match steps.iter().find(|step| is_fixed(step)) {
            Some(step) => {
                let (lab, step) = (self.name.clone(), step.to_string());
                Err(LabError::FixedNetwork { lab, step })
            }
            None => Ok(()),
        }
    }

    /// The networks of the lab as it is on record.
    pub(super) fn recorded_networks(&self) -> BTreeMap<Name, EngineNetwork> {
        let model = self.file().ok().map(|file| file.model);
        let model = model.filter(|model| model.network == Network::Engine);
        model.and_then(|model| networks(&model).ok()).unwrap_or_default()
    }
}
