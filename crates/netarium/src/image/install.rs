//! Installs Debian packages into an empty root file system with mmdebstrap, as root of a namespace.
//!
//! Runs as process 1 of that namespace, so it also takes in the processes that maintainer scripts
//! leave behind. Chosen by measurement, for the 17 packages of the built-in image: the hook for a
//! merged /usr spares perl (a third of the files); documentation is removed at the end, because
//! `path-exclude` makes mmdebstrap start a filter for each package (7 s); flushing to disk is
//! answered by a filter.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use netarium_core::image::Platform;
use netarium_core::model::Recipe;
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{WaitOptions, waitpid};

use crate::image::platforms;
use crate::image::workshop::bytes_of;
use crate::linux::binfmt::{BinfmtError, emulate};
use crate::linux::emulation::emulate_root;
use crate::linux::idmap::IdMap;
use crate::linux::program::{Program, ProgramError};

/// Where the root file system is while it is built: a folder that every system has, hidden by a
/// mount that only the build sees.
const TARGET: &str = "/mnt";

/// mmdebstrap's hook that merges /usr without the usrmerge package, where the release wants it.
const MERGED_USR: &str = "/usr/share/mmdebstrap/hooks/maybe-merged-usr";

/// What a node needs none of.
const SPARE: &[&str] = &[
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/lib/apt/lists",
];

/// Folders of which only the folders in them are needed: services look for theirs.
const EMPTIED: &[&str] = &["var/cache", "var/log"];

/// Files that are a node's own, or none: as they are in the image.
const OWN: &[(&str, &str)] = &[
    ("etc/hostname", "localhost\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/machine-id", ""),
    ("etc/resolv.conf", ""),
];

/// Devices that anybody may use.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Why packages were not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error("cannot prepare or finish the root file system: {0}")]
    Files(#[from] io::Error),
    #[error("cannot filter system calls: {0}")]
    Filter(#[from] seccompiler::Error),
    #[error("{0}")]
    Program(#[from] ProgramError),
    #[error("{0}")]
    Foreign(#[from] BinfmtError),
    #[error("mmdebstrap failed")]
    Failed,
}

/// Installs the packages of `recipe` into the empty folder `rootfs`, as `platform` has them. The answer
/// is how much of the disk they take, in bytes.
pub(crate) fn install(
    rootfs: &Path,
    recipe: &Recipe,
    platform: &Platform,
    map: &IdMap,
) -> Result<u64, InstallError> {
    mount_bind(rootfs, TARGET).map_err(io::Error::from)?;
    // What a killed build leaves in /tmp would belong to ids that nobody can clean up after.
    let nothing = MountFlags::empty();
    mount("netarium", "/tmp", "tmpfs", nothing, c"mode=1777").map_err(io::Error::from)?;
    // Where the kernel refuses (the host's /proc is covered in part), that of the host serves.
    mount("proc", "/proc", "proc", nothing, None).ok();
    std::env::set_current_dir("/")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    mount_devices(&Path::new(TARGET).join("dev"))?;
    if *platform != platforms::here() {
        emulate(&platform.architecture)?;
    }
    emulate_root(map)?;
    run_to_end(mmdebstrap(recipe, platform))?;
    finish(Path::new(TARGET))?;
    Ok(bytes_of(Path::new(TARGET))?)
}

fn mmdebstrap(recipe: &Recipe, platform: &Platform) -> Program {
    let packages: Vec<&str> = recipe.packages.iter().map(String::as_str).collect();
    let mut program = Program::new("mmdebstrap")
        .args(["--mode=root", "--variant=essential", "--format=directory", "--verbose"])
        .args(["--skip=check/qemu,check/empty,chroot/mount/dev"])
        .args(["--dpkgopt=force-unsafe-io", "--aptopt=Acquire::Languages \"none\""])
        .args([
            "--aptopt=APT::Sandbox::User \"root\"",
            "--aptopt=APT::Install-Recommends \"false\"",
        ]);
    if *platform != platforms::here() {
        // For the processors that images are built for, Debian's words are those of Go.
        program = program.arg(format!("--architectures={}", platform.architecture));
    }
    if Path::new(MERGED_USR).is_dir() {
        program = program.arg(format!("--hook-dir={MERGED_USR}"));
    }
    if !packages.is_empty() {
        program = program.arg(format!("--include={}", packages.join(",")));
    }
    program
        .args([recipe.suite.as_str(), TARGET])
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        // The caller's folder may be closed for root of the namespace; Debian's word for none.
        .env("HOME", "/nonexistent")
        .env("TMPDIR", "/tmp")
        // The output is read, in English.
        .env("LC_ALL", "C.UTF-8")
        .env("LANGUAGE", "C")
        // apt's and dpkg's messages come with mmdebstrap's own, in their order.
        .stdout(io::stderr())
}

/// Puts the devices that every program may expect into the empty root file system. mmdebstrap would
/// do it for each program that it runs, and asks for ids that a namespace may not have.
/// The links among the devices are left to it.
fn mount_devices(dev: &Path) -> io::Result<()> {
    let no_exec = MountFlags::NOSUID | MountFlags::NOEXEC;
    fs::create_dir(dev)?;
    mount("netarium", dev, "tmpfs", no_exec, c"mode=755")?;
    for device in DEVICES {
        let place = dev.join(device);
        File::create_new(&place)?;
        mount_bind(Path::new("/dev").join(device), &place)?;
    }
    for (folder, kind, options) in
        [("pts", "devpts", c"newinstance,ptmxmode=666"), ("shm", "tmpfs", c"mode=1777")]
    {
        fs::create_dir(dev.join(folder))?;
        mount("netarium", dev.join(folder), kind, no_exec, options)?;
    }
    Ok(())
}

/// Runs a program, and takes in every process that ends in this namespace until it has ended too.
fn run_to_end(program: Program) -> Result<(), InstallError> {
    let child = program.start_now()?.id().cast_signed();
    loop {
        let ended = rustix::io::retry_on_intr(|| waitpid(None, WaitOptions::empty()));
        match ended.map_err(io::Error::from)? {
            Some((pid, status)) if pid.as_raw_nonzero().get() == child => {
                let fine = status.exit_status() == Some(0);
                return if fine { Ok(()) } else { Err(InstallError::Failed) };
            }
            Some(_) | None => {}
        }
    }
}

/// Removes what is not needed and what the build machine has left.
fn finish(target: &Path) -> io::Result<()> {
    for folder in SPARE.iter().map(|folder| target.join(folder)) {
        if fs::symlink_metadata(&folder).is_ok_and(|there| there.is_dir()) {
            fs::remove_dir_all(&folder)?;
            fs::create_dir(&folder)?;
        }
    }
    for folder in EMPTIED {
        remove_files(&target.join(folder))?;
    }
    for (file, text) in OWN {
        let path = target.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        io::Write::write_all(&mut File::create_new(&path)?, text.as_bytes())?;
    }
    Ok(())
}

/// Removes what is in `folder` and below it, but no folder.
fn remove_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_files(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
