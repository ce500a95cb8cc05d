//! The words and places of problems: one line of file, and what is said about it.

use netarium_core::problem::Problem;
use netarium_core::resolve::load;

fn problems(bytes: &[u8]) -> Vec<Problem> {
    load(bytes, "test").err().unwrap_or_default()
}

/// Three nodes that share a segment, one apart, one with IPv6 only.
macro_rules! base {
    () => {
        concat!(
            "segments: {a: 10.0.0.0/24, b: 10.1.0.0/24, c: 10.2.0.0/24, s: \"fd00::/64\"}\n",
            "nodes: {x: {interfaces: {a: 10.0.0.1}}, y: {interfaces: {a: 10.0.0.2}}, ",
            "lonely: {interfaces: {b: 10.1.0.1}}, twice: {interfaces: {a: [10.0.0.3, 10.0.0.4]}}, ",
            "six: {interfaces: {s: \"fd00::1\"}}}"
        )
    };
}

/// Asserts that each lab file has exactly these problems.
fn assert_said(cases: &[(&str, &[&str])]) {
    let mut wrong = String::new();
    for (yaml, expected) in cases {
        let said: Vec<String> = problems(yaml.as_bytes()).iter().map(ToString::to_string).collect();
        if said != *expected {
            wrong.push_str(&format!("{yaml}\nsays {said:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_file_without_a_lab_is_refused() {
    assert_said(&[
        (
            "",
            &[
                "the file is empty (the smallest lab is `nodes: {one: {}}`; `netarium schema` describes the rest)",
            ],
        ),
        (
            "# nothing\n",
            &[
                "the file is empty (the smallest lab is `nodes: {one: {}}`; `netarium schema` describes the rest)",
            ],
        ),
        (
            "---\n",
            &[
                "the file is empty (the smallest lab is `nodes: {one: {}}`; `netarium schema` describes the rest)",
            ],
        ),
        (
            "~",
            &[
                "the file is empty (the smallest lab is `nodes: {one: {}}`; `netarium schema` describes the rest)",
            ],
        ),
        ("just words", &["1:1: the lab must be a table, not one value"]),
        ("[a, b]", &["1:1: the lab must be a table, not a list"]),
        ("nodes:", &["the lab has no nodes (the smallest lab is `nodes: {one: {}}`)"]),
        (
            "name: x\nsegments: {a: 10.0.0.0/24}",
            &["the lab has no nodes (the smallest lab is `nodes: {one: {}}`)"],
        ),
    ]);
}

#[test]
fn broken_yaml_is_refused_with_its_place() {
    assert_said(&[
        ("nodes: {one: {}", &["1:8: this is no YAML: unclosed bracket '{'"]),
        (
            "nodes:\n\tone: {}",
            &[
                "2:2: this is no YAML: tabs disallowed within this context (block indentation) (indent with spaces)",
            ],
        ),
        ("nodes: {one: *two}", &["1:14: this alias names no anchor above it"]),
        ("nodes: &a {one: *a}", &["1:17: this alias stands inside of what it names"]),
        (
            "nodes: {one: {}}\n---\nnodes: {}",
            &[
                "2:1: a second YAML document begins here (one file is one lab: put it into a file of its own)",
            ],
        ),
        ("nodes: !lab {one: {}}", &["1:13: the tag !lab means nothing in a lab file"]),
        ("{[a]: b}", &["1:2: a key must be a word"]),
        (r#"nodes: "one"#, &["1:8: this is no YAML: unclosed quote"]),
        (
            "a: b: c",
            &[
                "1:5: this is no YAML: mapping values are not allowed in this context (put words with a colon and a space into quotes, and check the indentation)",
            ],
        ),
        (
            "%YAML 1.2\n---\nnodes: {one: {}}",
            &["1:1: this is no YAML: YAML directives are disallowed"],
        ),
        ("nodes: {one: {}, <<: 5}", &["1:22: << merges tables only"]),
    ]);
}

#[test]
fn unknown_and_repeated_keys_are_all_reported() {
    assert_said(&[
        (
            "nods: {one: {}}",
            &[
                "the lab has no nodes (the smallest lab is `nodes: {one: {}}`)",
                "1:1: unknown key nods in the lab (did you mean nodes?)",
            ],
        ),
        (
            "nodes: {one: {forwarding: true, gatway: 10.0.0.1}}",
            &[
                "1:15: unknown key forwarding in a node (did you mean forward?)",
                "1:33: unknown key gatway in a node (did you mean gateway?)",
            ],
        ),
        ("nodes: {one: {}}\nnodes: {two: {}}", &["2:1: the key nodes is there twice"]),
        ("nodes: {one: {}, two: {}, one: {}}", &["1:27: two nodes are called one"]),
        (
            "segments: {a: 10.0.0.0/24, a: 10.0.1.0/24}\nnodes: {one: {}}",
            &["1:28: two segments are called a"],
        ),
        (
            "segments: {a: {prefx: 10.0.0.0/24, mut: 5}}\nnodes: {one: {}}",
            &[
                "1:16: unknown key prefx in a segment (did you mean prefix?)",
                "1:36: unknown key mut in a segment (did you mean mtu?)",
            ],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: {addr: 10.0.0.1}}}}",
            &["2:32: unknown key addr in an interface (did you mean address?)"],
        ),
        (
            "nodes: {one: {limits: {cpu: 1}, services: [{name: a, run: [b], wait: c}]}}",
            &[
                "1:24: unknown key cpu in limits (did you mean cpus?)",
                "1:64: unknown key wait in a service (there are name, run, env, folder, after, restart, ready)",
            ],
        ),
        (
            "nodes: {one: {}}\nchecks: [{form: one, ping: one}]",
            &[
                "2:10: a check without from (write from: NODE)",
                "2:11: unknown key form in a check (did you mean from?)",
                "2:28: one has no address",
            ],
        ),
        (
            "nodes: {one: {}}\nx-y: 1",
            &[
                "2:1: unknown key x-y in the lab (there are name, image, images, segments, nodes, tunnels, checks)",
            ],
        ),
    ]);
}

#[test]
fn a_value_of_the_wrong_form_is_refused() {
    assert_said(&[
        ("nodes: 5", &["1:8: nodes must be a table, not one value (write {name: …})"]),
        ("nodes: [one]", &["1:8: nodes must be a table, not a list (write {name: …})"]),
        ("nodes: {one: 5}", &["1:14: a node must be a table, not one value"]),
        ("nodes: {one: {forward: yes}}", &["1:24: forward is true or false, not yes"]),
        ("nodes: {one: {forward: }}", &["1:22: forward has no value"]),
        (
            "nodes: {one: {interfaces: 5}}",
            &["1:27: interfaces must be a table, not one value (write {segment: address})"],
        ),
        ("nodes: {one: {interfaces: [a]}}", &["1:28: an interface must be a table, not one value"]),
        ("nodes: {one: {image: [a]}}", &["1:22: image must be one value, not a list"]),
        (
            "nodes: {one: {routes: {to: a}}}",
            &["1:23: routes must be a list, not a table (write [one, two])"],
        ),
        ("nodes: {one: {routes: [{to: 10.0.0.0/8}]}}", &["1:24: a route has no via"]),
        ("nodes: {one: {limits: 5}}", &["1:23: limits must be a table, not one value"]),
        ("nodes: {one: {limits: {pids: many}}}", &["1:30: pids many is no whole number"]),
        ("nodes: {one: {limits: {pids: 99999999999}}}", &["1:30: pids 99999999999 is too large"]),
        (
            "segments: 5\nnodes: {one: {interfaces: {a: 10.0.0.1}}}",
            &["1:11: segments must be a table, not one value (write {name: …})"],
        ),
    ]);
}

#[test]
fn names_are_checked() {
    assert_said(&[
        (
            "name: My Lab\nnodes: {one: {}}",
            &[
                r#"1:7: "My Lab" is no name for a lab: a name is made of a-z, 0-9 and -, and begins and ends with a letter or digit (write my-lab)"#,
            ],
        ),
        (
            "nodes: {gateway_a: {}}",
            &[
                r#"1:9: "gateway_a" is no name for a node: a name is made of a-z, 0-9 and -, and begins and ends with a letter or digit (write gateway-a)"#,
            ],
        ),
        (
            "nodes: {localhost: {}}",
            &["1:9: a node cannot be called localhost (every node calls itself that)"],
        ),
        (
            "segments: {A: 10.0.0.0/24}\nnodes: {one: {interfaces: {A: 10.0.0.1}}}",
            &[
                r#"1:12: "A" is no name for a segment: a name is made of a-z, 0-9 and -, and begins and ends with a letter or digit (write a)"#,
            ],
        ),
        ("nodes: {'': {}}", &[r#"1:9: "" is no name for a node: a name cannot be empty"#]),
    ]);
}

#[test]
fn images_are_checked() {
    assert_said(&[
        ("image: bas\nnodes: {one: {}}", &["1:8: unknown image bas (did you mean base?)"]),
        (
            "nodes: {one: {image: vpn}}\nimages: {vpm: {packages: [curl]}}",
            &["1:22: unknown image vpn (did you mean vpm?)"],
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
                "1:86: unknown readiness soon (there are started, done, {tcp: PORT}, {unix: PATH}, {file: PATH})",
            ],
        ),
        (
            "nodes: {one: {services: [{name: a, run: [b], ready: {tcp: 0}}, {name: b, run: [b], ready: {unix: x}}, {name: c, run: [''], ready: {tcp: 1, file: /x}}]}}",
            &[
                "1:59: there is no TCP port 0",
                "1:98: x is no absolute path (it begins with /)",
                "1:119: the program to run has no name",
                "1:131: ready is one thing: tcp, unix or file",
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
fn tunnels_are_checked() {
    assert_said(&[
        (
            "nodes: {one: {}}\ntunnels: {t: {wireguard: {}}}",
            &[
                "2:14: a tunnel has no ipsec",
                "2:15: unknown key wireguard in a tunnel (there is only ipsec)",
            ],
        ),
        (
            "nodes: {one: {}}\ntunnels: {t: {ipsec: {between: [one]}}}",
            &["2:22: ipsec has no carry", "2:32: between has 1 of two values, one for each end"],
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
                "3:61: auth psk is not to be had (certificate is the only one for now, and the default)",
                r#"3:71: "aes128; evil" is no proposal (write aes256gcm16-prfsha384-ecp384 for example)"#,
            ],
        ),
    ]);
}

#[test]
fn checks_are_checked() {
    assert_said(&[
        (
            concat!(base!(), "\nchecks: [{}]"),
            &[
                "3:10: the check names nothing to do (write ping, tcp or http with from, or only with on)",
            ],
        ),
        (
            concat!(base!(), "\nchecks: [{from: x}]"),
            &[
                "3:10: the check names nothing to do (write ping, tcp or http with from, or only with on)",
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
                "3:34: a check asks one thing (write a second check)",
                "3:57: a check asks or listens, not both (write a second check)",
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
                "3:37: only a check with http can expect a response (write blocked, or leave it out)",
                "3:79: 99 is no status of HTTP (it is 100 to 599)",
                "3:111: a check cannot expect answer (write blocked, or for http a status like 200 or {status: 200, body: text})",
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
                "3:38: 5 is no time for a check (write 2s or 500ms; an hour is the most)",
                "3:70: 0s is no time for a check (write 2s or 500ms; an hour is the most)",
                "3:103: 2h is no time for a check (write 2s or 500ms; an hour is the most)",
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

#[test]
fn what_follows_from_a_problem_is_not_reported_again() {
    assert_said(&[
        (
            "segments: {a: 10.0.0.1/33, b: {mtu: many}}\nnodes: {one: {interfaces: {a: 10.0.0.1, b: 10.0.0.1/24}, gateway: 10.0.0.2}}",
            &[
                "1:15: 10.0.0.1/33 is no prefix (write 10.0.0.0/24 or fd00::/64)",
                "1:37: mtu many is no whole number",
            ],
        ),
        (
            "segments: {a: 10.0.0.0/24}\nnodes: {one: {interfaces: {a: nonsense}, gateway: 10.0.0.2}}\nchecks: [{from: one, ping: one}]",
            &["2:31: nonsense is no address (write 10.0.0.1 or fd00::1)"],
        ),
        (
            "nodes: {one: 5}\nchecks: [{from: one, ping: one}]",
            &["1:14: a node must be a table, not one value"],
        ),
        (
            "nodes: 5\nchecks: [{from: one, ping: one}]",
            &["1:8: nodes must be a table, not one value (write {name: …})"],
        ),
        (
            "nodes: {A_B: {}, C_D: {}}\nchecks: [{from: A_B, ping: 10.0.0.1}]",
            &[
                r#"1:9: "A_B" is no name for a node: a name is made of a-z, 0-9 and -, and begins and ends with a letter or digit (write a-b)"#,
                r#"1:18: "C_D" is no name for a node: a name is made of a-z, 0-9 and -, and begins and ends with a letter or digit (write c-d)"#,
            ],
        ),
    ]);
}

#[test]
fn a_file_that_is_too_large_is_not_parsed() {
    let said = problems(&vec![b'['; 10 * 1024 * 1024]);
    let expected = "the file has 10485760 bytes, and a lab file has at most 1048576 (1 MiB)";
    assert_eq!(said.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_file_that_is_no_text_is_refused_with_the_place_of_the_first_wrong_byte() {
    let said = problems(b"nodes:\n  on\xffe: {}\n");
    assert_eq!(said[0].to_string(), "2:5: the file is not UTF-8 text");
}

#[test]
fn deep_nesting_is_refused() {
    for yaml in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(10_000)] {
        let said = problems(yaml.as_bytes());
        assert_eq!(said.len(), 1);
        assert!(said[0].message.contains("more than 32 deep"), "{}", said[0]);
    }
}

#[test]
fn aliases_that_explode_are_refused_before_they_do() {
    let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let last = level - 1;
        let aliases = vec![format!("*a{last}"); 10].join(", ");
        yaml.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let said = problems(yaml.as_bytes());
    assert_eq!(said[0].message, "the aliases of this file copy more than 100000 values");
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..1000 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(problems(chain.as_bytes())[0].message.contains("more than 32 deep"));
}

#[test]
fn a_problem_knows_the_words_at_fault_and_what_else_has_to_do_with_it() {
    let yaml = "nodes:\n  one: {}\n  one: {imagine: x}\n";
    let said = problems(yaml.as_bytes());
    assert_eq!(said[0].words.as_deref(), Some("one"));
    let place = said[0].place.unwrap();
    assert_eq!(&yaml[place.range()], "one");
    assert_eq!(said[0].note.as_ref().map(|note| note.place.line), Some(2));
}
