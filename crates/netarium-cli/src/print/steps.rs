//! Steps as people read them: grouped by whom they are about, `+` what comes, `-` what goes, `~`
//! what changes.

use std::collections::BTreeMap;

use anstyle::Style as Paint;
use netarium_core::model::{
    self, Access, Content, Image, Nesting, SharedSecret, TunnelKind, Via, VolumeSource,
};
use netarium_core::name::Name;
use netarium_core::object::{self, Encryption, Id, ImageRef, Object, Port, SegmentLink, Uplink};
use netarium_core::plan::Step;
use netarium_core::wireguard::conf_path;

use super::table::{Cell, Table};
use super::{BAD, GOOD, HEAD, WARN, count};

/// Whom a step is about, in the order in which groups are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Lab,
    Segments,
    Node(Name),
    Tunnels,
}

/// The node that an object belongs to, if it belongs to one.
pub(crate) fn node_of(id: &Id) -> Option<&Name> {
    match id {
        Id::Lab
        | Id::Authority
        | Id::Segment(_)
        | Id::Uplink
        | Id::SharedKey(_)
        | Id::Tunnel(_) => None,
        Id::Node(node)
        | Id::Sysctl(node, _)
        | Id::Firewall(node)
        | Id::Interface(node, _)
        | Id::InterfaceSysctl(node, ..)
        | Id::Address(node, ..)
        | Id::Route(node, _)
        | Id::Credential(node)
        | Id::Key(node)
        | Id::Secret(node, _)
        | Id::File(node, _)
        | Id::Init(node)
        | Id::Service(node, _) => Some(node),
    }
}

/// All steps, each a line, below the headings of their groups.
pub(crate) fn grouped(steps: &[Step]) -> String {
    let mut groups: BTreeMap<Group, Table<3>> = BTreeMap::new();
    for step in steps {
        let (sign, paint) = sign(step);
        let (what, detail) = describe(step.object());
        let table = groups.entry(group(&step.object().id())).or_insert_with(Table::plain);
        table.row([Cell::painted(sign, paint), Cell::painted(what, paint), detail.into()]);
    }
    let part = |(group, table): (&Group, &Table<3>)| {
        let title = match group {
            Group::Lab => "lab",
            Group::Segments => "segments",
            Group::Node(node) => node.as_str(),
            Group::Tunnels => "tunnels",
        };
        format!("{HEAD}{title}{HEAD:#}\n{}", table.render(2))
    };
    groups.iter().map(part).collect::<Vec<_>>().join("\n")
}

/// How many steps of each sort: `12 to create, 1 to remove`.
pub(crate) fn tally(steps: &[Step]) -> String {
    let sorts = [("create", '+'), ("replace", '~'), ("remove", '-')];
    let number = |wanted| steps.iter().filter(|step| sign(step).0.starts_with(wanted)).count();
    let sorts = sorts.map(|(word, sign)| (number(sign), word));
    let told = sorts.iter().filter(|(number, _)| *number > 0);
    told.map(|(number, word)| format!("{number} to {word}")).collect::<Vec<_>>().join(", ")
}

/// How many objects of each kind: `2 addresses, 1 route`.
pub(crate) fn kinds<'a>(ids: impl IntoIterator<Item = &'a Id>) -> String {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for id in ids {
        match kinds.iter_mut().find(|(kind, _)| *kind == id.kind()) {
            Some((_, number)) => *number += 1,
            None => kinds.push((id.kind(), 1)),
        }
    }
    kinds.iter().map(|(kind, number)| count(*number, kind)).collect::<Vec<_>>().join(", ")
}

fn group(id: &Id) -> Group {
    match (node_of(id), id) {
        (Some(node), _) => Group::Node(node.clone()),
        (None, Id::Segment(_) | Id::Uplink) => Group::Segments,
        (None, Id::Tunnel(_)) => Group::Tunnels,
        _ => Group::Lab,
    }
}

fn sign(step: &Step) -> (&'static str, Paint) {
    match step {
        Step::Create(_) => ("+", GOOD),
        Step::Remove(_) => ("-", BAD),
        Step::Replace(_) => ("~", WARN),
    }
}

