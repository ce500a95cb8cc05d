//! The stage that asks the kernel what it can do, by trying it.
//!
//! Everything is tried as root of a new user namespace in an empty network namespace, which is where
//! a lab would do it, and disappears with them. Here is no judgement of the answers.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use netarium_core::feature::{Feature, Features};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::linux::idmap::IdMap;
use crate::linux::mount::{RootFolders, mount_image};
use crate::linux::netlink::{Kind, Netlink, NetlinkError, NewLink};
use crate::linux::security;
use crate::linux::stage::{Call, Running, Stage, StageError};
use crate::linux::tun;
use crate::linux::userns::run_as_root_of_new_network;

/// The name of the TUN device that is tried; it has the namespace for itself.
const TUN: &str = "try-tun";

/// What became of a trial: nothing to say, or the kernel's words.
pub(crate) type Tried = Result<(), String>;

/// What the kernel answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// Whether each feature of a lab could be used.
    pub(crate) features: BTreeMap<Feature, Tried>,
    /// Whether overlayfs could be used on the folder that was named, if one was.
    pub(crate) overlay: Option<Tried>,
    /// Whether proc could be mounted for a new process namespace.
    pub(crate) proc: Tried,
}

impl Answers {
    /// Those features that could be used.
    pub(crate) fn features(&self) -> Features {
        let could = |(feature, tried): (&Feature, &Tried)| tried.is_ok().then_some(*feature);
        self.features.iter().filter_map(could).collect()
    }
}

/// Why the kernel was not asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No process of ours.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// There is no namespace to try it in.
    #[error(transparent)]
    Namespace(#[from] Failure),
}

impl AskError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Stage(error) => error.hint(),
            Self::Namespace(failure) => failure.hint.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Question {
    /// An empty folder that belongs to root of the owner's namespaces.
    overlay: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Answered(Answers),
    Failed(Failure),
}

/// Asks the kernel. Overlayfs is tried where `overlay` names an empty folder that belongs to root of
/// the owner's namespaces; what is in it afterwards belongs to that root too.
///
/// # Errors
/// If there can be no namespace to ask in.
pub(crate) async fn ask(overlay: Option<&Path>) -> Result<Answers, AskError> {
    let question = Question { overlay: overlay.map(Path::to_owned) };
    let mut running = Running::start(Stage::Features, &question, &[], Stdio::inherit())?;
    match running.answer().await? {
        Some(Answer::Answered(answers)) => Ok(answers),
        Some(Answer::Failed(failure)) => Err(failure.into()),
        None => Err(StageError::Silent { stderr: String::new() }.into()),
    }
}

/// The stage: returns its exit status.
pub(crate) fn stage(call: &Call) -> i32 {
    match run(call) {
        Ok(()) => 0,
        Err(failure) => {
            // If the caller is gone, nobody wants to know.
            call.answer(&Answer::Failed(failure)).ok();
            1
        }
    }
}

fn run(call: &Call) -> Result<(), Failure> {
    let question: Question = call.words().map_err(|error| Failure::of(&error))?;
    let map = IdMap::of_caller().map_err(|error| Failure::of(&error).with_hint(error.hint()))?;
    let child = || {
        let answer = Answer::Answered(try_all(question.overlay.as_deref()));
        i32::from(call.answer(&answer).is_err())
    };
    let status = run_as_root_of_new_network(&map, child)
        .map_err(|error| Failure::of(&error).with_hint(error.hint()))?;
    if status.success() {
        Ok(())
    } else {
        let what = "cannot ask the kernel for its features".to_owned();
        Err(Failure { what, causes: vec![status.to_string()], hint: None })
    }
}

fn try_all(overlay: Option<&Path>) -> Answers {
    let mut features = try_links();
    features.insert(Feature::Esp, told(security::try_association()));
    features.insert(Feature::Tun, told(tun::open(TUN).map(drop)));
    features.insert(Feature::Ipv6, told(try_ipv6()));
    let overlay = overlay.map(try_overlay);
    Answers { features, overlay, proc: try_proc() }
}

