//! Golden tests: every lab under `labs/` to its model, its plan and its files, and the JSON Schema.
//!
//! `INSTA_UPDATE=always cargo test -p netarium-core --test golden` rewrites them; review reads the
//! difference.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod pretend;

use std::fs;
use std::path::{Path, PathBuf};

use netarium_core::desired::{Note, desired};
use netarium_core::feature::Feature;
use netarium_core::image::Images;
use netarium_core::model::{Model, Via};
use netarium_core::nft;
use netarium_core::object::{Id, Object, Objects};
use netarium_core::plan::diff;
use netarium_core::uplink::{Outside, arguments, rules};
use pretend::load;

fn labs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../labs");
    let mut labs: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("lab.yaml"))
        .filter(|path| path.exists())
        .collect();
    labs.sort();
    labs
}

/// A host with both families, as documentation has it (RFC 5737, RFC 3849).
fn outside() -> Outside {
    let addresses = ["127.0.0.0/8", "192.0.2.7/32", "::1/128", "2001:db8::7/128"];
    Outside {
        addresses: addresses.map(|it| it.parse().unwrap()).to_vec(),
        ways_out: [true, true],
        device: Some("eth0".to_owned()),
        has_ipv6: true,
        resolvers: ["192.0.2.53", "127.0.0.53"].map(|it| it.parse().unwrap()).to_vec(),
    }
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

fn model(path: &Path) -> (String, Model) {
    let name = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let model = load(&fs::read(path).unwrap(), &name).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}:\n{}", path.display(), lines.join("\n"))
    });
    (name, model)
}

#[test]
fn every_lab_resolves_to_its_golden_model() {
    for path in labs() {
        let (name, model) = model(&path);
        let json = serde_json::to_string_pretty(&model).unwrap();
        settings().bind(|| insta::assert_snapshot!(name, json));
    }
}

/// The objects of every lab on a machine that has everything, one a line, in the order in which
/// they are made; files in full, as a reader of strongSwan's or the resolver's manual wants them.
#[test]
fn every_lab_has_its_golden_plan() {
    for path in labs() {
        let (name, model) = model(&path);
        let features = Feature::ALL.into_iter().collect();
        let objects = desired(&model, &features, &outside(), &Images::new()).unwrap().objects;
        let mut text = String::new();
        for step in diff(&objects, &Objects::default()) {
            match step.object() {
                Object::File(file) => {
                    text.push_str(&format!("{step} {:o}\n", file.mode));
                    text.extend(
                        file.content
                            .text()
                            .unwrap_or("…")
                            .lines()
                            .map(|line| format!("    {line}\n")),
                    );
                }
                Object::Firewall(firewall) => {
                    text.push_str(&format!("{step}\n"));
                    text.extend(firewall.text.lines().map(|line| format!("    {line}\n")));
                }
                Object::Uplink(uplink) => {
                    text.push_str(&format!("{step}\n    pasta"));
                    arguments(uplink).iter().for_each(|word| text.push_str(&format!(" {word}")));
                    text.push('\n');
                    text.extend(rules(uplink, "link").lines().map(|line| format!("    {line}\n")));
                }
                Object::Sysctl(setting) => {
                    text.push_str(&format!("{step} = {}\n", setting.value));
                }
                object => {
                    let json = serde_json::to_string(object).unwrap();
                    text.push_str(&format!("{step}\n    {json}\n"));
                }
            }
        }
        settings().bind(|| insta::assert_snapshot!(format!("{name}.plan"), text));
    }
}

