//! Firewalls and translation of addresses.

use crate::assert_said;

/// Two gateways with a tunnel, a client behind one of them, and a node apart.
macro_rules! gateways {
    ($gateway:literal) => {
        concat!(
            "tunnels: {t: {ipsec: {between: [g, h], carry: [a, b]}}, u: {ipsec: {between: [h, o], carry: [b, 10.9.0.0/24]}}}\n",
            "segments: {a: 10.1.0.0/24, b: 10.2.0.0/24, w: 10.3.0.0/24, s: 'fd00::/64', o: 10.4.0.0/24}\n",
            "nodes:\n",
            "  h: {interfaces: {b: 10.2.0.1, w: 10.3.0.2}}\n",
            "  o: {interfaces: {w: 10.3.0.3}}\n",
            "  c: {interfaces: {a: 10.1.0.2, s: 'fd00::2'}}\n",
            "  g: {interfaces: {a: 10.1.0.1, w: 10.3.0.1, s: 'fd00::1'}}\n",
            "  g2:\n",
            "    interfaces: {a: 10.1.0.9}\n",
            "    ", $gateway, "\n",
        )
    };
}

/// The same, with the firewall or the translation at the end of the tunnel.
macro_rules! end {
    ($gateway:literal) => {
        concat!(
            "tunnels: {t: {ipsec: {between: [g, h], carry: [a, b]}}}\n",
            "segments: {a: 10.1.0.0/24, b: 10.2.0.0/24, w: 10.3.0.0/24, s: 'fd00::/64'}\n",
            "nodes:\n",
            "  h: {interfaces: {b: 10.2.0.1, w: 10.3.0.2}}\n",
            "  c: {interfaces: {a: 10.1.0.2, s: 'fd00::2'}}\n",
            "  g:\n",
            "    interfaces: {a: 10.1.0.1, w: 10.3.0.1, s: 'fd00::1'}\n",
            "    ",
            $gateway,
            "\n",
        )
    };
}

#[test]
fn the_form_of_a_firewall_is_checked() {
    assert_said(&[
        (end!("firewall: {inputs: {}}"), &["?"]),
        (end!("firewall: {input: drop}"), &["?"]),
        (end!("firewall: {input: {default: reject}}"), &["?"]),
        (end!("firewall: {input: {default: drop, accepts: []}}"), &["?"]),
        (end!("firewall: {input: {rules: [{rate: 1/second}]}}"), &["?"]),
        (end!("firewall: {input: {rules: [{drop: tcp, accept: udp}]}}"), &["?"]),
        (end!("firewall: {input: {rules: [{drop: tcp, rate: 10/week}]}}"), &["?"]),
        (end!("firewall: {input: {rules: [{drop: tcp, log: 'a\"b'}]}}"), &["?"]),
        (end!("firewall: {input: {default: drop, accept: {}}}"), &["?"]),
        (end!("firewall: {input: {accept: tcp}}"), &["?"]),
        (end!("nat: [{}]"), &["?"]),
        (end!("nat: [{masquerade: w, snat: a, to: 10.3.0.1}]"), &["?"]),
        (end!("firewall: {raw: 'chain a { } }'}"), &["?"]),
        (end!("firewall: {raw: 'include \"x\"'}"), &["?"]),
    ]);
}

