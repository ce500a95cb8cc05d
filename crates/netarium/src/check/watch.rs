//! Watches, in the node where a request arrives, which source address it has there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use netarium_core::model::Source;
use netarium_core::outcome::{Arrival, Listening};
use rustix::pipe::PipeFlags;

use super::probe::{self, GRACE};
use crate::engine::native::run::Running;
use crate::failure::Failure;
use crate::folder::LabFolder;

/// Somebody who watches. It ends when its input does.
pub(super) struct Watch {
    running: Running,
    input: OwnedFd,
}

impl Watch {
    /// Begins to watch for requests with this mark. When this returns, none escapes any more.
    ///
    /// # Errors
    /// The reason in words.
    pub(super) async fn begin(
        lab: &LabFolder,
        source: &Source,
        token: &str,
    ) -> Result<Self, String> {
        let beginning = begin(lab, source, token);
        let late = || Err("it was not ready in time".to_owned());
        let begun = tokio::time::timeout(GRACE, beginning).await.unwrap_or_else(|_| late());
        begun.map_err(|reason| format!("nobody watched in {}: {reason}", source.seen_by))
    }

    /// Ends watching: the addresses that requests came from.
    ///
    /// # Errors
    /// The reason in words.
    pub(super) async fn end(self) -> Result<BTreeSet<IpAddr>, String> {
        drop(self.input);
        let late = |_| "whoever watched did not end in time".to_owned();
        let ended = tokio::time::timeout(GRACE, self.running.end()).await.map_err(late)?;
        let ended = ended.map_err(|error| Failure::of(&error).to_string())?;
        let lines = ended.output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let arrivals = lines.map(serde_json::from_slice::<Arrival>);
        let sources = arrivals.map(|arrival| arrival.map(|arrival| arrival.source));
        sources.collect::<Result<_, _>>().map_err(|_| probe::complaint(&ended))
    }
}

async fn begin(lab: &LabFolder, source: &Source, token: &str) -> Result<Watch, String> {
    let (theirs, input) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|error| format!("cannot make a pipe to the node: {error}"))?;
    let arguments = vec!["watch".to_owned(), format!("--token={token}")];
    let mut running = probe::start(&lab.node(&source.seen_by), arguments, theirs.as_fd()).await?;
    drop(theirs);
    let line = running.line().await.map_err(|error| Failure::of(&error).to_string())?;
    match serde_json::from_slice(&line) {
        Ok(Listening { ready: true }) => Ok(Watch { running, input }),
        // It has ended already, and says why.
        _ => {
            let ended = running.end().await.map_err(|error| Failure::of(&error).to_string())?;
            Err(probe::complaint(&ended))
        }
    }
}
