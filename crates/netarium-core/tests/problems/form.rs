//! The form of the file: YAML, keys, kinds of values, names.

use crate::assert_said;

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
            "engine: dokcer\nnodes: {one: {}}",
            &["1:9: unknown engine dokcer (did you mean docker?)"],
        ),
        (
            "engine: podman\nnodes: {one: {}}",
            &["1:9: unknown engine podman (there are native, docker)"],
        ),
        ("engine: [docker]\nnodes: {one: {}}", &["1:9: engine must be one value, not a list"]),
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
                "1:64: unknown key wait in a service (there are name, run, env, folder, user, after, restart, ready, stop)",
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
                "2:1: unknown key x-y in the lab (there are name, engine, network, image, images, segments, nodes, tunnels, checks)",
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
