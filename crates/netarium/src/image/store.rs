//! The folder of an owner's images: finds them, has them built once, and keeps those in use.
//!
//! `<digest>/rootfs` is an image, `<digest>/image.json` says what it is, and `<digest>.lock` is
//! locked (flock(2)) by whoever builds or removes it, and shared by those who use it. What begins
//! with a dot is a build or a removal that is going on, or was when its process was killed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use netarium_core::image::Platform;
use netarium_core::model::{Image, Recipe};
use netarium_core::name::Name;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::image::{ImageError, ImageEvent, build, platforms};

/// The root file system in the folder of an image.
pub(crate) const ROOTFS: &str = "rootfs";

/// The images of an owner.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    builder: Builder,
}

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoredImage {
    /// The name of the recipe that it was first built for.
    pub name: Name,
    /// Its address, see [`Recipe::digest`].
    pub digest: String,
    /// Which machines it is for.
    pub platform: Platform,
    /// The Debian release.
    pub suite: String,
    /// The packages of the recipe.
    pub packages: Vec<String>,
    /// When it was built, in seconds since 1970.
    pub created: u64,
    /// How much of the disk it takes.
    pub bytes: u64,
    /// Its root file system.
    pub rootfs: PathBuf,
}

/// An image in use: as long as the file descriptor of this, or a copy of it in any process, is
/// open, nobody removes or replaces the image.
#[derive(Debug)]
pub struct Hold {
    lock: File,
    rootfs: PathBuf,
}

/// What a node's root file system stands on; see [`Store::root`].
#[derive(Debug)]
pub enum ImageRoot {
    /// The host's own root file system.
    Host,
    /// An image of the store.
    Stored(Hold),
}

/// What is written beside an image.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    name: Name,
    #[serde(default = "platforms::here")]
    platform: Platform,
    suite: String,
    packages: Vec<String>,
    created: u64,
    bytes: u64,
}

/// Who builds.
#[derive(Clone, Debug)]
enum Builder {
    Mmdebstrap,
    /// Counts its builds and makes an empty image.
    #[cfg(test)]
    Fake(std::sync::Arc<std::sync::atomic::AtomicUsize>),
}

/// What trying to lock an image without waiting came to.
enum Tried {
    Locked(File),
    /// Somebody else builds or removes it.
    Busy,
    /// Labs use it.
    InUse,
}

impl StoredImage {
    /// Whether it is what people call `word`: its name, or the beginning of its digest.
    fn is_called(&self, word: &str) -> bool {
        self.name.as_str() == word || word.len() >= 4 && self.digest.starts_with(word)
    }

    /// Whether it was made by the same recipe, for whatever platform.
    fn is_made_as(&self, other: &Self) -> bool {
        (&self.suite, &self.packages) == (&other.suite, &other.packages)
    }
}

impl Hold {
    /// The image's root file system.
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }
}

impl ImageRoot {
    /// The folder that is the lower layer of the node's root file system.
    pub fn path(&self) -> &Path {
        match self {
            Self::Host => Path::new("/"),
            Self::Stored(hold) => hold.rootfs(),
        }
    }
}

impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

impl From<Hold> for OwnedFd {
    fn from(hold: Hold) -> Self {
        hold.lock.into()
    }
}

impl Record {
    pub(crate) fn new(recipe: &Recipe, platform: &Platform, created: u64, bytes: u64) -> Self {
        let Recipe { name, suite, packages } = recipe.clone();
        let (packages, platform) = (packages.into_iter().collect(), platform.clone());
        Self { name, platform, suite, packages, created, bytes }
    }
}

impl Store {
    /// The store in a folder of the caller's choice. It is made when it is needed.
    ///
    /// # Errors
    /// If the path is relative and there is no current folder.
    pub fn at(folder: &Path) -> Result<Self, ImageError> {
        let folder = std::path::absolute(folder).map_err(ImageError::folder(folder))?;
        Ok(Self { folder, builder: Builder::Mmdebstrap })
    }

    /// A store in a folder of this one.
    pub(super) fn below(&self, name: &str) -> Self {
        Self { folder: self.folder.join(name), builder: self.builder.clone() }
    }

