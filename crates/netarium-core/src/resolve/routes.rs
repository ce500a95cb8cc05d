//! Routes and default gateways.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Context, segments};
use crate::model::{Interface, Route, Via};
use crate::name::Name;
use crate::problem::{Place, Placed, Problem, Problems, suggestion};
use crate::spec::{self, Word};

/// The routes of a node: those of `gateway`, then those of `routes`.
///
/// If something is missing from `interfaces` (`broken`), that a gateway or an interface is not
/// found there says nothing.
pub(super) fn resolve(
    node: &Name,
    written: &spec::Node,
    context: &Context<'_>,
    interfaces: &[Interface],
    broken: bool,
    problems: &mut Problems,
) -> Vec<Route> {
    let on = Links { node, interfaces, context, broken };
    let mut seen = BTreeMap::new();
    let mut routes = Vec::new();
    for word in &written.gateway {
        if let Some((to, via)) = default_route(word, &on, problems) {
            keep(Route { to, via }, word.place, &mut seen, &mut routes, problems);
        }
    }
    for route in &written.routes {
        let to = destination(&route.to, problems);
        let via = via(&route.via, to.as_ref(), &on, problems);
        if let (Some(to), Some(via)) = (to, via) {
            on.check_not_connected(&to, problems);
            keep(Route { to: to.value, via }, to.place, &mut seen, &mut routes, problems);
        }
    }
    routes
}

fn keep(
    route: Route,
    place: Place,
    seen: &mut BTreeMap<IpNet, Place>,
    routes: &mut Vec<Route>,
    problems: &mut Problems,
) {
    match seen.get(&route.to) {
        Some(&first) => {
            let message = format!("there is already a route to {}", route.to);
            problems.add(Problem::new(message).at(place).note(first, "the first is here"));
        }
        None => {
            seen.insert(route.to, place);
            routes.push(route);
        }
    }
}

fn default_route(word: &Word, on: &Links<'_>, problems: &mut Problems) -> Option<(IpNet, Via)> {
    let Ok(address) = word.parse::<IpAddr>() else {
        let problem = Problem::new(format!("{} is no address", word.value)).at(word.place);
        problems.add(problem.hint("a gateway is an address like 10.0.0.1"));
        return None;
    };
    let any = match address {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let via = on.gateway("gateway", address, word.place, problems)?;
    Some((IpNet::new(any, 0).ok()?, via))
}

fn destination(word: &Word, problems: &mut Problems) -> Option<Placed<IpNet>> {
    if word.value == "default" {
        let problem = Problem::new("default is no prefix").at(word.place);
        problems.add(problem.hint("write gateway: ADDRESS, or to: 0.0.0.0/0 or ::/0"));
        return None;
    }
    segments::prefix(word, problems)
}

fn via(
    word: &Word,
    to: Option<&Placed<IpNet>>,
    on: &Links<'_>,
    problems: &mut Problems,
) -> Option<Via> {
    match word.value.as_str() {
        "unreachable" => return Some(Via::Unreachable),
        "blackhole" => return Some(Via::Blackhole),
        "prohibit" => return Some(Via::Prohibit),
        _ => {}
    }
    if let Ok(address) = word.parse::<IpAddr>() {
        if let Some(to) = to.filter(|to| to.addr().is_ipv4() != address.is_ipv4()) {
            let message = format!("{} cannot be reached via {address}", to.value);
            let hint = "one is IPv4, the other IPv6";
            problems.add(Problem::new(message).at(word.place).hint(hint));
            return None;
        }
        return on.gateway("router", address, word.place, problems);
    }
    on.interface(word, problems)
}

/// What a node is on.
struct Links<'c> {
    node: &'c Name,
    interfaces: &'c [Interface],
    context: &'c Context<'c>,
    broken: bool,
}

impl Links<'_> {
    /// The way to a router: through the interface with the longest prefix that has it, the first
    /// of them if there are several.
    fn gateway(
        &self,
        word: &str,
        address: IpAddr,
        place: Place,
        problems: &mut Problems,
    ) -> Option<Via> {
        let mut best: Option<(u8, &Interface)> = None;
        for interface in self.interfaces {
            for own in &interface.addresses {
                if own.addr() == address {
                    let message = format!("{word} {address} is {}'s own address", self.node);
                    problems.at(place, message);
                    return None;
                }
                if own.contains(&address) && best.is_none_or(|(most, _)| own.prefix_len() > most) {
                    best = Some((own.prefix_len(), interface));
                }
            }
        }
        if let Some((_, interface)) = best {
            return Some(Via::Gateway { address, interface: interface.name.clone() });
        }
        if !self.broken {
            let message = format!("{word} {address} is on no segment of {}", self.node);
            problems.add(Problem::new(message).at(place).hint(self.where_is(address)));
        }
        None
    }

    /// Where an address is that is on none of the node's own segments.
    fn where_is(&self, address: IpAddr) -> String {
        let segment =
            self.context.segments.iter().find(|(_, segment)| {
                segment.prefixes.iter().any(|prefix| prefix.contains(&address))
            });
        if let Some((segment, _)) = segment {
            return format!("segment {segment} has it: give {} an address there", self.node);
        }
        let own: Vec<String> = self
            .interfaces
            .iter()
            .flat_map(|interface| &interface.addresses)
            .map(|address| address.trunc().to_string())
            .collect();
        if own.is_empty() {
            format!("{} has no address at all", self.node)
        } else {
            format!("{} is on {}", self.node, own.join(" and "))
        }
    }

    fn interface(&self, word: &Word, problems: &mut Problems) -> Option<Via> {
        let found = self.interfaces.iter().find(|interface| interface.name.as_str() == word.value);
        if found.is_none() && !self.broken {
            let names = self.interfaces.iter().map(|interface| interface.name.as_str());
            let known: Vec<_> = names.chain(["unreachable", "blackhole", "prohibit"]).collect();
            let message = format!("{} has no interface {}", self.node, word.value);
            let mut problem = Problem::new(message).at(word.place);
            problem.hint = suggestion(word, known);
            problems.add(problem);
        }
        found.map(|interface| Via::Interface(interface.name.clone()))
    }

    /// The kernel makes the routes to a node's own segments.
    fn check_not_connected(&self, to: &Placed<IpNet>, problems: &mut Problems) {
        let own = self.interfaces.iter().find(|interface| {
            interface.addresses.iter().any(|address| address.trunc() == to.value)
        });
        if let Some(interface) = own {
            let message = format!("{} is on {} already", self.node, to.value);
            let hint = format!("{} leads there", interface.name);
            problems.add(Problem::new(message).at(to.place).hint(hint));
        }
    }
}
