//! Measures what a lab costs: how long it takes to come up and to go down, and how much memory it
//! has while nothing happens in it.
//!
//! Every `up` and every `down` that is measured is a process of its own (see [`subject`]), and the
//! clock starts before it does: what a person waits for counts, the start of the program too.
//! Figures are compared with their bars; nothing fails because of one.

mod compose;
mod engines;
mod first_answer;
mod memory;
mod report;
mod subject;
mod thousand;
mod together;

use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use netarium_core::name::Name;

pub use self::engines::{Contender, bench_engines};
pub use self::memory::{Memory, MemoryError, Program, memory};
pub use self::report::{Figure, Report, Unit};
pub(crate) use self::subject::stage;
pub use self::thousand::thousand_nodes;
pub use self::together::bench_together;

use self::first_answer::Asker;
use self::subject::{Said, Subject, Task};
use crate::check::{CheckError, CheckResult, Selection, check};
use crate::failure::Failure;
use crate::folder::DataFolder;
use crate::image::{ImageError, Store};
use crate::lab::{Lab, State};
use crate::lab_file::LabFile;
use crate::linux::stage::StageError;

/// How long a lab is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The lab is in use.
    #[error("lab {0} is up: take it down first")]
    InUse(Name),
    /// The process that is measured.
    #[error("cannot measure in a process of its own")]
    Stage(#[from] StageError),
    /// What is measured failed.
    #[error(transparent)]
    Subject(Failure),
    /// No answer came.
    #[error("{from} got no answer from {url} within {} s", within.as_secs())]
    NoAnswer {
        /// The node that asked.
        from: Name,
        /// What it asked for.
        url: String,
        /// How long it asked.
        within: Duration,
    },
    /// The memory of the lab's processes cannot be read.
    #[error("cannot measure the memory of the lab")]
    Memory(#[source] MemoryError),
    /// No check was made.
    #[error("cannot check the lab")]
    Check(#[from] CheckError),
    /// A check failed.
    #[error("check {name} failed: {seen}")]
    Red {
        /// The check.
        name: String,
        /// What was seen.
        seen: String,
    },
    /// The images of a cold start cannot be removed.
    #[error("cannot remove the images of a cold start")]
    Image(#[source] ImageError),
    /// The folder of a cold start cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, BenchError>;

/// Brings the lab of `file` up and down, `runs` times and once before that does not count: it
/// makes images ready. `progress` is called before each run, with its number.
///
/// # Errors
/// If the lab is up already, or does not come up.
pub async fn bench(
    file: &LabFile,
    data: &DataFolder,
    runs: NonZeroU32,
    progress: impl Fn(u32),
) -> Result<Report> {
    let lab = Lab::named(data, &file.model.lab);
    if lab.state() != State::Down {
        return Err(BenchError::InUse(lab.name().clone()));
    }
    let mut measured = Vec::new();
    for number in 0..=runs.get() {
        progress(number);
        let run = run(&lab, file, data).await?;
        if number > 0 {
            measured.push(run);
        }
    }
    Ok(Report::of(lab.name(), &measured))
}

/// Brings the lab of `file` up where there is no image yet, until all its checks have passed, and
/// leaves nothing of it.
///
/// # Errors
/// If the lab does not come up, a check fails, or something cannot be removed.
pub async fn bench_cold(file: &LabFile, data: &DataFolder) -> Result<Report> {
    let path = data.path().join(format!("cold-{}", std::process::id()));
    let cold = DataFolder::at(&path);
    let began = Instant::now();
    let green = until_green(file, &cold).await;
    let took = began.elapsed();
    // Also after a failure, so that nothing is left.
    let ended = down(file, &cold).await;
    let removed = remove_images(&cold).await;
    green?;
    ended?;
    removed?;
    std::fs::remove_dir_all(&path).map_err(|source| BenchError::Remove { path, source })?;
    Ok(Report::of_cold(&file.model.lab, took))
}

async fn until_green(file: &LabFile, data: &DataFolder) -> Result<()> {
    Subject::start(Task::Up, file, data)?.until_done().await?;
    let lab = Lab::named(data, &file.model.lab);
    let results = check(&lab, &file.model, &Selection::All, &|_| {}).await?;
    match results.into_iter().find(|result| !result.passed) {
        Some(CheckResult { name, seen, .. }) => Err(BenchError::Red { name, seen }),
        None => Ok(()),
    }
}

async fn down(file: &LabFile, data: &DataFolder) -> Result<()> {
    Subject::start(Task::Down, file, data)?.until_done().await
}

/// Images belong to ids that are not the caller's, so that they are removed by the store.
async fn remove_images(data: &DataFolder) -> Result<()> {
    let store = Store::at(&data.images()).map_err(BenchError::Image)?;
    for image in store.list().map_err(BenchError::Image)? {
        store.remove(&image.digest).await.map_err(BenchError::Image)?;
    }
    Ok(())
}

/// What one run took.
#[derive(Clone, Debug)]
struct Measured {
    up: Up,
    memory: Memory,
    down: Duration,
}

/// What it took to bring a lab up, counted from the start of the process.
#[derive(Clone, Debug, Default)]
struct Up {
    wired: Option<Duration>,
    tunnels: Option<Duration>,
    settled: Duration,
    /// Until the first HTTP answer came, by the name of the tunnel or of the check.
    answers: Vec<(String, Duration)>,
}

async fn run(lab: &Lab, file: &LabFile, data: &DataFolder) -> Result<Measured> {
    let measured = up_and_idle(lab, file, data).await;
    // Also after a failure, so that nothing is left of the lab.
    let began = Instant::now();
    let ended = down(file, data).await;
    let took = began.elapsed();
    let (up, memory) = measured?;
    ended?;
    Ok(Measured { up, memory, down: took })
}

async fn up_and_idle(lab: &Lab, file: &LabFile, data: &DataFolder) -> Result<(Up, Memory)> {
    let up = up(lab, file, data).await?;
    tokio::time::sleep(IDLE).await;
    Ok((up, memory(lab).map_err(BenchError::Memory)?))
}

async fn up(lab: &Lab, file: &LabFile, data: &DataFolder) -> Result<Up> {
    let began = Instant::now();
    let mut subject = Subject::start(Task::Up, file, data)?;
    let mut up = Up::default();
    let mut asking = Vec::new();
    loop {
        match subject.says().await? {
            Said::Wired => {
                up.wired = Some(began.elapsed());
                let askers = Asker::all(lab, &file.model).into_iter();
                let start =
                    |asker: Asker| tokio::task::spawn_blocking(move || asker.until_answered(began));
                asking = askers.map(start).collect();
            }
            Said::Tunnel => up.tunnels = Some(began.elapsed()),
            Said::Settled => up.settled = began.elapsed(),
            Said::Done => break,
        }
    }
    subject.until_done().await?;
    for answer in asking {
        up.answers.push(answer.await.expect("asking does not panic and is not cancelled")?);
    }
    Ok(up)
}
