//! Limits of nodes, kept by the kernel's control groups, of version 1 and 2.
//!
//! A node with limits has a cgroup `netarium/<lab>/<node>` in each hierarchy that has one of the
//! controllers. Below which cgroup that is depends on who asks: root has the top of a hierarchy; an
//! ordinary user the highest cgroup that was delegated to them, which with systemd is the same in
//! all of their sessions. Where a user has none, there is no limit, and that is said, but it is no
//! error.
//!
//! Sources: cgroups(7), Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.

mod host;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netarium_core::model::Limits;
use netarium_core::name::Name;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::{Deserialize, Serialize};

use host::{Hierarchy, hierarchies};

/// The cgroup of all labs.
const OURS: &str = "netarium";

/// How long the kernel may take to let go of the cgroup of processes that have ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Controller {
    /// Memory.
    Memory,
    /// Processor time.
    Cpu,
    /// Processes and threads.
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// The kernel's word for it.
    fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The version of a hierarchy; a hybrid host has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    One,
    Two,
}

/// A limit that is not kept, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unlimited {
    /// The node.
    pub(crate) node: Name,
    /// What is not limited.
    pub(crate) controller: Controller,
    /// Why, in plain words.
    pub(crate) why: String,
}

impl fmt::Display for Unlimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}: no {} limit: {}", self.node, self.controller, self.why)
    }
}

/// What went wrong that is no matter of permission.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// A limit.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A cgroup.
    #[error("cannot make the cgroup {}", path.display())]
    Make {
        /// Its folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A cgroup that stays.
    #[error("cannot remove the cgroup {}", path.display())]
    Remove {
        /// Its folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, CgroupError>;

/// Where limits of nodes are kept on this host.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    places: Vec<(Controller, std::result::Result<Place, String>)>,
    /// All folders in which there may be cgroups of this owner's labs.
    bases: BTreeSet<PathBuf>,
    layout: Layout,
}

/// Which versions a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// No cgroups are mounted.
    None,
    /// Version 1 only.
    One,
    /// Version 2 only.
    Two,
    /// Both: some controllers in version 1, others in version 2.
    Hybrid,
}

/// Where the limits of one controller are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    version: Version,
    /// The folder that has or gets the one of all labs.
    base: PathBuf,
}

impl Cgroups {
    /// Finds out what this process may limit, and where. Nothing is changed.
    pub(crate) fn of_host() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let hierarchies = hierarchies(&mounts);
        let place = |controller| (controller, place(&hierarchies, &own, controller));
        let places = Controller::ALL.into_iter().map(place).collect();
        let bases = hierarchies.iter().flat_map(|it| bases(it, &own)).collect();
        Self { places, bases, layout: layout(&hierarchies) }
    }

    /// Which versions this host has.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// What can be limited, and below which folder; for the rest, why not.
    pub(crate) fn possible(
        &self,
    ) -> impl Iterator<Item = (Controller, std::result::Result<&Path, &str>)> {
        self.places.iter().map(|(controller, place)| {
            let place = place.as_ref().map(|place| place.base.as_path());
            (*controller, place.map_err(String::as_str))
        })
    }

    /// Puts process `pid`, and all that it starts from now on, under the limits of a node. Returns
    /// the limits that are not kept.
    ///
    /// # Errors
    /// Only what is no matter of permission: that the process has ended, for example.
    pub(crate) fn limit(
        &self,
        lab: &Name,
        node: &Name,
        limits: &Limits,
        pid: u32,
    ) -> Result<Vec<Unlimited>> {
        let mut unlimited = Vec::new();
        for (controller, place) in &self.places {
            let Some(limit) = Limit::of(limits, *controller) else { continue };
            let kept = match place {
                Ok(place) => place.keep(&limit, lab, node, pid)?,
                Err(why) => Err(why.clone()),
            };
            if let Err(why) = kept {
                unlimited.push(Unlimited { node: node.clone(), controller: *controller, why });
            }
        }
        Ok(unlimited)
    }

    /// Removes the cgroups of a lab whose processes have ended. Blocks for as long as the kernel
    /// takes to notice that, two seconds at most. Goes on after an error and returns all of them.
    #[must_use]
    pub(crate) fn remove(&self, lab: &Name) -> Vec<CgroupError> {
        let errors = self.remove_below(Path::new(lab.as_str()));
        for base in &self.bases {
            // Other labs may have cgroups there, and then it stays.
            fs::remove_dir(base.join(OURS)).ok();
        }
        errors
    }

    /// Removes the cgroups of one node, as [`Self::remove`] does those of a lab.
    #[must_use]
    pub(crate) fn remove_node(&self, lab: &Name, node: &Name) -> Vec<CgroupError> {
        self.remove_below(&Path::new(lab.as_str()).join(node.as_str()))
    }

    fn remove_below(&self, path: &Path) -> Vec<CgroupError> {
        let deadline = Instant::now() + PATIENCE;
        let mut errors = Vec::new();
        for base in &self.bases {
            remove_tree(&base.join(OURS).join(path), deadline, &mut errors);
        }
        errors
    }
}

