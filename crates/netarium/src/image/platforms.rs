//! The machines that an image is for: which this one is, and what an image for another is called.

use netarium_core::image::Platform;
use netarium_core::model::Recipe;
use sha2::{Digest, Sha256};

/// What this machine is.
pub(crate) fn here() -> Platform {
    Platform::linux_on(std::env::consts::ARCH)
}

/// The address in the store of what `recipe` makes for `platform`. For this machine it is the
/// recipe's own, by which nodes find it.
pub(crate) fn address(recipe: &Recipe, platform: &Platform) -> String {
    let own = recipe.digest();
    if *platform == here() {
        return own;
    }
    let text = format!("{platform} {own}\n");
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
