//! `volumes` and `tmpfs` of a service: folders and files of the host, folders that the lab keeps, and
//! folders in memory.

use super::reader::{self, Keys};
use crate::model::{Access, Volume, VolumeSource};
use crate::problem::{Place, Placed, Problem, Problems};
use crate::spec::Word;
use crate::spec::decode::{list, word};
use crate::spec::tree::{Tree, Value};

/// The permission bits of a folder in memory, as Docker has them: those of `/tmp`.
const MEMORY_MODE: u32 = 0o1777;

/// Something that is shown to a service.
#[derive(Clone, Debug)]
pub(super) enum Mount {
    /// A file or folder of the host, or a name.
    Shown {
        /// A path as it is written, or a name.
        source: Word,
        /// Where, in the node.
        target: Word,
        /// Whether it may be changed.
        access: Access,
    },
    /// A folder in memory.
    Memory(Volume, Place),
}

/// Reads the volumes of a service.
pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Vec<Mount> {
    let items = list("volumes", tree, problems).iter();
    items.filter_map(|item| read_one(item, problems)).collect()
}

/// Reads the folders in memory of a service.
pub(super) fn read_memory(tree: &Tree, problems: &mut Problems) -> Vec<Mount> {
    let items = list("tmpfs", tree, problems).iter();
    items.filter_map(|item| memory(&word("tmpfs", item, problems)?, problems)).collect()
}

fn read_one(tree: &Tree, problems: &mut Problems) -> Option<Mount> {
    match &tree.value {
        Value::Table(_) => long(tree, problems),
        _ => short(&word("volume", tree, problems)?, problems),
    }
}

/// `SOURCE:TARGET[:OPTIONS]`. A target alone is a folder of the node's own, which it is anyway.
fn short(word: &Word, problems: &mut Problems) -> Option<Mount> {
    let placed = |value: &str| Placed { value: value.to_owned(), place: word.place };
    let parts: Vec<&str> = word.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [_] => return None,
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, *options),
        _ => {
            let problem = Problem::new(format!("{} has too many colons", word.value));
            problems.add(problem.at(word.place).hint("write source:target or source:target:ro"));
            return None;
        }
    };
    let mut access = Access::Writable;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => access = Access::ReadOnly,
            // Labels of SELinux and caches of other systems mean nothing here.
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" | "nocopy" => {}
            _ => {
                let message = format!("the option {option} of a volume is not supported");
                problems.unsupported(reader::left_out(message, word.place, "there are ro and rw"));
            }
        }
    }
    Some(Mount::Shown { source: placed(source), target: placed(target), access })
}

fn long(tree: &Tree, problems: &mut Problems) -> Option<Mount> {
    let mut keys = Keys::open("a volume", tree, problems)?;
    let kind = keys.word("type", problems);
    let source = keys.word("source", problems);
    let target = keys.word("target", problems);
    let read_only = keys.is_true("read_only", problems);
    let in_memory = keys.take("tmpfs");
    for key in ["bind", "volume"] {
        let Some(tree) = keys.take(key) else { continue };
        options(key, tree, problems);
    }
    keys.pass(&["consistency"]);
    let place = keys.place();
    keys.close(problems);
    let Some(target) = target else {
        problems.at(place, "a volume has no target");
        return None;
    };
    let access = if read_only { Access::ReadOnly } else { Access::Writable };
    match kind.as_ref().map_or("volume", |kind| kind.value.as_str()) {
        "bind" if source.is_none() => {
            problems.at(place, "a volume of type bind has no source");
            None
        }
        "bind" => {
            let mut source = source?;
            // A word without a slash is a path here, and would be a name elsewhere.
            if !source.contains(['/', '.', '~']) {
                source.value = format!("./{}", source.value);
            }
            Some(Mount::Shown { source, target, access })
        }
        "volume" => Some(Mount::Shown { source: source?, target, access }),
        "tmpfs" => {
            let (size, mode) = match in_memory {
                Some(tree) => memory_options(tree, problems),
                None => (None, None),
            };
            let source = VolumeSource::Memory { size, mode: mode.unwrap_or(MEMORY_MODE) };
            let place = target.place;
            Some(Mount::Memory(Volume { source, target: target.value, access }, place))
        }
        other => {
            let place = kind.as_ref().map_or(place, |kind| kind.place);
            let message = format!("volumes of type {other} are not supported");
            problems.unsupported(reader::left_out(message, place, "there are bind, volume, tmpfs"));
            None
        }
    }
}

/// How a folder or a name is shown.
fn options(key: &'static str, tree: &Tree, problems: &mut Problems) {
    let Some(mut keys) = Keys::open("a volume", tree, problems) else { return };
    let hints: &[(&'static str, &str)] = match key {
        "bind" => &[("propagation", "mounts inside are not passed on")],
        _ => &[("subpath", "show the folder itself")],
    };
    keys.refuse(hints, problems);
    keys.pass(&["create_host_path", "selinux", "nocopy", "recursive", "labels"]);
    keys.close(problems);
}

fn memory_options(tree: &Tree, problems: &mut Problems) -> (Option<u64>, Option<u32>) {
    let Some(mut keys) = Keys::open("tmpfs", tree, problems) else { return (None, None) };
    let size = keys.word("size", problems);
    let mode = keys.word("mode", problems);
    keys.close(problems);
    let size = size.and_then(|word| reader::bytes("size", &word, problems));
    let mode = mode.and_then(|word| octal(&word, problems));
    (size, mode)
}

/// `TARGET[:OPTIONS]`, options as mount(8) has them.
fn memory(word: &Word, problems: &mut Problems) -> Option<Mount> {
    let (target, options) = word.split_once(':').unwrap_or((word, ""));
    let (mut size, mut mode, mut access) = (None, MEMORY_MODE, Access::Writable);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = Placed { value: value.to_owned(), place: word.place };
        match name {
            "size" => size = Some(reader::bytes("size", &value, problems)?),
            "mode" => mode = octal(&value, problems)?,
            "ro" => access = Access::ReadOnly,
            // A folder in memory has no devices and no other rights in a node in any case.
            "rw" | "noexec" | "exec" | "nosuid" | "nodev" | "suid" | "dev" => {}
            _ => {
                let message = format!("the option {option} of tmpfs is not supported");
                let hint = "there are size, mode and ro";
                problems.unsupported(reader::left_out(message, word.place, hint));
            }
        }
    }
    let source = VolumeSource::Memory { size, mode };
    let target = target.to_owned();
    Some(Mount::Memory(Volume { source, target, access }, word.place))
}

fn octal(word: &Word, problems: &mut Problems) -> Option<u32> {
    let digits = word.strip_prefix("0o").unwrap_or(word);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
    if mode.is_none() {
        problems.at(word.place, format!("{} is no mode", word.value));
    }
    mode
}

/// Where a volume is, by which those of several files are one.
pub(super) fn target_of(tree: &Tree) -> Option<String> {
    match &tree.value {
        Value::Table(entries) => {
            let (_, target) = entries.iter().find(|(key, _)| key.value == "target")?;
            if let Value::Scalar(text) = &target.value { Some(text.clone()) } else { None }
        }
        Value::Scalar(text) => {
            let mut parts = text.split(':');
            let first = parts.next()?;
            Some(parts.next().unwrap_or(first).to_owned())
        }
        _ => None,
    }
}
