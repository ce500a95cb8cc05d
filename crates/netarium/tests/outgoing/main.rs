//! An image that was built here is given to Docker, in a file and through a registry, and to another
//! Netarium, which is another store; and to registries that are not as they should be.
//!
//! The test program is also the stage program, hence no harness.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod pushing;
#[path = "../daemons/reached_by.rs"]
mod reached_by;
mod registry;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use libtest_mimic::{Arguments, Failed, Trial};
use netarium::image::outgoing::{Compression, Packed, Packing, pack};
use netarium::image::{ImageEvent, PullOptions, Store, Transport};
use netarium_core::image::{Platform, Reference};
use netarium_core::model::{Image, Recipe};
use netarium_core::name::Name;
use reached_by::reached_by;
use serde_json::Value;

fn main() -> ExitCode {
    netarium::run_if_stage();
    pushing::name_the_passwords();
    let test = Trial::test(
        "an_image_goes_to_docker_and_to_another_store_as_it_is",
        an_image_goes_to_docker_and_to_another_store_as_it_is,
    );
    let tests = vec![
        test.with_ignored_flag(true),
        Trial::test(
            "what_breaks_off_is_sent_again_and_what_is_there_is_not",
            pushing::what_breaks_off_is_sent_again_and_what_is_there_is_not,
        ),
        Trial::test("what_never_arrives_is_not_named", pushing::what_never_arrives_is_not_named),
        Trial::test(
            "who_pushes_needs_the_password_that_fits",
            pushing::who_pushes_needs_the_password_that_fits,
        ),
    ];
    let exit_code = libtest_mimic::run(&Arguments::from_args(), tests).exit_code();
    pushing::forget_the_passwords();
    exit_code
}

/// Needs .ci/daemons, which needs root. One test, since building an image takes its time.
fn an_image_goes_to_docker_and_to_another_store_as_it_is() -> Result<(), Failed> {
    let (docker, registry) =
        (reached_by("NETARIUM_TEST_DOCKER"), reached_by("NETARIUM_TEST_REGISTRY"));
    let folder = Folder::new("docker")?;
    let store = Store::at(&folder.0.join("images"))?;
    let recipe = Recipe {
        name: Name::new("tiny").unwrap(),
        suite: "bookworm".to_owned(),
        packages: BTreeSet::from(["iputils-ping".to_owned(), "libcap2-bin".to_owned()]),
    };
    run(store.build(&recipe, &|_| ()))?;
    let packed = packed(&store, Compression::Gzip)?;
    assert_eq!(packed.platforms().count(), 1);
    assert_eq!(packed.digest(), self::packed(&store, Compression::Gzip)?.digest());
    assert_ne!(packed.digest(), self::packed(&store, Compression::Zstd)?.digest());

    let archive = folder.0.join("tiny.tar");
    packed.export(&"netarium-test/tiny:file".parse::<Reference>()?, &archive)?;
    docker_does(&docker, &["load", "--input", archive.to_str().unwrap()]);
    looks_right(&docker, "netarium-test/tiny:file");

    let name: Reference = format!("{registry}/netarium-test/tiny:1").parse()?;
    run(packed.push(&name, Transport::Plain, &|_| ()))?;
    // Nothing is left to be sent, and it is named once more.
    run(packed.push(&name, Transport::Plain, &|_| ()))?;
    docker_does(&docker, &["pull", &name.to_string()]);
    looks_right(&docker, &name.to_string());
    both_platforms_are_the_same_for_all(&store, &folder.0, &docker, &registry)?;

    let other = Store::at(&folder.0.join("others"))?;
    let image = Image::Registry { reference: name, platform: None };
    let lost = Mutex::new(Vec::new());
    let report = |event| {
        if let ImageEvent::Pulled { lost: told, .. } = event {
            lost.lock().unwrap().extend(told);
        }
    };
    let options = PullOptions { transport: Transport::Plain };
    let pulled = run(other.pull(&image, options, &report))?;
    assert_eq!(lost.into_inner().unwrap(), Vec::<String>::new());
    assert_eq!(pulled.found().config.command, ["/bin/bash"]);
    run(other.remove_pulled(|_| true))?;
    run(store.remove("tiny"))?;
    Ok(())
}