/// What is written to limit one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    controller: Controller,
    amount: u64,
}

impl Limit {
    fn of(limits: &Limits, controller: Controller) -> Option<Self> {
        let amount = match controller {
            Controller::Memory => limits.memory,
            Controller::Cpu => limits.millicpus.map(u64::from),
            Controller::Pids => limits.pids.map(u64::from),
        };
        amount.map(|amount| Self { controller, amount })
    }

    /// Files and what they get, in this order.
    fn files(self, version: Version) -> Vec<(&'static str, String)> {
        let amount = self.amount.to_string();
        match (self.controller, version) {
            (Controller::Memory, Version::One) => vec![("memory.limit_in_bytes", amount)],
            (Controller::Memory, Version::Two) => vec![("memory.max", amount)],
            (Controller::Pids, _) => vec![("pids.max", amount)],
            (Controller::Cpu, version) => {
                // The kernel takes no share of less than 1 ms, and no period of more than 1 s.
                let period: u64 = if self.amount < 10 { 1_000_000 } else { 100_000 };
                let share = self.amount.max(1).saturating_mul(period) / 1000;
                match version {
                    Version::One => vec![
                        ("cpu.cfs_period_us", period.to_string()),
                        ("cpu.cfs_quota_us", share.to_string()),
                    ],
                    Version::Two => vec![("cpu.max", format!("{share} {period}"))],
                }
            }
        }
    }
}

impl Place {
    /// Makes the node's cgroup, writes the limit and moves the process there. The inner result tells
    /// why that is not permitted.
    fn keep(
        &self,
        limit: &Limit,
        lab: &Name,
        node: &Name,
        pid: u32,
    ) -> Result<std::result::Result<(), String>> {
        let folder = match self.make(limit.controller, lab, node) {
            Ok(folder) => folder,
            Err(error) => return excused(error),
        };
        let files = limit.files(self.version).into_iter();
        for (file, text) in files.chain([("cgroup.procs", pid.to_string())]) {
            if let Err(error) = write(folder.join(file), &text) {
                return excused(error);
            }
        }
        Ok(Ok(()))
    }

    /// Makes the node's cgroup and those above it.
    fn make(&self, controller: Controller, lab: &Name, node: &Name) -> Result<PathBuf> {
        let deadline = Instant::now() + PATIENCE;
        let mut folder = self.base.clone();
        let mut names = [OURS, lab.as_str(), node.as_str()].into_iter();
        while let Some(name) = names.next() {
            self.pass_on(controller, &folder)?;
            let next = folder.join(name);
            match fs::create_dir(&next) {
                Ok(()) => folder = next,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => folder = next,
                // The last lab has just been removed, and with it the cgroup of all labs.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && folder != self.base
                        && Instant::now() < deadline =>
                {
                    folder.clone_from(&self.base);
                    names = [OURS, lab.as_str(), node.as_str()].into_iter();
                }
                Err(source) => return Err(CgroupError::Make { path: next, source }),
            }
        }
        Ok(folder)
    }

    /// In version 2 a cgroup has a controller only if the one above passes it on.
    fn pass_on(&self, controller: Controller, folder: &Path) -> Result<()> {
        if self.version == Version::One {
            return Ok(());
        }
        let path = folder.join("cgroup.subtree_control");
        if has_word(&path, controller.word()) {
            return Ok(());
        }
        write(path, &format!("+{controller}"))
    }
}

/// Tells apart what is not permitted, or not there, from what is unexpected.
fn excused(error: CgroupError) -> Result<std::result::Result<(), String>> {
    let (CgroupError::Write { path, source }
    | CgroupError::Make { path, source }
    | CgroupError::Remove { path, source }) = &error;
    match why_not(source, path) {
        Some(why) => Ok(Err(why)),
        None => Err(error),
    }
}

