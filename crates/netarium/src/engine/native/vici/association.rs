//! The security associations that a daemon has.

use netarium_core::ipsec::{Section, values_message};
use netarium_core::name::Name;

use super::TunnelError;
use super::client::Client;

/// An IKE association (RFC 7296) as a daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sa {
    /// The tunnel whose connection it belongs to.
    pub(crate) tunnel: String,
    /// The daemon's word for its state, `ESTABLISHED` for example.
    pub(crate) state: String,
    /// This end's address.
    pub(crate) local: String,
    /// The other end's address.
    pub(crate) remote: String,
    /// Its algorithms, in the order of a proposal.
    pub(crate) algorithms: String,
    /// The numbers by which the two ends call it, initiator's first: the same at both.
    pub(crate) spis: [String; 2],
    /// What it carries packets with.
    pub(crate) children: Vec<Child>,
}

/// A pair of ESP associations (RFC 4303) as a daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    /// The tunnel.
    pub(crate) tunnel: String,
    /// The daemon's word for its state, `INSTALLED` for example.
    pub(crate) state: String,
    /// Its algorithms, in the order of a proposal.
    pub(crate) algorithms: String,
    /// The prefixes behind this end.
    pub(crate) local_ts: Vec<String>,
    /// The prefixes behind the other end.
    pub(crate) remote_ts: Vec<String>,
    /// Bytes received, without the tunnel's own headers.
    pub(crate) bytes_in: u64,
    /// Bytes sent, without the tunnel's own headers.
    pub(crate) bytes_out: u64,
}

impl Sa {
    /// Whether `tunnel` carries packets by it, as far as this end knows.
    pub(crate) fn carries(&self, tunnel: &Name) -> bool {
        let installed = |child: &Child| {
            child.tunnel == tunnel.as_str()
                && matches!(child.state.as_str(), "INSTALLED" | "REKEYING")
        };
        self.tunnel == tunnel.as_str()
            && self.state == "ESTABLISHED"
            && self.children.iter().any(installed)
    }

    /// Whether `other`, of another daemon, is the other side of it.
    pub(crate) fn is_joined_to(&self, other: &Self) -> bool {
        self.spis == other.spis
    }
}

/// All associations of a daemon.
pub(super) async fn list(client: &mut Client) -> Result<Vec<Sa>, TunnelError> {
    let mut found = Vec::new();
    let mut each =
        |event: Section| found.extend(event.sections().map(|(name, section)| sa(name, section)));
    client.stream("list-sas", "list-sa", values_message(&[]), &mut each).await?;
    Ok(found)
}

fn sa(name: &str, section: &Section) -> Sa {
    let children = section.sections().find(|(key, _)| *key == "child-sas");
    Sa {
        tunnel: name.to_owned(),
        state: text(section, "state"),
        local: text(section, "local-host"),
        remote: text(section, "remote-host"),
        algorithms: algorithms(section),
        spis: ["initiator-spi", "responder-spi"].map(|key| text(section, key)),
        children: children
            .into_iter()
            .flat_map(|(_, all)| all.sections())
            .map(|(_, section)| child(section))
            .collect(),
    }
}

fn child(section: &Section) -> Child {
    let number = |key| section.get(key).and_then(|value| value.parse().ok()).unwrap_or_default();
    Child {
        tunnel: text(section, "name"),
        state: text(section, "state"),
        algorithms: algorithms(section),
        local_ts: section.get_list("local-ts").to_vec(),
        remote_ts: section.get_list("remote-ts").to_vec(),
        bytes_in: number("bytes-in"),
        bytes_out: number("bytes-out"),
    }
}

fn algorithms(section: &Section) -> String {
    ["encr-alg", "encr-keysize", "integ-alg", "prf-alg", "dh-group"]
        .iter()
        .filter_map(|key| section.get(key))
        .collect::<Vec<_>>()
        .join(" ")
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
        assert_eq!(sa.children[0].algorithms, "AES_GCM_16 256");
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
