//! Whom a check asks: hosts, ports and URLs as written, to addresses.

use std::net::IpAddr;

use crate::name::Name;
use crate::problem::{Problem, Problems};
use crate::resolve::Context;
use crate::spec::Word;

/// Takes an `http:` URL (RFC 9110) apart: host, port, path with query.
pub(super) fn url<'w>(word: &'w Word, problems: &mut Problems) -> Option<(&'w str, u16, String)> {
    let fault = |hint: &str| {
        Problem::new(format!("{} is no URL for a check", word.value)).at(word.place).hint(hint)
    };
    let Some(rest) = word.value.strip_prefix("http://") else {
        problems.add(fault("it begins with http://"));
        return None;
    };
    // What is sent must not end the request line.
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['#', '@']) {
        problems
            .add(fault("it has no blanks, user or fragment, and other letters are written %xx"));
        return None;
    }
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(split);
    let Some((host, port)) = host_and_port(authority).filter(|(host, _)| !host.is_empty()) else {
        problems.add(fault("write http://HOST:PORT/PATH"));
        return None;
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some((host, port.unwrap_or(80), path))
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
pub(super) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?;
    let port = digits.parse().ok().filter(|&port| port != 0)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some((host, Some(port)))
}

/// The address of a host: itself, or the first one of the node that the asker has the family for.
/// Those on a segment that both are on go first, as in the asker's `/etc/hosts`.
pub(super) fn address(
    host: &Word,
    asker: Option<&Name>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<IpAddr> {
    if let Ok(address) = host.parse() {
        return Some(address);
    }
    if host.contains(['.', ':']) || host.is_empty() {
        let problem = Problem::new(format!("{:?} is no host", host.value)).at(host.place);
        problems.add(problem.hint("write an address or the name of a node"));
        return None;
    }
    let name = context.node_names.find(host, problems)?;
    let node = context.nodes.get(&name)?;
    let asker = asker.and_then(|asker| context.nodes.get(asker));
    let has_family = |address: &IpAddr| {
        asker.is_none_or(|asker| {
            asker.addresses().any(|(_, own)| own.is_ipv4() == address.is_ipv4())
        })
    };
    let near = |segment: &Name| {
        asker.is_some_and(|asker| asker.interfaces.iter().any(|it| it.segment == *segment))
    };
    let fit: Vec<_> = node.addresses().filter(|(_, address)| has_family(address)).collect();
    let shared = fit.iter().find(|(interface, _)| near(&interface.segment));
    let found = shared.or(fit.first()).map(|(_, address)| *address);
    if found.is_none() && !node.broken && asker.is_none_or(|asker| !asker.broken) {
        let problem = if node.addresses().next().is_none() {
            Problem::new(format!("{name} has no address"))
        } else {
            Problem::new(format!("{name} has no address that can be asked from there"))
                .hint("both need IPv4, or both IPv6")
        };
        problems.add(problem.at(host.place));
    }
    found
}
