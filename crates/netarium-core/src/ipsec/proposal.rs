//! Proposals in strongSwan's words, and what two daemons made of one.
//!
//! A proposal is a set of words, in any order: those of one kind are alternatives. The daemon tells
//! the algorithms that it agreed on by other names than those of proposals (the IANA registry's,
//! without some of its prefixes); here both become the daemon's.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Section;

/// The algorithms that two daemons agreed on, in their own words; those that do not apply are left
/// out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Algorithms {
    /// `AES_GCM_16` for example.
    pub encryption: Option<String>,
    /// The size of its key in bits.
    pub key_size: Option<String>,
    /// `HMAC_SHA2_256_128` for example; none if the encryption does that too.
    pub integrity: Option<String>,
    /// `PRF_HMAC_SHA2_384` for example, in IKE only.
    pub prf: Option<String>,
    /// `ECP_384` for example. The first ESP association of an IKE one has its keys from there, and
    /// no group of its own.
    pub group: Option<String>,
}

impl Algorithms {
    /// Reads those of an association in the answer to `list-sas`.
    pub(super) fn of(section: &Section) -> Self {
        let text = |key| section.get(key).map(str::to_owned);
        Self {
            encryption: text("encr-alg"),
            key_size: text("encr-keysize"),
            integrity: text("integ-alg"),
            prf: text("prf-alg"),
            group: text("dh-group"),
        }
    }
}

/// In the order of a proposal.
impl fmt::Display for Algorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [&self.encryption, &self.key_size, &self.integrity, &self.prf, &self.group];
        let words: Vec<&str> = all.into_iter().flatten().map(String::as_str).collect();
        f.write_str(&words.join(" "))
    }
}

/// What a proposal allows, in the daemon's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// Ways to encrypt, with the size of the key.
    encryption: BTreeSet<(String, Option<String>)>,
    integrity: BTreeSet<String>,
    prf: BTreeSet<String>,
    group: BTreeSet<String>,
    /// Words that are not known here.
    unknown: Vec<String>,
}

impl Proposal {
    /// Takes a proposal apart.
    pub fn read(text: &str) -> Self {
        let mut proposal = Self::default();
        text.split('-').for_each(|word| proposal.add(word));
        if proposal.prf.is_empty() {
            // As the daemon does: the function that protects is the one that makes keys.
            let prf = |it: &String| Some(format!("PRF_{}", it.rsplit_once('_')?.0));
            proposal.prf = proposal.integrity.iter().filter_map(prf).collect();
        }
        proposal
    }

    /// The words that are not known here, and so are not compared.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    fn add(&mut self, word: &str) {
        if let Some(it) = encryption(word) {
            self.encryption.insert(it);
        } else if let Some(it) = integrity(word) {
            self.integrity.insert(it);
        } else if let Some(it) = prf(word) {
            self.prf.insert(it);
        } else if let Some(it) = group(word) {
            self.group.insert(it);
        } else if !matches!(word, "esn" | "noesn") {
            self.unknown.push(word.to_owned());
        }
    }

    /// Whether the daemons agreed on nothing that it does not allow.
    pub fn allows(&self, found: &Algorithms) -> bool {
        let among = |allowed: &BTreeSet<String>, found: &Option<String>| match found {
            Some(found) => allowed.is_empty() || allowed.contains(found),
            None => true,
        };
        let encrypts = |(name, size): &(String, Option<String>)| {
            found.encryption.as_ref() == Some(name) && (size.is_none() || *size == found.key_size)
        };
        (self.encryption.is_empty() || self.encryption.iter().any(encrypts))
            && among(&self.integrity, &found.integrity)
            && among(&self.prf, &found.prf)
            && among(&self.group, &found.group)
    }
}

/// The proposals of a list, of which one is enough.
pub fn allows_any(proposals: &str, found: &Algorithms) -> bool {
    proposals.split(',').any(|text| Proposal::read(text.trim()).allows(found))
}

