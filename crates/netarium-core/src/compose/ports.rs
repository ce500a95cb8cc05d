//! `ports` of a service: what of the host leads to it.

use super::reader::{self, Keys};
use crate::problem::{Placed, Problem, Problems};
use crate::spec::Word;
use crate::spec::decode::{list, word};
use crate::spec::tree::{Tree, Value};

/// Reads the ports of a service, each in the words of a lab file's `publish`.
pub(super) fn read(tree: &Tree, problems: &mut Problems) -> Vec<Word> {
    let items = list("ports", tree, problems).iter();
    items.filter_map(|item| read_one(item, problems)).collect()
}

fn read_one(tree: &Tree, problems: &mut Problems) -> Option<Word> {
    let value = match &tree.value {
        Value::Table(_) => long(tree, problems)?,
        _ => short(&word("port", tree, problems)?, problems)?,
    };
    Some(Placed { value, place: tree.place })
}

/// `[[ADDRESS:]HOST:]PORT[/PROTOCOL]`; the address may be IPv6, in brackets or not.
fn short(word: &Word, problems: &mut Problems) -> Option<String> {
    let (rest, protocol) = word.rsplit_once('/').unwrap_or((word, "tcp"));
    let Some((host, port)) = rest.rsplit_once(':') else {
        problems.add(no_host_port(rest).at(word.place));
        return None;
    };
    let (address, published) = match host.rsplit_once(':') {
        Some((address, published)) => (Some(address), published),
        None => (None, host),
    };
    publication(address, published, port, protocol, word, problems)
}

fn long(tree: &Tree, problems: &mut Problems) -> Option<String> {
    let mut keys = Keys::open("a port", tree, problems)?;
    let target = keys.word("target", problems);
    let published = keys.word("published", problems);
    let address = keys.word("host_ip", problems);
    let protocol = keys.word("protocol", problems);
    // Nobody else runs a lab's nodes, so that `host` and `ingress` are the same.
    keys.pass(&["mode", "name", "app_protocol"]);
    let place = keys.place();
    keys.close(problems);
    let Some(target) = target else {
        problems.at(place, "a port has no target");
        return None;
    };
    let Some(published) = published else {
        problems.add(no_host_port(&target).at(place));
        return None;
    };
    let address = address.as_ref().map(|word| word.value.as_str());
    let protocol = protocol.as_ref().map_or("tcp", |word| word.value.as_str());
    publication(address, &published, &target, protocol, &published, problems)
}

fn publication(
    address: Option<&str>,
    published: &str,
    port: &str,
    protocol: &str,
    word: &Word,
    problems: &mut Problems,
) -> Option<String> {
    if !matches!(protocol, "tcp" | "udp") {
        let message = format!("ports of {protocol} cannot be published");
        problems.unsupported(reader::left_out(message, word.place, "tcp and udp can"));
        return None;
    }
    if published.is_empty() {
        problems.add(no_host_port(port).at(word.place));
        return None;
    }
    let address = address.map(|it| it.trim_start_matches('[').trim_end_matches(']'));
    let address = match address {
        None | Some("") => String::new(),
        Some(address) if address.contains(':') => format!("[{address}]:"),
        Some(address) => format!("{address}:"),
    };
    Some(format!("{address}{published}:{port}/{protocol}"))
}

fn no_host_port(port: &str) -> Problem {
    Problem::new(format!("port {port} has no port of the host: any would do, and none is the same"))
        .hint(format!("write \"{port}:{port}\", or expose it"))
}

/// What makes two ports one and the same when files are merged.
pub(super) fn mark_of(tree: &Tree) -> Option<String> {
    let mut quiet = Problems::default();
    read_one(tree, &mut quiet).map(|word| word.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_people_write_them() {
        for (text, expected) in [
            ("8080:80", "8080:80/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
            ("53:53/udp", "53:53/udp"),
            ("[::1]:80:8080", "[::1]:80:8080/tcp"),
            ("9000-9010:9000-9010", "9000-9010:9000-9010/tcp"),
        ] {
            let tree = Tree { place: Default::default(), value: Value::Scalar(text.to_owned()) };
            assert_eq!(mark_of(&tree).as_deref(), Some(expected), "{text}");
        }
    }
}
