//! An image on its way to a registry: what it is made of first, what names it last, so that nobody
//! ever finds a part of it.
//!
//! Source: the OCI distribution specification ("Pushing manifests").

use netarium_core::image::Reference;

use super::layout::{INDEX, MANIFEST};
use super::{OutgoingError, Packed};
use crate::image::ImageEvent;
use crate::image::pull::{Content, PullError, Registry, Transport};

/// Sends `image` to the registry that `name` is in.
///
/// # Errors
/// If the registry cannot be reached, or does not take it.
pub(super) async fn push(
    image: &Packed,
    name: &Reference,
    transport: Transport,
    report: &(dyn Fn(ImageEvent) + Sync),
) -> Result<(), OutgoingError> {
    let failed = |source: PullError| OutgoingError::Push { name: name.familiar(), source };
    let registry = Registry::to_send(name, transport == Transport::Plain).await.map_err(failed)?;
    let (mut done, total) = (0, image.bytes());
    let (mut sent, mut there) = (0, 0);
    let mut count = |is_sent, size| *(if is_sent { &mut sent } else { &mut there }) += size;
    let tell = |done, text: &str| {
        report(ImageEvent::Step { text: text.to_owned(), done, total });
    };
    for platform in &image.platforms {
        for (layer, file) in &platform.layers {
            tell(done, &format!("sending for {}", platform.platform));
            let content = Content::File(file);
            let is_sent = registry.send_blob(&layer.digest, layer.size, &content).await;
            count(is_sent.map_err(failed)?, layer.size);
            done += layer.size;
        }
        let config = &platform.config;
        let content = Content::Bytes(&config.bytes);
        let (digest, size) = (&config.descriptor.digest, config.descriptor.size);
        count(registry.send_blob(digest, size, &content).await.map_err(failed)?, size);
        let manifest = &platform.manifest;
        let digest = Some(manifest.descriptor.digest.as_str());
        let bytes = manifest.bytes.clone();
        registry.send_manifest(digest, MANIFEST, bytes).await.map_err(failed)?;
    }
    tell(done, "naming it");
    registry.send_manifest(None, INDEX, image.index.bytes.clone()).await.map_err(failed)?;
    report(ImageEvent::Pushed { sent, there });
    Ok(())
}
