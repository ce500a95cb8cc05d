//! What tunnels need: authority and credentials, the daemons at their ends, and guards against
//! leaking what they carry.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Choice, Refusal, Subject, file, wireguard};
use crate::feature::{Feature, Features};
use crate::firewall::{Guard, Passage};
use crate::ipsec;
use crate::model::{Auth, Model, Start, Tunnel, TunnelEnd, TunnelKind, Via};
use crate::name::{InterfaceName, Name};
use crate::object::{
    Authority, Credential, Encryption, NodeService, Object, Objects, Route, Secret,
    Tunnel as TunnelObject,
};

/// How long the lab's certificates are valid: they should outlive a course.
const CERTIFICATE_DAYS: u32 = 3650;

/// How a node sends the IPv6 packets that its tunnels carry. Where they leave, IPv6 must be spoken,
/// also by an interface that has no IPv6 address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CarriedIpv6 {
    /// Its tunnels carry none.
    No,
    /// By a device of the program that encrypts.
    ByDevice,
    /// By the interface on which the encrypted packets leave, since the kernel looks for a route
    /// before it encrypts.
    ByInterface(InterfaceName),
}

/// How `node` sends the IPv6 packets that its tunnels carry.
pub(super) fn carried_ipv6(model: &Model, node: &Name, choice: &Choice) -> CarriedIpv6 {
    let carries = |end: &TunnelEnd| end.carry.iter().any(super::is_ipv6);
    // WireGuard has an interface of its own.
    let ipsec = model.tunnels.values().filter(|it| it.ipsec().is_some());
    let mut ends = ipsec.filter_map(|it| it.seen_from(node));
    match ends.find(|(own, _)| carries(own)) {
        Some(_) if choice.encryption == Encryption::Userspace => CarriedIpv6::ByDevice,
        Some((own, _)) => {
            outer(model, own).map_or(CarriedIpv6::No, |it| CarriedIpv6::ByInterface(it.clone()))
        }
        None => CarriedIpv6::No,
    }
}

/// What keeps in the tunnels of `node` what they carry.
pub(super) fn guards(model: &Model, node: &Name, choice: &Choice) -> Vec<Guard> {
    let guard = |tunnel: &Tunnel| {
        let (own, peer) = tunnel.seen_from(node)?;
        let (passage, ports) = match &tunnel.kind {
            TunnelKind::Ipsec(_) => (passage(choice.encryption), ipsec::PORTS.to_vec()),
            TunnelKind::Wireguard(it) => {
                let (_, end, _) = tunnel.wireguard_from(node)?;
                (Passage::Device(it.interface.to_string()), vec![end.port])
            }
        };
        Some(Guard {
            tunnel: tunnel.name.clone(),
            passage,
            ports,
            ends: (own.address, peer.address),
            outer: outer(model, own)?.clone(),
            near: own.carry.clone(),
            far: peer.carry.clone(),
        })
    };
    model.tunnels.values().filter_map(guard).collect()
}

fn passage(encryption: Encryption) -> Passage {
    match encryption {
        Encryption::Kernel => Passage::Policy,
        Encryption::Userspace => Passage::Device(ipsec::DEVICE.to_owned()),
    }
}

/// The interface that has the address of an end.
fn outer<'m>(model: &'m Model, end: &TunnelEnd) -> Option<&'m InterfaceName> {
    let interfaces = &model.nodes.get(&end.node)?.interfaces;
    let has = |address: &IpNet| address.addr() == end.address;
    interfaces.iter().find(|it| it.addresses.iter().any(has)).map(|it| &it.name)
}

/// Why a tunnel cannot be on a machine with `features`; nothing if it can.
pub(super) fn refused(model: &Model, tunnel: &Tunnel, features: &Features) -> Option<Refusal> {
    let refusal = |missing: &[Feature], why| Refusal {
        subject: Subject::Tunnel(tunnel.name.clone()),
        missing: missing.to_vec(),
        why,
    };
    let TunnelKind::Ipsec(ipsec) = &tunnel.kind else {
        let missing = [Feature::Wireguard, Feature::Tun];
        let is_there = missing.iter().any(|it| features.has(*it));
        return (!is_there).then(|| refusal(&missing, None));
    };
    if features.has(Feature::Esp) {
        return None;
    }
    if !features.has(Feature::Tun) {
        return Some(refusal(&[Feature::Esp, Feature::Tun], None));
    }
    if ipsec.start == Start::Demand {
        let why = "a daemon that encrypts cannot wait for packets: write start: up".to_owned();
        return Some(refusal(&[Feature::Esp], Some(why)));
    }
    // The daemon's plugin installs a route with a source address from each prefix, or nothing.
    tunnel.ends().iter().find_map(|end| {
        let is_foreign =
            |prefix: &&IpNet| prefix.prefix_len() != 0 && !has_address_in(model, &end.node, prefix);
        let prefix = end.carry.iter().find(is_foreign)?;
        let why = format!(
            "for a daemon that encrypts, {} must have an address of {prefix}, which the tunnel carries",
            end.node
        );
        Some(refusal(&[Feature::Esp], Some(why)))
    })
}

