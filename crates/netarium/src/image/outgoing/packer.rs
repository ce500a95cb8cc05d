//! Has the root file system of an image packed by root of the owner's namespaces: nobody else may
//! read all of it, and nobody else sees its files with the owners that they have inside.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use super::pack::{Compression, Layer, Owners, pack};
use crate::failure::Failure;
use crate::image::ROOTFS;
use crate::linux::idmap::IdMap;
use crate::linux::stage::{Call, Running, Stage, StageError};
use crate::linux::userns::start_as_root_of_new_namespace;

/// How many bytes are packed between two words about it.
const TOLD_EVERY: u64 = 1 << 20;

/// The order; the file to write comes with it.
#[derive(Serialize, Deserialize)]
struct Order {
    /// The folder of the image.
    folder: PathBuf,
    compression: Compression,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    /// So many bytes of files are packed.
    So(u64),
    Packed(Layer),
    Failed(Failure),
}

/// Packs the image in `folder` into `out`.
///
/// # Errors
/// If no process of ours can do it; within, what that process could not do.
pub(super) async fn pack_image(
    folder: &Path,
    compression: Compression,
    out: &File,
    report: &(dyn Fn(u64) + Sync),
) -> Result<Result<Layer, Failure>, StageError> {
    let order = Order { folder: folder.to_owned(), compression };
    let mut running = Running::start(Stage::Pack, &order, &[out.as_fd()], Stdio::inherit())?;
    loop {
        match running.answer().await? {
            Some(Answer::So(bytes)) => report(bytes),
            Some(Answer::Packed(layer)) => return Ok(Ok(layer)),
            Some(Answer::Failed(failure)) => return Ok(Err(failure)),
            None => return Err(StageError::Silent { stderr: String::new() }),
        }
    }
}

/// The stage: returns its exit status.
pub(crate) fn stage(call: &Call) -> i32 {
    match run(call) {
        Ok(()) => 0,
        Err(failure) => i32::from(call.answer(&Answer::Failed(failure)).is_err()),
    }
}

fn run(call: &Call) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of(error);
    let order: Order = call.words().map_err(|error| failed(&error))?;
    let out = call.fds.first().ok_or(io::Error::from(io::ErrorKind::InvalidInput));
    let out = out.and_then(|fd| fd.try_clone()).map_err(|error| failed(&error))?;
    let map = IdMap::of_caller().map_err(|error| failed(&error))?;
    // The way to the image may be closed for root of the namespace, so it is entered before.
    std::env::set_current_dir(order.folder.join(ROOTFS)).map_err(|error| failed(&error))?;
    let child = || {
        let answer = match pack_here(call, order.compression, &out.into()) {
            Ok(layer) => Answer::Packed(layer),
            Err(error) => Answer::Failed(failed(&error)),
        };
        i32::from(call.answer(&answer).is_err())
    };
    let packing = start_as_root_of_new_namespace(&map, child).map_err(|error| {
        let hint = error.hint();
        failed(&error).with_hint(hint)
    })?;
    let ended = packing.wait_or_end_with(call.lifeline()).map_err(|error| failed(&error))?;
    match ended {
        Some(status) if !status.success() => Err(Failure {
            what: "the process that packs was stopped".to_owned(),
            causes: vec![status.to_string()],
            hint: None,
        }),
        // The caller is gone, or has the answer.
        Some(_) | None => Ok(()),
    }
}

fn pack_here(call: &Call, compression: Compression, out: &File) -> io::Result<Layer> {
    let mut told = 0;
    let mut report = |bytes: u64| {
        if bytes - told >= TOLD_EVERY {
            told = bytes;
            // Who has gone ends this process from outside.
            call.answer(&Answer::So(bytes)).ok();
        }
    };
    pack(Path::new("."), Owners::Kept, compression, out, &mut report)
}
