//! A lab's own public key infrastructure (RFC 5280): a root, an intermediate that issues, and a
//! key and certificate for each node, all ECDSA on P-384.
//!
//! It makes, saves and loads them. It does not put anything into a node: [`Credential::files`]
//! says what belongs where.

mod certificate;
mod folder;
mod secret;
mod show;
pub(crate) mod wireguard;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use netarium_core::ipsec;
use netarium_core::name::Name;
use netarium_core::object;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

use crate::certificates::Reason;
use certificate::{Details, Validity};
pub(crate) use secret::TunnelSecret;

/// The authority that issues a lab's certificates.
///
/// Only the intermediate's key is kept. The root signs one certificate and one revocation list,
/// then its key is forgotten: whoever gets hold of the folder cannot make another authority.
pub(crate) struct Authority {
    subject: Subject,
    key: KeyPair,
    public: PublicPart,
}

/// A node's key and certificate, and what it needs to judge those of others.
pub(crate) struct Credential {
    subject: Issued,
    key: Zeroizing<String>,
    certificate: String,
    public: PublicPart,
}

/// A file of a [`Credential`] in its node. It cannot be printed: some are private keys.
pub(crate) struct CredentialFile<'a> {
    /// Its absolute path in the node.
    pub(crate) path: String,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// What is in it.
    pub(crate) content: &'a str,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PkiError {
    /// A key or a signature could not be made.
    #[error("cannot make the {what}")]
    Make {
        /// The key, certificate or list.
        what: String,
        /// What the library says.
        #[source]
        source: rcgen::Error,
    },
    /// The kernel gives no random bytes.
    #[error("cannot make a key: there is no randomness")]
    Random(#[source] std::io::Error),
    /// The certificates would be valid for too long.
    #[error("certificates cannot be valid for {days} days: that ends after the year 9999")]
    Validity {
        /// How long they should be valid.
        days: u32,
    },
    /// A file could not be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: std::io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: std::io::Error,
    },
    /// A node must not get a new certificate in place of one that was revoked, unless somebody says
    /// so.
    #[error("the certificate of {0} was revoked; `netarium pki renew {0}` issues another")]
    Revoked(Name),
    /// A secret of the lab file is not at hand.
    #[error("the secret of tunnel {0} is not the one that the lab file had")]
    Secret(Name),
    /// A file is not what was saved.
    #[error("{path} is damaged: {why}; take the lab down and bring it up again", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that is seen.
        why: String,
    },
}

/// What an authority was made from, all of it public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Subject {
    authority: object::Authority,
    /// The beginning of its validity, in seconds since 1970.
    not_before: u64,
    root: Details,
    intermediate: Details,
    /// What the intermediate has revoked, in that order.
    revoked: Vec<Revoked>,
}

/// A certificate that was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Revoked {
    node: Name,
    serial: String,
    reason: Reason,
    /// In seconds since 1970.
    at: u64,
}

impl Revoked {
    fn moment(&self) -> OffsetDateTime {
        let at = i64::try_from(self.at).ok();
        let moment = at.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        moment.unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// What a credential was made from, and what tells its certificate from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Issued {
    object: object::Credential,
    details: Details,
}

/// What everybody may see of an authority, as PEM.
#[derive(Clone)]
struct PublicPart {
    root: String,
    intermediate: String,
    root_list: String,
    intermediate_list: String,
}

const INTERMEDIATE_LIST: &str = "intermediate authority's revocation list";

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "certificate.pem";
const PUBLIC: [&str; 4] =
    ["root.pem", "intermediate.pem", "root-revoked.pem", "intermediate-revoked.pem"];

impl Authority {
    /// Makes a new authority. Its certificates are valid from an hour before `now`, since clocks
    /// of machines that share a lab's files differ.
    ///
    /// # Errors
    /// If its certificates would be valid for too long, or a key cannot be made.
    pub(crate) fn create(authority: &object::Authority, now: SystemTime) -> Result<Self, PkiError> {
        let not_before = seconds(now).saturating_sub(60 * 60);
        let validity = validity(not_before, authority.days)?;
        let lab = &authority.lab;

        let mut root_key = generate("root authority's key")?;
        let key = generate("intermediate authority's key")?;
        let root = certificate::root(lab, validity);
        let intermediate = certificate::intermediate(lab, validity);
        let signed_by_root = certificate::sign_root(&root, &root_key, &intermediate, &key);
        root_key.zeroize();
        let ((root, root_details), root_list, (signed, details)) =
            signed_by_root.map_err(made("root authority"))?;
        let intermediate_list =
            certificate::list(&intermediate, &key, &[]).map_err(made(INTERMEDIATE_LIST))?;
        let public = PublicPart { root, intermediate: signed, root_list, intermediate_list };
        let subject = Subject {
            authority: authority.clone(),
            not_before,
            root: root_details,
            intermediate: details,
            revoked: vec![],
        };
        Ok(Self { subject, key, public })
    }

