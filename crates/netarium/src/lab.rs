//! Labs on this machine: bring one up, change it, see how it is, take it down.
//!
//! What is to be done is decided by `netarium_core::plan`; how, by the engine. Here the order of
//! things is kept: one change of a lab at a time, images before namespaces, nothing left behind
//! after a failure.

mod lock;
mod programs;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use netarium_core::desired::{Desired, Refusal, desired};
use netarium_core::model::{Image, Limits, Model};
use netarium_core::name::Name;
use netarium_core::object::{Id, Object, Objects};
use netarium_core::plan::{self, Step};
use serde::{Deserialize, Serialize};

use crate::engine::native::keeper::{self, Keeper};
use crate::engine::native::sweep::{SweepError, sweep};
use crate::engine::native::worker::{self, Answer, Observation, Order, Task};
use crate::event::{Event, Report};
use crate::failure::Failure;
use crate::features::{FeaturesError, features};
use crate::folder::{DataFolder, LabFolder};
use crate::image::{ImageError, ImageRoot, Store};
use crate::lab::lock::Lock;
use crate::lab_file::{LabFile, LabFileError};
use crate::linux::cgroup::{CgroupError, Cgroups};
use crate::linux::idmap::{IdMap, IdMapError};
use crate::linux::stage::{Running, Stage, StageError};
use crate::node_program;

/// How long services and tunnels may take to be ready, if nobody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A lab on this machine, up or not.
#[derive(Clone, Debug)]
pub struct Lab {
    name: Name,
    data: DataFolder,
    folder: LabFolder,
}

/// What a lab is, besides its objects: kept in its folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabRecord {
    /// The lab file that it was brought up from.
    pub file: PathBuf,
    /// When it was first brought up, in seconds since 1970.
    pub since: u64,
}

/// How to bring a lab up.
#[derive(Clone, Copy, Debug)]
pub struct UpOptions {
    /// What happens to what was made if something fails.
    pub after_failure: AfterFailure,
    /// How long services and tunnels may take to be ready.
    pub patience: Duration,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self { after_failure: AfterFailure::Undo, patience: PATIENCE }
    }
}

/// What happens to what was made if something fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is undone; logs are put aside.
    Undo,
    /// It stays, to be looked at.
    Keep,
}

/// What there is to do to bring a lab to what its file says.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The steps, in order. None: the lab is up and healthy.
    pub steps: Vec<Step>,
    /// What is done in another way than the lab asked for.
    pub notes: Vec<netarium_core::desired::Note>,
}

/// How a lab is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether it runs.
    pub state: State,
    /// What differs from what should be: the steps that would mend it.
    pub steps: Vec<Step>,
    /// What is not in order, with the reason where it is known.
    pub findings: Vec<(Id, String)>,
}

/// Whether a lab runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It does not.
    Down,
    /// It does.
    Up,
    /// It did, but its keeper was killed, and all of it with that.
    Killed,
}

