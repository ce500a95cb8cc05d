//! Taking away: what was made before a failure, and all of a lab.

use std::fs;
use std::io;
use std::path::Path;

use netarium_core::object::Objects;

use super::change::Work;
use super::{Lab, LabError, Result, steps};
use crate::engine::native::sweep::sweep;
use crate::engine::native::{farewell, keeper};
use crate::event::{Event, Report};
use crate::lab_file::LabFile;
use crate::linux::cgroup::Cgroups;

impl Lab {
    /// Takes what was made since `before` away again.
    pub(super) async fn undo(
        &self,
        before: &Objects,
        file_before: Option<&LabFile>,
        work: &Work<'_>,
    ) -> Result<()> {
        if before.is_empty() {
            self.put_logs_aside(|from, to| fs::rename(from, to));
            let cleared = self.clear_all().await.map(drop);
            self.forget_empty_volumes();
            return cleared;
        }
        self.put_logs_aside(copy_files);
        if let Some(file) = file_before {
            self.write_records(file, self.engine().unwrap_or_default())?;
        }
        let steps = steps(before, &self.observe().await?);
        let secrets = file_before.map_or(work.secrets, |file| &file.model.secrets);
        let after = &file_before.map(|file| file.model.order()).unwrap_or_default();
        let unready = work.unready.clone();
        let work = Work { secrets, unready, after, ..*work };
        self.apply(&steps, &work).await
    }

    /// Logs of a lab of which something is about to go, for looking at why it failed. There may be
    /// none.
    fn put_logs_aside(&self, put: impl Fn(&Path, &Path) -> io::Result<()>) {
        let aside = self.failed_logs();
        self.forget_logs();
        let Ok(nodes) = fs::read_dir(self.folder.path().join("nodes")) else { return };
        if fs::create_dir_all(&aside).is_ok() {
            for node in nodes.flatten() {
                put(&node.path().join("logs"), &aside.join(node.file_name())).ok();
            }
        }
    }

    /// Removes the logs that were put aside, if there are any.
    pub(super) fn forget_logs(&self) {
        let aside = self.failed_logs();
        fs::remove_dir_all(&aside).ok();
        // Those of other labs may be there, and then it stays.
        aside.parent().map(fs::remove_dir);
    }

    /// Removes what a lab that is not up has left, if anything.
    pub(super) async fn clear(&self, report: Report<'_>) -> Result<()> {
        if self.folder.path().exists() {
            report(Event::Sweeping);
        }
        self.clear_all().await.map(drop)
    }

    /// Lets services that ask for time end.
    pub(super) async fn take_leave(&self) {
        let folder = self.folder.clone();
        if folder.farewell().exists() {
            // It waits for them; that it cannot be begun is no reason to stay.
            tokio::task::spawn_blocking(move || farewell::of_lab(&folder)).await.ok();
        }
    }

    pub(super) async fn clear_all(&self) -> Result<bool> {
        let killed = keeper::kill_all(&self.folder).map_err(LabError::Kill)?;
        let had_containers = self.clear_containers().await?;
        let left = self.folder.path().exists();
        let swept = sweep(self.folder.path()).await.map_err(LabError::Sweep);
        Cgroups::of_host().remove(&self.name).into_iter().try_for_each(Err)?;
        swept.map(|()| killed || had_containers || left)
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
