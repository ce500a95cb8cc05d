//! Engines: what runs the steps.

pub(crate) mod docker;
pub(crate) mod native;
