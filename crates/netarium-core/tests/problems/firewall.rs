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

/// A tunnel between two nodes that carries what they send each other.
macro_rules! hosts {
    ($gateway:literal) => {
        concat!(
            "tunnels: {t: {ipsec: {between: [g, h]}}}\n",
            "segments: {w: 10.3.0.0/24}\n",
            "nodes:\n",
            "  h: {interfaces: {w: 10.3.0.2}}\n",
            "  g:\n",
            "    ",
            $gateway,
            "\n    interfaces: {w: 10.3.0.1}\n",
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
        (
            end!("firewall: {inputs: {}}"),
            &["8:16: unknown key inputs in a firewall (did you mean input?)"],
        ),
        (
            end!("firewall: {input: drop}"),
            &["8:23: a hook of a firewall must be a table, not one value"],
        ),
        (
            end!("firewall: {input: {default: reject}}"),
            &["8:33: unknown default reject (there are accept, drop)"],
        ),
        (
            end!("firewall: {input: {default: drop, accepts: []}}"),
            &["8:39: unknown key accepts in a hook of a firewall (did you mean accept?)"],
        ),
        (
            end!("firewall: {input: {rules: [{rate: 1/second}]}}"),
            &["8:32: a rule does one thing, and this one 0 (write one of accept, drop and reject)"],
        ),
        (
            end!("firewall: {input: {rules: [{drop: tcp, accept: udp}]}}"),
            &["8:32: a rule does one thing, and this one 2 (write one of accept, drop and reject)"],
        ),
        (
            end!("firewall: {input: {rules: [{drop: tcp, rate: 10/week}]}}"),
            &["8:50: 10/week is no rate (write 10/second, or minute, hour, day)"],
        ),
        (
            end!("firewall: {input: {rules: [{drop: tcp, log: 'a\"b'}]}}"),
            &[
                "8:49: this cannot stand before a line of the log (write at most 127 ASCII characters, without \" and \\)",
            ],
        ),
        (
            end!("firewall: {input: {default: drop, accept: {}}}"),
            &[
                "8:47: a match that asks nothing takes every packet (write default: accept or default: drop)",
            ],
        ),
        (
            end!("firewall: {input: {accept: tcp}}"),
            &[
                "8:23: everything is accepted here, with or without these rules (write default: drop)",
            ],
        ),
        (
            end!("nat: [{}]"),
            &[
                "8:11: a translation does one thing, and this one 0 (write one of masquerade, snat, dnat and redirect)",
            ],
        ),
        (
            end!("nat: [{masquerade: w, snat: a, to: 10.3.0.1}]"),
            &[
                "8:11: a translation does one thing, and this one 2 (write one of masquerade, snat, dnat and redirect)",
            ],
        ),
        (
            end!("firewall: {raw: 'chain a { } }'}"),
            &[
                "8:21: raw has a brace or a quote without its partner (it is put between the braces of a table)",
            ],
        ),
        (
            end!("firewall: {raw: 'include \"x\"'}"),
            &["8:21: raw cannot include a file (write here what is in the file)"],
        ),
    ]);
}

