//! Images that Docker builds of a folder, as `docker build` has it: the folder is sent, the recipe in it
//! is carried out there, and what was done before is not done again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use bollard::query_parameters::BuildImageOptions;
use futures_util::StreamExt;
use netarium_core::model::Build;
use rustix::fs::{AtFlags, Mode, OFlags};
use tokio_util::io::ReaderStream;

use super::client::Client;
use super::error::{Cause, EngineError};
use crate::linux::confined;

/// What a builder must not be sent, which is not understood here.
const IGNORED: &str = ".dockerignore";

/// How much of what a build says is told when it fails, in lines.
const LAST_LINES: usize = 12;

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The engine is of no use.
    #[error("cannot have Docker build it")]
    Engine(#[source] EngineError),
    /// The folder cannot be read.
    #[error("cannot read the context {}", path.display())]
    Context {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder says what is left out of it.
    #[error("the context {} has a {IGNORED}, which is not supported", .0.display())]
    Ignores(PathBuf),
    /// The recipe cannot be carried out.
    #[error("the build failed{}", after(.said))]
    Failed {
        /// What the build said last.
        said: String,
        /// What the engine says.
        source: Cause,
    },
}

impl BuildError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(_) => Some(
                "start Docker (apt install docker.io), or say where it is with DOCKER_HOST; an image \
                 that was built elsewhere needs none: image: oci-archive:FILE in place of build"
                    .to_owned(),
            ),
            Self::Context { .. } => None,
            Self::Ignores(_) => Some(
                "build it with docker build -t NAME, and write image: docker-daemon:NAME"
                    .to_owned(),
            ),
            Self::Failed { .. } => Some("`docker build` of the same folder says more".to_owned()),
        }
    }
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(":\n{said}") }
}

/// Has the engine build an image and call it `name`. `spare` is a folder for what is sent.
///
/// # Errors
/// If it cannot be built.
pub(crate) async fn build(
    client: &Client,
    name: &str,
    build: &Build,
    spare: &Path,
) -> Result<(), BuildError> {
    let (folder, context) = (PathBuf::from(&build.beneath), PathBuf::from(&build.context));
    let path = folder.join(&context);
    let spare = spare.to_owned();
    let packed = tokio::task::spawn_blocking(move || pack(&folder, &context, &spare)).await;
    let unread = |source| BuildError::Context { path: path.clone(), source };
    let file = packed.map_err(|error| unread(io::Error::other(error)))?.map_err(unread)?;
    let Some(file) = file else { return Err(BuildError::Ignores(path)) };
    let args: HashMap<String, String> = build.args.clone().into_iter().collect();
    let options = BuildImageOptions {
        dockerfile: build.dockerfile.clone(),
        t: Some(name.to_owned()),
        buildargs: (!args.is_empty()).then_some(args),
        target: build.target.clone().unwrap_or_default(),
        platform: build.platform.as_ref().map(ToString::to_string).unwrap_or_default(),
        // Nobody looks at the containers of its steps.
        rm: true,
        forcerm: true,
        ..BuildImageOptions::default()
    };
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file), 1 << 16);
    let body = bollard::body_try_stream(stream);
    let mut events = client.docker.build_image(options, None, Some(body));
    let mut said = String::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => said.push_str(&event.stream.unwrap_or_default()),
            Err(error) => {
                let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
                let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
                return Err(BuildError::Failed { said: last, source: error.into() });
            }
        }
    }
    Ok(())
}

/// Packs a folder into a file without a name; nothing if it wants something left out. No link in it is
/// followed, and no owner or time of this machine is told.
fn pack(folder: &Path, context: &Path, spare: &Path) -> io::Result<Option<File>> {
    let opened = confined::open_host_folder(Some(folder), context)?;
    if rustix::fs::statat(&opened, IGNORED, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(None);
    }
    std::fs::create_dir_all(spare)?;
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(spare, flags, Mode::RUSR | Mode::WUSR)?);
    let mut tar = tar::Builder::new(file);
    tar.follow_symlinks(false);
    tar.mode(tar::HeaderMode::Deterministic);
    tar.append_dir_all(".", format!("/proc/self/fd/{}/.", opened.as_raw_fd()))?;
    let mut file = tar.into_inner()?;
    file.rewind()?;
    Ok(Some(file))
}
