//! One node: everything about it that needs no other node.

use super::images::{self, Images};
use super::interfaces::{self, Taken};
use super::{Context, Wired, files, lookup, order, process, routes, services, sysctls};
use crate::compose::Given;
use crate::firewall::Firewall;
use crate::model::{Forwarding, Image, Interface, Limits, Nesting, Node, Upkeep};
use crate::name::Name;
use crate::problem::{Place, Problem, Problems};
use crate::spec::{self, Word};

/// Resolves a node. What has a problem is left out.
pub(super) fn resolve(
    name: &Name,
    written: &spec::Node,
    images: &Images<'_>,
    context: &Context<'_>,
    taken: &mut Taken,
    problems: &mut Problems,
) -> (Node, Wired) {
    let image = images.of(written.image.as_ref(), problems).unwrap_or(Image::Host);
    let (interfaces, broken) = interfaces::resolve(name, written, context, taken, problems);
    let uplink = context.uplinks.interface(name, &context.lab);
    let all: Vec<Interface> = interfaces.iter().chain(&uplink).cloned().collect();
    let mut routes = routes::resolve(name, written, context, &all, broken, problems);
    if written.has_way_out() && uplink.is_some() {
        context.uplinks.add_default_routes(&mut routes);
    }
    let forward = written.forward.as_ref().is_some_and(|forward| forward.value);
    let nests = written.nesting.as_ref().is_some_and(|nesting| nesting.value);
    let volumes = files::volumes(&written.volumes, context.sources, problems);
    let main = process::main(&written.main, &image, problems);
    let node = Node {
        image,
        forwarding: if forward { Forwarding::On } else { Forwarding::Off },
        sysctls: sysctls::resolve(&written.sysctls, &all, problems),
        services: services::resolve(&written.services, main.as_ref(), problems),
        main,
        after: order::after(&written.after, &context.node_names, problems),
        limits: limits(&written.limits, problems),
        interfaces: all,
        routes: routes.clone(),
        // It is resolved when the tunnels are known.
        firewall: Firewall::default(),
        files: files::files(&written.files, &volumes, context.sources, problems),
        volumes,
        nesting: if nests { Nesting::Allowed } else { Nesting::Refused },
        hostname: written.hostname.as_ref().and_then(|word| lookup::hostname(word, problems)),
        aliases: lookup::aliases(name, &written.aliases, &context.node_names, problems),
        hosts: lookup::hosts(&written.hosts, problems),
        dns: written.dns.as_ref().map(|dns| lookup::dns(dns, problems)),
        upkeep: Upkeep::Lab,
    };
    let node = match &written.given {
        Some(given) => with_given(node, given, (name, context), problems),
        None => node,
    };
    (node, Wired { interfaces, uplink, routes, broken })
}

/// Adds what a Compose file says of a node.
fn with_given(
    node: Node,
    given: &Given,
    (name, context): (&Name, &Context<'_>),
    problems: &mut Problems,
) -> Node {
    let mut interfaces = node.interfaces;
    for (interface, aliases) in interfaces.iter_mut().zip(&given.aliases_at) {
        interface.aliases.clone_from(aliases);
    }
    Node {
        image: images::given(given, name, context, problems).unwrap_or(node.image),
        interfaces,
        forwarding: given.forwarding,
        main: Some(given.main.clone()),
        volumes: files::with_memory(node.volumes, &given.memory, problems),
        hostname: given.hostname.clone(),
        aliases: given.aliases.clone(),
        hosts: given.hosts.clone(),
        dns: given.dns.clone(),
        // Its scripts were written for containers: they set what they need, and own it then.
        upkeep: Upkeep::Programs,
        ..node
    }
}

fn limits(written: &spec::Limits, problems: &mut Problems) -> Limits {
    let memory = written.memory.as_ref().and_then(|word| memory(word, problems));
    let hint = "write 0.5 for half a processor, with at most three decimals";
    let millicpus = written.cpus.as_ref().and_then(|word| limit(word, thousandths, hint, problems));
    let pids = written.pids.as_ref().map(|pids| pids.value);
    if let Some(pids) = written.pids.as_ref().filter(|pids| pids.value == 0) {
        problems.add(zero("0", pids.place));
    }
    Limits { memory, millicpus, pids }
}

/// So much memory, in bytes.
pub(super) fn memory(word: &Word, problems: &mut Problems) -> Option<u64> {
    limit(word, bytes, "write 64MiB, 1GiB or a number of bytes", problems)
}

fn limit<T: PartialEq + From<u8>>(
    word: &Word,
    read: impl Fn(&str) -> Option<T>,
    hint: &str,
    problems: &mut Problems,
) -> Option<T> {
    let value = read(word);
    match &value {
        None => {
            let message = format!("{} is no limit", word.value);
            problems.add(Problem::new(message).at(word.place).hint(hint));
        }
        Some(value) if *value == T::from(0) => problems.add(zero(word, word.place)),
        Some(_) => {}
    }
    value
}

fn zero(what: &str, place: Place) -> Problem {
    Problem::new(format!("a limit of {what} leaves nothing to run with"))
        .at(place)
        .hint("leave it out for no limit")
}

/// Bytes with an optional unit (IEC 80000-13).
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number(digits)?.checked_mul(unit)
}

/// A decimal number, in thousandths.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.len() > 3 {
        return None;
    }
    let part = number(&format!("{part:0<3}"))?;
    number(whole)?.checked_mul(1000)?.checked_add(part)?.try_into().ok()
}

fn number(digits: &str) -> Option<u64> {
    let fits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if fits { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_fractions_are_read_as_people_write_them() {
        assert_eq!(bytes("64MiB"), Some(64 << 20));
        assert_eq!(bytes("2 GB"), Some(2_000_000_000));
        assert_eq!(bytes("1024"), Some(1024));
        for text in ["", "MiB", "64M", "-1", "99999999999999999999", "99999999999GiB", "1.5GiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(thousandths("0.5"), Some(500));
        assert_eq!(thousandths("2"), Some(2000));
        for text in ["", ".5", "0.0001", "1e3", "-1", "99999999"] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }
}
