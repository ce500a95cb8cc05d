//! Which ids of the host are the users and groups of a lab, and how the kernel is told.
//!
//! There is one mapping for each owner, so that all labs of an owner can share image folders. This
//! file chooses ids and writes them; it makes no namespace.
//!
//! Sources: user_namespaces(7), subuid(5), subgid(5), newuidmap(1).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

use crate::linux::program::{Program, ProgramError};

/// The ids of root's labs where `/etc/subuid` names none: far above those of people, services and
/// the first ranges that adduser(8) gives out.
const ROOT_RANGE: Range = Range { start: 0x7000_0000, count: 0x1_0000 };

/// How the ids inside an owner's namespaces appear on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdMap {
    uids: Ids,
    gids: Ids,
    way: Way,
}

/// A run of ids of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u32,
    count: u32,
}

/// The ids that are 0, 1, … inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ids {
    zero: u32,
    /// The ids after 0, where they do not follow on `zero`.
    more: Option<Range>,
    /// How many ids begin at `zero`.
    count: u32,
}

/// Who may write the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Root writes any mapping.
    Root,
    /// The setuid programs newuidmap and newgidmap write what `/etc/subuid` allows.
    Programs,
    /// Anybody may map the own id, and no other.
    Single,
}

/// Why a mapping cannot be found or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdMapError {
    /// A file with ranges is there but cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refuses the mapping.
    #[error("cannot write the id mapping {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// newuidmap or newgidmap refuses the mapping.
    #[error("cannot map the ids of the user namespace")]
    Program(#[source] ProgramError),
}

impl IdMapError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Write { .. } => Some(
                "user namespaces may be forbidden here: see `sysctl user.max_user_namespaces \
                 kernel.unprivileged_userns_clone kernel.apparmor_restrict_unprivileged_userns`"
                    .to_owned(),
            ),
            Self::Program(error) => error.hint(),
            Self::Read { .. } => None,
        }
    }
}

impl IdMap {
    /// The mapping of the user who runs this process.
    ///
    /// # Errors
    /// If `/etc/subuid` or `/etc/subgid` is there and cannot be read.
    pub(crate) fn of_caller() -> Result<Self, IdMapError> {
        let uids = read_where_there(Path::new("/etc/subuid"))?;
        let gids = read_where_there(Path::new("/etc/subgid"))?;
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        if uid == 0 {
            return Ok(Self::of_root(&uids, &gids));
        }
        let programs = Program::is_there("newuidmap") && Program::is_there("newgidmap");
        // newuidmap refuses a user without a name.
        match user_name(uid)?.filter(|_| programs) {
            Some(name) => Ok(Self::of_user(uid, gid, &name, &uids, &gids)),
            None => Ok(Self::single(uid, gid)),
        }
    }

    /// The id of the host that is root inside.
    pub(crate) fn root_uid(&self) -> u32 {
        self.uids.zero
    }

    /// The group of the host that is root's inside.
    pub(crate) fn root_gid(&self) -> u32 {
        self.gids.zero
    }

    /// The mapping of users in the words of user_namespaces(7): inside, outside, count.
    pub(crate) fn uid_map(&self) -> String {
        self.uids.words().chunks(3).map(|line| line.join(" ")).collect::<Vec<_>>().join(", ")
    }

    /// How many ids there are inside, users and groups alike.
    pub(crate) fn count(&self) -> u32 {
        self.uids.len().min(self.gids.len())
    }

    /// Whether there is only one id inside, so that no file can belong to another user than root.
    pub(crate) fn is_single(&self) -> bool {
        self.way == Way::Single
    }

