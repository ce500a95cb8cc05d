//! `netarium export` from outside: folders for Docker Compose, and what Docker Compose makes of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

mod place;
#[path = "../../netarium/tests/daemons/reached_by.rs"]
mod reached_by;

use place::{Place, Ran};
use reached_by::reached_by;

fn labs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../labs")
}

fn export(place: &Place, lab: &str, more: &[&str]) -> Ran {
    let path = labs().join(lab).display().to_string();
    place.run(&[&["export", "compose", &path], more].concat())
}

#[test]
fn every_lab_is_exported_and_the_result_is_read_again() {
    let place = Place::new("export-all");
    let names = fs::read_dir(labs()).unwrap().map(|it| it.unwrap().file_name());
    let names: Vec<String> = names.map(|it| it.into_string().unwrap()).collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        let ran = export(&place, &name, &["--output", &name]);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.talk);
        let ran = place.run(&["validate", &format!("{name}/compose.yaml")]);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.talk);
    }
}

#[test]
fn keys_are_for_their_owner_and_the_folder_for_nobody_else() {
    let place = Place::new("export-keys");
    let ran = export(&place, "site-to-site", &["--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.talk);
    let told: serde_json::Value = serde_json::from_str(&ran.data).unwrap();
    assert_eq!(told["folder"], "site-to-site-compose");
    assert_eq!(told["nodes"], 9);
    assert!(
        told["notes"].as_array().unwrap().iter().any(|it| it.as_str().unwrap().contains("checks"))
    );
    let folder = place.0.join("site-to-site-compose");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&folder), 0o700);
    let swanctl = folder.join("nodes/gateway-a/files/etc/swanctl");
    for path in ["private/gateway-a.pem", "x509/gateway-a.pem", "x509ca/root.pem"] {
        let path = swanctl.join(path);
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().uid(), fs::metadata(&place.0).unwrap().uid());
    }
    // Each export has keys of its own.
    let key = || fs::read(swanctl.join("private/gateway-a.pem")).unwrap();
    let before = key();
    assert_eq!(export(&place, "site-to-site", &[]).code, Some(0));
    assert_ne!(key(), before);
}

#[test]
fn what_is_not_an_export_is_not_written_over() {
    let place = Place::new("export-foreign");
    place.write("mine/notes", "mine");
    symlink("mine", place.0.join("link")).unwrap();
    for (folder, words) in
        [("mine", "is not empty, and was not written by"), ("link", "is no folder")]
    {
        let ran = export(&place, "hello", &["-o", folder]);
        assert_eq!(ran.code, Some(2), "{}", ran.talk);
        assert!(ran.talk.contains(words) && ran.talk.contains("--output FOLDER"), "{}", ran.talk);
    }
    assert_eq!(export(&place, "hello", &["-o", "out"]).code, Some(0));
    place.write("out/compose.yaml", "services: {}");
    let ran = export(&place, "hello", &["-o", "out"]);
    assert!(ran.talk.contains("changed since it was exported: compose.yaml"), "{}", ran.talk);
    let mut names: Vec<_> =
        fs::read_dir(&place.0).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["data", "link", "mine", "out"]);
}

/// A program that speaks to the engine of the tests, in the folder of an export.
fn at_engine(folder: &Path, words: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the engine is used past the command")]
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(folder);
    command.env("DOCKER_HOST", reached_by("NETARIUM_TEST_DOCKER")).output().unwrap()
}

fn fine(folder: &Path, words: &[&str]) -> String {
    let output = at_engine(folder, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Asks for a web page from a node until there is an answer.
fn answer(folder: &Path, node: &str, address: &str) -> String {
    let question = ["netarium-probe", "http", "--address", address, "--port", "8080"];
    let exec = ["docker-compose", "exec", "-T", node];
    let words = [&exec[..], &question, &["--timeout-ms", "500"]].concat();
    let began = Instant::now();
    loop {
        let output = at_engine(folder, &words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains("\"status\":200") {
            return text;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{node} hears nothing: {text}");
    }
}

#[test]
#[ignore = "needs .ci/daemons, which needs root"]
fn docker_compose_brings_an_exported_lab_up_with_both_tunnels() {
    let place = Place::new("export-up");
    // The image that the other tests have.
    let root = std::env::var("NETARIUM_TEST_ROOT").expect("NETARIUM_TEST_ROOT is set by .ci/test");
    let images = Path::new(&root).parent().and_then(Path::parent).unwrap();
    fs::create_dir(place.0.join("data")).unwrap();
    symlink(images, place.0.join("data/images")).unwrap();
    let path = labs().join("site-to-site").display().to_string();
    let words = ["export", "compose", &path, "--output", "out", "--load"];
    let docker = reached_by("NETARIUM_TEST_DOCKER");
    let ran: Ran = place.netarium(&words).env("DOCKER_HOST", docker).output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{}", ran.talk);

    let folder = place.0.join("out");
    fine(&folder, &["docker-compose", "up", "--detach"]);
    for (node, address) in [
        ("client-a1", "10.3.0.2"),
        ("client-b1", "10.3.0.2"),
        ("client-a2", "10.1.0.99"),
        ("client-b2", "10.2.0.99"),
    ] {
        assert!(answer(&folder, node, address).contains("server-s1"));
    }
    // No tunnel joins the two sites, and the Internet knows none.
    for (node, address) in [("client-a1", "10.2.0.2"), ("router", "10.1.0.2")] {
        let ping = ["ping", "-c", "1", "-W", "1", address];
        let words = [&["docker-compose", "exec", "-T", node][..], &ping].concat();
        assert!(!at_engine(&folder, &words).status.success(), "{node} reaches {address}");
    }
    fine(&folder, &["docker-compose", "down", "--volumes"]);
    let ours = ["--quiet", "--filter", "label=com.docker.compose.project=site-to-site"];
    for things in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
        assert_eq!(fine(&folder, &[&["docker"], things, &ours].concat()), "", "{things:?}");
    }
}
