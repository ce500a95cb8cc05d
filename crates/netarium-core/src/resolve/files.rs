//! Files and volumes of a node.
//!
//! What they name on the disk was looked for by whoever read the lab file; a lab file may come from
//! anywhere, so nothing that it takes a copy of lies outside of its folder.

use std::collections::BTreeMap;

use super::{names, nodes};
use crate::control;
use crate::model::{Access, Content, File, Volume, VolumeSource};
use crate::problem::{Place, Placed, Problem, Problems};
use crate::source::{Entry, Source, Sources, Wanted};
use crate::spec::{self, Spec, Word};
use crate::user::User;

/// The permission bits of a file that is written in the lab file.
const FILE_MODE: u32 = 0o644;

/// The permission bits of a folder in memory: those of `/tmp`.
const MEMORY_MODE: u32 = 0o1777;

/// The longest path (`PATH_MAX`, limits.h).
const LONGEST_PATH: usize = 4095;

/// What belongs to the kernel in every node.
const KERNELS: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What is ours in every node.
const OURS: [&str; 2] = [control::PROBE_PATH, control::LOGS_PATH];

/// What the nodes of a lab name on the disk.
pub(super) fn wanted(spec: &Spec) -> Wanted {
    let mut wanted = Wanted::default();
    for node in spec.nodes.iter().filter_map(|(_, node)| node.as_ref()) {
        let from = node.files.iter().filter_map(|(_, file)| file.as_ref()?.from.as_ref());
        let from = from.filter(|word| fault_below(word).is_none());
        wanted.files.extend(from.map(|word| word.value.clone()));
        let folders = node.volumes.iter().filter_map(|volume| volume.source.as_ref());
        let folders = folders.filter(|word| is_path(word) && fault_of_folder(word).is_none());
        let shown = match node.given {
            Some(_) => &mut wanted.either,
            None => &mut wanted.folders,
        };
        shown.extend(folders.map(|word| word.value.clone()));
    }
    wanted
}

/// Of what a Compose file shows to a node, files are copied and folders shown.
pub(super) fn part(spec: &mut Spec, sources: &Sources) {
    let nodes = spec.nodes.iter_mut().filter_map(|(_, node)| node.as_mut());
    for node in nodes.filter(|node| node.given.is_some()) {
        let is_file = |volume: &spec::Volume| {
            let source = volume.source.as_ref().filter(|source| is_path(source));
            source.is_some_and(|source| sources.files.contains_key(&source.value))
        };
        let (files, folders) = std::mem::take(&mut node.volumes).into_iter().partition(is_file);
        node.volumes = folders;
        node.files.extend(files.into_iter().map(|volume: spec::Volume| {
            let file = spec::File { text: None, from: volume.source, mode: None, owner: None };
            (volume.target, Some(file))
        }));
    }
}

/// Folders in memory, with those that are shown: in the order of their targets.
pub(super) fn with_memory(
    mut volumes: Vec<Volume>,
    memory: &[Placed<Volume>],
    problems: &mut Problems,
) -> Vec<Volume> {
    for volume in memory {
        let word = Placed { value: volume.target.clone(), place: volume.place };
        let Some(target) = target(&word, problems) else { continue };
        if volumes.iter().any(|other| other.target == target) {
            problems.at(volume.place, format!("two volumes are at {target}"));
        }
        volumes.push(Volume { target, ..volume.value.clone() });
    }
    volumes.sort_by(|one, other| one.target.cmp(&other.target));
    volumes
}

