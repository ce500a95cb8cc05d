//! Images that labs have given to Docker, and that no lab uses any more.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::FlockOperation;

use super::{LabError, Result};
use crate::engine::docker::client::{Client, Place};
pub use crate::engine::docker::given::Given;
use crate::engine::docker::given::{remove, spare};
use crate::folder::DataFolder;

/// What Docker was given by labs.
pub struct GivenImages {
    client: Client,
    /// No lab of this folder makes containers as long as this lives.
    _lock: File,
}

impl GivenImages {
    /// Looks for Docker where the environment says, and waits for labs that make containers.
    ///
    /// # Errors
    /// If it does not answer, or is not for this user.
    pub async fn find(data: &DataFolder) -> Result<Self> {
        let client = Client::connect(&Place::of_caller()).await?;
        let lock = lock(data, FlockOperation::LockExclusive).await?;
        Ok(Self { client, _lock: lock })
    }

    /// Those that no container is made from, of whatever lab.
    ///
    /// # Errors
    /// If Docker does not tell them.
    pub async fn spare(&self) -> Result<Vec<Given>> {
        Ok(spare(&self.client).await?)
    }

    /// Removes those, and tells which are gone.
    ///
    /// # Errors
    /// If Docker does not let go of one.
    pub async fn remove_spare(&self) -> Result<Vec<Given>> {
        let mut gone = Vec::new();
        for image in self.spare().await? {
            if remove(&self.client, &image).await? {
                gone.push(image);
            }
        }
        Ok(gone)
    }
}

/// Keeps what Docker is given from being removed until containers are made from it, or the other way
/// round.
pub(super) async fn lock(data: &DataFolder, how: FlockOperation) -> Result<File> {
    let path = data.given_lock();
    let error = |source| LabError::Folder { what: "lock", path: path.clone(), source };
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(error)?;
    let file = File::options().create(true).append(true).open(&path).map_err(error)?;
    let locking = tokio::task::spawn_blocking(move || rustix::fs::flock(&file, how).map(|()| file));
    let locked = locking.await.map_err(std::io::Error::other).map_err(error)?;
    locked.map_err(|source| error(source.into()))
}
