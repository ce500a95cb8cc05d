//! What is in each certificate and revocation list, as RFC 5280 and charon want it.
//!
//! Serial numbers are left to the library: 159 bits of the hash of the certificate's own fresh
//! public key, as random as the key is.

use std::time::Duration;

use netarium_core::name::Name;
use netarium_core::object;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber, date_time_ymd,
};
use time::OffsetDateTime;

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

/// An authority's certificate, its revocation list, and the certificate that it has signed.
pub(super) type SignedByRoot = (String, String, String);

impl Validity {
    /// From `from`, in seconds since 1970, for `days`; `None` beyond the year 9999.
    pub(super) fn new(from: u64, days: u32) -> Option<Self> {
        let after = |start: OffsetDateTime, seconds| {
            start.checked_add(Duration::from_secs(seconds).try_into().ok()?)
        };
        let from = after(date_time_ymd(1970, 1, 1), from)?;
        Some(Self { from, until: after(from, u64::from(days) * 24 * 60 * 60)? })
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
    Ok((
        root.self_signed(root_key)?.pem(),
        empty_list(root, root_key)?,
        intermediate.signed_by(key, &issuer)?.pem(),
    ))
}

/// A list that says that `issuer` has revoked nothing. It is good as long as the issuer is: there
/// is nobody who would fetch a newer one.
pub(super) fn empty_list(issuer: &CertificateParams, key: &KeyPair) -> Result<String, Error> {
    CertificateRevocationListParams {
        this_update: issuer.not_before,
        next_update: issuer.not_after,
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(&Issuer::from_params(issuer, key))?
    .pem()
}

/// A node's certificate, signed by the intermediate.
pub(super) fn leaf(
    lab: &Name,
    credential: &object::Credential,
    validity: Validity,
    key: &KeyPair,
    issuer_key: &KeyPair,
) -> Result<String, Error> {
    let mut params = named(lab, credential.node.as_str(), validity);
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
    Ok(params.signed_by(key, &Issuer::from_params(&issuer, issuer_key))?.pem())
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
