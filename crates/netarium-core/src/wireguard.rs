//! WireGuard: its keys as text, the configuration of an interface, and the service that stands in for
//! a kernel without it.
//!
//! The configuration has the form of wg(8), so that people can read, compare and use it. Nothing here
//! makes a key or talks to anybody.

mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::model::{Readiness, Restart, Service, Stop};
use crate::name::{InterfaceName, Name};

pub use seen::{Seen, SeenPeer};

/// The program that does it in user space, in every node.
pub const PROGRAM: &str = "/usr/local/bin/netarium-wireguard";

/// How a tunnel is encrypted; WireGuard leaves no choice (<https://www.wireguard.com/protocol/>).
pub const ALGORITHMS: &str = "chacha20poly1305-blake2s-curve25519";

/// After so many seconds without a new handshake two ends have no key in common any more
/// (`REJECT_AFTER_TIME`).
pub const KEY_LIFETIME: u64 = 180;

/// The port of an end that names none; further interfaces of its node count up from it.
pub const PORT: u16 = 51820;

const KEY_LENGTH: usize = 32;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A key of 32 bytes: private, public or shared before. Its text is base64 (RFC 4648); what is shown
/// for finding mistakes does not have it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_LENGTH]);

/// Why a text is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    /// A text is no key.
    #[error("this is no key of 32 bytes in base64")]
    Key,
    /// A line cannot be understood.
    #[error("line {0} cannot be understood")]
    Line(usize),
    /// A setting is missing.
    #[error("there is no {0}")]
    Missing(&'static str),
}

impl Key {
    /// A key with these bytes.
    pub fn new(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    /// Reads 64 hexadecimal digits, the form of the sockets of user space.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; KEY_LENGTH];
        if text.len() != 2 * KEY_LENGTH || !text.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Its text, to be written where only its owner reads it.
    pub fn to_base64(&self) -> String {
        let mut text = String::new();
        for part in self.0.chunks(3) {
            let bits = part.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
            let bits = bits << (8 * (3 - part.len()));
            for place in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
                text.push(if place > part.len() { '=' } else { char::from(digit) });
            }
        }
        text
    }
}

impl FromStr for Key {
    type Err = ConfError;

    fn from_str(text: &str) -> Result<Self, ConfError> {
        let digits = text.strip_suffix('=').ok_or(ConfError::Key)?;
        let mut bytes = Vec::new();
        for part in digits.as_bytes().chunks(4) {
            let mut bits = 0_u32;
            for letter in part {
                let value =
                    DIGITS.iter().position(|digit| digit == letter).ok_or(ConfError::Key)?;
                bits = bits << 6 | u32::try_from(value).map_err(|_| ConfError::Key)?;
            }
            bits <<= 6 * (4 - part.len());
            let count = part.len().saturating_sub(1);
            bytes.extend(bits.to_be_bytes().into_iter().skip(1).take(count));
        }
        let key = Self(bytes.try_into().map_err(|_| ConfError::Key)?);
        // Some bits at the end of a text stand for nothing; a key has one text only.
        if key.to_base64() == text { Ok(key) } else { Err(ConfError::Key) }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Where an interface's configuration is in its node.
pub fn conf_path(interface: &InterfaceName) -> String {
    format!("/etc/wireguard/{interface}.conf")
}

/// Where wg(8) finds an interface in user space.
pub fn socket_path(interface: &InterfaceName) -> String {
    format!("/var/run/wireguard/{interface}.sock")
}

/// The name of the service that does it in user space.
pub fn service_name() -> Name {
    Name::new("wireguard").expect("a word of small letters is a name")
}

/// The service that serves these interfaces of a node in user space: ready when the last of them,
/// which it opens in their order, can be asked.
pub fn service(interfaces: &BTreeSet<InterfaceName>) -> Service {
    let paths = interfaces.iter().map(conf_path);
    Service {
        name: service_name(),
        run: std::iter::once(PROGRAM.to_owned()).chain(paths).collect(),
        environment: BTreeMap::new(),
        folder: "/".to_owned(),
        user: None,
        after: BTreeSet::new(),
        restart: Restart::Always,
        ready: interfaces.last().map_or(Readiness::Started, |it| Readiness::Unix(socket_path(it))),
        stop: Stop::default(),
    }
}

/// What an interface with one peer needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// The node's own private key.
    pub private: Key,
    /// The UDP port that it listens to.
    pub port: u16,
    /// The peer's public key.
    pub peer: Key,
    /// A key that both have known before.
    pub preshared: Option<Key>,
    /// Where the peer is.
    pub endpoint: SocketAddr,
    /// What may come from the peer, and goes to it.
    pub carry: Vec<IpNet>,
    /// After so many seconds without a packet to it the peer is sent an empty one.
    pub keepalive: u16,
}

impl Conf {
    /// As `wg setconf` reads it.
    pub fn to_text(&self) -> String {
        let carry: Vec<String> = self.carry.iter().map(IpNet::to_string).collect();
        let preshared = self.preshared.as_ref().map(Key::to_base64);
        let preshared = preshared.map_or_else(String::new, |key| format!("PresharedKey = {key}\n"));
        format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {}\n\n[Peer]\nPublicKey = {}\n{preshared}\
             AllowedIPs = {}\nEndpoint = {}\nPersistentKeepalive = {}\n",
            self.private.to_base64(),
            self.port,
            self.peer.to_base64(),
            carry.join(", "),
            self.endpoint,
            self.keepalive,
        )
    }

