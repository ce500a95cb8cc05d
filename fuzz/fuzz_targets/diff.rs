//! Of any two labs, the steps from one to the other lead there, and then there are none left.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netarium_core::desired::desired;
use netarium_core::feature::{Feature, Features};
use netarium_core::image::Images;
use netarium_core::object::Objects;
use netarium_core::plan::{diff, record};
use netarium_core::resolve::load;
use netarium_core::uplink::Outside;

/// What must exist for the lab to be up, if it is one.
fn objects(bytes: &[u8]) -> Option<Objects> {
    let features: Features = Feature::ALL.into_iter().collect();
    Some(desired(&load(bytes, "lab").ok()?, &features, &Outside::default(), &Images::new()).ok()?.objects)
}

fuzz_target!(|bytes: &[u8]| {
    // Two lab files with a zero byte between them.
    let Some(middle) = bytes.iter().position(|byte| *byte == 0) else { return };
    let (before, after) = (objects(&bytes[..middle]), objects(&bytes[middle + 1..]));
    let (Some(before), Some(after)) = (before, after) else { return };
    let mut now = before.clone();
    for step in diff(&after, &before) {
        record(&mut now, &step);
    }
    assert_eq!(now, after);
    assert!(diff(&after, &now).is_empty());
});
