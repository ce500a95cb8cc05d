//! What the way out of a lab asks of the kernel besides links, addresses and routes of nodes: what a
//! host delivers to itself and where its packets leave, and the settings of a bridge and of a device
//! that somebody else made.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use netarium_core::address::Mac;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::{Netlink, Result, family, ip};

/// The routing table of what a host delivers to itself (rt_tables, ip-route(8)).
const LOCAL: u8 = 255;

/// One of the host's own routes, as far as the way out of a lab depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostRoute {
    /// The host takes packets to this prefix for itself.
    Own(IpNet),
    /// All other packets of a family leave by the link with this index.
    Default { is_ipv4: bool, index: u32 },
}

impl Netlink {
    /// What the host delivers to itself, and its default routes.
    pub(crate) fn host_routes(&mut self) -> Result<Vec<HostRoute>> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let answers = self.0.dump(Message::GetRoute(message))?;
            found.extend(answers.into_iter().filter_map(|answer| match answer {
                Message::NewRoute(route) => read_host_route(&route),
                _ => None,
            }));
        }
        Ok(found)
    }

    /// The links that have an IPv6 address of their own (fe80::/10), by index.
    pub(crate) fn links_with_ipv6(&mut self) -> Result<Vec<u32>> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet6;
        let answers = self.0.dump(Message::GetAddress(message))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Message::NewAddress(it) if it.header.scope == AddressScope::Link => {
                    Some(it.header.index)
                }
                _ => None,
            })
            .collect())
    }

    /// Lets what comes in by a port of a bridge go to the bridge's own link only.
    pub(crate) fn isolate_port(&mut self, index: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
        ]));
        self.0.change(Message::NewLink(message))
    }

    /// Gives a link a hardware address and an MTU, and sets it up.
    pub(crate) fn settle_link(&mut self, index: u32, mac: Option<Mac>, mtu: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.bytes().to_vec())));
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.0.change(Message::SetLink(message))
    }

    /// Takes packets to the IPv6 loopback address that come in by a link, as `route_localnet` does for
    /// IPv4: those whose destination was changed into that on the way in. The kernel drops others
    /// before (RFC 4291, 2.5.3).
    pub(crate) fn take_loopback(&mut self, index: u32) -> Result<()> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: family(Ipv6Addr::LOCALHOST.into()),
            destination_prefix_length: 128,
            table: LOCAL,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Host,
            kind: RouteType::Local,
            ..RouteHeader::default()
        };
        message.attributes.push(RouteAttribute::Destination(Ipv6Addr::LOCALHOST.into()));
        message.attributes.push(RouteAttribute::Oif(index));
        // After the one over the loopback interface.
        message.attributes.push(RouteAttribute::Priority(1 << 16));
        self.0.replace(Message::NewRoute(message))
    }
}

fn read_host_route(message: &RouteMessage) -> Option<HostRoute> {
    let header = &message.header;
    let is_ipv4 = header.address_family == AddressFamily::Inet;
    let (mut to, mut index) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Oif(number) => index = Some(*number),
            // Of several ways at once, the first.
            RouteAttribute::MultiPath(hops) => {
                index = hops.first().map(|hop| hop.interface_index);
            }
            _ => {}
        }
    }
    let length = header.destination_prefix_length;
    match (header.kind, length, index) {
        (RouteType::Local | RouteType::Anycast, ..) => {
            let any = if is_ipv4 { IpAddr::from([0; 4]) } else { IpAddr::from([0_u16; 8]) };
            IpNet::new(to.unwrap_or(any), length).ok().map(HostRoute::Own)
        }
        (RouteType::Unicast, 0, Some(index)) if header.table == RouteHeader::RT_TABLE_MAIN => {
            Some(HostRoute::Default { is_ipv4, index })
        }
        _ => None,
    }
}