    /// Reads what [`to_text`](Self::to_text) has written.
    ///
    /// # Errors
    /// If something cannot be understood or is missing. No key is told.
    pub fn parse(text: &str) -> Result<Self, ConfError> {
        let mut settings = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('[') {
                continue;
            }
            let setting = line.split_once(" = ").ok_or(ConfError::Line(index + 1))?;
            settings.insert(setting.0, (index + 1, setting.1));
        }
        let carry = |text: &str| {
            let prefixes: Result<Vec<IpNet>, _> = text.split(", ").map(str::parse).collect();
            prefixes.ok()
        };
        let preshared = settings.contains_key("PresharedKey");
        Ok(Self {
            private: read(&settings, "PrivateKey", |it| it.parse().ok())?,
            port: read(&settings, "ListenPort", |it| it.parse().ok())?,
            peer: read(&settings, "PublicKey", |it| it.parse().ok())?,
            preshared: match preshared {
                true => Some(read(&settings, "PresharedKey", |it| it.parse().ok())?),
                false => None,
            },
            endpoint: read(&settings, "Endpoint", |it| it.parse().ok())?,
            carry: read(&settings, "AllowedIPs", carry)?,
            keepalive: read(&settings, "PersistentKeepalive", |it| it.parse().ok())?,
        })
    }
}

fn read<T>(
    settings: &BTreeMap<&str, (usize, &str)>,
    key: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, ConfError> {
    let (line, text) = settings.get(key).ok_or(ConfError::Missing(key))?;
    parse(text).ok_or(ConfError::Line(*line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf() -> Conf {
        Conf {
            private: Key::new([7; 32]),
            port: 51820,
            peer: Key::new([0xff; 32]),
            preshared: Some(Key::new(std::array::from_fn(|index| index as u8))),
            endpoint: "[fd00::1]:51821".parse().unwrap(),
            carry: vec!["10.3.0.0/16".parse().unwrap(), "fd00:3::/64".parse().unwrap()],
            keepalive: 25,
        }
    }

    #[test]
    fn a_configuration_is_read_as_it_was_written() {
        insta::assert_snapshot!(conf().to_text());
        assert_eq!(Conf::parse(&conf().to_text()), Ok(conf()));
        let without = Conf { preshared: None, ..conf() };
        assert_eq!(Conf::parse(&without.to_text()), Ok(without));
    }

    #[test]
    fn a_mistake_in_a_configuration_is_told_by_its_line() {
        let text = conf().to_text();
        assert_eq!(Conf::parse(&text.replace("51820", "x")), Err(ConfError::Line(3)));
        assert_eq!(Conf::parse("[Peer]\nnonsense"), Err(ConfError::Line(2)));
        assert_eq!(Conf::parse(""), Err(ConfError::Missing("PrivateKey")));
    }

    #[test]
    fn a_key_has_one_text_and_is_not_shown() {
        // The example of wg(8).
        let text = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
        let key: Key = text.parse().unwrap();
        assert_eq!(key.to_base64(), text);
        assert_eq!(key.bytes()[..3], [0xc8, 0x09, 0xf3]);
        assert_eq!(format!("{key:?}"), "Key(…)");
        let hex: String = key.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Key::from_hex(&hex), Some(key));
        for text in ["", "=", "AAAA=", &"A".repeat(44), &text.replace("k=", "l=")] {
            assert_eq!(text.parse::<Key>(), Err(ConfError::Key), "{text}");
        }
        assert_eq!(Key::from_hex("00"), None);
    }
}
