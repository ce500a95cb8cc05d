//! Checks of sources, tunnels and isolation.

use crate::assert_said;

#[test]
fn a_source_is_seen_by_somebody_and_of_one_family_with_the_target() {
    assert_said(&[
        (
            concat!(base!(), "\nchecks: [{from: x, ping: y, source: z}]"),
            &["3:37: unknown node z (there are x, y, lonely, twice, six)"],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x, ping: y, source: six}]"),
            &["3:37: six has no address of IPv4, which 10.0.0.2 is"],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x, ping: y, source: \"fd00::1\"}]"),
            &["3:37: fd00::1 has no address of IPv4, which 10.0.0.2 is"],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x, ping: 10.9.9.9, source: x}]"),
            &[
                "3:44: 10.9.9.9 is an address of no node: nobody sees the source (write seen-by: NODE)",
            ],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x, ping: y, source: x, seen-by: nobody}]"),
            &["3:49: unknown node nobody (there are x, y, lonely, twice, six)"],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x, ping: y, seen-by: y}]"),
            &["3:38: seen-by means nothing without source"],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x, ping: y, source: x, expect: dropped}]"),
            &["3:37: source means nothing where no answer is wanted"],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x, udp: y, expect: down}]"),
            &[
                "3:25: y is no host with a port (write 10.0.0.1:80, [fd00::1]:80 or a node's name with :80)",
                "3:36: only a tunnel can be expected to be down (write blocked, dropped or rejected)",
            ],
        ),
    ]);
}

#[test]
fn an_address_that_two_nodes_have_does_not_say_who_sees_the_source() {
    assert_said(&[(
        concat!(
            "segments: {a: 10.0.0.0/24, b: 10.0.0.0/24}\n",
            "nodes: {x: {interfaces: {a: 10.0.0.1}}, y: {interfaces: {b: 10.0.0.1}}}\n",
            "checks: [{from: x, ping: 10.0.0.1, source: x}]",
        ),
        &["3:44: 10.0.0.1 is an address of x and of y (write seen-by: NODE)"],
    )]);
}

#[test]
fn a_check_of_a_tunnel_names_a_tunnel_and_what_can_be_compared() {
    let tunnels = "\ntunnels: {t: {ipsec: {between: [x, y], carry: [10.1.0.0/16, 10.2.0.0/16]}}}\n";
    let said = |checks: &str, expected: &[&str]| {
        let yaml = format!("{}{tunnels}checks: [{checks}]", base!());
        assert_said(&[(yaml.as_str(), expected)]);
    };
    said("{tunnel: u}", &["4:19: unknown tunnel u (there is only t)"]);
    said("{tunnel: []}", &["4:19: tunnel names nothing"]);
    said(
        "{tunnel: t, expect: blocked}",
        &["4:30: a tunnel can only be expected to be down (leave it out for a tunnel that stands)"],
    );
    said(
        "{tunnel: t, expect: down, ike: aes256}",
        &["4:41: ike means nothing where the tunnel is down"],
    );
    said(
        "{tunnel: t, esp: aes257gcm16, from: x}",
        &[
            "4:27: \"aes257gcm16\" is no algorithm that can be compared (write a proposal like aes256gcm16-prfsha384-ecp384)",
            "4:46: from means nothing in a check of a tunnel",
        ],
    );
}

#[test]
fn a_check_of_isolation_names_nodes() {
    assert_said(&[
        (
            concat!(base!(), "\nchecks: [{isolated: [x, z]}, {isolated: all}]"),
            &["3:25: unknown node z (there are x, y, lonely, twice, six)"],
        ),
        (
            concat!(base!(), "\nchecks: [{isolated: x, expect: blocked, ping: y}]"),
            &["3:21: a check does one thing, not both ping and isolated (write a second check)"],
        ),
        (
            concat!(base!(), "\nchecks: [{isolated: x, expect: blocked, ike: aes256}]"),
            &[
                "3:32: expect means nothing in a check of isolation",
                "3:46: ike means nothing in a check of isolation",
            ],
        ),
    ]);
}

#[test]
fn a_check_that_disturbs_names_what_and_what_must_hold() {
    let tunnels = "\ntunnels: {t: {ipsec: {between: [x, y], carry: [10.1.0.0/16, 10.2.0.0/16]}}}\n";
    let said = |checks: &str, expected: &[&str]| {
        let yaml = format!("{}{tunnels}checks: [{checks}]", base!());
        assert_said(&[(yaml.as_str(), expected)]);
    };
    said("{kill: z}", &["4:17: unknown node z (there are x, y, lonely, twice, six)"]);
    said(
        "{kill: x, for: 2s, during: {from: x, http: 'http://y'}, timeout: 1s, expect: blocked}",
        &[
            "4:25: for means nothing in a check with kill",
            "4:37: during means nothing in a check with kill",
            "4:75: timeout means nothing in a check that disturbs (recover says how long it may take)",
            "4:87: expect means nothing in a check that disturbs",
        ],
    );
    said(
        "{cut: x}, {cut: 'x:b'}, {cut: 'w:a', recover: soon}",
        &[
            "4:16: x does not say which link is cut (write NODE:SEGMENT or NODE:INTERFACE)",
            "4:26: unknown link of x b (there are a, eth0)",
            "4:40: unknown node w (there are x, y, lonely, twice, six)",
            "4:56: soon is no time (write 5s or 500ms; an hour is the most)",
        ],
    );
    said(
        "{rekey: u}, {rekey: t, during: {from: x}, meanwhile: {from: x, ping: y}}",
        &[
            "4:18: unknown tunnel u (there is only t)",
            "4:41: during has no http",
            "4:63: meanwhile means nothing in a check with rekey",
        ],
    );
    said(
        "{kill: x, then: [near, far]}, {from: x, ping: y, name: near}",
        &[
            "4:33: no check that asks or is of a tunnel is called \"far\" (write the name or group of another check)",
        ],
    );
    said(
        "{kill: x, meanwhile: [{kill: y}, {on: a, only: []}, {from: x, ping: z}], recover: 1s}",
        &[
            "4:39: kill means nothing within another check",
            "4:57: only means nothing within another check (all segments that a check names are listened to anyway)",
            "4:78: unknown node z (there are x, y, lonely, twice, six)",
        ],
    );
    said(
        "{kill: x, ping: y}",
        &["4:17: a check does one thing, not both ping and kill (write a second check)"],
    );
    said(
        "{revoke: [x, z, lonely]}, {revoke: []}, {revoke: y, during: {from: x, http: 'http://y'}}",
        &[
            "4:23: unknown node z (there are x, y, lonely, twice, six)",
            "4:26: lonely has no certificate that could be revoked (name an end of an IPsec tunnel without auth: psk)",
            "4:45: revoke names nothing",
            "4:70: during means nothing in a check with revoke",
        ],
    );
    said(
        "{revoke: x, kill: y}",
        &["4:19: a check does one thing, not both kill and revoke (write a second check)"],
    );
    said("{ping: y, from: x, then: a}", &["4:35: then means nothing in a check that asks"]);
}
