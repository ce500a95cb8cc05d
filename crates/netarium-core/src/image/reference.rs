//! The name of an image in a registry, as people write it and in full.
//!
//! The grammar is that of the OCI distribution specification ("Pulling manifests"); what is left
//! out is filled in as Docker does: `debian` is `docker.io/library/debian:latest`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The registry of a name that has none.
const DEFAULT_REGISTRY: &str = "docker.io";

/// Other names of that registry.
const OTHER_NAMES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Where that registry keeps what has a name of one part.
const LIBRARY: &str = "library/";

/// The tag of a name that has neither tag nor digest.
const DEFAULT_TAG: &str = "latest";

/// The longest registry and repository together (OCI distribution specification).
const LONGEST: usize = 255;

/// The longest tag.
const LONGEST_TAG: usize = 128;

/// The name of an image in a registry. It always has a tag or a digest; where it has both, the
/// digest is what counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why words are no name of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no image: {fault}")]
pub struct ReferenceError {
    word: String,
    fault: Fault,
}

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("there is nothing before the tag or digest")]
    Empty,
    #[error("it is a URL")]
    Url,
    #[error("{0:?} is no registry")]
    Registry(String),
    #[error("{0:?} is no port")]
    Port(String),
    #[error("{0:?} has capital letters")]
    Capitals(String),
    #[error("{0:?} is no part of a name")]
    Part(String),
    #[error("{0:?} is no tag")]
    Tag(String),
    #[error("{0:?} is no digest")]
    Digest(String),
    #[error("it has more than {LONGEST} characters")]
    Long,
}

impl ReferenceError {
    /// What to write.
    pub fn hint(&self) -> String {
        match &self.fault {
            Fault::Empty | Fault::Long => "write debian:12 or ghcr.io/owner/name:tag".to_owned(),
            Fault::Url => "leave https:// out: registries are always asked that way".to_owned(),
            Fault::Registry(_) => "a registry is a host name, with a port if it needs one: \
                                   registry.example.org:5000"
                .to_owned(),
            Fault::Port(_) => "a port is a number from 1 to 65535".to_owned(),
            Fault::Capitals(part) => format!("write {}", part.to_lowercase()),
            Fault::Part(_) => {
                "each part is made of a-z and 0-9, with -, _ or . between them".to_owned()
            }
            Fault::Tag(_) => format!(
                "a tag is made of letters, digits, -, _ and ., does not begin with - or ., and has \
                 at most {LONGEST_TAG} characters"
            ),
            Fault::Digest(_) => "a digest is sha256: and 64 hexadecimal digits".to_owned(),
        }
    }
}

impl Reference {
    /// The host of the registry, with its port if one is named. Docker's own is `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry, `library/debian` for example.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` if neither tag nor digest was named.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was named: `sha256:` and 64 hexadecimal digits.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The name as short as people write it, `debian:12` for example.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) = full.strip_prefix("docker.io/") else { return full };
        short.strip_prefix(LIBRARY).unwrap_or(short).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(word: &str) -> Result<Self, ReferenceError> {
        parse(word).map_err(|fault| ReferenceError { word: word.to_owned(), fault })
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

fn parse(word: &str) -> Result<Reference, Fault> {
    if word.contains("://") {
        return Err(Fault::Url);
    }
    let (name, digest) = match word.split_once('@') {
        Some((name, digest)) => (name, Some(self::digest(digest)?)),
        None => (word, None),
    };
    // A colon before the last slash is that of a port.
    let after_slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[after_slash..].split_once(':') {
        Some((last, tag)) => (&name[..after_slash + last.len()], Some(self::tag(tag)?)),
        None => (name, None),
    };
    if name.is_empty() {
        return Err(Fault::Empty);
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if is_host(first) => (first, path),
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = self::registry(registry)?;
    path.split('/').try_for_each(part)?;
    let library = if registry == DEFAULT_REGISTRY && !path.contains('/') { LIBRARY } else { "" };
    let repository = format!("{library}{path}");
    if registry.len() + 1 + repository.len() > LONGEST {
        return Err(Fault::Long);
    }
    let tag = match (tag, &digest) {
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (tag, _) => tag,
    };
    Ok(Reference { registry, repository, tag, digest })
}

/// Whether the first part of a name is a registry, as Docker tells them from other names.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.starts_with('[')
}

fn registry(word: &str) -> Result<String, Fault> {
    let (host, port) = match word.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            let port = if rest.is_empty() { Some(None) } else { rest.strip_prefix(':').map(Some) };
            match port.filter(|_| is_address) {
                Some(port) => (None, port),
                None => return Err(Fault::Registry(word.to_owned())),
            }
        }
        None => match word.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(word), None),
        },
    };
    let is_label = |label: &str| {
        let edges = [label.bytes().next(), label.bytes().last()];
        edges.iter().all(|edge| edge.is_some_and(|byte| byte.is_ascii_alphanumeric()))
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !host.is_none_or(|host| host.split('.').all(is_label)) {
        return Err(Fault::Registry(word.to_owned()));
    }
    let is_port = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        digits && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if let Some(port) = port.filter(|port| !is_port(port)) {
        return Err(Fault::Port(port.to_owned()));
    }
    let name = word.to_ascii_lowercase();
    let is_default = OTHER_NAMES.contains(&name.as_str());
    Ok(if is_default { DEFAULT_REGISTRY.to_owned() } else { name })
}

