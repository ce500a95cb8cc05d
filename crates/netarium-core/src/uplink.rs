//! The way out to the world and in from the host: what it needs to know of the host, the rules of the
//! router in the lab's own network namespace, and what pasta(1) is started with.
//!
//! Nodes are on a segment, the router's addresses on it are their gateways. Behind the router is a
//! TAP device, at the other end of which pasta turns packets into sockets of the host. The rules are
//! in no namespace of a node, so root of a node cannot change them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::desired::{Note, Refusal, Subject};
use crate::feature::{Feature, Features};
use crate::model::{self, Model, UPLINK};
use crate::name::Name;
use crate::object::{Published, Uplink};

/// What is on the far side of the TAP device has this hardware address.
const FAR_MAC: &str = "02:6e:65:74:61:72";

/// Sources of UDP and TCP get these ports, since pasta takes the same ports of the host: those of
/// services, and those that need root, stay free. It is Linux's own range for clients.
const CLIENT_PORTS: &str = "32768-60999";

/// Destinations of IPv4 that a router must not forward, or that the host takes for itself (RFC 6890).
const NOWHERE: &str = "{ 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }";

/// Destinations of IPv6 that are worth forwarding (RFC 4291, RFC 4193). Among all others are those
/// that mean IPv4 addresses, of the host for example.
const SOMEWHERE: &str = "{ 2000::/3, fc00::/7 }";

/// What of the host's network a lab with a way out depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// The host's own addresses: all that it delivers to itself.
    pub addresses: Vec<IpNet>,
    /// Whether it has a default route, for IPv4 and for IPv6.
    pub ways_out: [bool; 2],
    /// An interface for pasta: that of a default route if there is one.
    pub device: Option<String>,
    /// Whether that interface has IPv6.
    pub has_ipv6: bool,
    /// Its name servers.
    pub resolvers: Vec<IpAddr>,
}

/// The addresses on the way out that are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transit {
    /// The router's own.
    Near,
    /// That of pasta, the router's default gateway.
    Far,
    /// Where pasta takes questions for the host's name server.
    NameServer,
}

impl Transit {
    /// The address in a prefix between the router and pasta.
    pub fn within(self, prefix: &IpNet) -> IpNet {
        host(
            prefix,
            match self {
                Self::Near => 1,
                Self::Far => 2,
                Self::NameServer => 3,
            },
        )
    }
}

/// The address with this number in a prefix.
pub(crate) fn host(prefix: &IpNet, number: u8) -> IpNet {
    let address = match prefix.network() {
        IpAddr::V4(first) => IpAddr::from((u32::from(first) | u32::from(number)).to_be_bytes()),
        IpAddr::V6(first) => IpAddr::from((u128::from(first) | u128::from(number)).to_be_bytes()),
    };
    IpNet::new(address, prefix.prefix_len()).expect("it is the prefix's own length")
}

/// The name of the segment.
pub(crate) fn segment() -> Option<Name> {
    Name::new(UPLINK).ok()
}

/// How a lab gets out on a host.
#[derive(Clone, Debug)]
pub(crate) struct WayOut {
    uplink: model::Uplink,
    outside: Outside,
    /// Whether the way is for IPv6, too.
    ipv6: bool,
}

impl WayOut {
    /// IPv6 is on the way if the host has it, too, and a use for it.
    pub(crate) fn of(uplink: &model::Uplink, features: &Features, outside: &Outside) -> Self {
        let asked = outside.ways_out[1] || uplink.published.iter().any(|it| it.address.is_ipv6());
        let ipv6 = features.has(Feature::Ipv6) && outside.has_ipv6 && asked;
        Self { uplink: uplink.clone(), outside: outside.clone(), ipv6 }
    }

    /// Whether an address or prefix of the way out is in use.
    pub(crate) fn has(&self, address: &IpNet) -> bool {
        self.ipv6 || address.addr().is_ipv4()
    }

