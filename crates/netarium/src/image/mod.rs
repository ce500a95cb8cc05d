//! Images: root file systems that are built once and shared by all labs of an owner.
//!
//! Reading order: `store` keeps images; `build` starts a build and follows it, with `progress`
//! reading what mmdebstrap says; `workshop` is the work itself, a stage of its own; `install` fills a root file
//! system, for one of the `platforms`. What is `outgoing` is packed and described for others.

mod build;
mod error;
mod install;
pub mod outgoing;
mod platforms;
mod progress;
mod store;
pub(crate) mod workshop;

use netarium_core::image::Platform;
use serde::Serialize;

pub use error::ImageError;
pub(crate) use outgoing::packer;
pub(crate) use store::ROOTFS;
pub use store::{Hold, ImageRoot, Store, StoredImage};

/// What happens while an image is made ready.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ImageEvent {
    /// Another process is building or removing the same image; this one waits for it.
    Waiting,
    /// A build begins.
    Started {
        /// How many packages the recipe names.
        packages: usize,
    },
    /// What was built for these machines is packed.
    Packing {
        /// The machines.
        platform: Platform,
    },
    /// Building or packing goes on.
    Step {
        /// What is going on, `unpacking 12/83 iproute2` for example.
        text: String,
        /// How far it has come; it never goes back.
        done: u64,
        /// What `done` is in the end.
        total: u64,
    },
    /// The build is finished.
    Done {
        /// How long it took.
        seconds: f64,
        /// How much of the disk the image takes.
        bytes: u64,
    },
}
