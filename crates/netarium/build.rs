//! Builds the program of nodes and puts it into the library.
//!
//! It has to be static, since it runs under any root file system, while the library need not be:
//! so it is a build of its own, in a folder of its own, started from here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

fn main() {
    let source = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = source.join("../..");
    for path in ["crates/netarium-node", "crates/netarium-core", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-env-changed=NETARIUM_NODE_PROGRAM");
    let program = match env::var_os("NETARIUM_NODE_PROGRAM") {
        Some(program) => PathBuf::from(program),
        None => build(&workspace),
    };
    println!("cargo::rustc-env=NETARIUM_NODE_PROGRAM={}", program.display());
    println!("cargo::rustc-env=NETARIUM_NODE_DIGEST={}", digest(&program));
}

/// What tells the program from others. Every worker wants to know it, and a build that is not
/// optimized would take a second for it on a slow machine.
fn digest(program: &Path) -> String {
    let bytes = fs::read(program).expect("the program of nodes can be read");
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn build(workspace: &Path) -> PathBuf {
    let target = env::var("TARGET").expect("cargo sets it");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("node");
    #[expect(clippy::disallowed_methods, reason = "a build script has no library of ours")]
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo
        .current_dir(workspace)
        .args(["build", "--locked", "--package", "netarium-node", "--profile", "node"])
        .args(["--target", &target, "--target-dir"])
        .arg(&folder)
        // At a fixed address nothing is relocated at the start, so that all nodes share its pages.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-Ctarget-feature=+crt-static\x1f-Crelocation-model=static",
        );
    // What the outer build is wrapped with (clippy, coverage) is not meant for this one.
    for variable in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CLIPPY_ARGS"] {
        cargo.env_remove(variable);
    }
    let status = cargo.status().expect("cargo starts, since it has started this");
    assert!(status.success(), "the program of nodes was not built: see above");
    folder.join(target).join("node").join("netarium-node")
}
