//! The worker: a process inside a lab's namespaces that does the steps, or looks at what is there.
//!
//! It is a stage (see [`crate::linux::stage`]) of two processes: the first makes the keeper where
//! the lab is new and enters its namespaces; the second, born in them, does the work, so that what
//! it starts belongs to the lab. If the caller ends, the first kills the second, in the middle of
//! whatever it does, and the kernel every node that was created and not yet started: nobody changes
//! a lab without the lock, which ended with the caller.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use netarium_core::model::{Condition, Engine, Secrets};
use netarium_core::name::{InterfaceName, Name};
use netarium_core::object::{Id, LinkState, Object, Objects};
use netarium_core::plan::Step;
use netarium_core::verdict::Opening;
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};

use super::apply::Apply;
use super::certificates;
use super::disturb;
use super::keeper::{self, Keeper};
use super::look::{Question, Sight, look};
use super::observe;
use super::vici::rekey::Numbers;
use super::volumes::{self, Trees};
use crate::certificates::{Certificates, Reason, Standing};
use crate::engine::docker::prepare;
use crate::failure::Failure;
use crate::folder::LabFolder;
use crate::linux::clone::{self, Child, Side, into_namespaces};
use crate::linux::idmap::{IdMap, IdMapError};
use crate::linux::launch::{self, LaunchError};
use crate::linux::process::Process;
use crate::linux::stage::{Call, StageError};
use crate::node_program::Programs;

/// What a worker is called with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The lab.
    pub(crate) lab: Name,
    /// What makes its nodes.
    pub(crate) engine: Engine,
    /// Its folder.
    pub(crate) folder: LabFolder,
    /// The folder of images.
    pub(crate) images: PathBuf,
    /// The layers of images of others, by the digests of these, the highest first.
    pub(crate) stacks: BTreeMap<String, Vec<PathBuf>>,
    /// The programs of nodes, on the host.
    pub(crate) programs: Programs,
    /// Folders of the host that a `host` image must not show.
    pub(crate) hidden: Vec<PathBuf>,
    /// The folder of volumes that the lab keeps.
    pub(crate) volumes: PathBuf,
    /// What to do.
    pub(crate) task: Task,
}

/// For each node that comes after others: which, and what of them it waits for.
pub(crate) type After = BTreeMap<Name, BTreeMap<Name, Condition>>;

/// What a worker does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// The steps, and waiting until services are ready and tunnels stand.
    Apply {
        /// In this order; tunnels are opened side by side.
        steps: Vec<Step>,
        /// How long services and tunnels may take, in milliseconds.
        patience: u64,
        /// Nodes with services that were started before and may not be ready yet.
        unready: BTreeSet<Name>,
        /// The nodes that are started after others, and what of those they wait for.
        after: After,
        /// Secrets of the lab file, by tunnel.
        secrets: Secrets,
        /// The node that gets a new certificate, whatever became of the last one.
        renewed: Option<Name>,
    },
    /// Telling which certificates there are.
    Certificates,
    /// Revoking the certificate of a node.
    Revoke {
        /// The node.
        node: Name,
        /// Why.
        reason: Reason,
        /// What becomes of tunnels that stand.
        standing: Standing,
    },
    /// Looking at what is there.
    Observe,
    /// Looking closer. The machine's network namespace comes with the call.
    Look(Question),
    /// Setting an interface down, or up with what belongs to it.
    SetLink {
        /// The node.
        node: Name,
        /// Its interface.
        interface: InterfaceName,
        /// How it is to be.
        state: LinkState,
    },
    /// Setting all interfaces of a node down.
    Unplug(Name),
    /// Giving a tunnel new keys.
    Rekey {
        /// The end that asks for them.
        node: Name,
        /// The tunnel.
        tunnel: Name,
        /// How long it may take, in milliseconds.
        patience: u64,
    },
    /// Trying to open the tunnels for which a node's certificate vouches.
    Try {
        /// The node.
        node: Name,
        /// How long each may take, in milliseconds.
        patience: u64,
    },
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// These nodes were created. If any of them has limits the worker waits for a word, so that the
    /// caller can put their first processes, by number, where limits are kept.
    Born(Vec<(Name, u32)>),
    /// The folders of the nodes of the steps with these numbers are there, and another engine must make
    /// them. The worker waits for a word.
    Wanted(Vec<usize>),
    /// The nodes are gone, and another engine must let go of them. The worker waits for a word.
    Unwanted(Vec<Name>),
    /// The step with this number makes the way out, and all is ready for pasta. The worker waits for a
    /// word: it is in the lab's network, and pasta must be started in the host's.
    Pasta(usize),
    /// The step with this number was done.
    Did(usize),
    /// The tunnel of the step with this number stands.
    Opened {
        /// The step.
        step: usize,
        /// The algorithms that the daemons agreed on for IKE, in the order of a proposal.
        algorithms: String,
        /// How often it was tried; 0 if it stood already.
        tries: usize,
    },
    /// All services have settled.
    Settled,
    /// These certificates are there.
    Certificates(Certificates),
    /// What is there, and what is wrong with it.
    Observed(Observation),
    /// What was seen.
    Saw(Sight),
    /// The numbers of a tunnel's associations before and after it was rekeyed.
    Rekeyed([Numbers; 2]),
    /// What came of trying to open these tunnels.
    Tried(BTreeMap<Name, Opening>),
    /// What will fail next is that a node cannot be started, because another is not as it waits for.
    Unmet {
        /// The node.
        node: Name,
        /// The other.
        other: Name,
    },
    /// It did not work; nothing more will come.
    Failed(Failure),
}