#[test]
fn what_packets_are_like_is_checked() {
    assert_said(&[
        (end!("firewall: {input: {drop: {in: b}}}"), &["?"]),
        (end!("firewall: {input: {drop: {in: eth9}}}"), &["?"]),
        (end!("firewall: {input: {drop: {out: a}}}"), &["?"]),
        (end!("firewall: {output: {drop: {in: a}}}"), &["?"]),
        (end!("firewall: {input: {drop: {from: nobody}}}"), &["?"]),
        (end!("firewall: {input: {drop: {from: 10.1.0.1/24}}}"), &["?"]),
        (end!("firewall: {input: {drop: {from: a, to: s}}}"), &["?"]),
        (end!("firewall: {input: {drop: {from: a, icmp: nd-redirect}}}"), &["?"]),
        (end!("firewall: {input: {drop: {from: s, protocol: icmp}}}"), &["?"]),
        (end!("firewall: {input: {drop: {port: 80}}}"), &["?"]),
        (end!("firewall: {input: {drop: {port: 80, protocol: [tcp, esp]}}}"), &["?"]),
        (end!("firewall: {input: {drop: {port: 90-80, protocol: tcp}}}"), &["?"]),
        (end!("firewall: {input: {drop: {port: 80, icmp: redirect}}}"), &["?"]),
        (end!("firewall: {input: {drop: {icmp: echo}}}"), &["?"]),
        (end!("firewall: {input: {drop: {icmp: redirect, protocol: icmpv6}}}"), &["?"]),
        (end!("firewall: {input: {drop: {icmp: redirect, protocol: tcp}}}"), &["?"]),
        (end!("firewall: {input: {drop: {state: old}}}"), &["?"]),
        (end!("firewall: {input: {drop: tpc}}"), &["?"]),
    ]);
}

#[test]
fn tunnels_in_firewalls_are_checked() {
    assert_said(&[
        (end!("firewall: {input: {drop: {tunnel: v}}}"), &["?"]),
        (gateways!("firewall: {input: {drop: {tunnel: u}}}"), &["?"]),
        (end!("firewall: {input: {drop: {tunnel: t, port: 500}}}"), &["?"]),
        (end!("firewall: {forward: {drop: {tunnel: t, from: a}}}"), &["?"]),
    ]);
}

#[test]
fn rules_that_contradict_each_other_are_found() {
    assert_said(&[
        (
            end!(
                "firewall: {input: {default: drop, accept: {port: 22, protocol: tcp}, drop: {protocol: tcp, port: 22}}}"
            ),
            &["?"],
        ),
        (end!("firewall: {input: {drop: {tunnel: t}, accept: {tunnel: t}}}"), &["?"]),
        (end!("firewall: {input: {rules: [{accept: icmp, rate: 1/second}, {drop: icmp}]}}"), &[]),
    ]);
}

#[test]
fn translations_are_checked() {
    assert_said(&[
        (end!("nat: [{masquerade: b}]"), &["?"]),
        (end!("nat: [{masquerade: w, to: 10.3.0.1}]"), &["?"]),
        (end!("nat: [{snat: a}]"), &["?"]),
        (end!("nat: [{snat: a, to: 'fd00::1'}]"), &["?"]),
        (end!("nat: [{snat: a, to: 10.3.0.9-10.3.0.1}]"), &["?"]),
        (end!("nat: [{snat: a, to: 10.3.0.1, in: a}]"), &["?"]),
        (end!("nat: [{dnat: 10.1.0.1:80, to: 10.2.0.2}]"), &["?"]),
        (end!("nat: [{dnat: 10.1.0.1/tcp, to: 10.2.0.2}]"), &["?"]),
        (end!("nat: [{dnat: 10.1.0.1:80/icmp, to: 10.2.0.2}]"), &["?"]),
        (end!("nat: [{dnat: 10.1.0.1, to: 10.2.0.2:80}]"), &["?"]),
        (end!("nat: [{dnat: 10.1.0.1:80/tcp, to: 10.2.0.2:80-90}]"), &["?"]),
        (end!("nat: [{dnat: 10.1.0.1:80/tcp, to: 'fd00::2'}]"), &["?"]),
        (end!("nat: [{dnat: 10.1.0.1:80/tcp, to: d:80}]"), &["?"]),
        (end!("nat: [{redirect: 80, to: 8080}]"), &["?"]),
        (end!("nat: [{redirect: 80/tcp}]"), &["?"]),
        (end!("nat: [{redirect: 80/tcp, to: 70000}]"), &["?"]),
    ]);
}
