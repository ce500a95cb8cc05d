//! The labs that come with the project.

use std::fs;
use std::path::PathBuf;

use netarium::check::{Selection, check, disturb};
use netarium::lab::State;
use netarium::lab_file::LabFile;
use netarium_core::model::Model;
use netarium_core::outcome::{Capture, Kind};
use serde_json::Value;

use crate::lab::{TestLab, name, run, wait_until};
use crate::owner;

pub(crate) fn every_lab_comes_up_passes_its_checks_and_leaves_nothing() {
    let labs = examples(|model| model.tunnels.is_empty());
    assert!(labs.len() >= 3, "{labs:?}");
    for path in labs {
        let lab = TestLab::of_file(&path);
        assert_eq!(lab.status().state, State::Down);
        assert!(!lab.up().is_empty());
        assert_is_as_it_should_be(&lab);
        assert_eq!(lab.lab.record().unwrap().file.to_str(), path.to_str());
        lab.down();
    }
}

/// They use the same addresses, and none notices the others.
pub(crate) fn all_labs_with_tunnels_are_up_at_the_same_time_and_pass_their_checks() {
    let labs: Vec<TestLab> = examples(|model| !model.tunnels.is_empty())
        .iter()
        .map(|path| TestLab::of_file(path))
        .collect();
    let is_disturbed = |lab: &&TestLab| !lab.file().model.disturbances.is_empty();
    assert!(labs.iter().filter(is_disturbed).count() >= 3, "{}", labs.len());
    for_each_side_by_side(&labs, |lab| assert!(!lab.up().is_empty()));
    for_each_side_by_side(&labs, assert_is_as_it_should_be);
    for_each_side_by_side(&labs, assert_recovers_from_what_is_done_to_it);
    labs.iter().for_each(TestLab::down);
}

/// The lab files of the project whose models are asked for.
pub(crate) fn examples(wanted: impl Fn(&Model) -> bool) -> Vec<PathBuf> {
    let folders = fs::read_dir(owner::example_labs()).unwrap();
    let mut paths: Vec<_> = folders.map(|it| it.unwrap().path().join("lab.yaml")).collect();
    paths.sort();
    paths.retain(|path| wanted(&LabFile::read(path).unwrap().model));
    paths
}

fn for_each_side_by_side(labs: &[TestLab], work: impl Fn(&TestLab) + Sync) {
    std::thread::scope(|scope| {
        labs.iter().for_each(|lab| drop(scope.spawn(|| work(lab))));
    });
}

pub(crate) fn assert_is_as_it_should_be(lab: &TestLab) {
    lab.assert_healthy();
    assert_eq!(lab.up(), Vec::<String>::new(), "a second up has something to do");
    assert_checks_pass(lab);
}

fn assert_checks_pass(lab: &TestLab) {
    let model = lab.file().model;
    let results = run(check(&lab.lab, &model, &Selection::All, &|_| ())).unwrap();
    assert_eq!(results.len(), model.checks.len());
    let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The dynamic checks pass, and so does what listens meanwhile.
pub(crate) fn assert_recovers_from_what_is_done_to_it(lab: &TestLab) {
    let file = lab.file();
    let results = run(disturb(&lab.lab, &file, &Selection::All, &|_| ())).unwrap();
    // A killed node has another first process, which is ours to end, too.
    lab.note();
    assert!(results.len() >= file.model.disturbances.len());
    let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    lab.assert_healthy();
}

/// The lab that the project is about.
pub(crate) fn both_tunnels_carry_http_and_the_internet_sees_nothing_but_ike_and_esp() {
    let lab = TestLab::of_file(&owner::example_labs().join("site-to-site/lab.yaml"));
    assert!(!lab.up().is_empty());

    let internet = [
        ("router", "eth0"),
        ("router", "eth1"),
        ("router", "eth2"),
        ("gateway-a", "eth1"),
        ("gateway-b", "eth1"),
        ("gateway-s", "eth1"),
    ];
    let captures = internet.map(|(node, interface)| {
        let mut capture = lab.talk(node, &["netarium-probe", "capture", "--interface", interface]);
        assert_eq!(capture.hear(), r#"{"ready":true}"#, "{node} {interface}");
        (node, interface, capture)
    });
    for client in ["client-a1", "client-a2", "client-b1", "client-b2"] {
        let probe = ["netarium-probe", "http", "--address", "10.3.0.2", "--port", "8080"];
        let answer: Value = serde_json::from_str(&lab.ok(client, &probe)).unwrap();
        assert!(answer["reached"].to_string().contains("server-s1"), "{client}: {answer}");
        assert!(lab.ping(client, "10.3.0.2"), "{client}");
    }
    for (node, interface, capture) in captures {
        let seen: Capture = serde_json::from_str(&capture.end()).unwrap();
        let is_fine = |kind: &Kind| {
            matches!(kind, Kind::Arp | Kind::Ndp | Kind::Group | Kind::Ike | Kind::Esp)
        };
        assert!(seen.frames.keys().all(is_fine), "{node} {interface}: {seen:#?}");
        assert!(seen.frames.get(&Kind::Esp).is_some_and(|count| *count >= 8), "{seen:#?}");
    }
    let services = lab.services("gateway-s");
    assert!(services.iter().any(|it| it.service.name == name("charon")), "{services:?}");
    wait_until("the lab is healthy", || lab.ailments().is_empty());
    lab.down();
}
