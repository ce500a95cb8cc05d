//! Any bytes are a lab, or refused with at least one problem, each at a place in the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netarium_core::resolve::load;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problems) = load(bytes, "lab") {
        assert!(!problems.is_empty());
        for place in problems.iter().filter_map(|problem| problem.place) {
            assert!(place.start <= place.end && place.end <= bytes.len(), "{place:?}");
        }
    }
});
