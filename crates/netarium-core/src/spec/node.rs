//! Nodes with their interfaces, routes, kernel settings and limits, as written.

use schemars::JsonSchema;

use super::decode::{Table, entries, list, number, truth, without_repeats, word, words};
use super::tree::{Tree, Value};
use super::{After, Dns, File, Firewall, Main, Named, Nat, Service, Volume, Word, lookup, process};
use crate::compose::Given;
use crate::problem::{Placed, Problem, Problems};
use crate::schema;

/// A node: a container with interfaces.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Node {
    /// What its root file system is made from: a name from `images`, `base`, `host`, or an image
    /// that others have made, `debian:12` for example. Default: the lab's image.
    #[schemars(with = "Option<schema::Image>")]
    pub image: Option<Word>,
    /// Whether it forwards packets between its interfaces. Default: `false`.
    #[schemars(with = "Option<bool>")]
    pub forward: Option<Placed<bool>>,
    /// Its interfaces: each segment it is on, with the addresses it has there. A list of tables
    /// with `segment` if it is on one segment twice.
    #[schemars(with = "Option<schema::Interfaces>")]
    pub interfaces: Vec<Interface>,
    /// Where everything goes that no other route takes; a list of two for IPv4 and IPv6.
    #[schemars(with = "Option<schema::OneOrMany<schema::Address>>")]
    pub gateway: Vec<Word>,
    /// A way out to the world, over an interface of the same name. Default: `false`.
    #[schemars(with = "Option<bool>")]
    pub uplink: Option<Placed<bool>>,
    /// Ports of the host that lead to ports of the node, `8080:80` for example.
    #[schemars(with = "Option<schema::OneOrMany<schema::Publish>>")]
    pub publish: Vec<Word>,
    /// Its other routes.
    #[schemars(with = "Option<Vec<Route>>")]
    pub routes: Vec<Route>,
    /// Kernel settings of its network namespace, `net.ipv4.tcp_ecn` for example.
    #[schemars(with = "Option<std::collections::BTreeMap<schema::Sysctl, schema::Scalar>>")]
    pub sysctls: Vec<(Word, Word)>,
    /// How much of the machine it may use. Default: no limit.
    #[schemars(with = "Option<Limits>")]
    pub limits: Limits,
    /// What it runs by itself.
    #[schemars(flatten)]
    pub main: Main,
    /// The nodes that it starts after: a name or a list, all of which must be ready, or a table that
    /// says what of each it waits for.
    #[schemars(with = "Option<schema::AfterForm>")]
    pub after: After,
    /// What runs in it.
    #[schemars(with = "Option<Vec<Service>>")]
    pub services: Vec<Service>,
    /// What it lets in, out and through. Default: everything.
    #[schemars(with = "Option<Firewall>")]
    pub firewall: Firewall,
    /// Whose addresses it changes.
    #[schemars(with = "Option<Vec<Nat>>")]
    pub nat: Vec<Nat>,
    /// Files that are put into it: absolute paths with text, or a table.
    #[schemars(
        with = "Option<std::collections::BTreeMap<schema::AbsolutePath, schema::FileForm>>"
    )]
    pub files: Named<File>,
    /// Folders that it shares with the lab or the host.
    #[schemars(with = "Option<Vec<schema::VolumeForm>>")]
    pub volumes: Vec<Volume>,
    /// Whether programs in it may make containers of their own. Default: `false`.
    #[schemars(with = "Option<bool>")]
    pub nesting: Option<Placed<bool>>,
    /// Its host name. Default: its name.
    #[schemars(with = "Option<schema::HostName>")]
    pub hostname: Option<Word>,
    /// Other names by which nodes know it, at all its addresses.
    #[schemars(with = "Option<schema::OneOrMany<schema::HostName>>")]
    pub aliases: Vec<Word>,
    /// Names that it alone knows, with their addresses.
    #[schemars(
        with = "Option<std::collections::BTreeMap<schema::HostName, schema::OneOrMany<schema::Address>>>"
    )]
    pub hosts: Vec<(Word, Vec<Word>)>,
    /// Its name servers. Default: those of the host, if it has a way out.
    #[schemars(with = "Option<schema::DnsForm>")]
    pub dns: Option<Dns>,
    /// What a Compose file says of it besides.
    #[schemars(skip)]
    pub(crate) given: Option<Box<Given>>,
}

