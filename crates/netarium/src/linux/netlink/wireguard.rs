//! The kernel's WireGuard interfaces over generic netlink (linux/wireguard.h): how they are set, and
//! what they say of themselves.
//!
//! Everything is about the network namespace of the calling thread.

use std::net::IpAddr;

use ipnet::IpNet;
use netarium_core::wireguard::{Conf, Key, Seen, SeenPeer};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute,
    WireguardCmd, WireguardDeviceFlags, WireguardMessage, WireguardPeer, WireguardPeerAttribute,
    WireguardPeerFlags,
};
use netlink_sys::protocols::NETLINK_GENERIC;

use super::Result;
use super::socket::{NetlinkError, Socket};

/// Sets the interface called `name`: its key and port, and its only peer.
///
/// # Errors
/// If there is no such interface, or its port is taken.
pub(crate) fn set(name: &str, conf: &Conf) -> Result<()> {
    let family = WireguardMessage {
        cmd: WireguardCmd::SetDevice,
        attributes: vec![
            WireguardAttribute::IfName(name.to_owned()),
            WireguardAttribute::Flags(WireguardDeviceFlags::ReplacePeers),
            WireguardAttribute::PrivateKey(*conf.private.bytes()),
            WireguardAttribute::ListenPort(conf.port),
            WireguardAttribute::Peers(vec![peer(conf)]),
        ],
    };
    let (mut socket, id) = open()?;
    socket.change(message(family, id))
}

/// What the interface called `name` is, and what became of it.
///
/// # Errors
/// If there is no such interface.
pub(crate) fn look(name: &str) -> Result<Seen> {
    let attributes = vec![WireguardAttribute::IfName(name.to_owned())];
    let (mut socket, id) = open()?;
    let question = WireguardMessage { cmd: WireguardCmd::GetDevice, attributes };
    let answers = socket.dump(message(question, id))?;
    let mut seen = Seen::default();
    for attribute in answers.into_iter().flat_map(|answer| answer.payload.attributes) {
        match attribute {
            WireguardAttribute::PrivateKey(key) => seen.private = Some(Key::new(key)),
            WireguardAttribute::ListenPort(port) => seen.port = port,
            WireguardAttribute::Peers(peers) => seen.peers.extend(peers.into_iter().map(read_peer)),
            _ => {}
        }
    }
    Ok(seen)
}

fn message(payload: WireguardMessage, family: u16) -> GenlMessage<WireguardMessage> {
    let mut message = GenlMessage::from_payload(payload);
    message.set_resolved_family_id(family);
    message
}

/// A conversation, and the number by which the kernel knows WireGuard since it was started.
fn open() -> Result<(Socket, u16)> {
    let mut socket = Socket::open(NETLINK_GENERIC)?;
    let name = GenlCtrlAttrs::FamilyName("wireguard".to_owned());
    let question = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] };
    let answers = socket.ask(GenlMessage::from_payload(question))?;
    let number =
        answers.into_iter().flat_map(|answer| answer.payload.nlas).find_map(|it| match it {
            GenlCtrlAttrs::FamilyId(number) => Some(number),
            _ => None,
        });
    Ok((socket, number.ok_or_else(|| NetlinkError::from_errno(libc::ENOENT))?))
}

fn peer(conf: &Conf) -> WireguardPeer {
    let carry = conf.carry.iter().map(|prefix| {
        let family = match prefix {
            IpNet::V4(_) => WireguardAddressFamily::Ipv4,
            IpNet::V6(_) => WireguardAddressFamily::Ipv6,
        };
        WireguardAllowedIp(vec![
            WireguardAllowedIpAttr::Family(family),
            WireguardAllowedIpAttr::IpAddr(prefix.network()),
            WireguardAllowedIpAttr::Cidr(prefix.prefix_len()),
        ])
    });
    let mut attributes = vec![
        WireguardPeerAttribute::PublicKey(*conf.peer.bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps),
        WireguardPeerAttribute::Endpoint(conf.endpoint),
        WireguardPeerAttribute::PersistentKeepalive(conf.keepalive),
        WireguardPeerAttribute::AllowedIps(carry.collect()),
    ];
    let preshared = conf.preshared.as_ref();
    attributes.extend(preshared.map(|key| WireguardPeerAttribute::PresharedKey(*key.bytes())));
    WireguardPeer(attributes)
}

fn read_peer(peer: WireguardPeer) -> SeenPeer {
    let mut seen = SeenPeer::default();
    for attribute in peer.0 {
        match attribute {
            WireguardPeerAttribute::PublicKey(key) => seen.key = Some(Key::new(key)),
            // Without one the kernel tells zeros.
            WireguardPeerAttribute::PresharedKey(key) if key != [0; 32] => {
                seen.preshared = Some(Key::new(key));
            }
            WireguardPeerAttribute::PersistentKeepalive(seconds) => seen.keepalive = seconds,
            WireguardPeerAttribute::LastHandshake(time) => {
                seen.handshake = u64::try_from(time.seconds).ok().filter(|seconds| *seconds > 0);
            }
            WireguardPeerAttribute::RxBytes(bytes) => seen.received = bytes,
            WireguardPeerAttribute::TxBytes(bytes) => seen.sent = bytes,
            WireguardPeerAttribute::AllowedIps(prefixes) => {
                seen.carry.extend(prefixes.iter().filter_map(read_prefix));
            }
            _ => {}
        }
    }
    seen
}

fn read_prefix(prefix: &WireguardAllowedIp) -> Option<IpNet> {
    let (mut address, mut length): (Option<IpAddr>, Option<u8>) = (None, None);
    for attribute in &prefix.0 {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(it) => address = Some(*it),
            WireguardAllowedIpAttr::Cidr(it) => length = Some(*it),
            _ => {}
        }
    }
    IpNet::new(address?, length?).ok()
}
