//! strongSwan's configuration of a tunnel.

use crate::model::{Readiness, Restart, Service, Tunnel};
use crate::name::Name;

/// Where ESP runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Esp { Kernel, Userspace }
pub const STRONGSWAN_CONF: &str = "/etc/strongswan.conf";
pub const SWANCTL_CONF: &str = "/etc/swanctl/conf.d/netarium.conf";
pub fn strongswan_conf(_esp: Esp) -> String { String::new() }
pub fn swanctl_conf(_tunnels: &[&Tunnel], _node: &Name, _esp: Esp) -> String { String::new() }
pub fn service_name() -> Name { Name::new("charon").expect("it is a name") }
pub fn charon_service() -> Service {
    Service { name: service_name(), run: vec!["/usr/lib/ipsec/charon".into()], environment: Default::default(), folder: "/".into(), after: Default::default(), restart: Restart::Always, ready: Readiness::Unix("/run/charon.vici".into()) }
}
