//! What a lab leaves on a machine: its processes, mounts, control groups and files.
//!
//! What belongs to a lab is noted while it is up, since afterwards nobody could tell. Namespaces
//! last as long as a process is in them or a mount holds them: where neither is left, nor are they.
//! (Their own numbers tell nothing: the kernel gives them out again at once.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use netarium::folder::DataFolder;

/// What belongs to a lab, as far as it was seen.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// When each process started, in clock ticks, since numbers come again.
    processes: BTreeMap<u32, u64>,
}

/// One line of `/proc/<pid>/stat` (proc_pid_stat(5)).
struct Stat {
    parent: u32,
    started: u64,
}

impl Traces {
    /// Notes the keeper and everything that descends from it.
    pub(crate) fn note(&mut self, keeper: u32) {
        let all = processes();
        let mut family = BTreeSet::from([keeper]);
        while all.iter().any(|(pid, it)| family.contains(&it.parent) && family.insert(*pid)) {}
        for pid in family {
            let Some(stat) = all.get(&pid) else { continue };
            self.processes.insert(pid, stat.started);
        }
    }

    /// How many processes were noted.
    pub(crate) fn processes(&self) -> usize {
        self.processes.len()
    }

    /// All that is still there, in words.
    pub(crate) fn left(&self, data: &DataFolder, lab: &str) -> Vec<String> {
        let folder = data.labs().join(lab);
        let mut left = Vec::new();
        for (pid, stat) in processes() {
            let is_noted = self.processes.get(&pid) == Some(&stat.started);
            if is_noted || bears_mark(pid, &folder) {
                left.push(format!("process {pid}: {}", command_line(pid)));
            } else if has_mount(pid, &folder) {
                left.push(format!("a mount seen by process {pid}: {}", command_line(pid)));
            }
        }
        let lock = data.labs().join(format!(".{lab}.lock"));
        for path in [&folder, &lock].into_iter().filter(|path| path.exists()) {
            left.push(path.display().to_string());
        }
        left.extend(control_groups(lab).iter().map(|path| path.display().to_string()));
        left
    }
}

/// The stages that descend from a process, with when they started.
pub(crate) fn stages_of(ancestor: u32) -> BTreeMap<u32, u64> {
    let all = processes();
    let mut family = BTreeSet::from([ancestor]);
    while all.iter().any(|(pid, it)| family.contains(&it.parent) && family.insert(*pid)) {}
    let stages = all.iter().filter(|(pid, _)| {
        family.contains(*pid) && command_line(**pid).starts_with("netarium-stage-")
    });
    stages.map(|(pid, it)| (*pid, it.started)).collect()
}

/// Those of these processes that are stages still. Some become the keeper or a node's first process.
pub(crate) fn still_stages(some: &BTreeMap<u32, u64>) -> Vec<String> {
    let is_same = |pid: u32, started: u64| stat(pid).is_some_and(|it| it.started == started);
    let alive = some.iter().filter(|(pid, started)| is_same(**pid, **started));
    let alive = alive.map(|(pid, _)| format!("{pid}: {}", command_line(*pid)));
    alive.filter(|it| it.contains(": netarium-stage-")).collect()
}

/// All processes that have not ended. A zombie has: it only waits to be asked for its status.
fn processes() -> BTreeMap<u32, Stat> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| stat(pid).map(|stat| (pid, stat))).collect()
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let has_ended = matches!(*fields.first()?, "Z" | "X");
    let (parent, started) = (fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?);
    (!has_ended).then_some(Stat { parent, started })
}

/// Whether one of its arguments is the folder of the lab, or a path in it.
fn bears_mark(pid: u32, folder: &Path) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words
        .split(|byte| *byte == 0)
        .any(|word| std::str::from_utf8(word).is_ok_and(|word| Path::new(word).starts_with(folder)))
}

fn has_mount(pid: u32, folder: &Path) -> bool {
    let folder = format!("{}/", folder.display());
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|text| text.contains(&folder))
}

fn command_line(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}

/// Control groups named after the lab, in every hierarchy.
fn control_groups(lab: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let tops = fields.filter(|fields| fields.get(2).is_some_and(|kind| kind.starts_with("cgroup")));
    let mut found = Vec::new();
    tops.for_each(|fields| find(Path::new(fields[1]), lab, &mut found));
    found
}

fn find(folder: &Path, lab: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if path.ends_with(Path::new("netarium").join(lab)) {
            found.push(path);
        } else {
            find(&path, lab, found);
        }
    }
}
