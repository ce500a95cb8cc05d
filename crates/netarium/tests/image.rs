//! Images are built, interrupted and removed for real, as root and as an ordinary user.
//!
//! The test program is also the stage program, hence no harness: it has to look whether it is a
//! stage before there are threads. Every test has a store of its own in a temporary folder, and
//! asserts at its end that nothing else is left there.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use libtest_mimic::{Arguments, Failed, Trial};
use netarium::image::{ImageError, ImageEvent, Store};
use netarium_core::model::Recipe;
use netarium_core::name::Name;

/// A user who has no line in `/etc/subuid`.
const USER: u32 = 54_321;

fn main() -> ExitCode {
    netarium::run_if_stage();
    let tests = vec![
        Trial::test(
            "an_ordinary_user_without_subordinate_ids_builds_too",
            an_ordinary_user_without_subordinate_ids_builds_too,
        ),
        Trial::test(
            "an_image_is_built_once_and_can_be_removed",
            an_image_is_built_once_and_can_be_removed,
        ),
        Trial::test("an_interrupted_build_leaves_nothing", an_interrupted_build_leaves_nothing),
        Trial::test(
            "a_package_that_does_not_exist_is_named",
            a_package_that_does_not_exist_is_named,
        ),
        Trial::test("a_word_that_is_an_option_is_refused", a_word_that_is_an_option_is_refused),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn an_image_is_built_once_and_can_be_removed() -> Result<(), Failed> {
    let test = TestStore::new("build")?;
    let recipe = recipe(&["iproute2"]);
    let events = Mutex::new(Vec::new());
    let rootfs = run(test.store.ensure(&recipe, &|event| events.lock().unwrap().push(event)))?;
    for file in ["usr/bin/dpkg", "usr/bin/ip", "etc/machine-id", "bin/sh"] {
        assert!(rootfs.join(file).exists(), "{file}");
    }
    assert!(fs::symlink_metadata(rootfs.join("bin"))?.is_symlink(), "/usr is merged");
    assert_eq!(fs::read_to_string(rootfs.join("etc/machine-id"))?, "");
    assert_eq!(fs::read_dir(rootfs.join("usr/share/doc"))?.count(), 0);
    let owner = fs::metadata(rootfs.join("etc/passwd"))?.uid();
    assert_ne!(owner, 0, "root of the image is root of the host");
    assert_steps(&events.into_inner().unwrap());

    run(test.store.ensure(&recipe, &|event| panic!("{event:?}, though it is there")))?;
    let stored = test.store.list()?;
    assert_eq!(stored.len(), 1);
    assert!(stored[0].bytes > 30_000_000, "{stored:?}");
    let hold = run(test.store.hold(&recipe.digest()))?;
    let error = run(test.store.remove("tiny")).unwrap_err();
    assert!(matches!(error, ImageError::InUse { .. }), "{error}");
    drop(hold);

    // What a build leaves that was killed together with its stage, and a trap in it.
    let half = test.store.folder().join(format!(".building-{}", recipe.digest()));
    fs::rename(test.store.folder().join(recipe.digest()), &half)?;
    let kept = test.folder.join("kept");
    fs::File::create(&kept)?;
    std::os::unix::fs::symlink(&test.folder, half.join("rootfs/trap"))?;
    test.interrupt(&recipe, "downloading package lists")?;
    assert!(kept.exists());

    test.has_nothing_left()
}

/// Root becomes such a user for it: the test program starts itself once more.
fn an_ordinary_user_without_subordinate_ids_builds_too() -> Result<(), Failed> {
    let test = TestStore::new("user")?;
    if !rustix::process::geteuid().is_root() {
        let recipe = recipe(&["iputils-ping"]);
        let rootfs = run(test.store.ensure(&recipe, &|_| ()))?;
        let owner = fs::metadata(rootfs.join("etc/passwd"))?.uid();
        assert_eq!(owner, rustix::process::geteuid().as_raw());
        assert!(rootfs.join("usr/bin/ping").exists());
        run(test.store.remove("tiny"))?;
        return test.has_nothing_left();
    }
    let program = test.folder.join("program");
    fs::copy(std::env::current_exe()?, &program)?;
    let home = test.folder.join("home");
    fs::create_dir(&home)?;
    std::os::unix::fs::chown(&home, Some(USER), Some(USER))?;
    let user = USER.to_string();
    #[expect(clippy::disallowed_methods, reason = "the test starts itself as another user")]
    let output = std::process::Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .arg(&program)
        .args(["--exact", "an_ordinary_user_without_subordinate_ids_builds_too"])
        .env("TMPDIR", &home)
        .env("HOME", &home)
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(fs::read_dir(&home)?.count(), 0);
    Ok(())
}

fn an_interrupted_build_leaves_nothing() -> Result<(), Failed> {
    let test = TestStore::new("interrupted")?;
    let recipe = recipe(&["iproute2"]);
    test.interrupt(&recipe, "unpacking 1")?;
    test.has_nothing_left()
}

fn a_package_that_does_not_exist_is_named() -> Result<(), Failed> {
    let test = TestStore::new("package")?;
    let error = run(test.store.ensure(&recipe(&["no-such-package"]), &|_| ())).unwrap_err();
    assert!(error.to_string().contains("Unable to locate package no-such-package"), "{error}");
    assert!(error.hint().is_some());
    test.has_nothing_left()
}

fn a_word_that_is_an_option_is_refused() -> Result<(), Failed> {
    let test = TestStore::new("word")?;
    for word in ["--help", "a,b", "./a.deb", "a b", "", "?essential", "a'b"] {
        let error = run(test.store.ensure(&recipe(&[word]), &|_| ())).unwrap_err();
        assert!(matches!(error, ImageError::Word { .. }), "{error}");
    }
    test.has_nothing_left()
}

/// A build begins, goes on and is done, never goes back, and says what it counts.
fn assert_steps(events: &[ImageEvent]) {
    assert!(matches!(events.first(), Some(ImageEvent::Started { packages: 1 })), "{events:?}");
    assert!(matches!(events.last(), Some(ImageEvent::Done { .. })), "{events:?}");
    let mut before = 0;
    for event in events {
        if let ImageEvent::Step { done, total, .. } = event {
            assert!(before <= *done && done <= total, "{event:?} after {before}");
            before = *done;
        }
    }
    let told = |what| {
        events
            .iter()
            .any(|event| matches!(event, ImageEvent::Step { text, .. } if text.starts_with(what)))
    };
    for what in ["downloading 1/", "unpacking 1/", "setting up 1/"] {
        assert!(told(what), "{what}");
    }
}

struct TestStore {
    store: Store,
    folder: PathBuf,
}

impl TestStore {
    fn new(test: &str) -> Result<Self, Failed> {
        let folder =
            std::env::temp_dir().join(format!("netarium-image-{test}-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self { store: Store::at(&folder.join("images"))?, folder })
    }

    fn lock_of(&self, recipe: &Recipe) -> PathBuf {
        self.store.folder().join(format!("{}.lock", recipe.digest()))
    }

    /// Gives up a build when it says `text`, and waits until it is cleaned away.
    fn interrupt(&self, recipe: &Recipe, text: &str) -> Result<(), Failed> {
        let wanted = text.to_owned();
        run(async {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            let report = move |event| {
                if matches!(&event, ImageEvent::Step { text, .. } if text.starts_with(&wanted)) {
                    sender.send(()).ok();
                }
            };
            tokio::select! {
                built = self.store.ensure(recipe, &report) => panic!("not interrupted: {built:?}"),
                _ = receiver.recv() => {}
            }
        });
        // The stage cleans up and then lets go of the lock.
        fs::File::open(self.lock_of(recipe))?.lock()?;
        Ok(fs::remove_file(self.lock_of(recipe))?)
    }

    fn has_nothing_left(&self) -> Result<(), Failed> {
        let left: Vec<PathBuf> = fs::read_dir(self.store.folder())?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        assert_eq!(left, Vec::<PathBuf>::new());
        Ok(())
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn recipe(packages: &[&str]) -> Recipe {
    Recipe {
        name: Name::new("tiny").unwrap(),
        suite: "bookworm".to_owned(),
        packages: packages.iter().map(ToString::to_string).collect::<BTreeSet<_>>(),
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
