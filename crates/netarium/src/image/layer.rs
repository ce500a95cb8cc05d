//! One layer of an image in the stage: unpacked into a folder of its own, and put into its place
//! when the caller has found that it is what was meant.
//!
//! Runs as the owner; what a layer has is looked at by root of a new namespace only.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::image::store::ROOTFS;
use crate::image::unpack::{self, Lost, Manner, UnpackError, Unpacked};
use crate::image::workshop::{
    Answer, Places, Unwritten, WorkError, failed, finish, make_rootfs, open_to_root,
};
use crate::linux::idmap::IdMap;
use crate::linux::stage::Call;
use crate::linux::userns::{run_as_root_of_new_namespace, start_as_root_of_new_namespace};

/// What is written beside a layer.
pub(crate) const NOTE: &str = "layer.json";

/// What there is to know to unpack a layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The layers below, by the names of their folders, the highest first.
    pub(crate) below: Vec<String>,
}

/// What is known of a layer in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// The digest of the layer as it is decompressed.
    pub(crate) diff_id: String,
    /// How much of the disk it takes.
    pub(crate) bytes: u64,
    /// Whether nothing of the layers below is seen.
    pub(crate) hides_all: bool,
    /// What could not be kept of it.
    pub(crate) lost: Lost,
}

/// What the one who unpacks says in the end.
#[derive(Serialize, Deserialize)]
enum Said {
    Unpacked(Unpacked),
    Failed { text: String, errno: Option<i32> },
}

/// Unpacks a layer and finishes it at the caller's word. The answer is how much of the disk it
/// takes.
pub(super) fn unpack(
    call: &Call,
    order: &Order,
    places: &Places,
    map: &IdMap,
) -> Result<u64, WorkError> {
    let building = &places.building;
    for store in places.store.ancestors().take(2) {
        open_to_root(store, map)?;
    }
    make_rootfs(building, map)?;
    let manner = Manner { is_lowest: order.below.is_empty(), ids: map.count() };
    let source = call.fds[1].try_clone().map_err(failed(building))?;
    let unpacked = match run_unpacking(File::from(source), places, manner, map)? {
        Said::Unpacked(unpacked) => unpacked,
        Said::Failed { text, errno } => return Err(WorkError::Layer { text, errno }),
    };
    let answer = Answer::Unpacked { diff_id: unpacked.diff_id.clone(), lost: unpacked.lost };
    call.answer(&answer).map_err(|_| WorkError::Interrupted)?;
    // It takes its time, in which layers below may still be coming.
    let folder = File::open(building).map_err(failed(building))?;
    rustix::fs::syncfs(&folder).map_err(|error| failed(building)(error.into()))?;
    call.wait_for_word().map_err(|_| WorkError::Interrupted)?;
    let mut unwritten = Unwritten::Note;
    if !unpacked.undescribed.is_empty() || !unpacked.links.is_empty() {
        run_settling(order, &unpacked, places, manner, map)?;
        unwritten = Unwritten::All;
    }
    let Unpacked { diff_id, bytes, hides_all, lost, .. } = unpacked;
    let record = LayerRecord { diff_id, bytes, hides_all, lost };
    finish(NOTE, &record, places, unwritten)?;
    Ok(bytes)
}

/// Whoever writes to the other end of `source` sees when nobody reads any more.
fn run_unpacking(
    source: File,
    places: &Places,
    manner: Manner,
    map: &IdMap,
) -> Result<Said, WorkError> {
    let building = &places.building;
    let (mut said, say) = io::pipe().map_err(failed(building))?;
    std::env::set_current_dir(building).map_err(failed(building))?;
    let unpacking = start_as_root_of_new_namespace(map, || {
        let unpacked = unpack::unpack(source, ROOTFS.as_ref(), manner);
        let words = unpacked.map_or_else(|error| Said::failed(&error), Said::Unpacked);
        let told = serde_json::to_vec(&words).map_err(io::Error::from);
        i32::from(told.and_then(|words| (&say).write_all(&words)).is_err())
    })
    .map_err(WorkError::Namespace)?;
    drop(say);
    std::env::set_current_dir("/").map_err(failed("/".as_ref()))?;
    let mut words = Vec::new();
    said.read_to_end(&mut words).map_err(failed(building))?;
    unpacking.wait().map_err(WorkError::Namespace)?;
    serde_json::from_slice(&words).map_err(|_| WorkError::Layer {
        text: "the process that unpacked the layer was ended".to_owned(),
        errno: None,
    })
}

fn run_settling(
    order: &Order,
    unpacked: &Unpacked,
    places: &Places,
    manner: Manner,
    map: &IdMap,
) -> Result<(), WorkError> {
    let (mut said, say) = io::pipe().map_err(failed(&places.building))?;
    let inside = |layer: &String| places.store.join(layer).join(ROOTFS);
    let below: Vec<PathBuf> = order.below.iter().map(inside).collect();
    let rootfs = places.building.join(ROOTFS);
    let status = run_as_root_of_new_namespace(map, || {
        let Err(error) = unpack::settle(&rootfs, &below, unpacked, manner) else { return 0 };
        // The exit status says that there is something to read.
        serde_json::to_writer(&say, &Said::failed(&error)).ok();
        1
    })
    .map_err(WorkError::Namespace)?;
    drop(say);
    if status.success() {
        return Ok(());
    }
    let mut words = Vec::new();
    said.read_to_end(&mut words).map_err(failed(&places.building))?;
    match serde_json::from_slice(&words) {
        Ok(Said::Failed { text, errno }) => Err(WorkError::Layer { text, errno }),
        _ => Err(WorkError::Interrupted),
    }
}

impl Said {
    fn failed(error: &UnpackError) -> Self {
        Self::Failed { text: error.to_string(), errno: error.errno() }
    }
}
