//! Names of labs, nodes, segments, tunnels and services, and of network interfaces.
//!
//! A [`Name`] is also a DNS label (RFC 1123) and a file name, so that it can be a host name, part
//! of a path and a word on the command line without quoting.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name: 1 to 63 of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a word is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The word is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The word is longer than a DNS label.
    #[error("a name has at most 63 characters")]
    TooLong,
    /// The word has a character that a host name cannot have.
    #[error("a name is made of a-z, 0-9 and -, and begins and ends with a letter or digit")]
    Character,
}

impl Name {
    /// Checks `word` and makes it a name.
    ///
    /// # Errors
    /// If `word` is empty, too long for a DNS label (RFC 1123), or has other characters.
    pub fn new(word: &str) -> Result<Self, NameError> {
        if word.is_empty() {
            return Err(NameError::Empty);
        }
        if word.len() > 63 {
            return Err(NameError::TooLong);
        }
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = word.bytes().all(|byte| letter(byte) || byte == b'-');
        if fits
            && word.bytes().next().is_some_and(letter)
            && word.bytes().last().is_some_and(letter)
        {
            Ok(Self(word.to_owned()))
        } else {
            Err(NameError::Character)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a word can be the name of a host: labels of letters, digits, `-` and, as people write them
/// all the same, `_`, with dots between them (RFC 1123).
pub fn is_host_name(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    word.len() <= 253 && word.split('.').all(is_label)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(word: String) -> Result<Self, NameError> {
        Self::new(&word)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(word: &str) -> Result<Self, NameError> {
        Self::new(word)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// The name of a network interface: 1 to 15 bytes, as the kernel has it (`IFNAMSIZ`, netdevice(7)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// Why a word is no interface name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceNameError {
    /// The kernel keeps 16 bytes for the name and its closing zero.
    #[error("an interface name has 1 to 15 bytes")]
    Length,
    /// The kernel refuses these.
    #[error(
        "an interface name is made of letters, digits, '-', '_' and '.', and is not '.', '..' or 'lo'"
    )]
    Character,
}

impl InterfaceName {
    /// Checks `word` and makes it an interface name.
    ///
    /// # Errors
    /// If `word` is not 1 to 15 bytes long, or has characters that the kernel or ip(8) refuses.
    pub fn new(word: &str) -> Result<Self, InterfaceNameError> {
        if word.is_empty() || word.len() > 15 {
            return Err(InterfaceNameError::Length);
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !word.bytes().all(fits) || matches!(word, "." | ".." | "lo" | "all" | "default") {
            return Err(InterfaceNameError::Character);
        }
        Ok(Self(word.to_owned()))
    }

    /// A name that sorts before every other, for looking up ranges. No interface has it.
    pub(crate) fn lowest() -> Self {
        Self(String::new())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InterfaceNameError;

    fn try_from(word: String) -> Result<Self, InterfaceNameError> {
        Self::new(&word)
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        assert!(Name::new("gateway-a").is_ok());
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new(&"a".repeat(64)), Err(NameError::TooLong));
        for word in ["-a", "a-", "A", "a_b", "a/b", "..", "a b", "ä"] {
            assert_eq!(Name::new(word), Err(NameError::Character), "{word}");
        }
    }

    #[test]
    fn an_interface_name_is_one_the_kernel_takes() {
        assert!(InterfaceName::new("eth0").is_ok());
        assert_eq!(InterfaceName::new("internet-facing0"), Err(InterfaceNameError::Length));
        for word in ["a/b", "a b", "lo", "..", "all"] {
            assert_eq!(InterfaceName::new(word), Err(InterfaceNameError::Character), "{word}");
        }
    }
}
