//! Images that the engine was given by us: which of them no container is made from, and their removal.
//!
//! They bear a label, which images that somebody makes from them bear as well: what is ours is called
//! as we call it, too, and nothing else.

use std::collections::{BTreeSet, HashMap};

use bollard::models::ImageSummary;
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions};
use serde::Serialize;

use super::client::{Client, is_conflict, is_missing};
use super::error::EngineError;
use super::images::{LABEL, PREFIX};

type Result<T> = std::result::Result<T, EngineError>;

/// An image that an engine was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Given {
    /// What the engine calls it.
    pub name: String,
    /// How much of the disk it takes there.
    pub bytes: u64,
}

/// The images that no container is made from, running or not.
///
/// # Errors
/// If the engine does not tell them.
pub(crate) async fn spare(client: &Client) -> Result<Vec<Given>> {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])]);
    let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
    let images = client.docker.list_images(Some(options)).await;
    let images = images.map_err(client.refused("list its images"))?;
    let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
    let containers = client.docker.list_containers(Some(options)).await;
    let containers = containers.map_err(client.refused("list its containers"))?;
    let used: BTreeSet<String> = containers.into_iter().filter_map(|it| it.image_id).collect();
    let mut spare: Vec<Given> =
        images.into_iter().filter(|image| !used.contains(&image.id)).filter_map(ours).collect();
    spare.sort();
    Ok(spare)
}

/// Removes an image. Says whether it is gone: one that somebody has begun to use stays.
///
/// # Errors
/// If the engine does not let go of it for another reason.
pub(crate) async fn remove(client: &Client, image: &Given) -> Result<bool> {
    let options = RemoveImageOptions::default();
    match client.docker.remove_image(&image.name, Some(options), None).await {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(true),
        Err(error) if is_conflict(&error) => Ok(false),
        Err(error) => Err(client.refused(format!("remove image {}", image.name))(error)),
    }
}

/// The image, if it is one of ours under its own name alone.
fn ours(image: ImageSummary) -> Option<Given> {
    let tag = image.labels.get(LABEL)?;
    let [name] = image.repo_tags.as_slice() else { return None };
    let is_ours = name.strip_prefix(PREFIX)?.split_once(':')?.1 == tag;
    let bytes = u64::try_from(image.size).unwrap_or_default();
    is_ours.then(|| Given { name: name.clone(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_made_of_an_image_is_not_ours() {
        let image = |names: &[&str], label: &str| ImageSummary {
            repo_tags: names.iter().map(ToString::to_string).collect(),
            labels: HashMap::from([(label.to_owned(), "0123".to_owned())]),
            size: 7,
            ..ImageSummary::default()
        };
        let name = "netarium/base:0123".to_owned();
        assert_eq!(ours(image(&[&name], LABEL)), Some(Given { name: name.clone(), bytes: 7 }));
        for (names, label) in [
            (vec!["mine:0123"], LABEL),
            (vec!["netarium/base:mine"], LABEL),
            (vec![name.as_str(), "mine:1"], LABEL),
            (vec![], LABEL),
            (vec![name.as_str()], "another"),
        ] {
            assert_eq!(ours(image(&names, label)), None, "{names:?} {label}");
        }
    }
}
