//! Images that others have made: what they are called, which machines they are for, and what they
//! say of themselves.
//!
//! Nothing is fetched or read here. Sources: the OCI image specification (config.md,
//! image-index.md), the OCI distribution specification, and Docker's rules for short names.

mod config;
mod reference;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use config::{ConfigError, Description, Healthcheck, ImageConfig};
pub use reference::{Reference, ReferenceError};

use crate::model;

/// The images of a lab that were found, with what they say of themselves.
pub type Images = BTreeMap<model::Image, Found>;

/// An image as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The digest of its manifest, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Which machines it is for.
    pub platform: Platform,
    /// What it says of itself.
    pub config: ImageConfig,
}

/// Which machines an image is for, in the words of Go (`GOOS` and `GOARCH`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// The operating system, `linux` for everything that runs here.
    pub os: String,
    /// The processor, `amd64` or `arm64` for example.
    pub architecture: String,
    /// The variant of the processor, `v8` for example.
    pub variant: Option<String>,
}

/// Words that are no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform")]
pub struct PlatformError(String);

impl PlatformError {
    /// What to write.
    pub fn hint(&self) -> &'static str {
        "write linux/amd64 or linux/arm64"
    }
}

impl Platform {
    /// Linux on a processor, by Rust's name for it (`std::env::consts::ARCH`) or Go's.
    pub fn linux_on(processor: &str) -> Self {
        let architecture = match processor {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Whether an image for `self` is what somebody who wants `wanted` wants. A variant that is not
    /// named matches every other: few images name it, and those that do differ in whether they do.
    pub fn suits(&self, wanted: &Self) -> bool {
        let variants = match (&self.variant, &wanted.variant) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        };
        self.os == wanted.os && self.architecture == wanted.architecture && variants
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let is_word =
            |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [os, architecture, rest @ ..] if rest.len() < 2 && parts.iter().all(is_word) => {
                let variant = rest.first().map(|variant| (*variant).to_owned());
                Ok(Self { os: (*os).to_owned(), architecture: (*architecture).to_owned(), variant })
            }
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_two_or_three_words() {
        for text in ["linux/amd64", "linux/arm64/v8", "windows/amd64"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/x y", "a/b/"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_variant_matters_where_both_name_one() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert!(platform("linux/arm64/v8").suits(&platform("linux/arm64")));
        assert!(platform("linux/arm64").suits(&platform("linux/arm64/v8")));
        assert!(!platform("linux/arm/v6").suits(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm64").suits(&platform("linux/amd64")));
        assert_eq!(Platform::linux_on("aarch64"), platform("linux/arm64"));
    }
}
