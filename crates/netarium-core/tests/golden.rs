//! Golden tests: every lab under `labs/` to its model, and the JSON Schema.
//!
//! `INSTA_UPDATE=always cargo test -p netarium-core --test golden` rewrites them; review reads the
//! difference.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};

use netarium_core::resolve::load;

fn labs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../labs");
    let mut labs: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("lab.yaml"))
        .filter(|path| path.exists())
        .collect();
    labs.sort();
    labs
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn every_lab_resolves_to_its_golden_model() {
    for path in labs() {
        let name = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let model = load(&fs::read(&path).unwrap(), &name).unwrap_or_else(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}:\n{}", path.display(), lines.join("\n"))
        });
        let json = serde_json::to_string_pretty(&model).unwrap();
        settings().bind(|| insta::assert_snapshot!(name, json));
    }
}

#[test]
fn every_key_resolves_to_its_golden_model() {
    let model = load(include_bytes!("every-key.yaml"), "other").unwrap();
    let json = serde_json::to_string_pretty(&model).unwrap();
    settings().bind(|| insta::assert_snapshot!("every-key", json));
}

#[test]
fn the_schema_is_the_golden_one() {
    let json = serde_json::to_string_pretty(&netarium_core::schema::schema()).unwrap();
    settings().bind(|| insta::assert_snapshot!("schema", json));
}

#[test]
fn the_main_lab_has_at_most_70_lines() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../labs/site-to-site/lab.yaml");
    assert!(fs::read_to_string(path).unwrap().lines().count() <= 70);
}
