//! What an engine's own networks cannot be: `network: engine`.

use crate::assert_said;

#[test]
fn whose_the_segments_are_is_a_choice() {
    assert_said(&[
        (
            "network: docker\nnodes: {one: {}}",
            &["1:10: unknown network docker (there are own, engine)"],
        ),
        ("network: own\nsegments: {a: {}, b: 10.0.0.0/8, c: 10.0.0.0/8}\nnodes: {one: {}}", &[]),
    ]);
}

#[test]
fn limits_of_networks_are_told_at_their_segments() {
    assert_said(&[
        (
            "network: engine\nsegments: {a: {}, b: {prefix: 10.0.0.0/24, driver: veth}, c: 'fd00::/64'}\nnodes: {one: {}}",
            &[
                "2:12: segment a has no IPv4 prefix, and Docker would choose one (give the segment a prefix, 10.0.0.0/24 for example)",
                "2:19: segment b has 0 of two interfaces (a veth segment is a cable: for more, write driver: bridge)",
                "2:19: segment b is a veth pair, and Docker has no such network (write `driver: macvlan` or `driver: bridge`)",
                "2:59: segment c has no IPv4 prefix, and Docker would choose one (give the segment a prefix, 10.0.0.0/24 for example)",
            ],
        ),
        (
            "network: engine\nsegments: {a: 10.0.0.0/8, b: 10.1.0.0/16}\nnodes: {one: {}}",
            &[
                "2:27: 10.1.0.0/16 of segment b overlaps with 10.0.0.0/8 of segment a, which Docker refuses (`network: own` has no such limit)",
            ],
        ),
        (
            "network: engine\nsegments: {a: [10.0.0.0/24, 10.1.0.0/24]}\nnodes: {one: {}}",
            &[
                "2:12: segment a has several prefixes of one family, and Docker gives an interface one address of each (`network: own` has no such limit)",
            ],
        ),
        (
            "network: engine\nsegments: {a: 10.0.0.0/30}\nnodes: {one: {interfaces: {a: 10.0.0.1}}, two: {interfaces: {a: 10.0.0.2}}}",
            &[
                "2:12: Docker keeps an address of 10.0.0.0/30 for a gateway, and segment a has none left (give the segment a larger prefix)",
            ],
        ),
        (
            "network: engine\nsegments: {a: 10.0.0.0/24, b: 10.1.0.0/24, c: 10.2.0.0/24}\nnodes:\n  \
             one: {interfaces: {a: 10.0.0.1, b: 10.1.0.1}}\n  two: {interfaces: {b: 10.1.0.2, c: 10.2.0.2}}\n  \
             six: {interfaces: {c: 10.2.0.6, a: 10.0.0.6}}",
            &[
                "2:12: Docker numbers the interfaces of all nodes in one order of networks, and there is none that fits all for a, b, c (write these segments in the same order in every node, or: `network: own` has no such limit)",
            ],
        ),
    ]);
}

#[test]
fn limits_of_interfaces_are_told_at_their_place_and_all_at_once() {
    assert_said(&[(
        "network: engine\nsegments: {a: [10.0.0.0/24, 'fd00::/64'], b: {prefix: 10.1.0.0/24, mtu: 1400}}\nnodes:\n  one:\n    interfaces:\n      \
         - {segment: a, name: lan0, address: 10.0.0.1}\n      - {segment: a, address: 'fd00::2'}\n      \
         - {segment: b, address: 10.1.0.1, mac: '02:00:00:00:00:01', mtu: 1300}",
        &[
            "6:28: lan0 of one would be eth0: Docker before 28 takes no names for interfaces (leave the name out)",
            "7:19: eth1 of one has no IPv4 address, and Docker would choose one (give it an address)",
            "7:19: one is on segment a twice, and Docker takes a container once (`network: own` has no such limit)",
            "8:19: eth2 of one has a MAC of its own, which Docker 20.10 ignores (`network: own` has no such limit)",
            "8:19: eth2 of one has an mtu of 1300, and Docker gives all interfaces that of their network (give the segment that mtu)",
        ],
    )]);
}