    /// Makes a folder in the store, closed to others as that is.
    pub(super) fn make_below(&self, folder: &Path) -> Result<(), ImageError> {
        self.make_folder().map_err(ImageError::folder(&self.folder))?;
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(ImageError::folder(folder)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The root file system of the image of `recipe`, built now if it is not there. If another
    /// process builds it, this waits and says so. Dropping the future ends the build.
    ///
    /// # Errors
    /// If it cannot be built or the store cannot be used.
    pub async fn ensure(
        &self,
        recipe: &Recipe,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<PathBuf, ImageError> {
        let digest = recipe.digest();
        while let Some(lock) = self.lock_missing(&digest, report).await? {
            self.make(recipe, &platforms::here(), &lock, report).await?;
        }
        Ok(self.rootfs(&digest))
    }

    /// Locks an image that is not there, to be made; nothing if it is there, perhaps because others
    /// have made it meanwhile.
    pub(super) async fn lock_missing(
        &self,
        digest: &str,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<Option<File>, ImageError> {
        loop {
            if self.has(digest) {
                return Ok(None);
            }
            let how = match self.try_lock(digest)? {
                // It may have come in between.
                Tried::Locked(_) if self.has(digest) => return Ok(None),
                Tried::Locked(lock) => return Ok(Some(lock)),
                Tried::Busy => FlockOperation::LockShared,
                // Others who want it look whether it has come, or somebody has removed its folder
                // under a lab. Sharing the lock would not end before theirs.
                Tried::InUse => FlockOperation::LockExclusive,
            };
            report(ImageEvent::Waiting);
            self.wait(digest, how).await?;
        }
    }

    /// What nodes of `image` stand on, built now if need be, and kept from being removed as long as
    /// the answer lives.
    ///
    /// # Errors
    /// As [`Store::ensure`].
    pub async fn root(
        &self,
        image: &Image,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<ImageRoot, ImageError> {
        let Image::Recipe(recipe) = image else { return Ok(ImageRoot::Host) };
        loop {
            self.ensure(recipe, report).await?;
            match self.hold(&recipe.digest()).await {
                // Somebody has removed it before it could be held.
                Err(ImageError::Missing { .. }) => {}
                held => return held.map(ImageRoot::Stored),
            }
        }
    }

    /// Builds the image of `recipe`, also if it is there already.
    ///
    /// # Errors
    /// If it cannot be built, the store cannot be used, or a lab uses the image.
    pub async fn build(
        &self,
        recipe: &Recipe,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<PathBuf, ImageError> {
        self.build_for(recipe, &platforms::here(), report).await
    }

    /// The same for machines of a kind that need not be this one's.
    ///
    /// # Errors
    /// As [`Store::build`], and if nothing here can run programs of such machines.
    pub async fn build_for(
        &self,
        recipe: &Recipe,
        platform: &Platform,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<PathBuf, ImageError> {
        let digest = platforms::address(recipe, platform);
        let lock = self.lock(recipe.name.as_str(), &digest, report).await?;
        self.make(recipe, platform, &lock, report).await?;
        Ok(self.rootfs(&digest))
    }

    /// What was built by `recipe`, for each platform.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn built_by(&self, recipe: &Recipe) -> Result<Vec<StoredImage>, ImageError> {
        let mut built = self.list()?;
        built.retain(|it| it.suite == recipe.suite && it.packages.iter().eq(&recipe.packages));
        Ok(built)
    }

    /// What was built of an image, for each platform; it is named by its recipe's name, or by the
    /// beginning of the digest that it has for any platform.
    ///
    /// # Errors
    /// If there is no such image, or several of that name that are made of different packages.
    pub fn built(&self, image: &str) -> Result<Vec<StoredImage>, ImageError> {
        let all = self.list()?;
        let named: Vec<&StoredImage> = all.iter().filter(|it| it.is_called(image)).collect();
        let Some(first) = named.first() else {
            return Err(ImageError::Missing {
                image: image.to_owned(),
                folder: self.folder.clone(),
            });
        };
        if named.iter().any(|it| !it.is_made_as(first)) {
            let digests = named.iter().map(|it| it.digest.clone()).collect();
            return Err(ImageError::Ambiguous { image: image.to_owned(), digests });
        }
        Ok(all.iter().filter(|it| it.is_made_as(first)).cloned().collect())
    }

    /// All images, by name and age.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn list(&self) -> Result<Vec<StoredImage>, ImageError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(ImageError::folder(&self.folder))?,
        };
        let mut images = Vec::new();
        for entry in entries {
            let name = entry.map_err(ImageError::folder(&self.folder))?.file_name();
            if let Some(digest) = name.to_str().filter(|name| is_digest(name)) {
                images.extend(self.read(digest)?);
            }
        }
        images.sort_by(|a, b| (&a.name, a.created).cmp(&(&b.name, b.created)));
        Ok(images)
    }

    /// Removes an image, named by its recipe's name, its digest, or the beginning of its digest.
    ///
    /// # Errors
    /// If there is no such image or more than one, a lab uses it, or it cannot be removed.
    pub async fn remove(&self, image: &str) -> Result<StoredImage, ImageError> {
        let mut found = self.list()?;
        found.retain(|stored| stored.is_called(image));
        let stored = match found.len() {
            0 => {
                let (image, folder) = (image.to_owned(), self.folder.clone());
                return Err(ImageError::Missing { image, folder });
            }
            1 => found.swap_remove(0),
            _ => {
                let digests = found.into_iter().map(|stored| stored.digest).collect();
                return Err(ImageError::Ambiguous { image: image.to_owned(), digests });
            }
        };
        let lock = self.lock(image, &stored.digest, &|_| ()).await?;
        build::remove(&self.folder, &stored.digest, &lock).await?;
        let path = self.lock_path(&stored.digest);
        // While it is locked; whoever waits for it sees that it is gone and makes a new one.
        fs::remove_file(&path).map_err(ImageError::folder(&path))?;
        Ok(stored)
    }

    /// Keeps an image from being removed or replaced as long as the answer lives.
    ///
    /// # Errors
    /// If the image is not there.
    pub async fn hold(&self, digest: &str) -> Result<Hold, ImageError> {
        if self.has(digest) {
            let lock = self.wait(digest, FlockOperation::LockShared).await?;
            if self.has(digest) {
                return Ok(Hold { lock, rootfs: self.rootfs(digest) });
            }
        }
        Err(ImageError::Missing { image: digest.to_owned(), folder: self.folder.clone() })
    }

    fn rootfs(&self, digest: &str) -> PathBuf {
        self.folder.join(digest).join(ROOTFS)
    }

    pub(super) fn lock_path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.lock"))
    }

    pub(super) fn has(&self, digest: &str) -> bool {
        self.rootfs(digest).is_dir()
    }

    /// What is known of an image; nothing if it has just been removed.
    fn read(&self, digest: &str) -> Result<Option<StoredImage>, ImageError> {
        let path = self.folder.join(digest).join("image.json");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(ImageError::folder(&path))?,
        };
        let Record { name, platform, suite, packages, created, bytes } =
            serde_json::from_slice(&text).map_err(|source| ImageError::Record { path, source })?;
        let (digest, rootfs) = (digest.to_owned(), self.rootfs(digest));
        Ok(Some(StoredImage { name, digest, platform, suite, packages, created, bytes, rootfs }))
    }

    async fn make(
        &self,
        recipe: &Recipe,
        platform: &Platform,
        lock: &File,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<(), ImageError> {
        let made = match &self.builder {
            Builder::Mmdebstrap => build::build(&self.folder, recipe, platform, lock, report).await,
            #[cfg(test)]
            Builder::Fake(builds) => tests::fake_build(self, recipe, platform, builds).await,
        };
        let digest = platforms::address(recipe, platform);
        // A stage that was lost may still hold the lock while it cleans up.
        let lost = matches!(made, Err(ImageError::Stage { .. }));
        if made.is_err() && !lost && !self.has(&digest) {
            // The failure is what is to be told; the file would only be in the way.
            fs::remove_file(self.lock_path(&digest)).ok();
        }
        made
    }

    /// Locks an image for building or removing, and waits for others who do that.
    pub(super) async fn lock(
        &self,
        image: &str,
        digest: &str,
        report: &(dyn Fn(ImageEvent) + Sync),
    ) -> Result<File, ImageError> {
        loop {
            match self.try_lock(digest)? {
                Tried::Locked(lock) => return Ok(lock),
                Tried::InUse => {
                    let (image, digest) = (image.to_owned(), digest.to_owned());
                    return Err(ImageError::InUse { image, digest });
                }
                Tried::Busy => {
                    report(ImageEvent::Waiting);
                    self.wait(digest, FlockOperation::LockShared).await?;
                }
            }
        }
    }

    fn try_lock(&self, digest: &str) -> Result<Tried, ImageError> {
        let path = self.lock_path(digest);
        loop {
            let file = self.open_lock(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => return Ok(Tried::Locked(file)),
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return match flock(&file, FlockOperation::NonBlockingLockShared) {
                        Ok(()) => Ok(Tried::InUse),
                        Err(Errno::WOULDBLOCK) => Ok(Tried::Busy),
                        Err(error) => Err(ImageError::folder(&path)(error.into())),
                    };
                }
                Err(error) => return Err(ImageError::folder(&path)(error.into())),
            }
        }
    }

    /// Locks an image as soon as others let go of it.
    async fn wait(&self, digest: &str, how: FlockOperation) -> Result<File, ImageError> {
        let path = self.lock_path(digest);
        loop {
            let file = lock_on_thread(self.open_lock(&path)?, how).await;
            let file = file.map_err(ImageError::folder(&path))?;
            if is_at(&file, &path) {
                return Ok(file);
            }
        }
    }

    fn open_lock(&self, path: &Path) -> Result<File, ImageError> {
        self.make_folder().map_err(ImageError::folder(&self.folder))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(path).map_err(ImageError::folder(path))
    }

    /// Images have setuid programs of ids that other users of the host must not become, so the
    /// folder is closed to them. A build opens it to root of the owner's namespaces.
    fn make_folder(&self) -> io::Result<()> {
        if let Some(parent) = self.folder.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Whether `file` is still the one at `path`, and not one that was removed with its image.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Waits on a thread of its own: no file descriptor tells when a lock is free, and tokio would wait
/// for a thread of its pool when the program wants to end.
pub(super) async fn lock_on_thread(file: File, how: FlockOperation) -> io::Result<File> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("image lock".to_owned()).spawn(move || {
        let locked = rustix::io::retry_on_intr(|| flock(&file, how));
        // Where nobody waits any more, the file is closed and with it the lock.
        sender.send(locked.map(|()| file)).ok();
    })?;
    let locked = receiver.await.map_err(io::Error::other)?;
    locked.map_err(Into::into)
}

pub(super) fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