fn told(tried: io::Result<()>) -> Tried {
    tried.map_err(|error| error.to_string())
}

/// Makes one link of each kind, the parent of the macvlan link before it.
fn try_links() -> BTreeMap<Feature, Tried> {
    let kinds = [Feature::Dummy, Feature::Veth, Feature::Ifb, Feature::Bridge, Feature::Wireguard];
    let mut netlink = match Netlink::open() {
        Ok(netlink) => netlink,
        Err(error) => {
            let all = kinds.into_iter().chain([Feature::Macvlan]);
            return all.map(|kind| (kind, Err(error.to_string()))).collect();
        }
    };
    let mut tried = BTreeMap::new();
    let mut parent = None;
    for kind in kinds {
        let made = try_link(&mut netlink, kind);
        if made.is_ok() && !matches!(kind, Feature::Bridge | Feature::Wireguard) {
            parent.get_or_insert(kind);
        }
        tried.insert(kind, made.map_err(|error| error.to_string()));
    }
    let macvlan = match parent {
        Some(parent) => try_macvlan(&mut netlink, parent).map_err(|error| error.to_string()),
        None => Err("there is no link that could be its parent".to_owned()),
    };
    tried.insert(Feature::Macvlan, macvlan);
    tried
}

fn try_link(netlink: &mut Netlink, kind: Feature) -> Result<(), NetlinkError> {
    let peer = NewLink::named("try-peer");
    let made = match kind {
        Feature::Dummy => Kind::Dummy,
        Feature::Ifb => Kind::Ifb,
        Feature::Bridge => Kind::Bridge,
        Feature::Wireguard => Kind::Wireguard,
        _ => Kind::Veth(&peer),
    };
    netlink.add_link(&NewLink::named(&link_name(kind)), made)
}

fn try_macvlan(netlink: &mut Netlink, parent: Feature) -> Result<(), NetlinkError> {
    let parent = netlink.index(&link_name(parent))?;
    netlink.add_link(&NewLink::named("try-macvlan"), Kind::Macvlan { parent })
}

fn link_name(kind: Feature) -> String {
    format!("try-{kind}")
}

fn try_ipv6() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // A kernel that was started with `ipv6.disable=1` has the sockets, but no addresses.
    std::fs::metadata("/proc/sys/net/ipv6/conf/all/disable_ipv6").map(drop)
}

/// Mounts an overlay as nodes have it. A folder that replaces one of the image is what needs extended
/// attributes on the file system below.
fn try_overlay(folder: &Path) -> Tried {
    let folders = RootFolders {
        lower: vec![folder.join("lower")],
        upper: folder.join("upper"),
        work: folder.join("work"),
        merged: folder.join("merged"),
        hidden: Vec::new(),
    };
    let tell = |error: io::Error| error.to_string();
    for path in [&folders.lower[0], &folders.upper, &folders.work, &folders.merged] {
        std::fs::create_dir(path).map_err(tell)?;
    }
    std::fs::create_dir(folders.lower[0].join("folder")).map_err(tell)?;
    mount_image(&folders).map_err(|error| Failure::of(&error).to_string())?;
    let inside = folders.merged.join("folder");
    let replaced = std::fs::remove_dir(&inside).and_then(|()| std::fs::create_dir(&inside));
    unmount(&folders.merged, UnmountFlags::DETACH).map_err(|error| error.to_string())?;
    replaced.map_err(|error| format!("cannot replace a folder of the image: {error}"))
}

/// The kernel refuses where the host has hidden a part of its own proc (mount_namespaces(7)).
fn try_proc() -> Tried {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_no_feature() {
        let features = [(Feature::Dummy, Err("no".to_owned())), (Feature::Veth, Ok(()))];
        let answers = Answers { features: features.into(), overlay: None, proc: Ok(()) };
        assert!(answers.features().has(Feature::Veth));
        assert!(!answers.features().has(Feature::Dummy));
    }

    #[test]
    fn names_of_links_are_short_enough() {
        assert!(Feature::ALL.into_iter().all(|kind| link_name(kind).len() <= 15));
    }
}
