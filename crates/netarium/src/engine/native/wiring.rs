//! The links of a lab: segments in the lab's own network namespace, interfaces in its nodes.
//!
//! Links in the lab's namespace are named by a hash, since the kernel's names are short; each
//! segment bears its name as the alias of its link, which is our mark.

use netarium_core::model::Via;
use netarium_core::name::Name;
use netarium_core::object::{
    End, Interface, LinkState, Port, Route, Segment, SegmentLink, TunnelInterface,
};
use sha2::{Digest, Sha256};

use super::node::RunningNode;
use crate::linux::namespace::NetworkNamespace;
use crate::linux::netlink::{Kind, Link, Netlink, NetlinkError, NewLink, namespace};

type Result<T> = std::result::Result<T, NetlinkError>;

/// What the alias of a segment's link begins with.
const MARK: &str = "netarium:";

/// The alias of a segment's link.
fn alias(segment: &Name) -> String {
    format!("{MARK}{segment}")
}

/// The segment whose link this is.
pub(crate) fn segment_of(link: &Link) -> Option<Name> {
    Name::new(link.alias.as_deref()?.strip_prefix(MARK)?).ok()
}

/// A name for a link: what it is for, and a hash of whose it is.
pub(crate) fn link_name(letter: char, whose: &str) -> String {
    let hash = Sha256::digest(whose.as_bytes());
    let digits: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{letter}{digits}")
}

/// Makes a segment, but for a veth pair. What a worker that was killed has left half made is removed
/// first.
pub(crate) fn create_segment(netlink: &mut Netlink, segment: &Segment) -> Result<()> {
    remove_segment(netlink, segment)?;
    let name = link_name('s', segment.name.as_str());
    let other = link_name('t', segment.name.as_str());
    let link = NewLink { mtu: Some(segment.mtu), ..NewLink::named(&name) };
    let peer = NewLink { mtu: Some(segment.mtu), ..NewLink::named(&other) };
    let alias = alias(&segment.name);
    match segment.link {
        SegmentLink::Dummy => netlink.add_link(&link, Kind::Dummy)?,
        SegmentLink::Ifb => netlink.add_link(&link, Kind::Ifb)?,
        SegmentLink::Bridge => netlink.add_link(&link, Kind::Bridge)?,
        SegmentLink::VethParent => {
            netlink.add_link(&link, Kind::Veth(&peer))?;
            let other = netlink.index(&other)?;
            netlink.set_up(other)?;
        }
        // The ends of a pair are made in their nodes; and a network by the engine, before the first node
        // that is on it.
        SegmentLink::Pair | SegmentLink::Network => return Ok(()),
    }
    netlink.set_alias(&name, &alias)
}

/// Makes the two ends of a veth pair in these namespaces, where neither may be yet.
pub(crate) fn create_pair<'a>(
    netlink: &mut Netlink,
    ends: [&'a End; 2],
    inside: [&NetworkNamespace; 2],
) -> Result<()> {
    let link = |end: &'a End, inside| NewLink {
        mac: Some(end.mac),
        mtu: Some(end.mtu),
        namespace: namespace(inside),
        ..NewLink::named(end.interface.as_str())
    };
    let second = link(ends[1], inside[1]);
    netlink.add_link(&link(ends[0], inside[0]), Kind::Veth(&second))
}

/// Marks an end of a veth pair as that of its segment.
pub(crate) fn mark_end(node: &mut RunningNode, segment: &Segment, end: &End) -> Result<()> {
    node.netlink().set_alias(end.interface.as_str(), &alias(&segment.name))
}

/// Removes a segment, but for a veth pair. Fine if its link is gone.
pub(crate) fn remove_segment(netlink: &mut Netlink, segment: &Segment) -> Result<()> {
    delete(netlink, &link_name('s', segment.name.as_str()))?;
    delete(netlink, &link_name('t', segment.name.as_str()))
}

/// Removes what a worker that was killed, or a node that died, may have left of an interface.
pub(crate) fn clear_interface(
    segments: &mut Netlink,
    node: &mut RunningNode,
    interface: &Interface,
) -> Result<()> {
    if matches!(interface.port, Port::Bridge | Port::Isolated) {
        delete(segments, &port_name(interface))?;
    }
    remove_interface(node, interface)
}

