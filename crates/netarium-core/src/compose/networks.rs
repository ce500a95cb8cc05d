//! `networks` of a Compose file, as written.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::reader::{self, Keys, unsupported};
use crate::model::Driver;
use crate::problem::{Place, Placed, Problem, Problems};
use crate::spec::Word;
use crate::spec::decode::{entries, list, number, truth, without_repeats};
use crate::spec::tree::{Tree, Value};

/// The network of every service that names none.
pub(super) const DEFAULT: &str = "default";

/// Whether what leaves a bridge has the host's address.
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";

/// Options of Docker's drivers that name a device of the host or how it is used. Segments are the
/// lab's own and hang on none.
const OF_THE_HOST: [&str; 10] = [
    "parent",
    "macvlan_mode",
    "macvlan_flag",
    "ipvlan_mode",
    "ipvlan_flag",
    "com.docker.network.bridge.name",
    "com.docker.network.bridge.default_bridge",
    "com.docker.network.bridge.host_binding_ipv4",
    "com.docker.network.container_iface_prefix",
    "com.docker.network.bridge.inhibit_ipv4",
];

/// A network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// Its key.
    pub(super) key: Word,
    /// The name by which Docker sorts it: that of the key, unless it is given another.
    pub(super) sorted_by: String,
    /// How Docker would make it.
    pub(super) kind: Kind,
    /// How it is made here.
    pub(super) driver: Placed<Driver>,
    /// Whether it leads nowhere.
    pub(super) internal: bool,
    /// Whether it has IPv6.
    pub(super) ipv6: bool,
    /// The prefixes that it is given.
    pub(super) pools: Vec<Pool>,
    /// The largest packet.
    pub(super) mtu: Option<Placed<u32>>,
}

/// How Docker would make a network, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Docker itself is a router on it, which leads out of the host.
    Bridge,
    /// Docker has no address on it: whatever has its gateway's address is its router.
    Link,
}

/// A prefix of a network, and what is said of addresses in it.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    /// The prefix.
    pub(super) subnet: Placed<IpNet>,
    /// The router.
    pub(super) gateway: Option<Placed<IpAddr>>,
    /// Where addresses are taken from for services that name none.
    pub(super) range: Option<IpNet>,
    /// Addresses that nobody is given.
    pub(super) reserved: BTreeSet<IpAddr>,
}

impl Network {
    /// One about which nothing is said.
    pub(super) fn plain(key: &str, place: Place) -> Self {
        Self {
            key: Placed { value: key.to_owned(), place },
            sorted_by: key.to_owned(),
            kind: Kind::Bridge,
            driver: Placed { value: Driver::Bridge, place },
            internal: false,
            ipv6: false,
            pools: Vec::new(),
            mtu: None,
        }
    }
}

/// Reads the networks of a file.
pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Vec<Network> {
    let entries = entries("network", tree, problems).unwrap_or_default();
    let entries = entries.into_iter().filter(|(name, _)| !name.starts_with("x-"));
    entries.map(|(name, tree)| read_one(name, tree, problems)).collect()
}

fn read_one(key: &Word, tree: &Tree, problems: &mut Problems) -> Network {
    let mut network = Network::plain(key, key.place);
    let Some(mut keys) = Keys::open("a network", tree, problems) else { return network };
    if let Some(driver) = keys.word("driver", problems) {
        (network.kind, network.driver) = kind(&driver, problems);
    }
    if let Some(name) = keys.word("name", problems) {
        network.sorted_by = name.value;
    }
    network.internal = keys.is_true("internal", problems);
    if let Some(tree) = keys.take("ipam") {
        network.pools = pools(tree, problems);
    }
    let has_ipv6 = network.pools.iter().any(|pool| pool.subnet.addr().is_ipv6());
    let asked = keys.take("enable_ipv6").and_then(|it| truth("enable_ipv6", it, problems));
    network.ipv6 = asked.map_or(has_ipv6, |asked| asked.value);
    if !network.ipv6 {
        network.pools.retain(|pool| pool.subnet.addr().is_ipv4());
    }
    if let Some(tree) = keys.take("driver_opts") {
        network.mtu = options(tree, problems);
    }
    external(&mut keys, problems);
    // Whoever else may join a network, nodes of other labs do not. Labels mean nothing here.
    keys.pass(&["attachable", "labels", "enable_ipv4"]);
    keys.close(problems);
    network
}

fn external(keys: &mut Keys<'_>, problems: &mut Problems) {
    let Some(tree) = keys.take("external") else { return };
    let is_false = matches!(&tree.value, Value::Scalar(text) if text == "false");
    if !is_false {
        let problem = Problem::new("a lab has all its networks itself: none can be external");
        let hint = "leave external out, and give the network its ipam";
        problems.add(problem.at(tree.place).hint(hint));
    }
}

