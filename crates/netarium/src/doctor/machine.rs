//! The programs, the disk and the limits of the system.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::{Finding, State};
use crate::linux::program::{Program, ProgramError};

/// How much of the disk an image and its building take.
const ENOUGH: u64 = 2 << 30;

/// How many neighbours are enough: 128 nodes of a segment, each of which talks to all others.
const ENOUGH_NEIGHBOURS: u32 = 16_384;

/// Whether the device file of TUN devices can be opened by this user.
pub(super) fn tun() -> Finding {
    let path = "/dev/net/tun";
    match File::options().read(true).write(true).open(path) {
        Ok(_) => Finding::present(path, "can be opened"),
        Err(error) => Finding::of(path, State::Warning, format!("cannot be opened: {error}"))
            .hint("as root: `modprobe tun`, then `chmod 0666 /dev/net/tun`"),
    }
}

/// The programs of others that we start.
pub(super) fn programs() -> [Finding; 3] {
    [
        program("mmdebstrap", State::Missing, "builds images"),
        program("nft", State::Warning, "firewalls and translation of addresses in nodes"),
        program("pasta", State::Warning, "the way out to the Internet (uplink)"),
    ]
}

fn program(name: &str, without: State, purpose: &str) -> Finding {
    if Program::is_there(name) {
        return Finding::present(name, purpose);
    }
    let missing = ProgramError::Missing { name: name.to_owned() };
    let hint = missing.hint();
    Finding { hint, ..Finding::of(name, without, format!("{purpose}: {missing}")) }
}

/// What is free where images and labs lie, or will lie.
pub(super) fn disk(data: &Path) -> Finding {
    let name = "disk space";
    let there = data.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    let found = match rustix::fs::statvfs(there) {
        Ok(found) => found,
        Err(error) => {
            let detail = format!("cannot examine {}: {error}", there.display());
            return Finding::of(name, State::Warning, detail);
        }
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let detail = format!("{} MB free at {}", free / 1_000_000, data.display());
    if free >= ENOUGH {
        return Finding::present(name, detail);
    }
    let hint = "an image and its building take about 2 GB; NETARIUM_DATA names another folder";
    Finding::of(name, State::Warning, detail).hint(hint)
}

/// Limits of the system that large labs may meet: information only.
pub(super) fn limits() -> [Finding; 3] {
    let read = |path: &str| {
        let text = fs::read_to_string(format!("/proc/sys/{path}"));
        text.map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())
    };
    let most = |resource| {
        let limit = getrlimit(resource).current;
        limit.map_or_else(|| "any number".to_owned(), |limit| limit.to_string())
    };
    let processes = format!(
        "at most {} of this user, {} of the machine",
        most(Resource::Nproc),
        read("kernel/pid_max")
    );
    let inotify = format!(
        "at most {} instances and {} watches of a user",
        read("fs/inotify/max_user_instances"),
        read("fs/inotify/max_user_watches")
    );
    [
        Finding::present("processes", processes),
        Finding::present("open files", format!("at most {} of a process", most(Resource::Nofile))),
        Finding::present("inotify", inotify),
    ]
}

/// How many neighbours all namespaces together may know (arp(7)); of those above, packets are lost.
/// Nothing where only the first namespaces of the machine are told.
pub(super) fn neighbours() -> Option<Finding> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3").ok()?;
    Some(judge_neighbours(text.trim().parse().ok()?))
}

fn judge_neighbours(most: u32) -> Finding {
    let detail = format!("at most {most}, of all labs together");
    if most >= ENOUGH_NEIGHBOURS {
        return Finding::present("neighbours", detail);
    }
    // On a segment each of its nodes may know all others.
    let nodes = f64::from(most).sqrt().floor();
    let lost =
        format!("{detail}: packets are lost where more than {nodes} nodes of a segment all talk");
    Finding::of("neighbours", State::Warning, lost).hint(format!(
        "as root: sysctl net.ipv4.neigh.default.gc_thresh3={ENOUGH_NEIGHBOURS} \
         net.ipv6.neigh.default.gc_thresh3={ENOUGH_NEIGHBOURS}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_folder_that_is_not_there_yet_is_examined() {
        let finding = disk(Path::new("/not/there/yet"));
        assert!(finding.detail.ends_with(" MB free at /not/there/yet"), "{finding:?}");
    }

    #[test]
    fn a_table_of_neighbours_that_a_lab_could_overflow_is_warned_of() {
        let finding = judge_neighbours(1024);
        assert_eq!(finding.state, State::Warning);
        assert!(
            finding.detail.ends_with("more than 32 nodes of a segment all talk"),
            "{finding:?}"
        );
        assert_eq!(judge_neighbours(ENOUGH_NEIGHBOURS).state, State::Present);
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let finding = program("not-there", State::Warning, "does nothing");
        assert_eq!(finding.state, State::Warning);
        assert_eq!(finding.hint.as_deref(), Some("apt install not-there"));
    }
}
