//! Engines: what runs the steps.

pub(crate) mod native;