    /// Whether the host can reach anybody in the family of a default route.
    pub(crate) fn leads_on(&self, to: &IpNet) -> bool {
        // IPv4 stays, as a cable into nothing does.
        to.addr().is_ipv4() || (self.ipv6 && self.outside.ways_out[1])
    }

    pub(crate) fn notes(&self, model: &Model) -> impl Iterator<Item = Note> {
        let is_used = model.uplink.as_ref().is_some_and(|it| !it.nodes.is_empty());
        let lost = is_used && self.outside.ways_out == [false, false];
        let dumb = is_used && !lost && self.name_servers().next().is_none();
        lost.then_some(Note::NoWayOut).into_iter().chain(dumb.then_some(Note::NoNameServer))
    }

    /// Whom nodes ask for names: the router, if there is a name server of that family behind it.
    fn name_servers(&self) -> impl Iterator<Item = IpAddr> {
        let gateways = self.uplink.gateways.iter().filter(|it| self.has(it));
        gateways.map(IpNet::addr).filter(|gateway| {
            self.outside.resolvers.iter().any(|it| it.is_ipv4() == gateway.is_ipv4())
        })
    }

    /// What is in `/etc/resolv.conf` of a node (resolv.conf(5)), if it has a name server.
    pub(crate) fn resolv_conf(&self, node: &Name) -> Option<String> {
        let lines = self.name_servers().map(|it| format!("nameserver {it}\n"));
        Some(lines.collect())
            .filter(|text: &String| self.uplink.nodes.contains(node) && !text.is_empty())
    }

    pub(crate) fn object(&self, model: &Model) -> Uplink {
        let outside = &self.outside;
        let address = |node: &Name, is_ipv4| address_of(model, node, is_ipv4);
        let published = self.uplink.published.iter().filter_map(|it| {
            let to = address(&it.node, it.address.is_ipv4())?;
            Some(Published {
                address: it.address,
                port: it.port,
                protocol: it.protocol,
                node: it.node.clone(),
                to: SocketAddr::new(to, it.to),
            })
        });
        let families = [true, false].into_iter().filter(|it| *it || self.ipv6);
        let nodes = families.flat_map(|is_ipv4| {
            self.uplink.nodes.iter().filter_map(move |node| address(node, is_ipv4))
        });
        let is_open = |it: &&IpAddr| {
            !it.is_loopback() && !outside.addresses.iter().any(|own| own.contains(*it))
        };
        let resolver = |is_ipv4| outside.resolvers.iter().find(|it| it.is_ipv4() == is_ipv4);
        let resolvers = [true, false].into_iter().filter_map(resolver).filter(is_open);
        Uplink {
            gateways: self.uplink.gateways.iter().filter(|it| self.has(it)).copied().collect(),
            transit: self.uplink.transit.iter().filter(|it| self.has(it)).copied().collect(),
            nodes: nodes.collect(),
            device: outside.device.clone().unwrap_or_else(|| "lo".to_owned()),
            blocked: blocked(&outside.addresses),
            resolvers: resolvers.filter(|it| self.has(&IpNet::from(**it))).copied().collect(),
            published: published.collect(),
        }
    }
}

/// The host's addresses in order, none in another, as sets of nft(8) want them.
fn blocked(addresses: &[IpNet]) -> Vec<IpNet> {
    let mut found = IpNet::aggregate(&addresses.to_vec());
    found.sort();
    found
}

fn address_of(model: &Model, node: &Name, is_ipv4: bool) -> Option<IpAddr> {
    let interfaces = &model.nodes.get(node)?.interfaces;
    let interface = interfaces.iter().find(|it| it.segment.as_str() == UPLINK)?;
    let mut addresses = interface.addresses.iter().map(IpNet::addr);
    addresses.find(|it| it.is_ipv4() == is_ipv4)
}

