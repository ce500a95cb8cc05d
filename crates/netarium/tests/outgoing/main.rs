//! An image that was built here is given to Docker, in a file and through a registry, and to another
//! Netarium, which is another store.
//!
//! The test program is also the stage program, hence no harness.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

#[path = "../daemons/reached_by.rs"]
mod reached_by;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use libtest_mimic::{Arguments, Failed, Trial};
use netarium::image::outgoing::{Compression, Packed, Packing, pack};
use netarium::image::{ImageEvent, PullOptions, Store, Transport};
use netarium_core::image::Reference;
use netarium_core::model::{Image, Recipe};
use netarium_core::name::Name;
use reached_by::reached_by;

fn main() -> ExitCode {
    netarium::run_if_stage();
    let test = Trial::test(
        "an_image_goes_to_docker_and_to_another_store_as_it_is",
        an_image_goes_to_docker_and_to_another_store_as_it_is,
    );
    libtest_mimic::run(&Arguments::from_args(), vec![test.with_ignored_flag(true)]).exit_code()
}

/// Needs .ci/daemons, which needs root. One test, since building an image takes its time.
fn an_image_goes_to_docker_and_to_another_store_as_it_is() -> Result<(), Failed> {
    let (docker, registry) =
        (reached_by("NETARIUM_TEST_DOCKER"), reached_by("NETARIUM_TEST_REGISTRY"));
    let folder = Folder::new()?;
    let store = Store::at(&folder.0.join("images"))?;
    let recipe = Recipe {
        name: Name::new("tiny").unwrap(),
        suite: "bookworm".to_owned(),
        packages: BTreeSet::from(["iputils-ping".to_owned(), "libcap2-bin".to_owned()]),
    };
    run(store.build(&recipe, &|_| ()))?;
    let packed = packed(&store, Compression::Gzip)?;
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

fn packed(store: &Store, compression: Compression) -> Result<Packed, Failed> {
    let packing = Packing { compression, ..Packing::default() };
    let packed = run(pack(store, &store.built("tiny")?, &packing, &|_| ()))?;
    assert_eq!(packed.platforms().count(), 1);
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
    fn new() -> Result<Self, Failed> {
        let path = std::env::temp_dir().join(format!("netarium-outgoing-{}", std::process::id()));
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