fn encryption(word: &str) -> Option<(String, Option<String>)> {
    let plain = |name: &str| Some((name.to_owned(), None));
    match word {
        "chacha20poly1305" => return plain("CHACHA20_POLY1305"),
        "3des" => return plain("3DES_CBC"),
        "null" => return plain("NULL"),
        _ => {}
    }
    let (cipher, rest) = match word.strip_prefix("aes") {
        Some(rest) => ("AES", rest),
        None => ("CAMELLIA", word.strip_prefix("camellia")?),
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    // Without a size, strongSwan means the smallest.
    let size = if digits == 0 { "128" } else { &rest[..digits] };
    if !matches!(size, "128" | "192" | "256") {
        return None;
    }
    let name = match &rest[digits..] {
        "" | "cbc" => format!("{cipher}_CBC"),
        "ctr" => format!("{cipher}_CTR"),
        "gmac" => format!("NULL_{cipher}_GMAC"),
        mode => {
            let (mode, length) = mode.split_at_checked(3)?;
            let mode = matches!(mode, "gcm" | "ccm").then(|| mode.to_uppercase())?;
            let bytes = match length {
                "8" | "64" => 8,
                "12" | "96" => 12,
                "" | "16" | "128" => 16,
                _ => return None,
            };
            format!("{cipher}_{mode}_{bytes}")
        }
    };
    Some((name, Some(size.to_owned())))
}

fn integrity(word: &str) -> Option<String> {
    let name = match word {
        "md5" => "HMAC_MD5_96",
        "sha" | "sha1" => "HMAC_SHA1_96",
        "sha256" | "sha2_256" => "HMAC_SHA2_256_128",
        "sha384" | "sha2_384" => "HMAC_SHA2_384_192",
        "sha512" | "sha2_512" => "HMAC_SHA2_512_256",
        "aesxcbc" => "AES_XCBC_96",
        "aescmac" => "AES_CMAC_96",
        _ => return None,
    };
    Some(name.to_owned())
}

fn prf(word: &str) -> Option<String> {
    let name = match word {
        "prfmd5" => "PRF_HMAC_MD5",
        "prfsha1" => "PRF_HMAC_SHA1",
        "prfsha256" => "PRF_HMAC_SHA2_256",
        "prfsha384" => "PRF_HMAC_SHA2_384",
        "prfsha512" => "PRF_HMAC_SHA2_512",
        "prfaesxcbc" => "PRF_AES128_XCBC",
        "prfaescmac" => "PRF_AES128_CMAC",
        _ => return None,
    };
    Some(name.to_owned())
}

fn group(word: &str) -> Option<String> {
    match word {
        "curve25519" | "x25519" => return Some("CURVE_25519".to_owned()),
        "curve448" | "x448" => return Some("CURVE_448".to_owned()),
        "modpnone" => return Some("MODP_NONE".to_owned()),
        _ => {}
    }
    let (kind, rest) = match (word.strip_prefix("ecp"), word.strip_prefix("modp")) {
        (Some(rest), _) => ("ECP", rest),
        (None, rest) => ("MODP", rest?),
    };
    let (size, more) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
    match (kind, size, more) {
        (_, "", _) => None,
        (_, _, "") => Some(format!("{kind}_{size}")),
        ("ECP", _, "bp") => Some(format!("ECP_{size}_BP")),
        ("MODP", _, _) => Some(format!("MODP_{size}_{}", more.strip_prefix('s')?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As charon 5.9.8 tells them.
    fn told(words: [&str; 5]) -> Algorithms {
        let [encryption, key_size, integrity, prf, group] =
            words.map(|word| Some(word.to_owned()).filter(|word| !word.is_empty()));
        Algorithms { encryption, key_size, integrity, prf, group }
    }

    #[test]
    fn the_order_of_words_does_not_matter() {
        let found = told(["AES_GCM_16", "256", "", "PRF_HMAC_SHA2_384", "ECP_384"]);
        for text in [
            "aes256gcm16-prfsha384-ecp384",
            "ecp384-aes256gcm16-prfsha384",
            "ecp384-aes128gcm16-aes256gcm128-prfsha256-prfsha384-modp2048",
        ] {
            assert!(Proposal::read(text).allows(&found), "{text}");
        }
        for text in [
            "aes128gcm16-prfsha384-ecp384",
            "aes256gcm12-prfsha384-ecp384",
            "aes256-prfsha384-ecp384",
            "aes256gcm16-prfsha256-ecp384",
            "aes256gcm16-prfsha384-ecp521",
        ] {
            assert!(!Proposal::read(text).allows(&found), "{text}");
        }
        assert!(allows_any("aes128-sha256-modp2048, aes256gcm16-prfsha384-ecp384", &found));
    }

    #[test]
    fn keys_are_made_with_the_function_that_protects_where_none_is_named() {
        let found =
            told(["AES_CBC", "128", "HMAC_SHA2_256_128", "PRF_HMAC_SHA2_256", "MODP_2048_256"]);
        assert!(Proposal::read("aes128-sha256-modp2048s256").allows(&found));
        assert!(!Proposal::read("aes128-sha512-modp2048s256").allows(&found));
        assert!(!Proposal::read("aes128-sha256-prfsha512-modp2048s256").allows(&found));
    }

    #[test]
    fn an_association_without_a_group_of_its_own_fits_any() {
        let found = told(["CHACHA20_POLY1305", "256", "", "", ""]);
        assert!(Proposal::read("chacha20poly1305-x25519").allows(&found));
    }

    #[test]
    fn words_that_are_not_known_are_told() {
        let proposal = Proposal::read("aes256gcm16-ecp384-aes512-ecp256bp-esn-blowfish-sha9");
        assert_eq!(proposal.unknown(), ["aes512", "blowfish", "sha9"]);
        assert_eq!(Proposal::read("aes--modp").unknown(), ["", "modp"]);
    }
}
