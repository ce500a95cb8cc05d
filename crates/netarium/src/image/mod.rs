//! Images: root file systems that are built once and shared by all labs of an owner.

pub(crate) mod build;
