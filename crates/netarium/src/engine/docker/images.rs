//! The images of a lab as the engine has them: those that are made here are given to it, once each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bollard::query_parameters::{CreateImageOptions, RemoveImageOptions};
use futures_util::StreamExt;
use netarium_core::export::{AT_ENGINE, name_at_engine};
use netarium_core::object::ImageRef;
use rustix::fs::FlockOperation;
use tokio::net::unix::pipe;
use tokio_util::io::ReaderStream;

use super::client::{Client, is_missing};
use super::containers::image_key;
use super::error::EngineError;
use super::host;
use super::pack::{self, Pack};
use crate::event::{Event, Report};
use crate::image::{self, ROOTFS};

type Result<T> = std::result::Result<T, EngineError>;

/// The label of an image that was made here.
pub(super) const LABEL: &str = "io.netarium.image";

/// What the names of such images begin with.
pub(super) const PREFIX: &str = AT_ENGINE;

/// Where images are on this side.
pub(crate) struct Store<'a> {
    /// The folder of images.
    pub(crate) images: &'a Path,
    /// A file that is locked by whoever gives an image to an engine.
    pub(crate) lock: PathBuf,
}

/// Sees that the engine has these images, and tells how it calls them, by [`image_key`].
///
/// # Errors
/// If it does not take one.
pub(crate) async fn provide(
    client: &Client,
    images: &[&ImageRef],
    store: &Store<'_>,
    report: Report<'_>,
) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for image in images {
        let key = image_key(image);
        if let Entry::Vacant(entry) = names.entry(key) {
            entry.insert(provide_one(client, image, store, report).await?);
        }
    }
    Ok(names)
}

async fn provide_one(
    client: &Client,
    image: &ImageRef,
    store: &Store<'_>,
    report: Report<'_>,
) -> Result<String> {
    let (name, digest, pack) = match image {
        ImageRef::Host => ("host", host::digest(), Pack::Host),
        ImageRef::Stored { name, digest } => {
            let folder = store.images.join(digest).join(ROOTFS);
            (name.as_str(), digest.clone(), Pack::Rootfs(folder))
        }
        // Pulled as for nodes of ours, so that it is the same on every engine.
        ImageRef::Pulled { digest, .. } => {
            let layers = image::Store::stack(store.images, digest)
                .map_err(|source| EngineError::Write { path: store.images.to_owned(), source })?;
            let digits = digest.rsplit(':').next().unwrap_or(digest).to_owned();
            ("pulled", digits, Pack::Layers(layers))
        }
        ImageRef::Absent { name } => return Ok(name.clone()),
    };
    let name = name_at_engine(name, &digest);
    if is_there(client, &name).await? {
        return Ok(name);
    }
    let _lock = lock(store).await?;
    if !is_there(client, &name).await? {
        report(Event::Giving { image: name.clone() });
        give(client, &name, pack).await?;
    }
    Ok(name)
}

async fn is_there(client: &Client, name: &str) -> Result<bool> {
    match client.docker.inspect_image(name).await {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(client.refused(format!("look for image {name}"))(error)),
    }
}

/// Two labs that begin at the same time give an image once.
async fn lock(store: &Store<'_>) -> Result<File> {
    let path = store.lock.clone();
    let error = |source| EngineError::Write { path: store.lock.clone(), source };
    let folder = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
    fs::create_dir_all(folder).map_err(error)?;
    let file = File::options().create(true).append(true).open(&path).map_err(error)?;
    let locked = tokio::task::spawn_blocking(move || {
        rustix::fs::flock(&file, FlockOperation::LockExclusive).map(|()| file)
    });
    let locked = locked.await.map_err(std::io::Error::other).map_err(error)?;
    locked.map_err(|source| error(source.into()))
}

/// Packs an image and gives it to the engine in one go.
async fn give(client: &Client, name: &str, pack: Pack) -> Result<()> {
    let pack_error = |source: Box<dyn std::error::Error + Send + Sync>| EngineError::Pack {
        image: name.to_owned(),
        source,
    };
    let (packing, reader) = pack::start(&pack).map_err(|it| pack_error(it.into()))?;
    let reader = pipe::Receiver::from_owned_fd(reader).map_err(|it| pack_error(it.into()))?;
    let (_, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        // With its tag: of one that is told apart, Podman knows nothing.
        repo: Some(name.to_owned()),
        changes: vec![format!("LABEL {LABEL}={tag}")],
        ..CreateImageOptions::default()
    };
    let body = bollard::body_try_stream(ReaderStream::with_capacity(reader, 1 << 16));
    let mut taken = client.docker.create_image(Some(options), Some(body), None);
    let mut refused = None;
    while let Some(event) = taken.next().await {
        refused = refused.or(event.err());
    }
    let packed = pack::finish(packing).await;
    if let Some(error) = refused {
        return Err(client.refused(format!("take image {name}"))(error));
    }
    if let Err(failure) = packed {
        // What was not packed to its end is no image.
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        client.docker.remove_image(name, Some(options), None).await.ok();
        return Err(pack_error(failure.into()));
    }
    Ok(())
}
