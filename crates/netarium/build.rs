//! Builds the programs of nodes and puts them into the library.
//!
//! They have to be static, since they run under any root file system, while the library need not be:
//! so each is a build of its own, in a folder of its own, started from here. They are not built
//! together: what one needs of a crate that both have would make the other larger.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

/// A program: its crate, the profile that it is built with, and the variable that names it, with
/// which another build of it can be given, too.
struct Program {
    package: &'static str,
    profile: &'static str,
    variable: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program { package: "netarium-node", profile: "node", variable: "NETARIUM_NODE_PROGRAM" },
    Program {
        package: "netarium-wireguard",
        profile: "wireguard",
        variable: "NETARIUM_WIREGUARD_PROGRAM",
    },
];

fn main() {
    let source = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = source.join("../..");
    for path in ["crates/netarium-core", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    for it in PROGRAMS {
        let path = workspace.join("crates").join(it.package);
        println!("cargo::rerun-if-changed={}", path.display());
        println!("cargo::rerun-if-env-changed={}", it.variable);
        let program = match env::var_os(it.variable) {
            Some(program) => PathBuf::from(program),
            None => build(&workspace, &it),
        };
        println!("cargo::rustc-env={}={}", it.variable, program.display());
        let digest = Sha256::digest(fs::read(&program).expect("it was built"));
        let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        println!("cargo::rustc-env={}_DIGEST={digits}", it.variable);
    }
}

/// What the compiler is told: at a fixed address nothing is relocated at the start, so that all nodes
/// share its pages. Of what the outer build is told, that holds here which takes the paths of the
/// building machine out of what is built.
fn flags() -> String {
    let outer = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let paths = outer.split('\x1f').filter(|flag| flag.starts_with("--remap-path-prefix="));
    let own = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];
    own.into_iter().chain(paths).collect::<Vec<_>>().join("\x1f")
}

fn build(workspace: &std::path::Path, program: &Program) -> PathBuf {
    let target = env::var("TARGET").expect("cargo sets it");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("node");
    #[expect(clippy::disallowed_methods, reason = "a build script has no library of ours")]
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo
        .current_dir(workspace)
        .args(["build", "--locked", "--package", program.package, "--profile", program.profile])
        .args(["--target", &target, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags());
    // What the outer build is wrapped with (clippy, coverage) is not meant for this one.
    for variable in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CLIPPY_ARGS"] {
        cargo.env_remove(variable);
    }
    let status = cargo.status().expect("cargo starts, since it has started this");
    assert!(status.success(), "{} was not built: see above", program.package);
    folder.join(target).join(program.profile).join(program.package)
}
