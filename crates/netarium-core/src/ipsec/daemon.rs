//! The settings of strongSwan's daemon, charon, and the service that runs it.

use std::collections::{BTreeMap, BTreeSet};

use crate::ipsec::Section;
use crate::model::{Readiness, Restart, Service, Stop};
use crate::name::Name;
use crate::object::Encryption;

/// The daemon as Debian installs it.
pub const CHARON: &str = "/usr/lib/ipsec/charon";

/// The daemon's settings.
pub const STRONGSWAN_CONF: &str = "/etc/strongswan.conf";

/// The socket on which the daemon takes its configuration.
pub const VICI_SOCKET: &str = "/run/charon.vici";

/// The name of the service that runs the daemon.
pub fn service_name() -> Name {
    Name::new("charon").expect("a word of small letters is a name")
}

/// What every daemon needs. The whole list of Debian's plugins costs 13 ms and 9 MB more.
///
/// `openssl` brings all of cryptography, with certificates and revocation lists, but `kdf` the
/// derivation of keys; `random` and `nonce` what every association begins with; `pem` the form of
/// our files; `revocation` and `constraints` judge a chain; `socket-default` sends and receives
/// IKE; `vici` is how it is told.
const PLUGINS: [&str; 9] = [
    "random",
    "nonce",
    "openssl",
    "kdf",
    "pem",
    "revocation",
    "constraints",
    "socket-default",
    "vici",
];

/// What swanctl(8) needs to read our files.
const SWANCTL_PLUGINS: &str = "random openssl pem";

/// What the daemon does when it has started: see [`LOADED`](crate::ipsec::LOADED).
const REVIVAL: &str =
    "test ! -e /etc/swanctl/loaded || exec /usr/sbin/swanctl --load-all --noprompt";

/// What a packet of the daemon's own is marked with, so that it does not go into the tunnel again.
const MARK: &str = "0x4e45";

/// The service that runs the daemon: ready when it takes its configuration.
pub fn charon_service() -> Service {
    Service {
        name: service_name(),
        run: vec![CHARON.to_owned()],
        environment: BTreeMap::new(),
        folder: "/".to_owned(),
        user: None,
        after: BTreeSet::new(),
        restart: Restart::Always,
        ready: Readiness::Unix(VICI_SOCKET.to_owned()),
        stop: Stop::default(),
    }
}

/// The text of [`STRONGSWAN_CONF`].
pub fn strongswan_conf(encryption: Encryption) -> String {
    let socket = format!("unix://{VICI_SOCKET}");
    Section::new()
        .section("charon", charon(encryption, &socket))
        // swanctl(8), when people run it by hand, or the daemon itself.
        .section("swanctl", Section::new().value("load", SWANCTL_PLUGINS).value("socket", &socket))
        .to_text()
}

fn charon(encryption: Encryption, socket: &str) -> Section {
    Section::new()
        .value("load", load(encryption))
        // ESP in user space takes eight of them for good: with eight the daemon never answers. One
        // waits with each tunnel that is being opened. A thread costs 8 KB of memory.
        .value("threads", 16)
        // A peer is a wire away: one second is long. Five seconds without an answer are silence,
        // where the default waits for 165.
        .value("retransmit_timeout", 1)
        .value("retransmit_base", 1)
        .value("retransmit_tries", 4)
        // Without its child the association is of no use, and a retry must begin afresh.
        .value("close_ike_on_child_failure", "yes")
        // The peer knows one child under each connection: that of another tunnel is refused there.
        .value("reuse_ikesa", "no")
        // A gateway's own packets take an address behind it and with that the tunnel.
        .value("install_routes", "yes")
        // Nobody hands out addresses over IKE here.
        .value("install_virtual_ip", "no")
        .section("filelog", Section::new().section("stderr", log()))
        // One that was killed comes back with its tunnels. The first time it is told them.
        .section("start-scripts", Section::new().value("netarium", REVIVAL))
        .section("plugins", plugins(encryption, socket))
}

/// What goes to the standard error stream, which a node's first process keeps.
fn log() -> Section {
    Section::new()
        .value("time_format", "%F %T")
        // At level 1 every refusal comes with its reason; level 2 adds noise only.
        .value("default", 1)
        // A gateway has many tunnels: the line says which.
        .value("ike_name", "yes")
        // Else the last line, the one with the reason, stays in the daemon's memory.
        .value("flush_line", "yes")
}

fn load(encryption: Encryption) -> String {
    let kernel: &[&str] = match encryption {
        Encryption::Kernel => &["kernel-netlink"],
        // Of two plugins that can do ESP the first wins. The second is still needed for addresses
        // and routes. With the exclamation mark the daemon ends and says why if the first cannot
        // be loaded; without, it comes up, and crashes where there is no /dev/net/tun.
        Encryption::Userspace => &["kernel-libipsec!", "kernel-netlink"],
    };
    [&PLUGINS[..], kernel].concat().join(" ")
}

fn plugins(encryption: Encryption, socket: &str) -> Section {
    let section = Section::new()
        .section("vici", Section::new().value("socket", socket))
        // Nothing that a lab may propose needs OpenSSL's legacy provider.
        .section("openssl", Section::new().value("load_legacy", "no"));
    match encryption {
        Encryption::Kernel => section,
        // A tunnel may carry the address of its own other end (a default route, say). That needs
        // the daemon's packets to pass by the route into the tunnel.
        Encryption::Userspace => section
            .section("kernel-libipsec", Section::new().value("allow_peer_ts", "yes"))
            .section("kernel-netlink", Section::new().value("fwmark", format!("!{MARK}")))
            .section("socket-default", Section::new().value("fwmark", MARK)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_esp_needs_no_plugin_for_it() {
        insta::assert_snapshot!(strongswan_conf(Encryption::Kernel));
    }

    #[test]
    fn esp_in_user_space_comes_before_the_kernel() {
        insta::assert_snapshot!(strongswan_conf(Encryption::Userspace));
    }

    #[test]
    fn a_daemon_comes_back_with_its_tunnels_if_it_was_told_them() {
        assert!(REVIVAL.contains(&format!(" {} ", crate::ipsec::LOADED)));
    }

    #[test]
    fn the_service_is_ready_when_it_takes_its_configuration() {
        let service = charon_service();
        assert_eq!(service.run, ["/usr/lib/ipsec/charon"]);
        assert_eq!(service.ready, Readiness::Unix("/run/charon.vici".to_owned()));
    }
}
