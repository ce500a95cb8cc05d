//! One layer on its way: from a registry or archive through a pipe to the stage that unpacks it.
//! It is checked as it passes, taken up again where a connection breaks, and counts when all of it
//! was what the manifest said.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use oci_client::client::SizedStream;
use oci_client::errors::DigestError;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

use super::Source;
use super::archive::PartReader;
use super::error::PullError;
use super::manifest::Descriptor;
use super::registry::{Answer as Blob, Registry};
use crate::image::layer::Order;
use crate::image::store::Store;
use crate::image::unpack::{Lost, hex};
use crate::image::workshop::{Answer, Request, Work};
use crate::linux::stage::{Running, Stage, StageError};

/// How often a connection may break without anything having come in between.
const TRIES: u32 = 5;

/// How long before the next try; then twice as long each time.
const PAUSE: Duration = Duration::from_millis(250);

/// How much the pipe holds, in bytes; as much as anybody may have it hold (pipe(7)).
const PIPE: usize = 1 << 20;

/// How much of an archive is read at once, in bytes.
const PIECE: usize = 256 << 10;

/// A layer that is to be had.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// What comes.
    pub(super) blob: Descriptor,
    /// The file in an archive.
    pub(super) part: Option<String>,
    /// The digest of what it is when it is decompressed.
    pub(super) diff_id: String,
    /// The name of its folder.
    pub(super) chain: String,
    /// The layers below it, the highest first.
    pub(super) below: Vec<String>,
}

/// What happens while a layer comes.
pub(super) enum Passing {
    /// So much has come.
    Done(u64),
    /// The connection broke, and is tried again.
    Again(String),
}

/// Where the bytes of a layer come from.
enum Chunks {
    Http(SizedStream),
    File(PartReader),
}

impl Wanted {
    /// What people call it.
    pub(super) fn title(&self) -> String {
        let digest = if self.blob.digest.is_empty() { &self.diff_id } else { &self.blob.digest };
        digest.trim_start_matches("sha256:").chars().take(12).collect()
    }

