//! What the container of a node does when it starts: a script for sh(1).

use std::fmt::Write;

use super::FOLDER;
use super::subnets::Subnets;
use crate::ipsec;
use crate::model::{Model, Node, Readiness, Restart, Service, Start, TunnelKind, Via};
use crate::name::Name;
use crate::object::{Object, Objects};

/// What every script begins with.
const HEAD: &str = "#!/bin/sh
# Made by `netarium export compose`: what Docker does not do for this node.
set -eu
cd /
trap 'exit 0' TERM INT

# The interface that Docker gave this address.
interface() {
    ip -oneline address show to \"$1\" | { read -r _ name _; echo \"$name\"; }
}
";

/// The script of a node.
pub(super) fn of_node(
    model: &Model,
    objects: &Objects,
    (name, node): (&Name, &Node),
    subnets: &Subnets,
    notes: &mut Vec<String>,
) -> String {
    let mut text = HEAD.to_owned();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    let firewalled =
        objects.iter().any(|(_, it)| matches!(it, Object::Firewall(it) if it.node == *name));
    if firewalled {
        line(format!("nft -f {FOLDER}/firewall.nft"));
    }
    line(format!("cp -r --preserve=mode {FOLDER}/files/. /"));
    wiring(objects, name, node, subnets, &mut line);
    for (_, object) in objects.iter() {
        if let Object::File(it) = object
            && it.node == *name
            && let Some(owner) = &it.owner
        {
            let group = owner.group.as_ref().map_or_else(String::new, |group| format!(":{group}"));
            line(format!("chown {}{group} {}", quoted(&owner.name), quoted(&it.path)));
        }
    }
    for (_, object) in objects.iter() {
        if let Object::Service(it) = object
            && it.node == *name
        {
            service(&it.service, name, notes, &mut line);
        }
    }
    tunnels(model, name, &mut line);
    line("while :; do sleep 3600 & wait $!; done".to_owned());
    text
}

/// Names, addresses and routes of the interfaces.
fn wiring(
    objects: &Objects,
    name: &Name,
    node: &Node,
    subnets: &Subnets,
    line: &mut impl FnMut(String),
) {
    let given = |interface| subnets.given(name, interface);
    // None is renamed before all are found, and all have other names before one takes its own.
    for (index, interface) in node.interfaces.iter().enumerate() {
        if let Some((address, _)) = given(interface) {
            line(format!("i{index}=$(interface {address})"));
        }
    }
    for index in 0..node.interfaces.len() {
        line(format!("ip address flush dev \"$i{index}\""));
        line(format!("ip link set dev \"$i{index}\" down"));
        line(format!("ip link set dev \"$i{index}\" name netarium{index}"));
    }
    for (index, interface) in node.interfaces.iter().enumerate() {
        let (own, mtu) = (&interface.name, interface.mtu);
        line(format!("ip link set dev netarium{index} name {own} mtu {mtu}"));
        for address in &interface.addresses {
            let quick = if address.addr().is_ipv6() { " nodad" } else { "" };
            line(format!("ip address add {address} dev {own}{quick}"));
        }
        line(format!("ip link set dev {own} up"));
    }
    for (_, object) in objects.iter() {
        let Object::Route(route) = object else { continue };
        if route.node != *name {
            continue;
        }
        // Docker's way out has IPv4 only.
        let is_way_out =
            route.via.interface().is_some_and(|it| it.as_str() == crate::model::UPLINK);
        if is_way_out && route.to.addr().is_ipv6() {
            continue;
        }
        let to = route.to;
        line(match &route.via {
            Via::Gateway { address, interface } => {
                format!("ip route add {to} via {address} dev {interface}")
            }
            Via::Interface(interface) => format!("ip route add {to} dev {interface}"),
            Via::Unreachable => format!("ip route add unreachable {to}"),
            Via::Blackhole => format!("ip route add blackhole {to}"),
            Via::Prohibit => format!("ip route add prohibit {to}"),
        });
    }
}

/// Starts a service, and waits until it is ready.
fn service(service: &Service, node: &Name, notes: &mut Vec<String>, line: &mut impl FnMut(String)) {
    let words = |words: &[String]| words.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(" ");
    let mut run = words(&service.run);
    if let Some(user) = &service.user {
        let group = user.group.as_ref().unwrap_or(&user.name);
        let (user, group) = (quoted(&user.name), quoted(group));
        run = format!("setpriv --reuid={user} --regid={group} --init-groups {run}");
    }
    let environment: String = service
        .environment
        .iter()
        .map(|(name, value)| format!("{} ", quoted(&format!("{name}={value}"))))
        .collect();
    if !environment.is_empty() {
        run = format!("env {environment}{run}");
    }
    line(format!("\n# service {}", service.name));
    let folder = quoted(&service.folder);
    let is_done = service.ready == Readiness::Done;
    line(match service.restart {
        _ if is_done => format!("(cd {folder} && {run})"),
        Restart::Never => format!("(cd {folder} && exec {run}) &"),
        Restart::OnFailure => format!("(cd {folder}; until {run}; do sleep 1; done) &"),
        Restart::Always => format!("(cd {folder}; while :; do {run} || :; sleep 1; done) &"),
    });
    match &service.ready {
        Readiness::Started | Readiness::Done => {}
        Readiness::Tcp(port) => {
            // The listening port as the kernel has it, since nothing else is in every image.
            line(format!(
                "until grep -qsE '^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F:]+ 0A' /proc/net/tcp \
                 /proc/net/tcp6; do sleep 0.05; done"
            ));
        }
        Readiness::Unix(path) => {
            line(format!("until test -S {}; do sleep 0.05; done", quoted(path)));
        }
        Readiness::File(path) => {
            line(format!("until test -e {}; do sleep 0.05; done", quoted(path)));
        }
        Readiness::Command(health) => {
            line(format!("until {}; do sleep 1; done", words(&health.run)));
            notes.push(format!(
                "node {node}: the health check of {} counts when it starts only",
                service.name
            ));
        }
    }
}

/// Opens the tunnels that a node opens: as often as it takes, since the other end may come later.
fn tunnels(model: &Model, node: &Name, line: &mut impl FnMut(String)) {
    for tunnel in model.tunnels.values() {
        let TunnelKind::Ipsec(ipsec) = &tunnel.kind else { continue };
        if tunnel.initiator.node == *node && ipsec.start == Start::Up {
            let name = &tunnel.name;
            line(format!("\n# tunnel {name}"));
            line(format!("until test -e {}; do sleep 0.05; done", ipsec::LOADED));
            line(format!(
                "(until swanctl --initiate --child {name} --timeout 10; do sleep 0.1; done) &"
            ));
        }
    }
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::new();
    write!(quoted, "'{}'", word.replace('\'', r"'\''"))
        .expect("a string takes all that is written");
    quoted
}
