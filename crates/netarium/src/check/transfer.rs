//! A transfer that lasts as long as something else.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use netarium_core::model::Transfer;
use netarium_core::outcome::{self, Listening};
use rustix::pipe::PipeFlags;

use super::probe::{self, GRACE};
use crate::engine::native::run::Running;
use crate::failure::Failure;
use crate::folder::LabFolder;

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(5);

/// A transfer on its way. It ends when its input does.
pub(super) struct Course {
    running: Running,
    input: OwnedFd,
}

impl Course {
    /// Begins to transfer. When this returns, something has come.
    ///
    /// # Errors
    /// The reason in words.
    pub(super) async fn begin(lab: &LabFolder, transfer: &Transfer) -> Result<Self, String> {
        let late = || Err("nothing was transferred in time".to_owned());
        let begun = tokio::time::timeout(GRACE, begin(lab, transfer)).await;
        begun.unwrap_or_else(|_| late())
    }

    /// Ends it when something more has come. What was transferred, in words.
    ///
    /// # Errors
    /// What broke it, in words.
    pub(super) async fn end(self) -> Result<String, String> {
        drop(self.input);
        let late = |_| "the transfer did not end in time".to_owned();
        let ended = tokio::time::timeout(GRACE, self.running.end()).await.map_err(late)?;
        let ended = ended.map_err(|error| Failure::of(&error).to_string())?;
        let last = ended.output.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
        let told: Result<outcome::Transfer, _> = serde_json::from_slice(last.unwrap_or_default());
        let told = told.map_err(|_| probe::complaint(&ended))?;
        let words = format!(
            "{} bytes by {} requests, the longest pause {:.0} ms",
            told.bytes, told.requests, told.longest_pause
        );
        match told.fault {
            Some(fault) => Err(format!("the transfer broke: {fault}; {words}")),
            None => Ok(words),
        }
    }
}

async fn begin(lab: &LabFolder, transfer: &Transfer) -> Result<Course, String> {
    let (theirs, input) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|error| format!("cannot make a pipe to the node: {error}"))?;
    let url = &transfer.url;
    let arguments = vec![
        "transfer".to_owned(),
        format!("--address={}", url.address),
        format!("--port={}", url.port),
        format!("--host={}", url.host),
        format!("--path={}", url.path),
        format!("--timeout-ms={}", PATIENCE.as_millis()),
    ];
    let mut running = probe::start(&lab.node(&transfer.from), arguments, theirs.as_fd()).await?;
    drop(theirs);
    let line = running.line().await.map_err(|error| Failure::of(&error).to_string())?;
    match serde_json::from_slice(&line) {
        Ok(Listening { ready: true }) => Ok(Course { running, input }),
        // It has ended already, and says why.
        _ => {
            let told: Result<outcome::Transfer, _> = serde_json::from_slice(&line);
            let fault = told.ok().and_then(|told| told.fault);
            Err(format!("nothing is transferred: {}", fault.unwrap_or_default()))
        }
    }
}
