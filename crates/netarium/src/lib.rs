//! Virtual networks out of containers.

pub mod image;
mod linux;

pub use linux::stage::run_if_stage;
