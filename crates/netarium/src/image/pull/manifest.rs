//! Manifests and indexes: which image of several is meant, and which blobs it is made of.
//!
//! Sources: OCI image specification (manifest.md, image-index.md); Docker's Image Manifest V2,
//! schema 2, which differs in the names of its media types.

use netarium_core::image::Platform;
use serde::Deserialize;

use super::error::PullError;

/// The most layers of an image: overlayfs takes more (OVL_MAX_STACK), Docker makes fewer.
const MOST_LAYERS: usize = 200;

/// What a manifest may be sent as.
pub(super) const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// What a layer may be.
const LAYERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// The annotation of an entry of an OCI layout's index with its name.
const NAME: &str = "org.opencontainers.image.ref.name";

/// The same with the whole name, as containerd and Docker write it.
const FULL_NAME: &str = "io.containerd.image.name";

/// A blob by its digest.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Descriptor {
    /// `sha256:` and 64 hexadecimal digits.
    pub(crate) digest: String,
    /// How many bytes it has.
    pub(crate) size: u64,
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(default)]
    platform: Option<Written>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Written {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// What a manifest turns out to be.
pub(super) enum Manifest {
    /// Several images.
    Index(Vec<Descriptor>),
    /// One image.
    Image {
        /// What it says of itself.
        config: Descriptor,
        /// Its layers, the lowest first.
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u32,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Manifest {
    /// # Errors
    /// If it is not of a form that is known.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, PullError> {
        let fault = |text: String| PullError::Manifest { text };
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| fault(error.to_string()))?;
        if document.schema_version != 2 {
            let version = document.schema_version;
            return Err(fault(format!("it has schema {version}, and only schema 2 is known")));
        }
        match document {
            Document { manifests: Some(manifests), .. } => Ok(Self::Index(manifests)),
            Document { config: Some(config), layers: Some(layers), .. } => {
                if layers.len() > MOST_LAYERS {
                    let count = layers.len();
                    return Err(fault(format!("it has {count} layers, more than {MOST_LAYERS}")));
                }
                for it in layers.iter().chain([&config]) {
                    if !is_digest(&it.digest) {
                        return Err(fault(format!("{:?} is no digest", it.digest)));
                    }
                }
                layers.iter().try_for_each(Descriptor::check_layer).map_err(fault)?;
                Ok(Self::Image { config, layers })
            }
            _ => Err(fault("it is neither an image nor an index of images".to_owned())),
        }
    }
}

impl Descriptor {
    /// A blob that is known by other means than a manifest.
    pub(super) fn new(digest: String, size: u64) -> Self {
        Self { digest, size, media_type: String::new(), platform: None, annotations: None }
    }

    /// Whether it is a layer of files that the registry has.
    fn check_layer(&self) -> Result<(), String> {
        let kind = self.media_type.as_str();
        if kind.contains("nondistributable") || kind.contains(".foreign.") {
            return Err("a layer of it is not in the registry, but where others have it".to_owned());
        }
        if kind.is_empty() || LAYERS.contains(&kind) {
            return Ok(());
        }
        Err(format!("a layer of it is {kind:?}, and not the files of a container"))
    }

    /// Which machines it is for; nothing if it does not say so, or is no image at all.
    pub(super) fn platform(&self) -> Option<Platform> {
        let written = self.platform.as_ref()?;
        let mut text = format!("{}/{}", written.os, written.architecture);
        if let Some(variant) = written.variant.as_ref().filter(|variant| !variant.is_empty()) {
            text = format!("{text}/{variant}");
        }
        let platform: Platform = text.parse().ok()?;
        // What is noted about an image lies beside it under this name.
        (platform.os != "unknown").then_some(platform)
    }

    /// Whether it goes by `name` in a layout.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let notes = self.annotations.as_ref();
        let noted = |key| notes.and_then(|notes| notes.get(key)).is_some_and(|it| it == name);
        noted(NAME) || noted(FULL_NAME)
    }

    /// Its name in a layout, if it has one.
    pub(super) fn name(&self) -> Option<&str> {
        let notes = self.annotations.as_ref()?;
        notes.get(FULL_NAME).or_else(|| notes.get(NAME)).map(String::as_str)
    }
}

