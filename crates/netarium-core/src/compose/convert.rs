//! From services and networks to nodes and segments.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::addresses::{self, Supply};
use super::files::Files;
use super::joins::Join;
use super::networks::{DEFAULT, Kind, Network};
use super::service::{Dependency, Service};
use super::volumes::Mount;
use crate::model::{Access, Build, Dns, Forwarding, Main, Volume};
use crate::problem::{Placed, Problem, Problems};
use crate::spec::{self, Interface, Named, Node, Segment, Word};

/// What a service says and a node of a lab file does not.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// What it is made from.
    pub(crate) image: Option<Word>,
    /// What the image is built from.
    pub(crate) build: Option<Build>,
    /// Which machines the image is for.
    pub(crate) platform: Option<Word>,
    /// Whether it is a router.
    pub(crate) forwarding: Forwarding,
    /// What it runs.
    pub(crate) main: Main,
    /// What it calls itself.
    pub(crate) hostname: Option<String>,
    /// What else it is called.
    pub(crate) aliases: BTreeSet<String>,
    /// What it is called at each of its interfaces.
    pub(crate) aliases_at: Vec<BTreeSet<String>>,
    /// Names that it knows besides.
    pub(crate) hosts: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The name servers that it asks.
    pub(crate) dns: Option<Dns>,
    /// Folders in memory.
    pub(crate) memory: Vec<Placed<Volume>>,
}

/// The segments and nodes of a lab.
pub(super) struct Lab {
    pub(super) segments: Named<Segment>,
    pub(super) nodes: Named<Node>,
}

/// Settings that make a router, of one family or both.
const FORWARDING: [(&str, bool, bool); 3] = [
    ("net.ipv4.ip_forward", true, false),
    ("net.ipv4.conf.all.forwarding", true, false),
    ("net.ipv6.conf.all.forwarding", false, true),
];

/// Makes a lab of a project.
pub(super) fn convert(
    mut networks: Vec<Network>,
    services: Vec<Service>,
    files: &Files<'_>,
    problems: &mut Problems,
) -> Lab {
    let joins: Vec<Vec<Join>> = services.iter().map(joins_of).collect();
    keep_used(&mut networks, &joins, problems);
    addresses::choose_prefixes(&mut networks, problems);
    let segment_names = names("network", networks.iter().map(|it| &it.key), problems);
    let node_names = names("service", services.iter().map(|it| &it.key), problems);
    let mut wires = Wires::of(&networks, &joins);
    // Whoever names an address has it, so that all others are given what is left.
    let mut nodes = Vec::new();
    for (service, joins) in services.into_iter().zip(joins) {
        let Some(name) = node_names.get(&service.key.value).cloned() else { continue };
        let place = service.key.place;
        let wiring = wires.wire(joins, &segment_names, problems);
        let node = node(service, wiring, &node_names, files, problems);
        nodes.push((Placed { value: name, place }, Some(node)));
    }
    let segments = networks.iter().filter_map(|network| {
        let value = segment_names.get(&network.key.value)?.clone();
        Some((Placed { value, place: network.key.place }, Some(segment(network))))
    });
    Lab { segments: segments.collect(), nodes }
}

/// The networks that a service joins: the default one if it says nothing.
fn joins_of(service: &Service) -> Vec<Join> {
    match &service.joins {
        Some(joins) => joins.clone(),
        None => vec![Join::plain(DEFAULT, service.key.place)],
    }
}

/// Leaves out networks that nobody joins, adds the default one if somebody joins it, and tells of
/// those that are not there.
fn keep_used(networks: &mut Vec<Network>, joins: &[Vec<Join>], problems: &mut Problems) {
    let joined = || joins.iter().flatten().map(|join| &join.network);
    if let Some(first) = joined().find(|word| word.value == DEFAULT)
        && networks.iter().all(|network| network.key.value != DEFAULT)
    {
        networks.push(Network::plain(DEFAULT, first.place));
    }
    for word in joined() {
        if networks.iter().all(|network| network.key.value != word.value) {
            problems.unknown("network", word, networks.iter().map(|it| it.key.value.as_str()));
        }
    }
    networks.retain(|network| {
        let is_used = joined().any(|word| word.value == network.key.value);
        if !is_used && network.key.value != DEFAULT {
            let message = format!("no service joins the network {}", network.key.value);
            problems.warn(Problem::new(message).at(network.key.place));
        }
        is_used
    });
}

fn segment(network: &Network) -> Segment {
    let prefix = |value: String, place| Placed { value, place };
    let prefixes = network.pools.iter().map(|it| prefix(it.subnet.to_string(), it.subnet.place));
    Segment {
        prefixes: prefixes.collect(),
        driver: Some(network.driver.clone()),
        mtu: network.mtu.clone(),
    }
}

