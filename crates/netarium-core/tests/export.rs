//! Labs as folders for Docker Compose: golden texts, and what is said that cannot be expressed.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;

use netarium_core::desired::desired;
use netarium_core::export::{Export, ExportedContent, export, portable};
use netarium_core::feature::Feature;
use netarium_core::image::Images;
use netarium_core::resolve::load;
use netarium_core::uplink::Outside;

fn exported(yaml: &[u8]) -> Export {
    let model = load(yaml, "lab").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let (model, notes) = portable(&model);
    let features = Feature::ALL.into_iter().collect();
    let outside =
        Outside { ways_out: [true, false], device: Some("eth0".to_owned()), ..Outside::default() };
    let objects = desired(&model, &features, &outside, &Images::new()).unwrap().objects;
    export(&model, &objects, notes)
}

fn texts(export: &Export) -> BTreeMap<&str, &str> {
    let files = export.files.iter();
    let texts = files.filter_map(|(path, file)| match &file.content {
        ExportedContent::Text(text) => Some((path.as_str(), text.as_str())),
        _ => None,
    });
    texts.collect()
}

const SITE_TO_SITE: &[u8] = include_bytes!("../../../labs/site-to-site/lab.yaml");
const SEGMENTS: &[u8] = include_bytes!("../../../labs/segments/lab.yaml");

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings
}

#[test]
fn a_lab_with_tunnels_has_its_golden_folder() {
    let export = exported(SITE_TO_SITE);
    let wanted = ["compose.yaml", ".env", "README.md"];
    let of_gateway = |path: &str| path.starts_with("nodes/gateway-a/") && path.ends_with(".sh");
    let mut text = String::new();
    for (path, content) in texts(&export) {
        if wanted.contains(&path) || of_gateway(path) {
            text.push_str(&format!("=== {path}\n{content}"));
        }
    }
    for (path, file) in &export.files {
        text.push_str(&format!("{:o} {path}\n", file.mode));
    }
    settings().bind(|| insta::assert_snapshot!("export.site-to-site", text));
    assert_eq!((export.credentials.len(), export.images.len()), (3, 1));
    assert!(export.authority.is_some());
}

#[test]
fn a_router_with_interfaces_of_all_kinds_has_its_golden_script() {
    let export = exported(SEGMENTS);
    let text = texts(&export)["nodes/router/start.sh"].to_owned();
    settings().bind(|| insta::assert_snapshot!("export.segments.router", text));
}

/// Says that exactly these notes are made of a lab.
fn assert_noted(cases: &[(&str, &[&str])]) {
    for (yaml, expected) in cases {
        let export = exported(yaml.as_bytes());
        let notes: Vec<&str> = export.notes.iter().map(String::as_str).collect();
        assert_eq!(notes, *expected, "{yaml}");
    }
}

#[test]
fn what_cannot_be_expressed_is_said() {
    assert_noted(&[
        ("nodes: {a: {}}", &[]),
        (
            "segments: {s: 10.0.0.0/24}\nnodes: {a: {interfaces: {s: 10.0.0.1}}, b: {interfaces: {s: 10.0.0.254}}}",
            &[],
        ),
        (
            "segments: {s: 10.0.0.0/8, t: 10.1.0.0/16}\nnodes: {a: {interfaces: {s: 10.0.0.1}}, b: {interfaces: {t: 10.1.0.1}}}",
            &[
                "segment t: Docker cannot be told 10.1.0.0/16, which overlaps with another or is full; the nodes have their addresses of it all the same",
            ],
        ),
        (
            "segments: {s: 10.0.0.0/30}\nnodes: {a: {interfaces: {s: 10.0.0.1}}, b: {interfaces: {s: 10.0.0.2}}}",
            &[
                "segment s: Docker cannot be told 10.0.0.0/30, which overlaps with another or is full; the nodes have their addresses of it all the same",
            ],
        ),
        (
            "segments: {s: {prefix: 10.0.0.0/24, driver: veth}}\nnodes: {a: {interfaces: {s: 10.0.0.1}}, b: {interfaces: {s: 10.0.0.2}}}",
            &["segment s is a bridge: Docker has no veth pairs"],
        ),
        (
            "segments: {s: 10.0.0.0/24}\nnodes: {a: {interfaces: [{segment: s, address: 10.0.0.1}, {segment: s, address: 10.0.0.2}]}}",
            &["node a: eth1 is left out: Docker puts a container on network s once"],
        ),
        (
            "segments: {s: 10.0.0.0/24}\nnodes: {a: {interfaces: {s: 10.0.0.1}, sysctls: {net.ipv4.conf.eth0.arp_ignore: 1, net.ipv4.ip_default_ttl: 9}}}",
            &[
                "node a: net.ipv4.conf.eth0.arp_ignore is left out, since Docker sets it before the interface has its name",
            ],
        ),
        (
            "nodes: {a: {nesting: true}}",
            &[
                "node a: its programs cannot make containers of their own, for which Docker Compose has no way but `privileged: true`",
            ],
        ),
        (
            "image: host\nnodes: {a: {}, b: {}}",
            &["a, b: the image host is this machine; base is in its place"],
        ),
        (
            "nodes: {a: {image: 'debian:12', command: [sleep, inf], ready: {command: [true]}}}",
            &[
                "node a: its script needs sh and ip, which debian:12 must have (iproute2), and nft for a firewall",
                "node a: the health check of main counts when it starts only",
            ],
        ),
        (
            "segments: {s: 10.0.0.0/24}\nnodes: {a: {interfaces: {s: 10.0.0.1}}}\nchecks: [{from: a, ping: 10.0.0.1}]",
            &["checks are left out: Docker Compose has none"],
        ),
    ]);
}

