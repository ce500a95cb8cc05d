//! WireGuard tunnels.

use crate::assert_said;

/// A tunnel between the two nodes that share a segment.
macro_rules! tunnel {
    ($($keys:literal)+) => {
        concat!(base!(), "\ntunnels: {t: {wireguard: {between: [x, y], ", $($keys),+, "}}}")
    };
}

#[test]
fn the_form_of_a_wireguard_tunnel_is_checked() {
    assert_said(&[
        (
            "nodes: {one: {}}\ntunnels: {t: {wireguard: {keys: 1}, ipsec: {}}}",
            &[
                "2:14: a tunnel is of one kind, and this one of 2 (write ipsec or wireguard)",
                "2:26: wireguard has no between",
                "2:26: wireguard has no carry",
                "2:27: unknown key keys in wireguard (there are between, carry, port, keepalive, mtu, psk)",
                "2:44: ipsec has no between",
            ],
        ),
        (tunnel!("carry: [b, c], port: 0"), &["3:65: there is no UDP port 0"]),
        (
            tunnel!("carry: [b, c], port: [1, 2, 3], psk: maybe"),
            &[
                "3:65: port has 3 of two values, one for each end",
                "3:81: psk is true or false, not maybe",
            ],
        ),
        (
            tunnel!("carry: [b, c], port: 70000, mtu: 5000"),
            &[
                "3:65: port 70000 is too large",
                "3:77: an mtu of 5000 is not possible (a tunnel's is at most 4000 bytes)",
            ],
        ),
        (
            tunnel!("carry: [b, c], mtu: 60"),
            &["3:64: an mtu of 60 is not possible (it is at least 68 bytes)"],
        ),
        (
            tunnel!("carry: ['fd01::/64', 'fd02::/64'], mtu: 1000"),
            &["3:84: an mtu of 1000 is not possible (with IPv6 it is at least 1280 bytes)"],
        ),
        (
            tunnel!("carry: [b, c], keepalive: 25"),
            &["3:70: 25 is no keepalive (write 25s for example; 120s is the most)"],
        ),
        (
            tunnel!("carry: [b, c], keepalive: 121s"),
            &["3:70: 121s is no keepalive (write 25s for example; 120s is the most)"],
        ),
        (
            tunnel!("carry: [b, b], keepalive: 0s"),
            &[
                "3:55: 10.1.0.0/24 is behind both ends",
                "3:70: 0s is no keepalive (write 25s for example; 120s is the most)",
            ],
        ),
    ]);
}

#[test]
fn a_wireguard_tunnel_cannot_carry_what_goes_elsewhere() {
    assert_said(&[
        (
            tunnel!("carry: [b, a]"),
            &["3:26: x is on 10.0.0.0/24 itself (the other end cannot be in front of it)"],
        ),
        (
            tunnel!("carry: [b, 10.0.0.2]"),
            &[
                "3:26: the tunnel cannot carry its own packets to 10.0.0.2 (WireGuard carries what is behind its ends, not their own addresses)",
            ],
        ),
        (
            concat!(
                "segments: {a: 10.0.0.0/24}\nnodes:\n",
                "  x: {interfaces: {a: 10.0.0.1}, routes: [{to: 10.2.0.0/24, via: 10.0.0.9}]}\n",
                "  y: {interfaces: {a: 10.0.0.2}}\n",
                "tunnels: {t: {wireguard: {between: [x, y], carry: [10.1.0.0/24, 10.2.0.0/24]}}}"
            ),
            &["5:26: x has a route to 10.2.0.0/24 already (the tunnel carries what goes there)"],
        ),
        (
            concat!(
                base!(),
                "\ntunnels:\n  t: {wireguard: {between: [x, y], carry: [b, c]}}\n",
                "  u: {wireguard: {between: [x, y], carry: [10.9.0.0/24, c]}}"
            ),
            &["5:18: x has a route to 10.2.0.0/24 already (the tunnel carries what goes there)"],
        ),
        (
            concat!(
                "segments: {a: {prefix: 10.0.0.0/24, mtu: 1300}}\n",
                "nodes: {x: {interfaces: {a: 10.0.0.1}}, y: {interfaces: {a: 10.0.0.2}}}\n",
                "tunnels: {t: {wireguard: {between: [x, y], carry: ['fd01::/64', 'fd02::/64']}}}"
            ),
            &[
                "3:11: the tunnel could carry packets of 1220 bytes at most (its segments need an mtu that is larger, or it an mtu)",
            ],
        ),
    ]);
}

#[test]
fn what_a_wireguard_tunnel_brings_to_its_nodes_must_have_room_there() {
    assert_said(&[
        (
            concat!(
                "segments: {a: 10.0.0.0/24}\nnodes:\n",
                "  x: {interfaces: [{segment: a, address: 10.0.0.1, name: wg-t}]}\n",
                "  y: {interfaces: {a: 10.0.0.2}, services: [{name: wireguard, run: [b]}]}\n",
                "tunnels: {t: {wireguard: {between: [x, y], carry: [10.1.0.0/24, 10.2.0.0/24]}}}"
            ),
            &[
                "4:52: a tunnel end has a service wireguard already (call yours something else)",
                "5:11: x has an interface wg-t already (that of the tunnel is called so: call the tunnel or yours something else)",
            ],
        ),
        (
            concat!(
                base!(),
                "\ntunnels:\n",
                "  from-here-to-there: {wireguard: {between: [x, y], carry: [b, c], port: 7}}\n",
                "  from-here-to-thence: {wireguard: {between: [y, x], carry: [10.8.0.0/24, 10.9.0.0/24], port: [8, 7]}}"
            ),
            &[
                "5:3: two tunnels of x would have the interface wg-from-here-to (let their names differ in the first twelve letters)",
                "5:3: two tunnels of y would have the interface wg-from-here-to (let their names differ in the first twelve letters)",
                "5:99: port 7 of x is that of another tunnel (write [ONE, OTHER] for ports that differ, or leave port out)",
            ],
        ),
    ]);
}
