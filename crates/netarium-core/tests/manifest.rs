//! The walls around this crate: what it may depend on, and what it may not touch.

use std::fs;
use std::path::{Path, PathBuf};

/// What this crate may depend on. None of these reads, asks or draws lots.
const DEPENDENCIES: [&str; 7] =
    ["granit-parser", "ipnet", "schemars", "serde", "serde_json", "sha2", "thiserror"];

/// What the code of this crate may not name.
const FORBIDDEN: [&str; 16] = [
    "std::fs",
    "std::env",
    "std::io",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "HashMap",
    "HashSet",
    "println!",
    "rand::",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_crate_depends_on_nothing_that_touches_the_machine() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let table = section.strip_suffix("dependencies").filter(|it| !it.ends_with("dev-"));
            inside = table.is_some();
            // `[dependencies.name]` would slip through the lines below.
            assert!(!section.contains("dependencies."), "write {section} as one line");
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.push(name);
        }
    }
    assert!(names.len() >= 5, "the dependencies were not found: {names:?}");
    for name in names {
        assert!(DEPENDENCIES.contains(&name), "{name} is not on the list");
    }
}

#[test]
fn the_code_names_nothing_that_touches_the_machine() {
    let mut folders: Vec<PathBuf> = vec![root().join("src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (word, line) in code.flat_map(|line| FORBIDDEN.map(|word| (word, line))) {
                assert!(!line.contains(word), "{} names {word}: {line}", path.display());
            }
        }
    }
    assert!(files > 10, "the code was not found");
}
