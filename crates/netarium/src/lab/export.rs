//! A lab as others can bring it up: what must be in a folder, with the images that the engine needs.

use netarium_core::desired::Desired;
use netarium_core::export::{Export, export, portable};
use netarium_core::model::Image;
use netarium_core::object::ImageRef;

use super::{Lab, LabError, Pull, Result};
use crate::engine::docker::client::{Client, Place};
use crate::engine::docker::images::{self, Store};
use crate::event::Report;
use crate::export::Load;
use crate::lab_file::LabFile;

impl Lab {
    /// What is in the folder of a lab for Docker Compose. The engine has its images then, if they are to be
    /// loaded.
    ///
    /// # Errors
    /// If an image is not there, cannot be made, or the engine does not take it.
    pub(crate) async fn for_compose(
        &self,
        file: &LabFile,
        load: Load,
        report: Report<'_>,
    ) -> Result<Export> {
        let (model, notes) = portable(&file.model);
        let holds = match load {
            Load::Now => self.make_images(&model, Pull::Missing, report).await?,
            Load::Later => Vec::new(),
        };
        // What an image of others runs is known only when it is here.
        if let Some(image) = self.missing(&model)?.first() {
            return Err(LabError::NotPulled(image.title()));
        }
        let Desired { objects, .. } = self.desired(&model).await?;
        let export = export(&model, &objects, notes);
        if load == Load::Now {
            let client = Client::connect(&Place::of_caller()).await?;
            let wanted: Vec<ImageRef> =
                export.images.values().map(|image: &Image| ImageRef::of(image, None)).collect();
            let wanted: Vec<&ImageRef> = wanted.iter().collect();
            let folder = self.data.images();
            let store = Store { images: &folder, lock: self.data.images_lock() };
            images::provide(&client, &wanted, &store, report).await?;
        }
        drop(holds);
        Ok(export)
    }
}
