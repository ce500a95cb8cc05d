//! Whose labs the tests make. Root runs the tests as itself and then as two ordinary users: one
//! with subordinate ids and one without.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::Conclusion;
use netarium::folder::DataFolder;

use crate::{lab, traces};

/// Ordinary users, as `make test-users` makes them.
const USERS: [(&str, Ids); 2] =
    [("netarium-test", Ids::Subordinate), ("netarium-plain", Ids::Single)];

/// Where the labs of the project are, for a test program that was copied elsewhere.
const LABS: &str = "NETARIUM_TEST_LABS";

/// Which ids a user's labs can have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ids {
    Subordinate,
    Single,
}

/// The folder with the images and labs of the tests of this owner. It stays for its images.
pub(crate) fn data() -> DataFolder {
    DataFolder::at(folder())
}

fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("NETARIUM_TEST_DATA") {
        return folder.into();
    }
    if rustix::process::geteuid().is_root() {
        // Root's own home is closed to the ids of its labs.
        return PathBuf::from("/var/cache/netarium-tests");
    }
    let home = std::env::var_os("HOME").expect("an ordinary user has a home");
    Path::new(&home).join(".cache/netarium-tests")
}

/// The folder of the labs that come with the project.
pub(crate) fn example_labs() -> PathBuf {
    let ours = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../labs");
    std::env::var_os(LABS).map_or_else(ours, PathBuf::from)
}

/// Runs the tests as the caller and, if that is root, as everybody else.
pub(crate) fn run_as_everybody(run: impl FnOnce() -> Conclusion) -> ExitCode {
    let lock = lock();
    println!("\ntests of labs, as {}", whoami());
    let mut failed = run().has_failed();
    failed |= !is_swept();
    drop(lock);
    if rustix::process::geteuid().is_root() {
        let public = PublicFolder::new();
        for (user, ids) in USERS {
            failed |= !run_as(user, ids, &public);
        }
    }
    ExitCode::from(u8::from(failed))
}

fn whoami() -> String {
    std::env::var("USER").unwrap_or_else(|_| rustix::process::geteuid().as_raw().to_string())
}

/// One run of an owner at a time: names of labs are the same in all runs.
fn lock() -> File {
    let folder = folder();
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("tests.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// Whether nothing is left of all labs: no file, and no stage of this program, some of which end
/// only when they see that their caller was killed.
fn is_swept() -> bool {
    lab::wait_until("all stages have ended", || traces::others_of_our_program().is_empty());
    let labs = data().labs();
    let left: Vec<_> = fs::read_dir(&labs).map_or_else(|_| vec![], |entries| {
        entries.flatten().map(|entry| entry.path()).collect()
    });
    for path in &left {
        eprintln!("left behind: {}", path.display());
    }
    left.is_empty()
}

/// The test program and the labs, where every user can read them.
struct PublicFolder(PathBuf);

impl PublicFolder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("netarium-labs-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let public = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, public.clone()).unwrap();
        fs::copy(std::env::current_exe().unwrap(), path.join("labs-test")).unwrap();
        fs::set_permissions(path.join("labs-test"), public.clone()).unwrap();
        for lab in fs::read_dir(example_labs()).unwrap() {
            let lab = lab.unwrap();
            let to = path.join("labs").join(lab.file_name());
            fs::create_dir_all(&to).unwrap();
            fs::copy(lab.path().join("lab.yaml"), to.join("lab.yaml")).unwrap();
        }
        Self(path)
    }
}

impl Drop for PublicFolder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Runs the tests as another user. A user that is missing, or is not as it should be, is a failure.
fn run_as(user: &str, ids: Ids, public: &PublicFolder) -> bool {
    let Some(home) = home_of(user) else {
        eprintln!("\nthere is no user {user}: `make test-users` makes the users of the tests");
        return false;
    };
    let has_ids = ["/etc/subuid", "/etc/subgid"].iter().all(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.split(':').next() == Some(user))
    });
    if has_ids != (ids == Ids::Subordinate) {
        eprintln!("\nuser {user} must {}have subordinate ids", if has_ids { "not " } else { "" });
        return false;
    }
    #[expect(clippy::disallowed_methods, reason = "the test program starts itself as another user")]
    let status = Command::new("setpriv")
        .args(["--reuid", user, "--regid", user, "--init-groups"])
        .arg(public.0.join("labs-test"))
        .args(std::env::args_os().skip(1))
        .current_dir(&public.0)
        .env(LABS, public.0.join("labs"))
        .env("HOME", &home)
        .env("USER", user)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("NETARIUM_TEST_DATA")
        .status();
    status.is_ok_and(|status| status.success())
}

fn home_of(user: &str) -> Option<PathBuf> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(5).map(PathBuf::from)
}