/// The files of a node by their paths in it, those in folders one by one.
pub(super) fn files(
    written: &spec::Named<spec::File>,
    volumes: &[Volume],
    sources: &Sources,
    problems: &mut Problems,
) -> BTreeMap<String, File> {
    let mut files: BTreeMap<String, (Place, File)> = BTreeMap::new();
    for (path, file) in written {
        let Some(target) = target(path, problems) else { continue };
        let inside = volumes.iter().find(|it| is_in(&target, &it.target));
        if let Some(volume) = inside {
            let message = format!("{target} lies in the volume at {}", volume.target);
            problems.add(Problem::new(message).at(path.place).hint("put the file into the volume"));
        }
        let Some(file) = file else { continue };
        for (target, made) in resolve(&target, file, sources, problems) {
            let other = files.get(&target).filter(|(_, other)| {
                // A folder that is named twice is one folder.
                other.content != Content::Folder || made.content != Content::Folder
            });
            if let Some((place, _)) = other {
                let problem = Problem::new(format!("the file {target} is there twice"));
                problems.add(problem.at(path.place).note(*place, "the first is here"));
            }
            files.insert(target, (path.place, made));
        }
    }
    files.into_iter().map(|(path, (_, file))| (path, file)).collect()
}

/// One entry of `files`: a file, or a folder with all that is in it.
fn resolve(
    target: &str,
    written: &spec::File,
    sources: &Sources,
    problems: &mut Problems,
) -> Vec<(String, File)> {
    let mode = written.mode.as_ref().and_then(|word| permissions(word, problems));
    let owner = written.owner.as_ref().and_then(|word| user("owner", word, problems));
    if let Some(text) = &written.text {
        let content = Content::from(text.value.clone());
        return vec![(target.to_owned(), File { content, mode: mode.unwrap_or(FILE_MODE), owner })];
    }
    let Some(from) = &written.from else { return vec![] };
    if let Some(fault) = fault_below(from) {
        let problem = Problem::new(format!("{} {fault}", from.value)).at(from.place);
        problems.add(problem.hint("files come from the folder of the lab file, ./path"));
        return vec![];
    }
    let found = |mode_found: u32, content: Content| File {
        content,
        mode: mode.unwrap_or(mode_found),
        owner: owner.clone(),
    };
    match sources.files.get(&from.value) {
        Some(Source::File(it)) => {
            vec![(target.to_owned(), found(it.mode, Content::Stored(it.content.clone())))]
        }
        Some(Source::Folder { mode, entries }) => {
            // A mode that is written is meant for files.
            let folder = |mode| File { content: Content::Folder, mode, owner: owner.clone() };
            let mut files = vec![(target.to_owned(), folder(*mode))];
            files.extend(entries.iter().map(|(path, entry)| {
                let file = match entry {
                    Entry::File(it) => found(it.mode, Content::Stored(it.content.clone())),
                    Entry::Folder(mode) => folder(*mode),
                };
                (format!("{}/{path}", target.trim_end_matches('/')), file)
            }));
            files
        }
        Some(Source::Refused(why)) => {
            problems.at(from.place, format!("cannot read {}: {why}", from.value));
            vec![]
        }
        None => {
            problems.at(from.place, format!("{} was not looked for", from.value));
            vec![]
        }
    }
}

/// The volumes of a node, in the order of their targets.
pub(super) fn volumes(
    written: &[spec::Volume],
    sources: &Sources,
    problems: &mut Problems,
) -> Vec<Volume> {
    let mut volumes: BTreeMap<String, (Place, Volume)> = BTreeMap::new();
    for volume in written {
        let source = match (&volume.source, &volume.memory) {
            (Some(word), _) => source(word, sources, problems),
            (None, Some(word)) => memory(word, problems),
            (None, None) => None,
        };
        let target = target(&volume.target, problems);
        let (Some(source), Some(target)) = (source, target) else { continue };
        if let Some(ours) = OURS.iter().find(|ours| is_in(ours, &target)) {
            problems.at(volume.target.place, format!("a volume at {target} would hide {ours}"));
        }
        if let Some((place, _)) = volumes.get(&target) {
            let problem = Problem::new(format!("two volumes are at {target}"));
            problems.add(problem.at(volume.target.place).note(*place, "the first is here"));
        }
        let is_own = !matches!(source, VolumeSource::Host { .. });
        let writes = volume.write.as_ref().map_or(is_own, |write| write.value);
        let access = if writes { Access::Writable } else { Access::ReadOnly };
        let made = Volume { source, target: target.clone(), access };
        volumes.insert(target, (volume.target.place, made));
    }
    volumes.into_values().map(|(_, volume)| volume).collect()
}

