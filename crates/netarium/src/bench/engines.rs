//! The same lab with several engines, by turns, so that all of them see the same machine.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use netarium_core::model::Engine;

use super::compose::Project;
use super::report::Report;
use super::{BenchError, Result, down, up};
use crate::folder::DataFolder;
use crate::lab::{Lab, State};
use crate::lab_file::LabFile;

/// What brings a lab up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contender {
    /// Netarium, with this engine.
    Engine(Engine),
    /// Docker Compose, from this file: the lab, as it was exported.
    Compose(PathBuf),
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(engine) => write!(f, "{engine}"),
            Self::Compose(_) => f.write_str("docker-compose"),
        }
    }
}

/// What one contender took in one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Until every HTTP answer had come for the first time; of a lab where nobody asks, until it was up.
    pub(super) answered: Duration,
    pub(super) down: Duration,
}

/// Brings the lab of `file` up and down with each of `contenders`, `runs` times and once before that does
/// not count: it makes images ready. `progress` is called before each run, with its number.
///
/// # Errors
/// If the lab is up already, or does not come up with one of them.
pub async fn bench_engines(
    file: &LabFile,
    data: &DataFolder,
    contenders: &[Contender],
    runs: NonZeroU32,
    progress: impl Fn(u32),
) -> Result<Report> {
    let lab = Lab::named(data, &file.model.lab);
    if lab.state() != State::Down {
        return Err(BenchError::InUse(lab.name().clone()));
    }
    let mut measured: Vec<(&Contender, Vec<Turn>)> =
        contenders.iter().map(|contender| (contender, Vec::new())).collect();
    for number in 0..=runs.get() {
        progress(number);
        for (contender, turns) in &mut measured {
            let turn = match contender {
                Contender::Engine(engine) => with_engine(*engine, &lab, file, data).await?,
                Contender::Compose(path) => Project::of(path, file, data).await?.turn().await?,
            };
            if number > 0 {
                turns.push(turn);
            }
        }
    }
    Ok(Report::of_engines(lab.name(), &measured))
}

async fn with_engine(engine: Engine, lab: &Lab, file: &LabFile, data: &DataFolder) -> Result<Turn> {
    let mut file = file.clone();
    file.model.engine = Some(engine);
    let came = up(lab, &file, data).await;
    // Also after a failure, so that nothing is left of the lab.
    let began = Instant::now();
    let ended = down(&file, data).await;
    let took = began.elapsed();
    let came = came?;
    ended?;
    let answered = came.answers.iter().map(|(_, took)| *took).max();
    Ok(Turn { answered: answered.unwrap_or(came.settled), down: took })
}