/// Our names for what people have called things: small letters, digits and dashes. Two that are told
/// apart by something else only are a mistake.
fn names<'w>(
    kind: &str,
    words: impl Iterator<Item = &'w Word>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let mut owners: BTreeMap<String, &Word> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for word in words {
        let Some(name) = plain_name(word) else {
            let message = format!("{:?} is no name for a {kind}", word.value);
            problems.add(Problem::new(message).at(word.place).hint("it needs a letter or a digit"));
            continue;
        };
        match owners.get(&name) {
            Some(other) => {
                let message = format!("{} and {} are one name here", other.value, word.value);
                let hint = format!("both are called {name}: call one something else");
                let problem = Problem::new(message).at(word.place).hint(hint);
                problems.add(problem.note(other.place, "the first is here"));
            }
            None => {
                owners.insert(name.clone(), word);
                names.insert(word.value.clone(), name);
            }
        }
    }
    names
}

/// The nearest name to a word, if it has a letter or a digit.
pub(super) fn plain_name(word: &str) -> Option<String> {
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    };
    let name: String = word.chars().map(letter).take(63).collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

/// How a node is wired.
struct Wiring {
    interfaces: Vec<Interface>,
    aliases: Vec<BTreeSet<String>>,
    gateways: Vec<Word>,
    has_way_out: bool,
}

/// What of each network is still free.
struct Wires<'n> {
    networks: BTreeMap<&'n str, (&'n Network, Vec<Supply>)>,
}

impl<'n> Wires<'n> {
    fn of(networks: &'n [Network], joins: &[Vec<Join>]) -> Self {
        let fixed = |key: &str| -> Vec<IpAddr> {
            let here = joins.iter().flatten().filter(|join| join.network.value == key);
            here.flat_map(|join| fixed_of(join).map(|it| it.value)).collect()
        };
        let with_supplies = |network: &'n Network| {
            let fixed = fixed(&network.key);
            let supplies = network.pools.iter();
            let supplies = supplies.filter_map(|pool| Supply::of(pool, fixed.iter().copied()));
            (network.key.value.as_str(), (network, supplies.collect()))
        };
        Self { networks: networks.iter().map(with_supplies).collect() }
    }

    /// Wires a node: its interfaces in Docker's order, with addresses, and the way out of the lab.
    fn wire(
        &mut self,
        joins: Vec<Join>,
        names: &BTreeMap<String, String>,
        problems: &mut Problems,
    ) -> Wiring {
        let mut joins: Vec<Join> = joins
            .into_iter()
            .filter(|it| self.networks.contains_key(it.network.as_str()))
            .collect();
        joins.sort_by_key(|join| self.rank(join));
        let mut wiring =
            Wiring { interfaces: vec![], aliases: vec![], gateways: vec![], has_way_out: false };
        for join in &joins {
            let Some(name) = names.get(&join.network.value) else { continue };
            let addresses = self.addresses(join, problems);
            wiring.interfaces.push(Interface {
                segment: Placed { value: name.clone(), place: join.network.place },
                name: join.interface.clone(),
                mac: join.mac.clone(),
                mtu: None,
                addresses,
                aliases: Vec::new(),
            });
            wiring.aliases.push(join.aliases.clone());
        }
        // The default route is that of the first network that has one (libnetwork,
        // sandbox.go, getGatewayEndpoint).
        let mut by_gateway: Vec<&Join> = joins.iter().collect();
        by_gateway.sort_by_key(|join| std::cmp::Reverse(join.gateway_priority));
        let first = by_gateway.iter().find(|it| !self.networks[it.network.as_str()].0.internal);
        if let Some(join) = first {
            let (network, supplies) = &self.networks[join.network.as_str()];
            match network.kind {
                Kind::Bridge => wiring.has_way_out = true,
                Kind::Link => wiring.gateways = gateways(supplies, &wiring.interfaces),
            }
        }
        wiring
    }

    /// What Docker sorts the interfaces of a container by (libnetwork, endpoint.go, Less).
    fn rank(&self, join: &Join) -> (bool, bool, i64, String, String) {
        let (network, supplies) = &self.networks[join.network.as_str()];
        let has_both =
            supplies.iter().any(Supply::is_ipv4) && !supplies.iter().all(Supply::is_ipv4);
        let (name, key) = (network.sorted_by.clone(), join.network.value.clone());
        (network.internal, !has_both, -join.priority, name, key)
    }

    /// The addresses of an interface: those that are named, and one of each other family.
    fn addresses(&mut self, join: &Join, problems: &mut Problems) -> Vec<Word> {
        let place = join.network.place;
        let Some((network, supplies)) = self.networks.get_mut(join.network.value.as_str()) else {
            return Vec::new();
        };
        let mut addresses = Vec::new();
        for fixed in fixed_of(join) {
            if supplies.iter().any(|supply| supply.has(fixed.value)) {
                addresses.push(Placed { value: fixed.value.to_string(), place: fixed.place });
                continue;
            }
            let prefixes: Vec<String> = supplies.iter().map(|it| it.subnet().to_string()).collect();
            let message = format!("{} is outside of network {}", fixed.value, network.key.value);
            let hint = format!("network {} has {}", network.key.value, prefixes.join(" and "));
            problems.add(Problem::new(message).at(fixed.place).hint(hint));
        }
        for is_ipv4 in [true, false] {
            let is_fixed = if is_ipv4 { join.ipv4.is_some() } else { join.ipv6.is_some() };
            let mut family = supplies.iter_mut().filter(|it| it.is_ipv4() == is_ipv4).peekable();
            if is_fixed || family.peek().is_none() {
                continue;
            }
            match family.find_map(Supply::take) {
                Some(address) => addresses.push(Placed { value: address.to_string(), place }),
                None => {
                    let message = format!("network {} has no address left", network.key.value);
                    problems.at(place, message);
                }
            }
        }
        // As Docker has them, whichever of them were named.
        addresses.sort_by_key(|word| word.contains(':'));
        addresses
    }
}

