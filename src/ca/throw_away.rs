//! Makes a CA that is good for a trial on one machine, and for tests.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
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
