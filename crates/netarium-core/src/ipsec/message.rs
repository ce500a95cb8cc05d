//! The bytes of a VICI message, from a tree of settings and back.
//!
//! The format is that of strongSwan's `src/libcharon/plugins/vici/README.md`: elements of one byte
//! for the type, keys with one byte of length, values with two.

use crate::ipsec::section::{Item, Key, Section};

const SECTION_START: u8 = 1;
const SECTION_END: u8 = 2;
const KEY_VALUE: u8 = 3;
const LIST_START: u8 = 4;
const LIST_ITEM: u8 = 5;
const LIST_END: u8 = 6;

/// How deep sections may be nested in a message that is read. A daemon's are four deep.
const DEEPEST: usize = 16;

/// Why there is no message, or a message is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A key has a length of one byte, a value one of two.
    #[error("{key} is too long for a VICI message: {length} bytes")]
    TooLong {
        /// The key.
        key: String,
        /// The length, in bytes, of the key itself or of its value.
        length: usize,
    },
    /// The message ends in the middle of something.
    #[error("a VICI message ends too early")]
    Short,
    /// An element is not where it may be.
    #[error("element {0} in a VICI message is out of place")]
    Misplaced(u8),
    /// Sections are nested too deeply.
    #[error("sections in a VICI message are nested more than {DEEPEST} deep")]
    Deep,
}

/// The message that has these keys and values and nothing else. It is made in one piece, and no
/// value is copied anywhere else: private keys travel this way.
///
/// # Errors
/// If a key or a value is too long.
pub fn values_message(values: &[(&str, &str)]) -> Result<Vec<u8>, MessageError> {
    let length = values.iter().map(|(key, value)| 4 + key.len() + value.len()).sum();
    let mut bytes = Vec::with_capacity(length);
    for (key, value) in values {
        push_key(&mut bytes, KEY_VALUE, key)?;
        push_value(&mut bytes, key, value)?;
    }
    Ok(bytes)
}

/// The message `load-shared`: a secret that the owners of these identities share. It is made in one
/// piece, as in [`values_message`].
///
/// # Errors
/// If a value is too long.
pub fn secret_message(id: &str, owners: [&str; 2], secret: &str) -> Result<Vec<u8>, MessageError> {
    let mut bytes = values_message(&[("id", id), ("type", "IKE"), ("data", secret)])?;
    push_key(&mut bytes, LIST_START, "owners")?;
    for owner in owners {
        bytes.push(LIST_ITEM);
        push_value(&mut bytes, "owners", owner)?;
    }
    bytes.push(LIST_END);
    Ok(bytes)
}

impl Section {
    /// The tree as a message.
    ///
    /// # Errors
    /// If a key or a value is too long.
    pub fn to_message(&self) -> Result<Vec<u8>, MessageError> {
        let mut bytes = Vec::new();
        self.push(&mut bytes)?;
        Ok(bytes)
    }

    /// The tree that a message holds. What is not UTF-8 in it is shown as such.
    ///
    /// # Errors
    /// If `bytes` are not a message.
    pub fn from_message(mut bytes: &[u8]) -> Result<Self, MessageError> {
        let section = Self::pull(&mut bytes, 0)?;
        bytes.first().map_or(Ok(section), |element| Err(MessageError::Misplaced(*element)))
    }

    fn push(&self, bytes: &mut Vec<u8>) -> Result<(), MessageError> {
        for (key, item) in self.iter() {
            match item {
                Item::Value(value) => {
                    push_key(bytes, KEY_VALUE, key)?;
                    push_value(bytes, key, value)?;
                }
                Item::List(values) => {
                    push_key(bytes, LIST_START, key)?;
                    for value in values {
                        bytes.push(LIST_ITEM);
                        push_value(bytes, key, value)?;
                    }
                    bytes.push(LIST_END);
                }
                Item::Section(section) => {
                    push_key(bytes, SECTION_START, key)?;
                    section.push(bytes)?;
                    bytes.push(SECTION_END);
                }
            }
        }
        Ok(())
    }

