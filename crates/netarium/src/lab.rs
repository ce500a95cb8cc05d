//! Labs on this machine: bring one up, change it, see how it is, take it down.
//!
//! What is to be done is decided by `netarium_core::plan`; how, by the engine. Here the order of
//! things is kept: one change of a lab at a time, images before namespaces, nothing left behind
//! after a failure.

mod builds;
mod certificates;
mod change;
mod containers;
mod disturb;
mod error;
mod export;
mod given;
mod images;
mod lock;
mod networks;
mod programs;
mod undo;
mod volumes;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use netarium_core::compose::Inputs;
use netarium_core::desired::{Desired, desired};
use netarium_core::model::{Engine, Image, Model};
use netarium_core::name::Name;
use netarium_core::object::{Id, Objects};
use netarium_core::plan::{self, Step};
use netarium_core::source::Sources;
use serde::{Deserialize, Serialize};

use self::change::Work;
use self::lock::Lock;
use crate::engine::docker::client::Place;
use crate::engine::native::keeper::Keeper;
use crate::engine::native::worker::{self, Answer, Observation, Task};
use crate::event::{Event, Report};
use crate::features::features;
use crate::folder::{DataFolder, LabFolder};
use crate::lab_file::LabFile;
use crate::lab_source;
use crate::linux::idmap::IdMap;
use crate::linux::stage::StageError;
use crate::outside::outside;

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
    /// What makes its nodes.
    #[serde(default)]
    pub engine: Engine,
    /// Where that is, if it is another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
}

/// How to bring a lab up.
#[derive(Clone, Copy, Debug)]
pub struct UpOptions {
    /// What happens to what was made if something fails.
    pub after_failure: AfterFailure,
    /// How long services and tunnels may take to be ready.
    pub patience: Duration,
    /// When images of others are pulled.
    pub pull: Pull,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self { after_failure: AfterFailure::Undo, patience: PATIENCE, pull: Pull::default() }
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

/// When images of others are pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// If they are not there. Those in files and in Docker also if they have changed.
    #[default]
    Missing,
    /// Each time, since a name may mean another image now. Layers that are there are not sent again.
    Always,
    /// Not at all: what is not there is an error.
    Never,
}

/// What there is to do to bring a lab to what its file says.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The steps, in order. None: the lab is up and healthy.
    pub steps: Vec<Step>,
    /// What is done in another way than the lab asked for.
    pub notes: Vec<netarium_core::desired::Note>,
    /// The images of others that are pulled before. What they run is known only then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pulls: Vec<String>,
    /// The images that Docker builds before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<String>,
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

pub use self::error::LabError;
pub use self::given::{Given, GivenImages};