/// What of the way out the machine cannot do.
pub(crate) fn refusals(model: &Model, features: &Features, outside: &Outside) -> Vec<Refusal> {
    let Some(uplink) = &model.uplink else { return vec![] };
    let mut refusals = Vec::new();
    if !features.has(Feature::Tun) {
        let with_it = model.nodes.keys().filter(|node| address_of(model, node, true).is_some());
        refusals.extend(with_it.map(|node| Refusal {
            subject: Subject::Node(node.clone()),
            missing: vec![Feature::Tun],
            why: Some("for its way out or in".to_owned()),
        }));
    }
    let has_feature = features.has(Feature::Ipv6);
    let nodes: BTreeSet<&Name> =
        uplink.published.iter().filter(|it| it.address.is_ipv6()).map(|it| &it.node).collect();
    let refused = nodes.into_iter().filter(|_| !has_feature || !outside.has_ipv6);
    refusals.extend(refused.map(|node| Refusal {
        subject: Subject::Node(node.clone()),
        missing: if has_feature { vec![] } else { vec![Feature::Ipv6] },
        why: Some("for what it publishes".to_owned()),
    }));
    refusals
}

/// The router's rules as nftables text, what is in its table. `link` is the segment's link in the lab's
/// own network namespace.
pub fn rules(uplink: &Uplink, link: &str) -> String {
    let Chains { prerouting, output, forward } = Chains::of(uplink, link);
    format!(
        "	chain loopback {{
		type filter hook prerouting priority raw; policy accept;
		iifname != \"lo\" ip daddr 127.0.0.0/8 drop
	}}
	chain input {{
		type filter hook input priority filter; policy drop;
		iifname \"lo\" accept
		ct state established,related accept
		iifname \"{link}\" icmp type echo-request accept
		iifname \"{link}\" icmpv6 type echo-request accept
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop;
		iifname != {{ \"{link}\", \"{UPLINK}\" }} oifname != {{ \"{link}\", \"{UPLINK}\" }} accept
		ct direction reply ct state established accept
		iifname \"{UPLINK}\" oifname \"{link}\" ct status dnat accept
		iifname \"{link}\" oifname \"{UPLINK}\" jump out
	}}
	chain out {{
{forward}	}}
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
{prerouting}	}}
	chain output {{
		type nat hook output priority -100; policy accept;
{output}	}}
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		oifname \"{UPLINK}\" meta l4proto {{ tcp, udp }} masquerade to :{CLIENT_PORTS}
		oifname {{ \"{link}\", \"{UPLINK}\" }} masquerade
	}}
"
    )
}

/// The chains whose rules depend on the lab or the host.
#[derive(Default)]
struct Chains {
    prerouting: String,
    output: String,
    forward: String,
}

impl Chains {
    fn of(uplink: &Uplink, link: &str) -> Self {
        let mut chains = Self::default();
        chains.published(uplink);
        chains.name_servers(uplink, link);
        chains.out(uplink);
        chains
    }

    /// pasta hands over what came to the host's loopback address on the loopback interface, and the
    /// rest on the TAP device.
    fn published(&mut self, uplink: &Uplink) {
        for it in &uplink.published {
            let family = family(it.address);
            let rest = format!("{} dport {} dnat {family} to {}", it.protocol, it.port, it.to);
            line(&mut self.output, format!("oifname \"lo\" meta nfproto {} {rest}", nfproto(it)));
            let near = |prefix: &&IpNet| prefix.addr().is_ipv4() == it.address.is_ipv4();
            if let Some(prefix) = uplink.transit.iter().find(near) {
                let near = Transit::Near.within(prefix).addr();
                line(
                    &mut self.prerouting,
                    format!("iifname \"{UPLINK}\" {family} daddr {near} {rest}"),
                );
            }
        }
    }