/// What is there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Observation {
    /// What is there and in order.
    pub objects: Objects,
    /// What is there and has failed for good.
    pub broken: Objects,
    /// Nodes with services that are not ready yet.
    pub unready: BTreeSet<Name>,
    /// Nodes whose certificate is revoked.
    pub revoked: BTreeSet<Name>,
    /// What is not in order, with the reason where it is known.
    pub findings: Vec<(Id, String)>,
}

/// Why the worker is not where it should be.
#[derive(Debug, thiserror::Error)]
enum EnterError {
    #[error(transparent)]
    Map(#[from] IdMapError),
    #[error("cannot start the keeper of the lab")]
    Keeper(#[source] LaunchError),
    #[error("cannot write {}", path.display())]
    Record { path: PathBuf, source: io::Error },
    #[error("the keeper of the lab has ended")]
    NoKeeper(#[source] io::Error),
    #[error(transparent)]
    Volume(#[from] volumes::OpenError),
    #[error("cannot enter the namespaces of the lab")]
    Enter(#[source] io::Error),
}

/// The stage: returns its exit status.
pub(crate) fn stage(call: &Call) -> i32 {
    let order: Order = match call.words() {
        Ok(order) => order,
        Err(error) => return fail(call, Failure::of(&error)),
    };
    match enter(&order) {
        Ok(Place::Outside(child)) => outside(&child, call),
        Ok(Place::Inside { ids, trees }) => match work(call, &order, ids, trees) {
            Ok(()) => 0,
            Err(failure) => fail(call, failure),
        },
        Err(error) => fail(call, Failure::of(&error).with_hint(hint(&error))),
    }
}

/// What the process outside of the lab's namespaces does: it ends with the one inside.
pub(super) fn outside(child: &Child, call: &Call) -> i32 {
    let status = child.wait_or_end_with(call.lifeline()).ok().flatten();
    status.and_then(|status| status.code()).unwrap_or(1)
}

fn fail(call: &Call, failure: Failure) -> i32 {
    // A caller that is gone does not want to know.
    call.answer(&Answer::Failed(failure)).ok();
    1
}

fn hint(error: &EnterError) -> Option<String> {
    match error {
        EnterError::Map(error) | EnterError::Keeper(LaunchError::Map(error)) => error.hint(),
        EnterError::Keeper(LaunchError::Clone(_)) => {
            Some("user namespaces may be forbidden here: `netarium doctor` tells more".to_owned())
        }
        EnterError::Volume(error) => error.hint(),
        _ => None,
    }
}

/// In which of the two processes the caller is.
enum Place {
    Outside(Child),
    Inside { ids: u32, trees: Trees },
}

#[expect(
    clippy::disallowed_methods,
    reason = "here a process enters a lab, of which it then is a part"
)]
fn enter(order: &Order) -> Result<Place, EnterError> {
    let map = IdMap::of_caller()?;
    let keeper = match &order.task {
        Task::Apply { steps, .. }
            if matches!(steps.first(), Some(Step::Create(Object::Lab(_)))) =>
        {
            start_keeper(order, &map)?
        }
        _ => {
            let keeper = Keeper::recorded(&order.folder).map(Keeper::process);
            keeper.ok_or_else(|| EnterError::NoKeeper(io::ErrorKind::NotFound.into()))?
        }
    };
    let pidfd = keeper.open().map_err(EnterError::NoKeeper)?;
    let trees = match order.engine {
        Engine::Native => volumes::open(&order.task, &map, keeper)?,
        // They are opened when they are mounted.
        Engine::Docker => Trees::new(),
    };
    let inside = || -> io::Result<Side> {
        let pidfd = std::os::fd::AsFd::as_fd(&pidfd);
        rustix::thread::move_into_thread_name_spaces(pidfd, namespaces(order.engine))?;
        if order.engine == Engine::Docker {
            return into_namespaces(0);
        }
        clone::become_root(map.is_single())?;
        // A process that changed its ids hides its files in /proc, also from its own children's
        // namespaces, which are given their ids there.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        into_namespaces(0)
    };
    match inside().map_err(EnterError::Enter)? {
        Side::Parent(child) => Ok(Place::Outside(child)),
        Side::Child => {
            let entered = |error: rustix::io::Errno| EnterError::Enter(error.into());
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(entered)?;
            // All nodes that are made here are of this session, which has no terminal and is not
            // the caller's: the scheduler takes them as one group.
            rustix::process::setsid().map_err(entered)?;
            Ok(Place::Inside { ids: ids(order.engine, &map), trees })
        }
    }
}

/// What a worker enters. The containers of another engine belong to the host's own user namespace: whoever
/// works on them has to be root there.
fn namespaces(engine: Engine) -> ThreadNameSpaceType {
    use ThreadNameSpaceType as Type;
    match engine {
        Engine::Native => Type::USER | Type::PROCESS_ID | Type::NETWORK,
        Engine::Docker => Type::NETWORK,
    }
}

/// How many ids the nodes have.
fn ids(engine: Engine, map: &IdMap) -> u32 {
    match engine {
        Engine::Native => map.count(),
        Engine::Docker => u32::MAX,
    }
}

fn start_keeper(order: &Order, map: &IdMap) -> Result<Process, EnterError> {
    let folder = order.folder.path().display().to_string();
    let arguments = [order.lab.as_str(), &folder];
    let child = launch::start_keeper(map, &order.programs.node, keeper::NAME, &arguments)
        .map_err(EnterError::Keeper)?;
    let path = order.folder.keeper();
    let record = |source| EnterError::Record { path: path.clone(), source };
    let keeper = Process::of(child.pid).map_err(record)?;
    write_record(&path, &keeper).map_err(record)?;
    Ok(keeper)
}

/// Writes a record in one step: a crash leaves the old one or the new one.
///
/// # Errors
/// If the disk is full, for example.
pub(crate) fn write_record(path: &Path, record: &impl Serialize) -> io::Result<()> {
    write_bytes(path, &serde_json::to_vec(record)?)
}

/// Writes a file in one step, as [`write_record`] does.
///
/// # Errors
/// If the disk is full, for example.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let written = fs::File::create(&fresh)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // Best effort: the error that counts is the first.
        fs::remove_file(&fresh).ok();
    }
    written
}

fn work(call: &Call, order: &Order, ids: u32, trees: Trees) -> Result<(), Failure> {
    let answer = |answer: Answer| call.answer(&answer).map_err(|error| gone(&error));
    match &order.task {
        Task::Observe => {
            adopt(order)?;
            let observation =
                observe::observe(&order.folder, &order.lab, ids).map_err(|it| Failure::of(&it))?;
            answer(Answer::Observed(observation))
        }
        Task::Look(question) => {
            let machine = call.fds.first().map(std::os::fd::AsFd::as_fd);
            answer(Answer::Saw(look(&order.folder, question, machine)))
        }
        Task::Certificates => {
            let shown = certificates::show(&order.folder).map_err(|it| Failure::of(&it))?;
            answer(Answer::Certificates(shown))
        }
        Task::Revoke { node, reason, standing } => {
            let revoked = certificates::revoke(&order.folder, node, *reason, *standing);
            revoked.map_err(|it| Failure::of(&it))?;
            answer(Answer::Settled)
        }
        Task::SetLink { node, interface, state } => {
            disturb::set_link(&order.folder, node, interface, *state)
                .map_err(|it| Failure::of(&it))?;
            answer(Answer::Settled)
        }
        Task::Unplug(node) => {
            disturb::unplug(&order.folder, node).map_err(|it| Failure::of(&it))?;
            answer(Answer::Settled)
        }
        Task::Rekey { node, tunnel, patience } => {
            let patience = std::time::Duration::from_millis(*patience);
            let numbers = disturb::rekey_tunnel(&order.folder, node, tunnel, patience);
            answer(Answer::Rekeyed(numbers.map_err(|it| Failure::of(&it))?))
        }
        Task::Try { node, patience } => {
            let patience = std::time::Duration::from_millis(*patience);
            let openings = certificates::try_tunnels(&order.folder, node, patience);
            answer(Answer::Tried(openings.map_err(|it| Failure::of(&it))?))
        }
        Task::Apply { steps, patience, unready, .. } => {
            adopt(order)?;
            let patience = std::time::Duration::from_millis(*patience);
            let apply = Apply::begin(order, ids, trees, patience);
            let mut apply = apply.map_err(|it| Failure::of(&it))?;
            apply.run(steps, unready, call)?;
            answer(Answer::Settled)
        }
    }
}

/// Another engine may have started nodes again.
fn adopt(order: &Order) -> Result<(), Failure> {
    match order.engine {
        Engine::Native => Ok(()),
        Engine::Docker => prepare::adopt(&order.folder).map_err(|error| Failure::of(&error)),
    }
}

/// The failure of a worker whose caller is gone. Nobody will read it.
pub(super) fn gone(error: &StageError) -> Failure {
    Failure::of(error)
}
