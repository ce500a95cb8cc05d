//! The mounts of a new node: its root file system and what lies over it.
//!
//! Everything is called by the node-to-be in its own mount namespace, before it has a process of
//! its own. The choice of paths follows the default of the OCI runtime specification.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use netarium_core::model::Nesting;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, unmount,
};

use super::confined;
use super::volume::Volume;

/// The folders that a root file system is made from.
#[derive(Clone, Debug)]
pub(crate) struct RootFolders {
    /// The layers of the image, the highest first; shared and never written.
    pub(crate) lower: Vec<PathBuf>,
    /// What the node changes.
    pub(crate) upper: PathBuf,
    /// For overlayfs itself, on the same file system as `upper`.
    pub(crate) work: PathBuf,
    /// Where they are put together.
    pub(crate) merged: PathBuf,
    /// Folders of the host that a `host` image must not show, besides those that it never does.
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

/// What a `host` image shows of the host's root folder.
const SHOWN_OF_HOST: &[&str] =
    &["bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr", "var"];

/// Folders in which we make files. In a `host` image the others belong to the host's root, who is
/// nobody to the node; these are laid over them and belong to the node.
const OURS_ON_HOST: &[&str] = &[
    "etc/swanctl/conf.d",
    "etc/swanctl/private",
    "etc/swanctl/x509",
    "etc/swanctl/x509ca",
    "etc/swanctl/x509crl",
    "etc/wireguard",
    "usr/local/bin",
    "var/log",
];

/// The largest file, in bytes, of which a node gets a copy where its folder cannot be shown whole.
const LARGEST_COPY: u64 = 1 << 20;

/// What is empty in a `host` image, with permission bits.
const EMPTY_ON_HOST: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
];

/// Where a node with containers has what the kernel asks for before it makes these a proc.
const UNMASKED: &str = "dev/.nesting";

/// What may be read but not written.
const READ_ONLY: &[&str] = &["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// The settings of the node's own network, the part of `/proc/sys` that stays writable.
const WRITABLE: &str = "proc/sys/net";

/// What of ours is seen in every node.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    /// The programs of nodes: where each is on the host, and where in the node.
    pub(crate) programs: Vec<(PathBuf, &'static str)>,
    /// The folder for the logs of the node's services, on the host.
    pub(crate) logs: PathBuf,
    /// Where it is in the node.
    pub(crate) logs_in_node: &'static str,
}

/// Puts the root file system of a node together and makes it the caller's own.
///
/// # Errors
/// Names the mount that failed. The namespace is then of no use.
pub(crate) fn enter_root(
    folders: &RootFolders,
    ours: &Ours,
    volumes: &[Volume],
    nesting: Nesting,
) -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", flags).named("/")?;
    let is_host = folders.lower == [Path::new("/")];
    if is_host { mount_host(folders, volumes) } else { mount_image(folders) }?;
    let root = folders.merged.as_path();
    make_points(root)?;
    mount_kernel(root)?;
    mount_devices(&root.join("dev"))?;
    mount_ours(root, ours)?;
    for volume in volumes {
        volume.mount(root).named(volume.to_string())?;
    }
    if nesting == Nesting::Allowed {
        mount_unmasked(root)?;
    }
    mask(root)?;
    become_root(root).named("the new root")
}

/// The root file system of an image, with what the node changes of it on the disk.
///
/// # Errors
/// If overlayfs refuses, or a folder is not there.
pub(crate) fn mount_image(folders: &RootFolders) -> Result<()> {
    overlay(&folders.lower, &folders.upper, &folders.work, &folders.merged)
}

/// A root file system that shows the host's programs and settings, one folder of the host after
/// the other: the kernel lets nobody look under the mounts of a namespace with more privileges,
/// as an overlay of the whole root would. Changes are kept in memory.
fn mount_host(folders: &RootFolders, volumes: &[Volume]) -> Result<()> {
    let root = folders.merged.as_path();
    let ours: Vec<PathBuf> = ours_on_host(volumes);
    tmpfs(root, "mode=0755")?;
    tmpfs(&folders.work, "mode=0700")?;
    for name in SHOWN_OF_HOST {
        show(&Path::new("/").join(name), &root.join(name), &folders.work.join(name), &ours)?;
    }
    for (name, mode) in EMPTY_ON_HOST {
        let path = root.join(name);
        let made = fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(*mode)));
        made.named(path.display().to_string())?;
    }
    for path in &folders.hidden {
        let inside = root.join(path.strip_prefix("/").unwrap_or(path));
        if inside.is_dir() {
            tmpfs(&inside, "mode=0755")?;
        }
    }
    Ok(())
}

