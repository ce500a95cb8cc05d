//! The certificates of a lab, as they can be shown: everything but the keys.

use std::fmt;
use std::str::FromStr;

use netarium_core::name::Name;
use serde::{Deserialize, Serialize};

/// The certificates of a lab's authority and of its nodes (RFC 5280).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Certificates {
    /// The root, the intermediate, then the nodes by name.
    pub certificates: Vec<Certificate>,
    /// The list of what the intermediate has revoked.
    pub list: RevocationList,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Certificate {
    /// Whose it is.
    pub holder: Holder,
    /// The subject, as `O=LAB, CN=NAME`.
    pub subject: String,
    /// Who has signed it, likewise.
    pub issuer: String,
    /// Other names of the subject: host name and addresses.
    pub names: Vec<String>,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
    /// The SHA-256 of the certificate, in hexadecimal digits.
    pub sha256: String,
    /// From when it is valid (RFC 3339).
    pub from: String,
    /// Until when it is valid (RFC 3339).
    pub until: String,
    /// That it is revoked, if it is.
    pub revoked: Option<Revocation>,
}

/// Whose a certificate is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// The lab's root authority.
    Root,
    /// The authority that issues.
    Intermediate,
    /// A node.
    Node(Name),
}

/// A list of revoked certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RevocationList {
    /// Its number: each list has a higher one than the last.
    pub number: u64,
    /// Until when it counts (RFC 3339).
    pub until: String,
    /// What is on it, with certificates that are no longer in use.
    pub revoked: Vec<Revocation>,
}

/// That a certificate was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revocation {
    /// The node that had the certificate.
    pub node: Name,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// Why.
    pub reason: Reason,
    /// When (RFC 3339).
    pub at: String,
}

/// Why a certificate is revoked (RFC 5280, 5.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody says.
    #[default]
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// The node belongs to somebody else now.
    AffiliationChanged,
    /// There is a newer one.
    Superseded,
    /// The node is not needed any more.
    CessationOfOperation,
    /// The node may not do any more what it could.
    PrivilegeWithdrawn,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        })
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|reason| reason.to_string() == word);
        let all = || Self::ALL.map(|reason| reason.to_string()).join(", ");
        known.ok_or_else(|| format!("a reason is one of {}", all()))
    }
}

/// What becomes of the tunnels of a node whose certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Those that stand stay until the ends have to show again who they are.
    Stays,
    /// They are closed.
    Closed,
}
