//! What Docker builds before a lab is made, on whichever engine the lab will be.

use netarium_core::model::Model;

use super::{Lab, LabError, Result};
use crate::engine::docker::build::{BuildError, build};
use crate::engine::docker::client::{Client, Place};
use crate::event::{Event, Report};

impl Lab {
    /// Has Docker build the images that `model` says how to build. What has not changed is in Docker's
    /// cache.
    pub(super) async fn build_images(&self, model: &Model, report: Report<'_>) -> Result<()> {
        if model.builds.is_empty() {
            return Ok(());
        }
        let failed = |image: &String| {
            let image = image.clone();
            move |source| LabError::Build { image, source }
        };
        let mut client = None;
        for (name, what) in &model.builds {
            let client = match &client {
                Some(client) => client,
                None => {
                    let met = Client::of_anybody(&Place::of_caller()).await;
                    client.insert(met.map_err(BuildError::Engine).map_err(failed(name))?)
                }
            };
            report(Event::Building { image: name.clone() });
            build(client, name, what, &self.data.images()).await.map_err(failed(name))?;
        }
        Ok(())
    }
}
