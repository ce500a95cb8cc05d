//! A lab that was exported as a Compose file, brought up by docker-compose: what labs are compared with.
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
use crate::failure::Failure;
use crate::folder::DataFolder;
use crate::lab::Lab;
use crate::lab_file::LabFile;
use crate::linux::namespace::NetworkNamespace;
use crate::linux::program::Program;
use crate::node_program;

/// The program.
const COMPOSE: &str = "docker-compose";

/// How long between two looks whether a container is there.
const PAUSE: Duration = Duration::from_millis(5);

/// The containers of a Compose file.
pub(super) struct Project {
    name: String,
    file: PathBuf,
    askers: Vec<Asker>,
    probe: PathBuf,
    client: Client,
}

impl Project {
    /// Prepares to bring `path` up, which is the lab of `file`.
    ///
    /// # Errors
    /// If no engine answers.
    pub(super) async fn of(path: &Path, file: &LabFile, data: &DataFolder) -> Result<Self> {
        let refused = |error: &dyn std::error::Error| BenchError::Subject(Failure::of(error));
        let programs = node_program::lay_down(&data.programs()).map_err(|it| refused(&it))?;
        let client = Client::connect(&Place::of_caller()).await.map_err(|it| refused(&it))?;
        let lab = Lab::named(data, &file.model.lab);
        Ok(Self {
            name: format!("netarium-bench-{}", lab.name()),
            file: path.to_owned(),
            askers: Asker::all(&lab, &file.model),
            probe: programs.node,
            client,
        })
    }

    /// Up until every answer has come, and down.
    ///
    /// # Errors
    /// If docker-compose fails, or no answer comes.
    pub(super) async fn turn(mut self) -> Result<Turn> {
        let began = Instant::now();
        let askers = std::mem::take(&mut self.askers);
        let answered =
            tokio::try_join!(self.compose(&["up", "--detach"]), self.answers(askers, began));
        // Also after a failure, so that nothing is left.
        let ending = Instant::now();
        let ended = self.compose(&["down", "--volumes", "--timeout", "1"]).await;
        let down = ending.elapsed();
        let ((), answered) = answered?;
        ended?;
        Ok(Turn { answered, down })
    }

    async fn compose(&self, words: &[&str]) -> Result<()> {
        let program = Program::new(COMPOSE).args(["--project-name", &self.name, "--file"]);
        let done = program.arg(&self.file).args(words).run().await;
        done.map(drop).map_err(|error| BenchError::Subject(Failure::of(&error)))
    }

    /// How long after `began` the last of the first answers came.
    async fn answers(&self, askers: Vec<Asker>, began: Instant) -> Result<Duration> {
        let mut asking = Vec::new();
        for asker in askers {
            let namespace = self.network_of(asker.from()).await?;
            let probe = self.probe.clone();
            asking.push(tokio::task::spawn_blocking(move || {
                asker.until_answered_by(began, |asker| ask(&namespace, &probe, asker))
            }));
        }
        let mut last = began.elapsed();
        for answer in asking {
            last = last.max(answer.await.expect("asking does not panic and is not cancelled")?.1);
        }
        Ok(last)
    }

    /// The network of a node's container, as soon as that runs.
    async fn network_of(&self, node: &Name) -> Result<NetworkNamespace> {
        let labels = vec![
            format!("com.docker.compose.project={}", self.name),
            format!("com.docker.compose.service={node}"),
        ];
        let refused = |error: &dyn std::error::Error| BenchError::Subject(Failure::of(error));
        loop {
            let filters = Some([("label".to_owned(), labels.clone())].into());
            let options = ListContainersOptions { filters, ..ListContainersOptions::default() };
            let found = self.client.first_process(options).await.map_err(|it| refused(&it))?;
            if let Some(pid) = found {
                return NetworkNamespace::of(pid).map_err(|it| refused(&it));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Asks once, from the network of a container.
fn ask(namespace: &NetworkNamespace, probe: &Path, asker: &Asker) -> Option<Outcome> {
    let words = asker.words();
    let program = Program::new(probe).arg0(PROBE).args(words.iter().skip(1));
    let output = namespace.enter(|| program.run_now()).ok()?.ok()?;
    serde_json::from_slice(&output.stdout).ok()
}
