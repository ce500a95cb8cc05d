//! Labs whose nodes Docker makes: the same labs, the same checks, and what only another engine can do
//! to them. The engine is one of the tests' own (`.ci/daemons`).

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use netarium::folder::DataFolder;
use netarium::lab::{LabError, State, UpOptions};
use netarium_core::model::Engine;

use crate::examples::{
    assert_is_as_it_should_be, assert_recovers_from_what_is_done_to_it, examples,
};
use crate::lab::{TestLab, in_words, kill, run, wait_until};
use crate::owner;

/// Where the engine of the tests is.
const TEST_DOCKER: &str = "NETARIUM_TEST_DOCKER";
/// Where the library looks for it.
const DOCKER_HOST: &str = "DOCKER_HOST";

pub(crate) const DOCKER: &str = "engine: docker\n";

/// Two hosts and a router between them, with a service.
const TWO: &str = "
image: host
segments:
  left: 10.1.0.0/24
  right: {prefix: 10.2.0.0/24, driver: bridge}
nodes:
  router: {forward: true, interfaces: {left: 10.1.0.1, right: 10.2.0.1}}
  alice: {interfaces: {left: 10.1.0.2}, gateway: 10.1.0.1}
  bob:
    interfaces: {right: 10.2.0.2}
    gateway: 10.2.0.1
    services: [{name: web, run: [netarium-probe, http-echo, --port, 8080], ready: {tcp: 8080}}]
";

/// Has the library find the engine of the tests: this program begins once more, with its place in the
/// variable that Docker's own programs read.
pub(crate) fn name_the_engine() {
    let Some(place) = std::env::var_os(TEST_DOCKER) else { return };
    if std::env::var_os(DOCKER_HOST).as_ref() == Some(&place) {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "the test program starts itself")]
    let mut again = Command::new("/proc/self/exe");
    let error = again.args(std::env::args_os().skip(1)).env(DOCKER_HOST, place).exec();
    panic!("cannot begin again: {error}");
}

/// A data folder that has the images of the other tests, and no lab of theirs.
pub(crate) fn data() -> DataFolder {
    assert!(
        std::env::var_os(TEST_DOCKER).is_some(),
        "there is no Docker Engine: .ci/daemons starts one for these tests"
    );
    let folder = owner::data().path().join("docker");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(owner::data().images()).unwrap();
    // Another test may have made it by now.
    std::os::unix::fs::symlink(owner::data().images(), folder.join("images")).ok();
    DataFolder::at(folder)
}

fn lab(name: &str, body: &str) -> TestLab {
    TestLab::at(data(), name, &format!("{DOCKER}{body}"))
}

