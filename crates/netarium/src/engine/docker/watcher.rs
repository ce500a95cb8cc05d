//! The watcher of a lab: a process that stays as long as the lab is up, hears from the engine which of its
//! containers were started, and has those wired that wait for it.
//!
//! It is this program, started again under a name of its own, and does what `up` does. Without it the
//! lab works, but a container that the engine starts again waits until the next `up`.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use netarium_core::control::Request;
use netarium_core::name::Name;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

use super::client::{Client, Place};
use super::containers::Containers;
use super::form::NODE;
use super::gate;
use crate::engine::native::control::{Control, ControlError};
use crate::engine::native::keeper::Keeper;
use crate::engine::native::worker::write_record;
use crate::failure::Failure;
use crate::folder::{DataFolder, LabFolder, NodeFolder};
use crate::lab::Lab;
use crate::linux::process::Process;
use crate::linux::program::{Program, ProgramError};
use crate::linux::stage::stage_program;

/// What the watcher calls itself.
pub(crate) const NAME: &str = "netarium-watcher";

/// How long it waits before it asks an engine again that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Why nobody watches.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatcherError {
    #[error("cannot start the watcher of the lab")]
    Start(#[from] ProgramError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Sees that somebody watches over the lab.
///
/// # Errors
/// If no process can be started for it.
pub(crate) fn start(
    lab: &Name,
    data: &DataFolder,
    folder: &LabFolder,
    place: &Place,
) -> Result<(), WatcherError> {
    if is_alive(folder) {
        return Ok(());
    }
    let path = folder.watcher_log();
    let write = |path: PathBuf| move |source| WatcherError::Write { path, source };
    let log = File::create(&path).map_err(write(path))?;
    let child = Program::new(stage_program())
        .arg0(NAME)
        .arg(lab.as_str())
        .arg(folder.path())
        .arg(data.path())
        .arg(place.to_string())
        .stdout(std::process::Stdio::null())
        .stderr(log)
        .start_detached()?;
    let path = folder.watcher();
    let process = child.id().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
    let written = process.and_then(Process::of).and_then(|it| write_record(&path, &it));
    written.map_err(write(path))
}

/// Whether the lab's watcher runs.
pub(crate) fn is_alive(folder: &LabFolder) -> bool {
    recorded(folder).is_some_and(Process::is_alive)
}

/// Ends the lab's watcher, if it runs.
///
/// # Errors
/// If it is not ours to kill.
pub(crate) fn kill(folder: &LabFolder) -> io::Result<()> {
    recorded(folder).map_or(Ok(()), Process::kill)
}

fn recorded(folder: &LabFolder) -> Option<Process> {
    serde_json::from_slice(&fs::read(folder.watcher()).ok()?).ok()
}

/// Watches until the lab is down: returns the exit status.
pub(crate) fn run() -> i32 {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [lab, folder, data, place] = words.as_slice() else { return 2 };
    let Ok(lab) = Name::new(lab) else { return 2 };
    // Away from the terminal of whoever brought the lab up. As the first of its group it is so already.
    rustix::process::setsid().ok();
    let data = DataFolder::at(data);
    let watcher = Watcher {
        lab: Lab::named(&data, &lab),
        folder: data.lab(&lab),
        data: data.path().to_owned(),
        place: Place::named(place),
    };
    if watcher.folder.path() != Path::new(folder) {
        return 2;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let watched = runtime.and_then(|runtime| {
        let watched = runtime.block_on(watcher.watch());
        runtime.shutdown_background();
        watched
    });
    match watched {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{}", Failure::of(&error));
            1
        }
    }
}

struct Watcher {
    lab: Lab,
    folder: LabFolder,
    data: PathBuf,
    place: Place,
}

impl Watcher {
    /// # Errors
    /// If it cannot be told when the lab ends.
    async fn watch(&self) -> io::Result<()> {
        let keeper = Keeper::recorded(&self.folder).map(Keeper::process);
        let Some(Ok(keeper)) = keeper.map(Process::open) else { return Ok(()) };
        tokio::select! {
            ended = until_ended(keeper) => ended,
            never = self.listen() => match never {},
        }
    }

    async fn listen(&self) -> std::convert::Infallible {
        loop {
            match Client::connect(&self.place).await {
                Ok(client) => self.hear(&client).await,
                Err(error) => eprintln!("{}", Failure::of(&error)),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Hears what the engine tells until it tells nothing more.
    async fn hear(&self, client: &Client) {
        let (lab, data, folder) = (self.lab.name(), self.data.clone(), &self.folder);
        let mut filters = Containers { client, lab, data, folder }.filters();
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        filters.insert("event".to_owned(), vec!["start".to_owned()]);
        let options = EventsOptions { filters: Some(filters), ..EventsOptions::default() };
        let mut events = client.docker.events(Some(options));
        // What has happened while nobody listened.
        self.wire_again().await;
        while let Some(Ok(event)) = events.next().await {
            let node = event.actor.and_then(|it| it.attributes?.remove(NODE));
            if let Some(node) = node.and_then(|node| Name::new(&node).ok()) {
                until_it_listens(&self.folder.node(&node)).await;
            }
            self.wire_again().await;
        }
    }

    async fn wire_again(&self) {
        if let Err(error) = self.lab.wire_again(&|_| ()).await {
            eprintln!("{}", Failure::of(&error));
        }
    }
}

/// Waits until a process has ended.
async fn until_ended(process: OwnedFd) -> io::Result<()> {
    let waiting = tokio::task::spawn_blocking(move || {
        let mut watched = [PollFd::new(&process, PollFlags::IN)];
        retry_on_intr(|| poll(&mut watched, None)).map(drop)
    });
    Ok(waiting.await.map_err(io::Error::other)??)
}

/// Waits until the first process of a node listens, if it soon does.
async fn until_it_listens(node: &NodeFolder) {
    for _ in 0..gate::TRIES {
        if gate::peer(&node.control()).is_ok() {
            return;
        }
        tokio::time::sleep(gate::PAUSE).await;
    }
}

/// Whether a node waits to be wired.
pub(crate) fn waits(node: &NodeFolder) -> bool {
    let asked = Control::connect(&node.control()).and_then(|it| it.ask(&Request::Status));
    matches!(asked, Err(ControlError::Waiting))
}