    fn pull(bytes: &mut &[u8], depth: usize) -> Result<Self, MessageError> {
        if depth > DEEPEST {
            return Err(MessageError::Deep);
        }
        let mut section = Self::new();
        while let Some((element, rest)) = bytes.split_first() {
            // The end of the outermost section is the end of the message: another is left for the
            // caller to complain of.
            if *element == SECTION_END && depth == 0 {
                return Ok(section);
            }
            *bytes = rest;
            if *element == SECTION_END {
                return Ok(section);
            }
            if !matches!(*element, KEY_VALUE | LIST_START | SECTION_START) {
                return Err(MessageError::Misplaced(*element));
            }
            let key = Key(text(pull(bytes, 1)?));
            let item = match *element {
                KEY_VALUE => Item::Value(text(pull(bytes, 2)?)),
                LIST_START => Item::List(pull_list(bytes)?),
                _ => Item::Section(Self::pull(bytes, depth + 1)?),
            };
            section = section.item(key, item);
        }
        if depth == 0 { Ok(section) } else { Err(MessageError::Short) }
    }
}

fn push_key(bytes: &mut Vec<u8>, element: u8, key: &str) -> Result<(), MessageError> {
    let length = u8::try_from(key.len()).map_err(|_| too_long(key, key.len()))?;
    bytes.extend([element, length]);
    bytes.extend(key.as_bytes());
    Ok(())
}

fn push_value(bytes: &mut Vec<u8>, key: &str, value: &str) -> Result<(), MessageError> {
    let length = u16::try_from(value.len()).map_err(|_| too_long(key, value.len()))?;
    bytes.extend(length.to_be_bytes());
    bytes.extend(value.as_bytes());
    Ok(())
}

fn too_long(key: &str, length: usize) -> MessageError {
    MessageError::TooLong { key: key.to_owned(), length }
}

fn pull_list(bytes: &mut &[u8]) -> Result<Vec<String>, MessageError> {
    let mut values = Vec::new();
    loop {
        match *take(bytes, 1)?.first().expect("one byte was taken") {
            LIST_ITEM => values.push(text(pull(bytes, 2)?)),
            LIST_END => return Ok(values),
            element => return Err(MessageError::Misplaced(element)),
        }
    }
}

/// Takes what follows a length of `size` bytes.
fn pull<'a>(bytes: &mut &'a [u8], size: usize) -> Result<&'a [u8], MessageError> {
    let length = take(bytes, size)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    take(bytes, length)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], MessageError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(MessageError::Short)?;
    *bytes = rest;
    Ok(taken)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_message_like_any_other() {
        let section = Section::new()
            .value("id", "ike-t")
            .value("type", "IKE")
            .value("data", "swordfish")
            .list("owners", ["10.0.0.1", "fd00::2"]);
        let bytes = secret_message("ike-t", ["10.0.0.1", "fd00::2"], "swordfish").unwrap();
        assert_eq!(bytes, section.to_message().unwrap());
    }

    fn tree() -> Section {
        Section::new()
            .value("a", "1")
            .section("s", Section::new().list("l", ["x", "yz"]).section("empty", Section::new()))
            .value("b", "")
    }

    #[test]
    fn a_message_has_the_bytes_that_the_protocol_wants() {
        let expected = b"\x03\x01a\x00\x011\x01\x01s\x04\x01l\x05\x00\x01x\x05\x00\x02yz\x06\
                         \x01\x05empty\x02\x02\x03\x01b\x00\x00";
        assert_eq!(tree().to_message().unwrap(), expected);
        assert_eq!(values_message(&[("a", "1")]).unwrap(), b"\x03\x01a\x00\x011");
    }

    #[test]
    fn a_message_that_was_written_is_read_again() {
        assert_eq!(Section::from_message(&tree().to_message().unwrap()), Ok(tree()));
    }

    #[test]
    fn a_message_cut_short_or_out_of_order_is_refused_and_never_a_panic() {
        let whole = tree().to_message().unwrap();
        for end in 0..whole.len() {
            drop(Section::from_message(&whole[..end]));
        }
        assert_eq!(Section::from_message(&whole[..9]), Err(MessageError::Short));
        assert_eq!(Section::from_message(&[LIST_ITEM]), Err(MessageError::Misplaced(LIST_ITEM)));
        assert_eq!(
            Section::from_message(&[SECTION_END]),
            Err(MessageError::Misplaced(SECTION_END))
        );
        let deep = [SECTION_START, 1, b'x'].repeat(100_000);
        assert_eq!(Section::from_message(&deep), Err(MessageError::Deep));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = values_message(&[("data", &"x".repeat(65_536))]);
        assert_eq!(refused, Err(too_long("data", 65_536)));
    }
}
