//! Kernel settings, limits, services, tunnels, checks.

use crate::assert_said;

#[test]
fn sysctls_and_limits_are_checked() {
    assert_said(&[
        (
            "nodes: {one: {sysctls: {kernel.hostname: x}}}",
            &[
                "1:25: kernel.hostname is not a setting of a network namespace (it begins with net.)",
            ],
        ),
        (
            "nodes: {one: {sysctls: {net.ipv4.ip_forward: 1}}}",
            &["1:25: net.ipv4.ip_forward is what forward is for (write forward: true)"],
        ),
        (
            "nodes: {one: {sysctls: {net.ipv4.conf.eth0.rp_filter: 1}}}",
            &["1:25: the node has no interface eth0 (there are all, default, lo)"],
        ),
        (
            "nodes: {one: {sysctls: {net/../kernel/x: 1, net.: 1}}}",
            &[
                "1:25: net/../kernel/x is no sysctl (write net.ipv4.tcp_ecn)",
                "1:45: net. is no sysctl (write net.ipv4.tcp_ecn)",
            ],
        ),
        (
            "nodes: {one: {sysctls: {net.ipv4.tcp_ecn: 1, net/ipv4/tcp_ecn: 0, net.core.x: ''}}}",
            &[
                "1:46: net/ipv4/tcp_ecn is there twice",
                "1:79: the value of a sysctl is one line of text",
            ],
        ),
        (
            "nodes: {one: {limits: {memory: 64M, cpus: half, pids: 0}}}",
            &[
                "1:32: 64M is no limit (write 64MiB, 1GiB or a number of bytes)",
                "1:43: half is no limit (write 0.5 for half a processor, with at most three decimals)",
                "1:55: a limit of 0 leaves nothing to run with (leave it out for no limit)",
            ],
        ),
        (
            "nodes: {one: {limits: {memory: 0, cpus: 0.0}}}",
            &[
                "1:32: a limit of 0 leaves nothing to run with (leave it out for no limit)",
                "1:41: a limit of 0.0 leaves nothing to run with (leave it out for no limit)",
            ],
        ),
    ]);
}

#[test]
fn services_are_checked() {
    assert_said(&[
        (
            "nodes: {one: {services: [{name: a, run: sleep infinity}]}}",
            &["1:41: run must be a list of words (there is no shell: write [sleep, infinity])"],
        ),
        (
            "nodes: {one: {services: [{name: a}, {run: [b]}, {name: c, run: []}]}}",
            &[
                "1:26: a service has no run",
                "1:37: a service has no name",
                "1:64: run must be a list of words (write [program])",
            ],
        ),
        (
            "nodes: {one: {services: [{name: a, run: [b]}, {name: a, run: [b]}]}}",
            &["1:54: two services are called a"],
        ),
        (
            "nodes: {one: {services: [{name: a, run: [b], after: bd}]}}",
            &["1:53: unknown service bd (there is only a)"],
        ),
        (
            "nodes: {one: {services: [{name: a, run: [b], after: b}, {name: b, run: [b], after: [c]}, {name: c, run: [b], after: [a]}]}}",
            &["1:53: a, b, c wait for each other"],
        ),
        (
            "nodes: {one: {services: [{name: a, run: [b], after: [a]}]}}",
            &["1:54: a waits for itself"],
        ),
        (
            "nodes: {one: {services: [{name: a, run: [b], folder: srv, restart: sometimes, ready: soon}]}}",
            &[
                "1:54: srv is no absolute path (it begins with /)",
                "1:68: unknown restart sometimes (there are never, on-failure, always)",
                "1:86: unknown readiness soon (there are started, done, {tcp: PORT}, {unix: PATH}, {file: PATH}, {command: [PROGRAM]})",
            ],
        ),
        (
            "nodes: {one: {services: [{name: a, run: [b], ready: {tcp: 0}}, {name: b, run: [b], ready: {unix: x}}, {name: c, run: [''], ready: {tcp: 1, file: /x}}]}}",
            &[
                "1:59: there is no TCP port 0",
                "1:98: x is no absolute path (it begins with /)",
                "1:119: the program to run has no name",
                "1:131: ready is one thing: tcp, unix, file or command",
            ],
        ),
        (
            "nodes: {one: {services: [{name: a, run: [b], restart: always, ready: done, env: {A=B: c}}]}}",
            &[
                "1:70: a service that is always restarted is never done (write restart: never)",
                r#"1:82: "A=B" is no name for a variable"#,
            ],
        ),
    ]);
}

