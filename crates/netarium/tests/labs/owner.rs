//! Whose labs the tests make. Root runs the tests as itself and then as two ordinary users: one
//! with subordinate ids and one without.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Failed, Trial};
use netarium::folder::DataFolder;
use netarium_core::name::Name;

use crate::compose;

/// Ordinary users, as `make test-users` makes them.
pub(crate) const USERS: [(&str, Ids); 2] =
    [("netarium-test", Ids::Subordinate), ("netarium-plain", Ids::Single)];

/// Where the labs of the project are, for a test program that was copied elsewhere.
const LABS: &str = "NETARIUM_TEST_LABS";

/// Where the image of the test beds is, for a test that is run as another user.
pub(crate) const ARCHIVE: &str = "NETARIUM_TEST_ARCHIVE";

/// Which ids a user's labs can have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
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

/// The folder of the Compose files that come with the project.
pub(crate) fn test_beds() -> PathBuf {
    example_labs().join("../testbeds")
}

/// Keeps a lab for one test at a time, of this run and others, until the answer is dropped.
pub(crate) fn lock(data: &DataFolder, lab: &Name) -> File {
    let folder = folder().join("tests");
    fs::create_dir_all(&folder).unwrap();
    // A folder's path may be longer than the name of a file can be.
    let mut hasher = DefaultHasher::new();
    data.path().hash(&mut hasher);
    let lock = File::create(folder.join(format!("{lab}-{:x}", hasher.finish()))).unwrap();
    lock.lock().unwrap();
    lock
}

/// The tests with these names once more, as every ordinary user. Each runs in a process of its own.
pub(crate) fn as_users(names: &[String], public: &Arc<PublicFolder>) -> Vec<Trial> {
    let pairs = USERS.into_iter().flat_map(|user| names.iter().map(move |name| (user, name)));
    let trial = |((user, ids), name): ((&'static str, Ids), &String)| {
        let (test, public) = (name.clone(), Arc::clone(public));
        Trial::test(format!("{user}::{name}"), move || run_as(user, ids, &test, &public))
    };
    pairs.map(trial).collect()
}

/// The test program and the labs, where every user can read them. It is made when it is needed.
#[derive(Default)]
pub(crate) struct PublicFolder(OnceLock<PathBuf>);

impl PublicFolder {
    fn path(&self) -> &Path {
        self.0.get_or_init(|| {
            let path = std::env::temp_dir().join(format!("netarium-labs-{}", std::process::id()));
            fill(&path);
            path
        })
    }
}

impl Drop for PublicFolder {
    fn drop(&mut self) {
        if let Some(path) = self.0.get() {
            fs::remove_dir_all(path).ok();
        }
    }
}

fn fill(path: &Path) {
    let public = fs::Permissions::from_mode(0o755);
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, public.clone()).unwrap();
    fs::copy(std::env::current_exe().unwrap(), path.join("labs-test")).unwrap();
    fs::set_permissions(path.join("labs-test"), public).unwrap();
    copy(&example_labs(), &path.join("labs"));
    copy(&test_beds(), &path.join("testbeds"));
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            fs::copy(&entry, to).unwrap();
        }
    }
}

/// Runs a test as another user.
#[expect(clippy::disallowed_methods, reason = "the test program starts itself as another user")]
fn run_as(user: &str, ids: Ids, test: &str, public: &PublicFolder) -> Result<(), Failed> {
    judge(&as_user(Command::new("env"), user, ids, test, public)?.output()?)
}

/// Adds to a command that runs another what runs a test as another user. A user that is missing, or is
/// not as it should be, is a failure.
pub(crate) fn as_user(
    mut command: Command,
    user: &str,
    ids: Ids,
    test: &str,
    public: &PublicFolder,
) -> Result<Command, Failed> {
    let home = home_of(user).ok_or_else(|| {
        format!("there is no user {user}: `make test-users` makes the users of the tests")
    })?;
    let has_ids = ["/etc/subuid", "/etc/subgid"].iter().all(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.split(':').next() == Some(user))
    });
    if has_ids != (ids == Ids::Subordinate) {
        let not = if has_ids { "not " } else { "" };
        return Err(format!("user {user} must {not}have subordinate ids (subuid(5))").into());
    }
    if test.starts_with("compose::") {
        // One image is enough for all.
        command.env(ARCHIVE, compose::archive());
    }
    command
        .arg("setpriv")
        .args(["--reuid", user, "--regid", user, "--init-groups"])
        .arg(public.path().join("labs-test"))
        .args(["--exact", test])
        .current_dir(public.path())
        .env(LABS, public.path().join("labs"))
        .env("HOME", &home)
        .env("USER", user)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("NETARIUM_TEST_DATA")
        .stdin(Stdio::null());
    Ok(command)
}

/// Whether one test was run and has passed.
pub(crate) fn judge(output: &Output) -> Result<(), Failed> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A name that is no test's would succeed, too.
    if output.status.success() && text.contains("1 passed") {
        return Ok(());
    }
    Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn home_of(user: &str) -> Option<PathBuf> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(5).map(PathBuf::from)
}
