//! What a probe in a node found out.
//!
//! A probe prints one of these as one line of JSON on its standard output; the checker outside
//! reads it. Nothing here sends or receives anything.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What became of a ping, a TCP connection or an HTTP request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was answered.
    Reached(Reached),
    /// Nothing came back until the deadline.
    Silent {
        /// How long was waited, in milliseconds.
        millis: f64,
    },
    /// Something said that there is no way.
    Refused {
        /// Who said so; none if it was the node itself.
        by: Option<IpAddr>,
        /// What it said.
        reason: Reason,
        /// The message that said so, if it was one of ICMP or ICMPv6.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        icmp: Option<Icmp>,
    },
    /// Something was there, but what it sent is not what the protocol has; why.
    Broken(String),
    /// The probe itself could not be made; why.
    Impossible(String),
}

/// An error of ICMP (RFC 792) or ICMPv6 (RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmp {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Its code.
    pub code: u8,
}

/// An answer to a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// How long it took from the request that was answered, in milliseconds.
    pub millis: f64,
    /// What was answered, if it was asked by HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// An HTTP response (RFC 9112).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, at most [`LONGEST_BODY`] bytes of it; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// Whether there was more of the body.
    pub cut: bool,
}

/// The most that is kept of a body, in bytes.
pub const LONGEST_BODY: usize = 64 * 1024;

/// Why there is no way: the words of ICMP (RFC 792, RFC 1812, RFC 4443) and of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// No route leads there.
    #[serde(rename = "network unreachable")]
    NetworkUnreachable,
    /// The host does not answer on its segment.
    #[serde(rename = "host unreachable")]
    HostUnreachable,
    /// The host does not speak this protocol.
    #[serde(rename = "protocol unreachable")]
    ProtocolUnreachable,
    /// Nothing listens to this port, said by ICMP.
    #[serde(rename = "port unreachable")]
    PortUnreachable,
    /// Nothing listens to this port, said by a TCP reset.
    #[serde(rename = "connection refused")]
    ConnectionRefused,
    /// The connection was made and then cut off.
    #[serde(rename = "connection reset")]
    ConnectionReset,
    /// A firewall or a route says that it is not allowed.
    #[serde(rename = "administratively prohibited")]
    Prohibited,
    /// The node's own firewall drops it, in silence as far as others are concerned.
    #[serde(rename = "dropped by its own firewall")]
    Filtered,
    /// The packet went through too many routers.
    #[serde(rename = "time exceeded")]
    TimeExceeded,
    /// The packet is too big for some segment on the way.
    #[serde(rename = "packet too big")]
    TooBig,
}

/// What became of a transfer that was to last as long as something else: the last line of the probe
/// `transfer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// How much came, in bytes.
    pub bytes: u64,
    /// How many requests were made one after another.
    pub requests: u64,
    /// The longest time without anything, in milliseconds.
    pub longest_pause: f64,
    /// What broke it, if anything did.
    pub fault: Option<String>,
}

/// The first line a capture prints, as soon as no frame escapes it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Always true.
    pub ready: bool,
}

/// A request that was seen arriving: a line of the probe `watch`, one for each source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Arrival {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub to: IpAddr,
}

/// What an interface has sent while it was listened to: the second line of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// How many frames of each kind; kinds without any are left out.
    pub frames: BTreeMap<Kind, u64>,
    /// How many frames the kernel had to drop before they could be looked at.
    pub dropped: u64,
    /// The first few frames of each kind, a line each, in the manner of tcpdump(8).
    pub samples: BTreeMap<Kind, Vec<String>>,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Address resolution (RFC 826).
    Arp,
    /// IPv6 neighbour discovery (RFC 4861): belongs to the segment as ARP does.
    Ndp,
    /// Membership of multicast groups, IGMP and MLD (RFC 9776, RFC 9777): belongs to the segment
    /// too.
    Group,
    /// IKE: UDP 500, or UDP 4500 with the non-ESP marker (RFC 7296, RFC 3948).
    Ike,
    /// ESP: IP protocol 50 (RFC 4303), or in UDP 4500 with its keepalives (RFC 3948).
    Esp,
    /// WireGuard: UDP that has the form of one of its messages.
    Wireguard,
    /// ICMP and ICMPv6 besides the above.
    Icmp,
    /// TCP.
    Tcp,
    /// Any other UDP.
    Udp,
    /// Anything else.
    Other,
}

/// What the server `netarium-probe http-echo` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// Who asked.
    pub client: Peer,
    /// Who answers.
    pub server: Server,
    /// The method of the request.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// A value never seen before: 32 hexadecimal digits.
    pub fresh: String,
}

/// One end of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// The server's end of a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The name it was given, else its node's host name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_apart_in_json() {
        let text = |outcome: &Outcome| serde_json::to_string(outcome).expect("plain data");
        let reached = Outcome::Reached(Reached { millis: 0.31, response: None });
        assert_eq!(text(&reached), r#"{"reached":{"millis":0.31}}"#);
        assert_eq!(text(&Outcome::Silent { millis: 500.0 }), r#"{"silent":{"millis":500.0}}"#);
        let by = Some(IpAddr::from([10, 0, 0, 1]));
        let refused = Outcome::Refused { by, reason: Reason::Prohibited, icmp: None };
        assert_eq!(
            text(&refused),
            r#"{"refused":{"by":"10.0.0.1","reason":"administratively prohibited"}}"#
        );
        let icmp = Some(Icmp { kind: 3, code: 13 });
        let told = Outcome::Refused { by, reason: Reason::Prohibited, icmp };
        assert!(text(&told).ends_with(r#","icmp":{"type":3,"code":13}}}"#), "{}", text(&told));
        for outcome in [reached, refused] {
            assert_eq!(serde_json::from_str::<Outcome>(&text(&outcome)).ok(), Some(outcome));
        }
    }

    #[test]
    fn kinds_are_keys_in_json() {
        let capture = Capture {
            frames: [(Kind::Ike, 2)].into(),
            dropped: 0,
            samples: [(Kind::Ike, vec!["a line".to_owned()])].into(),
        };
        let text = serde_json::to_string(&capture).expect("plain data");
        assert_eq!(text, r#"{"frames":{"ike":2},"dropped":0,"samples":{"ike":["a line"]}}"#);
        assert_eq!(serde_json::from_str::<Capture>(&text).ok(), Some(capture));
    }
}
