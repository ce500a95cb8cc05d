//! What the ends of tunnels show each other: keys with certificates, and secrets.

use netarium_core::ipsec;
use netarium_core::object;

use super::{Apply, Result, write_file};
use crate::engine::native::worker::Task;
use crate::pki::{Authority, TunnelSecret};

impl Apply<'_> {
    pub(super) fn issue(&mut self, credential: &object::Credential) -> Result<()> {
        let folder = self.order.folder.pki();
        let authority = match self.authority.take() {
            Some(authority) => authority,
            None => Authority::load(&folder)?,
        };
        let issued = authority.issue(credential)?;
        self.authority = Some(authority);
        issued.save(&folder)?;
        let node = self.node(&credential.node)?;
        issued
            .files()
            .iter()
            .try_for_each(|file| write_file(node, &file.path, file.mode, file.content.as_bytes()))
    }

    /// Puts the secret of a tunnel into one of its ends.
    pub(super) fn share(&mut self, shared: &object::Secret) -> Result<()> {
        let none = Default::default();
        let given = match &self.order.task {
            Task::Apply { secrets, .. } => secrets,
            Task::Observe | Task::Look(_) => &none,
        };
        let secret = TunnelSecret::of(&self.order.folder.pki(), shared, given)?;
        let text = ipsec::secret_conf(&shared.tunnel, shared.ends, secret.text());
        let path = ipsec::secret_file(&shared.tunnel);
        write_file(self.node(&shared.node)?, &path, 0o600, text.as_bytes())
    }
}