    /// Revokes the certificate of a credential, with a new list. Nothing happens to one that is
    /// revoked already.
    ///
    /// # Errors
    /// If the list cannot be made.
    pub(crate) fn revoke(
        &mut self,
        credential: &Credential,
        reason: Reason,
        now: SystemTime,
    ) -> Result<(), PkiError> {
        let Issued { object, details } = &credential.subject;
        if self.has_revoked(credential) {
            return Ok(());
        }
        let (node, serial) = (object.node.clone(), details.serial.clone());
        self.subject.revoked.push(Revoked { node, serial, reason, at: seconds(now) });
        let issuer =
            certificate::intermediate(&self.subject.authority.lab, self.subject.validity()?);
        self.public.intermediate_list =
            certificate::list(&issuer, &self.key, &self.subject.revoked)
                .map_err(made(INTERMEDIATE_LIST))?;
        Ok(())
    }

    /// Whether the certificate of a credential is revoked.
    pub(crate) fn has_revoked(&self, credential: &Credential) -> bool {
        self.revocation(&credential.subject.details.serial).is_some()
    }

    fn revocation(&self, serial: &str) -> Option<&Revoked> {
        self.subject.revoked.iter().find(|it| it.serial == serial)
    }

    /// The credentials that are kept in `folder`, each with the newest lists.
    ///
    /// # Errors
    /// If one cannot be read, or is not what was saved.
    pub(crate) fn credentials(&self, folder: &Path) -> Result<Vec<Credential>, PkiError> {
        let nodes = show::nodes(folder)?;
        let load = |node: &Name| {
            let credential = Credential::load(folder, node)?;
            Ok(Credential { public: self.public.clone(), ..credential })
        };
        nodes.iter().map(load).collect()
    }

    /// Makes a key and a certificate for a node.
    ///
    /// # Errors
    /// If a key or a signature cannot be made.
    pub(crate) fn issue(&self, credential: &object::Credential) -> Result<Credential, PkiError> {
        let validity = self.subject.validity()?;
        let lab = &self.subject.authority.lab;
        let mut key = generate("node's key")?;
        let pem = Zeroizing::new(key.serialize_pem());
        let signed = certificate::leaf(lab, credential, validity, &key, &self.key);
        key.zeroize();
        let (certificate, details) = signed.map_err(made("node's certificate"))?;
        let public = self.public.clone();
        let subject = Issued { object: credential.clone(), details };
        Ok(Credential { subject, key: pem, certificate, public })
    }

    /// What it was made from.
    pub(crate) fn object(&self) -> &object::Authority {
        &self.subject.authority
    }

    /// Saves it to `folder`, which becomes readable by its owner only.
    ///
    /// # Errors
    /// If a file or the folder cannot be written.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), PkiError> {
        let key = Zeroizing::new(self.key.serialize_pem());
        let mut files = self.public.files().to_vec();
        files.push((KEY, &key));
        folder::save(folder, &self.subject, &files)
    }