/// The one of several images that is for `wanted`.
///
/// # Errors
/// If there is none; says which there are.
pub(super) fn choose(index: &[Descriptor], wanted: &Platform) -> Result<Descriptor, PullError> {
    let suits = |it: &&Descriptor| it.platform().is_some_and(|it| it.suits(wanted));
    let unsaid = |it: &&Descriptor| it.platform.is_none();
    let found = index.iter().find(suits).or_else(|| match index {
        // Layouts with a single image need not say which machines it is for.
        [only] => Some(only).filter(unsaid),
        _ => None,
    });
    let there = || index.iter().filter_map(Descriptor::platform).collect();
    let found =
        found.ok_or_else(|| PullError::Platform { wanted: wanted.clone(), there: there() })?;
    if is_digest(&found.digest) {
        Ok(found.clone())
    } else {
        Err(PullError::Manifest { text: format!("{:?} is no digest", found.digest) })
    }
}

/// Whether it is a digest of the one kind that everybody uses.
pub(super) fn is_digest(word: &str) -> bool {
    let hex = word.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Vec<Descriptor> {
        match Manifest::read(text.as_bytes()).unwrap() {
            Manifest::Index(manifests) => manifests,
            Manifest::Image { .. } => panic!("it is an image"),
        }
    }

    fn two() -> Vec<Descriptor> {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        index(&format!(
            r#"{{"schemaVersion":2,"manifests":[
            {{"digest":"sha256:{a}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}},
            {{"digest":"sha256:{c}","size":1,"platform":{{"os":"unknown","architecture":"unknown"}}}},
            {{"digest":"sha256:{b}","size":1,"platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}}
            ]}}"#
        ))
    }

    #[test]
    fn the_image_for_the_machine_is_chosen() {
        let wanted: Platform = "linux/arm64".parse().unwrap();
        assert_eq!(choose(&two(), &wanted).unwrap().digest, format!("sha256:{}", "b".repeat(64)));
    }

    #[test]
    fn where_there_is_none_those_that_there_are_are_named() {
        let wanted: Platform = "linux/riscv64".parse().unwrap();
        let error = choose(&two(), &wanted).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no image for linux/riscv64, only for linux/amd64, linux/arm64/v8"
        );
    }

    #[test]
    fn layers_are_files_that_the_registry_has() {
        let digest = format!("sha256:{}", "d".repeat(64));
        let read = |kind: &str| {
            let text = format!(
                r#"{{"schemaVersion":2,"config":{{"digest":"{digest}","size":1}},
                "layers":[{{"digest":"{digest}","size":1,"mediaType":"{kind}"}}]}}"#
            );
            Manifest::read(text.as_bytes()).map(drop).map_err(|error| error.to_string())
        };
        for kind in LAYERS {
            assert_eq!(read(kind), Ok(()));
        }
        for (kind, told) in [
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "not in the registry"),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "not in the registry"),
            ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "not the files of a container"),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "not the files"),
        ] {
            assert!(read(kind).unwrap_err().contains(told), "{kind}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let digest = "d".repeat(64);
        for text in [
            String::new(),
            "{}".to_owned(),
            r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
            r#"{"schemaVersion":2,"config":{"digest":"sha256:x","size":1},"layers":[]}"#.to_owned(),
            format!(
                r#"{{"schemaVersion":2,"config":{{"digest":"sha256:{digest}","size":-1}},"layers":[]}}"#
            ),
            format!(
                r#"{{"schemaVersion":2,"config":{{"digest":"sha256:../../{digest}","size":1}},"layers":[]}}"#
            ),
        ] {
            assert!(Manifest::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
