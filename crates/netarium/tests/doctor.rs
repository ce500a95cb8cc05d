//! The kernel is asked for its features and the machine is examined, as root and as an ordinary
//! user, and nothing is left but the answers.
//!
//! The test program is also the stage program, hence no harness: it has to look whether it is a
//! stage before there are threads.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use netarium::doctor::{Finding, State, examine};
use netarium::features::features;
use netarium::folder::DataFolder;
use netarium_core::feature::Feature;
use serde_json::Value;

/// A user who has no line in `/etc/subuid`.
const USER: u32 = 54_322;

/// The name of the test that root has run by such a user.
const AS_USER: &str = "an_ordinary_user_with_a_single_id_is_told_so";

fn main() -> ExitCode {
    netarium::run_if_stage();
    let tests = vec![
        Trial::test(AS_USER, an_ordinary_user_with_a_single_id_is_told_so),
        Trial::test(
            "the_kernel_is_asked_once_until_it_is_started_anew",
            the_kernel_is_asked_once_until_it_is_started_anew,
        ),
        Trial::test(
            "a_machine_is_examined_and_nothing_is_left",
            a_machine_is_examined_and_nothing_is_left,
        ),
        Trial::test("what_a_killed_trial_left_is_removed", what_a_killed_trial_left_is_removed),
        Trial::test("a_data_folder_that_cannot_be_made_is_told", a_data_folder_that_cannot_be_made),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn the_kernel_is_asked_once_until_it_is_started_anew() -> Result<(), Failed> {
    let test = Folder::new("once")?;
    let first = run(features(&test.data()))?;
    assert!(first.has(Feature::Veth) || first.has(Feature::Macvlan), "{first:?}");

    // What is remembered counts, even if it is not so.
    test.change(|answers| {
        for tried in answers["features"].as_object_mut().unwrap().values_mut() {
            *tried = serde_json::json!({"Err": "no"});
        }
    })?;
    let remembered = run(features(&test.data()))?;
    assert!(Feature::ALL.iter().all(|feature| !remembered.has(*feature)), "{remembered:?}");

    test.change(|answers| answers["kernel"]["boot"] = "another".into())?;
    assert_eq!(run(features(&test.data()))?, first);
    write_over(&test.answers(), b"{\"kern")?;
    assert_eq!(run(features(&test.data()))?, first);
    test.has_answers_only()
}

fn a_machine_is_examined_and_nothing_is_left() -> Result<(), Failed> {
    let test = Folder::new("examine")?;
    let links = links()?;
    let findings = run(examine(&test.data()));
    for feature in Feature::ALL {
        find(&findings, &feature.to_string());
    }
    for name in ["user namespaces", "ids of labs", "overlayfs", "proc", "seccomp"] {
        assert_eq!(find(&findings, name).state, State::Present, "{findings:#?}");
    }
    for name in ["memory limits", "cpu limits", "pids limits", "mmdebstrap", "docker", "disk space"]
    {
        find(&findings, name);
    }
    let known = run(features(&test.data()))?;
    for feature in Feature::ALL {
        let present = find(&findings, &feature.to_string()).state == State::Present;
        assert_eq!(present, known.has(feature), "{feature}");
    }
    assert_eq!(self::links()?, links);
    test.has_answers_only()
}

/// Root becomes such a user for it: the test program starts itself once more.
fn an_ordinary_user_with_a_single_id_is_told_so() -> Result<(), Failed> {
    let test = Folder::new("user")?;
    if !rustix::process::geteuid().is_root() {
        let findings = run(examine(&test.data()));
        for name in ["user namespaces", "overlayfs", "proc"] {
            assert_eq!(find(&findings, name).state, State::Present, "{findings:#?}");
        }
        let ids = find(&findings, "ids of labs");
        assert!(matches!(ids.state, State::Fallback(_)), "{ids:?}");
        assert!(ids.hint.is_some());
        return test.has_answers_only();
    }
    let program = test.path.join("program");
    fs::copy(std::env::current_exe()?, &program)?;
    let home = test.path.join("home");
    fs::create_dir(&home)?;
    std::os::unix::fs::chown(&home, Some(USER), Some(USER))?;
    let user = USER.to_string();
    #[expect(clippy::disallowed_methods, reason = "the test starts itself as another user")]
    let output = std::process::Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .arg(&program)
        .args(["--exact", AS_USER])
        .env("TMPDIR", &home)
        .env("HOME", &home)
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(fs::read_dir(&home)?.count(), 0);
    Ok(())
}

fn what_a_killed_trial_left_is_removed() -> Result<(), Failed> {
    let test = Folder::new("killed")?;
    // No process has this number: it is beyond the largest (PID_MAX_LIMIT).
    let left = test.data().path().join(".trial-4194305");
    let early = test.data().path().join(".trial-4194306");
    fs::create_dir_all(left.join("work/work"))?;
    fs::create_dir(&early)?;
    // The root of the namespaces, to whom these would belong, may remove them so too.
    for folder in [left.clone(), left.join("work")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
    }
    // A folder of a lab-to-be with a name that is no trial's stays.
    let other = test.data().path().join(".trial-x");
    fs::create_dir(&other)?;
    run(examine(&test.data()));
    assert!(!left.exists());
    assert!(!early.exists());
    assert!(other.exists());
    fs::remove_dir(&other)?;
    test.has_answers_only()
}

fn a_data_folder_that_cannot_be_made() -> Result<(), Failed> {
    let test = Folder::new("file")?;
    fs::File::create(test.data().path())?;
    let findings = run(examine(&test.data()));
    let folder = find(&findings, &format!("folder {}", test.data().path().display()));
    assert_eq!(folder.state, State::Missing);
    // The kernel was asked all the same.
    find(&findings, "veth");
    let error = run(features(&test.data())).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    Ok(())
}

fn find<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.name == name);
    found.unwrap_or_else(|| panic!("no finding called {name}: {findings:#?}"))
}

/// The links of the host's network namespace, with those of the tests side by side.
fn links() -> std::io::Result<BTreeSet<String>> {
    let text = fs::read_to_string("/proc/net/dev")?;
    Ok(text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A temporary folder with a data folder in it.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(name: &str) -> std::io::Result<Self> {
        let name = format!("netarium-doctor-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    fn data(&self) -> DataFolder {
        DataFolder::at(self.path.join("data"))
    }

    fn answers(&self) -> PathBuf {
        self.data().path().join("features.json")
    }

    fn change(&self, change: impl FnOnce(&mut Value)) -> Result<(), Failed> {
        let mut answers: Value = serde_json::from_slice(&fs::read(self.answers())?)?;
        change(&mut answers);
        Ok(write_over(&self.answers(), &serde_json::to_vec(&answers)?)?)
    }

    fn has_answers_only(&self) -> Result<(), Failed> {
        let entries = fs::read_dir(self.data().path())?;
        let names: Vec<_> =
            entries.map(|it| it.map(|it| it.file_name())).collect::<Result<_, _>>()?;
        assert_eq!(names, ["features.json"]);
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).unwrap();
    }
}

fn write_over(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    fs::File::create(path)?.write_all(bytes)
}
