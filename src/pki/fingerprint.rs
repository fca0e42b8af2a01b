//! The SHA-256 of a public key's SPKI, by which a key is known in the ledger.

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

/// Reads 64 hex digits of either case, plain or with a colon between all octets, as
/// `openssl dgst -sha256` prints them.
#[must_use]
pub fn parse(text: &str) -> Option<[u8; 32]> {
    let plain = match text.len() {
        64 => text.to_owned(),
        95 if text.split(':').all(|octet| octet.len() == 2) => text.replace(':', ""),
        _ => return None,
    };
    let mut octets = [0; 32];
    hex::decode_to_slice(plain, &mut octets).ok()?;
    Some(octets)
}

/// As 64 hex digits in lower case.
#[must_use]
pub fn written(sha256: &[u8; 32]) -> String {
    // Character by character, as the library makes a String, it takes several times as long.
    let mut digits = vec![0; 64];
    // Two digits for each octet are there, and they are ASCII.
    let _ = hex::encode_to_slice(sha256, &mut digits);
    String::from_utf8(digits).unwrap_or_default()
}

/// That of the key in a PEM file: a CSR, a certificate or a public key. The key need not be one that
/// would be certified.
///
/// # Errors
/// One sentence that says what the file is instead.
pub fn of_pem(file: &[u8]) -> Result<[u8; 32], FingerprintError> {
    let block = Pem::iter_from_buffer(file).find_map(Result::ok).ok_or(FingerprintError::NoPem)?;
    let der = block.contents.as_slice();
    let spki = match block.label.as_str() {
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => X509CertificationRequest::from_der(der)
            .map(|(_, request)| request.certification_request_info.subject_pki.raw.to_vec()),
        "CERTIFICATE" => {
            X509Certificate::from_der(der).map(|(_, certificate)| certificate.public_key().raw.to_vec())
        }
        "PUBLIC KEY" => SubjectPublicKeyInfo::from_der(der).map(|(_, key)| key.raw.to_vec()),
        label if label.ends_with("PRIVATE KEY") => return Err(FingerprintError::PrivateKey),
        _ => return Err(FingerprintError::NoPem),
    };
    let spki = spki.map_err(|_| FingerprintError::Malformed)?;
    digest(&SHA256, &spki).as_ref().try_into().map_err(|_| FingerprintError::Malformed)
}

/// Why a file has no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Nothing that holds a public key.
    #[error("there is no CSR, certificate or public key in PEM: `openssl pkey -in FILE -pubout` makes one")]
    NoPem,
    /// DER that cannot be read.
    #[error("the PEM block cannot be read: is the file whole?")]
    Malformed,
    /// The other half.
    #[error("this is a private key: name its public half, which `openssl pkey -in FILE -pubout` makes")]
    PrivateKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::process::Command;

    fn openssl(arguments: &str) -> Vec<u8> {
        let output = Command::new("openssl").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[test]
    fn a_fingerprint_is_written_in_lower_case() {
        let octets = std::array::from_fn(|place| 0xf0 ^ u8::try_from(place).unwrap());
        assert_eq!(written(&octets), hex::encode(octets));
        assert_eq!(parse(&written(&octets)), Some(octets));
    }

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let plain = "ab".repeat(32);
        let colons = ["AB"; 32].join(":");
        assert_eq!(parse(&plain), Some([0xab; 32]));
        assert_eq!(parse(&colons), Some([0xab; 32]));
        assert_eq!(parse(&plain.to_uppercase()), Some([0xab; 32]));
        let odd = format!("{}:", "ab".repeat(47));
        for wrong in
            ["", &plain[1..], &format!("{plain}0"), &colons[1..], &odd, &"g".repeat(64), &"é".repeat(32)]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn one_key_has_one_fingerprint_in_every_file() {
        let folder = tempfile::tempdir().unwrap();
        let (key, public) = (folder.path().join("a.key"), folder.path().join("a.pub"));
        let (key, public) = (key.to_str().unwrap(), public.to_str().unwrap());
        openssl(&format!("ecparam -genkey -name prime256v1 -noout -out {key}"));
        openssl(&format!("pkey -in {key} -pubout -outform DER -out {public}"));
        let printed = String::from_utf8(openssl(&format!("dgst -sha256 -c {public}"))).unwrap();
        let expected = parse(printed.trim().rsplit(' ').next().unwrap());
        assert!(expected.is_some(), "{printed}");
        for file in [
            openssl(&format!("pkey -in {key} -pubout")),
            openssl(&format!("req -new -key {key} -subj /CN=a")),
            openssl(&format!("req -new -x509 -key {key} -subj /CN=a")),
        ] {
            assert_eq!(of_pem(&file).ok(), expected);
        }
        assert_eq!(of_pem(&std::fs::read(key).unwrap()), Err(FingerprintError::PrivateKey));
    }

    #[test]
    fn what_holds_no_key_says_what_does() {
        let cut = b"-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n";
        let other = b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
        assert_eq!(of_pem(cut), Err(FingerprintError::Malformed));
        assert_eq!(of_pem(other), Err(FingerprintError::NoPem));
        assert_eq!(of_pem(b"junk"), Err(FingerprintError::NoPem));
    }
}
