//! Tests of the authority: what is issued, saved and refused.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use netarium_core::name::Name;
use netarium_core::object;

use super::{Authority, Credential, PkiError};
use crate::certificates::Reason;

/// A folder that is removed at the end of the test.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netarium-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn authority(days: u32) -> Result<Authority, PkiError> {
    let lab = Name::new("site-to-site").unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Authority::create(&object::Authority { lab, days }, now)
}

fn gateway() -> object::Credential {
    object::Credential {
        node: Name::new("gateway-a").unwrap(),
        addresses: vec!["172.26.26.26".parse().unwrap(), "fd00::1".parse().unwrap()],
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_saved_is_loaded_and_still_issues() {
    let folder = Folder::new("saved");
    let pki = folder.0.join("pki");
    let made = authority(3650).unwrap();
    made.save(&pki).unwrap();
    let loaded = Authority::load(&pki).unwrap();
    assert_eq!(loaded.object(), made.object());
    assert_eq!(loaded.key.serialize_pem(), made.key.serialize_pem());

    let issued = loaded.issue(&gateway()).unwrap();
    issued.save(&pki).unwrap();
    let again = Credential::load(&pki, &gateway().node).unwrap();
    assert_eq!(again.object(), &gateway());
    assert_eq!(again.key(), issued.key());
    assert_eq!(again.certificate(), issued.certificate());
}

#[test]
fn nobody_else_can_read_what_is_saved() {
    let folder = Folder::new("modes");
    let pki = folder.0.join("pki");
    let made = authority(1).unwrap();
    made.save(&pki).unwrap();
    made.save(&pki).unwrap();
    assert_eq!(mode(&pki), 0o700);
    let files: Vec<PathBuf> = fs::read_dir(&pki).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(files.len(), 6, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[test]
fn each_damaged_or_missing_file_is_refused_by_its_path() {
    let folder = Folder::new("damaged");
    for name in ["key.pem", "root.pem", "intermediate-revoked.pem", "saved.json"] {
        authority(1).unwrap().save(&folder.0).unwrap();
        let path = folder.0.join(name);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{").unwrap();
        let refusal = Authority::load(&folder.0).err().unwrap().to_string();
        assert!(refusal.starts_with(&format!("{} is damaged", path.display())), "{refusal}");

        fs::remove_file(&path).unwrap();
        let refusal = Authority::load(&folder.0).err().unwrap().to_string();
        assert_eq!(refusal, format!("cannot read {}", path.display()));
    }
}

#[test]
fn what_is_revoked_is_on_a_list_with_a_higher_number_and_stays_there() {
    let folder = Folder::new("revoked");
    let mut made = authority(3650).unwrap();
    made.save(&folder.0).unwrap();
    let credential = made.issue(&gateway()).unwrap();
    credential.save(&folder.0).unwrap();
    let before = made.certificates(&folder.0).unwrap();
    assert_eq!((before.list.number, before.certificates.len()), (1, 3));
    assert_eq!(before.list.until, "2037-01-12T07:00:00Z");
    assert!(before.certificates.iter().all(|it| it.until == before.list.until));

    let old_list = made.public.intermediate_list.clone();
    let later = UNIX_EPOCH + Duration::from_secs(1_800_000_100);
    made.revoke(&credential, Reason::KeyCompromise, later).unwrap();
    made.revoke(&credential, Reason::Superseded, later).unwrap();
    made.save(&folder.0).unwrap();
    let loaded = Authority::load(&folder.0).unwrap();
    assert!(loaded.has_revoked(&credential));
    assert_ne!(loaded.public.intermediate_list, old_list);
    let shown = loaded.certificates(&folder.0).unwrap();
    assert_eq!((shown.list.number, shown.list.revoked.len()), (2, 1));
    let leaf = &shown.certificates[2];
    let revoked = leaf.revoked.clone().unwrap();
    assert_eq!(
        (revoked.reason, revoked.at.as_str()),
        (Reason::KeyCompromise, "2027-01-15T08:01:40Z")
    );
    assert_eq!((&revoked.serial, leaf.serial.len()), (&leaf.serial, 40));
    assert_eq!(leaf.names, ["gateway-a", "172.26.26.26", "fd00::1"]);
    assert_eq!(leaf.issuer, shown.certificates[1].subject);

    let again = loaded.issue(&gateway()).unwrap();
    assert!(!loaded.has_revoked(&again));
    assert_eq!(
        loaded.credentials(&folder.0).unwrap()[0].revocation_lists()[0],
        loaded.public.intermediate_list
    );
}

#[test]
fn a_validity_beyond_the_calendar_is_refused() {
    let refusal = authority(u32::MAX).err().unwrap();
    assert!(matches!(refusal, PkiError::Validity { days: u32::MAX }), "{refusal}");
}

#[test]
fn two_authorities_share_no_key() {
    let (one, other) = (authority(1).unwrap(), authority(1).unwrap());
    assert_ne!(one.key.serialize_pem(), other.key.serialize_pem());
    assert_ne!(one.public.root, other.public.root);
}

#[test]
fn a_credentials_files_are_where_swanctl_looks() {
    let credential = authority(1).unwrap().issue(&gateway()).unwrap();
    let files = credential.files();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/etc/swanctl/private/gateway-a.pem",
            "/etc/swanctl/x509/gateway-a.pem",
            "/etc/swanctl/x509ca/root.pem",
            "/etc/swanctl/x509ca/intermediate.pem",
            "/etc/swanctl/x509crl/root.pem",
            "/etc/swanctl/x509crl/intermediate.pem",
        ]
    );
    assert!(files.iter().all(|file| file.mode == 0o600 && file.content.starts_with("-----BEGIN ")));
}
