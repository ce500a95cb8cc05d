//! The memory of all processes of a lab, as the kernel counts it.
//!
//! The proportional set size (proc_pid_smaps_rollup(5)): a page that three processes share counts a
//! third for each, so that the sum is what is there. What the kernel itself keeps for namespaces,
//! links and sockets is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use netarium_core::control::INIT;
use netarium_core::model::Engine;
use netarium_core::name::Name;
use serde::Serialize;

use crate::engine::native::keeper::Keeper;
use crate::engine::native::node::recorded;
use crate::lab::Lab;

/// The programs of Docker Engine that run once for all containers.
const DAEMONS: [&str; 2] = ["dockerd", "containerd"];

/// How much memory a lab has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All told, in bytes.
    pub bytes: u64,
    /// How many processes share it.
    pub processes: usize,
    /// What the most private of the nodes' first processes has to itself, in bytes.
    pub init_private: u64,
    /// The same by program, the largest first.
    pub programs: Vec<Program>,
    /// What makes and holds containers, where Docker makes the nodes: its daemon, for all that it has, and
    /// those who hold the containers of this lab. It is not in the sum.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub engine: Vec<Program>,
}

/// The memory of all processes of a lab that run one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// The program.
    pub name: String,
    /// How many processes there are of it.
    pub processes: usize,
    /// What they have together, in bytes.
    pub bytes: u64,
}

/// Why it is not known how much memory a lab has.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// It has none.
    #[error("lab {0} is not up")]
    NotUp(Name),
    /// The kernel did not say.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How much memory the lab has at this moment.
///
/// # Errors
/// If it is not up, or the kernel does not say.
pub fn memory(lab: &Lab) -> Result<Memory, MemoryError> {
    let keeper = Keeper::recorded(lab.folder()).filter(|keeper| keeper.is_alive());
    let keeper = keeper.ok_or_else(|| MemoryError::NotUp(lab.name().clone()))?;
    let parents = parents()?;
    // Containers of Docker are not below the keeper.
    let mut roots = first_processes(lab);
    let holders: BTreeSet<u32> = match lab.engine() {
        Some(Engine::Docker) => roots.iter().filter_map(|pid| parents.get(pid)).copied().collect(),
        _ => BTreeSet::new(),
    };
    roots.insert(keeper.process().pid);
    let inside = with_namespaces(below(roots, &parents), &parents);
    let (programs, init_private) = sum(&inside)?;
    let mut engine = Vec::new();
    if !holders.is_empty() {
        let daemons = parents.keys().filter(|pid| DAEMONS.contains(&program(**pid).as_str()));
        let all = below(daemons.copied().chain(holders).collect(), &parents);
        engine = sum(&all.difference(&inside).copied().collect())?.0;
    }
    Ok(Memory {
        bytes: programs.iter().map(|program| program.bytes).sum(),
        processes: programs.iter().map(|program| program.processes).sum(),
        init_private,
        programs,
        engine,
    })
}

/// The memory of processes by program, the largest first, and what the most private first process of a node
/// has to itself.
fn sum(processes: &BTreeSet<u32>) -> Result<(Vec<Program>, u64), MemoryError> {
    let mut programs: BTreeMap<String, Program> = BTreeMap::new();
    let mut init_private = 0;
    for pid in processes {
        let Some(rollup) = Rollup::of(*pid)? else { continue };
        let name = program(*pid);
        if name == INIT {
            init_private = init_private.max(rollup.private);
        }
        let program = Program { name: name.clone(), processes: 0, bytes: 0 };
        let program = programs.entry(name).or_insert(program);
        program.processes += 1;
        program.bytes += rollup.shared_out;
    }
    let mut programs: Vec<Program> = programs.into_values().collect();
    programs.sort_by_key(|program| std::cmp::Reverse(program.bytes));
    Ok((programs, init_private))
}

/// The first processes of the lab's nodes that run.
fn first_processes(lab: &Lab) -> BTreeSet<u32> {
    let nodes = fs::read_dir(lab.folder().nodes()).into_iter().flatten().flatten();
    let names = nodes.filter_map(|it| it.file_name().to_str().and_then(|it| Name::new(it).ok()));
    let recorded = names.filter_map(|name| recorded(&lab.folder().node(&name)).ok().flatten());
    recorded.map(|process| process.pid).collect()
}

/// These processes and everything that descends from them.
fn below(mut found: BTreeSet<u32>, parents: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    loop {
        let children = parents.iter().filter(|(_, parent)| found.contains(parent));
        let more: Vec<u32> =
            children.map(|(pid, _)| *pid).filter(|it| !found.contains(it)).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// The same and whatever else has entered their process namespaces.
fn with_namespaces(mut found: BTreeSet<u32>, parents: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    let namespaces: BTreeSet<PathBuf> = found.iter().filter_map(|pid| namespace(*pid)).collect();
    let is_inside = |pid: &&u32| namespace(**pid).is_some_and(|it| namespaces.contains(&it));
    let inside: Vec<u32> = parents.keys().filter(is_inside).copied().collect();
    found.extend(inside);
    found
}

/// The process namespace of a process, if it still runs and is ours to look at.
fn namespace(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// All processes there are, each with its parent.
fn parents() -> Result<BTreeMap<u32, u32>, MemoryError> {
    let error = |source| MemoryError::Read { path: "/proc".into(), source };
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").map_err(error)? {
        let name = entry.map_err(error)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Processes come and go while we look.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let parent = fields.split_ascii_whitespace().nth(1).and_then(|field| field.parse().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    Ok(parents)
}

/// What a process calls itself.
fn program(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let path = String::from_utf8_lossy(words.split(|byte| *byte == 0).next().unwrap_or_default());
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The memory of one process, in bytes.
struct Rollup {
    /// Its proportional set size.
    shared_out: u64,
    /// What no other process has.
    private: u64,
}

impl Rollup {
    /// That of a process; none if it has ended.
    fn of(pid: u32) -> Result<Option<Self>, MemoryError> {
        let path = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Self::of_text(&text))),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(libc::ESRCH) =>
            {
                Ok(None)
            }
            Err(source) => Err(MemoryError::Read { path, source }),
        }
    }

    fn of_text(text: &str) -> Self {
        let kilobytes = |key: &str| {
            let mut lines =
                text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            let number = lines.next().and_then(|rest| rest.split_ascii_whitespace().next());
            number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        let private = kilobytes("Private_Clean") + kilobytes("Private_Dirty");
        Self { shared_out: kilobytes("Pss") * 1024, private: private * 1024 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let text = "5580 - 7ffc [rollup]\nRss: 12 kB\nPss: 5 kB\nPss_Dirty: 4 kB\n\
                    Private_Clean: 1 kB\nPrivate_Dirty: 3 kB\n";
        let rollup = Rollup::of_text(text);
        assert_eq!((rollup.shared_out, rollup.private), (5 * 1024, 4 * 1024));
    }

    #[test]
    fn this_process_is_under_its_parent() {
        let parent = std::os::unix::process::parent_id();
        let parents = parents().unwrap();
        assert!(below([parent].into(), &parents).contains(&std::process::id()));
    }
}