/// What an object is, without its node, and what there is to know of it.
fn describe(object: &Object) -> (String, String) {
    match object {
        Object::Lab(it) => (format!("lab {}", it.name), String::new()),
        Object::Authority(it) => (
            "certificate authority".to_owned(),
            format!("valid for {}", count(days(it.days), "day")),
        ),
        Object::Segment(it) => (it.name.to_string(), format!("{}, mtu {}", link(it.link), it.mtu)),
        Object::Uplink(it) => ("uplink".to_owned(), uplink(it)),
        Object::Node(it) => node(it),
        Object::Sysctl(it) => (format!("sysctl {}", it.key.replace('/', ".")), it.value.clone()),
        Object::Firewall(it) => ("firewall".to_owned(), count(it.text.lines().count(), "line")),
        Object::Interface(it) => (
            format!("interface {}", it.name),
            format!("{} on {}, {}, mtu {}", port(it.port), it.segment, it.mac, it.mtu),
        ),
        Object::TunnelInterface(it) => {
            let kind = match it.encryption {
                Encryption::Kernel => "WireGuard",
                Encryption::Userspace => "TUN device",
            };
            (format!("interface {}", it.name), format!("{kind}, mtu {}", it.mtu))
        }
        Object::InterfaceSysctl(it) => {
            (format!("sysctl {} {}.{}", it.interface, it.family, it.key), it.value.clone())
        }
        Object::Address(it) => (format!("address {}", it.address), it.interface.to_string()),
        Object::Route(it) => (format!("route {}", it.to), via(&it.via)),
        Object::Secret(it) => {
            let whose = match it.secret {
                SharedSecret::Made => "made by the lab",
                SharedSecret::Given(_) => "of the lab file",
            };
            (format!("secret of {}", it.tunnel), whose.to_owned())
        }
        Object::Credential(it) => {
            let addresses: Vec<_> = it.addresses.iter().map(ToString::to_string).collect();
            ("certificate".to_owned(), addresses.join(", "))
        }
        Object::Key(_) => ("key".to_owned(), "WireGuard".to_owned()),
        Object::SharedKey(it) => (format!("key shared by {}", it.tunnel), "WireGuard".to_owned()),
        Object::WireguardConf(it) => (
            format!("file {}", conf_path(&it.interface)),
            format!("peer {} at {}, port {}", it.peer, it.endpoint, it.port),
        ),
        Object::File(it) => file(it),
        Object::Init(_) => ("first process".to_owned(), String::new()),
        Object::Service(it) => (format!("service {}", it.service.name), it.service.run.join(" ")),
        Object::Tunnel(it) => {
            let ends = it.tunnel.ends().map(|end| end.node.as_str()).join(" to ");
            let what = match &it.tunnel.kind {
                TunnelKind::Ipsec(ipsec) => &ipsec.esp,
                TunnelKind::Wireguard(_) => "WireGuard",
            };
            (it.tunnel.name.to_string(), format!("{ends}, {what}"))
        }
    }
}

/// How a lab gets out, and which ports of the host lead into it.
fn uplink(uplink: &Uplink) -> String {
    let published = uplink.published.iter().map(|it| {
        format!(
            "{}/{} to {}:{}",
            std::net::SocketAddr::new(it.address, it.port),
            it.protocol,
            it.node,
            it.to.port()
        )
    });
    let way = format!("pasta by {}", uplink.device);
    std::iter::once(way).chain(published).collect::<Vec<_>>().join(", ")
}

fn file(it: &object::File) -> (String, String) {
    let owner = it.owner.as_ref().map(|user| format!(", of {user}")).unwrap_or_default();
    let size = match &it.content {
        Content::Folder => {
            return (format!("folder {}", it.path), format!("mode {:o}{owner}", it.mode));
        }
        Content::Text(text) => text.len().to_string(),
        Content::Stored(digest) => digest.size.to_string(),
    };
    (format!("file {}", it.path), format!("{size} bytes, mode {:o}{owner}", it.mode))
}

/// A node's image, and what sets it apart from others.
fn node(it: &object::Node) -> (String, String) {
    let mut known = vec![image_ref(&it.image)];
    known.extend(it.volumes.iter().map(volume));
    if it.nesting == Nesting::Allowed {
        known.push("containers inside".to_owned());
    }
    ("node".to_owned(), known.join(", "))
}

