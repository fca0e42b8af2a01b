//! What any key is called, accepted or not: for the record of a refusal.

use super::{Info, ec, ed25519, rsa, sha256};
use crate::pki::der;

/// The name and the hash of a key that need not be accepted, nor even sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDescription {
    /// `rsa-1024`, `p-256`, `secp256k1`, `ed448`... At most 200 ASCII characters; `malformed`
    /// where it cannot be told.
    pub kind: String,
    /// SHA-256 of the `SubjectPublicKeyInfo` as it was written: what a key is known by.
    pub spki_sha256: [u8; 32],
}

impl KeyDescription {
    /// Of the bytes where a `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7) should be.
    #[must_use]
    pub fn of(spki: &[u8]) -> Self {
        let kind = Info::read(spki).ok().and_then(|info| kind(&info));
        let kind = kind.unwrap_or_else(|| "malformed".to_owned());
        Self { kind, spki_sha256: sha256(spki) }
    }
}

fn kind(info: &Info<'_>) -> Option<String> {
    match info.algorithm {
        rsa::OID => Some(format!("rsa-{}", modulus_bits(info.key)?)),
        ec::OID => ec::described(info.parameters),
        ed25519::OID => Some("ed25519".to_owned()),
        other => Some(super::kind_of(other).to_ascii_lowercase()),
    }
}

fn modulus_bits(key: &[u8]) -> Option<u64> {
    let modulus = der::only(key, der::SEQUENCE).ok()?.open().unsigned().ok()?;
    let octets = u64::try_from(modulus.len()).ok()?;
    let unused = modulus.first().map_or(0, |first| u64::from(first.leading_zeros()));
    octets.checked_mul(8)?.checked_sub(unused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::KeyKind;
    use crate::pki::samples;

    fn kind_of(spki: &[u8]) -> String {
        KeyDescription::of(spki).kind
    }

    #[test]
    fn an_accepted_key_is_called_what_policies_call_it() {
        for kind in KeyKind::ALL {
            let spki = samples::spki(&samples::private_key_of(kind.as_str()));
            let key = super::super::PublicKey::from_spki(&spki).unwrap();
            let description = KeyDescription::of(&spki);
            assert_eq!(description.kind, kind.as_str());
            assert_eq!(description.spki_sha256, key.spki_sha256());
        }
    }

    #[test]
    fn a_refused_key_has_a_name_too() {
        for (private_key, name) in [
            (samples::private_key("RSA", &["rsa_keygen_bits:1024"]), "rsa-1024"),
            (samples::private_key("RSA", &["rsa_keygen_bits:2047"]), "rsa-2047"),
            (samples::private_key("EC", &["ec_paramgen_curve:secp256k1"]), "secp256k1"),
            (samples::private_key("EC", &["ec_paramgen_curve:P-224"]), "p-224"),
            (samples::private_key("EC", &["ec_paramgen_curve:P-256", "ec_param_enc:explicit"]), "malformed"),
            (samples::private_key("ED448", &[]), "ed448"),
        ] {
            assert_eq!(kind_of(&samples::spki(&private_key)), name);
        }
    }

    #[test]
    fn what_is_no_key_is_malformed_and_still_has_its_hash() {
        for bytes in [&[][..], &[0x30, 0], &[0xff; 60_000]] {
            assert_eq!(
                KeyDescription::of(bytes),
                KeyDescription { kind: "malformed".to_owned(), spki_sha256: sha256(bytes) }
            );
        }
    }
}