type Result<T> = std::result::Result<T, LabError>;

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
        let path = self.folder.sources();
        let sources = lab_source::recorded(&path).map_err(|source| LabError::Folder {
            what: "read",
            path,
            source,
        })?;
        let copy = match self.compose_inputs()? {
            Some(inputs) => LabFile::of_compose_copy(inputs, self.name.as_str(), sources),
            None => LabFile::of_copy(&record.file, text, self.name.as_str(), sources),
        };
        let mut copy = copy.map_err(LabError::Copy)?;
        copy.model.engine = Some(record.engine);
        Ok(copy)
    }

    /// What the lab was made from, if that was a Compose file.
    fn compose_inputs(&self) -> Result<Option<Inputs>> {
        let path = self.folder.compose();
        let error = |source| LabError::Folder { what: "read", path: path.clone(), source };
        match fs::read(&path) {
            Ok(bytes) => {
                let inputs = serde_json::from_slice(&bytes);
                inputs.map(Some).map_err(|source| error(source.into()))
            }
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(error(source)),
        }
    }

    /// Says what [`Lab::up`] would do.
    ///
    /// # Errors
    /// If the machine cannot run the lab, or it cannot be seen how it is.
    pub async fn plan(&self, model: &Model) -> Result<Plan> {
        let Desired { objects, notes } = self.desired(model).await?;
        let is_built = |image: &Image| match image {
            Image::DockerDaemon { name } => model.builds.contains_key(name),
            _ => false,
        };
        let missing = self.missing(model)?;
        let pulls = missing.iter().filter(|it| !is_built(it)).map(Image::title).collect();
        let builds = model.builds.keys().cloned().collect();
        Ok(Plan { steps: steps(&objects, &self.observe().await?), notes, pulls, builds })
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
        let mut observed = self.observe().await?;
        observed.findings.extend(self.unwatched().filter(|_| state == State::Up));
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
        let steps = self.up_locked(&lock, file, options, report).await;
        if steps.is_err() && self.state() == State::Down {
            lock.remove();
        }
        steps
    }

    async fn up_locked(
        &self,
        lock: &Lock,
        file: &LabFile,
        options: UpOptions,
        report: Report<'_>,
    ) -> Result<Vec<Step>> {
        let engine = self.engine_for(&file.model)?;
        // What the machine cannot do is said before anything is pulled.
        let Desired { notes, .. } = self.desired(&file.model).await?;
        notes.into_iter().for_each(|note| report(Event::Note(note)));
        if engine == Engine::Docker {
            // Nothing is made, and nothing taken away, if it does not answer.
            self.client().await?;
        }
        self.check_networks(&file.model, engine).await?;
        self.build_images(&file.model, report).await?;
        let _images = self.make_images(&file.model, options.pull, report).await?;
        let Desired { objects, .. } = self.desired(&file.model).await?;
        if self.state() != State::Up {
            self.clear(report).await?;
        }
        let before = self.observe().await?;
        let steps = steps(&objects, &before);
        self.check_changes(&steps)?;
        report(Event::Planned { steps: steps.len() });
        for (id, object) in objects.iter() {
            if let Some(node) = certificates::refused(object, &before.revoked) {
                let why = format!("the certificate of {node} is revoked");
                let hint = format!("`netarium pki renew {node}` issues another");
                report(Event::Warning(format!("{id} is left alone: {why}; {hint}")));
            }
        }
        let file_before = self.file().ok();
        let unready = before.unready.iter().filter(|node| file.model.nodes.contains_key(*node));
        let unready = unready.cloned().collect();
        let secrets = &file.model.secrets;
        let patience = options.patience;
        let after = &file.model.order();
        let work = Work { lock, unready, patience, after, secrets, renewed: None, report };
        let made = self.make(file, (engine, &steps), &work).await;
        // What is kept after a failure is watched, too.
        let watched = match (&made, options.after_failure) {
            (Ok(()), _) | (Err(_), AfterFailure::Keep) if self.state() == State::Up => self.watch(),
            _ => Ok(()),
        };
        if let Err(error) = made.and(watched) {
            if options.after_failure == AfterFailure::Undo {
                report(Event::Undoing);
                // The first error is the one to be told; that not all was undone is told beside it.
                let work = Work { unready: BTreeSet::new(), patience: PATIENCE, ..work };
                if let Err(error) = self.undo(&before.objects, file_before.as_ref(), &work).await {
                    report(Event::Warning(format!("not all could be undone: {error}")));
                }
            }
            return Err(error);
        }
        self.forget_logs();
        let path = self.folder.sources();
        lab_source::forget_others(&path, &file.sources).map_err(|source| LabError::Folder {
            what: "clear",
            path,
            source,
        })?;
        report(Event::Settled);
        Ok(steps)
    }

    async fn make(
        &self,
        file: &LabFile,
        (engine, steps): (Engine, &[Step]),
        work: &Work<'_>,
    ) -> Result<()> {
        if self.state() == State::Down {
            self.create_folder()?;
        }
        self.create_volumes(&file.model)?;
        self.write_records(file, engine)?;
        self.apply(steps, work).await
    }

    /// Takes the lab down, whatever state it is in. Says whether there was anything.
    ///
    /// # Errors
    /// What could not be taken down. Whatever can be is.
    pub async fn down(&self, report: Report<'_>) -> Result<bool> {
        let lock = self.lock(report).await?;
        self.forget_logs();
        self.take_leave().await;
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
        let outside = outside(model).map_err(LabError::Outside)?;
        let images = self.found(model)?;
        let desired = desired(model, &features, &outside, &images).map_err(LabError::Refused)?;
        programs::check(desired)
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

    fn create_folder(&self) -> Result<()> {
        let map = IdMap::of_caller().map_err(LabError::Ids)?;
        let path = self.folder.path();
        let error = |source| LabError::Folder { what: "make", path: path.to_owned(), source };
        DirBuilder::new().mode(0o700).create(path).map_err(error)?;
        // Root of the lab, who is nobody on the host, works in it.
        std::os::unix::fs::chown(path, Some(map.root_uid()), Some(map.root_gid())).map_err(error)
    }

    fn write_records(&self, file: &LabFile, engine: Engine) -> Result<()> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let since = self.record().map_or(now.map_or(0, |it| it.as_secs()), |record| record.since);
        let place = (engine != Engine::Native).then(|| self.place());
        let record = LabRecord { file: file.path.clone(), since, engine, place };
        let error = |path| move |source| LabError::Folder { what: "write", path, source };
        let path = self.folder.record();
        worker::write_record(&path, &record).map_err(error(path.clone()))?;
        let path = self.folder.lab_file();
        worker::write_bytes(&path, &file.text).map_err(error(path.clone()))?;
        let path = self.folder.compose();
        match &file.compose {
            // Variables may be secrets; the folder is for its owner alone.
            Some(inputs) => worker::write_record(&path, inputs).map_err(error(path.clone()))?,
            None => match fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error(path)(source));
                }
                _ => {}
            },
        }
        let path = self.folder.sources();
        if file.sources == Sources::default() && !path.exists() {
            return Ok(());
        }
        let map = IdMap::of_caller().map_err(LabError::Ids)?;
        let owner = (map.root_uid(), map.root_gid());
        let kept = lab_source::keep(&path, &file.sources, &file.contents, owner);
        kept.map_err(error(path.clone()))
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

/// The steps from what was seen to what must be. What has failed and is not wanted any more would
/// else stay: it is not in order, so it does not count as there.
fn steps(desired: &Objects, seen: &Observation) -> Vec<Step> {
    let unwanted = seen.broken.iter().filter(|(id, _)| !desired.contains(id));
    let removals = unwanted.map(|(_, object)| Step::Remove(object.clone()));
    // One that would be refused is not tried.
    let possible = |step: &Step| match step {
        Step::Create(object) => certificates::refused(object, &seen.revoked).is_none(),
        Step::Remove(_) | Step::Replace(_) => true,
    };
    removals.chain(plan::diff(desired, &seen.objects)).filter(possible).collect()
}