impl Node {
    /// A node about which nothing is said.
    pub(crate) fn empty() -> Self {
        Self {
            image: None,
            forward: None,
            interfaces: Vec::new(),
            gateway: Vec::new(),
            uplink: None,
            publish: Vec::new(),
            routes: Vec::new(),
            sysctls: Vec::new(),
            limits: Limits::default(),
            main: Main::default(),
            after: Vec::new(),
            services: Vec::new(),
            firewall: Firewall::default(),
            nat: Vec::new(),
            files: Vec::new(),
            volumes: Vec::new(),
            nesting: None,
            hostname: None,
            aliases: Vec::new(),
            hosts: Vec::new(),
            dns: None,
            given: None,
        }
    }

    pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("a node", tree, problems)?;
        let node = Self {
            image: table.take("image").and_then(|tree| word("image", tree, problems)),
            forward: table.take("forward").and_then(|tree| truth("forward", tree, problems)),
            interfaces: table
                .take("interfaces")
                .map_or_else(Vec::new, |tree| Interface::read_all(tree, problems)),
            gateway: table
                .take("gateway")
                .map_or_else(Vec::new, |tree| words("gateway", tree, problems)),
            uplink: table.take("uplink").and_then(|tree| truth("uplink", tree, problems)),
            publish: table
                .take("publish")
                .map_or_else(Vec::new, |tree| words("publish", tree, problems)),
            routes: table.take("routes").map_or_else(Vec::new, |tree| {
                let items = list("routes", tree, problems);
                items.iter().filter_map(|item| Route::read(item, problems)).collect()
            }),
            sysctls: table
                .take("sysctls")
                .map_or_else(Vec::new, |tree| pairs("sysctl", tree, problems)),
            limits: table
                .take("limits")
                .map_or_else(Limits::default, |tree| Limits::read(tree, problems)),
            main: Main::read(&mut table, problems),
            after: table.take("after").map_or_else(Vec::new, |it| process::after(it, problems)),
            services: table.take("services").map_or_else(Vec::new, |tree| {
                let items = list("services", tree, problems);
                items.iter().filter_map(|item| Service::read(item, problems)).collect()
            }),
            firewall: table
                .take("firewall")
                .and_then(|tree| Firewall::read(tree, problems))
                .unwrap_or_default(),
            nat: table.take("nat").map_or_else(Vec::new, |tree| {
                let items = list("nat", tree, problems);
                items.iter().filter_map(|item| Nat::read(item, problems)).collect()
            }),
            files: table.take("files").map_or_else(Vec::new, |tree| {
                let files = entries("file", tree, problems).unwrap_or_default();
                let read =
                    |(path, tree): (&Word, &Tree)| (path.clone(), File::read(tree, problems));
                files.into_iter().map(read).collect()
            }),
            volumes: table.take("volumes").map_or_else(Vec::new, |tree| {
                let items = list("volumes", tree, problems);
                items.iter().filter_map(|item| Volume::read(item, problems)).collect()
            }),
            nesting: table.take("nesting").and_then(|tree| truth("nesting", tree, problems)),
            hostname: table.take("hostname").and_then(|tree| word("hostname", tree, problems)),
            aliases: table
                .take("aliases")
                .map_or_else(Vec::new, |tree| words("aliases", tree, problems)),
            hosts: table.take("hosts").map_or_else(Vec::new, |tree| lookup::hosts(tree, problems)),
            dns: table.take("dns").and_then(|tree| Dns::read(tree, problems)),
            given: None,
        };
        table.close(problems);
        Some(node)
    }

    /// Whether it has to do with the world outside of the lab.
    pub(crate) fn is_linked_up(&self) -> bool {
        self.has_way_out() || !self.publish.is_empty()
    }

    /// Whether it has a way out.
    pub(crate) fn has_way_out(&self) -> bool {
        self.uplink.as_ref().is_some_and(|uplink| uplink.value)
    }
}

/// An interface in its long form.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(
    rename = "InterfaceTable",
    deny_unknown_fields,
    transform = schema::also_address
)]
#[non_exhaustive]
pub struct Interface {
    /// The segment it is on; only where interfaces are a list.
    #[schemars(with = "Option<schema::Name>")]
    pub segment: Word,
    /// Its name in the node. Default: `eth0`, `eth1`, … in the order written.
    #[schemars(with = "Option<schema::InterfaceName>")]
    pub name: Option<Word>,
    /// Its hardware address. Default: derived from lab, node and interface.
    #[schemars(with = "Option<schema::MacAddress>")]
    pub mac: Option<Word>,
    /// The largest packet in bytes, at most that of the segment, which is the default.
    #[schemars(with = "Option<u32>", range(min = 68, max = 65535))]
    pub mtu: Option<Placed<u32>>,
    /// Its addresses. The length is that of the segment's prefix, and may be left out.
    /// `address` is the same.
    #[schemars(with = "Option<schema::OneOrMany<schema::InterfaceAddress>>")]
    pub addresses: Vec<Word>,
    /// Other names by which nodes know its node, at these addresses.
    #[schemars(with = "Option<schema::OneOrMany<schema::HostName>>")]
    pub aliases: Vec<Word>,
}