#[test]
fn what_packets_are_like_is_checked() {
    assert_said(&[
        (
            end!("firewall: {input: {drop: {in: b}}}"),
            &["8:35: g is not on segment b (there are a, eth0, w, eth1, s, eth2)"],
        ),
        (
            end!("firewall: {input: {drop: {in: eth9}}}"),
            &["8:35: g has no interface or segment eth9 (did you mean eth0?)"],
        ),
        (
            end!("firewall: {input: {drop: {out: a}}}"),
            &["8:36: out means nothing in input (write in)"],
        ),
        (
            end!("firewall: {output: {drop: {in: a}}}"),
            &["8:36: in means nothing in output (write out)"],
        ),
        (
            end!("firewall: {input: {drop: {from: nobody}}}"),
            &["8:37: no node and no segment is called nobody (there are h, c, g, a, b, w, s)"],
        ),
        (
            end!("firewall: {input: {drop: {from: 10.1.0.1/24}}}"),
            &["8:37: 10.1.0.1/24 has host bits set (write 10.1.0.0/24)"],
        ),
        (
            end!("firewall: {input: {drop: {from: a, to: s}}}"),
            &["8:44: no packet is like that: s is IPv6, the rest IPv4"],
        ),
        (
            end!("firewall: {input: {drop: {from: a, icmp: nd-redirect}}}"),
            &["8:46: no packet is like that: nd-redirect is IPv6, the rest IPv4"],
        ),
        (
            end!("firewall: {input: {drop: {from: s, protocol: icmp}}}"),
            &["8:50: no packet is like that: icmp is IPv4, the rest IPv6"],
        ),
        (
            end!("firewall: {input: {drop: {port: 80}}}"),
            &["8:37: port 80 of which protocol? (write protocol: tcp, or udp, or both)"],
        ),
        (
            end!("firewall: {input: {drop: {port: 80, protocol: [tcp, esp]}}}"),
            &["8:57: esp has no ports"],
        ),
        (
            end!("firewall: {input: {drop: {port: 90-80, protocol: tcp}}}"),
            &["8:37: 90-80 is no port (write a number up to 65535, or a range like 8000-8080)"],
        ),
        (
            end!("firewall: {input: {drop: {port: 80, icmp: redirect}}}"),
            &["8:37: ICMP has no ports"],
        ),
        (
            end!("firewall: {input: {drop: {icmp: echo}}}"),
            &["8:37: unknown type of ICMP echo (did you mean echo-request?)"],
        ),
        (
            end!("firewall: {input: {drop: {icmp: redirect, protocol: icmpv6}}}"),
            &["8:37: icmpv6 has no type redirect (it is one of icmp)"],
        ),
        (
            end!("firewall: {input: {drop: {icmp: redirect, protocol: tcp}}}"),
            &["8:37: only ICMP has types of ICMP (leave protocol out, or write icmp or icmpv6)"],
        ),
        (
            end!("firewall: {input: {drop: {state: old}}}"),
            &["8:38: unknown state old (there are established, related, new, invalid, untracked)"],
        ),
        (
            end!("firewall: {input: {drop: tpc}}"),
            &["8:30: unknown protocol tpc (did you mean tcp?)"],
        ),
    ]);
}

#[test]
fn tunnels_in_firewalls_are_checked() {
    assert_said(&[
        (
            end!("firewall: {input: {drop: {tunnel: v}}}"),
            &["8:39: unknown tunnel v (there is only t)"],
        ),
        (
            gateways!("firewall: {input: {drop: {tunnel: u}}}"),
            &["10:39: tunnel u does not end at g2 (it joins h and o)"],
        ),
        (
            end!("firewall: {input: {drop: {tunnel: t, port: 500}}}"),
            &["8:48: port and tunnel do not go together (the tunnel says that already)"],
        ),
        (
            end!("firewall: {forward: {drop: {tunnel: t, from: a}}}"),
            &["8:50: from and tunnel do not go together (the tunnel says that already)"],
        ),
    ]);
}

#[test]
fn rules_that_contradict_each_other_are_found() {
    assert_said(&[
        (
            end!(
                "firewall: {input: {default: drop, accept: {port: 22, protocol: tcp}, drop: {protocol: tcp, port: 22}}}"
            ),
            &[
                "8:80: the same packets are accepted already (the first rule that takes a packet decides)",
            ],
        ),
        (
            hosts!("firewall: {forward: {drop: {tunnel: t}}}"),
            &[
                "6:41: tunnel t carries nothing that is forwarded (it joins two nodes, not what is behind them: write from and to)",
            ],
        ),
        (hosts!("firewall: {input: {drop: {tunnel: t, protocol: tcp, port: 22}}}"), &[]),
        (
            hosts!("firewall: {input: {drop: {tunnel: t, from: h}}}"),
            &["6:48: from and tunnel do not go together (the tunnel says that already)"],
        ),
        (
            end!("firewall: {input: {drop: {tunnel: t}, accept: {tunnel: t}}}"),
            &[
                "8:51: the same packets are dropped already (the first rule that takes a packet decides)",
            ],
        ),
        (end!("firewall: {input: {rules: [{accept: icmp, rate: 1/second}, {drop: icmp}]}}"), &[]),
    ]);
}

