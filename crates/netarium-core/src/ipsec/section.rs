//! An ordered tree of settings, and the text that strongSwan reads it from.
//!
//! It knows how a value is written, never what it means.

use std::fmt::Write;

use crate::name::Name;

/// Settings in the order in which they were put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section(Vec<(Key, Item)>);

/// The name of a setting or of a section: a word of strongSwan's, or a name of the lab. Neither
/// has a character that means something in the text. One in a daemon's message is the daemon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(pub(in crate::ipsec) String);

/// What is under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// One value.
    Value(String),
    /// Several values.
    List(Vec<String>),
    /// More settings.
    Section(Section),
}

impl Section {
    /// A section with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a value at the end.
    #[must_use]
    pub fn value(self, key: impl Into<Key>, value: impl ToString) -> Self {
        self.item(key, Item::Value(value.to_string()))
    }

    /// Puts a list at the end. An empty list is the same as no list, in text and over VICI.
    #[must_use]
    pub fn list<T: ToString>(
        self,
        key: impl Into<Key>,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        if values.is_empty() { self } else { self.item(key, Item::List(values)) }
    }

    /// Puts a section at the end.
    #[must_use]
    pub fn section(self, key: impl Into<Key>, section: Self) -> Self {
        self.item(key, Item::Section(section))
    }

    /// Puts everything of `other` at the end.
    #[must_use]
    pub fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The same tree, with each value that `change` has something else for changed. Values of a
    /// list are asked for one by one.
    #[must_use]
    pub fn with_values(&self, change: &dyn Fn(&str, &str) -> Option<String>) -> Self {
        let changed = |key: &Key, value: &String| {
            change(key.as_str(), value).unwrap_or_else(|| value.clone())
        };
        let item = |key: &Key, item: &Item| match item {
            Item::Value(value) => Item::Value(changed(key, value)),
            Item::List(values) => {
                Item::List(values.iter().map(|value| changed(key, value)).collect())
            }
            Item::Section(section) => Item::Section(section.with_values(change)),
        };
        Self(self.0.iter().map(|(key, it)| (key.clone(), item(key, it))).collect())
    }

    /// The settings, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Item)> {
        self.0.iter().map(|(key, item)| (key.as_str(), item))
    }

    /// The text as strongswan.conf(5) and swanctl.conf(5) have it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|(it, item)| match item {
            Item::Value(value) if it == key => Some(value.as_str()),
            _ => None,
        })
    }

    /// The list under `key`; none is the same as an empty one.
    pub fn get_list(&self, key: &str) -> &[String] {
        let list = self.iter().find_map(|(it, item)| match item {
            Item::List(values) if it == key => Some(values.as_slice()),
            _ => None,
        });
        list.unwrap_or_default()
    }

    /// The sections directly below, by key.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.iter().filter_map(|(key, item)| match item {
            Item::Section(section) => Some((key, section)),
            _ => None,
        })
    }

    pub(super) fn item(mut self, key: impl Into<Key>, item: Item) -> Self {
        self.0.push((key.into(), item));
        self
    }

    fn write(&self, text: &mut String, depth: usize) {
        let indent = "    ".repeat(depth);
        for (key, item) in self.iter() {
            let line = match item {
                Item::Value(value) => format!("{key} = {}", quoted(value)),
                Item::List(values) => format!("{key} = {}", quoted(&values.join(", "))),
                Item::Section(section) => {
                    let mut inner = String::new();
                    section.write(&mut inner, depth + 1);
                    format!("{key} {{\n{inner}{indent}}}")
                }
            };
            writeln!(text, "{indent}{line}").expect("a string takes any text");
        }
    }
}

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Key {
    fn from(word: &'static str) -> Self {
        Self(word.to_owned())
    }
}

impl From<&Name> for Key {
    fn from(name: &Name) -> Self {
        Self(name.to_string())
    }
}

/// A value as it stands behind the equals sign. What could end the value, begin a comment or open
/// a section is put in double quotes.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ,.:/_-%+!".contains(&byte);
    if !value.is_empty() && value.trim() == value && value.bytes().all(plain) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_line() {
        let section = Section::new()
            .value("plain", "aes256gcm16-ecp384")
            .value("empty", "")
            .value("hostile", "x }\n y = \"#\\")
            .list("several", ["10.1.0.0/16", "fd00::/8"])
            .list::<String>("none", []);
        assert_eq!(
            section.to_text(),
            "plain = aes256gcm16-ecp384\nempty = \"\"\nhostile = \"x }\\n y = \\\"#\\\\\"\n\
             several = 10.1.0.0/16, fd00::/8\n"
        );
    }

    #[test]
    fn values_are_changed_wherever_they_stand() {
        let section = Section::new()
            .value("certs", "a.pem")
            .section("inner", Section::new().list("certs", ["a.pem", "b.pem"]));
        let changed = section.with_values(&|key, value| {
            (key == "certs" && value == "a.pem").then(|| "A".to_owned())
        });
        assert_eq!(changed.to_text(), "certs = A\ninner {\n    certs = A, b.pem\n}\n");
    }
}
