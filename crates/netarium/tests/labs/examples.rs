//! The labs that come with the project.

use std::fs;

use netarium::check::{Selection, check};
use netarium::lab::State;
use netarium_core::outcome::{Capture, Kind};
use serde_json::Value;

use crate::lab::{TestLab, name, run, wait_until};
use crate::owner;

pub(crate) fn every_lab_of_the_project_comes_up_passes_its_checks_and_leaves_nothing() {
    let mut paths: Vec<_> = fs::read_dir(owner::example_labs())
        .unwrap()
        .map(|entry| entry.unwrap().path().join("lab.yaml"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 3, "{paths:?}");
    for path in paths.iter().filter(|path| !path.parent().unwrap().ends_with("site-to-site")) {
        let lab = TestLab::of_file(path);
        assert_eq!(lab.status().state, State::Down);
        assert!(!lab.up().is_empty());
        lab.assert_healthy();
        assert_eq!(lab.up(), Vec::<String>::new(), "a second up has something to do");
        assert_checks_pass(&lab);
        assert_eq!(lab.lab.record().unwrap().file.to_str(), Some("/lab.yaml"));
        lab.down();
    }
}

fn assert_checks_pass(lab: &TestLab) {
    let model = lab.file().model;
    let results = run(check(&lab.lab, &model, &Selection::All, &|_| ())).unwrap();
    assert_eq!(results.len(), model.checks.len());
    let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The lab that the project is about.
pub(crate) fn both_tunnels_carry_http_and_the_internet_sees_nothing_but_ike_and_esp() {
    let lab = TestLab::of_file(&owner::example_labs().join("site-to-site/lab.yaml"));
    assert!(!lab.up().is_empty());
    lab.assert_healthy();
    assert_eq!(lab.up(), Vec::<String>::new(), "a second up has something to do");

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
    assert_checks_pass(&lab);
    assert!(!lab.ping("client-a1", "10.2.0.2"));
    assert!(!lab.ping("router", "10.1.0.2"));
    let services = lab.services("gateway-s");
    assert!(services.iter().any(|it| it.service.name == name("charon")), "{services:?}");
    wait_until("the lab is healthy", || lab.ailments().is_empty());
    lab.down();
}
