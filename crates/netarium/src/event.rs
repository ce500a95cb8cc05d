//! What happens while a lab is changed, as values that a terminal, a program or a page can show.

use netarium_core::desired::Note;
use netarium_core::name::Name;
use serde::Serialize;

use crate::image::ImageEvent;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// Another process changes the same lab; this one waits for it.
    Waiting,
    /// What is left of a lab that did not end in order is removed.
    Sweeping,
    /// An image is made ready.
    Image {
        /// The image, as people call it.
        name: String,
        /// What happens to it.
        event: ImageEvent,
    },
    /// Docker builds an image of a folder.
    Building {
        /// The image, as Docker will call it.
        image: String,
    },
    /// An image is given to another engine, which has not had it yet.
    Giving {
        /// The image, as the engine calls it.
        image: String,
    },
    /// Something is done in another way than the lab asked for.
    Note(Note),
    /// Something that the lab asked for is not done; the lab works without it.
    Warning(String),
    /// It is known what there is to do.
    Planned {
        /// How many steps.
        steps: usize,
    },
    /// A step was done.
    Step {
        /// What was done, `create node gateway-a` for example.
        text: String,
        /// How many steps are done.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// All nodes are there with their interfaces, addresses, routes and files, and their first
    /// processes are started.
    Wired,
    /// A tunnel stands.
    Tunnel {
        /// The tunnel.
        name: Name,
        /// What the ends agreed on for IKE, in the order of a proposal.
        algorithms: String,
        /// How often it was tried.
        tries: usize,
    },
    /// All services are ready and all tunnels stand.
    Settled,
    /// Something failed, and what was made is undone.
    Undoing,
}

/// Where events go.
pub type Report<'a> = &'a (dyn Fn(Event) + Sync);
