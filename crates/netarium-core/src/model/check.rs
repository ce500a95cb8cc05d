//! Checks: what must be true of the running lab, and how it is found out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::name::{InterfaceName, Name};

/// Something that must be true of the running lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What it is called, from the file or made from what it does.
    pub name: String,
    /// What it belongs to, if the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How it is found out.
    pub probe: Probe,
    /// How long it may take, in milliseconds.
    pub timeout: u32,
}

/// How a check is found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// ICMP echo (RFC 792, RFC 4443).
    Ping {
        /// The node that asks.
        from: Name,
        /// The address asked.
        to: IpAddr,
        /// Whether an answer is wanted.
        expect: Reach,
        /// The source that the request must arrive with.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
    },
    /// A TCP connection.
    Tcp {
        /// The node that connects.
        from: Name,
        /// The address it connects to.
        to: IpAddr,
        /// The port it connects to.
        port: u16,
        /// Whether the connection is wanted.
        expect: Reach,
        /// The source that the request must arrive with.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
    },
    /// A UDP datagram, and whatever comes back.
    Udp {
        /// The node that asks.
        from: Name,
        /// The address it asks.
        to: IpAddr,
        /// The port it asks.
        port: u16,
        /// Whether an answer is wanted.
        expect: Reach,
        /// The source that the request must arrive with.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
    },
    /// An HTTP/1.1 GET request.
    Http {
        /// The node that asks.
        from: Name,
        /// What it asks for.
        url: Url,
        /// The answer that is wanted.
        expect: Answer,
        /// The source that the request must arrive with.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
    },
    /// Nothing but these protocols on a segment while the other checks run. ARP and neighbour
    /// discovery belong to the segment itself and are always allowed.
    Only {
        /// The segment that is listened on.
        segment: Name,
        /// What may be seen.
        protocols: BTreeSet<Protocol>,
    },
    /// How a tunnel is, as the daemons at both its ends tell it.
    Tunnel {
        /// The tunnel.
        tunnel: Name,
        /// The nodes where it ends.
        between: [Name; 2],
        /// How it is wanted.
        expect: TunnelState,
    },
    /// Nothing of the machine can be reached or seen from a node.
    Isolated {
        /// The node.
        node: Name,
        /// Its interfaces, besides the loopback interface.
        interfaces: BTreeSet<InterfaceName>,
    },
}

/// Whether something is wanted to be reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// It answers.
    Reached,
    /// It does not answer, or somebody says that it is not allowed.
    Blocked,
    /// Nothing comes back: no answer, and no word that it is not allowed.
    Dropped,
    /// Somebody says that it is not allowed or not there, by ICMP or by a TCP reset.
    Rejected,
}

impl Reach {
    /// Whether no answer is wanted.
    pub fn is_denied(self) -> bool {
        self != Self::Reached
    }
}

/// The source address that a request must have where it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Source {
    /// It is one of these.
    pub addresses: BTreeSet<IpAddr>,
    /// The node at which it is looked at.
    pub seen_by: Name,
}

/// An `http:` URL whose host has been looked up in the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// The host as written: an address or a node's name.
    pub host: String,
    /// Its address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: String,
}

/// The answer wanted to an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// None at all, for whatever reason.
    Blocked,
    /// None at all, and no word why.
    Dropped,
    /// A word that it is not allowed or not there.
    Rejected,
    /// A response.
    Response {
        /// Its status code.
        status: u16,
        /// Text that must be found in its body.
        body: Option<String>,
    },
}

impl Answer {
    /// The same without what an answer must say.
    pub fn reach(&self) -> Reach {
        match self {
            Self::Blocked => Reach::Blocked,
            Self::Dropped => Reach::Dropped,
            Self::Rejected => Reach::Rejected,
            Self::Response { .. } => Reach::Reached,
        }
    }
}

/// How a tunnel is wanted. Another kind of tunnel is another variant, with what its daemons tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelState {
    /// It does not stand at either end.
    Down,
    /// An IPsec tunnel stands, with algorithms out of these proposals in strongSwan's words.
    Ipsec {
        /// For IKE.
        ike: String,
        /// For ESP.
        esp: String,
    },
    /// A WireGuard tunnel stands: both ends of it have a key in common.
    Wireguard {
        /// The interface at both ends.
        interface: InterfaceName,
    },
    /// A WireGuard tunnel does not stand at either end.
    WireguardDown {
        /// The interface at both ends.
        interface: InterfaceName,
    },
}

