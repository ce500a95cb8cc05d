//! An image in one file, for `docker load`, `podman load`, skopeo and our own puller: an OCI image
//! layout, with `manifest.json` beside its `index.json` for Docker before 25, which knows no other
//! form and takes one platform.
//!
//! Sources: the OCI image specification (image-layout.md), the Docker image specification 1.2.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};

use netarium_core::image::Reference;
use serde::Serialize;
use tar::{EntryType, Header};

use super::layout::{Descriptor, Document, INDEX};
use super::{Packed, PackedPlatform};

/// Where an archive has what is named by its digest.
const BLOBS: &str = "blobs/sha256";

/// The form that Docker before 25 reads: one platform.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: [String; 1],
    layers: Vec<String>,
}

/// The one document of a layout whose name is known beforehand.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Top {
    schema_version: u8,
    media_type: &'static str,
    manifests: [Descriptor; 1],
}

/// Writes `image` under the name `name` into `out`.
///
/// # Errors
/// If it cannot be written, or what was packed cannot be read.
pub(super) fn write(image: &Packed, name: &Reference, out: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    folder(&mut archive, "blobs/")?;
    folder(&mut archive, "blobs/sha256/")?;
    for (digest, content) in contents(image) {
        let path = path_of(digest);
        match content {
            Content::Bytes(bytes) => file(&mut archive, &path, bytes.len() as u64, bytes)?,
            Content::File(mut blob, size) => {
                blob.rewind()?;
                file(&mut archive, &path, size, blob.take(size))?;
            }
        }
    }
    let top = Top { schema_version: 2, media_type: INDEX, manifests: [named(&image.index, name)] };
    for (path, bytes) in [
        ("index.json", serde_json::to_vec(&top)?),
        ("manifest.json", serde_json::to_vec(&[docker_manifest(image.ours(), name)])?),
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ] {
        file(&mut archive, path, bytes.len() as u64, bytes.as_slice())?;
    }
    archive.into_inner()?.flush()
}

enum Content<'a> {
    Bytes(&'a [u8]),
    File(&'a File, u64),
}

/// All that is named by its digest, once each: platforms can share layers.
fn contents(image: &Packed) -> BTreeMap<&str, Content<'_>> {
    let mut contents = BTreeMap::new();
    for platform in &image.platforms {
        for document in [&platform.config, &platform.manifest] {
            let content = Content::Bytes(&document.bytes);
            contents.insert(document.descriptor.digest.as_str(), content);
        }
        for (layer, file) in &platform.layers {
            contents.insert(layer.digest.as_str(), Content::File(file, layer.size));
        }
    }
    let index = Content::Bytes(&image.index.bytes);
    contents.insert(image.index.descriptor.digest.as_str(), index);
    contents
}

/// Where the archive has what has that digest.
fn path_of(digest: &str) -> String {
    format!("{BLOBS}/{}", digest.trim_start_matches("sha256:"))
}

/// Points to the index with a name: containerd and Podman take the first, skopeo the second.
fn named(index: &Document, name: &Reference) -> Descriptor {
    let tag = name.tag().unwrap_or_default().to_owned();
    let mut descriptor = index.descriptor.clone();
    descriptor.annotations = BTreeMap::from([
        ("io.containerd.image.name", name.to_string()),
        ("org.opencontainers.image.ref.name", tag),
    ]);
    descriptor
}

fn docker_manifest(platform: &PackedPlatform, name: &Reference) -> DockerManifest {
    DockerManifest {
        config: path_of(&platform.config.descriptor.digest),
        repo_tags: [name.familiar()],
        layers: platform.layers.iter().map(|(layer, _)| path_of(&layer.digest)).collect(),
    }
}

fn folder(archive: &mut tar::Builder<impl Write>, path: &str) -> io::Result<()> {
    entry(archive, path, EntryType::Directory, 0, io::empty())
}

fn file(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    size: u64,
    bytes: impl Read,
) -> io::Result<()> {
    entry(archive, path, EntryType::Regular, size, bytes)
}

fn entry(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    kind: EntryType,
    size: u64,
    bytes: impl Read,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_path(path)?;
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    archive.append(&header, bytes)
}
