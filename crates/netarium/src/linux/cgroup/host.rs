//! Where the host has its cgroups, read from what the kernel says about this process.
//!
//! Nothing is changed here. Sources: cgroups(7), proc_pid_mountinfo(5), Documentation/admin-guide/
//! cgroup-v2.rst ("Delegation").

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use super::{Controller, Version};

/// A hierarchy of cgroups that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// The controllers of a hierarchy of version 1; one of version 2 tells them in files.
    controllers: Vec<String>,
    /// Which cgroup is at the top of the mount.
    root: PathBuf,
    /// Where it is mounted.
    pub(super) top: PathBuf,
}

impl Hierarchy {
    /// Whether it is of version 1 and has this controller.
    pub(super) fn is_first_with(&self, controller: Controller) -> bool {
        self.version == Version::One && self.controllers.iter().any(|it| it == controller.word())
    }

    /// The folder of the caller's own cgroup, from the text of `/proc/self/cgroup`; the top where
    /// the cgroup is not below it.
    pub(super) fn own(&self, text: &str) -> PathBuf {
        let path = text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let ours = match self.version {
                Version::One => {
                    !controllers.is_empty()
                        && controllers.split(',').all(|it| self.controllers.iter().any(|c| c == it))
                }
                Version::Two => controllers.is_empty(),
            };
            ours.then(|| PathBuf::from(path))
        });
        let below = path.as_deref().and_then(|path| path.strip_prefix(&self.root).ok());
        let plain = |path: &&Path| path.components().all(|it| matches!(it, Component::Normal(_)));
        self.top.join(below.filter(plain).unwrap_or_else(|| Path::new("")))
    }
}

/// The hierarchies in the text of `/proc/self/mountinfo`.
pub(super) fn hierarchies(text: &str) -> Vec<Hierarchy> {
    text.lines().filter_map(hierarchy).collect()
}

fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, top) = (unescaped(mount.next()?), unescaped(mount.next()?));
    let mut system = system.split(' ');
    let version = match system.next()? {
        "cgroup" => Version::One,
        "cgroup2" => Version::Two,
        _ => return None,
    };
    let options = system.nth(1).unwrap_or_default();
    let controllers = options.split(',').map(str::to_owned).collect();
    Some(Hierarchy { version, controllers, root, top })
}

/// Spaces and their like are three octal digits after a backslash.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let byte = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
odd line
";

    #[test]
    fn a_hybrid_host_has_hierarchies_of_both_versions() {
        let found = hierarchies(HYBRID);
        let tops: Vec<_> = found.iter().map(|it| (it.version, it.top.to_str().unwrap())).collect();
        assert_eq!(
            tops,
            [
                (Version::One, "/sys/fs/cgroup/cpu,cpuacct"),
                (Version::One, "/sys/fs/cgroup/memory"),
                (Version::One, "/sys/fs/cgroup/systemd"),
                (Version::Two, "/sys/fs/cgroup/unified"),
            ]
        );
        assert!(found[0].is_first_with(Controller::Cpu));
        assert!(!found[0].is_first_with(Controller::Memory));
        assert!(!found[3].is_first_with(Controller::Pids));
    }

    #[test]
    fn the_own_cgroup_is_found_in_each_hierarchy() {
        let found = hierarchies(HYBRID);
        let text = "9:name=systemd:/a\n4:memory:/b/c\n1:cpu,cpuacct:/\n0::/user.slice/x:y.scope\n";
        let own: Vec<_> = found.iter().map(|it| it.own(text)).collect();
        let expected = ["cpu,cpuacct", "memory/b/c", "systemd/a", "unified/user.slice/x:y.scope"];
        assert_eq!(own, expected.map(|path| Path::new("/sys/fs/cgroup").join(path)));
    }

    #[test]
    fn a_cgroup_outside_of_the_mount_counts_as_its_top() {
        let line = "1 1 0:1 /inner /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let hierarchy = &hierarchies(line)[0];
        let top = Path::new("/sys/fs/cgroup");
        assert_eq!(hierarchy.own("0::/inner/x\n"), top.join("x"));
        for text in ["0::/other\n", "0::/inner/../x\n", "", "odd", "1:memory:/inner/x\n"] {
            assert_eq!(hierarchy.own(text), top.join(""), "{text}");
        }
    }

    #[test]
    fn a_mount_point_may_have_spaces() {
        let line = "1 1 0:1 / /a\\040b\\134c\\9 rw - cgroup2 cgroup2 rw";
        assert_eq!(hierarchies(line)[0].top, Path::new("/a b\\c\\9"));
    }
}
