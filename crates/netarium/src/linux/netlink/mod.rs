//! Requests to the kernel's networking over rtnetlink(7), in plain words.
//!
//! The crates that know the wire format change often; no type of theirs leaves this module. A
//! [`Netlink`] works on the network namespace that it was opened in, from wherever it is used.

mod generation;
mod socket;
mod uplink;
pub(crate) mod wireguard;

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use ipnet::IpNet;
use netarium_core::address::Mac;
use netarium_core::model::Via;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
    MacVlanMode,
};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_sys::protocols::NETLINK_ROUTE;

pub(crate) use generation::nftables_generation;
pub(crate) use socket::NetlinkError;
use socket::Socket;
pub(crate) use uplink::HostRoute;

/// Our mark on routes (rtm_protocol, rtnetlink(7)): those of the kernel and of daemons differ.
const OUR_PROTOCOL: u8 = 178;

type Result<T> = std::result::Result<T, NetlinkError>;

/// A conversation with the kernel about one network namespace.
pub(crate) struct Netlink(Socket);

/// A link as the kernel tells it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: u32,
    pub(crate) is_up: bool,
    /// The other end of a veth pair, or the parent of a macvlan; it may be in another namespace.
    pub(crate) below: Option<u32>,
    /// The bridge that it is a port of.
    pub(crate) bridge: Option<u32>,
    /// The number of the namespace that `below` is in, if it is in another.
    pub(crate) elsewhere: Option<i32>,
    /// Whether it is a device: the kernel has not made it on request, nor is it the loopback
    /// interface.
    pub(crate) is_hardware: bool,
}

/// What a new link is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind<'a> {
    Dummy,
    Ifb,
    Bridge,
    Wireguard,
    /// A macvlan interface in bridge mode on the link with this index.
    Macvlan {
        parent: u32,
    },
    /// A veth pair; this is the other end, which the kernel does not set up before both are there.
    Veth(&'a NewLink<'a>),
}

/// A link to be made, and set up at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewLink<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: Option<u32>,
    /// The bridge that it becomes a port of.
    pub(crate) bridge: Option<u32>,
    /// The network namespace that it is made in; none for that of the conversation.
    pub(crate) namespace: Option<i32>,
}

impl<'a> NewLink<'a> {
    /// A link with a name and nothing else said.
    pub(crate) fn named(name: &'a str) -> Self {
        Self { name, mac: None, mtu: None, bridge: None, namespace: None }
    }
}

