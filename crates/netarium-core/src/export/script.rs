//! What the container of a node does when it starts: a script for sh(1).

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::subnets::Subnets;
use super::{FOLDER, PROBE_HERE};
use crate::address::Mac;
use crate::control::PROBE_PATH;
use crate::ipsec;
use crate::model::{
    Condition, Interface, MAIN, Model, Node, Readiness, Restart, Service, Start, TunnelKind, Via,
};
use crate::name::Name;
use crate::object::{Id, Object, Objects, Route};
use crate::wireguard;

/// The file that says that all services of a node are ready.
pub(super) const READY: &str = "/run/netarium-ready";

/// What every script begins with.
const HEAD: &str = "#!/bin/sh
# Made by `netarium export compose`: what Docker does not do for this node.
set -eu
cd /
trap 'exit 0' TERM INT
";

/// How the script knows the interfaces, which Docker calls as it likes.
const FOUND: &str = "
# The interfaces that Docker has made, by the addresses that it gave them.
found=$(ip -oneline address show)
interface() {
    echo \"$found\" | while read -r _ name _ address _; do
        case $address in \"$1\"/*) echo \"$name\" ;; esac
    done
}
";

/// The lines of a script.
struct Script(String);

impl Script {
    fn line(&mut self, words: impl AsRef<str>) {
        self.0.push_str(words.as_ref());
        self.0.push('\n');
    }

    /// Has ip(8) do several things, one after the other.
    fn batch(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            self.line(format!("ip -batch - <<END\n{}\nEND", lines.join("\n")));
        }
    }
}

/// The script of a node.
pub(super) fn of_node(
    model: &Model,
    objects: &Objects,
    (name, node): (&Name, &Node),
    subnets: &Subnets,
    notes: &mut BTreeSet<String>,
) -> String {
    let mut script = Script(HEAD.to_owned());
    let is_awaited =
        |condition| model.nodes.values().any(|it| it.after.get(name) == Some(&condition));
    script.line(format!("[ -e {PROBE_PATH} ] || ln -s {PROBE_HERE} {PROBE_PATH}"));
    if is_awaited(Condition::Healthy) {
        script.line(format!("rm -f {READY}"));
    }
    if objects.contains(&Id::Firewall(name.clone())) {
        script.line(format!("nft -f {FOLDER}/firewall.nft"));
    }
    script.line(format!("cp -r --preserve=mode {FOLDER}/files/. /"));
    owners(&mut script, objects, name);
    wiring(&mut script, model, objects, (name, node), subnets);
    let ordered = in_order(objects, name);
    let (daemons, others): (Vec<&Service>, Vec<&Service>) =
        ordered.into_iter().partition(|it| it.name == ipsec::service_name());
    for service in daemons {
        begin(&mut script, service, name, notes);
    }
    tunnels(&mut script, model, name);
    for service in others {
        begin(&mut script, service, name, notes);
    }
    if is_awaited(Condition::Healthy) {
        script.line(format!("\ntouch {READY}"));
    }
    match is_awaited(Condition::Completed) {
        true => script.line("\n# Another node waits for its end.\nwait \"$main\""),
        false => script.line("\nwhile :; do sleep 3600 & wait $!; done"),
    }
    script.0
}

/// Gives files to their owners, who are known in the container only.
fn owners(script: &mut Script, objects: &Objects, name: &Name) {
    for (_, object) in objects.iter() {
        if let Object::File(it) = object
            && it.node == *name
            && let Some(owner) = &it.owner
        {
            let group = owner.group.as_ref().map_or_else(String::new, |group| format!(":{group}"));
            let owner = quoted(&format!("{}{group}", owner.name));
            script.line(format!("chown {owner} {}", quoted(&it.path)));
        }
    }
}

/// Names, addresses and routes of the interfaces.
fn wiring(
    script: &mut Script,
    model: &Model,
    objects: &Objects,
    (name, node): (&Name, &Node),
    subnets: &Subnets,
) {
    let given: Vec<(&Interface, IpAddr)> =
        node.interfaces.iter().filter_map(|it| Some((it, subnets.given(name, it)?.0))).collect();
    if !given.is_empty() {
        script.line(FOUND);
    }
    for (index, (_, address)) in given.iter().enumerate() {
        script.line(format!("i{index}=$(interface {address})"));
    }
    // None is renamed before all are found, and all have other names before one takes its own.
    let aside = |index: usize| {
        [
            format!("address flush dev $i{index}"),
            format!("link set dev $i{index} down"),
            format!("link set dev $i{index} name netarium{index}"),
        ]
    };
    script.batch(&(0..given.len()).flat_map(aside).collect::<Vec<_>>());
    let named = |(index, (it, _)): (usize, &(&Interface, IpAddr))| {
        let mac =
            own_mac(model, name, it).map_or_else(String::new, |mac| format!(" address {mac}"));
        let Interface { name, mtu, .. } = it;
        format!("link set dev netarium{index} name {name}{mac} mtu {mtu}")
    };
    script.batch(&given.iter().enumerate().map(named).collect::<Vec<_>>());
    // Docker's way out has IPv4 only.
    let carries = |interface: &Interface, prefix: &IpNet| {
        prefix.addr().is_ipv4() || !model.is_way_out(&interface.segment)
    };
    let mut lines = Vec::new();
    for (interface, _) in &given {
        let own = &interface.name;
        for address in interface.addresses.iter().filter(|it| carries(interface, it)) {
            let quick = if address.addr().is_ipv6() { " nodad" } else { "" };
            lines.push(format!("address add {address} dev {own}{quick}"));
        }
        lines.push(format!("link set dev {own} up"));
    }
    let is_there = |route: &Route| match route.via.interface() {
        Some(wanted) => given.iter().any(|(it, _)| it.name == *wanted && carries(it, &route.to)),
        None => true,
    };
    lines.extend(objects.iter().filter_map(|(_, object)| match object {
        Object::Route(it) if it.node == *name && is_there(it) => Some(route(it)),
        _ => None,
    }));
    script.batch(&lines);
}