    /// Gives the user namespace of a process, by its number in the host's `/proc`, this mapping. The caller is outside of it.
    ///
    /// # Errors
    /// If the kernel, newuidmap or newgidmap refuses.
    pub(crate) fn write(&self, pid: u32) -> Result<(), IdMapError> {
        let id = pid.to_string();
        let folder = Path::new("/proc").join(&id);
        match self.way {
            Way::Root => {}
            Way::Single => write_map(&folder.join("setgroups"), "deny")?,
            Way::Programs => {
                for (program, ids) in [("newuidmap", self.uids), ("newgidmap", self.gids)] {
                    let program = Program::new(program).arg(&id).args(ids.words());
                    program.run_now().map_err(IdMapError::Program)?;
                }
                return Ok(());
            }
        }
        write_map(&folder.join("uid_map"), &self.uids.words().join(" "))?;
        write_map(&folder.join("gid_map"), &self.gids.words().join(" "))
    }

    /// Whether the caller is root of the host, whose labs have ids that are nobody's.
    pub(crate) fn is_of_root(&self) -> bool {
        self.way == Way::Root
    }

    fn of_root(subuid: &str, subgid: &str) -> Self {
        let given = |text| range_of(text, &["netarium"]).or_else(|| range_of(text, &["root", "0"]));
        let (uids, gids) = match (given(subuid), given(subgid)) {
            (Some(uids), Some(gids)) => (uids, gids),
            _ => (ROOT_RANGE, ROOT_RANGE),
        };
        Self { uids: uids.whole(), gids: gids.whole(), way: Way::Root }
    }

    fn of_user(uid: u32, gid: u32, name: &str, subuid: &str, subgid: &str) -> Self {
        let number = uid.to_string();
        let owners = [name, &number];
        match (range_of(subuid, &owners), range_of(subgid, &owners)) {
            (Some(uids), Some(gids)) => {
                Self { uids: uids.after(uid), gids: gids.after(gid), way: Way::Programs }
            }
            _ => Self::single(uid, gid),
        }
    }

    fn single(uid: u32, gid: u32) -> Self {
        Self { uids: Ids::one(uid), gids: Ids::one(gid), way: Way::Single }
    }
}

impl Range {
    fn whole(self) -> Ids {
        Ids { zero: self.start, more: None, count: self.count }
    }

    fn after(self, zero: u32) -> Ids {
        Ids { zero, more: Some(self), count: 1 }
    }
}

impl Ids {
    fn one(zero: u32) -> Self {
        Self { zero, more: None, count: 1 }
    }

    fn len(self) -> u32 {
        self.count + self.more.map_or(0, |more| more.count)
    }

    /// The mapping in the words of `uid_map`: inside, outside, count.
    fn words(self) -> Vec<String> {
        let mut words = vec![0, self.zero, self.count];
        if let Some(more) = self.more {
            words.extend([1, more.start, more.count]);
        }
        words.iter().map(u32::to_string).collect()
    }
}

/// Gives the user namespace of a process so many users and groups, from these on, which are others
/// from those on outside. The caller is root outside of it.
///
/// # Errors
/// If the kernel refuses.
#[expect(clippy::disallowed_methods, reason = "a file of /proc is written, not replaced")]
pub(crate) fn write_run(
    pid: u32,
    inside: (u32, u32),
    outside: (u32, u32),
    count: u32,
) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/uid_map"), format!("{} {} {count}", inside.0, outside.0))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("{} {} {count}", inside.1, outside.1))
}

/// The largest range that a file like `/etc/subuid` gives to one of `owners`, a name or a number.
/// Lines that are not `owner:start:count` are passed over, as newuidmap does, and so are ranges
/// that reach beyond the last id or take in the host's root.
fn range_of(text: &str, owners: &[&str]) -> Option<Range> {
    let parse = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let range =
            Range { start: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        let fits =
            range.start > 0 && range.count > 0 && range.start.checked_add(range.count).is_some();
        (fits && fields.next().is_none() && owners.contains(&owner)).then_some(range)
    };
    // The first of equals wins, so that the answer does not change when a line is added.
    text.lines()
        .filter_map(parse)
        .reduce(|best, next| if next.count > best.count { next } else { best })
}