    /// Loads what [`save`](Self::save) has written.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what was saved.
    pub(crate) fn load(folder: &Path) -> Result<Self, PkiError> {
        let mut saved = folder::load::<Subject>(folder)?;
        let public = PublicPart::take(&mut saved)?;
        let key = KeyPair::from_pem(&saved.take(KEY)?).map_err(|source| PkiError::Damaged {
            path: folder.join(KEY),
            why: source.to_string(),
        })?;
        Ok(Self { subject: saved.subject, key, public })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Credential {
    /// What it was made from.
    pub(crate) fn object(&self) -> &object::Credential {
        &self.subject.object
    }

    /// Its private key, as PEM.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Its certificate, as PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The certificates of the intermediate and of the root, as PEM.
    pub(crate) fn authorities(&self) -> [&str; 2] {
        [&self.public.intermediate, &self.public.root]
    }

    /// The root's certificate, as PEM.
    pub(crate) fn root(&self) -> &str {
        &self.public.root
    }

    /// What the intermediate and the root have revoked, as PEM.
    pub(crate) fn revocation_lists(&self) -> [&str; 2] {
        [&self.public.intermediate_list, &self.public.root_list]
    }

    /// Its files in the node, where swanctl(8) looks for them.
    pub(crate) fn files(&self) -> Vec<CredentialFile<'_>> {
        let own = ipsec::credential_file(&self.object().node);
        let public = &self.public;
        [
            (ipsec::KEYS, own.as_str(), self.key.as_str()),
            (ipsec::CERTIFICATES, &own, &self.certificate),
            (ipsec::AUTHORITIES, ipsec::ROOT_FILE, &public.root),
            (ipsec::AUTHORITIES, ipsec::INTERMEDIATE_FILE, &public.intermediate),
            (ipsec::REVOCATION_LISTS, ipsec::ROOT_FILE, &public.root_list),
            (ipsec::REVOCATION_LISTS, ipsec::INTERMEDIATE_FILE, &public.intermediate_list),
        ]
        .into_iter()
        .map(|(folder, file, content)| CredentialFile {
            path: format!("{folder}/{file}"),
            mode: 0o600,
            content,
        })
        .collect()
    }

    /// Saves it to a folder of its own, called after its node, in that of the authority.
    ///
    /// # Errors
    /// If a file or the folder cannot be written.
    pub(crate) fn save(&self, authority_folder: &Path) -> Result<(), PkiError> {
        let mut files = self.public.files().to_vec();
        files.extend([(KEY, self.key.as_str()), (CERTIFICATE, &self.certificate)]);
        folder::save(&authority_folder.join(self.object().node.as_str()), &self.subject, &files)
    }

    /// Loads what [`save`](Self::save) has written for `node`.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what was saved.
    pub(crate) fn load(authority_folder: &Path, node: &Name) -> Result<Self, PkiError> {
        let mut saved = folder::load::<Issued>(&authority_folder.join(node.as_str()))?;
        Ok(Self {
            key: saved.take(KEY)?,
            certificate: saved.take(CERTIFICATE)?.to_string(),
            public: PublicPart::take(&mut saved)?,
            subject: saved.subject,
        })
    }
}

impl Subject {
    fn validity(&self) -> Result<Validity, PkiError> {
        validity(self.not_before, self.authority.days)
    }

    /// The number of the intermediate's list.
    fn list_number(&self) -> u64 {
        certificate::list_number(&self.revoked)
    }
}

fn validity(not_before: u64, days: u32) -> Result<Validity, PkiError> {
    Validity::new(not_before, days).ok_or(PkiError::Validity { days })
}

fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl PublicPart {
    fn files(&self) -> [(&'static str, &str); 4] {
        let [root, intermediate, root_list, intermediate_list] = PUBLIC;
        [
            (root, &self.root),
            (intermediate, &self.intermediate),
            (root_list, &self.root_list),
            (intermediate_list, &self.intermediate_list),
        ]
    }

    fn take<S>(saved: &mut folder::Saved<S>) -> Result<Self, PkiError> {
        let [root, intermediate, root_list, intermediate_list] = PUBLIC;
        Ok(Self {
            root: saved.take(root)?.to_string(),
            intermediate: saved.take(intermediate)?.to_string(),
            root_list: saved.take(root_list)?.to_string(),
            intermediate_list: saved.take(intermediate_list)?.to_string(),
        })
    }
}

fn generate(what: &'static str) -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(made(what))
}

fn made(what: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Make { what: what.to_owned(), source }
}

#[cfg(test)]
mod tests;
