//! Virtual networks out of containers.

#[cfg_attr(not(test), expect(dead_code, reason = "the steps that use it are not written yet"))]
mod engine;
#[cfg_attr(not(test), expect(dead_code, reason = "the steps that use it are not written yet"))]
mod pki;