/// Its files once more as those of another machine: what an emulator builds for a quarter of an hour
/// differs in nothing that matters here.
fn for_another_machine(store: &Store) -> Result<Platform, Failed> {
    let built = store.built("tiny")?.remove(0);
    let other = match built.platform.architecture.as_str() {
        "amd64" => "arm64",
        _ => "amd64",
    };
    let path = |digest: &str| store.folder().join(digest);
    let (from, to) = (path(&built.digest), path(&"0".repeat(64)));
    #[expect(clippy::disallowed_methods, reason = "owners and links are kept, too")]
    let copied = std::process::Command::new("cp").arg("-a").args([&from, &to]).status()?;
    assert!(copied.success());
    let mut record: Value = serde_json::from_slice(&fs::read(to.join("image.json"))?)?;
    let platform: Platform = format!("linux/{other}").parse()?;
    record["platform"] = serde_json::to_value(&platform)?;
    fs::remove_file(to.join("image.json"))?;
    fs::File::create(to.join("image.json"))?.write_all(record.to_string().as_bytes())?;
    Ok(platform)
}

/// One name for two platforms: Docker and another store get the same, for each.
fn both_platforms_are_the_same_for_all(
    store: &Store,
    folder: &Path,
    docker: &str,
    registry: &str,
) -> Result<(), Failed> {
    let other = for_another_machine(store)?;
    let both = packed(store, Compression::Gzip)?;
    assert_eq!(both.platforms().count(), 2);
    let name: Reference = format!("{registry}/netarium-test/tiny:both").parse()?;
    run(both.push(&name, Transport::Plain, &|_| ()))?;
    let others = Store::at(&folder.join("both"))?;
    for platform in both.platforms() {
        let architecture = &platform.architecture;
        let words = ["pull", "--platform", &platform.to_string(), &name.to_string()];
        let said = docker_does(docker, &words);
        assert!(said.contains(&format!("Digest: {}", both.digest())), "{said}");
        let image = Image::Registry { reference: name.clone(), platform: Some(platform.clone()) };
        let options = PullOptions { transport: Transport::Plain };
        let pulled = run(others.pull(&image, options, &|_| ()))?;
        assert_eq!(pulled.platform, *platform);
        // What one of them has is had by its digest from the other.
        let by_digest = format!("{registry}/netarium-test/tiny@{}", pulled.digest);
        docker_does(docker, &["pull", &by_digest]);
        let words = ["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", &by_digest];
        assert_eq!(docker_does(docker, &words).trim(), format!("linux/{architecture}"));
    }
    assert!(both.platforms().any(|it| *it == other));
    run(others.remove_pulled(|_| true))?;
    run(store.remove(&"0".repeat(64)))?;
    Ok(())
}

fn packed(store: &Store, compression: Compression) -> Result<Packed, Failed> {
    let packing = Packing { compression, ..Packing::default() };
    let packed = run(pack(store, &store.built("tiny")?, &packing, &|_| ()))?;
    let left = fs::read_dir(store.folder())?.filter(|entry| {
        entry.as_ref().is_ok_and(|it| it.file_name().to_string_lossy().starts_with(".packing"))
    });
    assert_eq!(left.count(), 0);
    Ok(packed)
}

/// Its files belong to those that they belong to, may do what they may, and run.
fn looks_right(docker: &str, image: &str) {
    let script = "stat -c '%U %G %A' /var/mail /usr/bin/su /tmp; getcap /usr/bin/ping; \
                  ping -c 1 -W 5 127.0.0.1 >/dev/null && echo it pings";
    let said = docker_does(docker, &["run", "--rm", "--network=none", image, "sh", "-c", script]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "root mail drwxrwsr-x",
            "root root -rwsr-xr-x",
            "root root drwxrwxrwt",
            "/usr/bin/ping cap_net_raw=ep",
            "it pings"
        ]
    );
}

#[expect(clippy::disallowed_methods, reason = "the test asks Docker's own client")]
fn docker_does(engine: &str, words: &[&str]) -> String {
    let output = std::process::Command::new("docker").args(["--host", engine]).args(words).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self, Failed> {
        let name = format!("netarium-outgoing-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(Path::new(&self.0)).ok();
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
