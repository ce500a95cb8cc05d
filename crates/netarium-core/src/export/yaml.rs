//! The Compose file itself.

use std::collections::BTreeSet;

use super::subnets::Subnets;
use super::{Export, FOLDER, PROBE_HERE, name_at_engine, script};
use crate::control::PROBE;
use crate::model::{Access, Condition, Image, Model, Node, Volume, VolumeSource};
use crate::name::Name;
use crate::object::{Object, Objects};

/// Settings that Docker makes itself for every container, and would make again over ours.
const OF_DOCKER: [&str; 1] = ["net/ipv6/conf/default/disable_ipv6"];

/// The device of tunnels in user space. Without `NET_ADMIN` it is of no use to anybody.
const TUN: &str = "/dev/net/tun";

/// Writes lines, each with the indentation that it has.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, depth: usize, words: impl AsRef<str>) {
        self.0.push_str(&"  ".repeat(depth));
        self.0.push_str(words.as_ref());
        self.0.push('\n');
    }
}

/// The Compose file of a lab.
pub(super) fn of_lab(
    model: &Model,
    objects: &Objects,
    subnets: &Subnets,
    export: &mut Export,
) -> String {
    let mut lines = Lines::default();
    lines.line(0, "# Made by `netarium export compose`.");
    lines.line(0, "services:");
    for (name, node) in &model.nodes {
        service(&mut lines, model, objects, (name, node), subnets, export);
    }
    if subnets.iter().next().is_some() {
        lines.line(0, "networks:");
    }
    for (name, subnet) in subnets.iter() {
        lines.line(1, format!("{}:", network(model, name)));
        lines.line(2, "driver: bridge");
        lines.line(2, "driver_opts:");
        if !model.is_way_out(name) {
            lines.line(3, "com.docker.network.bridge.enable_ip_masquerade: \"false\"");
        }
        let mtu = model.segments[name].mtu;
        lines.line(3, format!("com.docker.network.driver.mtu: \"{mtu}\""));
        if subnet.ipv6.is_some() {
            lines.line(2, "enable_ipv6: true");
        }
        lines.line(2, "ipam:");
        lines.line(3, "config:");
        let pools = [(subnet.ipv4, subnet.gateway)].into_iter().chain(subnet.ipv6);
        for (prefix, gateway) in pools {
            lines.line(4, format!("- subnet: \"{prefix}\""));
            lines.line(4, format!("  gateway: \"{gateway}\""));
        }
    }
    let volumes = model.nodes.values().flat_map(|node| &node.volumes);
    let names: BTreeSet<&Name> = volumes
        .filter_map(|it| if let VolumeSource::Named(name) = &it.source { Some(name) } else { None })
        .collect();
    if !names.is_empty() {
        lines.line(0, "volumes:");
        names.iter().for_each(|name| lines.line(1, format!("{name}: {{}}")));
    }
    lines.0
}

fn service(
    lines: &mut Lines,
    model: &Model,
    objects: &Objects,
    (name, node): (&Name, &Node),
    subnets: &Subnets,
    export: &mut Export,
) {
    lines.line(1, format!("{name}:"));
    lines.line(2, format!("image: {}", word(&image(node, name, export))));
    let hostname = node.hostname.as_deref().unwrap_or(name.as_str());
    lines.line(2, format!("hostname: {}", word(hostname)));
    lines.line(2, format!("entrypoint: [/bin/sh, {FOLDER}/start.sh]"));
    // What an image says of these would count for the script.
    lines.line(2, "user: \"0:0\"");
    lines.line(2, "working_dir: /");
    lines.line(2, "cap_add: [NET_ADMIN, NET_RAW]");
    if objects.iter().any(|(_, it)| matches!(it, Object::Credential(it) if it.node == *name)) {
        lines.line(2, format!("devices: [\"{TUN}:{TUN}\"]"));
    }
    sysctls(lines, model, objects, (name, node));
    limits(lines, node);
    volumes(lines, name, node);
    ports(lines, model, name);
    order(lines, model, (name, node));
    networks(lines, model, (name, node), subnets);
}

fn sysctls(lines: &mut Lines, model: &Model, objects: &Objects, (name, node): (&Name, &Node)) {
    lines.line(2, "sysctls:");
    for (_, object) in objects.iter() {
        if let Object::Sysctl(it) = object
            && it.node == *name
            && !OF_DOCKER.contains(&it.key.as_str())
        {
            lines.line(3, format!("{}: {}", it.key.replace('/', "."), word(&it.value)));
        }
    }
    if node.interfaces.iter().any(|it| script::own_mac(model, name, it).is_some()) {
        // Those who have heard of Docker's own address are told of the new one.
        lines.line(3, "net.ipv4.conf.all.arp_notify: \"1\"");
        lines.line(3, "net.ipv6.conf.all.ndisc_notify: \"1\"");
    }
    let mut addresses = node.interfaces.iter().flat_map(|it| &it.addresses);
    if addresses.any(|address| address.addr().is_ipv6()) {
        lines.line(3, "net.ipv6.conf.all.disable_ipv6: \"0\"");
    }
}

