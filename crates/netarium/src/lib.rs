//! Virtual networks out of containers: bring a lab up, check it, take it down.
//!
//! ```text
//! lab_file ──▶ netarium_core ──▶ lab ──▶ engine ──▶ linux
//! ```
//!
//! Programs that use this library call [`run_if_stage`] first of all in their `main`.

pub mod bench;
pub mod certificates;
pub mod check;
pub mod doctor;
pub mod event;
pub mod export;
pub mod failure;
pub mod features;
pub mod folder;
pub mod lab;
pub mod lab_file;
pub mod lab_source;
pub mod outside;
pub mod session;

pub mod image;

mod compose_file;
mod engine;
mod linux;
mod node_program;
mod pki;

pub use linux::stage::run_if_stage;
