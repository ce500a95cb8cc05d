//! How packets that a tunnel carries find their way to it, at a gateway.
//!
//! The kernel looks for a policy only after it has found a route. The daemon makes one for each
//! prefix behind the other end, with an address of the gateway behind its own end as the source of
//! the gateway's own packets. Where the gateway has no such address the daemon makes none in the
//! kernel, and in user space it refuses the tunnel.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{Node, Route, Tunnel, TunnelEnd, Via};
use crate::name::{InterfaceName, Name};

/// A prefix behind the end of `tunnel` that is `node`, called `name`, in which the node has no
/// address.
pub fn foreign_prefix<'a>(tunnel: &'a Tunnel, name: &Name, node: &Node) -> Option<&'a IpNet> {
    let (local, _) = tunnel.seen_from(name)?;
    local.carry.iter().find(|prefix| !is_in(node, prefix))
}

/// The routes to what is behind the other end that the daemon does not make. They only have to lead
/// out by the interface that leads to the other end: the policy takes it from there, and the guard
/// what is not to be carried. Those that the lab has itself are left alone.
pub fn missing_routes(tunnel: &Tunnel, name: &Name, node: &Node) -> Vec<Route> {
    let Some((local, remote)) = tunnel.seen_from(name) else { return vec![] };
    let Some(interface) = towards(node, remote.address) else { return vec![] };
    let is_missing = |to: &&IpNet| {
        !is_made(node, local, to)
            && has_family(node, interface, to)
            && node.routes.iter().all(|route| route.to != **to)
    };
    let route = |to: &IpNet| Route { to: to.trunc(), via: Via::Interface(interface.clone()) };
    remote.carry.iter().filter(is_missing).map(route).collect()
}

/// Whether the daemon makes the route: an address behind this end, of the same family.
fn is_made(node: &Node, local: &TunnelEnd, to: &IpNet) -> bool {
    local.carry.iter().any(|own| same_family(own, to) && is_in(node, own))
}

fn is_in(node: &Node, prefix: &IpNet) -> bool {
    node.interfaces.iter().flat_map(|it| &it.addresses).any(|it| prefix.contains(&it.addr()))
}

fn has_family(node: &Node, interface: &InterfaceName, to: &IpNet) -> bool {
    let mut found = node.interfaces.iter().filter(|it| it.name == *interface);
    found.any(|it| it.addresses.iter().any(|address| same_family(address, to)))
}

fn same_family(one: &IpNet, other: &IpNet) -> bool {
    one.addr().is_ipv4() == other.addr().is_ipv4()
}

/// The interface by which the node reaches `address`: that of the narrowest prefix.
fn towards(node: &Node, address: IpAddr) -> Option<&InterfaceName> {
    let near = node.interfaces.iter().flat_map(|it| it.addresses.iter().map(|net| (net, &it.name)));
    let far = node.routes.iter().filter_map(|it| it.via.interface().map(|name| (&it.to, name)));
    let all = near.chain(far).filter(|(net, _)| net.contains(&address));
    all.max_by_key(|(net, _)| net.prefix_len()).map(|(_, name)| name)
}
