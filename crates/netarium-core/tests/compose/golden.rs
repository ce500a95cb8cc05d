//! Compose files as people write them, to their golden models.
//!
//! `INSTA_UPDATE=always cargo test -p netarium-core --test compose` rewrites them; review reads the
//! difference.

use std::fs;
use std::path::Path;

use super::Files;

fn testbed(name: &str) -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbeds").join(name);
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let files = Files::of(&read("docker-compose.yml"));
    match folder.join("common.yml").exists() {
        true => files.beside("./common.yml", &read("common.yml")),
        false => files,
    }
}

fn assert_golden(name: &str) {
    let (model, warnings) = testbed(name).load();
    let model = model.unwrap_or_else(|problems| panic!("{:#?}", super::lines(&problems)));
    assert_eq!((model.nodes.len(), model.segments.len()), (9, 6));
    let json = serde_json::to_string_pretty(&model).unwrap();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let warnings = super::lines(&warnings).join("\n");
    let text = format!("{json}\n{warnings}");
    settings.bind(|| insta::assert_snapshot!(format!("compose-{name}"), text));
}

#[test]
fn a_testbed_of_sites_has_its_golden_model() {
    assert_golden("site-to-site");
}

#[test]
fn a_testbed_without_addresses_has_its_golden_model() {
    assert_golden("no-ipam");
}

#[test]
fn a_testbed_in_ipv6_has_its_golden_model() {
    assert_golden("ipv6");
}
