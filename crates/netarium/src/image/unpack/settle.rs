//! What a layer leaves to those below it: folders that it does not describe, and hard links to
//! what it does not have.
//!
//! Runs as root of the owner's namespace, when all layers below are there.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags};

use super::tree::{self, Tree};
use super::{Manner, UnpackError, Unpacked, attributes, making};

/// Settles what is open in the layer at `rootfs`, above the layers `below`, the lowest last.
///
/// # Errors
/// If a hard link leads nowhere, or the kernel refuses.
pub(crate) fn settle(
    rootfs: &Path,
    below: &[PathBuf],
    unpacked: &Unpacked,
    manner: Manner,
) -> Result<(), UnpackError> {
    let own = Tree::open(rootfs).map_err(making(rootfs))?;
    let mut layers = Vec::new();
    for path in below {
        layers.push(Tree::open(path).map_err(making(path))?);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    for path in unpacked.undescribed.iter().rev() {
        let Some(there) = find(&layers, path, flags) else { continue };
        own.find(path)
            .and_then(|place| place.open(flags))
            .and_then(|folder| attributes::copy(&there, &folder, manner))
            .map_err(making(path))?;
    }
    for (path, target) in &unpacked.links {
        link(&own, &layers, path, target).map_err(making(path))?;
    }
    Ok(())
}

/// The folder at `path` in the highest layer that has one, if none above hides it.
fn find(layers: &[Tree], path: &Path, flags: OFlags) -> Option<OwnedFd> {
    for layer in layers {
        let Ok(place) = layer.find(path) else { continue };
        match place.stat() {
            Ok(Some(stat)) if tree::is_folder(&stat) => return place.open(flags).ok(),
            // Something else is there, or it is hidden.
            Ok(Some(_)) => return None,
            _ => {}
        }
    }
    None
}

/// Layers are never written again, so two of them can share a file.
fn link(own: &Tree, layers: &[Tree], path: &Path, target: &Path) -> io::Result<()> {
    let here = own.place(path, drop)?;
    for layer in layers {
        let Ok(there) = layer.find(target) else { continue };
        match there.stat()? {
            Some(stat) if tree::is_hidden(&stat) || tree::is_folder(&stat) => break,
            Some(_) => {
                let flags = AtFlags::empty();
                let from = (&there.folder, &there.name);
                return Ok(rustix::fs::linkat(from.0, from.1, &here.folder, &here.name, flags)?);
            }
            None => {}
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("{}, to which it is a link, is in no layer", target.display()),
    ))
}
