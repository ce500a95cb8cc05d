//! The Compose file itself.

use super::subnets::Subnets;
use super::{Export, FOLDER};
use crate::model::{Access, Condition, Image, Model, Node, Volume, VolumeSource};
use crate::name::Name;
use crate::object::{Object, Objects};

/// How many digits of an image's digest are its tag where Netarium gives it to Docker.
const DIGITS: usize = 16;

/// Settings that Docker makes itself, and takes from nobody.
const OF_DOCKER: [&str; 1] = ["net/ipv6/conf/default/disable_ipv6"];

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
    lines.line(0, format!("name: {}", model.lab));
    lines.line(0, "services:");
    for (name, node) in &model.nodes {
        service(&mut lines, model, objects, (name, node), subnets, export);
    }
    lines.line(0, "networks:");
    for (name, subnet) in subnets.iter() {
        lines.line(1, format!("{name}:"));
        lines.line(2, "driver: bridge");
        lines.line(2, "driver_opts:");
        if !model.is_way_out(name) {
            lines.line(3, "com.docker.network.bridge.enable_ip_masquerade: \"false\"");
        }
        if let Some(segment) = model.segments.get(name) {
            lines.line(3, format!("com.docker.network.driver.mtu: \"{}\"", segment.mtu));
        }
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
    let named = model.nodes.values().flat_map(|node| &node.volumes);
    let mut names: Vec<&Name> = named
        .filter_map(|it| if let VolumeSource::Named(name) = &it.source { Some(name) } else { None })
        .collect();
    names.sort();
    names.dedup();
    if !names.is_empty() {
        lines.line(0, "volumes:");
        names.iter().for_each(|name| lines.line(1, format!("{name}:")));
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
    if let Image::Recipe(recipe) = &node.image {
        lines.line(2, format!("build: ./images/{}", recipe.name));
        let packages: Vec<&str> = recipe.packages.iter().map(String::as_str).collect();
        let text = format!(
            "FROM debian:{}-slim\nRUN apt-get update && apt-get install -y --no-install-recommends \
             {} && rm -rf /var/lib/apt/lists/*\n",
            recipe.suite,
            packages.join(" ")
        );
        export.put(format!("images/{}/Dockerfile", recipe.name), 0o644, text);
    }
    let hostname = node.hostname.as_deref().unwrap_or(name.as_str());
    lines.line(2, format!("hostname: {}", word(hostname)));
    lines.line(2, format!("entrypoint: [/bin/sh, {FOLDER}/start.sh]"));
    lines.line(2, "cap_add: [NET_ADMIN, NET_RAW]");
    lines.line(2, "devices: [\"/dev/net/tun:/dev/net/tun\"]");
    lines.line(2, "sysctls:");
    for (_, object) in objects.iter() {
        if let Object::Sysctl(it) = object
            && it.node == *name
            && !OF_DOCKER.contains(&it.key.as_str())
        {
            lines.line(3, format!("{}: {}", it.key.replace('/', "."), word(&it.value)));
        }
    }
    let has_ipv6 = node.interfaces.iter().flat_map(|it| &it.addresses);
    if has_ipv6.into_iter().any(|address| address.addr().is_ipv6()) {
        lines.line(3, "net.ipv6.conf.all.disable_ipv6: \"0\"");
    }
    limits(lines, node);
    volumes(lines, name, node);
    ports(lines, model, name);
    if !node.after.is_empty() {
        lines.line(2, "depends_on:");
        for (other, condition) in &node.after {
            // A node is well when its script has come so far, which Docker cannot see.
            let condition = match condition {
                Condition::Started | Condition::Healthy => "service_started",
                Condition::Completed => "service_completed_successfully",
            };
            lines.line(3, format!("{other}: {{condition: {condition}}}"));
        }
    }
    if subnets.iter().next().is_none() || node.interfaces.is_empty() {
        lines.line(2, "network_mode: none");
        return;
    }
    lines.line(2, "networks:");
    for interface in &node.interfaces {
        let Some((v4, v6)) = subnets.given(name, interface) else { continue };
        let v6 = v6.filter(|_| subnets.get(&interface.segment).is_some_and(|it| it.ipv6.is_some()));
        let v6 = v6.map_or_else(String::new, |it| format!(", ipv6_address: \"{it}\""));
        lines.line(3, format!("{}: {{ipv4_address: \"{v4}\"{v6}}}", interface.segment));
    }
}

/// The image by the name that Docker has it by.
fn image(node: &Node, name: &Name, export: &mut Export) -> String {
    match &node.image {
        Image::Host => {
            export.notes.push(format!(
                "node {name}: the image host is this machine; `netarium up --engine docker` makes \
                 netarium/host of it"
            ));
            "netarium/host".to_owned()
        }
        Image::Recipe(recipe) => {
            let tag: String = recipe.digest().chars().take(DIGITS).collect();
            format!("netarium/{}:{tag}", recipe.name)
        }
        Image::DockerDaemon { name } => name.clone(),
        other => {
            if let Image::Archive(archive) = other {
                export.notes.push(format!("node {name}: load {archive} into Docker first"));
            }
            other.title()
        }
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
