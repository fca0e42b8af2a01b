//! Makes a CA, and a service's certificate, that are good for a trial on one machine, and for tests.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use x509_parser::time::ASN1Time;
use zeroize::Zeroizing;

use crate::pki::serial::Serial;
use crate::random;
use crate::time::Time;

/// How long a throw-away CA is valid, in seconds: 90 days.
const VALID: i64 = 90 * 86_400;

/// Why there is no CA.
#[derive(Debug, thiserror::Error)]
#[error("a throw-away CA cannot be made: {0}")]
pub struct ThrowAwayError(String);

/// A self-signed P-256 CA that may sign leaves only, valid for 90 days from `now`: its certificate
/// and its PKCS#8 private key, both PEM.
///
/// # Errors
/// The library failed, or `now` is beyond the year 9999.
pub fn make(common_name: &str, now: Time) -> Result<(String, Zeroizing<String>), ThrowAwayError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = parameters(common_name, now)?.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}

/// A leaf with the CA that signed it, all PEM.
#[derive(Debug)]
pub struct Leaf {
    /// The CA that signed this and nothing else, ever: its key is gone.
    pub authority: String,
    pub certificate: String,
    /// PKCS#8.
    pub key: Zeroizing<String>,
}

/// A P-256 certificate for a service of these names and addresses, by a CA of its own, both valid for
/// 90 days from `now`.
///
/// # Errors
/// The library failed, a name is none, or `now` is beyond the year 9999.
pub fn service(names: Vec<String>, now: Time) -> Result<Leaf, ThrowAwayError> {
    let mut parameters = parameters("countersign", now)?;
    parameters.subject_alt_names = CertificateParams::new(names).map_err(failed)?.subject_alt_names;
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf(parameters, now)
}

/// The same for a client of this name.
#[cfg(test)]
pub(crate) fn client(common_name: &str, now: Time) -> Result<Leaf, ThrowAwayError> {
    let mut parameters = parameters(common_name, now)?;
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    leaf(parameters, now)
}

fn leaf(mut leaf: CertificateParams, now: Time) -> Result<Leaf, ThrowAwayError> {
    let ca = parameters("Countersign quickstart TLS, throw away", now)?;
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let authority = ca.self_signed(&ca_key).map_err(failed)?.pem();
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).map_err(failed)?.pem();
    Ok(Leaf { authority, certificate, key: Zeroizing::new(key.serialize_pem()) })
}

fn parameters(common_name: &str, now: Time) -> Result<CertificateParams, ThrowAwayError> {
    let octets = random::octets().map_err(failed)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.serial_number = Some(SerialNumber::from_slice(Serial::from_random(octets).octets()));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let until = now.unix().saturating_add(VALID);
    parameters.not_before = ASN1Time::from_timestamp(now.unix()).map_err(failed)?.to_datetime();
    parameters.not_after = ASN1Time::from_timestamp(until).map_err(failed)?.to_datetime();
    Ok(parameters)
}

fn failed(error: impl std::fmt::Display) -> ThrowAwayError {
    ThrowAwayError(error.to_string())
}
