//! Addresses of interfaces: hardware addresses and how they are chosen.
//!
//! IP addresses and prefixes are [`ipnet::IpNet`], which keeps the host part: `10.1.0.2/16` is an
//! address on an interface, `10.1.0.0/16` the prefix of its segment.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::name::{InterfaceName, Name};

/// A 48-bit hardware address (IEEE 802 MAC address).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// Why a word is no hardware address for an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six pairs of hexadecimal digits.
    #[error("a MAC address is six pairs of hexadecimal digits, as in 02:00:00:00:00:01")]
    Shape,
    /// A group address, or all zero: no interface can have it.
    #[error("a group address or 00:00:00:00:00:00 cannot be the MAC address of an interface")]
    NotUnicast,
}

impl Mac {
    /// Takes six bytes as a hardware address.
    ///
    /// # Errors
    /// If the bytes are a group address (IEEE 802, lowest bit of the first byte) or all zero.
    pub fn new(bytes: [u8; 6]) -> Result<Self, MacError> {
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            Err(MacError::NotUnicast)
        } else {
            Ok(Self(bytes))
        }
    }

    /// The address that an interface has when its author names none: derived from lab, node and
    /// interface, so that a lab is the same every time. Unicast and locally administered.
    pub fn derive(lab: &Name, node: &Name, interface: &InterfaceName) -> Self {
        let text = format!("{lab}/{node}/{interface}");
        let hash = Sha256::digest(text.as_bytes());
        Self([(hash[0] & 0xfc) | 0x02, hash[1], hash[2], hash[3], hash[4], hash[5]])
    }

    /// The six bytes, in the order of transmission.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Reads `02:00:5e:10:00:01`; hyphens are taken too.
    ///
    /// # Errors
    /// If `text` is not six pairs of hexadecimal digits, or not a unicast address.
    pub fn parse(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or(MacError::Shape)?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(MacError::Shape);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacError::Shape)?;
        }
        if parts.next().is_some() { Err(MacError::Shape) } else { Self::new(bytes) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        Self::parse(&text)
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_mac_is_unicast_local_and_stable() {
        let name = |word| Name::new(word).unwrap();
        let mac = Mac::derive(&name("lab"), &name("node"), &InterfaceName::new("eth0").unwrap());
        assert_eq!(mac.bytes()[0] & 0x03, 0x02);
        assert_eq!(mac.to_string(), "ba:11:25:b2:f9:a0");
    }

    #[test]
    fn a_mac_is_read_as_it_is_written() {
        assert_eq!(Mac::parse("02:00:5e:10:00:01").unwrap().to_string(), "02:00:5e:10:00:01");
        for text in
            ["", "02:00:5e:10:00", "02:00:5e:10:00:01:02", "+2:00:5e:10:00:01", "02005e100001"]
        {
            assert_eq!(Mac::parse(text), Err(MacError::Shape), "{text}");
        }
        assert_eq!(Mac::parse("01:00:5e:00:00:01"), Err(MacError::NotUnicast));
    }
}