/// What starts after what, and when others may start after this.
fn order(lines: &mut Lines, model: &Model, (name, node): (&Name, &Node)) {
    if model.nodes.values().any(|it| it.after.get(name) == Some(&Condition::Healthy)) {
        lines.line(2, "healthcheck:");
        lines.line(3, format!("test: [CMD, test, -e, {}]", script::READY));
        lines.line(3, "interval: 1s");
        lines.line(3, "retries: 120");
    }
    if node.after.is_empty() {
        return;
    }
    lines.line(2, "depends_on:");
    for (other, condition) in &node.after {
        let condition = match condition {
            Condition::Started => "service_started",
            Condition::Healthy => "service_healthy",
            Condition::Completed => "service_completed_successfully",
        };
        lines.line(3, format!("{other}: {{condition: {condition}}}"));
    }
}

/// What the network of a segment is called. The way out has a name that nobody else has: Docker Compose
/// knows no other difference.
fn network(model: &Model, segment: &Name) -> String {
    let mut name = segment.to_string();
    if model.is_way_out(segment) {
        "way-out".clone_into(&mut name);
        while model.segments.keys().any(|it| it.as_str() == name) {
            name.push_str("-1");
        }
    }
    name
}

fn networks(lines: &mut Lines, model: &Model, (name, node): (&Name, &Node), subnets: &Subnets) {
    let on = node.interfaces.iter().filter_map(|it| Some((it, subnets.given(name, it)?)));
    let mut on = on.peekable();
    if on.peek().is_none() {
        return lines.line(2, "network_mode: none");
    }
    lines.line(2, "networks:");
    for (interface, (ipv4, ipv6)) in on {
        let ipv6 = ipv6.map_or_else(String::new, |it| format!(", ipv6_address: \"{it}\""));
        let network = network(model, &interface.segment);
        lines.line(3, format!("{network}: {{ipv4_address: \"{ipv4}\"{ipv6}}}"));
    }
}

/// The image by the name that Docker has it by.
fn image(node: &Node, name: &Name, export: &mut Export) -> String {
    match &node.image {
        Image::Recipe(recipe) => {
            let name = name_at_engine(recipe.name.as_str(), &recipe.digest());
            export.images.insert(name.clone(), node.image.clone());
            name
        }
        Image::DockerDaemon { name } => name.clone(),
        Image::Registry { reference, .. } => reference.to_string(),
        Image::Archive(archive) => {
            export.notes.insert(format!(
                "node {name}: `docker load` or `docker import` {archive} first, and write its name \
                 into compose.yaml"
            ));
            archive.name.clone().unwrap_or_else(|| name.to_string())
        }
        // A lab that is portable has none.
        Image::Host => "scratch".to_owned(),
    }
}

fn limits(lines: &mut Lines, node: &Node) {
    if let Some(memory) = node.limits.memory {
        lines.line(2, format!("mem_limit: {memory}"));
    }
    if let Some(thousandths) = node.limits.millicpus {
        lines.line(2, format!("cpus: {}.{:03}", thousandths / 1000, thousandths % 1000));
    }
    if let Some(pids) = node.limits.pids {
        lines.line(2, format!("pids_limit: {pids}"));
    }
}

fn volumes(lines: &mut Lines, name: &Name, node: &Node) {
    lines.line(2, "volumes:");
    lines.line(3, format!("- \"./nodes/{name}:{FOLDER}:ro\""));
    lines.line(3, format!("- \"./{PROBE}:{PROBE_HERE}:ro\""));
    let mut memory = Vec::new();
    for Volume { source, target, access } in &node.volumes {
        let access = if *access == Access::ReadOnly { ":ro" } else { "" };
        match source {
            VolumeSource::Named(volume) => {
                lines.line(3, format!("- {}", word(&format!("{volume}:{target}{access}"))));
            }
            VolumeSource::Host { beneath, path } => {
                let path = match beneath {
                    Some(folder) => format!("{folder}/{}", path.trim_start_matches("./")),
                    None => path.clone(),
                };
                lines.line(3, format!("- {}", word(&format!("{path}:{target}{access}"))));
            }
            VolumeSource::Memory { size, mode } => {
                let size = size.map_or_else(String::new, |size| format!(",size={size}"));
                memory.push(format!("{target}:mode={mode:o}{size}"));
            }
        }
    }
    if !memory.is_empty() {
        lines.line(2, "tmpfs:");
        memory.iter().for_each(|it| lines.line(3, format!("- {}", word(it))));
    }
}

fn ports(lines: &mut Lines, model: &Model, name: &Name) {
    let published = model.uplink.iter().flat_map(|uplink| &uplink.published);
    let own: Vec<_> = published.filter(|it| it.node == *name).collect();
    if own.is_empty() {
        return;
    }
    lines.line(2, "ports:");
    for it in own {
        let host = std::net::SocketAddr::new(it.address, it.port);
        lines.line(3, format!("- {}", word(&format!("{host}:{}/{}", it.to, it.protocol))));
    }
}

/// A value in quotes, as JSON and with that YAML has it; variables are none in it.
fn word(text: &str) -> String {
    serde_json::Value::String(text.replace('$', "$$")).to_string()
}
