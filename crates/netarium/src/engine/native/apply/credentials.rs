//! What the ends of tunnels show each other: keys with certificates, and secrets.

use netarium_core::ipsec;
use netarium_core::name::Name;
use netarium_core::object;

use super::{Apply, Result, write_file};
use crate::engine::native::worker::Task;
use crate::pki::{Authority, Credential, PkiError, TunnelSecret};

impl Apply<'_> {
    pub(super) fn issue(&mut self, credential: &object::Credential) -> Result<()> {
        let folder = self.order.folder.pki();
        let authority = match self.authority.take() {
            Some(authority) => authority,
            None => Authority::load(&folder)?,
        };
        let issued = match Credential::load(&folder, &credential.node) {
            // A node that is made anew does not get rid of its revocation.
            Ok(last) if authority.has_revoked(&last) && !self.is_renewed(&credential.node) => {
                if last.object() != credential {
                    return Err(PkiError::Revoked(credential.node.clone()).into());
                }
                last
            }
            _ => authority.issue(credential)?,
        };
        self.authority = Some(authority);
        issued.save(&folder)?;
        let node = self.node(&credential.node)?;
        issued
            .files()
            .iter()
            .try_for_each(|file| write_file(node, &file.path, file.mode, file.content.as_bytes()))
    }

    fn is_renewed(&self, node: &Name) -> bool {
        matches!(&self.order.task, Task::Apply { renewed: Some(it), .. } if it == node)
    }

    /// Puts the secret of a tunnel into one of its ends.
    pub(super) fn share(&mut self, shared: &object::Secret) -> Result<()> {
        let none = Default::default();
        let given = match &self.order.task {
            Task::Apply { secrets, .. } => secrets,
            _ => &none,
        };
        let secret = TunnelSecret::of(&self.order.folder.pki(), shared, given)?;
        let text = ipsec::secret_conf(&shared.tunnel, shared.ends, secret.text());
        let path = ipsec::secret_file(&shared.tunnel);
        write_file(self.node(&shared.node)?, &path, 0o600, text.as_bytes())
    }
}
