//! What a node runs by itself, how programs are watched and stopped, order between nodes, names.

use crate::assert_said;

#[test]
fn what_a_node_runs_by_itself_is_checked() {
    assert_said(&[
        (
            "nodes: {one: {command: sleep 9}}",
            &["1:24: command must be a list of words (there is no shell: write [sleep, 9])"],
        ),
        (
            "nodes: {one: {entrypoint: [''], command: [\"a\\0\"]}}",
            &[
                "1:28: the program to run has no name",
                "1:43: an argument cannot have a NUL character in it",
            ],
        ),
        (
            "nodes: {one: {env: {A=B: c}, folder: srv, user: a b, restart: no}}",
            &[
                "1:20: env is about a program of the node's own, and it has none (write command, or put it into a service)",
                r#"1:21: "A=B" is no name for a variable"#,
                "1:38: srv is no absolute path (it begins with /)",
                r#"1:49: user "a b" is no user (write user or user:group, by name or number)"#,
                "1:63: unknown restart no (there are never, on-failure, always)",
            ],
        ),
        (
            "nodes: {one: {command: [a], services: [{name: main, run: [b]}, {name: c, run: [c], after: main}]}}",
            &["1:47: the node's own program is the service main (give this one another name)"],
        ),
        (
            "nodes: {one: {services: [{name: c, run: [c], after: main}]}}",
            &["1:53: unknown service main (there is only c)"],
        ),
        (
            "nodes: {one: {environment: {A: b}}}",
            &["1:15: unknown key environment in a node (did you mean env?)"],
        ),
    ]);
}

#[test]
fn how_a_program_is_watched_and_stopped_is_checked() {
    assert_said(&[
        (
            "nodes: {one: {command: [a], ready: {command: look, interval: 5, retries: 0}}}",
            &["1:46: command must be a list of words (there is no shell: write [look])"],
        ),
        (
            "nodes: {one: {command: [a], ready: {command: [look], interval: 5, timeout: 0s, retries: 0, start-period: 2h}}}",
            &[
                "1:64: 5 is no time (write 5s or 500ms; an hour is the most)",
                "1:76: 0s is no time (write 5s or 500ms; an hour is the most)",
                "1:89: a service that may not fail once (1 is the least: the first failure counts)",
                "1:106: 2h is no time (write 5s or 500ms; an hour is the most)",
            ],
        ),
        (
            "nodes: {one: {command: [a], ready: {tcp: 1, command: [b]}}}",
            &["1:36: ready is one thing: tcp, unix, file or command"],
        ),
        (
            "nodes: {one: {command: [a], ready: {tcp: 1, interval: 1s}}}",
            &["1:45: unknown key interval in ready (there are tcp, unix, file, command)"],
        ),
        (
            "nodes: {one: {command: [a], stop: {signal: SIGHOP, grace: 1}}}",
            &[
                "1:44: there is no signal SIGHOP (write SIGINT or a number for example)",
                "1:59: 1 is no time (write 5s or 500ms; an hour is the most)",
            ],
        ),
        (
            "nodes: {one: {services: [{name: a, run: [a], stop: {signal: 0}}]}}",
            &["1:61: there is no signal 0 (write SIGINT or a number for example)"],
        ),
        (
            "nodes: {one: {command: [a], stop: SIGINT}}",
            &["1:35: stop must be a table, not one value"],
        ),
    ]);
}

#[test]
fn order_between_nodes_is_checked() {
    assert_said(&[
        (
            "nodes: {one: {after: twi}, two: {after: {one: finished}}}",
            &[
                "1:22: unknown node twi (did you mean two?)",
                "1:47: unknown condition finished (there are started, ready, done)",
            ],
        ),
        ("nodes: {one: {after: one}}", &["1:22: one waits for itself"]),
        (
            "nodes: {a: {after: b}, b: {after: {c: started}}, c: {after: [a]}, d: {after: a}}",
            &["1:20: a, b, c wait for each other"],
        ),
        ("nodes: {a: {after: [b, b]}, b: {}}", &["1:24: b is there twice"]),
        (
            "nodes: {a: {after: {b: done}}, b: {services: [{name: x, run: [x]}]}}",
            &[
                "1:24: b runs nothing of its own that could be done (what its key command runs would be that)",
            ],
        ),
        (
            "nodes: {a: {after: {b: done}}, b: {command: [x], restart: always}}",
            &["1:24: b is always started again, so it is never done (write restart: never there)"],
        ),
    ]);
}

#[test]
fn names_and_name_servers_are_checked() {
    assert_said(&[
        (
            "nodes: {one: {hostname: a b, aliases: [two, -x, localhost]}, two: {}}",
            &[
                r#"1:25: "a b" is no name for a host (write letters, digits, - and _, with dots between them)"#,
                "1:40: two is the name of another node",
                r#"1:45: "-x" is no name for a host (write letters, digits, - and _, with dots between them)"#,
                r#"1:49: "localhost" is no name for a host (every node calls itself that)"#,
            ],
        ),
        (
            "nodes: {one: {hosts: {db: [10.0.0.1, x]}, dns: {search: [a.b], options: ['a b']}}}",
            &[
                "1:38: x is no address",
                "1:48: dns names no server (write dns: 10.0.0.53)",
                r#"1:74: "a b" is no option (write ndots:2 for example, as resolv.conf(5) has it)"#,
            ],
        ),
        ("nodes: {one: {dns: x}}", &["1:20: x is no address"]),
    ]);
}

#[test]
fn folders_in_memory_are_checked() {
    assert_said(&[(
        "nodes: {one: {volumes: [{memory: 64M, target: /x}, {memory: 1MiB, source: y, target: /y}, {target: /z}]}}",
        &[
            "1:34: 64M is no limit (write 64MiB, 1GiB or a number of bytes)",
            "1:75: a volume has a source or memory",
            "1:91: a volume has no source",
        ],
    )]);
}
