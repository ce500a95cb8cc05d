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
