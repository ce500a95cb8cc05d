//! A lab brought up by docker-compose, as it is exported: what labs are compared with.
//!
//! It is asked as labs of ours are, by the same probe, which comes into the network of the container that
//! asks as soon as there is one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::query_parameters::ListContainersOptions;
use netarium_core::control::PROBE;
use netarium_core::name::Name;
use netarium_core::outcome::Outcome;

use super::engines::Turn;
use super::first_answer::Asker;
use super::{BenchError, Result};
use crate::engine::docker::client::{Client, Place};
use crate::export::{self, Load};
use crate::failure::Failure;
use crate::folder::DataFolder;
use crate::lab::Lab;
use crate::lab_file::LabFile;
use crate::linux::namespace::NetworkNamespace;
use crate::linux::program::Program;

/// The program.
const COMPOSE: &str = "docker-compose";

/// How long between two looks whether a container is there: seldom enough that the engine does not notice.
const PAUSE: Duration = Duration::from_millis(50);

/// A lab as a project of Docker Compose. Its folder is gone with this.
pub(super) struct Project {
    name: String,
    folder: PathBuf,
    file: LabFile,
    data: DataFolder,
}

impl Project {
    /// That of the lab of `file`. Nothing is made yet.
    pub(super) fn of(file: &LabFile, data: &DataFolder) -> Self {
        let name = format!("netarium-bench-{}", file.model.lab);
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        Self { name, folder, file: file.clone(), data: data.clone() }
    }

    /// Exports the lab, and gives the engine its images.
    ///
    /// # Errors
    /// If it cannot be exported, or no engine answers.
    pub(super) async fn prepare(&self) -> Result<()> {
        let (file, data) = (&self.file, &self.data);
        let exported = export::compose(file, data, &self.folder, Load::Now, &|_| {}).await;
        exported.map(drop).map_err(|error| refused(&error))
    }

    /// Up until every answer has come, and down.
    ///
    /// # Errors
    /// If docker-compose fails, or no answer comes.
    pub(super) async fn turn(&self) -> Result<Turn> {
        let client = Client::connect(&Place::of_caller()).await.map_err(|error| refused(&error))?;
        let began = Instant::now();
        let up = async { self.compose(&["up", "--detach"]).await.map(|()| began.elapsed()) };
        let came = tokio::try_join!(up, self.answers(&client, began));
        // Also after a failure, so that nothing is left.
        let ending = Instant::now();
        let ended = self.down().await;
        let down = ending.elapsed();
        let (wired, answered) = came?;
        ended?;
        // Where nobody asks, it counts when it is up.
        let answered = answered.unwrap_or(wired);
        Ok(Turn { wired: Some(wired), tunnels: None, answered, down })
    }

    /// Takes it down, if it is there.
    ///
    /// # Errors
    /// If docker-compose fails.
    pub(super) async fn down(&self) -> Result<()> {
        if !self.folder.exists() {
            return Ok(());
        }
        self.compose(&["down", "--volumes"]).await
    }

    async fn compose(&self, words: &[&str]) -> Result<()> {
        let program = Program::new(COMPOSE).args(["--project-name", &self.name, "--file"]);
        let done = program.arg(self.folder.join("compose.yaml")).args(words).run().await;
        done.map(drop).map_err(|error| refused(&error))
    }

    /// How long after `began` the last of the first answers came, if somebody asks.
    async fn answers(&self, client: &Client, began: Instant) -> Result<Option<Duration>> {
        let lab = Lab::named(&self.data, &self.file.model.lab);
        let probe = self.folder.join(PROBE);
        let mut asking = Vec::new();
        for asker in Asker::all(&lab, &self.file.model) {
            let namespace = self.network_of(client, asker.from()).await?;
            let probe = probe.clone();
            asking.push(tokio::task::spawn_blocking(move || {
                asker.until_answered_by(began, |asker| ask(&namespace, &probe, asker))
            }));
        }
        let mut last = None;
        for answer in asking {
            let (_, took) = answer.await.expect("asking does not panic and is not cancelled")?;
            last = last.max(Some(took));
        }
        Ok(last)
    }

    /// The network of a node's container, as soon as that runs.
    async fn network_of(&self, client: &Client, node: &Name) -> Result<NetworkNamespace> {
        let labels = vec![
            format!("com.docker.compose.project={}", self.name),
            format!("com.docker.compose.service={node}"),
        ];
        loop {
            let filters = Some([("label".to_owned(), labels.clone())].into());
            let options = ListContainersOptions { filters, ..ListContainersOptions::default() };
            let found = client.first_process(options).await.map_err(|error| refused(&error))?;
            if let Some(pid) = found {
                return NetworkNamespace::of(pid).map_err(|error| refused(&error));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn refused(error: &dyn std::error::Error) -> BenchError {
    BenchError::Subject(Failure::of(error))
}

/// Asks once, from the network of a container.
fn ask(namespace: &NetworkNamespace, probe: &Path, asker: &Asker) -> Option<Outcome> {
    let words = asker.words();
    let program = Program::new(probe).arg0(PROBE).args(words.iter().skip(1));
    let output = namespace.enter(|| program.run_now()).ok()?.ok()?;
    serde_json::from_slice(&output.stdout).ok()
}