pub(crate) fn docker(words: &[&str]) -> String {
    #[expect(clippy::disallowed_methods, reason = "the engine is asked past the library")]
    let output = Command::new("docker").args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The containers of a lab, running or not.
pub(crate) fn containers(lab: &TestLab) -> Vec<String> {
    let ours = format!("label=io.netarium.lab={}", lab.lab.name());
    let folder = format!("label=io.netarium.data={}", data().path().display());
    let words = ["ps", "--all", "--quiet", "--filter", &ours, "--filter", &folder];
    docker(&words).lines().map(str::to_owned).collect()
}

/// Takes a lab down and asserts that nothing of it is left, at the engine neither.
pub(crate) fn down(lab: &TestLab) {
    lab.down();
    assert_eq!(containers(lab), Vec::<String>::new());
}

fn web(lab: &TestLab) {
    let probe = ["netarium-probe", "http", "--address", "10.2.0.2", "--port", "8080"];
    lab.ok("alice", &probe);
}

pub(crate) fn every_lab_is_the_same_on_docker() {
    let paths = examples(|_| true);
    assert!(paths.len() >= 9, "{paths:?}");
    // Two processors have no more than this to do at a time.
    for some in paths.chunks(3) {
        std::thread::scope(|scope| {
            for path in some {
                scope.spawn(|| every_check_passes(path));
            }
        });
    }
}

fn every_check_passes(path: &Path) {
    let lab = TestLab::of_file_at(data(), path, DOCKER);
    assert!(!lab.up().is_empty());
    assert_eq!(lab.lab.engine(), Some(Engine::Docker));
    assert_eq!(containers(&lab).len(), lab.file().model.nodes.len());
    assert_is_as_it_should_be(&lab);
    if !lab.file().model.disturbances.is_empty() {
        assert_recovers_from_what_is_done_to_it(&lab);
    }
    down(&lab);
}

pub(crate) fn a_container_that_docker_starts_again_gets_its_network_back() {
    let lab = lab("docker-restart", TWO);
    lab.up();
    web(&lab);
    for node in ["router", "bob"] {
        let before = lab.init(node);
        docker(&["restart", &format!("netarium-docker-restart.{node}")]);
        wait_until("the node has another first process", || lab.init(node) != before);
        wait_until("the lab is healthy", || {
            let status = lab.status();
            status.steps.is_empty() && status.findings.is_empty()
        });
        web(&lab);
    }
    down(&lab);
}

pub(crate) fn a_watcher_that_was_killed_is_told_and_started_again() {
    let lab = lab("docker-watcher", TWO);
    lab.up();
    let watcher = || {
        let record = fs::read(lab.folder().join("watcher.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        u32::try_from(record["pid"].as_u64().unwrap()).unwrap()
    };
    kill(watcher());
    let findings = lab.status().findings;
    assert!(findings.iter().any(|(_, why)| why.contains("watcher has ended")), "{findings:?}");
    // Nobody hears of this one.
    docker(&["restart", "netarium-docker-watcher.bob"]);
    wait_until("the node waits to be wired", || !lab.ailments().is_empty());
    lab.up();
    lab.assert_healthy();
    web(&lab);
    down(&lab);
}

pub(crate) fn an_up_that_was_killed_leaves_nothing_of_docker() {
    let lab = lab("docker-killed", TWO);
    for moment in [1, 3, 5, 6, 7, 9, 15, 25] {
        let mut up = lab.start_up();
        let events: Vec<String> = (0..moment).map_while(|_| up.next()).collect();
        assert!(up.kill() || events.last().is_some_and(|it| it == "Settled"), "{events:#?}");
        lab.note();
        if run(lab.lab.down(&|_| ())).is_err() {
            panic!("after {moment} events: {events:#?}");
        }
        lab.assert_nothing_left();
        assert_eq!(containers(&lab), Vec::<String>::new(), "after {moment} events");
    }
    // One that is there in part is completed, too.
    let mut up = lab.start_up();
    up.wait_for("Step");
    up.kill();
    lab.up();
    lab.assert_healthy();
    web(&lab);
    down(&lab);
}

pub(crate) fn a_lab_whose_folder_was_lost_is_taken_down_all_the_same() {
    let lab = lab("docker-lost", TWO);
    lab.up();
    lab.note();
    fs::remove_dir_all(lab.folder()).unwrap();
    assert_eq!(lab.lab.state(), State::Down);
    assert!(run(lab.lab.down(&|_| ())).unwrap());
    assert_eq!(containers(&lab), Vec::<String>::new());
    wait_until("its processes have ended", || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lab.assert_nothing_left())).is_ok()
    });
}

pub(crate) fn labs_with_the_same_prefixes_do_not_notice_each_other() {
    let body = "
image: host
segments: {one: 10.0.0.0/24, two: 10.0.0.0/24}
nodes:
  alice: {interfaces: {one: 10.0.0.1}}
  bob: {interfaces: {one: 10.0.0.2}}
  carol: {interfaces: {two: 10.0.0.1}}
  dave: {interfaces: {two: {addresses: 10.0.0.3, name: lan}}}
";
    let labs = [lab("docker-first", body), lab("docker-second", body)];
    std::thread::scope(|scope| {
        labs.iter().for_each(|lab| drop(scope.spawn(|| lab.up())));
    });
    for lab in &labs {
        lab.assert_healthy();
        assert!(lab.ping("alice", "10.0.0.2") && lab.ping("carol", "10.0.0.3"));
        assert!(!lab.ping("alice", "10.0.0.3") && !lab.ping("carol", "10.0.0.2"));
        assert_eq!(lab.ip("dave", &["link", "show", "lan"])[0]["ifname"], "lan");
    }
    down(&labs[0]);
    labs[1].assert_healthy();
    down(&labs[1]);
}

pub(crate) fn a_lab_is_on_one_engine_at_a_time() {
    let mut lab = lab("docker-other", TWO);
    lab.up();
    lab.replace(DOCKER, "engine: native\n");
    let error = lab.try_up(UpOptions::default()).unwrap_err();
    assert!(matches!(error, LabError::OtherEngine { .. }), "{}", in_words(&error));
    assert!(error.hint().unwrap().contains("netarium down docker-other"));
    // Whoever does not say which means the one it is on.
    lab.replace("engine: native\n", "");
    assert_eq!(lab.up(), Vec::<String>::new());
    lab.assert_healthy();
    down(&lab);
}

pub(crate) fn a_name_of_somebody_elses_container_is_told() {
    let lab = lab("docker-taken", TWO);
    lab.up();
    let image = docker(&["inspect", "--format", "{{.Config.Image}}", "netarium-docker-taken.bob"]);
    down(&lab);
    docker(&["create", "--name", "netarium-docker-taken.bob", image.trim(), "true"]);
    let error = lab.try_up(UpOptions::default()).unwrap_err();
    let words = in_words(&error);
    assert!(words.contains("netarium-docker-taken.bob"), "{words}");
    assert_eq!(containers(&lab), Vec::<String>::new());
    docker(&["rm", "netarium-docker-taken.bob"]);
    lab.assert_nothing_left();
}
