//! The other way: what is sent to a registry. A blob that is there already is not sent again.

use std::fs::File;
use std::io::{Read, Seek};

use bytes::Bytes;
use futures_util::stream;

use super::*;

/// How much of a file is read at once.
const PIECE: usize = 1 << 20;

/// What is sent.
pub(in crate::image) enum Content<'a> {
    Bytes(&'a [u8]),
    File(&'a File),
}

impl Registry {
    /// Finds the registry to which an image of that name is sent, and shows it who sends.
    ///
    /// # Errors
    /// If it cannot be reached, or does not take it from us.
    pub(in crate::image) async fn to_send(
        reference: &Reference,
        plain: bool,
    ) -> Result<Self, PullError> {
        let host = reference.registry();
        let is_plain = plain || Settings::read()?.is_plain(host);
        let registry = Self::open(reference, host, is_plain).await?;
        let shown = registry.client.auth(&registry.image, &registry.auth, RegistryOperation::Push);
        shown.await.map_err(|error| registry.error(&error))?;
        Ok(registry)
    }

    /// Sends a blob, if it is not there, and says whether it was sent.
    ///
    /// # Errors
    /// If the registry does not take it, or the connection breaks again and again.
    pub(in crate::image) async fn send_blob(
        &self,
        digest: &str,
        size: u64,
        content: &Content<'_>,
    ) -> Result<bool, PullError> {
        // Some registries do not say what they have to who may only write.
        if self.client.blob_exists(&self.image, digest).await.unwrap_or(false) {
            return Ok(false);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let pieces = pieces(content).map_err(|error| self.broken(error.to_string()))?;
            let sent = self.client.push_blob_stream(&self.image, pieces, digest, Some(size)).await;
            match sent {
                Ok(_) => return Ok(true),
                Err(error) if tries < TRIES && is_passing(&error) => {
                    tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
                }
                Err(error) => return Err(self.error(&error)),
            }
        }
    }

    /// Sends a manifest or an index: under its digest if one is named, else under the tag of the image.
    ///
    /// # Errors
    /// If the registry does not take it.
    pub(in crate::image) async fn send_manifest(
        &self,
        digest: Option<&str>,
        media_type: &'static str,
        bytes: Vec<u8>,
    ) -> Result<(), PullError> {
        let image = match digest {
            Some(digest) => self.image.clone_with_digest(digest.to_owned()),
            None => self.image.clone(),
        };
        let media_type = media_type.parse().expect("it is a media type");
        let sent = self.client.push_manifest_raw(&image, bytes, media_type).await;
        sent.map(drop).map_err(|error| self.error(&error))
    }
}

/// What is sent, piece by piece, from its beginning on.
fn pieces(
    content: &Content<'_>,
) -> std::io::Result<impl stream::Stream<Item = Result<Bytes, OciError>> + Send + use<>> {
    let source: Box<dyn Read + Send> = match content {
        Content::Bytes(bytes) => Box::new(std::io::Cursor::new(bytes.to_vec())),
        Content::File(file) => {
            let mut file = file.try_clone()?;
            file.rewind()?;
            Box::new(file)
        }
    };
    Ok(stream::unfold(source, |mut source| async move {
        let mut piece = vec![0; PIECE];
        // What was packed a moment ago is in memory.
        match source.read(&mut piece) {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(Bytes::from(piece)), source))
            }
            Err(error) => Some((Err(OciError::IoError(error)), source)),
        }
    }))
}