/// Shows a folder or a symbolic link of the host, if it has it.
fn show(host: &Path, place: &Path, changes: &Path, ours: &[PathBuf]) -> Result<()> {
    let what = || host.display().to_string();
    let Ok(found) = fs::symlink_metadata(host) else { return Ok(()) };
    if found.is_symlink() {
        let target = fs::read_link(host).named(what())?;
        return symlink(target, place).named(what());
    }
    let (upper, work) = (changes.join("upper"), changes.join("work"));
    for folder in [&upper, &work] {
        fs::create_dir_all(folder).named(folder.display().to_string())?;
    }
    make_ours(ours, host, &upper)?;
    fs::create_dir(place).named(what())?;
    fs::set_permissions(place, found.permissions()).named(what())?;
    match overlay(&[host], &upper, &work, place) {
        Ok(()) => Ok(()),
        Err(_) if has_mounts_below(host) => show_parts(host, place, &changes.join("parts"), ours),
        Err(_) => {
            mount_bind_recursive(host, place).named(what())?;
            set_access(place, Access::ReadOnly, Below::Too)
        }
    }
}

/// Shows what is in a folder of the host one by one: there are mounts below it, under which nobody
/// may look. Into what the node's root may not read, it sees nothing.
fn show_parts(host: &Path, place: &Path, changes: &Path, ours: &[PathBuf]) -> Result<()> {
    for entry in fs::read_dir(host).into_iter().flatten().flatten() {
        let (path, place) = (entry.path(), place.join(entry.file_name()));
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() || found.is_symlink() {
            show(&path, &place, &changes.join(entry.file_name()), ours)?;
        } else if found.is_file() {
            // A copy can be replaced, which a mount cannot.
            let copied = found.len() <= LARGEST_COPY && fs::copy(&path, &place).is_ok();
            if !copied {
                bind(&path, &place)?;
                set_access(&place, Access::ReadOnly, Below::Not)?;
            }
        }
    }
    make_ours(ours, host, place)
}

/// The folders that are to belong to the node: ours, and those where volumes will be.
fn ours_on_host(volumes: &[Volume]) -> Vec<PathBuf> {
    let ours = OURS_ON_HOST.iter().map(|path| Path::new("/").join(path));
    ours.chain(volumes.iter().map(|volume| volume.target.clone())).collect()
}

/// Makes those of `ours` that are in a folder of the host, in what is laid over it.
fn make_ours(ours: &[PathBuf], host: &Path, over: &Path) -> Result<()> {
    for ours in ours {
        if let Ok(below) = ours.strip_prefix(host) {
            fs::create_dir_all(over.join(below)).named(ours.display().to_string())?;
        }
    }
    Ok(())
}

/// Whether there are mounts below a folder (proc_pid_mountinfo(5)).
fn has_mounts_below(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    points.any(|point| point != folder && point.starts_with(folder))
}

/// Lays `upper` over the folders `lower`, the highest first. The kernel takes a page of options at
/// most, and an image may have many layers, so several are named by the descriptors that they are
/// open as.
fn overlay(lower: &[impl AsRef<Path>], upper: &Path, work: &Path, place: &Path) -> Result<()> {
    let what = || format!("an overlay of {} at {}", upper.display(), place.display());
    let mut opened = Vec::new();
    let lower = match lower {
        [only] => escaped(only.as_ref(), true),
        several => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            for layer in several {
                let layer = layer.as_ref();
                let named = || layer.display().to_string();
                opened.push(rustix::fs::open(layer, flags, Mode::empty()).named(named())?);
            }
            let name = |layer: &OwnedFd| format!("/proc/self/fd/{}", layer.as_raw_fd());
            opened.iter().map(name).collect::<Vec<_>>().join(":")
        }
    };
    let options = format!(
        "lowerdir={lower},upperdir={},workdir={},userxattr,volatile",
        escaped(upper, false),
        escaped(work, false),
    );
    let options = std::ffi::CString::new(options).named("a path with a zero byte")?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    mount("overlay", place, "overlay", flags, options.as_c_str()).named(what())
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

/// A file system in memory.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn tmpfs(path: &Path, options: &str) -> Result<()> {
    let options = std::ffi::CString::new(options).named("an option with a zero byte")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", path, "tmpfs", flags, options.as_c_str()).named(path.display().to_string())
}

/// Where the kernel's own file systems go there are folders, whatever an image of others has there: a
/// link would lead out of it, to a path of the host.
fn make_points(root: &Path) -> Result<()> {
    for name in ["dev", "proc", "sys"] {
        let path = root.join(name);
        let what = || path.display().to_string();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => continue,
            Ok(_) => fs::remove_file(&path).named(what())?,
            Err(_) => {}
        }
        fs::create_dir(&path).named(what())?;
    }
    Ok(())
}