fn why_not(error: &io::Error, path: &Path) -> Option<String> {
    let why = match error.raw_os_error()? {
        libc::EACCES | libc::EPERM => "this user may not make cgroups".to_owned(),
        libc::EROFS => "cgroups are read-only here".to_owned(),
        libc::EBUSY => format!(
            "{} has processes of its own and cannot pass limits on",
            path.parent().unwrap_or(path).display()
        ),
        libc::ENOENT => format!("this kernel has no {}", path.file_name()?.display()),
        _ => return None,
    };
    Some(why)
}

fn layout(hierarchies: &[Hierarchy]) -> Layout {
    let has = |version| hierarchies.iter().any(|it| it.version == version);
    match (has(Version::One), has(Version::Two)) {
        (false, false) => Layout::None,
        (true, false) => Layout::One,
        (false, true) => Layout::Two,
        (true, true) => Layout::Hybrid,
    }
}

/// Where a controller's limits are kept, or why nowhere.
fn place(
    hierarchies: &[Hierarchy],
    own: &str,
    controller: Controller,
) -> std::result::Result<Place, String> {
    if let Some(first) = hierarchies.iter().find(|it| it.is_first_with(controller)) {
        let base = if is_root() { first.top.clone() } else { first.own(own) };
        may_make(&base)?;
        return Ok(Place { version: Version::One, base });
    }
    let second = hierarchies.iter().find(|it| {
        it.version == Version::Two
            && has_word(&it.top.join("cgroup.controllers"), controller.word())
    });
    let second = second.ok_or_else(|| format!("this host has no {controller} cgroups"))?;
    let base = delegated(second, own).ok_or("this user may not make cgroups")?;
    may_make(&base)?;
    if !has_word(&base.join("cgroup.controllers"), controller.word()) {
        return Err(format!("{controller} cgroups are not delegated to this user"));
    }
    Ok(Place { version: Version::Two, base })
}

/// The folders in which there may be cgroups of this owner's labs.
fn bases(hierarchy: &Hierarchy, own: &str) -> Vec<PathBuf> {
    match hierarchy.version {
        Version::One if is_root() => vec![hierarchy.top.clone()],
        Version::One => vec![hierarchy.own(own)],
        Version::Two => {
            // A lab may have been made in a session to which more was delegated than to this one.
            let user = rustix::process::geteuid().as_raw();
            let systemd = format!("user.slice/user-{user}.slice/user@{user}.service");
            let systemd = Some(hierarchy.top.join(systemd));
            delegated(hierarchy, own).into_iter().chain(systemd).collect()
        }
    }
}

/// The highest cgroup of version 2 that belongs to the caller: from there the caller may move a
/// process of their own to any cgroup below.
fn delegated(hierarchy: &Hierarchy, own: &str) -> Option<PathBuf> {
    if is_root() {
        return Some(hierarchy.top.clone());
    }
    let own = hierarchy.own(own);
    let above = own.ancestors().take_while(|it| it.starts_with(&hierarchy.top));
    let belongs = |it: &&Path| may_make(it).is_ok() && may_write(&it.join("cgroup.procs")).is_ok();
    above.take_while(belongs).last().map(Path::to_owned)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn may_make(folder: &Path) -> std::result::Result<(), String> {
    may_write(folder).map_err(|error| {
        let unknown = || format!("{}: {error}", folder.display());
        why_not(&error, folder).unwrap_or_else(unknown)
    })
}

fn may_write(path: &Path) -> io::Result<()> {
    Ok(accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)?)
}

/// Whether a file has `word` among its words; not if it cannot be read.
fn has_word(path: &Path, word: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.split_ascii_whitespace().any(|it| it == word))
}

#[expect(clippy::disallowed_methods, reason = "a file of /sys is written, not replaced")]
fn write(path: PathBuf, text: &str) -> Result<()> {
    fs::write(&path, text).map_err(|source| CgroupError::Write { path, source })
}

/// Removes a cgroup and those below it. Fine if it is gone already.
fn remove_tree(folder: &Path, deadline: Instant, errors: &mut Vec<CgroupError>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for below in entries.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir())) {
        remove_tree(&below.path(), deadline, errors);
    }
    let mut pause = Duration::from_millis(1);
    loop {
        match fs::remove_dir(folder) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                // No version tells by poll(2) when the last process has left.
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            Err(source) => {
                errors.push(CgroupError::Remove { path: folder.to_owned(), source });
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