fn memory(word: &Word, problems: &mut Problems) -> Option<VolumeSource> {
    let size = Some(nodes::memory(word, problems)?);
    Some(VolumeSource::Memory { size, mode: MEMORY_MODE })
}

fn source(word: &Word, sources: &Sources, problems: &mut Problems) -> Option<VolumeSource> {
    if !is_path(word) {
        return names::part("volume", word, problems).map(VolumeSource::Named);
    }
    if let Some(fault) = fault_of_folder(word) {
        let problem = Problem::new(format!("{} {fault}", word.value)).at(word.place);
        let hint = "write a name, ./path for a folder beside the lab file, or an absolute path";
        problems.add(problem.hint(hint));
        return None;
    }
    match sources.folders.get(&word.value) {
        Some(None) => {}
        Some(Some(why)) => problems.at(word.place, format!("cannot use {}: {why}", word.value)),
        None => problems.at(word.place, format!("{} was not looked for", word.value)),
    }
    let beneath = (!word.starts_with('/')).then(|| sources.folder.clone());
    Some(VolumeSource::Host { beneath, path: word.value.clone() })
}

/// Whether it is a path of the host and not a name.
fn is_path(word: &str) -> bool {
    word.contains(['/', '.', '~'])
}

/// What is wrong with a path that is to be below the lab's folder.
pub(super) fn fault_below(word: &str) -> Option<&'static str> {
    if word.starts_with('/') {
        return Some("is absolute");
    }
    fault_of_path(word)
}

/// What is wrong with the path of a folder that is shown.
fn fault_of_folder(word: &str) -> Option<&'static str> {
    if word.starts_with('~') {
        return Some("begins with ~, which only shells know");
    }
    fault_of_path(word)
}

fn fault_of_path(word: &str) -> Option<&'static str> {
    if word.is_empty() {
        Some("is no path")
    } else if word.split('/').any(|part| part == "..") {
        Some("leads out of its folder")
    } else if word.contains('\0') || word.len() > LONGEST_PATH {
        Some("is no path that a file can have")
    } else {
        None
    }
}

/// A path in the node, without what means nothing in it.
fn target(word: &Word, problems: &mut Problems) -> Option<String> {
    let parts: Vec<&str> =
        word.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let path = format!("/{}", parts.join("/"));
    let fault = if !word.starts_with('/') {
        Some("is no absolute path")
    } else if path == "/" {
        Some("is the root of the node")
    } else if let Some(fault) = fault_of_path(word) {
        Some(fault)
    } else if KERNELS.iter().any(|kernels| is_in(&path, kernels)) {
        Some("belongs to the kernel")
    } else if OURS.iter().any(|ours| is_in(&path, ours)) {
        Some("is there in every node")
    } else {
        None
    };
    match fault {
        None => Some(path),
        Some(fault) => {
            let problem = Problem::new(format!("{} {fault}", word.value)).at(word.place);
            problems.add(problem.hint("write a path in the node, /etc/app.conf for example"));
            None
        }
    }
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn permissions(word: &Word, problems: &mut Problems) -> Option<u32> {
    let digits = word.strip_prefix("0o").or_else(|| word.strip_prefix('0')).unwrap_or(word);
    let is_octal = digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal);
    if mode.is_none() {
        let problem = Problem::new(format!("{} is no mode", word.value)).at(word.place);
        problems.add(problem.hint("write three octal digits: 0640 lets the group read"));
    }
    mode
}

/// A user of a node; whether the node has it shows when it runs.
pub(super) fn user(key: &str, word: &Word, problems: &mut Problems) -> Option<User> {
    let user = User::parse(word);
    if user.is_none() {
        let problem = Problem::new(format!("{key} {:?} is no user", word.value)).at(word.place);
        problems.add(problem.hint("write user or user:group, by name or number"));
    }
    user
}
