//! The way out to the world, and what is published.

use crate::assert_said;

#[test]
fn published_ports_are_checked() {
    assert_said(&[
        (
            "nodes: {a: {publish: [x, 8080:80/sctp, 1:2:3, 0:80]}}",
            &[
                "1:23: x is no port (write a number up to 65535, or a range like 8000-8080)",
                "1:26: 8080:80/sctp is nothing to publish (write 8080:80, 127.0.0.1:8080:80, [::1]:8443:443 or 5353:53/udp)",
                "1:40: 1:2:3 is nothing to publish (write 8080:80, 127.0.0.1:8080:80, [::1]:8443:443 or 5353:53/udp)",
                "1:47: 0 is no port (write a number up to 65535, or a range like 8000-8080)",
            ],
        ),
        (
            "nodes: {a: {publish: ['300.0.0.1:80:80', '[::x]:80:80', '224.0.0.1:80:80']}}",
            &[
                "1:23: 300.0.0.1 is no address of a host (write 8080:80, 127.0.0.1:8080:80, [::1]:8443:443 or 5353:53/udp)",
                "1:42: ::x is no address of a host (write 8080:80, 127.0.0.1:8080:80, [::1]:8443:443 or 5353:53/udp)",
                "1:57: 224.0.0.1 is no address of a host (write 8080:80, 127.0.0.1:8080:80, [::1]:8443:443 or 5353:53/udp)",
            ],
        ),
        (
            "nodes: {a: {publish: [8000-8010:80-81]}}",
            &[
                "1:23: 8000-8010:80-81 joins unlike ranges (as many ports of the node as of the host: 9000-9010:9000-9010)",
            ],
        ),
        (
            "nodes: {a: {publish: [8080:80, 8080/udp]}, b: {publish: ['127.0.0.2:8079-8081:79-81']}}",
            &[
                "1:58: port 8080/tcp of the host is published twice (it leads to one port of one node, whatever the address)",
            ],
        ),
        ("nodes: {a: {publish: [1-1000, 1001]}}", &["1:31: more than 1000 ports are published"]),
    ]);
}

#[test]
fn the_way_out_is_called_uplink_and_nothing_else_is() {
    assert_said(&[
        (
            "segments: {uplink: 10.0.0.0/24}\nnodes: {a: {uplink: true, interfaces: {uplink: 10.0.0.1}}}",
            &[
                "1:12: a segment cannot be called uplink here (in a lab with uplink or publish, the way out is called that)",
            ],
        ),
        (
            "segments: {s: {}}\nnodes: {a: {publish: 80, interfaces: {s: {name: uplink}}}}",
            &[
                "2:49: an interface cannot be called uplink here (in a lab with uplink or publish, the way out is called that)",
            ],
        ),
        ("segments: {uplink: 10.0.0.0/24}\nnodes: {a: {interfaces: {uplink: 10.0.0.1}}}", &[]),
        ("segments: {s: {}}\nnodes: {a: {uplink: false, interfaces: {s: {name: uplink}}}}", &[]),
        ("nodes: {a: {uplink: maybe}}", &["1:21: uplink is true or false, not maybe"]),
        (
            "nodes: {a: {nat: [{masquerade: uplink}]}}",
            &["1:32: a has no interface or segment uplink"],
        ),
        (
            "segments: {s: 100.64.0.0/10}\nnodes: {a: {uplink: true}}",
            &[
                "2:9: there are no addresses left for the way out of a (it takes a /23 of 100.64.0.0/10 that is in no prefix of the lab)",
            ],
        ),
    ]);
}