/// The hardware address that the lab file gives an interface. All others are left as Docker has made them:
/// who has heard of one while containers start would send there for most of a minute.
pub(super) fn own_mac(model: &Model, node: &Name, interface: &Interface) -> Option<Mac> {
    let derived = Mac::derive(&model.lab, node, &interface.name);
    Some(interface.mac).filter(|mac| *mac != derived)
}

fn route(route: &Route) -> String {
    let to = route.to;
    match &route.via {
        Via::Gateway { address, interface } => {
            format!("route add {to} via {address} dev {interface}")
        }
        Via::Interface(interface) => format!("route add {to} dev {interface}"),
        Via::Unreachable => format!("route add unreachable {to}"),
        Via::Blackhole => format!("route add blackhole {to}"),
        Via::Prohibit => format!("route add prohibit {to}"),
    }
}

/// The services of a node, each behind those that it starts after.
fn in_order<'o>(objects: &'o Objects, node: &Name) -> Vec<&'o Service> {
    let mut left: Vec<&Service> = objects
        .iter()
        .filter_map(|(_, object)| match object {
            Object::Service(it) if it.node == *node => Some(&it.service),
            _ => None,
        })
        .filter(|it| it.name != wireguard::service_name())
        .collect();
    let mut ordered: Vec<&Service> = Vec::new();
    while !left.is_empty() {
        let is_free = |it: &&Service| left.iter().all(|other| !it.after.contains(&other.name));
        let next = left.iter().position(is_free).unwrap_or_default();
        ordered.push(left.remove(next));
    }
    ordered
}

/// Starts a service, and waits until it is ready.
fn begin(script: &mut Script, service: &Service, node: &Name, notes: &mut BTreeSet<String>) {
    let run = as_said(service, &service.run);
    script.line(format!("\n# service {}", service.name));
    let folder = quoted(&service.folder);
    script.line(match (&service.ready, service.restart) {
        (Readiness::Done, _) => format!("(cd {folder} && {run})"),
        (_, Restart::Never) => format!("(cd {folder} && exec {run}) &"),
        (_, Restart::OnFailure) => format!("(cd {folder}; until {run}; do sleep 1; done) &"),
        (_, Restart::Always) => format!("(cd {folder}; while :; do {run} || :; sleep 1; done) &"),
    });
    if service.name.as_str() == MAIN {
        script.line("main=$!");
    }
    match &service.ready {
        Readiness::Started | Readiness::Done => {}
        // The listening port as the kernel has it, since nothing else is in every image.
        Readiness::Tcp(port) => script.line(format!(
            "until grep -qsE '^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F:]+ 0A' /proc/net/tcp \
             /proc/net/tcp6; do sleep 0.05; done"
        )),
        Readiness::Unix(path) => {
            script.line(format!("until test -S {}; do sleep 0.05; done", quoted(path)));
        }
        Readiness::File(path) => {
            script.line(format!("until test -e {}; do sleep 0.05; done", quoted(path)));
        }
        Readiness::Command(health) => {
            let run = as_said(service, &health.run);
            script.line(format!("until (cd {folder} && {run}); do sleep 1; done"));
            notes.insert(format!(
                "node {node}: the health check of {} counts when it starts only",
                service.name
            ));
        }
    }
}

/// A program with the user and the environment of a service.
fn as_said(service: &Service, words: &[String]) -> String {
    let mut run = words.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(" ");
    let variables = service.environment.iter();
    let environment: Vec<String> =
        variables.map(|(name, value)| quoted(&format!("{name}={value}"))).collect();
    if !environment.is_empty() {
        run = format!("env {} {run}", environment.join(" "));
    }
    if let Some(user) = &service.user {
        let name = quoted(&user.name);
        let is_number = user.name.bytes().all(|byte| byte.is_ascii_digit());
        let groups = if is_number { "--clear-groups" } else { "--init-groups" };
        // A number that nobody has as a user is in the group of root, as Docker has it.
        let own = || format!("\"$(id -g {name} 2>/dev/null || echo 0)\"");
        let group = user.group.as_ref().map_or_else(own, |group| quoted(group));
        run = format!("setpriv --reuid={name} --regid={group} {groups} {run}");
    }
    run
}

/// Sees that the tunnels stand that a node opens: as often as it takes, since the other end may come later,
/// and again when its daemon was started again.
fn tunnels(script: &mut Script, model: &Model, node: &Name) {
    for (name, tunnel) in &model.tunnels {
        let TunnelKind::Ipsec(ipsec) = &tunnel.kind else { continue };
        if tunnel.initiator.node == *node && ipsec.start == Start::Up {
            script.line(format!(
                "
# tunnel {name}
(while sleep 0.1; do
    [ -n \"$(swanctl --list-sas --ike {name})\" ] || swanctl --initiate --child {name} || continue
    sleep 5
done) &"
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
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn no_word_means_anything_to_the_shell() {
        let quoted = |word: &str| quoted(word);
        assert_eq!(quoted("--port=80"), "--port=80");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("$(reboot); it's"), r"'$(reboot); it'\''s'");
        assert_eq!(quoted("a\nb"), "'a\nb'");
        assert_eq!(quoted("~root"), "'~root'");
    }
}
