//! What the engine is told about a container. It chooses nothing that a lab file says: interfaces,
//! addresses, files and volumes are made by the worker, as in every engine.
//!
//! A container gets no network from the engine, which would take its time over one of its own: it
//! has a network namespace with nothing in it.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountType, NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use netarium_core::model::Nesting;
use netarium_core::name::Name;
use netarium_core::{control, object, wireguard};

use super::host;
use super::networks::Endpoint;
use crate::folder::NodeFolder;
use crate::linux::seccomp;
use crate::node_program::Programs;

/// The label that names the lab of a container.
pub(super) const LAB: &str = "io.netarium.lab";
/// The label that names its node.
pub(super) const NODE: &str = "io.netarium.node";
/// The label that names the data folder of its owner.
pub(super) const DATA: &str = "io.netarium.data";

/// The device of tunnels in user space. Without `NET_ADMIN` it is of no use to anybody.
const TUN: &str = "/dev/net/tun";

/// How long the engine waits for a container that it is told to stop, in seconds: longer than the first
/// process waits for its services.
const STOP_TIMEOUT: i64 = 12;

/// The name of a node's container. Neither name has a dot, so no two nodes share one.
pub(super) fn container_name(lab: &Name, node: &Name) -> String {
    format!("netarium-{lab}.{node}")
}

/// What a container is made from.
pub(super) struct Form<'a> {
    pub(super) lab: &'a Name,
    /// The data folder of the owner.
    pub(super) data: &'a Path,
    pub(super) node: &'a object::Node,
    pub(super) folder: &'a NodeFolder,
    pub(super) programs: &'a Programs,
    /// As the engine knows it.
    pub(super) image: &'a str,
    /// The networks of the engine that it is on, if it is on any.
    pub(super) endpoints: &'a [Endpoint],
}

impl Form<'_> {
    pub(super) fn body(&self) -> ContainerCreateBody {
        let labels = [
            (LAB, self.lab.to_string()),
            (NODE, self.node.name.to_string()),
            (DATA, self.data.display().to_string()),
        ];
        ContainerCreateBody {
            hostname: Some(
                self.node.hostname.clone().unwrap_or_else(|| self.node.name.to_string()),
            ),
            image: Some(self.image.to_owned()),
            entrypoint: Some(vec![control::INIT_PATH.to_owned(), control::WAIT.to_owned()]),
            cmd: Some(vec![]),
            user: Some("0:0".to_owned()),
            working_dir: Some("/".to_owned()),
            // Whether a service is well is for the first process to find out.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            stop_signal: Some("SIGTERM".to_owned()),
            stop_timeout: Some(STOP_TIMEOUT),
            network_disabled: Some(self.endpoints.is_empty()),
            networking_config: self.endpoints.first().map(|first| NetworkingConfig {
                endpoints_config: Some([(first.network.clone(), first.settings())].into()),
            }),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            host_config: Some(self.host_config()),
            ..ContainerCreateBody::default()
        }
    }

    fn host_config(&self) -> HostConfig {
        let limits = &self.node.limits;
        let memory = limits.memory.and_then(|it| i64::try_from(it).ok());
        HostConfig {
            network_mode: Some(match self.endpoints.first() {
                Some(first) => first.network.clone(),
                None => "none".to_owned(),
            }),
            cap_add: Some(vec!["NET_ADMIN".to_owned(), "NET_RAW".to_owned()]),
            security_opt: Some(self.security()),
            devices: Some(devices()),
            mounts: Some(self.mounts()),
            memory,
            // Memory is meant, without a place to put it instead.
            memory_swap: memory,
            nano_cpus: limits.millicpus.map(|it| i64::from(it) * 1_000_000),
            pids_limit: limits.pids.map(i64::from),
            // As in a node of ours; without a word it depends on the version of the machine's cgroups.
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            init: Some(false),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            // The first process keeps the logs; here is only what it says of itself.
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::new()),
            }),
            ..HostConfig::default()
        }
    }

    fn security(&self) -> Vec<String> {
        let mut options = vec!["no-new-privileges".to_owned()];
        if self.node.nesting == Nesting::Allowed {
            // Docker's own filter and its profile for AppArmor refuse all namespaces and mounts, also
            // those of a user namespace.
            options.push(format!("seccomp={}", seccomp::profile(self.node.nesting)));
            options.push("apparmor=unconfined".to_owned());
        }
        options
    }

    fn mounts(&self) -> Vec<Mount> {
        let Programs { node, wireguard } = self.programs;
        let mut mounts = vec![
            bind(node, control::PROBE_PATH, Access::ReadOnly),
            bind(node, control::INIT_PATH, Access::ReadOnly),
            bind(wireguard, wireguard::PROGRAM, Access::ReadOnly),
            bind(&self.folder.logs(), control::LOGS_PATH, Access::Writable),
            bind(&self.folder.gate(), control::GATE_FOLDER, Access::Writable),
        ];
        if self.node.image == object::ImageRef::Host {
            let shown = host::shown();
            mounts.extend(
                shown.iter().map(|path| bind(path, &path.to_string_lossy(), Access::ReadOnly)),
            );
        }
        mounts
    }
}

fn devices() -> Vec<DeviceMapping> {
    let tun = Some(TUN.to_owned()).filter(|path| Path::new(path).exists());
    let mapping = |path: String| DeviceMapping {
        path_on_host: Some(path.clone()),
        path_in_container: Some(path),
        cgroup_permissions: Some("rwm".to_owned()),
    };
    tun.map(mapping).into_iter().collect()
}

enum Access {
    ReadOnly,
    Writable,
}

fn bind(source: &Path, target: &str, access: Access) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(matches!(access, Access::ReadOnly)),
        ..Mount::default()
    }
}