/// Why a lab was not changed, or it cannot be said how it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The machine lacks something that the lab cannot do without.
    #[error("this machine cannot run the lab")]
    Refused(Vec<Refusal>),
    /// A program that loads firewalls is missing.
    #[error("cannot make the lab's firewalls")]
    Program(#[source] crate::linux::program::ProgramError),
    /// An image is not to be had.
    #[error("cannot make image {image} ready")]
    Image {
        /// The image.
        image: Name,
        /// Why.
        source: ImageError,
    },
    /// Something in the lab's folder.
    #[error("cannot {what} {}", path.display())]
    Folder {
        /// What was tried.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel could not be asked what it can do.
    #[error("cannot find out what this kernel can do")]
    Features(#[source] FeaturesError),
    /// It is not known whose ids the lab has.
    #[error("cannot find out which ids a lab may have")]
    Ids(#[source] IdMapError),
    /// No process of ours.
    #[error("cannot work inside the lab")]
    Stage(#[source] StageError),
    /// A step failed.
    #[error(transparent)]
    Step(Failure),
    /// The lab's own copy of its file is damaged.
    #[error("the lab's copy of its file is damaged")]
    Copy(#[source] LabFileError),
    /// A process of the lab could not be ended.
    #[error("cannot end the lab's processes")]
    Kill(#[source] io::Error),
    /// Something is left on the disk.
    #[error("the lab is down, but something is left on the disk")]
    Sweep(#[source] SweepError),
    /// Limits of nodes.
    #[error("cannot limit what nodes use")]
    Limit(#[from] CgroupError),
    /// It is not up.
    #[error("lab {0} is not up")]
    NotUp(Name),
}

type Result<T> = std::result::Result<T, LabError>;

impl LabError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(_) => {
                Some("`netarium doctor` tells what this machine has and lacks".to_owned())
            }
            Self::Program(source) => source.hint(),
            Self::Image { source, .. } => source.hint(),
            Self::Folder { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("set NETARIUM_DATA to a folder that you can write".to_owned())
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(
                    "the disk is full: free some space, or set NETARIUM_DATA to a folder on \
                     another disk"
                        .to_owned(),
                ),
                _ => None,
            },
            Self::Ids(source) => source.hint(),
            Self::Stage(source) => source.hint(),
            Self::Step(failure) => failure.hint.clone(),
            Self::NotUp(_) => Some("`netarium up` brings it up".to_owned()),
            _ => None,
        }
    }
}

impl Lab {
    /// The lab called `name` of the owner of `data`.
    pub fn named(data: &DataFolder, name: &Name) -> Self {
        Self { name: name.clone(), data: data.clone(), folder: data.lab(name) }
    }

    /// All labs that are up, or were and left something.
    ///
    /// # Errors
    /// If the folder of labs cannot be read.
    pub fn all(data: &DataFolder) -> Result<Vec<Self>> {
        let path = data.labs();
        let error = |source| LabError::Folder { what: "read", path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(source) => return Err(error(source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(error)?.file_name();
            names.extend(name.to_str().and_then(|name| Name::new(name).ok()));
        }
        names.sort();
        Ok(names.iter().map(|name| Self::named(data, name)).collect())
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn folder(&self) -> &LabFolder {
        &self.folder
    }

    /// Whether it runs, without looking closer.
    pub fn state(&self) -> State {
        match Keeper::recorded(&self.folder) {
            Some(keeper) if keeper.is_alive() => State::Up,
            Some(_) => State::Killed,
            None => State::Down,
        }
    }

    /// What it was brought up from, if it is up or was.
    pub fn record(&self) -> Option<LabRecord> {
        serde_json::from_slice(&fs::read(self.folder.record()).ok()?).ok()
    }

    /// The lab file as it was when the lab was last brought up.
    ///
    /// # Errors
    /// If the lab is not up.
    pub fn file(&self) -> Result<LabFile> {
        let record = self.record().ok_or_else(|| LabError::NotUp(self.name.clone()))?;
        let path = self.folder.lab_file();
        let text =
            fs::read(&path).map_err(|source| LabError::Folder { what: "read", path, source })?;
        LabFile::of_text(&record.file, text, self.name.as_str()).map_err(LabError::Copy)
    }

    /// Says what [`Lab::up`] would do.
    ///
    /// # Errors
    /// If the machine cannot run the lab, or it cannot be seen how it is.
    pub async fn plan(&self, model: &Model) -> Result<Plan> {
        let Desired { objects, notes } = self.desired(model).await?;
        Ok(Plan { steps: steps(&objects, &self.observe().await?), notes })
    }

    /// Says how the lab is, compared with the file it was last brought up from.
    ///
    /// # Errors
    /// If it cannot be seen how it is.
    pub async fn status(&self) -> Result<Status> {
        let state = self.state();
        if state == State::Down {
            return Ok(Status { state, steps: vec![], findings: vec![] });
        }
        let Desired { objects, .. } = self.desired(&self.file()?.model).await?;
        let observed = self.observe().await?;
        Ok(Status { state, steps: steps(&objects, &observed), findings: observed.findings })
    }

    /// Brings the lab to what its file says, and waits until services are ready and tunnels stand.
    /// A lab that is up and healthy is left alone; of one that is not, only the difference is made.
    ///
    /// # Errors
    /// The first thing that failed. What was made is undone by then, unless it is to be kept.
    pub async fn up(
        &self,
        file: &LabFile,
        options: UpOptions,
        report: Report<'_>,
    ) -> Result<Vec<Step>> {
        let lock = self.lock(report).await?;
        let Desired { objects, notes } = self.desired(&file.model).await?;
        notes.into_iter().for_each(|note| report(Event::Note(note)));
        let _images = self.make_images(&file.model, report).await?;
        if self.state() != State::Up {
            self.clear(report).await?;
        }
        let before = self.observe().await?;
        let steps = steps(&objects, &before);
        report(Event::Planned { steps: steps.len() });
        let file_before = self.file().ok();
        let unready = before.unready.iter().filter(|node| file.model.nodes.contains_key(*node));
        let unready = unready.cloned().collect();
        let work = Work { lock: &lock, unready, patience: options.patience, report };
        if let Err(error) = self.make(file, &steps, &work).await {
            if options.after_failure == AfterFailure::Undo {
                report(Event::Undoing);
                // The first error is the one to be told; that not all was undone is told beside it.
                let work = Work { unready: BTreeSet::new(), patience: PATIENCE, ..work };
                if let Err(error) = self.undo(&before.objects, file_before.as_ref(), &work).await {
                    report(Event::Warning(format!("not all could be undone: {error}")));
                }
            }
            if self.state() == State::Down {
                lock.remove();
            }
            return Err(error);
        }
        self.forget_logs();
        report(Event::Settled);
        Ok(steps)
    }

    async fn make(&self, file: &LabFile, steps: &[Step], work: &Work<'_>) -> Result<()> {
        if self.state() == State::Down {
            self.create_folder()?;
        }
        self.write_records(file)?;
        self.apply(steps, work).await
    }

    /// Takes the lab down, whatever state it is in. Says whether there was anything.
    ///
    /// # Errors
    /// What could not be taken down. Whatever can be is.
    pub async fn down(&self, report: Report<'_>) -> Result<bool> {
        let lock = self.lock(report).await?;
        self.forget_logs();
        let was_there = self.clear_all().await?;
        lock.remove();
        Ok(was_there)
    }

    /// Where the logs of a failed `up` are put aside.
    pub fn failed_logs(&self) -> PathBuf {
        self.data.path().join("failed").join(self.name.as_str())
    }

    async fn desired(&self, model: &Model) -> Result<Desired> {
        let features = features(&self.data).await.map_err(LabError::Features)?;
        programs::check(desired(model, &features).map_err(LabError::Refused)?)
    }

    /// What is there. Nothing, if the lab has no keeper: everything in a lab ends with that.
    async fn observe(&self) -> Result<Observation> {
        if self.state() != State::Up {
            return Ok(Observation::default());
        }
        let mut running = self.start_worker(Task::Observe, &[])?;
        match running.answer().await.map_err(LabError::Stage)? {
            Some(Answer::Observed(observation)) => Ok(observation),
            Some(Answer::Failed(failure)) => Err(LabError::Step(failure)),
            _ => Err(LabError::Stage(StageError::Silent { stderr: String::new() })),
        }
    }

    /// Makes the images of all nodes ready, and keeps them from being removed as long as the answer
    /// lives.
    async fn make_images(&self, model: &Model, report: Report<'_>) -> Result<Vec<ImageRoot>> {
        let images: BTreeSet<&Image> = model.nodes.values().map(|node| &node.image).collect();
        let mut roots = Vec::new();
        for image in images {
            let Image::Recipe(recipe) = image else { continue };
            let error = |source| LabError::Image { image: recipe.name.clone(), source };
            let store = Store::at(&self.data.images()).map_err(error)?;
            let each = |event| report(Event::Image { name: recipe.name.clone(), event });
            roots.push(store.root(image, &each).await.map_err(error)?);
        }
        Ok(roots)
    }

    fn create_folder(&self) -> Result<()> {
        let map = IdMap::of_caller().map_err(LabError::Ids)?;
        let path = self.folder.path();
        let error = |source| LabError::Folder { what: "make", path: path.to_owned(), source };
        DirBuilder::new().mode(0o700).create(path).map_err(error)?;
        // Root of the lab, who is nobody on the host, works in it.
        std::os::unix::fs::chown(path, Some(map.root_uid()), Some(map.root_gid())).map_err(error)
    }

    fn write_records(&self, file: &LabFile) -> Result<()> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let since = self.record().map_or(now.map_or(0, |it| it.as_secs()), |record| record.since);
        let record = LabRecord { file: file.path.clone(), since };
        let error = |path| move |source| LabError::Folder { what: "write", path, source };
        let path = self.folder.record();
        worker::write_record(&path, &record).map_err(error(path.clone()))?;
        let path = self.folder.lab_file();
        worker::write_bytes(&path, &file.text).map_err(error(path.clone()))
    }

    /// Starts a worker; what comes with it stays open until it ends.
    fn start_worker(&self, task: Task, fds: &[BorrowedFd<'_>]) -> Result<Running> {
        let programs = self.data.programs();
        let program = node_program::lay_down(&programs).map_err(|source| LabError::Folder {
            what: "write",
            path: programs,
            source,
        })?;
        let order = Order {
            lab: self.name.clone(),
            folder: self.folder.clone(),
            images: self.data.images(),
            program,
            hidden: vec![PathBuf::from("/var/tmp"), self.data.path().to_owned()],
            task,
        };
        Running::start(Stage::Worker, &order, fds, Stdio::inherit()).map_err(LabError::Stage)
    }

    /// Does the steps. The worker has the lock, too: if the caller is killed, nobody else may change
    /// the lab before the worker has ended.
    async fn apply(&self, steps: &[Step], work: &Work<'_>) -> Result<()> {
        let Work { lock, unready, patience, report } = work;
        if steps.is_empty() && unready.is_empty() {
            return Ok(());
        }
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let task = Task::Apply { steps: steps.to_vec(), patience, unready: unready.clone() };
        let mut running = self.start_worker(task, &[lock.as_fd()])?;
        let last_wire = steps.iter().rposition(|step| is_wiring(&step.object().id()));
        let mut done = 0;
        loop {
            match running.answer().await.map_err(LabError::Stage)? {
                Some(Answer::Did(number)) => {
                    done += 1;
                    let Some(step) = steps.get(number) else { continue };
                    report(Event::Step { text: step.to_string(), done, total: steps.len() });
                    if Some(number) == last_wire {
                        report(Event::Wired);
                    }
                }
                Some(Answer::Born(nodes)) => {
                    self.limit(steps, &nodes, report)?;
                    running.go_on().await.map_err(LabError::Stage)?;
                }
                Some(Answer::Opened { step, algorithms, tries }) => {
                    if let Some(Step::Create(Object::Tunnel(it))) = steps.get(step) {
                        report(Event::Tunnel { name: it.tunnel.name.clone(), algorithms, tries });
                    }
                }
                Some(Answer::Settled) => return Ok(()),
                Some(Answer::Failed(failure)) => return Err(LabError::Step(failure)),
                Some(Answer::Observed(_)) => {}
                None => return Err(LabError::Stage(StageError::Silent { stderr: String::new() })),
            }
        }
    }

    /// Puts the processes of new nodes where their limits are kept. That takes rights of the owner
    /// on the host, which a worker does not have.
    fn limit(&self, steps: &[Step], nodes: &[(Name, u32)], report: Report<'_>) -> Result<()> {
        let limited: Vec<_> = nodes
            .iter()
            .map(|(name, pid)| (name, *pid, limits(steps, name)))
            .filter(|(_, _, limits)| !limits.is_none())
            .collect();
        if limited.is_empty() {
            return Ok(());
        }
        let cgroups = Cgroups::of_host();
        for (name, pid, limits) in limited {
            cgroups.remove_node(&self.name, name).into_iter().try_for_each(Err)?;
            let lacking = cgroups.limit(&self.name, name, &limits, pid)?;
            lacking.iter().for_each(|it| report(Event::Warning(it.to_string())));
        }
        Ok(())
    }

    /// Takes what was made since `before` away again.
    async fn undo(
        &self,
        before: &Objects,
        file_before: Option<&LabFile>,
        work: &Work<'_>,
    ) -> Result<()> {
        if before.is_empty() {
            self.put_logs_aside(|from, to| fs::rename(from, to));
            return self.clear_all().await.map(drop);
        }
        self.put_logs_aside(copy_files);
        if let Some(file) = file_before {
            self.write_records(file)?;
        }
        let steps = steps(before, &self.observe().await?);
        self.apply(&steps, work).await
    }

    /// Logs of a lab of which something is about to go, for looking at why it failed. There may be
    /// none.
    fn put_logs_aside(&self, put: impl Fn(&Path, &Path) -> io::Result<()>) {
        let aside = self.failed_logs();
        self.forget_logs();
        let Ok(nodes) = fs::read_dir(self.folder.path().join("nodes")) else { return };
        if fs::create_dir_all(&aside).is_ok() {
            for node in nodes.flatten() {
                put(&node.path().join("logs"), &aside.join(node.file_name())).ok();
            }
        }
    }

    /// Removes the logs that were put aside, if there are any.
    fn forget_logs(&self) {
        let aside = self.failed_logs();
        fs::remove_dir_all(&aside).ok();
        // Those of other labs may be there, and then it stays.
        aside.parent().map(fs::remove_dir);
    }

    /// Removes what a lab that is not up has left, if anything.
    async fn clear(&self, report: Report<'_>) -> Result<()> {
        if self.folder.path().exists() {
            report(Event::Sweeping);
        }
        self.clear_all().await.map(drop)
    }

    async fn clear_all(&self) -> Result<bool> {
        let killed = keeper::kill_all(&self.folder).map_err(LabError::Kill)?;
        let left = self.folder.path().exists();
        let swept = sweep(self.folder.path()).await.map_err(LabError::Sweep);
        Cgroups::of_host().remove(&self.name).into_iter().try_for_each(Err)?;
        swept.map(|()| killed || left)
    }

    async fn lock(&self, report: Report<'_>) -> Result<Lock> {
        let labs = self.data.labs();
        fs::create_dir_all(&labs).map_err(|source| LabError::Folder {
            what: "make",
            path: labs,
            source,
        })?;
        let path = self.data.lock(&self.name);
        let locked = Lock::take(path.clone(), || report(Event::Waiting)).await;
        locked.map_err(|source| LabError::Folder { what: "lock", path, source })
    }
}

/// What goes with a change of a lab from its beginning to its end.
struct Work<'a> {
    lock: &'a Lock,
    /// Nodes with services that may not be ready yet, whatever the steps are.
    unready: BTreeSet<Name>,
    patience: Duration,
    report: Report<'a>,
}

/// The steps from what was seen to what must be. What has failed and is not wanted any more would
/// else stay: it is not in order, so it does not count as there.
fn steps(desired: &Objects, seen: &Observation) -> Vec<Step> {
    let unwanted = seen.broken.iter().filter(|(id, _)| !desired.contains(id));
    let removals = unwanted.map(|(_, object)| Step::Remove(object.clone()));
    removals.chain(plan::diff(desired, &seen.objects)).collect()
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn limits(steps: &[Step], node: &Name) -> Limits {
    let created = steps.iter().find_map(|step| match step {
        Step::Create(Object::Node(it)) if it.name == *node => Some(it.limits),
        _ => None,
    });
    created.unwrap_or_default()
}

/// Whether an object is part of the wiring: everything that is there before a node's first process.
fn is_wiring(id: &Id) -> bool {
    !matches!(id, Id::Service(..) | Id::Tunnel(_))
}
