//! The mounts of a new node: its root file system and what lies over it.
//!
//! Everything is called by the node-to-be in its own mount namespace, before it has a process of
//! its own. The choice of paths follows the default of the OCI runtime specification.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

/// The folders that a root file system is made from.
#[derive(Clone, Debug)]
pub(crate) struct RootFolders {
    /// The image, shared and never written.
    pub(crate) lower: PathBuf,
    /// What the node changes. A `host` image keeps its changes in memory instead, since overlayfs
    /// refuses a folder of changes that lies in the image.
    pub(crate) upper: PathBuf,
    /// For overlayfs itself, on the same file system as `upper`.
    pub(crate) work: PathBuf,
    /// Where they are put together.
    pub(crate) merged: PathBuf,
    /// Folders of the host that a `host` image must not show.
    pub(crate) hidden: Vec<PathBuf>,
}

/// A mount that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {what}")]
pub(crate) struct MountError {
    what: String,
    #[source]
    source: io::Error,
}

type Result<T> = std::result::Result<T, MountError>;

/// Gives what failed a name.
trait Named<T> {
    fn named(self, what: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Named<T> for std::result::Result<T, E> {
    fn named(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|error| MountError { what: what.into(), source: error.into() })
    }
}

/// Device files of the host that every node has.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty", "net/tun"];

/// Symbolic links in `/dev`.
const DEVICE_LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// What tells about the host, or would change it.
const MASKED: &[&str] = &[
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

/// What may be read but not written.
const READ_ONLY: &[&str] = &["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// The settings of the node's own network, the part of `/proc/sys` that stays writable.
const WRITABLE: &str = "proc/sys/net";

/// What of ours is seen in every node.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    /// The node's program, on the host.
    pub(crate) program: PathBuf,
    /// Where it is in the node.
    pub(crate) program_in_node: &'static str,
    /// The folder for the logs of the node's services, on the host.
    pub(crate) logs: PathBuf,
    /// Where it is in the node.
    pub(crate) logs_in_node: &'static str,
}

/// Puts the root file system of a node together and makes it the caller's own.
///
/// # Errors
/// Names the mount that failed. The namespace is then of no use.
pub(crate) fn enter_root(folders: &RootFolders, ours: &Ours) -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", flags).named("/")?;
    mount_overlay(folders)?;
    let root = folders.merged.as_path();
    mount_kernel(root)?;
    mount_devices(&root.join("dev"))?;
    mount_ours(root, ours)?;
    mask(root)?;
    become_root(root).named("the new root")
}

/// Puts an image and what a node changes of it together.
///
/// # Errors
/// If overlayfs refuses, or a folder is not there.
pub(crate) fn mount_overlay(folders: &RootFolders) -> Result<()> {
    let mut folders = folders.clone();
    let is_host = folders.lower == Path::new("/");
    if is_host {
        // `merged` serves twice: memory for the changes, and over it the whole.
        tmpfs(&folders.merged, "mode=0755")?;
        folders.upper = folders.merged.join("upper");
        folders.work = folders.merged.join("work");
        for folder in [&folders.upper, &folders.work] {
            fs::create_dir(folder).named(folder.display().to_string())?;
        }
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr,volatile",
        escaped(&folders.lower, true),
        escaped(&folders.upper, false),
        escaped(&folders.work, false),
    );
    let options = std::ffi::CString::new(options).named("a path with a zero byte")?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    mount("overlay", &folders.merged, "overlay", flags, options.as_c_str()).named(format!(
        "an overlay of {} over {}",
        folders.upper.display(),
        folders.lower.display()
    ))?;
    let hidden = if is_host { folders.hidden.as_slice() } else { &[] };
    hidden.iter().try_for_each(|path| {
        let inside = folders.merged.join(path.strip_prefix("/").unwrap_or(path));
        if inside.is_dir() { tmpfs(&inside, "mode=0755") } else { Ok(()) }
    })
}

/// Overlayfs splits its options at commas, and lower folders at colons.
fn escaped(path: &Path, lower: bool) -> String {
    let mut text = String::new();
    for letter in path.display().to_string().chars() {
        if matches!(letter, '\\' | ',') || (lower && letter == ':') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

fn tmpfs(path: &Path, options: &str) -> Result<()> {
    let options = std::ffi::CString::new(options).named("an option with a zero byte")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", path, "tmpfs", flags, options.as_c_str()).named(path.display().to_string())
}

fn mount_kernel(root: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", root.join("proc"), "proc", flags, None).named("proc on /proc")?;
    mount("sysfs", root.join("sys"), "sysfs", flags | MountFlags::RDONLY, None)
        .named("sysfs on /sys")
}

fn mount_devices(dev: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("tmpfs", dev, "tmpfs", flags, c"mode=0755,size=64k").named("tmpfs on /dev")?;
    for folder in ["net", "pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(folder)).named(format!("/dev/{folder}"))?;
    }
    for device in DEVICES {
        let host = Path::new("/dev").join(device);
        if host.exists() {
            bind(&host, &dev.join(device))?;
        }
    }
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", dev.join("pts"), "devpts", quiet, c"newinstance,ptmxmode=0666,mode=0620")
        .named("devpts on /dev/pts")?;
    let flags = quiet | MountFlags::NODEV;
    mount("shm", dev.join("shm"), "tmpfs", flags, c"mode=1777").named("tmpfs on /dev/shm")?;
    mount("mqueue", dev.join("mqueue"), "mqueue", flags, None).named("mqueue on /dev/mqueue")?;
    DEVICE_LINKS.iter().try_for_each(|(target, link)| {
        symlink(target, dev.join(link)).named(format!("/dev/{link}"))
    })
}

/// The program is bound read only and started from there, so that no node can write to the file
/// that other nodes run. The logs are bound, so that a descriptor of the folder leads nowhere else.
fn mount_ours(root: &Path, ours: &Ours) -> Result<()> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let program = inside(ours.program_in_node);
    let folder = program.parent().unwrap_or(root);
    fs::create_dir_all(folder).named(folder.display().to_string())?;
    bind(&ours.program, &program)?;
    set_access(&program, Access::ReadOnly)?;
    let logs = inside(ours.logs_in_node);
    fs::create_dir_all(&logs).named(ours.logs_in_node)?;
    mount_bind(&ours.logs, &logs).named(ours.logs_in_node)
}

/// Binds a file over a new, empty one.
fn bind(source: &Path, target: &Path) -> Result<()> {
    let what = || format!("{} on {}", source.display(), target.display());
    fs::File::create(target).named(what())?;
    mount_bind(source, target).named(what())
}

fn mask(root: &Path) -> Result<()> {
    for path in MASKED.iter().map(|path| root.join(path)) {
        let what = path.display().to_string();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                let flags = MountFlags::RDONLY;
                mount("tmpfs", &path, "tmpfs", flags, c"size=0,nr_inodes=1").named(what)?;
            }
            Ok(_) => mount_bind("/dev/null", &path).named(what)?,
            // A kernel without it has nothing to hide.
            Err(_) => {}
        }
    }
    for path in READ_ONLY.iter().map(|path| root.join(path)).filter(|path| path.exists()) {
        mount_bind(&path, &path).named(path.display().to_string())?;
        set_access(&path, Access::ReadOnly)?;
    }
    let path = root.join(WRITABLE);
    mount_bind(&path, &path).named(path.display().to_string())?;
    set_access(&path, Access::Writable)
}

enum Access {
    ReadOnly,
    Writable,
}

#[expect(unsafe_code, reason = "mount_setattr has no safe wrapper yet")]
fn set_access(path: &Path, access: Access) -> Result<()> {
    let text = path.display().to_string();
    let c_path = std::ffi::CString::new(text.as_str()).named("a path with a zero byte")?;
    // SAFETY: mount_attr is plain data for which all zero is a valid value.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    match access {
        Access::ReadOnly => attr.attr_set = libc::MOUNT_ATTR_RDONLY,
        Access::Writable => attr.attr_clr = libc::MOUNT_ATTR_RDONLY,
    }
    // SAFETY: path and attributes outlive the call, and the size is that of the attributes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c_path.as_ptr(),
            0,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).named(text) }
}

/// Swaps the root: the old one ends up on the new one, from where it is let go (pivot_root(2)).
fn become_root(root: &Path) -> io::Result<()> {
    let folder =
        rustix::fs::openat(CWD, root, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty())?;
    rustix::process::fchdir(folder)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_become_an_option() {
        assert_eq!(escaped(Path::new("/a,b:c\\d"), true), "/a\\,b\\:c\\\\d");
        assert_eq!(escaped(Path::new("/a,b:c"), false), "/a\\,b:c");
    }
}
