//! Images: root file systems that are built or pulled once and shared by all labs of an owner.
//!
//! Reading order: `store` keeps images, `pulled` those of others, which `pull` fetches and `layer`
//! and `unpack` unpack; `build` starts a build and follows it, with `progress`
//! reading what mmdebstrap says; `workshop` is the work itself, a stage of its own; `install` fills a root file
//! system, for one of the `platforms`. What is `outgoing` is packed and described for others.

mod build;
mod error;
mod install;
mod layer;
pub mod outgoing;
mod platforms;
mod progress;
mod pull;
pub(crate) mod pulled;
mod store;
mod unpack;
pub(crate) mod workshop;

use netarium_core::image::Platform;
use serde::Serialize;

pub use error::ImageError;
pub(crate) use outgoing::packer;
pub use pull::{PullError, PullOptions, Transport};
pub use pulled::{Pruned, PulledLayer, PulledRecord};
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
    /// An image of others is about to be fetched.
    Pulling {
        /// How many of its layers are not there.
        layers: usize,
        /// How many bytes they have as they are sent.
        bytes: u64,
    },
    /// A layer of it is coming.
    Layer {
        /// Which one, counted from 0, the lowest.
        number: usize,
        /// The beginning of its digest.
        digest: String,
        /// How many bytes have come.
        done: u64,
        /// How many there are.
        total: u64,
    },
    /// A layer is unpacked and in its place.
    LayerDone {
        /// Which one.
        number: usize,
    },
    /// A connection broke, and is tried again.
    Retrying {
        /// The beginning of the layer's digest.
        digest: String,
        /// What happened.
        reason: String,
    },
    /// An image has been sent to a registry.
    Pushed {
        /// How many bytes were sent.
        sent: u64,
        /// How many the registry had already.
        there: u64,
    },
    /// An image of others is there as a whole.
    Pulled {
        /// How long it took.
        seconds: f64,
        /// How much more of the disk it takes now.
        bytes: u64,
        /// What could not be kept of it, one sentence each.
        lost: Vec<String>,
    },
    /// The build is finished.
    Done {
        /// How long it took.
        seconds: f64,
        /// How much of the disk the image takes.
        bytes: u64,
    },
}
