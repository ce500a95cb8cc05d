//! What keeps packets that a tunnel is to carry from leaving any other way, where the kernel does ESP.
//!
//! In user space such packets have nowhere to go but the daemon's own interface. In the kernel they
//! leave by the same interface as all others, encrypted if a policy says so: while the tunnel is
//! closed, or for an address that it does not carry, no policy does. So there is one that stays,
//! that comes after all others, and drops.

use ipnet::IpNet;

use crate::ipsec::{Key, Section};
use crate::model::{Tunnel, TunnelEnd};
use crate::name::Name;
use crate::object::Encryption;

/// The name of the guard of a tunnel among the daemon's connections.
pub fn guard_name(tunnel: &Name) -> Key {
    Key::beside(tunnel, "guard")
}

/// The guard of `tunnel` as `node` has it, in the words of swanctl.conf(5); `None` if it has none.
pub(super) fn guard(tunnel: &Tunnel, node: &Name, encryption: Encryption) -> Option<Section> {
    let (local, remote) = tunnel.seen_from(node)?;
    if encryption == Encryption::Userspace || reaches_over(local, remote) {
        return None;
    }
    let name = guard_name(&tunnel.name);
    let child = Section::new()
        .list("local_ts", ["0.0.0.0/0", "::/0"])
        .list("remote_ts", &remote.carry)
        .value("mode", "drop")
        .value("start_action", "trap");
    let connection = Section::new()
        // No peer has this address, so that it is for no peer.
        .list("remote_addrs", ["127.0.0.1"])
        .section("children", Section::new().section(name.clone(), child));
    Some(Section::new().section(name, connection))
}

/// Whether what is behind the other end takes in some of what is at this one: then a node could not
/// reach its own neighbours any more. A tunnel that carries everything is one.
fn reaches_over(local: &TunnelEnd, remote: &TunnelEnd) -> bool {
    let meet = |one: &IpNet, other: &IpNet| one.contains(other) || other.contains(one);
    let takes_in = |prefix: &IpNet| {
        prefix.contains(&local.address) || local.carry.iter().any(|own| meet(own, prefix))
    };
    remote.carry.iter().any(takes_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ipsec, TunnelKind};

    fn end(node: &str, address: &str, carry: &str) -> TunnelEnd {
        TunnelEnd {
            node: Name::new(node).unwrap(),
            address: address.parse().unwrap(),
            carry: vec![carry.parse().unwrap()],
        }
    }

    fn guard_of(carry_a: &str, carry_b: &str, encryption: Encryption) -> Option<Section> {
        let tunnel = Tunnel {
            name: Name::new("sites").unwrap(),
            initiator: end("a", "172.20.0.1", carry_a),
            responder: end("b", "172.20.0.2", carry_b),
            kind: TunnelKind::Ipsec(Ipsec { ike: String::new(), esp: String::new() }),
        };
        guard(&tunnel, &Name::new("a").unwrap(), encryption)
    }

    #[test]
    fn what_is_behind_the_other_end_is_dropped_where_nothing_encrypts_it() {
        let guard = guard_of("10.1.0.0/16", "10.2.0.0/16", Encryption::Kernel).unwrap();
        insta::assert_snapshot!(guard.to_text());
    }

    #[test]
    fn in_user_space_there_is_nothing_to_guard() {
        assert_eq!(guard_of("10.1.0.0/16", "10.2.0.0/16", Encryption::Userspace), None);
    }

    #[test]
    fn a_tunnel_that_reaches_over_this_end_has_no_guard() {
        for remote in ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.0/24", "172.20.0.0/24"] {
            assert_eq!(guard_of("10.1.0.0/16", remote, Encryption::Kernel), None, "{remote}");
        }
        assert!(guard_of("10.1.0.0/16", "172.20.0.2/32", Encryption::Kernel).is_some());
    }
}
