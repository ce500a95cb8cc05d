//! strongSwan's configuration: the connections of a node's tunnels, and the daemon's own settings.
//!
//! One tree of settings ([`Section`]) is both the text that swanctl(8) reads and the message that
//! the daemon takes over VICI, so the two cannot differ. Nothing here talks to a daemon.

mod association;
mod connection;
mod daemon;
mod message;
mod proposal;
mod secret;
mod section;

pub use association::{Child, Sa};
pub use connection::{START, START_ACTION, connection, standalone_conf, swanctl_conf};
pub use daemon::{
    CHARON, STRONGSWAN_CONF, VICI_SOCKET, charon_service, service_name, strongswan_conf,
};
pub use message::{MessageError, secret_message, values_message};
pub use proposal::{Algorithms, Proposal, allows_any};
pub use secret::{secret_conf, secret_file, secret_id};
pub use section::{Item, Key, Section};

use crate::name::Name;

/// The bit of a packet's mark that says that the kernel has decrypted it. Such a packet seems to come by
/// the interface that the encrypted one came by: to those who listen there, nothing else tells it from
/// one that was sent in plain.
pub const DECRYPTED: u32 = 1 << 31;

/// Where swanctl(8) finds the connections of a node.
pub const SWANCTL_CONF: &str = "/etc/swanctl/conf.d/netarium.conf";

/// Where swanctl(8) finds private keys.
pub const KEYS: &str = "/etc/swanctl/private";

/// Where swanctl(8) finds certificates of nodes.
pub const CERTIFICATES: &str = "/etc/swanctl/x509";

/// Where swanctl(8) finds certificates of authorities.
pub const AUTHORITIES: &str = "/etc/swanctl/x509ca";

/// Where swanctl(8) finds revocation lists.
pub const REVOCATION_LISTS: &str = "/etc/swanctl/x509crl";

/// The file that says that a daemon has been told its tunnels since its service was started. One
/// that is started again without being told anything reads them itself.
pub const LOADED: &str = "/etc/swanctl/loaded";

/// The UDP ports of IKE, and of IKE and ESP behind a translation of addresses (RFC 7296, RFC 3948).
pub const PORTS: [u16; 2] = [500, 4500];

/// The TUN device of a daemon that encrypts itself.
pub const DEVICE: &str = "ipsec0";

/// The file name, in [`AUTHORITIES`] and [`REVOCATION_LISTS`], of what the root has signed.
pub const ROOT_FILE: &str = "root.pem";

/// The file name, in [`AUTHORITIES`] and [`REVOCATION_LISTS`], of the intermediate authority.
pub const INTERMEDIATE_FILE: &str = "intermediate.pem";

/// The file name of a node's own key and certificate, in [`KEYS`] and [`CERTIFICATES`].
pub fn credential_file(node: &Name) -> String {
    format!("{node}.pem")
}
