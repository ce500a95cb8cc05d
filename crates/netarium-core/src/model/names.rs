//! How a node looks names up: part of the [`crate::model`].

use std::net::IpAddr;

use serde::Serialize;

/// What a node's `/etc/resolv.conf` says (resolv.conf(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// The name servers, in the order in which they are asked.
    pub servers: Vec<IpAddr>,
    /// The domains in which names without a dot are looked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options, `ndots:2` for example.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}