#[test]
fn a_tunnel_end_has_no_room_for_another_charon_or_its_device() {
    assert_said(&[(
        concat!(
            "segments: {a: 10.0.0.0/24}\n",
            "nodes: {x: {interfaces: {a: 10.0.0.1}, services: [{name: charon, run: [b]}]},\n  ",
            "y: {interfaces: {a: {address: 10.0.0.2, name: ipsec0}}}}\n",
            "tunnels: {t: {ipsec: {between: [x, y], carry: [10.1.0.0/16, 10.2.0.0/16]}}}"
        ),
        &[
            "2:58: a tunnel end has a service charon already (call yours something else)",
            "3:49: a tunnel end has an interface ipsec0 already (strongSwan's is called that: call yours otherwise)",
        ],
    )]);
}

#[test]
fn two_nodes_have_one_tunnel_at_most_between_the_same_addresses() {
    assert_said(&[(
        concat!(
            base!(),
            "\ntunnels: {t: {ipsec: {between: [x, y], carry: [10.1.0.0/16, 10.2.0.0/16]}}, ",
            "u: {ipsec: {between: [y, x], carry: [10.3.0.0/16, 10.4.0.0/16]}}}"
        ),
        &[
            "3:77: there is a tunnel between 10.0.0.1 and 10.0.0.2 already (let the first one carry what both should)",
        ],
    )]);
}

#[test]
fn tunnels_are_checked() {
    assert_said(&[
        (
            "nodes: {one: {}}\ntunnels: {t: {openvpn: {}}}",
            &[
                "2:14: a tunnel is of one kind, and this one of 0 (write ipsec or wireguard)",
                "2:15: unknown key openvpn in a tunnel (there are ipsec, wireguard)",
            ],
        ),
        (
            "nodes: {one: {}}\ntunnels: {t: {ipsec: {between: [one]}}}",
            &["2:32: between has 1 of two values, one for each end"],
        ),
        (
            concat!(base!(), "\ntunnels: {t: {ipsec: {between: [x, z], carry: [a, b]}}}"),
            &["3:36: unknown node z (there are x, y, lonely, twice, six)"],
        ),
        (
            concat!(base!(), "\ntunnels: {t: {ipsec: {between: [x, x], carry: [a, b]}}}"),
            &["3:36: both ends are x"],
        ),
        (
            concat!(base!(), "\ntunnels: {t: {ipsec: {between: [x, lonely], carry: [a, b]}}}"),
            &[
                "3:33: a tunnel end with no address: x shares no segment with the other end and has no gateway (write {node: x, address: …})",
                "3:36: a tunnel end with no address: lonely shares no segment with the other end and has no gateway (write {node: lonely, address: …})",
            ],
        ),
        (
            concat!(base!(), "\ntunnels: {t: {ipsec: {between: [x, twice], carry: [a, b]}}}"),
            &[
                "3:36: a tunnel end with no address: twice could use 10.0.0.3 or 10.0.0.4 (write {node: twice, address: …})",
            ],
        ),
        (
            concat!(
                base!(),
                "\ntunnels: {t: {ipsec: {between: [{node: x, address: 10.0.0.9}, y], carry: [a, b]}}}"
            ),
            &["3:52: 10.0.0.9 is no address of x (x has 10.0.0.1)"],
        ),
        (
            concat!(base!(), "\ntunnels: {t: {ipsec: {between: [x, y], carry: [a, a]}}}"),
            &["3:51: 10.0.0.0/24 is behind both ends"],
        ),
        (concat!(base!(), "\ntunnels: {t: {ipsec: {between: [x, y]}}}"), &[]),
        (
            concat!(
                base!(),
                "\ntunnels: {t: {ipsec: {between: [x, y], carry: [[], 10.1.0.0/16]}}}"
            ),
            &[
                "3:48: carry names nothing behind this end (leave carry out for what the two ends send each other)",
            ],
        ),
        (
            concat!(
                base!(),
                "\ntunnels: {t: {ipsec: {between: [x, y], carry: [10.1.0.1/16, 'fd00::/64']}}}"
            ),
            &[
                "3:48: 10.1.0.1/16 has host bits set (write 10.1.0.0/16)",
                "3:48: the tunnel carries nothing: one end is IPv4, the other IPv6",
            ],
        ),
        (
            concat!(
                base!(),
                "\ntunnels: {t: {ipsec: {between: [x, y], carry: [a, c], auth: psk, ike: 'aes128; evil'}}}"
            ),
            &[
                r#"3:71: "aes128; evil" is no proposal (write aes256gcm16-prfsha384-ecp384 for example)"#,
            ],
        ),
    ]);
}