    /// Questions to the gateway go to the host's name server: over UDP through pasta, which can ask
    /// one that listens on the host's loopback address, over TCP straight to one that is elsewhere.
    fn name_servers(&mut self, uplink: &Uplink, link: &str) {
        for (gateway, transit) in uplink.gateways.iter().zip(&uplink.transit) {
            let family = family(gateway.addr());
            let asked = format!("iifname \"{link}\" {family} daddr {}", gateway.addr());
            let server = Transit::NameServer.within(transit).addr();
            line(&mut self.prerouting, format!("{asked} udp dport 53 dnat {family} to {server}"));
            line(&mut self.forward, format!("{family} daddr {server} udp dport 53 accept"));
            let same = |it: &&IpAddr| it.is_ipv4() == gateway.addr().is_ipv4();
            if let Some(resolver) = uplink.resolvers.iter().find(same) {
                line(
                    &mut self.prerouting,
                    format!("{asked} tcp dport 53 dnat {family} to {resolver}"),
                );
            }
        }
    }

    /// What nodes may send out, and whereto.
    fn out(&mut self, uplink: &Uplink) {
        let own = uplink.gateways.iter().chain(&uplink.transit).map(IpNet::trunc);
        let closed: Vec<IpNet> =
            blocked(&own.chain(uplink.blocked.iter().copied()).collect::<Vec<_>>());
        for (is_ipv4, family) in [(true, "ip"), (false, "ip6")] {
            let of_family = |address: &IpAddr| address.is_ipv4() == is_ipv4;
            let to = closed.iter().filter(|it| of_family(&it.addr())).map(IpNet::to_string);
            let to: Vec<String> = to.collect();
            if !to.is_empty() {
                line(&mut self.forward, format!("{family} daddr {{ {} }} drop", to.join(", ")));
            }
            let from: Vec<String> =
                uplink.nodes.iter().filter(|it| of_family(it)).map(IpAddr::to_string).collect();
            if from.is_empty() {
                continue;
            }
            let place = if is_ipv4 { format!("!= {NOWHERE}") } else { SOMEWHERE.to_owned() };
            let from = from.join(", ");
            line(
                &mut self.forward,
                format!("{family} saddr {{ {from} }} {family} daddr {place} accept"),
            );
        }
    }
}

fn line(chain: &mut String, text: String) {
    chain.push_str("\t\t");
    chain.push_str(&text);
    chain.push('\n');
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

fn nfproto(published: &Published) -> &'static str {
    if published.address.is_ipv4() { "ipv4" } else { "ipv6" }
}

/// What pasta is started with, besides the namespaces that it works in. Each port is asked for by
/// itself: of several at once, pasta is content with one.
pub fn arguments(uplink: &Uplink) -> Vec<String> {
    let fixed = [
        "--foreground",
        "--quiet",
        "--stderr",
        "--no-dhcp",
        "--no-dhcpv6",
        "--no-ra",
        "--no-map-gw",
        "--no-netns-quit",
        "--ns-ifname",
        UPLINK,
        "--mac-addr",
        FAR_MAC,
        "--interface",
        &uplink.device,
        "--tcp-ns",
        "none",
        "--udp-ns",
        "none",
    ];
    let mut arguments: Vec<String> = fixed.map(str::to_owned).to_vec();
    if uplink.transit.iter().all(|it| it.addr().is_ipv4()) {
        arguments.push("--ipv4-only".to_owned());
    }
    for prefix in &uplink.transit {
        let address = |which: Transit| which.within(prefix).addr().to_string();
        arguments.extend(["--address".to_owned(), address(Transit::Near)]);
        if prefix.addr().is_ipv4() {
            arguments.extend(["--netmask".to_owned(), prefix.prefix_len().to_string()]);
        }
        arguments.extend(["--gateway".to_owned(), address(Transit::Far)]);
        arguments.extend(["--dns-forward".to_owned(), address(Transit::NameServer)]);
    }
    for (protocol, option) in
        [(model::Transport::Tcp, "--tcp-ports"), (model::Transport::Udp, "--udp-ports")]
    {
        let published = uplink.published.iter().filter(|it| it.protocol == protocol);
        let mut ports: Vec<String> =
            published.map(|it| format!("{}/{}", it.address, it.port)).collect();
        if ports.is_empty() {
            ports.push("none".to_owned());
        }
        arguments.extend(ports.into_iter().flat_map(|ports| [option.to_owned(), ports]));
    }
    arguments
}
