//! What an image says of itself, as the documents that registries and engines read. Nothing is read
//! or written here, and the same image gives the same bytes.
//!
//! Sources: the OCI image specification (config.md, manifest.md, image-index.md, annotations.md).

use std::collections::BTreeMap;

use netarium_core::image::Platform;
use serde::Serialize;

use super::pack::{Compression, Layer, digest_of};

/// What an image index is called.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What a manifest is called.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What the description of an image is called.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Points to a document or a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: &'static str,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Words>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<&'static str, String>,
}

/// A platform, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Words {
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

/// A document, with what points to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

/// What is to be said of an image, besides its layers.
#[derive(Clone, Debug)]
pub(super) struct Said<'a> {
    pub(super) platform: &'a Platform,
    pub(super) entrypoint: &'a [String],
    pub(super) command: &'a [String],
    pub(super) labels: BTreeMap<String, String>,
    /// What each layer was made by, in their order.
    pub(super) made_by: Vec<String>,
}

#[derive(Serialize)]
struct Config<'a> {
    created: &'a str,
    #[serde(flatten)]
    platform: Words,
    config: Execution<'a>,
    rootfs: RootFs<'a>,
    history: Vec<History<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Execution<'a> {
    env: [&'static str; 1],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    r#type: &'static str,
    diff_ids: Vec<&'a str>,
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'static str,
    config: &'a Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: &'a [Descriptor],
}

impl Document {
    /// The document that `value` is, as JSON.
    fn of(media_type: &'static str, value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).expect("these documents have only words as keys");
        let descriptor = Descriptor::of(media_type, digest_of(&bytes), bytes.len() as u64);
        Self { descriptor, bytes }
    }
}

impl Descriptor {
    fn of(media_type: &'static str, digest: String, size: u64) -> Self {
        Self { media_type, digest, size, platform: None, annotations: BTreeMap::new() }
    }

    /// Points to `layer`.
    pub(super) fn layer(layer: &Layer) -> Self {
        let media_type = match layer.compression {
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        };
        Self::of(media_type, layer.digest.clone(), layer.size)
    }
}

impl From<&Platform> for Words {
    fn from(platform: &Platform) -> Self {
        let Platform { os, architecture, variant } = platform.clone();
        Self { architecture, os, variant }
    }
}

/// The description of an image with `layers`.
pub(super) fn config(said: &Said<'_>, layers: &[&Layer]) -> Document {
    let newest = layers.iter().map(|layer| layer.newest).max().unwrap_or(0);
    let created = date(newest);
    let history = said.made_by.iter().map(|by| History { created: &created, created_by: by });
    let config = Config {
        created: &created,
        platform: said.platform.into(),
        config: Execution {
            env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            entrypoint: said.entrypoint,
            cmd: said.command,
            labels: &said.labels,
        },
        rootfs: RootFs {
            r#type: "layers",
            diff_ids: layers.iter().map(|layer| layer.diff_id.as_str()).collect(),
        },
        history: history.collect(),
    };
    Document::of(CONFIG, &config)
}

/// The manifest of an image with that description.
pub(super) fn manifest(config: &Document, layers: &[&Layer], platform: &Platform) -> Document {
    let layers = layers.iter().map(|layer| Descriptor::layer(layer)).collect();
    let manifest =
        Manifest { schema_version: 2, media_type: MANIFEST, config: &config.descriptor, layers };
    let mut document = Document::of(MANIFEST, &manifest);
    document.descriptor.platform = Some(platform.into());
    document
}

/// The index of what `manifests` point to.
pub(super) fn index(manifests: &[Descriptor]) -> Document {
    Document::of(INDEX, &Index { schema_version: 2, media_type: INDEX, manifests })
}

/// A time in seconds since 1970 as RFC 3339 writes it.
fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok();
    let time = time.and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    let time = time.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_described_for_registries_and_engines() {
        let layer = Layer {
            compression: Compression::Zstd,
            digest: digest_of(b"packed"),
            size: 6,
            diff_id: digest_of(b"plain"),
            newest: 951_827_696,
        };
        let platform = Platform::linux_on("aarch64");
        let said = Said {
            platform: &platform,
            entrypoint: &[],
            command: &["/bin/bash".to_owned()],
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            made_by: vec!["somebody".to_owned()],
        };
        let config = config(&said, &[&layer]);
        let plain = digest_of(b"plain");
        assert_eq!(
            String::from_utf8(config.bytes.clone()).unwrap(),
            format!(
                "{{\"created\":\"2000-02-29T12:34:56Z\",\"architecture\":\"arm64\",\"os\":\"linux\",\
                 \"config\":{{\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:\
                 /sbin:/bin\"],\"Cmd\":[\"/bin/bash\"],\"Labels\":{{\"a\":\"b\"}}}},\"rootfs\":\
                 {{\"type\":\"layers\",\"diff_ids\":[\"{plain}\"]}},\"history\":[{{\"created\":\
                 \"2000-02-29T12:34:56Z\",\"created_by\":\"somebody\"}}]}}"
            )
        );
        let manifest = manifest(&config, &[&layer], &platform);
        let text = String::from_utf8(manifest.bytes.clone()).unwrap();
        assert!(text.starts_with(
            "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest"
        ));
        assert!(text.contains("layer.v1.tar+zstd"), "{text}");
        let index = index(&[manifest.descriptor]);
        let text = String::from_utf8(index.bytes).unwrap();
        let words = "\"platform\":{\"architecture\":\"arm64\",\"os\":\"linux\"}";
        assert!(text.contains(words), "{text}");
    }
}
