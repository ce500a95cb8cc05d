//! The security associations that a daemon tells of, over VICI's `list-sas`.

use serde::{Deserialize, Serialize};

use super::{Algorithms, Section};
use crate::name::Name;

/// An IKE association (RFC 7296) as a daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sa {
    /// The tunnel whose connection it belongs to.
    pub tunnel: String,
    /// The daemon's word for its state, `ESTABLISHED` for example.
    pub state: String,
    /// This end's address.
    pub local: String,
    /// The other end's address.
    pub remote: String,
    /// What protects it.
    pub algorithms: Algorithms,
    /// How long it has been there, in seconds.
    pub age: u64,
    /// The numbers by which the two ends call it, initiator's first: the same at both.
    pub spis: [String; 2],
    /// What it carries packets with.
    pub children: Vec<Child>,
}

/// A pair of ESP associations (RFC 4303) as a daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The tunnel.
    pub tunnel: String,
    /// The daemon's word for its state, `INSTALLED` for example.
    pub state: String,
    /// What protects it.
    pub algorithms: Algorithms,
    /// The numbers by which packets are told, those that come in first.
    pub spis: [String; 2],
    /// The prefixes behind this end.
    pub local_ts: Vec<String>,
    /// The prefixes behind the other end.
    pub remote_ts: Vec<String>,
    /// Bytes received, without the tunnel's own headers.
    pub bytes_in: u64,
    /// Bytes sent, without the tunnel's own headers.
    pub bytes_out: u64,
}

impl Sa {
    /// Those in one event of the daemon's answer.
    pub fn of_event(event: &Section) -> Vec<Self> {
        event.sections().map(|(name, section)| sa(name, section)).collect()
    }

    /// Whether `tunnel` carries packets by it, as far as this end knows.
    pub fn carries(&self, tunnel: &Name) -> bool {
        self.tunnel == tunnel.as_str()
            && self.state == "ESTABLISHED"
            && self.carrying(tunnel).next().is_some()
    }

    /// What `tunnel` carries packets with.
    pub fn carrying(&self, tunnel: &Name) -> impl Iterator<Item = &Child> {
        self.children.iter().filter(move |child| {
            child.tunnel == tunnel.as_str()
                && matches!(child.state.as_str(), "INSTALLED" | "REKEYING")
        })
    }

    /// Whether `other`, of another daemon, is the other side of it.
    pub fn is_joined_to(&self, other: &Self) -> bool {
        self.spis == other.spis
    }
}

fn sa(name: &str, section: &Section) -> Sa {
    let children = section.sections().find(|(key, _)| *key == "child-sas");
    Sa {
        tunnel: name.to_owned(),
        state: text(section, "state"),
        local: text(section, "local-host"),
        remote: text(section, "remote-host"),
        algorithms: Algorithms::of(section),
        age: number(section, "established"),
        spis: ["initiator-spi", "responder-spi"].map(|key| text(section, key)),
        children: children
            .into_iter()
            .flat_map(|(_, all)| all.sections())
            .map(|(_, section)| child(section))
            .collect(),
    }
}

fn child(section: &Section) -> Child {
    Child {
        tunnel: text(section, "name"),
        state: text(section, "state"),
        algorithms: Algorithms::of(section),
        spis: ["spi-in", "spi-out"].map(|key| text(section, key)),
        local_ts: section.get_list("local-ts").to_vec(),
        remote_ts: section.get_list("remote-ts").to_vec(),
        bytes_in: number(section, "bytes-in"),
        bytes_out: number(section, "bytes-out"),
    }
}

fn number(section: &Section, key: &str) -> u64 {
    section.get(key).and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn text(section: &Section, key: &str) -> String {
    section.get(key).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(ike: &'static str, installed: &'static str) -> Sa {
        let child = Section::new()
            .value("name", "a-to-cloud")
            .value("state", installed)
            .value("encr-alg", "AES_GCM_16")
            .value("encr-keysize", 256)
            .value("bytes-in", 84)
            .list("remote-ts", ["10.3.0.0/16"]);
        let section = Section::new()
            .value("state", ike)
            .value("initiator-spi", "1a")
            .section("child-sas", Section::new().section("a-to-cloud-7", child));
        sa("a-to-cloud", &section)
    }

    #[test]
    fn what_a_daemon_lists_is_read() {
        let sa = listed("ESTABLISHED", "INSTALLED");
        assert_eq!(sa.spis, ["1a", ""]);
        assert_eq!(sa.children[0].algorithms.to_string(), "AES_GCM_16 256");
        assert_eq!(sa.children[0].bytes_in, 84);
        assert_eq!(sa.children[0].remote_ts, ["10.3.0.0/16"]);
    }

    #[test]
    fn a_tunnel_is_carried_only_when_all_of_it_is_there() {
        let tunnel = Name::new("a-to-cloud").unwrap();
        assert!(listed("ESTABLISHED", "INSTALLED").carries(&tunnel));
        assert!(listed("ESTABLISHED", "REKEYING").carries(&tunnel));
        assert!(!listed("CONNECTING", "INSTALLED").carries(&tunnel));
        assert!(!listed("ESTABLISHED", "CREATED").carries(&tunnel));
        assert!(!listed("ESTABLISHED", "INSTALLED").carries(&Name::new("other").unwrap()));
    }
}
