//! Keys for WireGuard: a pair for each node (X25519, RFC 7748), and one that both ends of a tunnel
//! share. They lie beside the authority, readable by their owner only.

use std::path::{Path, PathBuf};

use netarium_core::name::Name;
use netarium_core::wireguard::Key;
use rustix::rand::GetRandomFlags;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{PkiError, folder};

/// No node is called like these: a name has no dot.
const NODES: &str = "wireguard.nodes";
const TUNNELS: &str = "wireguard.tunnels";
const FILE: &str = "key";

/// Makes the key pair of a node and saves it below `pki`.
///
/// # Errors
/// If there is no randomness, or the folder cannot be written.
pub(crate) fn create_node(pki: &Path, node: &Name) -> Result<(), PkiError> {
    create(&pki.join(NODES).join(node.as_str()), node)
}

/// Makes the key that the ends of a tunnel share and saves it below `pki`.
///
/// # Errors
/// If there is no randomness, or the folder cannot be written.
pub(crate) fn create_tunnel(pki: &Path, tunnel: &Name) -> Result<(), PkiError> {
    create(&pki.join(TUNNELS).join(tunnel.as_str()), tunnel)
}

/// The private key of a node.
///
/// # Errors
/// If it cannot be read, or is not what was saved.
pub(crate) fn private(pki: &Path, node: &Name) -> Result<Key, PkiError> {
    load(&pki.join(NODES).join(node.as_str()))
}

/// The public key of a node.
///
/// # Errors
/// If its private key cannot be read, or is not what was saved.
pub(crate) fn public(pki: &Path, node: &Name) -> Result<Key, PkiError> {
    let private = private(pki, node)?;
    Ok(Key::new(PublicKey::from(&StaticSecret::from(*private.bytes())).to_bytes()))
}

/// The key that the ends of a tunnel share.
///
/// # Errors
/// If it cannot be read, or is not what was saved.
pub(crate) fn shared(pki: &Path, tunnel: &Name) -> Result<Key, PkiError> {
    load(&pki.join(TUNNELS).join(tunnel.as_str()))
}

/// Forgets the key pair of a node. Fine if there is none.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn remove_node(pki: &Path, node: &Name) -> Result<(), PkiError> {
    remove(pki.join(NODES).join(node.as_str()))
}

/// Forgets the key that the ends of a tunnel share. Fine if there is none.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn remove_tunnel(pki: &Path, tunnel: &Name) -> Result<(), PkiError> {
    remove(pki.join(TUNNELS).join(tunnel.as_str()))
}

/// Some bits of a private key are fixed (RFC 7748, section 5). The kernel keeps a key with them, and
/// tells it so: here it has them from the beginning, so that the two can be compared.
fn create(path: &Path, name: &Name) -> Result<(), PkiError> {
    let mut bytes = Zeroizing::new([0; 32]);
    let given = rustix::rand::getrandom(bytes.as_mut_slice(), GetRandomFlags::empty());
    let given = given.map_err(|error| PkiError::Random(error.into()))?;
    if given != bytes.len() {
        return Err(PkiError::Random(std::io::ErrorKind::UnexpectedEof.into()));
    }
    bytes[0] &= 0b1111_1000;
    bytes[31] = bytes[31] & 0b0111_1111 | 0b0100_0000;
    let text = Zeroizing::new(Key::new(*bytes).to_base64());
    folder::save(path, name, &[(FILE, &text)])
}

fn load(path: &Path) -> Result<Key, PkiError> {
    let text = folder::load::<Name>(path)?.take(FILE)?;
    text.parse().map_err(|error: netarium_core::wireguard::ConfError| PkiError::Damaged {
        path: path.join(FILE),
        why: error.to_string(),
    })
}

fn remove(path: PathBuf) -> Result<(), PkiError> {
    match std::fs::remove_dir_all(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(PkiError::Write { path, source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_kept_for_their_owner_and_fit_together() {
        let pki = std::env::temp_dir().join(format!("netarium-wireguard-{}", std::process::id()));
        let (one, other) = (Name::new("one").unwrap(), Name::new("other").unwrap());
        create_node(&pki, &one).unwrap();
        create_node(&pki, &other).unwrap();
        create_tunnel(&pki, &one).unwrap();
        let common = |private: &Name, of: &Name| {
            let private = StaticSecret::from(*super::private(&pki, private).unwrap().bytes());
            let public = PublicKey::from(*public(&pki, of).unwrap().bytes());
            private.diffie_hellman(&public).to_bytes()
        };
        assert_eq!(common(&one, &other), common(&other, &one));
        assert_ne!(private(&pki, &one).unwrap(), private(&pki, &other).unwrap());
        let key = private(&pki, &one).unwrap();
        assert_eq!((key.bytes()[0] & 7, key.bytes()[31] & 0xc0), (0, 0x40), "fixed bits");
        assert_ne!(shared(&pki, &one).unwrap(), private(&pki, &one).unwrap());
        let path = pki.join(NODES).join("one").join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        remove_node(&pki, &one).unwrap();
        remove_node(&pki, &one).unwrap();
        assert!(private(&pki, &one).is_err());
        std::fs::remove_dir_all(&pki).unwrap();
    }
}
