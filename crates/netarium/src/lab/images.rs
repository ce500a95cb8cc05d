//! The images of a lab's nodes: made ready before anything else, and known by what they say of
//! themselves.

use std::collections::BTreeSet;

use netarium_core::image::Images;
use netarium_core::model::{Image, Model};
use netarium_core::object::{ImageRef, Object};

use super::{Lab, LabError, Pull, Result};
use crate::engine::native::journal;
use crate::event::{Event, Report};
use crate::image::{Hold, ImageError, ImageEvent, ImageRoot, PullOptions, PulledRecord, Store};

impl Lab {
    /// What is in the store of the images of others that `model` names.
    pub(super) fn found(&self, model: &Model) -> Result<Images> {
        let mut images = Images::new();
        for image in foreign(model) {
            let found = self.store(image)?.find(image).map_err(failed(image))?;
            images.extend(found.map(|record| (image.clone(), record.found())));
        }
        Ok(images)
    }

    /// The images that are to be pulled before `model` can be up.
    pub(super) fn missing(&self, model: &Model) -> Result<Vec<Image>> {
        let found = self.found(model)?;
        Ok(foreign(model).into_iter().filter(|it| !found.contains_key(*it)).cloned().collect())
    }

    /// Makes the images of all nodes ready, and keeps them from being removed as long as the answer
    /// lives.
    pub(super) async fn make_images(
        &self,
        model: &Model,
        pull: Pull,
        report: Report<'_>,
    ) -> Result<Vec<Hold>> {
        let images: BTreeSet<&Image> = model.nodes.values().map(|node| &node.image).collect();
        let mut holds = Vec::new();
        for image in images {
            if *image == Image::Host {
                continue;
            }
            let store = self.store(image)?;
            let name = image.title();
            let each = |event| report(Event::Image { name: name.clone(), event });
            if image.is_foreign() {
                let record = had(&store, image, pull, &each).await.map_err(failed(image))?;
                holds.extend(store.hold_layers(&record).await.map_err(failed(image))?);
            } else if let ImageRoot::Stored(hold) =
                store.root(image, &each).await.map_err(failed(image))?
            {
                holds.push(hold);
            }
        }
        Ok(holds)
    }

    /// The digests of the images that the nodes of this lab were made from; none if it is not up.
    ///
    /// # Errors
    /// If the lab's journal cannot be read.
    pub fn images_in_use(&self) -> Result<BTreeSet<String>> {
        let path = self.folder.journal();
        let objects = journal::replay(&path).map_err(|source| LabError::Folder {
            what: "read",
            path,
            source,
        })?;
        let digests = objects.iter().filter_map(|(_, object)| match object {
            Object::Node(node) => match &node.image {
                ImageRef::Stored { digest, .. } | ImageRef::Pulled { digest, .. } => {
                    Some(digest.clone())
                }
                ImageRef::Host | ImageRef::Absent { .. } => None,
            },
            _ => None,
        });
        Ok(digests.collect())
    }

    fn store(&self, image: &Image) -> Result<Store> {
        Store::at(&self.data.images()).map_err(failed(image))
    }
}

/// An image of others, pulled if it is to be.
async fn had(
    store: &Store,
    image: &Image,
    pull: Pull,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> std::result::Result<PulledRecord, ImageError> {
    match pull {
        Pull::Missing => store.fetch(image, PullOptions::default(), report).await,
        Pull::Always => store.pull(image, PullOptions::default(), report).await,
        Pull::Never => store.find(image)?.ok_or_else(|| ImageError::NotPulled(image.title())),
    }
}

fn foreign(model: &Model) -> BTreeSet<&Image> {
    model.nodes.values().map(|node| &node.image).filter(|image| image.is_foreign()).collect()
}

fn failed(image: &Image) -> impl FnOnce(ImageError) -> LabError + use<> {
    let image = image.title();
    move |source| LabError::Image { image, source }
}