impl Netlink {
    /// Opens a conversation about the network namespace of the calling thread.
    ///
    /// # Errors
    /// If there can be no such socket.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self(Socket::open(NETLINK_ROUTE)?))
    }

    /// All links.
    pub(crate) fn links(&mut self) -> Result<Vec<Link>> {
        let answers = self.0.dump(Message::GetLink(LinkMessage::default()))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Message::NewLink(link) => Some(read_link(link)),
                _ => None,
            })
            .collect())
    }

    /// The index of the link called `name`.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub(crate) fn index(&mut self, name: &str) -> Result<u32> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.0
            .ask(Message::GetLink(message))?
            .into_iter()
            .find_map(|answer| match answer {
                Message::NewLink(link) => Some(link.header.index),
                _ => None,
            })
            .ok_or_else(|| NetlinkError::from_errno(libc::ENODEV))
    }

    /// Makes a link and sets it up.
    pub(crate) fn add_link(&mut self, link: &NewLink<'_>, kind: Kind<'_>) -> Result<()> {
        let mut message = new_link(link);
        let info = match kind {
            Kind::Dummy => vec![LinkInfo::Kind(InfoKind::Dummy)],
            Kind::Ifb => vec![LinkInfo::Kind(InfoKind::Ifb)],
            Kind::Bridge => vec![LinkInfo::Kind(InfoKind::Bridge)],
            Kind::Wireguard => vec![LinkInfo::Kind(InfoKind::Wireguard)],
            Kind::Macvlan { parent } => {
                message.attributes.push(LinkAttribute::Link(parent));
                let mode = InfoMacVlan::Mode(MacVlanMode::Bridge);
                let data = InfoData::MacVlan(vec![mode]);
                vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)]
            }
            Kind::Veth(peer) => {
                let mut peer = new_link(peer);
                peer.header.flags = LinkFlags::empty();
                peer.header.change_mask = LinkFlags::empty();
                let data = InfoData::Veth(InfoVeth::Peer(peer));
                vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]
            }
        };
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.0.create(Message::NewLink(message))
    }

    /// Gives the link at `index` another place, name and properties, and sets it up. On the way
    /// into another namespace a link is down, and keeps its alias.
    pub(crate) fn move_link(&mut self, index: u32, link: &NewLink<'_>) -> Result<()> {
        let mut message = new_link(link);
        message.header.index = index;
        self.0.change(Message::SetLink(message))
    }

    /// Gives the link called `name` an alias, a text that the kernel keeps with it. A new link
    /// cannot have one from the beginning.
    pub(crate) fn set_alias(&mut self, name: &str, alias: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        self.0.change(Message::SetLink(message))
    }

    /// Sets the link at `index` up.
    pub(crate) fn set_up(&mut self, index: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.0.change(Message::SetLink(message))
    }

    /// Sets the link at `index` down.
    pub(crate) fn set_down(&mut self, index: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = LinkFlags::Up;
        self.0.change(Message::SetLink(message))
    }

    /// Removes the link at `index`, and with a veth its other end.
    pub(crate) fn delete_link(&mut self, index: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.0.change(Message::DelLink(message))
    }

    /// All addresses that last, with the index of their link. Those that the kernel or a router
    /// gave for a while, and link-local ones, are left out.
    pub(crate) fn addresses(&mut self) -> Result<Vec<(u32, IpNet)>> {
        let answers = self.0.dump(Message::GetAddress(AddressMessage::default()))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Message::NewAddress(address) => read_address(&address),
                _ => None,
            })
            .collect())
    }

    /// All addresses by which the namespace can be reached from outside, however long they last.
    /// Link-local ones mean something on their own link only.
    pub(crate) fn reachable_addresses(&mut self) -> Result<Vec<IpAddr>> {
        let answers = self.0.dump(Message::GetAddress(AddressMessage::default()))?;
        let reachable = |answer| match answer {
            Message::NewAddress(it)
                if !matches!(it.header.scope, AddressScope::Host | AddressScope::Link) =>
            {
                own_address(&it)
            }
            _ => None,
        };
        let mut addresses: Vec<IpAddr> = answers.into_iter().filter_map(reachable).collect();
        addresses.sort();
        addresses.dedup();
        Ok(addresses)
    }

    /// The number that this namespace has for another; none if it has had nothing to do with it.
    pub(crate) fn namespace_id(&mut self, other: BorrowedFd<'_>) -> Result<Option<i32>> {
        let fd = u32::try_from(other.as_raw_fd()).expect("a descriptor is no negative number");
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(fd));
        let answers = self.0.ask(Message::GetNsId(message))?;
        Ok(answers.into_iter().find_map(|answer| match answer {
            Message::NewNsId(it) => {
                it.attributes.into_iter().find_map(|attribute| match attribute {
                    // -1 is for none.
                    NsidAttribute::Id(number) => Some(number).filter(|number| *number >= 0),
                    _ => None,
                })
            }
            _ => None,
        }))
    }

    /// Puts an address on the link at `index`. Duplicate address detection is left out: the plan
    /// has no duplicates, and its second of delay would be felt.
    pub(crate) fn add_address(&mut self, index: u32, address: IpNet) -> Result<()> {
        let mut message = address_message(index, address);
        match address {
            IpNet::V4(net) if net.prefix_len() < 31 => {
                message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
            }
            IpNet::V4(_) => {}
            IpNet::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
        }
        self.0.create(Message::NewAddress(message))
    }

    /// Takes an address from the link at `index`.
    pub(crate) fn delete_address(&mut self, index: u32, address: IpNet) -> Result<()> {
        self.0.change(Message::DelAddress(address_message(index, address)))
    }

    /// The routes that bear our mark: where to, what becomes of the packet, and the index of the
    /// link it leaves by.
    pub(crate) fn routes(&mut self) -> Result<Vec<(IpNet, RouteVia)>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let answers = self.0.dump(Message::GetRoute(message))?;
            routes.extend(answers.into_iter().filter_map(|answer| match answer {
                Message::NewRoute(route) => read_route(&route),
                _ => None,
            }));
        }
        Ok(routes)
    }

    /// Makes a route, in place of one to the same prefix. `index` is that of the link it leaves by.
    pub(crate) fn set_route(&mut self, to: IpNet, via: &Via, index: Option<u32>) -> Result<()> {
        self.0.replace(Message::NewRoute(route_message(to, via, index)))
    }

    /// Removes a route of ours. Fine if it is gone already: the kernel removes routes together with
    /// the address that they need.
    pub(crate) fn delete_route(&mut self, to: IpNet) -> Result<()> {
        let mut message = RouteMessage::default();
        message.header = route_header(to);
        message.header.kind = RouteType::Unspec;
        message.header.scope = RouteScope::NoWhere;
        message.attributes.push(RouteAttribute::Destination(to.network().into()));
        match self.0.change(Message::DelRoute(message)) {
            Err(error) if error.is(libc::ESRCH) => Ok(()),
            result => result,
        }
    }
}