impl Interface {
    fn read_all(tree: &Tree, problems: &mut Problems) -> Vec<Self> {
        if let Value::List(items) = &tree.value {
            return items.iter().filter_map(|item| Self::read_item(item, problems)).collect();
        }
        let Value::Table(entries) = &tree.value else {
            if !matches!(tree.value, Value::Nothing) {
                let problem = Problem::new("interfaces must be a table, not one value");
                problems.add(problem.at(tree.place).hint("write {segment: address}"));
            }
            return Vec::new();
        };
        let repeat = |segment: &str| {
            Problem::new(format!("segment {segment} is there twice"))
                .hint(format!("write [{{segment: {segment}, address: …}}, …]"))
        };
        without_repeats(entries, problems, repeat)
            .into_iter()
            .map(|(segment, tree)| {
                Self::read_entry(segment, tree, problems)
                    .unwrap_or_else(|| Self::on(segment.clone()))
            })
            .collect()
    }

    /// An interface about which nothing more is known.
    fn on(segment: Word) -> Self {
        Self {
            segment,
            name: None,
            mac: None,
            mtu: None,
            addresses: Vec::new(),
            aliases: Vec::new(),
        }
    }

    fn read_entry(segment: &Word, tree: &Tree, problems: &mut Problems) -> Option<Self> {
        if let Value::Scalar(_) | Value::List(_) = tree.value {
            let addresses = words("address", tree, problems);
            return Some(Self { addresses, ..Self::on(segment.clone()) });
        }
        let table = Table::open("an interface", tree, problems)?;
        Some(Self::read_table(segment.clone(), table, problems))
    }

    fn read_item(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("an interface", tree, problems)?;
        let segment =
            table.need("segment", problems).and_then(|tree| word("segment", tree, problems));
        let place = table.place;
        let unknown = segment.is_none();
        let segment = segment.unwrap_or(Placed { value: String::new(), place });
        let interface = Self::read_table(segment, table, problems);
        if unknown { None } else { Some(interface) }
    }

    fn read_table(segment: Word, mut table: Table<'_>, problems: &mut Problems) -> Self {
        let interface = Self {
            segment,
            addresses: table.take_words("address", "addresses", problems),
            name: table.take("name").and_then(|tree| word("name", tree, problems)),
            mac: table.take("mac").and_then(|tree| word("mac", tree, problems)),
            mtu: table.take("mtu").and_then(|tree| number("mtu", tree, problems)),
            aliases: table
                .take("aliases")
                .map_or_else(Vec::new, |tree| words("aliases", tree, problems)),
        };
        table.close(problems);
        interface
    }
}

/// A route.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Route {
    /// Where to: a prefix or an address.
    #[schemars(with = "schema::Prefix")]
    pub to: Word,
    /// The address of the next router, an interface of the node, `unreachable`, `blackhole` or
    /// `prohibit`.
    #[schemars(with = "schema::Via")]
    pub via: Word,
}

impl Route {
    fn read(tree: &Tree, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::open("a route", tree, problems)?;
        let to = table.need("to", problems).and_then(|tree| word("to", tree, problems));
        let via = table.need("via", problems).and_then(|tree| word("via", tree, problems));
        table.close(problems);
        Some(Self { to: to?, via: via? })
    }
}

/// How much of the machine a node may use.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Memory: bytes, or a number with KiB, MiB, GiB, kB, MB or GB.
    #[schemars(with = "Option<schema::Memory>")]
    pub memory: Option<Word>,
    /// Processors, `0.5` for half of one.
    #[schemars(with = "Option<f64>", extend("exclusiveMinimum" = 0))]
    pub cpus: Option<Word>,
    /// Processes and threads.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub pids: Option<Placed<u32>>,
}

impl Limits {
    fn read(tree: &Tree, problems: &mut Problems) -> Self {
        let Some(mut table) = Table::open("limits", tree, problems) else {
            return Self::default();
        };
        let limits = Self {
            memory: table.take("memory").and_then(|tree| word("memory", tree, problems)),
            cpus: table.take("cpus").and_then(|tree| word("cpus", tree, problems)),
            pids: table.take("pids").and_then(|tree| number("pids", tree, problems)),
        };
        table.close(problems);
        limits
    }
}

/// A table of words.
pub(super) fn pairs(kind: &str, tree: &Tree, problems: &mut Problems) -> Vec<(Word, Word)> {
    entries(kind, tree, problems)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(key, tree)| Some((key.clone(), word(&key.value, tree, problems)?)))
        .collect()
}