#[test]
fn a_kernel_that_lacks_features_gets_fallbacks_that_are_said() {
    let (_, model) =
        model(&labs().into_iter().find(|it| it.ends_with("site-to-site/lab.yaml")).unwrap());
    let poor = [Feature::Bridge, Feature::Veth, Feature::Tun].into_iter().collect();
    let wanted = desired(&model, &poor, &outside(), &Images::new()).unwrap();
    assert_eq!(wanted.notes, [Note::BridgeForMacvlan, Note::UserspaceEsp]);
    let bare = [Feature::Ipv6].into_iter().collect();
    let refused: Vec<String> = desired(&model, &bare, &Outside::default(), &Images::new())
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(refused.len(), model.segments.len() + model.tunnels.len() + 1, "{refused:#?}");
    assert_eq!(refused[0], "segment cloud-s needs macvlan or bridge, which this kernel lacks");
    assert_eq!(refused[7], "tunnel a-to-cloud needs ESP or TUN, which this kernel lacks");

    let model = load(include_bytes!("every-key.yaml"), "other").unwrap();
    let refused = |model: &Model| -> Vec<String> {
        desired(model, &poor, &outside(), &Images::new())
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let first = "tunnel chosen needs ESP, which this kernel lacks (for a daemon that encrypts, one must \
                 have an address of 10.9.0.0/16, which the tunnel carries)";
    let second = "tunnel hosts needs ESP, which this kernel lacks (a daemon that encrypts cannot wait \
                  for packets: write start: up)";
    assert_eq!(refused(&model)[..2], [first, second]);
}

/// The lab of the virtual machine in which no gateway has an address in what its tunnel carries.
fn deep_sites() -> Model {
    model(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/vm/labs/deep-sites/lab.yaml")).1
}

#[test]
fn a_gateway_gets_the_routes_to_its_tunnels_that_the_daemon_does_not_make() {
    let features = Feature::ALL.into_iter().collect();
    // No route of these labs leads straight to an interface.
    let routes = |model: &Model| -> Vec<String> {
        let objects = desired(model, &features, &outside(), &Images::new()).unwrap().objects;
        let routes = objects.iter().filter_map(|(_, it)| match it {
            Object::Route(it) => Some((&it.node, it.to, it.via.clone())),
            _ => None,
        });
        let straight = routes.filter_map(|(node, to, via)| match via {
            Via::Interface(interface) => Some(format!("{node} {to} {interface}")),
            _ => None,
        });
        straight.collect()
    };
    let mut model = deep_sites();
    assert_eq!(
        routes(&model),
        [
            "gateway-a 10.2.0.0/16 eth1",
            "gateway-a fd02::/64 eth1",
            "gateway-b 10.1.0.0/16 eth1",
            "gateway-b fd01::/64 eth1",
        ]
    );
    // With an address in one family, the daemon makes the route of that one.
    let gateway = model.nodes.iter_mut().find(|(name, _)| name.as_str() == "gateway-a").unwrap().1;
    gateway.interfaces[0].addresses.push("10.1.0.9/16".parse().unwrap());
    assert_eq!(routes(&model).len(), 3);
    assert!(routes(&model)[0].starts_with("gateway-a fd02::/64 "));
    let (_, site_to_site) =
        self::model(&labs().into_iter().find(|it| it.ends_with("site-to-site/lab.yaml")).unwrap());
    assert_eq!(routes(&site_to_site), [""; 0]);
}

#[test]
fn a_tunnel_past_a_gateway_without_an_address_in_it_is_refused_in_user_space() {
    let user_space = Feature::ALL.into_iter().filter(|it| *it != Feature::Esp).collect();
    let refused = desired(&deep_sites(), &user_space, &outside(), &Images::new()).unwrap_err();
    let expected = "tunnel sites needs ESP, which this kernel lacks (for a daemon that encrypts, \
                    gateway-a must have an address of 10.1.0.0/16, which the tunnel carries)";
    assert_eq!(refused.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_way_out_is_what_the_host_makes_of_it() {
    let yaml = b"image: host\nnodes: {a: {uplink: true}, b: {publish: [8080:80, '[::1]:443/udp']}}";
    let model = load(yaml, "lab").unwrap();
    let features = Feature::ALL.into_iter().collect();
    let made = |outside: &Outside| desired(&model, &features, outside, &Images::new());
    let refused = made(&Outside::default()).unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "node b needs an interface of this host with IPv6, and there is none (for what it publishes)"
    );

    let lost = Outside { has_ipv6: true, device: Some("tail0".to_owned()), ..Outside::default() };
    let wanted = made(&lost).unwrap();
    assert_eq!(wanted.notes, [Note::NoWayOut]);
    let ids: Vec<String> = wanted.objects.iter().map(|(id, _)| id.to_string()).collect();
    assert!(ids.contains(&"address b:uplink fd6e:6574:6172::3".to_owned()), "{ids:#?}");
    assert!(ids.contains(&"route a 0.0.0.0/0".to_owned()), "{ids:#?}");
    // Nobody in IPv6 could be reached; and who only publishes has no way out at all.
    let others = ["route a ::/0", "route b 0.0.0.0/0"];
    assert!(!ids.iter().any(|id| others.contains(&id.as_str())), "{ids:#?}");

    let dumb = Outside { ways_out: [true, false], ..lost };
    assert_eq!(made(&dumb).unwrap().notes, [Note::NoNameServer]);
    let found = made(&outside()).unwrap();
    assert_eq!(found.notes, []);
    let Some(Object::Uplink(uplink)) = found.objects.get(&Id::Uplink) else { panic!("no uplink") };
    assert_eq!(uplink.resolvers, ["192.0.2.53".parse::<std::net::IpAddr>().unwrap()]);
    let arguments = arguments(uplink).join(" ");
    assert!(arguments.contains("--tcp-ports 127.0.0.1/8080 --udp-ports ::1/443"), "{arguments}");
    let rules = rules(uplink, "link");
    assert!(
        rules.contains("nfproto ipv6 udp dport 443 dnat ip6 to [fd6e:6574:6172::3]:443"),
        "{rules}"
    );
}

#[test]
fn a_kernel_without_wireguard_gets_a_device_and_a_program_for_it() {
    let (_, model) =
        model(&labs().into_iter().find(|it| it.ends_with("wireguard/lab.yaml")).unwrap());
    let poor = Feature::ALL.into_iter().filter(|it| *it != Feature::Wireguard).collect();
    let wanted = desired(&model, &poor, &Outside::default(), &Images::new()).unwrap();
    assert_eq!(wanted.notes, [Note::UserspaceWireguard]);
    let ours: Vec<&Object> = wanted
        .objects
        .iter()
        .map(|(_, object)| object)
        .filter(|object| match object {
            Object::TunnelInterface(_) | Object::WireguardConf(_) => true,
            Object::Service(it) => it.service.name.as_str() == "wireguard",
            _ => false,
        })
        .collect();
    let json = serde_json::to_string_pretty(&ours).unwrap();
    settings().bind(|| insta::assert_snapshot!("wireguard.userspace", json));
    let none = Feature::ALL
        .into_iter()
        .filter(|it| !matches!(it, Feature::Wireguard | Feature::Tun))
        .collect();
    let refused = desired(&model, &none, &Outside::default(), &Images::new()).unwrap_err();
    let said = "tunnel a-to-cloud needs WireGuard or TUN, which this kernel lacks";
    assert_eq!(refused.iter().map(ToString::to_string).collect::<Vec<_>>(), [said]);
}

#[test]
fn every_key_resolves_to_its_golden_model() {
    let model = load(include_bytes!("every-key.yaml"), "other").unwrap();
    let json = serde_json::to_string_pretty(&model).unwrap();
    settings().bind(|| insta::assert_snapshot!("every-key", json));
    let features = Feature::ALL.into_iter().collect();
    let objects = desired(&model, &features, &outside(), &Images::new()).unwrap().objects;
    let first = model.nodes.keys().next().unwrap().clone();
    let Some(Object::Firewall(firewall)) = objects.get(&Id::Firewall(first)) else { panic!() };
    let firewall = nft::placement(nft::Table::First, &firewall.text);
    settings().bind(|| insta::assert_snapshot!("every-key.nft", firewall));
}

#[test]
fn the_schema_is_the_golden_one() {
    let json = serde_json::to_string_pretty(&netarium_core::schema::schema()).unwrap();
    settings().bind(|| insta::assert_snapshot!("schema", json));
}

#[test]
fn the_lab_in_the_readme_has_no_mistakes() {
    let readme = include_str!("../../../README.md");
    let lab = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let model = load(lab.as_bytes(), "readme").unwrap();
    assert_eq!((model.nodes.len(), model.tunnels.len(), model.checks.len()), (4, 1, 2));
}
