//! Images, segments, addresses, interfaces, routes.

use crate::assert_said;

#[test]
fn images_are_checked() {
    assert_said(&[
        ("image: bas\nnodes: {one: {}}", &["1:8: unknown image bas (did you mean base?)"]),
        (
            "nodes: {one: {image: vpn}}\nimages: {vpm: {packages: [curl]}}",
            &["1:22: unknown image vpn (did you mean vpm?)"],
        ),
        (
            "image: Debian:12\nnodes: {one: {image: debian}, two: {image: 'a/b:'}}",
            &[
                r#"1:8: "Debian:12" is no image: "Debian" has capital letters (write debian)"#,
                "2:22: unknown image debian (there are base, host; debian:latest would be that of a registry)",
                r#"2:44: "a/b:" is no image: "" is no tag (a tag is made of letters, digits, -, _ and ., does not begin with - or ., and has at most 128 characters)"#,
            ],
        ),
        (
            "images: {a: {from: 'x:1', suite: sid}, b: {from: 'x:1', platform: arm}, c: {platform: linux/arm64}}\nnodes: {one: {}}",
            &[
                "1:34: an image that others have made has no suite and no packages (leave out from, or all else but platform)",
                r#"1:67: "arm" is no platform (write linux/amd64 or linux/arm64)"#,
                "1:87: platform is for images that others have made (write from, or leave platform out)",
            ],
        ),
        (
            "nodes: {a: {image: 'oci-archive:/x.tar'}, b: {image: 'docker-archive:../x'}, c: {image: 'docker-daemon:A b'}, d: {image: 'oci-archive:'}}",
            &[
                "1:20: /x.tar is absolute (archives are in the folder of the lab file, ./image.tar)",
                "1:54: ../x leads out of its folder (archives are in the folder of the lab file, ./image.tar)",
                r#"1:89: "A b" is no image: "A b" has capital letters (write a b)"#,
                "1:122:  is no path (archives are in the folder of the lab file, ./image.tar)",
            ],
        ),
        (
            "images: {base: {}}\nnodes: {one: {}}",
            &["1:10: the image base is built in (call yours something else)"],
        ),
        (
            "images: {a: {suite: Bookworm 12, packages: [a, 'b c', Curl]}}\nnodes: {one: {}}",
            &[
                r#"1:21: "Bookworm 12" is no Debian release (a release is a word like bookworm)"#,
                r#"1:45: "a" is no Debian package (a package is made of a-z, 0-9, +, - and ., and has two letters at least)"#,
                r#"1:48: "b c" is no Debian package (a package is made of a-z, 0-9, +, - and ., and has two letters at least)"#,
                r#"1:55: "Curl" is no Debian package (a package is made of a-z, 0-9, +, - and ., and has two letters at least)"#,
            ],
        ),
    ]);
}

#[test]
fn segments_are_checked() {
    assert_said(&[
        (
            "segments: {a: 10.0.0.1/24}\nnodes: {one: {}}",
            &["1:15: 10.0.0.1/24 has host bits set (write 10.0.0.0/24)"],
        ),
        (
            "segments: {a: 10.0.0.0}\nnodes: {one: {}}",
            &["1:15: 10.0.0.0 is no prefix, it has no length (write 10.0.0.0/24 for example)"],
        ),
        (
            "segments: {a: 10.0.0.0/33}\nnodes: {one: {}}",
            &["1:15: 10.0.0.0/33 is no prefix (write 10.0.0.0/24 or fd00::/64)"],
        ),
        (
            "segments: {a: [10.0.0.0/8, 10.1.0.0/16]}\nnodes: {one: {}}",
            &["1:28: 10.0.0.0/8 and 10.1.0.0/16 overlap"],
        ),
        (
            "segments: {a: 127.0.0.0/8, b: 224.0.0.0/4, c: '::/0'}\nnodes: {one: {}}",
            &[
                "1:15: 127.0.0.0/8 cannot be the prefix of a segment",
                "1:31: 224.0.0.0/4 cannot be the prefix of a segment",
                "1:47: ::/0 cannot be the prefix of a segment",
            ],
        ),
        (
            "segments: {a: {prefix: 10.0.0.0/24, mtu: 67}, b: {mtu: 65536}, c: {prefix: 'fd00::/64', mtu: 1000}}\nnodes: {one: {}}",
            &[
                "1:42: an mtu of 67 is not possible (it is at least 68 bytes)",
                "1:56: an mtu of 65536 is not possible (it is at most 65535 bytes)",
                "1:94: an mtu of 1000 is not possible (with IPv6 it is at least 1280 bytes)",
            ],
        ),
        (
            "segments: {a: {driver: macvlann}}\nnodes: {one: {}}",
            &["1:24: unknown driver macvlann (did you mean macvlan?)"],
        ),
        (
            "segments: {a: {prefix: 10.0.0.0/24, prefixes: [10.0.1.0/24]}}\nnodes: {one: {}}",
            &["1:47: prefix and prefixes are one and the same: write one"],
        ),
        (
            "segments: {a: {prefix: 10.0.0.0/24, driver: veth}}\nnodes: {one: {interfaces: {a: 10.0.0.1}}}",
            &[
                "1:12: segment a has 1 of two interfaces (a veth segment is a cable: for more, write driver: bridge)",
            ],
        ),
    ]);
}

