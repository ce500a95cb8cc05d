//! Certificates that are revoked and renewed while a lab runs.

use std::fs;

use netarium::certificates::{Certificate, Holder, Reason, Standing};
use netarium::event::Event;
use netarium::lab::UpOptions;
use netarium_core::name::Name;

use crate::lab::{TestLab, kill, name, run, wait_until};
use crate::owner;
use crate::tunnels::GATEWAYS;

fn certificate(lab: &TestLab, node: &str) -> Certificate {
    let all = run(lab.lab.certificates()).unwrap().certificates;
    let holder = Holder::Node(Name::new(node).unwrap());
    all.into_iter().find(|it| it.holder == holder).unwrap()
}

fn revoke(lab: &TestLab, standing: Standing) {
    run(lab.lab.revoke(&name("west"), Reason::KeyCompromise, standing, &|_| ())).unwrap();
}

fn findings(lab: &TestLab) -> String {
    lab.status().findings.iter().map(|(id, text)| format!("{id}: {text}\n")).collect()
}

/// Brings the lab up, which finds nothing to do, and tells what it warns of.
fn warnings_of_idle_up(lab: &TestLab) -> String {
    let warnings = std::sync::Mutex::new(String::new());
    let report = |event| {
        if let Event::Warning(text) = event {
            warnings.lock().unwrap().push_str(&text);
        }
    };
    let steps = run(lab.lab.up(&lab.file(), UpOptions::default(), &report)).unwrap();
    assert!(steps.is_empty(), "{steps:#?}");
    warnings.into_inner().unwrap()
}

pub(crate) fn who_is_revoked_is_refused_until_renewed() {
    let lab = TestLab::at(owner::data(), "pki-revoked", GATEWAYS);
    lab.up();
    let first = certificate(&lab, "west");
    assert_eq!(
        (first.names.as_slice(), &first.revoked),
        (&["west".to_owned(), "172.26.0.1".to_owned()][..], &None)
    );

    // What stands stays, and is refused as soon as it is opened again.
    revoke(&lab, Standing::Stays);
    assert!(lab.ping("alice", "10.2.0.1"));
    assert!(findings(&lab).contains("credential west: it is revoked"), "{}", findings(&lab));
    lab.sh("west", "swanctl --terminate --ike west-east");
    assert!(!lab.run("west", &["swanctl", "--initiate", "--child", "west-east"]).is_ok());
    let log = fs::read_to_string(lab.folder().join("nodes/east/logs/charon.log")).unwrap();
    assert!(log.contains("certificate was revoked"), "{log}");
    assert!(!lab.ping("alice", "10.2.0.1"));

    // Nothing but a renewal changes that.
    let warnings = warnings_of_idle_up(&lab);
    assert!(warnings.contains("tunnel west-east is left alone"), "{warnings}");
    assert!(findings(&lab).contains("tunnel west-east: "), "{}", findings(&lab));
    kill(lab.init("west"));
    assert!(lab.up().contains(&"create credential west".to_owned()));
    let again = certificate(&lab, "west");
    assert_eq!((&again.serial, again.revoked.is_some()), (&first.serial, true));
    assert!(!lab.ping("alice", "10.2.0.1"));

    run(lab.lab.renew(&name("west"), &|_| ())).unwrap();
    lab.assert_healthy();
    wait_until("the tunnel carries", || lab.ping("alice", "10.2.0.1"));
    let renewed = certificate(&lab, "west");
    assert!(renewed.serial != first.serial && renewed.revoked.is_none(), "{renewed:?}");
    let list = run(lab.lab.certificates()).unwrap().list;
    assert_eq!((list.number, &list.revoked[0].serial), (2, &first.serial));
    lab.down();
}

pub(crate) fn a_revocation_can_close_what_stands_and_who_is_not_revoked_is_renewed() {
    let lab = TestLab::at(owner::data(), "pki-closed", GATEWAYS);
    lab.up();
    let east = certificate(&lab, "east");
    run(lab.lab.renew(&name("east"), &|_| ())).unwrap();
    lab.assert_healthy();
    assert!(lab.ping("alice", "10.2.0.1"));
    assert_ne!(certificate(&lab, "east").serial, east.serial);
    revoke(&lab, Standing::Closed);
    assert!(!lab.ping("alice", "10.2.0.1"));
    let refusal = run(lab.lab.renew(&name("alice"), &|_| ())).unwrap_err();
    assert_eq!(refusal.hint().as_deref(), Some("east, west have one"));
    lab.down();
}