fn volume(it: &model::Volume) -> String {
    let source = match &it.source {
        VolumeSource::Named(name) => name.to_string(),
        VolumeSource::Host { path, .. } => path.clone(),
        VolumeSource::Memory { size: Some(size), .. } => format!("memory ({size} bytes)"),
        VolumeSource::Memory { size: None, .. } => "memory".to_owned(),
    };
    let access = match it.access {
        Access::ReadOnly => " read-only",
        Access::Writable => "",
    };
    format!("{source} on {}{access}", it.target)
}

fn days(days: u32) -> usize {
    usize::try_from(days).unwrap_or(usize::MAX)
}

/// An image, by the name that people call it.
pub(crate) fn image(image: &Image) -> String {
    image.title()
}

fn image_ref(image: &ImageRef) -> String {
    match image {
        ImageRef::Host => "image host".to_owned(),
        ImageRef::Stored { name, .. } => format!("image {name}"),
        ImageRef::Pulled { name, .. } => format!("image {name}"),
        ImageRef::Absent { name } => format!("image {name}, which is still to be had"),
    }
}

fn link(link: SegmentLink) -> &'static str {
    match link {
        SegmentLink::Dummy => "macvlan over a dummy link",
        SegmentLink::VethParent => "macvlan over a veth pair",
        SegmentLink::Ifb => "macvlan over an ifb link",
        SegmentLink::Bridge => "bridge",
        SegmentLink::Pair => "veth pair",
        SegmentLink::Network => "the engine's network",
    }
}

fn port(port: Port) -> &'static str {
    match port {
        Port::Macvlan => "macvlan",
        Port::Bridge => "bridge port",
        Port::Isolated => "isolated bridge port",
        Port::End => "end of a veth pair",
        Port::Network => "the engine's",
    }
}

fn via(via: &Via) -> String {
    match via {
        Via::Gateway { address, interface } => format!("via {address} {interface}"),
        Via::Interface(interface) => format!("over {interface}"),
        Via::Unreachable => "unreachable".to_owned(),
        Via::Blackhole => "blackhole".to_owned(),
        Via::Prohibit => "prohibit".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use netarium_core::desired::desired;
    use netarium_core::feature::Feature;
    use netarium_core::image::Images;
    use netarium_core::object::Objects;
    use netarium_core::plan::diff;
    use netarium_core::uplink::Outside;

    use super::*;

    /// What must exist for a lab file, where the kernel has bridges only.
    pub(crate) fn objects(text: &str) -> Objects {
        let model = netarium_core::resolve::load(text.as_bytes(), "lab").unwrap();
        desired(
            &model,
            &[Feature::Bridge, Feature::Veth].into_iter().collect(),
            &Outside::default(),
            &Images::new(),
        )
        .unwrap()
        .objects
    }

    fn lab(address: &str) -> Objects {
        objects(&format!(
            "image: host\nsegments: {{lan: {{prefix: 10.0.0.0/24, driver: bridge}}}}\n\
             nodes: {{a: {{interfaces: {{lan: {address}}}}}}}"
        ))
    }

    fn without_colours(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_change_shows_what_goes_and_what_comes() {
        let steps = diff(&lab("10.0.0.2"), &lab("10.0.0.1"));
        let shown = without_colours(&grouped(&steps));
        assert!(shown.starts_with("a\n  -  address 10.0.0.1/24"), "{shown}");
        assert!(shown.contains("\n  +  address 10.0.0.2/24  eth0"), "{shown}");
        assert!(tally(&steps).contains("1 to remove"), "{}", tally(&steps));
    }

    #[test]
    fn a_new_lab_is_shown_from_the_lab_to_its_nodes() {
        let steps = diff(&lab("10.0.0.1"), &Objects::default());
        let shown = without_colours(&grouped(&steps));
        let heads: Vec<_> = shown.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(heads, ["lab", "segments", "a"]);
        assert!(shown.contains("+  lan  bridge, mtu 1500"), "{shown}");
        assert_eq!(tally(&steps), format!("{} to create", steps.len()));
    }
}
