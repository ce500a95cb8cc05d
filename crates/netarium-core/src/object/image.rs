//! What the root file system of a node is made from.

use serde::{Deserialize, Serialize};

use crate::image::Found;
use crate::model::Image;
use crate::name::Name;

/// An image by its address. It is made ready before the plan is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageRef {
    /// The host's own root file system.
    Host,
    /// An image that was built.
    Stored {
        /// The name of its recipe.
        name: Name,
        /// Its address, see [`crate::model::Recipe::digest`].
        digest: String,
    },
    /// An image that others have made, and that is in the store.
    Pulled {
        /// What it is called in the lab file.
        name: String,
        /// The digest of its manifest, `sha256:` and 64 hexadecimal digits.
        digest: String,
    },
    /// An image that others have made, and that is still to be had: only in plans that are shown.
    Absent {
        /// What it is called in the lab file.
        name: String,
    },
}

impl ImageRef {
    /// The image as it was found, if it had to be looked for.
    pub fn of(image: &Image, found: Option<&Found>) -> Self {
        match (image, found) {
            (Image::Host, _) => Self::Host,
            (Image::Recipe(recipe), _) => {
                Self::Stored { name: recipe.name.clone(), digest: recipe.digest() }
            }
            (image, Some(found)) => {
                Self::Pulled { name: image.title(), digest: found.digest.clone() }
            }
            (image, None) => Self::Absent { name: image.title() },
        }
    }
}
