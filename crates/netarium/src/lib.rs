//! Virtual networks out of containers.