fn has_address_in(model: &Model, node: &Name, prefix: &IpNet) -> bool {
    let interfaces = model.nodes.get(node).into_iter().flat_map(|it| &it.interfaces);
    interfaces.flat_map(|it| &it.addresses).any(|address| prefix.contains(&address.addr()))
}

/// Puts in the routes to what is behind the other end that the daemon does not make, where the
/// kernel encrypts: it looks for a route first, and the daemon makes one only if the node has an
/// address to be its source. The route has to lead to the outer interface and no further. Those that
/// the lab has itself are left alone.
fn add_routes(objects: &mut Objects, model: &Model, node: &Name, tunnel: &Tunnel) {
    let Some((own, peer)) = tunnel.seen_from(node) else { return };
    let Some(interface) = outer(model, own) else { return };
    let is_made = |to: &IpNet| {
        let mut near = own.carry.iter().filter(|it| super::is_ipv6(it) == super::is_ipv6(to));
        near.any(|prefix| has_address_in(model, node, prefix))
    };
    let is_written = |to: &IpNet| model.nodes[node].routes.iter().any(|route| route.to == *to);
    for to in peer.carry.iter().filter(|to| !is_made(to) && !is_written(to)) {
        let via = Via::Interface(interface.clone());
        objects.insert(Object::Route(Route { node: node.clone(), to: *to, via }));
    }
}

/// Puts in everything that the tunnels of the lab need, and them.
pub(super) fn add(objects: &mut Objects, model: &Model, choice: &Choice) {
    let ipsec = model.tunnels.values().filter(|it| it.ipsec().is_some());
    let ends: BTreeSet<&Name> =
        ipsec.flat_map(|it| [&it.initiator.node, &it.responder.node]).collect();
    if !ends.is_empty() {
        let days = CERTIFICATE_DAYS;
        objects.insert(Object::Authority(Authority { lab: model.lab.clone(), days }));
    }
    for node in ends {
        add_gateway(objects, model, node, choice.encryption);
    }
    wireguard::add(objects, model, choice);
    for tunnel in model.tunnels.values() {
        let encryption = match tunnel.kind {
            TunnelKind::Ipsec(_) => choice.encryption,
            TunnelKind::Wireguard(_) => choice.wireguard,
        };
        objects.insert(Object::Tunnel(TunnelObject { tunnel: tunnel.clone(), encryption }));
    }
}

/// What a node with IPsec tunnels needs besides them: strongSwan, its configuration and its credential.
fn add_gateway(objects: &mut Objects, model: &Model, node: &Name, encryption: Encryption) {
    let tunnels: Vec<&Tunnel> = model
        .tunnels
        .values()
        .filter(|it| it.ipsec().is_some() && it.seen_from(node).is_some())
        .collect();
    let addresses: BTreeSet<IpAddr> =
        tunnels.iter().filter_map(|it| it.seen_from(node)).map(|(own, _)| own.address).collect();
    objects.insert(Object::Credential(Credential {
        node: node.clone(),
        addresses: addresses.into_iter().collect(),
    }));
    if encryption == Encryption::Kernel {
        tunnels.iter().for_each(|tunnel| add_routes(objects, model, node, tunnel));
    }
    for tunnel in &tunnels {
        if let (Some(Auth::Psk(secret)), Some((own, peer))) =
            (tunnel.ipsec().map(|it| &it.auth), tunnel.seen_from(node))
        {
            objects.insert(Object::Secret(Secret {
                node: node.clone(),
                tunnel: tunnel.name.clone(),
                ends: [own.address, peer.address],
                secret: secret.clone(),
            }));
        }
    }
    let daemon = ipsec::strongswan_conf(encryption);
    objects.insert(file(node, ipsec::STRONGSWAN_CONF, daemon.into()));
    let connections = ipsec::swanctl_conf(tunnels, node, encryption);
    objects.insert(file(node, ipsec::SWANCTL_CONF, connections.into()));
    objects.insert(Object::Service(NodeService {
        node: node.clone(),
        service: ipsec::charon_service(),
        reads: vec![ipsec::STRONGSWAN_CONF.to_owned()],
    }));
}
