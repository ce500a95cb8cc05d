//! Docker Engine as what makes the nodes of a lab: containers of its own instead of ours, wired, filled
//! and asked by the same worker.
//!
//! The caller of a worker talks to the engine, since a worker has one thread and no runtime:
//! [`client`] is the conversation, [`build`], [`images`] and [`containers`] what it is about, with
//! [`form`], [`host`] and [`pack`] below them; [`given`] is what is left of images. When a container has
//! begun its first process waits at its
//! [`gate`], and the worker [prepares](prepare) the container. The [`watcher`] stays with the lab and has
//! what the engine starts again wired again. Where a lab asks for it, the engine makes the segments,
//! too, as [`networks`] of its own.

pub(crate) mod build;
pub(crate) mod client;
pub(crate) mod containers;
pub(crate) mod error;
mod form;
pub(crate) mod gate;
pub(crate) mod given;
mod host;
pub(crate) mod images;
pub(crate) mod networks;
pub(crate) mod pack;
pub(crate) mod prepare;
pub(crate) mod watcher;
