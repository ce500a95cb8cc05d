//! The one program of Netarium inside every node: its first process, its probe, and the keeper of
//! a lab's process namespace. Which of them it is, its own name says.
//!
//! There are no threads in it, so that it may fork, and stays small.

mod init;
mod keeper;
mod kernel;
mod probe;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use netarium_core::control::{INIT, PROBE};

/// The name under which it keeps a lab's process namespace.
const KEEPER: &str = "netarium-keeper";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    match Path::new(&called).file_name().and_then(|name| name.to_str()) {
        Some(INIT) => init::run(&rest),
        Some(PROBE) => probe::run(&rest),
        Some(KEEPER) => keeper::run(),
        _ => {
            eprintln!("netarium-node must be called {INIT}, {PROBE} or {KEEPER}");
            ExitCode::from(2)
        }
    }
}
