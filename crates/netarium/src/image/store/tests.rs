//! The store with a builder that only counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A store in a folder of the test's own, which goes with it.
struct TestStore {
    store: Store,
    builds: Arc<AtomicUsize>,
}

impl TestStore {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("netarium-{test}-{}", std::process::id()));
        let builds = Arc::new(AtomicUsize::new(0));
        let store = Store { folder, builder: Builder::Fake(Arc::clone(&builds)) };
        Self { store, builds }
    }

    fn builds(&self) -> usize {
        self.builds.load(Ordering::SeqCst)
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.store.folder).unwrap();
    }
}

pub(super) async fn fake_build(
    store: &Store,
    recipe: &Recipe,
    platform: &Platform,
    builds: &AtomicUsize,
) -> Result<(), ImageError> {
    // Others get their turn while this one builds.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let folder = store.folder.join(platforms::address(recipe, platform));
    fs::create_dir_all(folder.join(ROOTFS)).unwrap();
    let note = File::create(folder.join("image.json")).unwrap();
    let count = builds.fetch_add(1, Ordering::SeqCst);
    serde_json::to_writer(note, &Record::new(recipe, platform, count as u64, 7)).unwrap();
    Ok(())
}

fn recipe(name: &str, package: &str) -> Recipe {
    Recipe {
        name: Name::new(name).unwrap(),
        suite: "bookworm".to_owned(),
        packages: BTreeSet::from([package.to_owned()]),
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn two_who_want_the_same_image_build_it_once() {
    let test = TestStore::new("once");
    let events = Mutex::new(Vec::new());
    let report = |event| events.lock().unwrap().push(event);
    let recipe = recipe("base", "iproute2");
    let (first, second) = run(async {
        tokio::join!(test.store.ensure(&recipe, &report), test.store.ensure(&recipe, &report))
    });
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(test.builds(), 1);
    assert_eq!(*events.lock().unwrap(), [ImageEvent::Waiting]);
}

#[test]
fn images_are_listed_by_name_and_what_is_half_built_is_not() {
    let test = TestStore::new("list");
    assert_eq!(test.store.list().unwrap(), []);
    for (name, package) in [("vpn", "strongswan"), ("base", "iproute2")] {
        run(test.store.ensure(&recipe(name, package), &|_| ())).unwrap();
    }
    let half = test.store.folder.join(format!(".building-{}", "a".repeat(64)));
    fs::create_dir_all(half.join(ROOTFS)).unwrap();
    fs::create_dir_all(test.store.folder.join("b".repeat(64))).unwrap();
    let names: Vec<String> =
        test.store.list().unwrap().iter().map(|image| image.name.to_string()).collect();
    assert_eq!(names, ["base", "vpn"]);
}

#[test]
fn an_image_for_another_platform_is_an_image_of_its_own() {
    let test = TestStore::new("platform");
    let recipe = recipe("base", "iproute2");
    let other = Platform::linux_on("s390x");
    run(test.store.build_for(&recipe, &other, &|_| ())).unwrap();
    run(test.store.ensure(&recipe, &|_| ())).unwrap();
    assert_eq!(test.builds(), 2, "nodes of this machine run nothing for another");
    let built = test.store.built("base").unwrap();
    assert_eq!(built.len(), 2);
    let of_other = built.iter().find(|it| it.platform == other).unwrap();
    assert_eq!(test.store.built(&of_other.digest[..12]).unwrap(), built);
    assert_ne!(of_other.digest, recipe.digest());
    let error = test.store.built("vpn").unwrap_err();
    assert!(matches!(error, ImageError::Missing { .. }), "{error}");
}

#[test]
fn an_image_in_use_is_neither_removed_nor_replaced() {
    let test = TestStore::new("hold");
    let recipe = recipe("base", "iproute2");
    run(test.store.ensure(&recipe, &|_| ())).unwrap();
    let hold = run(test.store.hold(&recipe.digest())).unwrap();
    let copy = OwnedFd::from(hold);
    for error in [
        run(test.store.remove("base")).unwrap_err(),
        run(test.store.build(&recipe, &|_| ())).unwrap_err(),
    ] {
        assert!(matches!(error, ImageError::InUse { .. }), "{error}");
    }
    drop(copy);
    run(test.store.build(&recipe, &|_| ())).unwrap();
    assert_eq!(test.builds(), 2);
}

#[test]
fn a_node_stands_on_the_host_or_on_an_image_that_is_held() {
    let test = TestStore::new("root");
    let host = run(test.store.root(&Image::Host, &|_| ())).unwrap();
    assert_eq!(host.path(), Path::new("/"));
    let image = Image::Recipe(recipe("base", "iproute2"));
    let root = run(test.store.root(&image, &|_| ())).unwrap();
    assert!(root.path().is_dir());
    let error = run(test.store.remove("base")).unwrap_err();
    assert!(matches!(error, ImageError::InUse { .. }), "{error}");
}

#[test]
fn an_image_that_is_not_there_is_neither_held_nor_removed() {
    let test = TestStore::new("missing");
    fs::create_dir_all(&test.store.folder).unwrap();
    let held = run(test.store.hold(&"a".repeat(64))).unwrap_err();
    let removed = run(test.store.remove("base")).unwrap_err();
    assert!(matches!(held, ImageError::Missing { .. }), "{held}");
    assert_eq!(
        removed.to_string(),
        format!("cannot find image base in {}", test.store.folder.display())
    );
}

#[test]
fn a_name_that_two_images_have_is_refused_with_both() {
    let test = TestStore::new("ambiguous");
    for package in ["strongswan", "iproute2"] {
        run(test.store.ensure(&recipe("base", package), &|_| ())).unwrap();
    }
    let error = run(test.store.remove("base")).unwrap_err();
    assert!(matches!(&error, ImageError::Ambiguous { digests, .. } if digests.len() == 2));
}
