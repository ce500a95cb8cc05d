//! What can be shown of an authority and of the certificates that it has issued.

use std::fs;
use std::path::Path;

use netarium_core::name::Name;
use netarium_core::object;
use time::OffsetDateTime;

use super::certificate::{Details, Validity};
use super::{Authority, Credential, PkiError, Revoked};
use crate::certificates::{Certificate, Certificates, Holder, Revocation, RevocationList};

impl Authority {
    /// All that it has issued and that is kept in `folder`, but no keys.
    ///
    /// # Errors
    /// If something cannot be read, or is not what was saved.
    pub(crate) fn certificates(&self, folder: &Path) -> Result<Certificates, PkiError> {
        let validity = self.subject.validity()?;
        let mut certificates = vec![
            self.certificate(Holder::Root, &self.subject.root, validity),
            self.certificate(Holder::Intermediate, &self.subject.intermediate, validity),
        ];
        for node in nodes(folder)? {
            let credential = Credential::load(folder, &node)?;
            let (object, details) = (&credential.subject.object, &credential.subject.details);
            let mut certificate = self.certificate(Holder::Node(node), details, validity);
            certificate.names = names(object);
            certificate.revoked = self.revocation(&details.serial).map(Revoked::shown);
            certificates.push(certificate);
        }
        let revoked = self.subject.revoked.iter().map(Revoked::shown).collect();
        let until = date(validity.until());
        Ok(Certificates {
            certificates,
            list: RevocationList { number: self.subject.list_number(), until, revoked },
        })
    }

    fn certificate(&self, holder: Holder, details: &Details, validity: Validity) -> Certificate {
        let full = |common: &str| format!("O={}, CN={common}", self.subject.authority.lab);
        let (root, intermediate) = (full("root authority"), full("intermediate authority"));
        let (subject, issuer) = match &holder {
            Holder::Root => (root.clone(), root),
            Holder::Intermediate => (intermediate, root),
            Holder::Node(node) => (full(node.as_str()), intermediate),
        };
        Certificate {
            holder,
            subject,
            issuer,
            names: vec![],
            serial: details.serial.clone(),
            sha256: details.sha256.clone(),
            from: date(validity.from()),
            until: date(validity.until()),
            revoked: None,
        }
    }
}

impl Revoked {
    fn shown(&self) -> Revocation {
        Revocation {
            node: self.node.clone(),
            serial: self.serial.clone(),
            reason: self.reason,
            at: date(self.moment()),
        }
    }
}

/// The nodes that have a credential in the folder of an authority.
pub(super) fn nodes(folder: &Path) -> Result<Vec<Name>, PkiError> {
    let error = |source| PkiError::Read { path: folder.to_owned(), source };
    let mut nodes = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let is_folder = entry.file_type().map_err(error)?.is_dir();
        let name = entry.file_name().to_str().and_then(|name| Name::new(name).ok());
        nodes.extend(name.filter(|_| is_folder));
    }
    nodes.sort();
    Ok(nodes)
}

fn names(credential: &object::Credential) -> Vec<String> {
    let addresses = credential.addresses.iter().map(ToString::to_string);
    std::iter::once(credential.node.to_string()).chain(addresses).collect()
}

/// A moment as RFC 3339 has it, in UTC.
fn date(moment: OffsetDateTime) -> String {
    let (hour, minute, second) = moment.to_hms();
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