    /// Fetches it into the store of layers. `lock` is its own, held by the caller; `settled` ends
    /// when all layers below are there.
    ///
    /// # Errors
    /// If it is not to be had, is not what it should be, or cannot be unpacked.
    pub(super) async fn fetch(
        &self,
        store: &Store,
        lock: &File,
        source: &Source,
        settled: impl Future<Output = ()>,
        report: &(dyn Fn(Passing) + Sync),
    ) -> Result<(u64, Lost), PullError> {
        let (reader, writer) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|it| PullError::Pipe(it.into()))?;
        // A smaller one does as well, only slower.
        fcntl_setpipe_size(&writer, PIPE).ok();
        let order = Order { below: self.below.clone() };
        let folder = store.folder().to_owned();
        let request = Request { folder, digest: self.chain.clone(), work: Work::Unpack(order) };
        let fds = [lock.as_fd(), reader.as_fd()];
        let mut stage = Running::start(Stage::Image, &request, &fds, Stdio::inherit())
            .map_err(PullError::Stage)?;
        drop(reader);
        rustix::io::ioctl_fionbio(&writer, true).map_err(|it| PullError::Pipe(it.into()))?;
        let writer = pipe::Sender::from_owned_fd(writer).map_err(PullError::Pipe)?;
        self.feed(writer, source, report).await?;
        let lost = match stage.answer().await.map_err(PullError::Stage)? {
            Some(Answer::Unpacked { diff_id, lost }) if diff_id == self.diff_id => lost,
            Some(Answer::Unpacked { diff_id, .. }) => {
                return Err(PullError::Digest {
                    what: format!("layer {}, unpacked,", self.title()),
                    expected: self.diff_id.clone(),
                    found: diff_id,
                });
            }
            answer => return Err(self.failed(answer)),
        };
        settled.await;
        stage.go_on().await.map_err(PullError::Stage)?;
        match stage.answer().await.map_err(PullError::Stage)? {
            Some(Answer::Done { bytes }) => Ok((bytes, lost)),
            answer => Err(self.failed(answer)),
        }
    }

    fn failed(&self, answer: Option<Answer>) -> PullError {
        let layer = |text: String, errno: Option<i32>| PullError::Layer {
            digest: self.title(),
            text,
            is_disk_full: matches!(errno, Some(libc::ENOSPC | libc::EDQUOT)),
        };
        match answer {
            Some(Answer::Layer { text, errno }) => layer(text, errno),
            Some(Answer::Folder { path, errno }) => {
                let error = io::Error::from_raw_os_error(errno);
                layer(format!("cannot use {}: {error}", path.display()), Some(errno))
            }
            Some(Answer::Namespace { text, .. }) => layer(text, None),
            _ => PullError::Stage(StageError::Silent { stderr: String::new() }),
        }
    }

    /// Sends all of it through the pipe, and looks at its digest and size. Where the other end is
    /// closed, the stage has something to say; that is the caller's to ask.
    async fn feed(
        &self,
        mut pipe: pipe::Sender,
        source: &Source,
        report: &(dyn Fn(Passing) + Sync),
    ) -> Result<(), PullError> {
        let mut sum = Sha256::new();
        let mut done = 0;
        let mut tries = 0;
        while let Err((error, may_help)) =
            self.follow(&mut pipe, source, &mut sum, &mut done, report, &mut tries).await
        {
            tries += 1;
            if !may_help || tries >= TRIES {
                return Err(error);
            }
            report(Passing::Again(error.to_string()));
            tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
        }
        if done == CLOSED {
            return Ok(());
        }
        if done != self.blob.size {
            let (what, expected) = (format!("layer {}", self.title()), self.blob.size);
            return Err(PullError::Size { what, expected, found: done });
        }
        let found = format!("sha256:{}", hex(&sum.finalize()));
        // What `docker save` writes has no digest but that of its content.
        if self.blob.digest.is_empty() || found == self.blob.digest {
            return Ok(());
        }
        let (what, expected) = (format!("layer {}", self.title()), self.blob.digest.clone());
        Err(PullError::Digest { what, expected, found })
    }

    /// Goes on from the byte `done`, to the end or until the connection breaks.
    async fn follow(
        &self,
        pipe: &mut pipe::Sender,
        source: &Source,
        sum: &mut Sha256,
        done: &mut u64,
        report: &(dyn Fn(Passing) + Sync),
        tries: &mut u32,
    ) -> Result<(), (PullError, bool)> {
        let (mut chunks, mut skipped) = self.open(source, *done).await?;
        loop {
            let chunk = match chunks.next().await {
                Ok(Some(chunk)) => chunk,
                // A server that closes too early says nothing: what is missing is asked for.
                Ok(None) if *done < self.blob.size => {
                    let error = source.broken(format!("it broke off after {done} bytes"));
                    return Err((error, matches!(source, Source::Registry(_))));
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.interrupted(source, &error)),
            };
            let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            // A server that knows no parts sends from the beginning what has come already.
            let skip = skipped.min(length);
            skipped -= skip;
            let chunk = &chunk[usize::try_from(skip).unwrap_or(chunk.len())..];
            if chunk.is_empty() {
                continue;
            }
            *tries = 0;
            *done += length - skip;
            if *done > self.blob.size {
                let what = format!("layer {}", self.title());
                let (expected, found) = (self.blob.size, *done);
                return Err((PullError::Size { what, expected, found }, false));
            }
            sum.update(chunk);
            if let Err(error) = pipe.write_all(chunk).await {
                if error.kind() == io::ErrorKind::BrokenPipe {
                    *done = CLOSED;
                    return Ok(());
                }
                return Err((PullError::Pipe(error), false));
            }
            report(Passing::Done(*done));
        }
    }

    /// What a chunk that does not come means, and whether another try may help.
    fn interrupted(&self, source: &Source, error: &io::Error) -> (PullError, bool) {
        let inner = error.get_ref().and_then(|it| it.downcast_ref::<DigestError>());
        match inner {
            Some(DigestError::VerificationError { expected, actual }) => {
                let what = format!("layer {}", self.title());
                let (expected, found) = (expected.clone(), actual.clone());
                (PullError::Digest { what, expected, found }, false)
            }
            _ => (source.broken(told(error)), true),
        }
    }

    /// Opens it at the byte `from`. The answer says how much of what comes has come already.
    async fn open(&self, source: &Source, from: u64) -> Result<(Chunks, u64), (PullError, bool)> {
        match source {
            Source::Registry(registry) => match registry.blob(&self.blob.digest, from).await? {
                Blob::Part(stream) => Ok((Chunks::Http(stream), 0)),
                Blob::Whole(stream) => Ok((Chunks::Http(stream), from)),
            },
            Source::Archive(archive) => {
                let name = self.part.as_deref().unwrap_or_default();
                let opened = archive.open_part(name).map_err(|error| {
                    (PullError::Manifest { text: format!("{name}: {error}") }, false)
                })?;
                Ok((Chunks::File(opened), 0))
            }
        }
    }
}

/// A small blob as a whole, if it is what its digest says.
///
/// # Errors
/// If it is not to be had, or something else.
pub(super) async fn whole(registry: &Registry, blob: &Descriptor) -> Result<Vec<u8>, PullError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_whole(registry, blob).await {
            Err((_, true)) if tries < TRIES => {
                tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
            }
            Err((error, _)) => return Err(error),
            Ok(bytes) => {
                let found = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
                if found == blob.digest {
                    return Ok(bytes);
                }
                let what = "the configuration".to_owned();
                return Err(PullError::Digest { what, expected: blob.digest.clone(), found });
            }
        }
    }
}

async fn try_whole(registry: &Registry, blob: &Descriptor) -> Result<Vec<u8>, (PullError, bool)> {
    let (Blob::Part(mut stream) | Blob::Whole(mut stream)) = registry.blob(&blob.digest, 0).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| (registry.broken(error.to_string()), true))?;
        bytes.extend_from_slice(&chunk);
        let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if found > blob.size {
            let what = "the configuration".to_owned();
            return Err((PullError::Size { what, expected: blob.size, found }, false));
        }
    }
    Ok(bytes)
}

/// What has been done when nobody takes any more.
const CLOSED: u64 = u64::MAX;

/// An error and what led to it.
fn told(error: &io::Error) -> String {
    let first: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let causes = std::iter::successors(first, |error| error.source());
    let mut told: Vec<String> = causes.map(ToString::to_string).collect();
    told.dedup();
    told.join(": ")
}

impl Chunks {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Http(stream) => stream.next().await.transpose(),
            // What is on the disk is there at once, or is read ahead by the kernel.
            Self::File(file) => {
                let mut piece = vec![0; PIECE];
                let count = file.read(&mut piece)?;
                piece.truncate(count);
                Ok((count > 0).then(|| Bytes::from(piece)))
            }
        }
    }
}
