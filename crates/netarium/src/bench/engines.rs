//! The same lab with several engines, by turns, so that all of them see the same machine.

use std::fmt;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use netarium_core::model::Engine;

use super::compose::Project;
use super::report::Report;
use super::{BenchError, Result, down, up};
use crate::folder::DataFolder;
use crate::lab::{Lab, State};
use crate::lab_file::LabFile;

/// What brings a lab up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// Netarium, with this engine.
    Engine(Engine),
    /// Docker Compose, with the lab as it is exported.
    Compose,
}

impl Contender {
    /// All of them.
    pub const ALL: [Self; 3] =
        [Self::Engine(Engine::Native), Self::Engine(Engine::Docker), Self::Compose];

    /// What Netarium brings it up with, if Netarium does.
    pub fn engine(self) -> Option<Engine> {
        if let Self::Engine(engine) = self { Some(engine) } else { None }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Engine(engine) => engine.as_str(),
            Self::Compose => "docker-compose",
        })
    }
}

/// What one contender took in one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Until all nodes were there with their interfaces. Docker Compose does not tell: until it had
    /// started all containers.
    pub(super) wired: Option<Duration>,
    /// Until all tunnels stood, if that is known.
    pub(super) tunnels: Option<Duration>,
    /// Until every HTTP answer had come for the first time; of a lab where nobody asks, until it was up.
    pub(super) answered: Duration,
    pub(super) down: Duration,
}

/// Brings the lab of `file` up and down with each of `contenders`, `runs` times and once before that does
/// not count: it makes images ready. Each time another begins. `progress` is called before each run, with
/// its number. When `stop` comes, the lab is taken down and there is no report.
///
/// # Errors
/// If the lab is up already, or does not come up with one of them.
pub async fn bench_engines(
    file: &LabFile,
    data: &DataFolder,
    contenders: &[Contender],
    runs: NonZeroU32,
    progress: impl Fn(u32),
    stop: impl Future<Output = ()>,
) -> Result<Option<Report>> {
    let lab = Lab::named(data, &file.model.lab);
    if lab.state() != State::Down {
        return Err(BenchError::InUse(lab.name().clone()));
    }
    let project = contenders.contains(&Contender::Compose).then(|| Project::of(file, data));
    let subject = Bench { lab: &lab, file, data, project: project.as_ref() };
    let measured = tokio::select! {
        biased;
        () = stop => None,
        measured = subject.runs(contenders, runs, progress) => Some(measured?),
    };
    match measured {
        Some(measured) => Ok(Some(Report::of_engines(lab.name(), &measured))),
        None => {
            down(file, data).await?;
            if let Some(project) = &project {
                project.down().await?;
            }
            Ok(None)
        }
    }
}

/// What is measured.
struct Bench<'a> {
    lab: &'a Lab,
    file: &'a LabFile,
    data: &'a DataFolder,
    project: Option<&'a Project>,
}

impl Bench<'_> {
    async fn runs(
        &self,
        contenders: &[Contender],
        runs: NonZeroU32,
        progress: impl Fn(u32),
    ) -> Result<Vec<(Contender, Vec<Turn>)>> {
        if let Some(project) = self.project {
            project.prepare().await?;
        }
        let mut measured: Vec<(Contender, Vec<Turn>)> =
            contenders.iter().map(|contender| (*contender, Vec::new())).collect();
        for number in 0..=runs.get() {
            progress(number);
            for (contender, turns) in &mut measured {
                let turn = match (contender, self.project) {
                    (Contender::Engine(engine), _) => self.with_engine(*engine).await?,
                    (Contender::Compose, Some(project)) => project.turn().await?,
                    (Contender::Compose, None) => continue,
                };
                if number > 0 {
                    turns.push(turn);
                }
            }
            // Who comes first has a machine that has rested.
            measured.rotate_left(1);
        }
        measured.sort_by_key(|(it, _)| contenders.iter().position(|other| it == other));
        Ok(measured)
    }

    async fn with_engine(&self, engine: Engine) -> Result<Turn> {
        let mut file = self.file.clone();
        file.model.engine = Some(engine);
        let came = up(self.lab, &file, self.data).await;
        // Also after a failure, so that nothing is left of the lab.
        let began = Instant::now();
        let ended = down(&file, self.data).await;
        let took = began.elapsed();
        let came = came?;
        ended?;
        let answered = came.answers.iter().map(|(_, took)| *took).max();
        let answered = answered.unwrap_or(came.settled);
        Ok(Turn { wired: came.wired, tunnels: came.tunnels, answered, down: took })
    }
}
