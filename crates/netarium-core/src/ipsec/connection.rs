//! The IKE connection of one end of a tunnel, in the words of swanctl.conf(5).

use crate::ipsec::{DECRYPTED, ROOT_FILE, Section, credential_file};
use crate::model::{Auth, Encapsulation, Ipsec, Start, Tunnel, TunnelEnd};
use crate::name::Name;
use crate::object::Encryption;

/// What a daemon does with a connection as soon as it has it.
pub const START_ACTION: &str = "start_action";

/// The value of [`START_ACTION`] with which it opens the tunnel.
pub const START: &str = "start";

/// Which end of a tunnel this is.
#[derive(Clone, Copy)]
enum Side {
    Initiator,
    Responder,
}

/// Which ends open a tunnel when their daemons start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// Each: they are started one at a time.
    ByBoth,
    /// Neither: somebody tells the initiator to.
    ByNobody,
}

/// The connection of `tunnel` as `node` has it: one section, called after the tunnel. It is also
/// the whole VICI message `load-conn`, but for the files that `certs` and `cacerts` name. There is
/// none if the tunnel does not end at `node`, or is of another kind.
pub fn connection(tunnel: &Tunnel, node: &Name, encryption: Encryption) -> Option<Section> {
    connection_of(tunnel, node, encryption, Opening::ByBoth)
}

fn connection_of(
    tunnel: &Tunnel,
    node: &Name,
    encryption: Encryption,
    opening: Opening,
) -> Option<Section> {
    let ipsec = tunnel.ipsec()?;
    let (local, remote) = tunnel.seen_from(node)?;
    let side = if tunnel.initiator.node == *node { Side::Initiator } else { Side::Responder };
    let ike = Section::new()
        .value("version", 2)
        .list("local_addrs", [local.address])
        .list("remote_addrs", [remote_address(tunnel, remote)])
        .list("proposals", [&ipsec.ike])
        .followed_by(behaviour(ipsec, side, encryption))
        .section("local", local_identity(ipsec, local))
        .section("remote", remote_identity(ipsec, remote))
        .section(
            "children",
            Section::new().section(
                &tunnel.name,
                child(tunnel, ipsec, [local, remote], (side, opening))
                    .followed_by(marks(encryption)),
            ),
        );
    Some(Section::new().section(&tunnel.name, ike))
}

/// Where the other end is. One behind a translation of addresses may be anywhere.
fn remote_address(tunnel: &Tunnel, remote: &TunnelEnd) -> String {
    if tunnel.hides(&remote.node) { "%any".to_owned() } else { remote.address.to_string() }
}

/// The text of [`SWANCTL_CONF`](crate::ipsec::SWANCTL_CONF): the connections of those of `tunnels`
/// that end at `node`. `swanctl --load-all` in the node makes of it what `netarium up` does.
pub fn swanctl_conf<'a>(
    tunnels: impl IntoIterator<Item = &'a Tunnel>,
    node: &Name,
    encryption: Encryption,
) -> String {
    conf(tunnels, |tunnel| connection(tunnel, node, encryption))
}

/// The same for daemons that start together and are not told their tunnels one by one: they open none that
/// is to stand from the start, since two ends that do so at the same time cross.
pub fn standalone_conf<'a>(
    tunnels: impl IntoIterator<Item = &'a Tunnel>,
    node: &Name,
    encryption: Encryption,
) -> String {
    conf(tunnels, |tunnel| connection_of(tunnel, node, encryption, Opening::ByNobody))
}

fn conf<'a>(
    tunnels: impl IntoIterator<Item = &'a Tunnel>,
    connection: impl Fn(&Tunnel) -> Option<Section>,
) -> String {
    let connections =
        tunnels.into_iter().filter_map(connection).fold(Section::new(), Section::followed_by);
    Section::new().section("connections", connections).to_text()
}

/// How the IKE association behaves.
fn behaviour(ipsec: &Ipsec, side: Side, encryption: Encryption) -> Section {
    let section = Section::new()
        // No end of a lab's tunnel changes its address, and without MOBIKE (RFC 4555) the ends do
        // not move to port 4500 unless something between them translates addresses.
        .value("mobike", "no")
        // A daemon that was killed comes back under the same identity: what is left of it at the
        // other end would keep the routes of the dead association.
        .value("unique", "replace")
        // A peer that is gone is noticed within these seconds and the retransmissions.
        .value("dpd_delay", format!("{}s", ipsec.dpd))
        .value("rekey_time", format!("{}s", ipsec.rekey.ike));
    let section = match side {
        // Whoever pulls a cable out of a lab wants the tunnel back when it is in again, however
        // long that took. Only the initiator tries, else the two would cross.
        Side::Initiator => section.value("keyingtries", 0),
        Side::Responder => section,
    };
    match (encryption, ipsec.encapsulation) {
        (Encryption::Kernel, Encapsulation::Needed) => section,
        // The daemon can send and receive ESP in UDP only (RFC 3948).
        (Encryption::Userspace, _) | (_, Encapsulation::Always) => section.value("encap", "yes"),
    }
}

