//! What the user who asks may do: make user namespaces, map ids, limit nodes.

use std::fs;

use super::{Finding, State};
use crate::failure::Failure;
use crate::linux::cgroup::{Cgroups, Layout};
use crate::linux::features::{Answers, AskError};
use crate::linux::idmap::IdMap;
use crate::linux::program::Program;

/// Settings that forbid user namespaces, the value that forbids, and the one that does not.
const FORBIDDING: [(&str, &str, &str); 3] = [
    ("user.max_user_namespaces", "0", "10000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
];

/// Whether a user namespace could be made, and which settings speak against it.
pub(super) fn user_namespaces(asked: &Result<Answers, AskError>) -> Vec<Finding> {
    let name = "user namespaces";
    let first = match asked {
        Ok(_) => {
            let most = setting("user.max_user_namespaces");
            Finding::present(name, format!("at most {} of a user", most.as_deref().unwrap_or("?")))
        }
        Err(error) => {
            let finding = Finding::of(name, State::Missing, Failure::of(error).to_string());
            Finding { hint: error.hint(), ..finding }
        }
    };
    let settings = FORBIDDING.iter().filter_map(|(key, forbids, allows)| {
        forbidding(key, setting(key).as_deref()?, forbids, allows, is_root())
    });
    std::iter::once(first).chain(settings).collect()
}

fn forbidding(
    key: &str,
    value: &str,
    forbids: &str,
    allows: &str,
    is_root: bool,
) -> Option<Finding> {
    // Only the first setting binds root too.
    let binds = value == forbids && (!is_root || key.starts_with("user."));
    binds.then(|| {
        let state = if key.contains("apparmor") { State::Warning } else { State::Missing };
        let hint = format!("as root: `sysctl -w {key}={allows}`, or a line in /etc/sysctl.d");
        Finding::of(key, state, format!("{value}: restricts user namespaces")).hint(hint)
    })
}

/// A setting of the kernel, by its name in sysctl(8).
fn setting(key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/")));
    text.ok().map(|text| text.trim().to_owned())
}

/// Which ids the labs of this user have.
pub(super) fn ids() -> Finding {
    let name = "ids of labs";
    match IdMap::of_caller() {
        Ok(map) if map.is_single() => single(name),
        Ok(map) => Finding::present(name, format!("{} (uid map {})", map.count(), map.uid_map())),
        Err(error) => {
            let finding = Finding::of(name, State::Missing, Failure::of(&error).to_string());
            Finding { hint: error.hint(), ..finding }
        }
    }
}

fn single(name: &str) -> Finding {
    let fallback = "a single id: whatever runs in a node runs as root of the node".to_owned();
    let finding = |detail: &str| Finding::of(name, State::Fallback(fallback.clone()), detail);
    match ["newuidmap", "newgidmap"].into_iter().find(|program| !Program::is_there(program)) {
        Some(program) => finding(&format!("there is no {program}")).hint("apt install uidmap"),
        None => finding("/etc/subuid or /etc/subgid has no line for this user").hint(
            "as root: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`, with \
             a range that no other user has",
        ),
    }
}

/// Which limits of nodes are kept.
pub(super) fn cgroups() -> Vec<Finding> {
    let cgroups = Cgroups::of_host();
    let layout = match cgroups.layout() {
        Layout::None => "no cgroups",
        Layout::One => "cgroups of version 1",
        Layout::Two => "cgroups of version 2",
        Layout::Hybrid => "cgroups of both versions",
    };
    let limit = |(controller, possible): (_, Result<&std::path::Path, &str>)| {
        let name = format!("{controller} limits");
        match possible {
            Ok(place) => Finding::present(name, format!("{layout}, {}", place.display())),
            Err(why) => {
                let finding = Finding::of(name, State::Warning, format!("{layout}: {why}"));
                let hint = delegation(cgroups.layout());
                Finding { hint: hint.map(str::to_owned), ..finding }
            }
        }
    };
    cgroups.possible().map(limit).collect()
}

/// How a user comes to cgroups of their own.
fn delegation(layout: Layout) -> Option<&'static str> {
    match layout {
        Layout::Two if !is_root() => Some(
            "start it with `systemd-run --user --scope --quiet`; controllers that are still missing \
             are named by Delegate= of user@.service (systemd.resource-control(5))",
        ),
        Layout::One | Layout::Hybrid if !is_root() => Some(
            "only root can make cgroups of version 1: start the system with version 2 \
             (systemd.unified_cgroup_hierarchy=1), or run as root",
        ),
        _ => None,
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_forbids_is_found_and_root_is_bound_by_the_first_only() {
        let found = |row: usize, value: &str, is_root| {
            let (key, forbids, allows) = FORBIDDING[row];
            forbidding(key, value, forbids, allows, is_root).map(|it| it.state)
        };
        assert_eq!(found(0, "0", true), Some(State::Missing));
        assert_eq!(found(0, "96365", false), None);
        assert_eq!(found(1, "0", false), Some(State::Missing));
        assert_eq!(found(1, "0", true), None);
        assert_eq!(found(2, "1", false), Some(State::Warning));
        assert_eq!(found(2, "0", false), None);
    }
}