#[test]
fn a_tunnel_of_wireguard_is_left_out_with_all_that_is_part_of_it() {
    let export = exported(include_bytes!("../../../labs/wireguard/lab.yaml"));
    assert!(
        export.notes.contains("tunnel a-to-cloud is left out: WireGuard is not exported"),
        "{:#?}",
        export.notes
    );
    let script = texts(&export)["nodes/gateway-a/start.sh"];
    assert!(!script.contains("wireguard") && !script.contains("10.3.0.0/16"), "{script}");
}

#[test]
fn a_mac_of_the_lab_file_is_told_to_others_and_the_rest_is_dockers() {
    let export = exported(
        b"segments: {s: 10.0.0.0/24}\nnodes:\n  a: {interfaces: [{segment: s, address: 10.0.0.1, mac: '02:00:00:00:00:01'}]}\n  \
          b: {interfaces: {s: 10.0.0.2}}",
    );
    let texts = texts(&export);
    assert!(texts["nodes/a/start.sh"].contains("name eth0 address 02:00:00:00:00:01 mtu 1500"));
    assert!(texts["nodes/b/start.sh"].contains("name eth0 mtu 1500"));
    assert_eq!(texts["compose.yaml"].matches("arp_notify").count(), 1);
}

#[test]
fn nodes_that_wait_for_others_do_so_in_docker_compose() {
    let export = exported(
        b"nodes:\n  a: {services: [{name: x, run: [sleep, inf]}]}\n  b: {image: 'x:1', command: [make], restart: never}\n  \
          c: {after: {a: ready, b: done}}",
    );
    let texts = texts(&export);
    let compose = texts["compose.yaml"];
    assert!(compose.contains("      a: {condition: service_healthy}\n"), "{compose}");
    assert!(
        compose.contains("      b: {condition: service_completed_successfully}\n"),
        "{compose}"
    );
    assert!(compose.contains("test: [CMD, test, -e, /run/netarium-ready]"), "{compose}");
    let ends = |node: &str| texts[format!("nodes/{node}/start.sh").as_str()];
    assert!(ends("a").contains("\ntouch /run/netarium-ready\n"), "{}", ends("a"));
    assert!(ends("b").ends_with("\nwait \"$main\"\n"), "{}", ends("b"));
}

#[test]
fn services_start_in_their_order_and_no_word_of_them_is_one_of_the_shell() {
    let export = exported(
        b"nodes:\n  a:\n    services:\n      - {name: first, run: [serve, $HOME], after: [last], user: app}\n      \
          - {name: last, run: [echo, \"it's\"], env: {A: b c}, ready: done}",
    );
    let script = texts(&export)["nodes/a/start.sh"];
    let last = script.find("(cd / && env 'A=b c' echo 'it'\\''s')").unwrap();
    let first = script.find("--init-groups serve '$HOME'").unwrap();
    assert!(last < first, "{script}");
}
