//! `netarium pki` from outside, with a lab whose tunnel stands.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;

use std::path::Path;

use place::{Place, Ran};

const LAB: &str = "segments: {net: 192.0.2.0/24, a: 10.1.0.0/24, b: 10.2.0.0/24}
nodes:
  gateway-a: {forward: true, interfaces: {net: 192.0.2.1, a: 10.1.0.1}}
  gateway-b: {forward: true, interfaces: {net: 192.0.2.2, b: 10.2.0.1}}
tunnels: {a-to-b: {ipsec: {between: [gateway-a, gateway-b], carry: [a, b]}}}
";

/// A lab that is up, with a data folder of its own and the images of the machine.
struct Up {
    place: Place,
    name: String,
}

impl Up {
    fn new(name: &str) -> Self {
        let root = std::env::var("NETARIUM_TEST_ROOT");
        let root =
            root.expect("NETARIUM_TEST_ROOT is the root of the image base: `make test` says it");
        let images = Path::new(&root).parent().and_then(Path::parent).unwrap();
        let place = Place::new(name);
        place.write("lab.yaml", &format!("name: {name}\n{LAB}"));
        std::fs::create_dir(place.0.join("data")).unwrap();
        std::os::unix::fs::symlink(images, place.0.join("data/images")).unwrap();
        let up = Self { place, name: name.to_owned() };
        up.run(&["up"]);
        up
    }

    /// Runs what must succeed.
    fn run(&self, words: &[&str]) -> Ran {
        let ran = self.place.run(words);
        assert_eq!(ran.code, Some(0), "{words:?}: {}{}", ran.data, ran.talk);
        ran
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let ran = self.place.run(&["down", &self.name]);
        assert!(ran.code == Some(0) || std::thread::panicking(), "{}", ran.talk);
    }
}

/// The serial number of the node's certificate, as it is shown.
fn serial(shown: &str, node: &str) -> String {
    let part = shown.split("\n\n").find(|part| part.starts_with(node)).unwrap();
    let line = part.lines().find_map(|line| line.trim().strip_prefix("serial")).unwrap();
    line.trim().to_owned()
}

#[test]
#[ignore = "needs root, and the image in NETARIUM_TEST_ROOT"]
fn certificates_are_shown_revoked_and_renewed() {
    let up = Up::new("cli-pki");
    let before = up.run(&["pki", "show"]).data;
    for holder in ["root not revoked", "intermediate not revoked", "gateway-b not revoked"] {
        assert!(before.contains(holder), "{before}");
    }
    assert!(before.contains("revoked 0 certificates"), "{before}");
    let ran = up.run(&["pki", "show", "cli-pki", "gateway-a"]);
    assert!(ran.data.contains("gateway-a not revoked") && !ran.data.contains("gateway-b"));

    let revoke = ["pki", "revoke", "--now", "--reason", "key-compromise", "gateway-a"];
    let ran = up.run(&revoke);
    assert!(ran.talk.contains("the certificate of gateway-a is revoked; its tunnels are closed"));
    let ran = up.run(&["--json", "pki", "show"]);
    let shown: serde_json::Value = serde_json::from_str(&ran.data).unwrap();
    let revoked = &shown["list"]["revoked"];
    assert_eq!(revoked.as_array().unwrap().len(), 1, "{revoked}");
    assert_eq!(
        (&revoked[0]["node"], &revoked[0]["reason"]),
        (&"gateway-a".into(), &"key-compromise".into())
    );
    assert_eq!(up.place.run(&["status"]).code, Some(1), "its tunnel is closed");

    let ran = up.run(&["pki", "renew", "gateway-a"]);
    assert!(ran.talk.contains("gateway-a has a new key and certificate"), "{}", ran.talk);
    up.run(&["status"]);
    let after = up.run(&["pki", "show"]).data;
    assert!(after.contains("revoked 1 certificate"), "{after}");
    assert_ne!(serial(&after, "gateway-a"), serial(&before, "gateway-a"));
    assert_eq!(serial(&after, "gateway-b"), serial(&before, "gateway-b"));
}

#[test]
#[ignore = "needs root, and the image in NETARIUM_TEST_ROOT"]
fn a_node_or_reason_that_makes_no_sense_is_refused_and_named() {
    let up = Up::new("cli-pki-wrong");
    let ran = up.place.run(&["pki", "show", "cli-pki-wrong", "gateway-c"]);
    assert_eq!(ran.code, Some(3), "{}", ran.talk);
    assert!(ran.talk.contains("gateway-c") && ran.talk.contains("gateway-a"), "{}", ran.talk);
    let ran = up.place.run(&["pki", "revoke", "gateway-c"]);
    assert_eq!(ran.code, Some(3), "{}", ran.talk);
    assert!(ran.talk.contains("gateway-c"), "{}", ran.talk);
    let ran = up.place.run(&["pki", "revoke", "--reason", "boredom", "gateway-a"]);
    assert_eq!(ran.code, Some(2), "{}", ran.talk);
    assert!(up.run(&["pki", "show"]).data.contains("revoked 0 certificates"));
}

#[test]
fn without_a_lab_there_is_nothing_to_revoke() {
    let place = Place::new("cli-pki-none");
    for words in [&["pki", "show"][..], &["pki", "revoke", "alice"], &["pki", "renew", "alice"]] {
        let ran = place.run(words);
        assert_ne!(ran.code, Some(0), "{words:?}");
        assert!(ran.talk.contains("error: "), "{}", ran.talk);
    }
}