/// The name of a user of this machine: from `/etc/passwd`, else from where getent(1) looks.
fn user_name(uid: u32) -> Result<Option<String>, IdMapError> {
    if let Some(name) = name_of_user(&read_where_there(Path::new("/etc/passwd"))?, uid) {
        return Ok(Some(name));
    }
    let asked = Program::new("getent").args(["passwd", &uid.to_string()]).run_now();
    // getent fails where there is no such user.
    Ok(asked.ok().and_then(|found| name_of_user(&String::from_utf8_lossy(&found.stdout), uid)))
}

/// The name that a file like `/etc/passwd` gives to `uid`.
fn name_of_user(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The file's text, with what is not UTF-8 replaced; empty where there is no such file.
fn read_where_there(path: &Path) -> Result<String, IdMapError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(IdMapError::Read { path: path.to_owned(), source }),
    }
}

/// The kernel takes a mapping in one write(2) only, and once.
#[expect(clippy::disallowed_methods, reason = "a file of /proc is written, not replaced")]
fn write_map(path: &Path, text: &str) -> Result<(), IdMapError> {
    fs::write(path, text).map_err(|source| IdMapError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_and_by_number() {
        let text = "anna:100000:65536\n1001:300000:65536\n";
        let found = |owners: &[&str]| range_of(text, owners).map(|range| range.start);
        assert_eq!(found(&["anna", "1000"]), Some(100_000));
        assert_eq!(found(&["bert", "1001"]), Some(300_000));
        assert_eq!(found(&["carl", "1002"]), None);
    }

    #[test]
    fn the_largest_of_several_ranges_counts_and_the_first_of_equals() {
        let text = "anna:1000000:10\nanna:200000:65536\nanna:300000:65536\n";
        assert_eq!(range_of(text, &["anna"]), Some(Range { start: 200_000, count: 65_536 }));
    }

    #[test]
    fn odd_lines_are_passed_over() {
        let text = "\n# anna\nanna\nanna:\nanna:1\nanna:x:y\nanna:1:-1\nanna:1:0\nanna:0:65536\n\
                    anna:4294967295:2\nanna:5:5:5\n::\n:1:1\nannabel:7:7\n  anna:100:3  \r\n";
        assert_eq!(range_of(text, &["anna"]), Some(Range { start: 100, count: 3 }));
    }

    #[test]
    fn a_user_with_ranges_gets_them_after_the_own_id() {
        let (uids, gids) = ("anna:100000:65536", "1000:200000:65536");
        let map = IdMap::of_user(1000, 100, "anna", uids, gids);
        assert_eq!(map.uids.words(), ["0", "1000", "1", "1", "100000", "65536"]);
        assert_eq!(map.gids.words(), ["0", "100", "1", "1", "200000", "65536"]);
        assert_eq!((map.root_uid(), map.root_gid(), map.is_single()), (1000, 100, false));
    }

    #[test]
    fn a_user_without_ranges_gets_a_single_id() {
        let range = "anna:100000:65536";
        for (uids, gids) in [("", ""), (range, ""), ("", range)] {
            let map = IdMap::of_user(1000, 100, "anna", uids, gids);
            assert!(map.is_single());
            assert_eq!(map.uids.words(), ["0", "1000", "1"]);
            assert_eq!(map.gids.words(), ["0", "100", "1"]);
        }
    }

    #[test]
    fn root_is_nobody_on_the_host_and_its_range_can_be_named() {
        let map = IdMap::of_root("", "");
        assert_eq!(map.uids.words(), ["0", "1879048192", "65536"]);
        let given = IdMap::of_root("root:500000:65536\nnetarium:900000:65536", "0:600000:65536");
        assert_eq!((given.root_uid(), given.root_gid()), (900_000, 600_000));
        assert_eq!(IdMap::of_root("root:500000:65536", "").root_uid(), ROOT_RANGE.start);
    }

    #[test]
    fn a_user_has_the_name_that_passwd_gives() {
        let passwd = "root:x:0:0::/root:/bin/sh\n\nodd\nanna:x:1000:100::/home/anna:/bin/sh\n";
        assert_eq!(name_of_user(passwd, 1000).as_deref(), Some("anna"));
        assert_eq!(name_of_user(passwd, 7), None);
    }
}
