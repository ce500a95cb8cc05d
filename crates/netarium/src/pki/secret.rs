//! The secrets that two ends of a tunnel share: made or given once, kept beside the authority.

use std::path::{Path, PathBuf};

use netarium_core::model::{Secrets, SharedSecret};
use netarium_core::name::Name;
use netarium_core::object;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::{PkiError, folder, made};

/// Where they are in the folder of the authority. No node can be called that.
const FOLDER: &str = ".secrets";

const FILE: &str = "secret";

/// The secret of a tunnel. It cannot be printed.
pub(crate) struct TunnelSecret {
    text: Zeroizing<String>,
}

impl TunnelSecret {
    /// The secret that `wanted` means: the one that is kept, if that is it; else the one of the lab
    /// file, among `given`; else a new one. It is kept then.
    ///
    /// # Errors
    /// If it is not among `given`, or cannot be made or kept.
    pub(crate) fn of(
        authority_folder: &Path,
        wanted: &object::Secret,
        given: &Secrets,
    ) -> Result<Self, PkiError> {
        if let Some(kept) = Self::kept(authority_folder, wanted) {
            return Ok(kept);
        }
        let secret = Self::fresh(wanted, given)?;
        let folder = place(authority_folder, &wanted.tunnel);
        folder::save(&folder, &wanted.secret, &[(FILE, &secret.text)])?;
        Ok(secret)
    }

    /// The secret of the lab file, among `given`, or a new one. It is not kept.
    ///
    /// # Errors
    /// If it is not among `given`, or cannot be made.
    pub(crate) fn fresh(wanted: &object::Secret, given: &Secrets) -> Result<Self, PkiError> {
        let text = match &wanted.secret {
            SharedSecret::Made => new()?,
            SharedSecret::Given(digest) => {
                let text = given.0.get(&wanted.tunnel).filter(|text| hexadecimal(text) == *digest);
                let missing = || PkiError::Secret(wanted.tunnel.clone());
                Zeroizing::new(text.ok_or_else(missing)?.clone())
            }
        };
        Ok(Self { text })
    }

    /// The secret that is kept, if it is the one that is wanted.
    pub(crate) fn kept(authority_folder: &Path, wanted: &object::Secret) -> Option<Self> {
        let folder = place(authority_folder, &wanted.tunnel);
        let mut saved = folder::load::<SharedSecret>(&folder).ok()?;
        let text = saved.take(FILE).ok()?;
        (saved.subject == wanted.secret).then_some(Self { text })
    }

    /// The secret itself.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn place(authority_folder: &Path, tunnel: &Name) -> PathBuf {
    authority_folder.join(FOLDER).join(tunnel.as_str())
}

/// A new secret, 256 bits in hexadecimal digits: the hash of a key that nobody else ever sees.
fn new() -> Result<Zeroizing<String>, PkiError> {
    let mut key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(made("secret"))?;
    let text = hexadecimal(&Zeroizing::new(key.serialize_pem()));
    key.zeroize();
    Ok(Zeroizing::new(text))
}

fn hexadecimal(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::tests::Folder;

    fn wanted(secret: SharedSecret) -> object::Secret {
        let ends = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let name = |word| Name::new(word).unwrap();
        object::Secret { node: name("west"), tunnel: name("t"), ends, secret }
    }

    #[test]
    fn both_ends_get_the_same_secret_and_another_lab_another() {
        let (one, other) = (Folder::new("secret-one"), Folder::new("secret-other"));
        let secret = |folder: &Folder| {
            TunnelSecret::of(&folder.0, &wanted(SharedSecret::Made), &Secrets::default()).unwrap()
        };
        let first = secret(&one);
        assert_eq!(first.text().len(), 64);
        assert_eq!(first.text(), secret(&one).text());
        assert_ne!(first.text(), secret(&other).text());
    }

    #[test]
    fn a_given_secret_replaces_a_made_one_and_the_reverse() {
        let folder = Folder::new("secret-given");
        let given = Secrets([(Name::new("t").unwrap(), "swordfish".to_owned())].into());
        let is_given = SharedSecret::Given(hexadecimal("swordfish"));
        let of = |secret: &SharedSecret| {
            TunnelSecret::of(&folder.0, &wanted(secret.clone()), &given).unwrap().text().to_owned()
        };
        let made = of(&SharedSecret::Made);
        assert_eq!(of(&is_given), "swordfish");
        assert_ne!(of(&SharedSecret::Made), made);
        let other = wanted(SharedSecret::Given(hexadecimal("other")));
        let refusal = TunnelSecret::of(&folder.0, &other, &given).err().unwrap().to_string();
        assert!(!refusal.contains("swordfish") && refusal.contains("tunnel t"), "{refusal}");
    }
}
