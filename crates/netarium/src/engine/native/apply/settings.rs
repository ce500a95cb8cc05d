//! Kernel settings of nodes: what is written below `/proc/sys`, and what is there by itself.

use std::fs;
use std::path::{Path, PathBuf};

use netarium_core::name::Name;
use netarium_core::object;
use netarium_core::plan::Step;

use super::{Apply, Result, StepError, failed};
use crate::engine::native::node::RunningNode;
use crate::failure::Failure;
use crate::linux::stage::Call;

impl Apply<'_> {
    /// A namespace is entered once for all settings of a node.
    pub(super) fn write_settings(
        &mut self,
        node: &Name,
        settings: &[(usize, &Step, &object::Sysctl)],
        call: &Call,
    ) -> std::result::Result<(), Failure> {
        let Some((_, first, _)) = settings.first() else { return Ok(()) };
        let write = || -> Vec<Result<()>> {
            let write = |(_, _, it): &(usize, &Step, &object::Sysctl)| {
                write_proc(&setting_path(&it.key), &it.value)
            };
            settings.iter().map(write).collect()
        };
        let written = self.node(node).and_then(|node| in_network(node, write));
        let written = written.map_err(|error| failed(first, &error))?;
        for ((number, step, _), result) in settings.iter().zip(written) {
            result.map_err(|error| failed(step, &error))?;
            self.done(*number, step, call)?;
        }
        Ok(())
    }
}

/// The lab's own network namespace has no use for IPv6: its links would speak without being asked.
pub(super) fn silence_segments() -> Result<()> {
    let path = Path::new("/proc/sys/net/ipv6/conf/default/disable_ipv6");
    if path.exists() { write_proc(path, "1") } else { Ok(()) }
}

pub(super) fn interface_key(setting: &object::InterfaceSysctl, interface: &str) -> String {
    format!("net/{}/conf/{interface}/{}", setting.family, setting.key)
}

fn setting_path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

pub(super) fn read_setting(key: &str) -> Result<String> {
    let path = setting_path(key);
    let value = fs::read_to_string(&path).map_err(|source| StepError::Write { path, source })?;
    Ok(value.trim_end().to_owned())
}

pub(super) fn write_setting(node: &RunningNode, key: &str, value: &str) -> Result<()> {
    in_network(node, || write_proc(&setting_path(key), value))?
}

/// `/proc/sys/net` shows the settings of the network namespace of whoever looks.
pub(super) fn in_network<T: Send>(
    node: &RunningNode,
    visit: impl FnOnce() -> T + Send,
) -> Result<T> {
    node.namespace.enter(visit).map_err(|source| StepError::Write {
        path: node.root_path().with_file_name("ns/net"),
        source,
    })
}

#[expect(clippy::disallowed_methods, reason = "a file of /proc is written, not replaced")]
fn write_proc(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|source| StepError::Write { path: path.to_owned(), source })
}