/// The name of the other end of an interface on a bridge.
fn port_name(interface: &Interface) -> String {
    link_name('p', &format!("{}/{}", interface.node, interface.name))
}

/// Makes an interface in a node, on its segment, and sets it up.
pub(crate) fn create_interface(
    segments: &mut Netlink,
    node: &mut RunningNode,
    interface: &Interface,
) -> Result<()> {
    let inside = NewLink {
        mac: Some(interface.mac),
        mtu: Some(interface.mtu),
        namespace: namespace(&node.namespace),
        ..NewLink::named(interface.name.as_str())
    };
    let segment = link_name('s', interface.segment.as_str());
    match interface.port {
        Port::Macvlan => {
            let parent = segments.index(&segment)?;
            segments.add_link(&inside, Kind::Macvlan { parent })
        }
        Port::Bridge | Port::Isolated => {
            let bridge = Some(segments.index(&segment)?);
            let name = port_name(interface);
            let port = NewLink { mtu: inside.mtu, bridge, ..NewLink::named(&name) };
            segments.add_link(&port, Kind::Veth(&inside))?;
            if interface.port == Port::Isolated {
                let index = segments.index(&name)?;
                segments.isolate_port(index)?;
            }
            let index = node.netlink().index(interface.name.as_str())?;
            node.netlink().set_up(index)
        }
        // It is there with its segment, and its other end, too.
        Port::End => {
            let index = node.netlink().index(interface.name.as_str())?;
            node.netlink().set_up(index)
        }
        Port::Network => adopt(node.netlink(), interface),
    }
}

/// Takes over an interface that the engine has made. What the engine ignores is made up for, and its
/// addresses go: those of the lab are the same, and are put there in their turn.
fn adopt(netlink: &mut Netlink, interface: &Interface) -> Result<()> {
    let index = netlink.index(interface.name.as_str())?;
    for (other, address) in netlink.addresses()? {
        if other == index {
            netlink.delete_address(index, address)?;
        }
    }
    netlink.settle_link(index, Some(interface.mac), interface.mtu)
}

/// Removes an interface from a node. Fine if it is gone already. An end of a veth pair goes with its
/// segment, and the engine takes its own.
pub(crate) fn remove_interface(node: &mut RunningNode, interface: &Interface) -> Result<()> {
    match interface.port {
        Port::End | Port::Network => Ok(()),
        Port::Macvlan | Port::Bridge | Port::Isolated => {
            delete(node.netlink(), interface.name.as_str())
        }
    }
}

/// Removes an end of a veth pair, and with it the other. Fine if it is gone already.
pub(crate) fn remove_end(node: &mut RunningNode, end: &End) -> Result<()> {
    delete(node.netlink(), end.interface.as_str())
}

/// Removes a link. Fine if it is gone already.
pub(crate) fn delete(netlink: &mut Netlink, name: &str) -> Result<()> {
    match netlink.index(name).and_then(|index| netlink.delete_link(index)) {
        Err(error) if error.is(libc::ENODEV) => Ok(()),
        result => result,
    }
}

/// Makes or changes a route of a node.
pub(crate) fn set_route(node: &mut RunningNode, route: &Route) -> Result<()> {
    let netlink = node.netlink();
    let index = match &route.via {
        Via::Gateway { interface, .. } | Via::Interface(interface) => {
            Some(netlink.index(interface.as_str())?)
        }
        Via::Unreachable | Via::Blackhole | Via::Prohibit => None,
    };
    netlink.set_route(route.to, &route.via, index)
}

/// The interface as the kernel tells it, where it should be `wanted`.
pub(crate) fn observed_interface(wanted: &Interface, link: &Link) -> Interface {
    Interface {
        mac: link.mac.unwrap_or(wanted.mac),
        mtu: link.mtu,
        state: if link.is_up { LinkState::Up } else { LinkState::Down },
        ..wanted.clone()
    }
}

/// The same for an interface that leads into a tunnel.
pub(crate) fn observed_tunnel_interface(wanted: &TunnelInterface, link: &Link) -> TunnelInterface {
    TunnelInterface {
        mtu: link.mtu,
        state: if link.is_up { LinkState::Up } else { LinkState::Down },
        ..wanted.clone()
    }
}