impl TunnelState {
    /// The interface at both ends, if it is about a WireGuard tunnel.
    pub fn interface(&self) -> Option<&InterfaceName> {
        match self {
            Self::Wireguard { interface } | Self::WireguardDown { interface } => Some(interface),
            Self::Down | Self::Ipsec { .. } => None,
        }
    }
}

/// A protocol as a check on a segment tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "lab-file", derive(schemars::JsonSchema))]
pub enum Protocol {
    /// IKE: UDP 500, or UDP 4500 with the non-ESP marker (RFC 7296, RFC 3948).
    Ike,
    /// ESP: IP protocol 50 (RFC 4303), or in UDP 4500 (RFC 3948).
    Esp,
    /// WireGuard: UDP that has the form of one of its messages, on whatever port.
    Wireguard,
    /// ICMP and ICMPv6, without neighbour discovery.
    Icmp,
    /// TCP.
    Tcp,
    /// Any other UDP.
    Udp,
}

impl Check {
    /// Whether `pattern` picks it: its name, alone or without who makes it (`NAME (client-a)`), its
    /// group, or a pattern with `*` and `?` for either.
    pub fn fits(&self, pattern: &str) -> bool {
        picks(pattern, &self.name, self.probe.at(), self.group.as_deref())
    }
}

/// Whether `pattern` picks what is called `name`, is made by or done to `at`, and is of `group`.
pub(super) fn picks(pattern: &str, name: &str, at: &Name, group: Option<&str>) -> bool {
    let rest = name.strip_prefix(pattern);
    rest.is_some_and(|rest| rest == format!(" ({at})"))
        || name == pattern
        || fits(pattern, name)
        || group.is_some_and(|group| group == pattern || fits(pattern, group))
}

impl Probe {
    /// The node that asks or is looked at, the segment that is listened on, or the tunnel.
    pub fn at(&self) -> &Name {
        match self {
            Self::Ping { from, .. }
            | Self::Tcp { from, .. }
            | Self::Udp { from, .. }
            | Self::Http { from, .. } => from,
            Self::Only { segment, .. } => segment,
            Self::Tunnel { tunnel, .. } => tunnel,
            Self::Isolated { node, .. } => node,
        }
    }

    /// The node that asks and the address that it asks, if it asks.
    pub fn question(&self) -> Option<(&Name, IpAddr)> {
        match self {
            Self::Ping { from, to, .. }
            | Self::Tcp { from, to, .. }
            | Self::Udp { from, to, .. } => Some((from, *to)),
            Self::Http { from, url, .. } => Some((from, url.address)),
            Self::Only { .. } | Self::Tunnel { .. } | Self::Isolated { .. } => None,
        }
    }

    /// Whether an answer is wanted, if it asks.
    pub fn reach(&self) -> Option<Reach> {
        match self {
            Self::Ping { expect, .. } | Self::Tcp { expect, .. } | Self::Udp { expect, .. } => {
                Some(*expect)
            }
            Self::Http { expect, .. } => Some(expect.reach()),
            Self::Only { .. } | Self::Tunnel { .. } | Self::Isolated { .. } => None,
        }
    }

    /// The source that the request must arrive with, if that matters.
    pub fn source(&self) -> Option<&Source> {
        match self {
            Self::Ping { source, .. }
            | Self::Tcp { source, .. }
            | Self::Udp { source, .. }
            | Self::Http { source, .. } => source.as_ref(),
            Self::Only { .. } | Self::Tunnel { .. } | Self::Isolated { .. } => None,
        }
    }
}

/// Whether all of `text` fits `pattern`, in which `*` stands for anything and `?` for one letter.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut place) = (0, 0);
    // Where the last star was, and the first letter that it does not stand for yet.
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some('?') => (at, place) = (at + 1, place + 1),
            Some(letter) if *letter == text[place] => (at, place) = (at + 1, place + 1),
            _ => {
                let Some((back, from)) = star else { return false };
                star = Some((back, from + 1));
                (at, place) = (back + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_a_question_mark_for_one_letter() {
        for (pattern, text, wanted) in [
            ("a pings b", "a pings b", true),
            ("a*", "a pings b", true),
            ("*pings*", "a pings b", true),
            ("?*b", "a pings b", true),
            ("*b*b", "abab", true),
            ("*", "", true),
            ("", "", true),
            ("?", "", false),
            ("a", "a pings b", false),
            ("*c", "a pings b", false),
            ("a?pings?b?", "a pings b", false),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
