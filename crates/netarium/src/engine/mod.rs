//! The engines that run a plan's steps.

pub(crate) mod native;