/// How this end shows who it is. Its identity is its address: that is a subject alternative name
/// of its certificate, as the other end demands, and unlike the node's name it tells two tunnels
/// between the same nodes apart when they run between different addresses.
fn local_identity(ipsec: &Ipsec, end: &TunnelEnd) -> Section {
    let section = match ipsec.auth {
        Auth::Certificate => {
            Section::new().value("auth", "pubkey").list("certs", [credential_file(&end.node)])
        }
        Auth::Psk(_) => Section::new().value("auth", "psk"),
    };
    section.value("id", end.address)
}

/// What the other end must show.
fn remote_identity(ipsec: &Ipsec, end: &TunnelEnd) -> Section {
    if let Auth::Psk(_) = ipsec.auth {
        return Section::new().value("auth", "psk").value("id", end.address);
    }
    Section::new()
        .value("auth", "pubkey")
        .value("id", end.address)
        // A chain counts only with a fresh revocation list of every authority in it.
        .value("revocation", "strict")
        // Only this lab's root vouches for it, whatever else somebody loads into the daemon.
        .list("cacerts", [ROOT_FILE])
}

fn child(
    tunnel: &Tunnel,
    ipsec: &Ipsec,
    ends: [&TunnelEnd; 2],
    (side, opening): (Side, Opening),
) -> Section {
    let [local, remote] = ends;
    let section = Section::new()
        .list("local_ts", &local.carry)
        .list("remote_ts", &remote.carry)
        .list("esp_proposals", [&ipsec.esp])
        .value("mode", "tunnel")
        .value("rekey_time", format!("{}s", ipsec.rekey.esp));
    match (ipsec.start, side) {
        (Start::Demand, _) => section
            .value(START_ACTION, "trap")
            .value("dpd_action", "trap")
            .value("close_action", "trap"),
        (Start::Up, Side::Initiator) => {
            let start = if opening == Opening::ByBoth { START } else { "none" };
            section.value(START_ACTION, start).value("dpd_action", "restart")
        }
        (Start::Up, Side::Responder) => {
            // A daemon that comes back opens what it had, if it knows where the other end is.
            let may = opening == Opening::ByBoth && !tunnel.hides(&remote.node);
            let start = if may { START } else { "none" };
            section.value(START_ACTION, start).value("dpd_action", "clear")
        }
    }
}

/// The mark that the kernel puts on what it decrypts. A daemon's packets come by a device of their own.
fn marks(encryption: Encryption) -> Section {
    match encryption {
        Encryption::Kernel => {
            Section::new().value("set_mark_in", format!("{DECRYPTED:#x}/{DECRYPTED:#x}"))
        }
        Encryption::Userspace => Section::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TunnelKind;

    fn name(word: &str) -> Name {
        Name::new(word).unwrap()
    }

    fn end(node: &str, address: &str, carry: &[&str]) -> TunnelEnd {
        TunnelEnd {
            node: name(node),
            address: address.parse().unwrap(),
            carry: carry.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        }
    }

    fn tunnel(word: &str, initiator: TunnelEnd) -> Tunnel {
        Tunnel {
            name: name(word),
            initiator,
            responder: end("gateway-s", "172.28.28.28", &["10.3.0.0/16"]),
            kind: TunnelKind::Ipsec(Ipsec::example()),
        }
    }

    fn tunnels() -> [Tunnel; 2] {
        [
            tunnel("a-to-cloud", end("gateway-a", "172.26.26.26", &["10.1.0.0/16"])),
            tunnel("b-to-cloud", end("gateway-b", "172.27.27.27", &["10.2.0.0/16", "fd02::/64"])),
        ]
    }

    #[test]
    fn the_initiator_of_one_tunnel_has_one_connection() {
        insta::assert_snapshot!(swanctl_conf(&tunnels(), &name("gateway-a"), Encryption::Kernel));
    }

    #[test]
    fn the_gateway_that_answers_two_tunnels_has_two_connections() {
        insta::assert_snapshot!(swanctl_conf(
            &tunnels(),
            &name("gateway-s"),
            Encryption::Userspace
        ));
    }

    #[test]
    fn a_node_where_no_tunnel_ends_has_no_connection() {
        assert_eq!(connection(&tunnels()[0], &name("router"), Encryption::Kernel), None);
        assert_eq!(
            swanctl_conf(&tunnels(), &name("router"), Encryption::Kernel),
            "connections {\n}\n"
        );
    }

    #[test]
    fn of_daemons_that_start_together_none_opens_a_tunnel() {
        let text = |node| standalone_conf(&tunnels(), &name(node), Encryption::Kernel);
        let of_both = |node| swanctl_conf(&tunnels(), &name(node), Encryption::Kernel);
        for node in ["gateway-a", "gateway-s"] {
            let expected = of_both(node).replace("start_action = start", "start_action = none");
            assert_eq!(text(node), expected);
            assert!(text(node).contains("start_action = none"));
        }
    }

    #[test]
    fn a_proposal_cannot_add_settings() {
        let mut hostile = tunnels()[0].clone();
        let TunnelKind::Ipsec(ipsec) = &mut hostile.kind else { panic!("it is IPsec") };
        ipsec.esp = "aes256\n}\nsecrets {".to_owned();
        let text = swanctl_conf([&hostile], &name("gateway-a"), Encryption::Kernel);
        assert!(text.contains(r#"esp_proposals = "aes256\n}\nsecrets {""#), "{text}");
    }
}
