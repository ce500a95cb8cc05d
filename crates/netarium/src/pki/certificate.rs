//! What is in each certificate and revocation list, as RFC 5280 and charon want it.
//!
//! Serial numbers are 159 bits of the hash of the certificate's own fresh public key, as random as
//! the key is.

use std::time::Duration;

use netarium_core::name::Name;
use netarium_core::object;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData, RevocationReason, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::Revoked;
use crate::certificates::Reason;

/// id-kp-ipsecIKE (RFC 4945): the key is for IKE.
const IPSEC_IKE: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 17];

/// iKEIntermediate: what Apple's and older peers ask for instead.
const IKE_INTERMEDIATE: [u64; 9] = [1, 3, 6, 1, 5, 5, 8, 2, 2];

/// From when until when a certificate is valid.
#[derive(Clone, Copy)]
pub(super) struct Validity {
    from: OffsetDateTime,
    until: OffsetDateTime,
}

/// What tells a certificate from every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Details {
    /// Its serial number, in hexadecimal digits.
    pub(super) serial: String,
    /// The SHA-256 of it, in hexadecimal digits.
    pub(super) sha256: String,
}

/// A certificate as PEM, with what tells it from others.
pub(super) type Signed = (String, Details);

/// An authority's certificate, its revocation list, and the certificate that it has signed.
pub(super) type SignedByRoot = (Signed, String, Signed);

impl Validity {
    /// From `from`, in seconds since 1970, for `days`; `None` beyond the year 9999.
    pub(super) fn new(from: u64, days: u32) -> Option<Self> {
        let after = |start: OffsetDateTime, seconds| {
            start.checked_add(Duration::from_secs(seconds).try_into().ok()?)
        };
        let from = after(date_time_ymd(1970, 1, 1), from)?;
        Some(Self { from, until: after(from, u64::from(days) * 24 * 60 * 60)? })
    }

    /// The first moment.
    pub(super) fn from(self) -> OffsetDateTime {
        self.from
    }

    /// The last moment.
    pub(super) fn until(self) -> OffsetDateTime {
        self.until
    }
}

/// The root's certificate, before it is signed.
pub(super) fn root(lab: &Name, validity: Validity) -> CertificateParams {
    authority(lab, "root authority", validity, BasicConstraints::Constrained(1))
}

/// The intermediate's certificate, before it is signed. No other authority can be below it.
pub(super) fn intermediate(lab: &Name, validity: Validity) -> CertificateParams {
    authority(lab, "intermediate authority", validity, BasicConstraints::Constrained(0))
}

/// Everything that the root ever signs.
pub(super) fn sign_root(
    root: &CertificateParams,
    root_key: &KeyPair,
    intermediate: &CertificateParams,
    key: &KeyPair,
) -> Result<SignedByRoot, Error> {
    let issuer = Issuer::from_params(root, root_key);
    let (root, intermediate) =
        (numbered(root.clone(), root_key), numbered(intermediate.clone(), key));
    Ok((
        signed(root.self_signed(root_key)?, root_key),
        list(&root, root_key, &[])?,
        signed(intermediate.signed_by(key, &issuer)?, key),
    ))
}

/// The number of the list with so many certificates on it: nothing is ever taken off.
pub(super) fn list_number(revoked: &[Revoked]) -> u64 {
    revoked.len() as u64 + 1
}

/// A list of what `issuer` has revoked. It is good as long as the issuer is: there is nobody who
/// would fetch a newer one, but each is put into the nodes when it is made.
pub(super) fn list(
    issuer: &CertificateParams,
    key: &KeyPair,
    revoked: &[Revoked],
) -> Result<String, Error> {
    let last = revoked.iter().map(Revoked::moment).max();
    CertificateRevocationListParams {
        this_update: last.map_or(issuer.not_before, |last| last.max(issuer.not_before)),
        next_update: issuer.not_after,
        crl_number: SerialNumber::from(list_number(revoked)),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(&Issuer::from_params(issuer, key))?
    .pem()
}

fn entry(revoked: &Revoked) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(bytes(&revoked.serial)),
        revocation_time: revoked.moment(),
        // That nobody says why is said by saying nothing (RFC 5280, 5.3.1).
        reason_code: match revoked.reason {
            Reason::Unspecified => None,
            Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
            Reason::Superseded => Some(RevocationReason::Superseded),
            Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
            Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
        },
        invalidity_date: None,
    }
}

/// The serial number for the certificate of a key. It is positive.
fn serial(key: &KeyPair) -> Vec<u8> {
    let mut serial = Sha256::digest(key.subject_public_key_info())[..20].to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

fn numbered(mut params: CertificateParams, key: &KeyPair) -> CertificateParams {
    params.serial_number = Some(SerialNumber::from(serial(key)));
    params
}

fn signed(certificate: Certificate, key: &KeyPair) -> Signed {
    let sha256 = hexadecimal(&Sha256::digest(certificate.der()));
    (certificate.pem(), Details { serial: hexadecimal(&serial(key)), sha256 })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a serial number that was written by [`hexadecimal`].
fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

/// A node's certificate, signed by the intermediate.
pub(super) fn leaf(
    lab: &Name,
    credential: &object::Credential,
    validity: Validity,
    key: &KeyPair,
    issuer_key: &KeyPair,
) -> Result<Signed, Error> {
    let mut params = numbered(named(lab, credential.node.as_str(), validity), key);
    params.subject_alt_names = vec![SanType::DnsName(credential.node.as_str().try_into()?)];
    params
        .subject_alt_names
        .extend(credential.addresses.iter().map(|address| SanType::IpAddress(*address)));
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::Other(IPSEC_IKE.to_vec()),
        ExtendedKeyUsagePurpose::Other(IKE_INTERMEDIATE.to_vec()),
    ];
    let issuer = intermediate(lab, validity);
    Ok(signed(params.signed_by(key, &Issuer::from_params(&issuer, issuer_key))?, key))
}

fn authority(
    lab: &Name,
    role: &str,
    validity: Validity,
    constraints: BasicConstraints,
) -> CertificateParams {
    let mut params = named(lab, role, validity);
    params.is_ca = IsCa::Ca(constraints);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(lab: &Name, common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    // Each has room for 64 characters, and a lab's name may have 63 of them.
    name.push(DnType::OrganizationName, lab.as_str());
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.not_before = validity.from;
    params.not_after = validity.until;
    params
}
