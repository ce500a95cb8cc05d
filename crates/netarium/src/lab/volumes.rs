//! The volumes with names: folders of a lab that outlast it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use netarium_core::model::{Model, VolumeSource};
use netarium_core::name::Name;

use super::{Lab, LabError, Result, State};
use crate::engine::native::sweep::sweep;
use crate::event::Report;
use crate::linux::idmap::IdMap;

impl Lab {
    /// The volumes that there are, with their folders.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn volumes(&self) -> Result<BTreeMap<Name, PathBuf>> {
        let path = self.data.volumes(&self.name);
        let error = |source| LabError::Folder { what: "read", path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(error(source)),
        };
        let mut volumes = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_str().and_then(|name| Name::new(name).ok());
            volumes.extend(name.map(|name| (name, entry.path())));
        }
        Ok(volumes)
    }

    /// Removes the volumes of a lab that is not up, with all that is in them. Says whether there
    /// were any.
    ///
    /// # Errors
    /// If the lab is up, or something cannot be removed.
    pub async fn remove_volumes(&self, report: Report<'_>) -> Result<bool> {
        let lock = self.lock(report).await?;
        if self.state() == State::Up {
            return Err(LabError::VolumesInUse(self.name.clone()));
        }
        let path = self.data.volumes(&self.name);
        let were_there = path.exists();
        sweep(&path).await.map_err(LabError::Sweep)?;
        // Those of other labs may be there, and then it stays.
        path.parent().map(fs::remove_dir);
        lock.remove();
        Ok(were_there)
    }

    /// Removes volumes in which there is nothing: a lab that did not come up has made them.
    pub(super) fn forget_empty_volumes(&self) {
        // One that has something in it, or is not there, is not removed.
        for folder in self.volumes().unwrap_or_default().values() {
            fs::remove_dir(folder).ok();
        }
        let path = self.data.volumes(&self.name);
        fs::remove_dir(&path).ok();
        path.parent().map(fs::remove_dir);
    }

    /// The folder of volumes belongs to root of the lab, who makes one at its first use.
    pub(super) fn create_volumes(&self, model: &Model) -> Result<()> {
        let mut volumes = model.nodes.values().flat_map(|node| &node.volumes);
        let path = self.data.volumes(&self.name);
        if !volumes.any(|it| matches!(it.source, VolumeSource::Named(_))) || path.exists() {
            return Ok(());
        }
        let map = IdMap::of_caller().map_err(LabError::Ids)?;
        let error = |source| LabError::Folder { what: "make", path: path.clone(), source };
        let above = path.parent().map_or(Ok(()), fs::create_dir_all);
        above.and_then(|()| DirBuilder::new().mode(0o700).create(&path)).map_err(error)?;
        std::os::unix::fs::chown(&path, Some(map.root_uid()), Some(map.root_gid())).map_err(error)
    }
}
