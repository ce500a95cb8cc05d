//! What a kernel and a machine can do, as far as a plan depends on it.
//!
//! The machine is asked once, by the `netarium` crate; here the answer is a plain value.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that a kernel has or lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Macvlan interfaces.
    Macvlan,
    /// Bridges.
    Bridge,
    /// Pairs of virtual Ethernet interfaces.
    Veth,
    /// Dummy interfaces, the plainest parent of macvlan interfaces.
    Dummy,
    /// Intermediate functional block devices, the last resort for a parent.
    Ifb,
    /// IPsec ESP in the kernel (xfrm).
    Esp,
    /// WireGuard interfaces.
    Wireguard,
    /// TUN devices, which ESP and WireGuard in user space need.
    Tun,
    /// IPv6.
    Ipv6,
}

impl Feature {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Macvlan,
        Self::Bridge,
        Self::Veth,
        Self::Dummy,
        Self::Ifb,
        Self::Esp,
        Self::Wireguard,
        Self::Tun,
        Self::Ipv6,
    ];
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Macvlan => "macvlan",
            Self::Bridge => "bridge",
            Self::Veth => "veth",
            Self::Dummy => "dummy",
            Self::Ifb => "ifb",
            Self::Esp => "ESP",
            Self::Wireguard => "WireGuard",
            Self::Tun => "TUN",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// Everything that a machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Features(BTreeSet<Feature>);

impl Features {
    /// Whether the machine has `feature`.
    pub fn has(&self, feature: Feature) -> bool {
        self.0.contains(&feature)
    }
}

impl FromIterator<Feature> for Features {
    fn from_iter<T: IntoIterator<Item = Feature>>(features: T) -> Self {
        Self(features.into_iter().collect())
    }
}