/// One part of a path: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn part(part: &str) -> Result<(), Fault> {
    if part.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Fault::Capitals(part.to_owned()));
    }
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let between = part.split(|letter: char| letter.is_ascii() && is_letter(letter as u8));
    let edges = [part.bytes().next(), part.bytes().last()];
    let is_fine = edges.iter().all(|edge| edge.is_some_and(is_letter))
        && between
            .into_iter()
            .all(|it| matches!(it, "" | "." | "_" | "__") || it.bytes().all(|byte| byte == b'-'));
    if is_fine { Ok(()) } else { Err(Fault::Part(part.to_owned())) }
}

fn tag(tag: &str) -> Result<String, Fault> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_fine = tag.bytes().next().is_some_and(is_word)
        && tag.len() <= LONGEST_TAG
        && tag.bytes().all(|byte| is_word(byte) || byte == b'-' || byte == b'.');
    if is_fine { Ok(tag.to_owned()) } else { Err(Fault::Tag(tag.to_owned())) }
}

fn digest(digest: &str) -> Result<String, Fault> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    let is_fine = hex.len() == 64 && hex.bytes().all(is_hex);
    if is_fine { Ok(digest.to_owned()) } else { Err(Fault::Digest(digest.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn what_is_left_out_is_filled_in_as_docker_does() {
        let digest = format!("@sha256:{HEX}");
        for (word, full) in [
            ("debian", "docker.io/library/debian:latest"),
            ("debian:12", "docker.io/library/debian:12"),
            ("docker.io/debian", "docker.io/library/debian:latest"),
            ("index.docker.io/library/debian", "docker.io/library/debian:latest"),
            ("grafana/grafana:10", "docker.io/grafana/grafana:10"),
            ("ghcr.io/x/y/z", "ghcr.io/x/y/z:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x:1", "localhost:5000/x:1"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("Registry.Example.org/a__b/c--d.e", "registry.example.org/a__b/c--d.e:latest"),
        ] {
            assert_eq!(word.parse::<Reference>().unwrap().to_string(), full);
            let with_digest = format!("{word}{digest}").parse::<Reference>().unwrap();
            assert_eq!(with_digest.digest(), Some(&digest[1..]));
        }
        assert_eq!(format!("a/b{digest}").parse::<Reference>().unwrap().tag(), None);
    }

    #[test]
    fn what_people_write_comes_back() {
        for word in ["debian:12", "grafana/grafana:10", "ghcr.io/x/y:1", "localhost:5000/x:1"] {
            assert_eq!(word.parse::<Reference>().unwrap().familiar(), word);
        }
    }

    #[test]
    fn what_is_no_image_is_told_with_the_part_at_fault() {
        for (word, told) in [
            ("", "\"\" is no image: there is nothing before the tag or digest"),
            (":12", "\":12\" is no image: there is nothing before the tag or digest"),
            ("https://ghcr.io/a", "\"https://ghcr.io/a\" is no image: it is a URL"),
            ("Debian:12", "\"Debian:12\" is no image: \"Debian\" has capital letters"),
            ("a//b", "\"a//b\" is no image: \"\" is no part of a name"),
            ("a/../b", "\"a/../b\" is no image: \"..\" is no part of a name"),
            ("a_-b", "\"a_-b\" is no image: \"a_-b\" is no part of a name"),
            ("a:", "\"a:\" is no image: \"\" is no tag"),
            ("a:-x", "\"a:-x\" is no image: \"-x\" is no tag"),
            ("a:b:c", "\"a:b:c\" is no image: \"b:c\" is no tag"),
            ("a@sha256:12", "\"a@sha256:12\" is no image: \"sha256:12\" is no digest"),
            ("host:0/a", "\"host:0/a\" is no image: \"0\" is no port"),
            ("host:99999/a", "\"host:99999/a\" is no image: \"99999\" is no port"),
            ("host:+1/a", "\"host:+1/a\" is no image: \"+1\" is no port"),
            ("-a.b/c", "\"-a.b/c\" is no image: \"-a.b\" is no registry"),
            ("[::g]/c", "\"[::g]/c\" is no image: \"[::g]\" is no registry"),
        ] {
            assert_eq!(word.parse::<Reference>().unwrap_err().to_string(), told);
        }
        let long = format!("{}/{}", "a".repeat(200), "b".repeat(200));
        assert!(long.parse::<Reference>().unwrap_err().to_string().ends_with("255 characters"));
        let error = "Debian".parse::<Reference>().unwrap_err();
        assert_eq!(error.hint(), "write debian");
    }
}
