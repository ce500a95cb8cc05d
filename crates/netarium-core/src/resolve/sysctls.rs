//! Kernel settings of a node.

use std::collections::BTreeMap;

use crate::model::Interface;
use crate::problem::{Placed, Problem, Problems, suggestion};
use crate::spec::Word;

/// Folders below `net` whose next part is the name of an interface.
const BY_INTERFACE: [&str; 4] =
    ["net/ipv4/conf/", "net/ipv6/conf/", "net/ipv4/neigh/", "net/ipv6/neigh/"];

/// Settings that `forward` makes.
const FORWARDING: [&str; 3] =
    ["net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding", "net/ipv6/conf/all/forwarding"];

/// The settings by path below `/proc/sys`.
pub(super) fn resolve(
    written: &[(Word, Word)],
    interfaces: &[Interface],
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (key, value) in written {
        let Some(path) = path(key, interfaces, problems) else { continue };
        if settings.insert(path, text(value, problems)).is_some() {
            problems.at(key.place, format!("{} is there twice", key.value));
        }
    }
    settings
}

/// What is written there: `true` and `false` are 1 and 0.
fn text(value: &Word, problems: &mut Problems) -> String {
    if value.is_empty() || value.contains(char::is_control) {
        problems.at(value.place, "the value of a sysctl is one line of text");
    }
    match value.value.as_str() {
        "true" => "1".to_owned(),
        "false" => "0".to_owned(),
        text => text.to_owned(),
    }
}

fn path(key: &Word, interfaces: &[Interface], problems: &mut Problems) -> Option<String> {
    let path = slashes(key, interfaces);
    let wrong = |part: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        part.is_empty() || matches!(part, "." | "..") || !part.bytes().all(letters)
    };
    let problem = if !path.starts_with("net/") {
        Problem::new(format!("{} is not a setting of a network namespace", key.value))
            .hint("it begins with net.")
    } else if path.split('/').any(wrong) {
        Problem::new(format!("{} is no sysctl", key.value)).hint("write net.ipv4.tcp_ecn")
    } else if FORWARDING.contains(&path.as_str()) {
        Problem::new(format!("{} is what forward is for", key.value)).hint("write forward: true")
    } else {
        return known_interface(key, &path, interfaces, problems).then_some(path);
    };
    problems.add(problem.at(key.place));
    None
}

/// The key as a path. As in sysctl(8), the first separator tells which one it is, so that an
/// interface with a dot in its name can be written `net/ipv4/conf/wan.10/rp_filter`; in the form
/// with dots the node's own interfaces are known too.
fn slashes(key: &str, interfaces: &[Interface]) -> String {
    if key.find('/').is_some_and(|slash| key.find('.').is_none_or(|dot| slash < dot)) {
        return key.to_owned();
    }
    let prefix = key.match_indices('.').nth(2).map_or("", |(dot, _)| &key[..=dot]);
    let folder = prefix.replace('.', "/");
    if BY_INTERFACE.contains(&folder.as_str()) {
        let rest = &key[prefix.len()..];
        let mut names: Vec<&str> = interfaces.iter().map(|it| it.name.as_str()).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in names {
            if let Some(setting) = rest.strip_prefix(name).and_then(|it| it.strip_prefix('.')) {
                return format!("{folder}{name}/{}", setting.replace('.', "/"));
            }
        }
    }
    key.replace('.', "/")
}

fn known_interface(
    key: &Word,
    path: &str,
    interfaces: &[Interface],
    problems: &mut Problems,
) -> bool {
    let rest = BY_INTERFACE.iter().find_map(|folder| path.strip_prefix(folder));
    let Some((name, _)) = rest.and_then(|rest| rest.split_once('/')) else { return true };
    let own = interfaces.iter().map(|interface| interface.name.as_str());
    let known: Vec<&str> = own.chain(["all", "default", "lo"]).collect();
    if known.contains(&name) {
        return true;
    }
    let word = Placed { value: name.to_owned(), place: key.place };
    let mut problem = Problem::new(format!("the node has no interface {name}")).at(key.place);
    problem.hint = suggestion(&word, known);
    problems.add(problem);
    false
}
