//! What of the host's network a lab with a way out depends on. It is looked at by whoever brings the
//! lab up, in the namespace that the way out will lead through; nothing is changed.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use netarium_core::model::Model;
use netarium_core::uplink::Outside;

use crate::linux::netlink::{HostRoute, Netlink, NetlinkError};

/// Where the host's name servers are named (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why the host's network cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutsideError {
    /// The kernel does not tell.
    #[error("cannot ask the kernel about the network of this host")]
    Netlink(#[source] io::Error),
    /// The name servers cannot be read.
    #[error("cannot read {RESOLV_CONF}")]
    Resolvers(#[source] io::Error),
}

/// Looks at the host's network as far as `model` depends on it.
///
/// # Errors
/// If the kernel does not tell. That something is not there is no error.
pub fn outside(model: &Model) -> Result<Outside, OutsideError> {
    if model.uplink.is_none() {
        return Ok(Outside::default());
    }
    let resolvers = match fs::read_to_string(RESOLV_CONF) {
        Ok(text) => resolvers(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
        Err(error) => return Err(OutsideError::Resolvers(error)),
    };
    let looked = network().map_err(|error| OutsideError::Netlink(io::Error::other(error)))?;
    Ok(Outside { resolvers, ..looked })
}

fn network() -> Result<Outside, NetlinkError> {
    let mut netlink = Netlink::open()?;
    let routes = netlink.host_routes()?;
    let with_ipv6 = netlink.links_with_ipv6()?;
    let links = netlink.links()?;
    let way_out = |wanted: bool| {
        routes.iter().find_map(|route| match route {
            HostRoute::Default { is_ipv4, index } if *is_ipv4 == wanted => Some(*index),
            _ => None,
        })
    };
    let ways = [way_out(true), way_out(false)];
    // pasta needs an interface with IPv6 for IPv6; for IPv4 any will do.
    let known = || ways.into_iter().rev().flatten();
    let index = known().find(|it| with_ipv6.contains(it)).or(known().next());
    let index = index.or(with_ipv6.first().copied());
    let device = links.iter().find(|link| Some(link.index) == index);
    let own = routes.iter().filter_map(|route| match route {
        HostRoute::Own(prefix) => Some(*prefix),
        HostRoute::Default { .. } => None,
    });
    Ok(Outside {
        // Of these, an interface of a node can be called the same; and they change by themselves.
        addresses: own.filter(|it| !is_link_local(it)).collect(),
        ways_out: ways.map(|way| way.is_some()),
        device: device.map(|link| link.name.clone()),
        has_ipv6: index.is_some_and(|it| with_ipv6.contains(&it)),
        resolvers: vec![],
    })
}

/// Whether it is of fe80::/10, which no router forwards.
fn is_link_local(prefix: &IpNet) -> bool {
    matches!(prefix.addr(), IpAddr::V6(address) if Ipv6Addr::is_unicast_link_local(&address))
}

/// Those with an interface behind their address are left out: pasta does not ask over that.
fn resolvers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = words.next().filter(|it| *it == "nameserver").and(words.next())?;
            address.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 192.0.2.9\nsearch example\nnameserver 192.0.2.1\n\
                    nameserver\tfe80::1%eth0\nnameserver\nnameserver what\n";
        assert_eq!(resolvers(text), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }
}
