//! Virtual networks out of containers.

pub mod image;
mod linux;

mod engine;
mod pki;

pub use linux::stage::run_if_stage;
