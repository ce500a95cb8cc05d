//! What a person needs to know of the folder.

use super::Export;
use crate::model::Model;

pub(super) fn of_lab(model: &Model, export: &Export) -> String {
    let mut text = format!(
        "# {}\n\nMade by `netarium export compose`. It is brought up and taken down in this folder with\n\n    \
         docker-compose up --detach\n    docker-compose down\n",
        model.lab
    );
    if !export.images.is_empty() {
        text.push_str(
            "\n## Images\n\nDocker pulls what registries have. The others it gets from Netarium: \
             `netarium export compose --load` gives\nthem to the engine that `DOCKER_HOST` names. For \
             another machine:\n\n",
        );
        for (name, image) in &export.images {
            let title = image.title();
            text.push_str(&format!(
                "    netarium image export {title} {title}.tar --as {name}\n    docker load --input {title}.tar\n"
            ));
        }
    }
    if export.authority.is_some() {
        text.push_str(
            "\n## Keys\n\nThe keys and secrets below `nodes/` were made for this folder, and only its owner can read \
             them.\nWhoever has a copy of it has them.\n",
        );
    }
    if !export.notes.is_empty() {
        text.push_str("\n## What is not as in the lab\n\n");
        export.notes.iter().for_each(|note| text.push_str(&format!("- {note}\n")));
    }
    text
}
