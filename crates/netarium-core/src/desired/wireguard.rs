//! What WireGuard tunnels need: keys, an interface at each end with its configuration, and a program
//! for them where the kernel has none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipnet::IpNet;

use super::{Choice, is_ipv6};
use crate::model::{Model, PresharedKey, Tunnel, TunnelEnd};
use crate::name::{InterfaceName, Name};
use crate::object::{
    Address, Encryption, InterfaceSysctl, Key, LinkState, NodeService, Object, Objects, SharedKey,
    TunnelInterface, WireguardConf,
};
use crate::wireguard;

/// Puts in everything that the WireGuard tunnels of the lab need. The routes into them are among
/// those of the nodes.
pub(super) fn add(objects: &mut Objects, model: &Model, choice: &Choice) {
    let mut interfaces: BTreeMap<&Name, BTreeSet<InterfaceName>> = BTreeMap::new();
    for tunnel in model.tunnels.values() {
        let Some(wireguard) = tunnel.wireguard() else { continue };
        if wireguard.secret == PresharedKey::Shared {
            objects.insert(Object::SharedKey(SharedKey { tunnel: tunnel.name.clone() }));
        }
        for end in tunnel.ends() {
            objects.insert(Object::Key(Key { node: end.node.clone() }));
            interfaces.entry(&end.node).or_default().insert(wireguard.interface.clone());
            add_interface(objects, tunnel, end, choice);
        }
    }
    if choice.wireguard == Encryption::Kernel {
        return;
    }
    for (node, interfaces) in interfaces {
        objects.insert(Object::Service(NodeService {
            node: node.clone(),
            service: wireguard::service(&interfaces),
            reads: interfaces.iter().map(wireguard::conf_path).collect(),
        }));
    }
}

fn add_interface(objects: &mut Objects, tunnel: &Tunnel, end: &TunnelEnd, choice: &Choice) {
    let node = &end.node;
    let (Some((wireguard, own, other)), Some((_, peer))) =
        (tunnel.wireguard_from(node), tunnel.seen_from(node))
    else {
        return;
    };
    let name = &wireguard.interface;
    objects.insert(Object::TunnelInterface(TunnelInterface {
        node: node.clone(),
        name: name.clone(),
        encryption: choice.wireguard,
        mtu: wireguard.mtu,
        state: LinkState::Up,
    }));
    if choice.ipv6 && end.carry.iter().chain(&peer.carry).any(is_ipv6) {
        objects.insert(Object::InterfaceSysctl(InterfaceSysctl {
            node: node.clone(),
            interface: name.clone(),
            family: "ipv6".to_owned(),
            key: "disable_ipv6".to_owned(),
            value: "0".to_owned(),
        }));
    }
    // An address of the node is on this interface too, since the kernel takes the source of a packet
    // from the interface that it leaves by.
    for address in &own.addresses {
        objects.insert(Object::Address(Address {
            node: node.clone(),
            interface: name.clone(),
            address: IpNet::from(*address),
        }));
    }
    objects.insert(Object::WireguardConf(WireguardConf {
        node: node.clone(),
        interface: name.clone(),
        encryption: choice.wireguard,
        port: own.port,
        peer: peer.node.clone(),
        endpoint: SocketAddr::new(peer.address, other.port),
        carry: peer.carry.clone(),
        keepalive: wireguard.keepalive,
        shared: (wireguard.secret == PresharedKey::Shared).then(|| tunnel.name.clone()),
    }));
}