fn fixed_of(join: &Join) -> impl Iterator<Item = Placed<IpAddr>> {
    let v4 = join.ipv4.iter().map(|it| Placed { value: IpAddr::V4(it.value), place: it.place });
    let v6 = join.ipv6.iter().map(|it| Placed { value: IpAddr::V6(it.value), place: it.place });
    v4.chain(v6)
}

/// The first router of each family; nobody is his own.
fn gateways(supplies: &[Supply], interfaces: &[Interface]) -> Vec<Word> {
    let is_own = |address: IpAddr| {
        let mut own = interfaces.iter().flat_map(|it| &it.addresses);
        own.any(|word| word.parse() == Ok(address))
    };
    let first = |is_ipv4| supplies.iter().find(|it| it.is_ipv4() == is_ipv4);
    let found = [true, false].into_iter().filter_map(first).map(|supply| &supply.gateway);
    let word = |it: &Placed<IpAddr>| Placed { value: it.value.to_string(), place: it.place };
    found.filter(|it| !is_own(it.value)).map(word).collect()
}

fn node(
    service: Service,
    wiring: Wiring,
    names: &BTreeMap<String, String>,
    files: &Files<'_>,
    problems: &mut Problems,
) -> Node {
    let (forwarding, sysctls) = sysctls(service.sysctls);
    let place = service.key.place;
    let mut node = Node {
        interfaces: wiring.interfaces,
        gateway: wiring.gateways,
        uplink: wiring.has_way_out.then_some(Placed { value: true, place }),
        publish: service.publish,
        after: after(service.after, names, problems),
        sysctls,
        limits: service.limits,
        ..Node::empty()
    };
    let mut memory = Vec::new();
    for mount in service.mounts {
        match mount {
            Mount::Memory(value, place) => memory.push(Placed { value, place }),
            Mount::Shown { source, target, access } => {
                let is_path = source.contains(['/', '.', '~']);
                let value = if is_path {
                    files.below(&source)
                } else {
                    plain_name(&source).unwrap_or_default()
                };
                let write = Placed { value: access == Access::Writable, place: source.place };
                let source = Some(Placed { value, place: source.place });
                let (memory, write) = (None, Some(write));
                node.volumes.push(spec::Volume { source, memory, target, write });
            }
        }
    }
    let mut aliases = service.aliases;
    aliases.insert(service.key.value.clone());
    let own_name = names.get(&service.key.value);
    aliases.retain(|alias| Some(alias) != own_name);
    let hostname = service.hostname.filter(|name| Some(name) != own_name);
    node.given = Some(Box::new(Given {
        image: service.image,
        build: service.build.and_then(|build| build.settle(files, problems)),
        platform: service.platform,
        forwarding,
        main: service.main,
        hostname,
        aliases,
        aliases_at: wiring.aliases,
        hosts: service.hosts,
        dns: service.dns,
        memory,
    }));
    node
}

/// Docker's containers forward IPv4, since its host does and they take that over; IPv6 only if they
/// are told to.
fn sysctls(written: Vec<(Word, Word)>) -> (Forwarding, Vec<(Word, Word)>) {
    let (mut v4, mut v6) = (true, false);
    let mut others = Vec::new();
    for (key, value) in written {
        let plain = key.value.replace('/', ".");
        match FORWARDING.iter().find(|(name, _, _)| *name == plain) {
            None => others.push((key, value)),
            Some((_, is_v4, _)) => {
                let is_on = value.value.trim() != "0" && value.value != "false";
                if *is_v4 {
                    v4 = is_on;
                } else {
                    v6 = is_on;
                }
            }
        }
    }
    let forwarding = match (v4, v6) {
        (true, true) => Forwarding::On,
        (true, false) => Forwarding::Ipv4,
        (false, true) => Forwarding::Ipv6,
        (false, false) => Forwarding::Off,
    };
    (forwarding, others)
}

fn after(
    written: Vec<Dependency>,
    names: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> spec::After {
    let mut after = Vec::new();
    for Dependency { service, condition, is_required } in written {
        match names.get(&service.value) {
            Some(name) => {
                let place = service.place;
                let condition = Placed { value: condition, place };
                after.push((Placed { value: name.clone(), place }, Some(condition)));
            }
            None if is_required => {
                problems.unknown("service", &service, names.keys().map(String::as_str));
            }
            None => {}
        }
    }
    after
}