#[test]
fn what_is_special_to_ipsec_is_checked() {
    macro_rules! tunnel {
        ($more:literal) => {
            concat!(base!(), "\ntunnels: {t: {ipsec: {between: [x, y], ", $more, "}}}")
        };
    }
    assert_said(&[
        (
            tunnel!("auth: psk, start: demand, rekey: {ike: 10s, esp: 7d}, dpd: 1s, encap: true"),
            &[],
        ),
        (tunnel!("auth: {psk: 12345}"), &[]),
        (tunnel!("auth: pks"), &["3:46: auth is certificate, psk or {psk: TEXT}"]),
        (
            tunnel!("auth: {psk: ''}"),
            &[
                "3:52: a secret of 0 bytes is not possible (it has 1 to 256; write auth: psk to have one made)",
            ],
        ),
        (
            tunnel!("auth: {secret: a}"),
            &["3:46: auth has no psk", "3:47: unknown key secret in auth (there is only psk)"],
        ),
        (tunnel!("start: later"), &["3:47: unknown start later (there are up, demand)"]),
        (
            tunnel!("rekey: {ike: 9s, esp: 8d}"),
            &[
                "3:53: 9s is not possible (it is 10 to 604800 s)",
                "3:62: 8d is not possible (it is 10 to 604800 s)",
            ],
        ),
        (tunnel!("dpd: 10"), &["3:45: 10 is no time (write 10s, 5m, 4h or 1d)"]),
        (tunnel!("encap: maybe"), &["3:47: encap is true or false, not maybe"]),
        (
            concat!(base!(), "\ntunnels: {t: {ipsec: {between: [x, {node: y, nat: true}]}}}"),
            &[
                "3:51: nobody could find y (name it first: it must be the one that opens the tunnel)",
            ],
        ),
        (concat!(base!(), "\ntunnels: {t: {ipsec: {between: [{node: x, nat: true}, y]}}}"), &[]),
    ]);
}