/// The path of a folder inside of a root file system, which is made if it is not there. No link of an
/// image leads out of it, and the answer has none in it.
fn inside(root: &Path, folder: &Path) -> Result<PathBuf> {
    let what = || folder.display().to_string();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, root, flags, Mode::empty()).named(what())?;
    let opened = confined::make_folder(root, folder).named(what())?;
    fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).named(what())
}

fn mount_kernel(root: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", root.join("proc"), "proc", flags, None).named("proc on /proc")?;
    mount("sysfs", root.join("sys"), "sysfs", flags | MountFlags::RDONLY, None)
        .named("sysfs on /sys")
}

/// Lets go of what is mounted at `path`, a folder or a file, if anything is.
///
/// # Errors
/// If the caller may not.
pub(crate) fn let_go(path: &Path) -> Result<()> {
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Nothing is mounted there, or it is not there at all.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
            Ok(())
        }
        result => result.named(path.display().to_string()),
    }
}

/// Makes the settings of the network writable in a container whose `/proc/sys` is not.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn open_settings() -> Result<()> {
    let path = Path::new("/").join(WRITABLE);
    mount_bind(&path, &path).named(path.display().to_string())?;
    set_access(&path, Access::Writable, Below::Not)
}

/// Does what [`mount_unmasked`] does in a container of which parts are covered already: what is shown
/// once more is the same without what lies over it.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn mount_uncovered() -> Result<()> {
    let folder = Path::new("/").join(UNMASKED);
    for (what, kind) in [("/proc", "proc"), ("/sys", "sysfs")] {
        let path = folder.join(kind);
        fs::create_dir_all(&path).named(path.display().to_string())?;
        mount_bind(what, &path).named(path.display().to_string())?;
    }
    cover(&folder)
}

/// The kernel makes a new proc or sysfs in a container only if one is to be seen whole where the
/// container is made (mount_too_revealing, fs/namespace.c), and a node's have parts covered. So
/// there is another of each, under a folder that is covered itself: no path leads to them.
fn mount_unmasked(root: &Path) -> Result<()> {
    let folder = root.join(UNMASKED);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for (kind, flags) in [("proc", flags), ("sysfs", flags | MountFlags::RDONLY)] {
        let path = folder.join(kind);
        let what = path.display().to_string();
        fs::create_dir_all(&path).named(&what)?;
        mount(kind, &path, kind, flags, None).named(what)?;
    }
    cover(&folder)
}

/// Lays nothing over a folder.
fn cover(folder: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    let what = folder.display().to_string();
    mount("tmpfs", folder, "tmpfs", flags, c"size=0,nr_inodes=1").named(what)
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

/// The programs are bound read only and started from there, so that no node can write to a file that
/// other nodes run. The logs are bound, so that a descriptor of the folder leads nowhere else.
fn mount_ours(root: &Path, ours: &Ours) -> Result<()> {
    for (program, place) in &ours.programs {
        let place = Path::new(place);
        let name = place.file_name().ok_or(io::ErrorKind::InvalidInput);
        let name = name.named(place.display().to_string())?;
        let place = inside(root, place.parent().unwrap_or(root))?.join(name);
        bind(program, &place)?;
        set_access(&place, Access::ReadOnly, Below::Not)?;
    }
    let logs = inside(root, Path::new(ours.logs_in_node))?;
    mount_bind(&ours.logs, &logs).named(ours.logs_in_node)
}

/// Binds a file over a new, empty one, which takes the place of whatever is there.
fn bind(source: &Path, target: &Path) -> Result<()> {
    let what = || format!("{} on {}", source.display(), target.display());
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).named(what()),
        _ => fs::File::create_new(target).named(what())?,
    };
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
        set_access(&path, Access::ReadOnly, Below::Not)?;
    }
    let path = root.join(WRITABLE);
    mount_bind(&path, &path).named(path.display().to_string())?;
    set_access(&path, Access::Writable, Below::Not)
}

enum Access {
    ReadOnly,
    Writable,
}

/// Whether the mounts below are meant too.
#[derive(Clone, Copy)]
enum Below {
    Too,
    Not,
}

#[expect(unsafe_code, reason = "mount_setattr has no safe wrapper yet")]
fn set_access(path: &Path, access: Access, below: Below) -> Result<()> {
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
            match below {
                Below::Too => libc::AT_RECURSIVE,
                Below::Not => 0,
            },
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