/// Docker's drivers in our words.
fn kind(word: &Word, problems: &mut Problems) -> (Kind, Placed<Driver>) {
    let place = word.place;
    let (kind, driver) = match word.value.as_str() {
        "bridge" | "default" => (Kind::Bridge, Driver::Bridge),
        "macvlan" | "ipvlan" => (Kind::Link, Driver::Macvlan),
        "overlay" => (Kind::Bridge, Driver::Bridge),
        other => {
            let hint = "there are bridge, macvlan and ipvlan";
            let message = format!("the network driver {other} is not supported");
            problems.unsupported(reader::left_out(message, place, hint));
            (Kind::Bridge, Driver::Bridge)
        }
    };
    if let other @ ("ipvlan" | "overlay") = word.value.as_str() {
        let instead = if kind == Kind::Link { "macvlan" } else { "bridge" };
        let message = format!("a network with driver {other} is a {instead} segment here");
        problems.warn(Problem::new(message).at(place));
    }
    (kind, Placed { value: driver, place })
}

/// What is said to Docker's driver: of that, the MTU means something here.
fn options(tree: &Tree, problems: &mut Problems) -> Option<Placed<u32>> {
    let Value::Table(entries) = &tree.value else {
        problems.at(tree.place, "driver_opts must be a table");
        return None;
    };
    let repeat = |key: &str| Problem::new(format!("the key {key} is there twice"));
    let mut mtu = None;
    for (key, tree) in without_repeats(entries, problems, repeat) {
        let name = key.value.as_str();
        if name == "com.docker.network.driver.mtu" {
            mtu = number("mtu", tree, problems);
        } else if name == MASQUERADE && is_said(tree, "false") {
            // So it is in every segment.
        } else if OF_THE_HOST.contains(&name) {
            let message = format!("{name} counts for nothing: segments are the lab's own");
            problems.warn(Problem::new(message).at(key.place));
        } else if !name.starts_with("x-") {
            problems.unsupported(unsupported(key, "segments have no such option"));
        }
    }
    mtu
}

fn is_said(tree: &Tree, word: &str) -> bool {
    matches!(&tree.value, Value::Scalar(text) if text == word)
}

fn pools(tree: &Tree, problems: &mut Problems) -> Vec<Pool> {
    let Some(mut keys) = Keys::open("ipam", tree, problems) else { return Vec::new() };
    if let Some(driver) = keys.word("driver", problems).filter(|it| it.value != "default") {
        let message = format!("the ipam driver {} is not supported", driver.value);
        problems.unsupported(reader::left_out(message, driver.place, "there is default"));
    }
    keys.refuse(&[("options", "addresses are chosen by Netarium")], problems);
    let items = keys.take("config").map_or(&[][..], |tree| list("config", tree, problems));
    keys.close(problems);
    items.iter().filter_map(|item| pool(item, problems)).collect()
}

fn pool(tree: &Tree, problems: &mut Problems) -> Option<Pool> {
    let mut keys = Keys::open("an ipam config", tree, problems)?;
    let subnet = keys.word("subnet", problems);
    let gateway = keys.word("gateway", problems);
    let range = keys.word("ip_range", problems);
    let reserved = keys.take("aux_addresses");
    let place = keys.place();
    keys.close(problems);
    let Some(subnet) = subnet else {
        problems.add(Problem::new("an ipam config has no subnet").at(place));
        return None;
    };
    let subnet = prefix(&subnet, problems)?;
    let gateway = gateway.and_then(|word| inside("gateway", &word, &subnet, problems));
    let range = range.and_then(|word| {
        let range = prefix(&word, problems)?;
        if !subnet.contains(&range.value) {
            let message = format!("ip_range {} is outside of {}", range.value, subnet.value);
            problems.at(word.place, message);
            return None;
        }
        Some(range.value)
    });
    let reserved = match reserved {
        Some(tree) => entries("address", tree, problems).unwrap_or_default(),
        None => Vec::new(),
    };
    let reserved = reserved.into_iter().filter_map(|(_, tree)| {
        let word = crate::spec::decode::word("aux_addresses", tree, problems)?;
        Some(inside("address", &word, &subnet, problems)?.value)
    });
    let reserved = reserved.collect();
    Some(Pool { subnet, gateway, range, reserved })
}

/// Docker takes the prefix that an address with a length is in.
fn prefix(word: &Word, problems: &mut Problems) -> Option<Placed<IpNet>> {
    let prefix = word.trim().parse::<IpNet>().ok();
    if prefix.is_none() {
        let problem = Problem::new(format!("{} is no prefix", word.value)).at(word.place);
        problems.add(problem.hint("write 10.0.0.0/24 or fd00::/64"));
    }
    Some(Placed { value: prefix?.trunc(), place: word.place })
}

fn inside(
    what: &str,
    word: &Word,
    subnet: &IpNet,
    problems: &mut Problems,
) -> Option<Placed<IpAddr>> {
    let Ok(address) = word.trim().parse::<IpAddr>() else {
        problems.at(word.place, format!("{what} {} is no address", word.value));
        return None;
    };
    if !subnet.contains(&address) {
        problems.at(word.place, format!("{what} {address} is outside of {subnet}"));
        return None;
    }
    Some(Placed { value: address, place: word.place })
}
