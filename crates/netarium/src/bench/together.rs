//! Several labs at the same time: none may wait for another longer than it takes.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::report::Report;
use super::subject::{Said, Subject, Task};
use super::{BenchError, IDLE, Result, down, memory};
use crate::folder::DataFolder;
use crate::lab::{Lab, State};
use crate::lab_file::LabFile;

/// What one run took, until the last of the labs was as far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Together {
    pub(super) wired: Duration,
    pub(super) tunnels: Option<Duration>,
    pub(super) settled: Duration,
    /// Proportional set size of all, in bytes.
    pub(super) memory: u64,
    pub(super) down: Duration,
}

/// Brings the labs of `files` up and down at the same time, `runs` times and once before that does
/// not count: it makes images ready. `progress` is called before each run, with its number.
///
/// # Errors
/// If a lab is up already, or does not come up.
pub async fn bench_together(
    files: &[LabFile],
    data: &DataFolder,
    runs: NonZeroU32,
    progress: impl Fn(u32),
) -> Result<Report> {
    let labs: Vec<Lab> = files.iter().map(|file| Lab::named(data, &file.model.lab)).collect();
    if let Some(lab) = labs.iter().find(|lab| lab.state() != State::Down) {
        return Err(BenchError::InUse(lab.name().clone()));
    }
    let mut measured = Vec::new();
    for number in 0..=runs.get() {
        progress(number);
        let up = up_and_idle(&labs, files, data).await;
        // Also after a failure, so that nothing is left of the labs.
        let began = Instant::now();
        let ended = for_each(files, data, |file, data| async move { down(&file, &data).await });
        ended.await?;
        let down = began.elapsed();
        let up = up?;
        if number > 0 {
            measured.push(Together { down, ..up });
        }
    }
    let names: Vec<_> = labs.iter().map(Lab::name).collect();
    Ok(Report::of_together(&names, &measured))
}

async fn up_and_idle(labs: &[Lab], files: &[LabFile], data: &DataFolder) -> Result<Together> {
    let began = Instant::now();
    let ups = for_each(files, data, move |file, data| async move { up(&file, &data, began).await });
    let mut all = Together::default();
    for up in ups.await? {
        all.wired = all.wired.max(up.wired);
        all.tunnels = all.tunnels.max(up.tunnels);
        all.settled = all.settled.max(up.settled);
    }
    tokio::time::sleep(IDLE).await;
    for lab in labs {
        all.memory += memory(lab).map_err(BenchError::Memory)?.bytes;
    }
    Ok(all)
}

async fn up(file: &LabFile, data: &DataFolder, began: Instant) -> Result<Together> {
    let mut subject = Subject::start(Task::Up, file, data)?;
    let mut up = Together::default();
    loop {
        match subject.says().await? {
            Said::Wired => up.wired = began.elapsed(),
            Said::Tunnel => up.tunnels = Some(began.elapsed()),
            Said::Settled => up.settled = began.elapsed(),
            Said::Done => break,
        }
    }
    subject.until_done().await?;
    Ok(up)
}

/// Does `work` for all at the same time, and tells the first failure when all have ended.
async fn for_each<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
    files: &[LabFile],
    data: &DataFolder,
    work: impl Fn(LabFile, DataFolder) -> F,
) -> Result<Vec<T>> {
    let mut working = JoinSet::new();
    for file in files {
        working.spawn(work(file.clone(), data.clone()));
    }
    working.join_all().await.into_iter().collect()
}