#[test]
fn addresses_are_checked() {
    assert_said(&[
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {b: 10.0.0.1}}}",
            &["2:28: unknown segment b (there is only a)"],
        ),
        (
            "segments: {internet-a: 10.0.0.0/24}\nnodes: {one: {interfaces: {internet-x: 10.0.0.1}}}",
            &["2:28: unknown segment internet-x (did you mean internet-a?)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.1.1}}}",
            &["2:31: 10.0.1.1 is outside of segment a (segment a has 10.0.0.0/24)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1/16}}}",
            &["2:31: 10.0.0.1 is on 10.0.0.0/24, which has another length (write 10.0.0.1)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.0}}, two: {interfaces: {a: 10.0.0.255}}}",
            &[
                "2:31: 10.0.0.0 is no address for a node (it is the network address of 10.0.0.0/24)",
                "2:65: 10.0.0.255 is no address for a node (it is the broadcast address of 10.0.0.0/24)",
            ],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.300}}}",
            &["2:31: 10.0.0.300 is no address (write 10.0.0.1 or fd00::1)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}}, two: {interfaces: {a: 10.0.0.1}}}",
            &["2:65: 10.0.0.1 is taken on segment a (one has it)"],
        ),
        (
            "segments: {a: {}}\nnodes: {one: {interfaces: {a: 10.0.0.1}}}",
            &[
                "2:31: segment a has no prefix, so 10.0.0.1 needs a length (write 10.0.0.1/24 for example)",
            ],
        ),
        (
            "segments: {a: }\nnodes: {one: {interfaces: {a: 127.0.0.1/8}}}",
            &["2:31: 127.0.0.1 is no address for a node (no interface can have it)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1, a: 10.0.0.2}}}",
            &["2:41: segment a is there twice (write [{segment: a, address: …}, …])"],
        ),
    ]);
}

#[test]
fn interfaces_are_checked() {
    assert_said(&[
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: {address: 10.0.0.1, name: sixteen-letters-}}}}",
            &[
                r#"2:57: "sixteen-letters-" is no name for an interface (an interface name has 1 to 15 bytes)"#,
            ],
        ),
        (
            "segments: {a: 10.0.0.0/24, b: 10.1.0.0/24}\nnodes: {one: {interfaces: {a: {name: eth1}, b: {}}}}",
            &[
                "2:45: two interfaces of one are called eth1 (without a name they are eth0, eth1, … in the order written)",
            ],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: {mac: 01:00:00:00:00:01}}}}",
            &[
                "2:37: 01:00:00:00:00:01 is no MAC address for an interface (a group address or 00:00:00:00:00:00 cannot be the MAC address of an interface)",
            ],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: {mac: 02:00:00:00:00:01}}}, two: {interfaces: {a: {mac: 02-00-00-00-00-01}}}}",
            &["2:87: 02:00:00:00:00:01 is taken on segment a (one has it)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: {address: 10.0.0.1, mtu: 9000}}}}",
            &["2:56: an mtu of 9000 is more than segment a has (segment a has 1500)"],
        ),
        (
            "segments: {a: 'fd00::/64'}\nnodes: {one: {interfaces: {a: {address: 'fd00::1', mtu: 1000}}}}",
            &["2:57: an mtu of 1000 is not possible (with IPv6 it is at least 1280 bytes)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: [{segment: a, address: 10.0.0.1}, {address: 10.0.0.2}]}}",
            &["2:61: an interface has no segment"],
        ),
    ]);
}

#[test]
fn routes_are_checked() {
    assert_said(&[
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}, gateway: 10.9.0.1}}",
            &["2:51: gateway 10.9.0.1 is on no segment of one (one is on 10.0.0.0/24)"],
        ),
        (
            "segments: {a: 10.0.0.0/24, b: 10.9.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}, gateway: 10.9.0.1}}",
            &[
                "2:51: gateway 10.9.0.1 is on no segment of one (segment b has it: give one an address there)",
            ],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}, gateway: 10.0.0.1}}",
            &["2:51: gateway 10.0.0.1 is one's own address"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}, gateway: router}}",
            &["2:51: router is no address (a gateway is an address like 10.0.0.1)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}, gateway: [10.0.0.2, 10.0.0.3]}}",
            &["2:62: there is already a route to 0.0.0.0/0"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}, routes: [{to: 10.0.0.0/24, via: 10.0.0.2}]}}",
            &["2:56: one is on 10.0.0.0/24 already (eth0 leads there)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}, routes: [{to: 10.1.0.0/8, via: eth1}]}}",
            &[
                "2:56: 10.1.0.0/8 has host bits set (write 10.0.0.0/8)",
                "2:73: one has no interface eth1 (did you mean eth0?)",
            ],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}, routes: [{to: 'fd00::/8', via: 10.0.0.2}, {to: default, via: eth0}]}}",
            &[
                "2:73: fd00::/8 cannot be reached via 10.0.0.2 (one is IPv4, the other IPv6)",
                "2:89: default is no prefix (write gateway: ADDRESS, or to: 0.0.0.0/0 or ::/0)",
            ],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: 10.0.0.1}, routes: [{to: 10.0.0.0/8, via: unreachabel}]}}",
            &["2:73: one has no interface unreachabel (did you mean unreachable?)"],
        ),
        (
            "nodes: {one: {gateway: 10.0.0.1}}",
            &["1:24: gateway 10.0.0.1 is on no segment of one (one has no address at all)"],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {b: 10.0.0.1}, gateway: 10.0.0.2}}",
            &["2:28: unknown segment b (there is only a)"],
        ),
    ]);
}
