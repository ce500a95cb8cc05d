//! A network before it is a lab file, and how that is written.

use std::fmt::{self, Write};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Order;
use crate::name::Name;

/// The longest line of routes, in routes.
const IN_A_LINE: usize = 4;

/// A network: everything by its number.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) segments: Vec<Segment>,
    pub(super) nodes: Vec<Node>,
    /// Who asks whom.
    pub(super) checks: Vec<(usize, usize)>,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) prefix: Ipv4Net,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Two ends.
    Cable,
    /// Any number.
    Shared,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    /// Its interfaces: on which segment, with which address.
    pub(super) ends: Vec<(usize, Ipv4Addr)>,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) routes: Vec<(Ipv4Net, Ipv4Addr)>,
}

impl Node {
    pub(super) fn named(name: String) -> Self {
        Self { name, ends: Vec::new(), gateway: None, routes: Vec::new() }
    }
}

impl Network {
    /// Lays a cable between two nodes: the first has the even address.
    pub(super) fn cable(&mut self, prefix: Ipv4Net, ends: [usize; 2]) {
        let segment = self.segments.len();
        let addresses = [prefix.network(), prefix.broadcast()];
        let name = ends.map(|end| self.nodes[end].name.as_str()).join("-");
        self.segments.push(Segment { name, prefix, kind: Kind::Cable });
        for (end, address) in ends.into_iter().zip(addresses) {
            self.nodes[end].ends.push((segment, address));
        }
    }

    /// The lab file.
    pub(super) fn text(&self, order: &Order) -> String {
        let mut text = String::new();
        self.write(order, &mut text).expect("text can always be added to text");
        text
    }

    fn write(&self, order: &Order, text: &mut String) -> fmt::Result {
        let Order { lab, image, origin, .. } = order;
        // Any word in quotes of JSON is one in YAML, too.
        let image = match Name::new(image) {
            Ok(name) => name.to_string(),
            Err(_) => serde_json::Value::from(image.as_str()).to_string(),
        };
        writeln!(text, "# {origin}")?;
        writeln!(text, "name: {lab}\nimage: {image}\nsegments:")?;
        for Segment { name, prefix, kind } in &self.segments {
            match kind {
                Kind::Cable => writeln!(text, "  {name}: {{prefix: {prefix}, driver: veth}}")?,
                Kind::Shared => writeln!(text, "  {name}: {prefix}")?,
            }
        }
        writeln!(text, "nodes:")?;
        self.nodes.iter().try_for_each(|node| self.write_node(node, text))?;
        writeln!(text, "checks:")?;
        for (from, to) in &self.checks {
            let (from, to) = (&self.nodes[*from].name, &self.nodes[*to]);
            let address = to.ends.first().map_or(Ipv4Addr::UNSPECIFIED, |(_, address)| *address);
            writeln!(text, "  - {{from: {from}, ping: {address}}}")?;
        }
        Ok(())
    }

    fn write_node(&self, node: &Node, text: &mut String) -> fmt::Result {
        let end = |(segment, address): &(usize, Ipv4Addr)| {
            format!("{}: {address}", self.segments[*segment].name)
        };
        let ends: Vec<String> = node.ends.iter().map(end).collect();
        writeln!(text, "  {}:", node.name)?;
        if node.ends.len() > 1 {
            writeln!(text, "    forward: true")?;
        }
        writeln!(text, "    interfaces: {{{}}}", ends.join(", "))?;
        if let Some(gateway) = node.gateway {
            writeln!(text, "    gateway: {gateway}")?;
        }
        if !node.routes.is_empty() {
            let route = |(to, via): &(Ipv4Net, Ipv4Addr)| format!("{{to: {to}, via: {via}}}");
            let routes: Vec<String> = node.routes.iter().map(route).collect();
            let lines: Vec<String> = routes.chunks(IN_A_LINE).map(|some| some.join(", ")).collect();
            writeln!(text, "    routes: [{}]", lines.join(",\n      "))?;
        }
        Ok(())
    }
}