/// What a route of ours does, with an index in place of the interface's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteVia {
    Gateway(IpAddr, u32),
    Interface(u32),
    Unreachable,
    Blackhole,
    Prohibit,
}

/// The number by which another namespace is named in a request.
pub(crate) fn namespace(fd: &impl AsFd) -> Option<i32> {
    Some(fd.as_fd().as_raw_fd())
}

fn new_link(link: &NewLink<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    let attributes = &mut message.attributes;
    attributes.push(LinkAttribute::IfName(link.name.to_owned()));
    attributes.extend(link.mac.map(|mac| LinkAttribute::Address(mac.bytes().to_vec())));
    attributes.extend(link.mtu.map(LinkAttribute::Mtu));
    attributes.extend(link.bridge.map(LinkAttribute::Controller));
    attributes.extend(link.namespace.map(LinkAttribute::NetNsFd));
    message
}

fn read_link(message: LinkMessage) -> Link {
    let is_made = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.iter().any(|it| matches!(it, LinkInfo::Kind(_))),
        _ => false,
    };
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        is_up: flags.contains(LinkFlags::Up),
        is_hardware: !flags.contains(LinkFlags::Loopback)
            && !message.attributes.iter().any(is_made),
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Link(index) => link.below = Some(index),
            LinkAttribute::Controller(index) => link.bridge = Some(index),
            LinkAttribute::LinkNetNsId(number) => link.elsewhere = Some(number),
            LinkAttribute::Address(bytes) => {
                link.mac = bytes.try_into().ok().and_then(|bytes| Mac::new(bytes).ok());
            }
            _ => {}
        }
    }
    link
}

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.family = family(address.addr());
    message.attributes.push(AddressAttribute::Address(address.addr()));
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message
}

fn read_address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    let lasting = message.attributes.iter().any(|attribute| {
        matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Permanent))
    });
    let address = own_address(message)?;
    let fits = lasting && message.header.scope == AddressScope::Universe;
    let address = IpNet::new(address, message.header.prefix_len).ok()?;
    fits.then_some((message.header.index, address))
}

/// The address of the interface itself.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    // Where the two differ, as on a point-to-point link, `Local` is the interface's own.
    let find = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    find(true).or_else(|| find(false))
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn route_header(to: IpNet) -> RouteHeader {
    RouteHeader {
        address_family: family(to.addr()),
        destination_prefix_length: to.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Other(OUR_PROTOCOL),
        ..RouteHeader::default()
    }
}

fn route_message(to: IpNet, via: &Via, index: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = route_header(to);
    message.header.scope = RouteScope::Universe;
    message.header.kind = match via {
        Via::Gateway { .. } => RouteType::Unicast,
        Via::Interface(_) => {
            message.header.scope = RouteScope::Link;
            RouteType::Unicast
        }
        Via::Unreachable => RouteType::Unreachable,
        Via::Blackhole => RouteType::BlackHole,
        Via::Prohibit => RouteType::Prohibit,
    };
    message.attributes.push(RouteAttribute::Destination(to.network().into()));
    if let Via::Gateway { address, .. } = via {
        message.attributes.push(RouteAttribute::Gateway((*address).into()));
    }
    message.attributes.extend(index.map(RouteAttribute::Oif));
    message
}

fn read_route(message: &RouteMessage) -> Option<(IpNet, RouteVia)> {
    let header = &message.header;
    // What the kernel has learned of a path, its MTU for example, is told as a copy of the route.
    let is_copy = header.flags.contains(RouteFlags::Cloned);
    if header.protocol != RouteProtocol::Other(OUR_PROTOCOL) || is_copy {
        return None;
    }
    let (mut to, mut gateway, mut index) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Oif(number) => index = Some(*number),
            _ => {}
        }
    }
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        _ => IpAddr::from([0_u16; 8]),
    };
    let to = IpNet::new(to.unwrap_or(unspecified), header.destination_prefix_length).ok()?;
    let via = match (header.kind, gateway, index) {
        (RouteType::Unicast, Some(gateway), Some(index)) => RouteVia::Gateway(gateway, index),
        (RouteType::Unicast, None, Some(index)) => RouteVia::Interface(index),
        (RouteType::Unreachable, ..) => RouteVia::Unreachable,
        (RouteType::BlackHole, ..) => RouteVia::Blackhole,
        (RouteType::Prohibit, ..) => RouteVia::Prohibit,
        _ => return None,
    };
    Some((to, via))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
