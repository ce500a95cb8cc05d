//! What is true of every file, whatever is in it.

use std::collections::BTreeSet;

use netarium_core::resolve::load;
use netarium_core::spec::parse;
use proptest::prelude::*;

const LABS: [&str; 3] = [
    include_str!("../../../labs/hello/lab.yaml"),
    include_str!("../../../labs/segments/lab.yaml"),
    include_str!("../../../labs/site-to-site/lab.yaml"),
];

/// A lab file with a few stretches replaced by bytes that mean something in YAML.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[a-z0-9:{}\\[\\],&*!|>'\"#%@` \n\t./-]{0,6}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..3),
        Just(b"*no-leak".to_vec()),
        Just(b"<<: ".to_vec()),
        Just("10.0.0.0/0 ".as_bytes().to_vec()),
    ];
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), 0..12_usize, piece), 1..6);
    (0..LABS.len(), edits).prop_map(|(lab, edits)| {
        let mut bytes = LABS[lab].as_bytes().to_vec();
        for (at, length, piece) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, piece);
        }
        bytes
    })
}

/// Loads a file and looks at what must be true of any answer.
fn look(bytes: &[u8]) {
    let parsed = parse(bytes);
    match load(bytes, "lab") {
        Ok(model) => {
            assert!(parsed.is_ok());
            let mut taken = BTreeSet::new();
            for interface in model.nodes.values().flat_map(|node| &node.interfaces) {
                for address in &interface.addresses {
                    assert!(taken.insert((&interface.segment, address.addr())), "{address}");
                }
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.is_sorted());
            for place in problems.iter().filter_map(|problem| problem.place) {
                assert!(place.start <= place.end && place.end <= bytes.len(), "{place:?}");
                assert!(place.line >= 1 && place.column >= 1, "{place:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        look(&bytes);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9:{}\\[\\],&*!|>'\"#% \n\t-]{0,120}") {
        look(text.as_bytes());
    }

    #[test]
    fn any_damaged_lab_is_read_or_refused(bytes in mutated()) {
        look(&bytes);
    }
}