#[test]
fn translations_of_what_tunnels_carry_are_checked() {
    assert_said(&[
        (end!("nat: [{dnat: 10.1.0.1:80/tcp, from: [b, h, 10.2.0.0/30], to: 10.1.0.2}]"), &[]),
        (end!("nat: [{redirect: 80/tcp, tunnel: t, to: 8080}]"), &[]),
        (end!("nat: [{snat: a, tunnel: t, to: 10.1.0.1}]"), &[]),
        (
            end!("nat: [{dnat: 10.1.0.1:80/tcp, from: s, to: 10.1.0.2}]"),
            &["8:41: s is of the other family (IPv4 stays IPv4, and IPv6 stays IPv6)"],
        ),
        (
            end!("nat: [{dnat: 10.1.0.1:80/tcp, from: nobody, to: 10.1.0.2}]"),
            &["8:41: no node and no segment is called nobody (there are h, c, g, a, b, w, s)"],
        ),
        (end!("nat: [{snat: a, from: b, to: 10.3.0.1}]"), &["8:27: from means nothing for snat"]),
        (end!("nat: [{masquerade: w, tunnel: t}]"), &["8:35: tunnel means nothing for masquerade"]),
        (
            end!("nat: [{dnat: 10.1.0.1, tunnel: t, from: b, to: 10.1.0.2}]"),
            &["8:45: from and tunnel do not go together (the tunnel says that already)"],
        ),
        (
            end!("nat: [{dnat: 10.1.0.1, tunnel: t, tunnels: false, to: 10.1.0.2}]"),
            &["8:48: what a tunnel carries is to be changed, and is not (leave tunnels out)"],
        ),
        (
            end!("nat: [{dnat: 10.3.0.1, tunnel: t, to: 10.1.0.2}]"),
            &["8:18: tunnel t carries nothing to 10.3.0.1"],
        ),
        (
            end!("nat: [{dnat: 10.1.0.1, tunnel: v, to: 10.1.0.2}]"),
            &["8:36: unknown tunnel v (there is only t)"],
        ),
    ]);
}

#[test]
fn translations_are_checked() {
    assert_said(&[
        (
            end!("nat: [{masquerade: b}]"),
            &["8:24: g is not on segment b (there are a, eth0, w, eth1, s, eth2)"],
        ),
        (end!("nat: [{masquerade: w, to: 10.3.0.1}]"), &["8:31: to means nothing for masquerade"]),
        (
            end!("nat: [{snat: a}]"),
            &["8:11: the translation does not say into what (write to: 172.28.28.28)"],
        ),
        (
            end!("nat: [{snat: a, to: 'fd00::1'}]"),
            &["8:25: fd00::1 is of the other family (IPv4 stays IPv4, and IPv6 stays IPv6)"],
        ),
        (
            end!("nat: [{snat: a, to: 10.3.0.9-10.3.0.1}]"),
            &["8:25: 10.3.0.9-10.3.0.1 is no range of addresses (write 10.0.0.1-10.0.0.9)"],
        ),
        (end!("nat: [{snat: a, to: 10.3.0.1, in: a}]"), &["8:39: in means nothing for snat"]),
        (
            end!("nat: [{dnat: 10.1.0.1:80, to: 10.2.0.2}]"),
            &["8:18: port 80 of which protocol? (write 10.1.0.1:80/tcp)"],
        ),
        (
            end!("nat: [{dnat: 10.1.0.1/tcp, to: 10.2.0.2}]"),
            &["8:18: 10.1.0.1/tcp names no port (write 10.0.0.1:8080/tcp)"],
        ),
        (
            end!("nat: [{dnat: 10.1.0.1:80/icmp, to: 10.2.0.2}]"),
            &["8:18: unknown protocol icmp (there are tcp, udp, sctp)"],
        ),
        (
            end!("nat: [{dnat: 10.1.0.1, to: 10.2.0.2:80}]"),
            &[
                "8:32: a port for all ports and protocols (write dnat: 10.1.0.1:80/tcp, or to: 10.2.0.2)",
            ],
        ),
        (
            end!("nat: [{dnat: 10.1.0.1:80/tcp, to: 10.2.0.2:80-90}]"),
            &["8:39: 80-90 is more than one port (leave the port out to keep it as it is)"],
        ),
        (
            end!("nat: [{dnat: 10.1.0.1:80/tcp, to: 'fd00::2'}]"),
            &["8:39: fd00::2 is of the other family (IPv4 stays IPv4, and IPv6 stays IPv6)"],
        ),
        (
            end!("nat: [{dnat: 10.1.0.1:80/tcp, to: d:80}]"),
            &["8:39: unknown node d (there are h, c, g)"],
        ),
        (
            end!("nat: [{redirect: 80, to: 8080}]"),
            &["8:22: port 80 of which protocol? (write 80/tcp)"],
        ),
        (
            end!("nat: [{redirect: 80/tcp}]"),
            &["8:11: the translation does not say into what (write to: 8080)"],
        ),
        (
            end!("nat: [{redirect: 80/tcp, to: 70000}]"),
            &["8:34: 70000 is no port (write a number up to 65535, or a range like 8000-8080)"],
        ),
    ]);
}
