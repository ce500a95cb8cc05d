//! The moment at which a container begins: its first process listens in a folder that it shares with
//! us, and waits.
//!
//! The socket tells which process that is (unix(7), `SO_PEERCRED`). So nothing has to be asked of
//! the engine, and a container in another process namespace, or on another machine, shows.

use std::io;
use std::time::{Duration, Instant};

use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt;
use netarium_core::name::Name;

use super::client::Client;
use super::error::EngineError;
use crate::folder::NodeFolder;
use crate::linux::packet;
use crate::linux::process::Process;

/// How long between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(2);

/// How often something of the engine is looked for before it is given up.
pub(super) const TRIES: usize = 5000;

/// How long between two looks whether the container still runs.
const LOOK: Duration = Duration::from_millis(200);

/// How long a first process may take to listen.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits until the first process of a container that was started listens, and says which it is.
///
/// # Errors
/// If it ends, or cannot be reached from here.
pub(super) async fn wait(
    client: &Client,
    node: &Name,
    container: &str,
    folder: &NodeFolder,
) -> Result<Process, EngineError> {
    let (path, began) = (folder.control(), Instant::now());
    let mut look = began + LOOK;
    loop {
        match peer(&path) {
            Ok(Some(process)) => return Ok(process),
            // It has a number, but not one of ours.
            Ok(None) => return Err(EngineError::Elsewhere { place: client.place.clone() }),
            Err(_) if Instant::now() >= look => {
                is_running(client, node, container).await?;
                look = Instant::now() + LOOK;
            }
            Err(_) => {}
        }
        if began.elapsed() > LONGEST {
            return Err(EngineError::Elsewhere { place: client.place.clone() });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The process that listens at `path`; `None` if it is in a process namespace that is not seen here.
///
/// # Errors
/// If nobody listens.
pub(crate) fn peer(path: &std::path::Path) -> io::Result<Option<Process>> {
    let pid = packet::peer(&packet::connect(path)?)?;
    pid.map(Process::of).transpose()
}

async fn is_running(client: &Client, node: &Name, container: &str) -> Result<(), EngineError> {
    let found = client.docker.inspect_container(container, None).await;
    let found = found.map_err(client.refused(format!("look at container {container}")))?;
    let state = found.state.unwrap_or_default();
    if state.running == Some(true) {
        return Ok(());
    }
    let options =
        LogsOptions { stdout: true, stderr: true, tail: "6".to_owned(), ..LogsOptions::default() };
    let mut said = state.error.unwrap_or_default();
    let mut logs = client.docker.logs(container, Some(options));
    while let Some(Ok(line)) = logs.next().await {
        said.push_str(&line.to_string());
    }
    Err(EngineError::Ended { node: node.clone(), said })
}