#[test]
fn checks_are_checked() {
    assert_said(&[
        (
            concat!(base!(), "\nchecks: [{}]"),
            &[
                "3:10: the check names nothing to do (write ping, tcp, udp or http with from, only with on, tunnel, isolated, kill, cut, rekey or revoke)",
            ],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x}]"),
            &[
                "3:10: the check names nothing to do (write ping, tcp, udp or http with from, only with on, tunnel, isolated, kill, cut, rekey or revoke)",
            ],
        ),
        (
            concat!(base!(), "\nchecks: [{ping: x}]"),
            &["3:10: a check without from (write from: NODE)"],
        ),
        (concat!(base!(), "\nchecks: [{from: [], ping: x}]"), &["3:17: from names nothing"]),
        (
            concat!(base!(), "\nchecks: [{from: w, ping: v}]"),
            &[
                "3:17: unknown node w (there are x, y, lonely, twice, six)",
                "3:26: unknown node v (there are x, y, lonely, twice, six)",
            ],
        ),
        (
            concat!(base!(), "\nchecks: [{from: [x, y], ping: nobody}]"),
            &["3:31: unknown node nobody (there are x, y, lonely, twice, six)"],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x, ping: 10.0.0.300}]"),
            &[r#"3:26: "10.0.0.300" is no host (write an address or the name of a node)"#],
        ),
        (
            concat!(
                base!(),
                "\nchecks: [{from: x, ping: y, tcp: y:80}, {from: x, ping: y, on: a}]"
            ),
            &[
                "3:34: a check does one thing, not both ping and tcp (write a second check)",
                "3:64: a check does one thing, not both ping and on (write a second check)",
            ],
        ),
        (
            concat!(
                base!(),
                "\nchecks: [{from: x, tcp: y}, {from: x, tcp: y:0}, {from: x, tcp: 'y:99999'}]"
            ),
            &[
                "3:25: y is no host with a port (write 10.0.0.1:80, [fd00::1]:80 or a node's name with :80)",
                "3:44: y:0 is no host with a port (write 10.0.0.1:80, [fd00::1]:80 or a node's name with :80)",
                "3:65: y:99999 is no host with a port (write 10.0.0.1:80, [fd00::1]:80 or a node's name with :80)",
            ],
        ),
        (
            concat!(
                base!(),
                "\nchecks: [{from: x, http: 'https://y/'}, {from: x, http: 'http:///'}, {from: x, http: 'http://y/a b'}]"
            ),
            &[
                "3:26: https://y/ is no URL for a check (it begins with http://)",
                "3:57: http:/// is no URL for a check (write http://HOST:PORT/PATH)",
                "3:86: http://y/a b is no URL for a check (it has no blanks, user or fragment, and other letters are written %xx)",
            ],
        ),
        (
            concat!(
                base!(),
                "\nchecks: [{from: x, ping: y, expect: 200}, {from: x, http: 'http://y', expect: 99}, {from: x, ping: y, expect: answer}]"
            ),
            &[
                "3:37: only a check with http can expect a response (write blocked, dropped or rejected, or leave it out)",
                "3:79: 99 is no status of HTTP (it is 100 to 599)",
                "3:111: a check cannot expect answer (write blocked, dropped or rejected, for http a status like 200 or {status: 200, body: text}, for a tunnel down)",
            ],
        ),
        (
            concat!(
                base!(),
                "\nchecks: [{on: d, only: [ike, espp]}, {on: a}, {only: [esp]}, {on: a, only: [], from: x, expect: blocked}]"
            ),
            &[
                "3:15: unknown segment d (there are a, b, c, s)",
                "3:30: unknown protocol espp (did you mean esp?)",
                "3:38: the check does not say only what (write only: [ike, esp])",
                "3:47: a check without on (write on: SEGMENT)",
                "3:86: from means nothing in a check that listens",
                "3:97: expect means nothing in a check that listens",
            ],
        ),
        (
            concat!(
                base!(),
                "\nchecks: [{from: x, ping: y, timeout: 5}, {from: x, ping: y, timeout: 0s}, {from: x, ping: y, timeout: 2h}]"
            ),
            &[
                "3:38: 5 is no time (write 5s or 500ms; an hour is the most)",
                "3:70: 0s is no time (write 5s or 500ms; an hour is the most)",
                "3:103: 2h is no time (write 5s or 500ms; an hour is the most)",
            ],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x, ping: six}]"),
            &[
                "3:26: six has no address that can be asked from there (both need IPv4, or both IPv6)",
            ],
        ),
    ]);
}
