//! Public keys: which are accepted, and the checks that an accepted one has passed.
//!
//! The checks follow what public CAs refuse (CA/Browser Forum baseline requirements section
//! 6.1.1.3; boulder's goodkey package): keys whose private half can be computed, and encodings
//! that two readers could read in two ways.
mod description;
mod ec;
mod ed25519;
mod fermat;
mod rsa;
mod signature;

#[cfg(test)]
mod sample;

pub use description::KeyDescription;
pub use signature::{Hash, SignatureAlgorithm, SignatureError};

use super::der::{self, NotDer, Reader};

/// The longest `SubjectPublicKeyInfo` that is looked at; one of RSA-4096 has 550 octets.
const MAX_SPKI_BYTES: usize = 1024;

/// A kind of key that is accepted. Written `rsa-2048`, `p-256`, `ed25519`...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// RSA with a modulus of exactly 2048 bits.
    Rsa2048,
    /// RSA with a modulus of exactly 3072 bits.
    Rsa3072,
    /// RSA with a modulus of exactly 4096 bits.
    Rsa4096,
    /// NIST P-256, also called prime256v1.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// Ed25519 (RFC 8410).
    Ed25519,
}

impl KeyKind {
    /// Every accepted kind.
    pub const ALL: [Self; 7] =
        [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::P256, Self::P384, Self::P521, Self::Ed25519];

    /// The word for it in policies and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::P256 => "p-256",
            Self::P384 => "p-384",
            Self::P521 => "p-521",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The kind of which [`KeyKind::as_str`] is this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether this is RSA of any size.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

/// A public key that passed the checks of this module; raw SPKI bytes, verbatim from the CSR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    spki: Vec<u8>,
    sha256: [u8; 32],
}

impl PublicKey {
    /// From the DER of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7). Two checks are left to whoever has its
    /// holder's signature: [`PublicKey::check_not_prime`], and that the point of an elliptic-curve key is on its curve,
    /// without which no signature verifies.
    ///
    /// # Errors
    /// A [`KeyError`]: another kind or size, not strict DER, or a key that is known to be weak.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > MAX_SPKI_BYTES {
            return Err(KeyError::TooLong { bytes: der.len() });
        }
        let info = Info::read(der)?;
        let kind = match info.algorithm {
            rsa::OID => rsa::check(info.parameters, info.key)?,
            ec::OID => ec::check(info.parameters, info.key)?,
            ed25519::OID => ed25519::check(info.parameters, info.key)?,
            other => return Err(KeyError::KindNotAccepted(kind_of(other))),
        };
        Ok(Self { kind, spki: der.to_vec(), sha256: sha256(der) })
    }

    /// Which kind of key it is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The `SubjectPublicKeyInfo`, byte for byte as it came.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of [`PublicKey::spki`]: what a key is known by.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Checks a signature that this key's holder made over `message`.
    ///
    /// # Errors
    /// [`SignatureError::OtherKeyKind`] when the algorithm is not for this kind of key, and
    /// [`SignatureError::Invalid`] when the signature does not verify.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let key = Info::read(&self.spki).map_err(|_| SignatureError::Invalid)?.key;
        signature::verify(algorithm, self.kind, key, message, signature)
    }

    /// Checks that the point of an elliptic-curve key is on its curve. The library refuses every other point when a
    /// signature is verified, so that this tells only why one did not. Nothing to do for other kinds.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for another point.
    pub fn check_point(&self) -> Result<(), KeyError> {
        let info = Info::read(&self.spki)?;
        if info.algorithm == ec::OID { ec::check_point(info.parameters, info.key) } else { Ok(()) }
    }

    /// Checks that an RSA modulus is not itself a prime, whose private key anyone can compute.
    /// Apart from the other checks because it costs about 3 ms for RSA-2048, 9 ms for RSA-3072 and
    /// 20 ms for RSA-4096 (one modular power) where they cost 0.1 ms together. To be called once the
    /// holder's signature has verified, so that only a holder can cause the work. Free
    /// for other kinds.
    ///
    /// # Errors
    /// [`KeyError::Weak`] for a prime.
    pub fn check_not_prime(&self) -> Result<(), KeyError> {
        if self.kind.is_rsa() { rsa::check_not_prime(Info::read(&self.spki)?.key) } else { Ok(()) }
    }
}

/// Whether a request with this `SubjectPublicKeyInfo` is checked in less than a tenth of a
/// millisecond: P-256 and Ed25519. The others take up to some milliseconds. Any answer is right for
/// bytes that are no key.
pub(super) fn is_quick(spki: &[u8]) -> bool {
    Info::read(spki).is_ok_and(|info| match info.algorithm {
        ec::OID => ec::is_p256(info.parameters),
        algorithm => algorithm == ed25519::OID,
    })
}

/// Why a key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Longer than any accepted kind.
    #[error(
        "the public key has {bytes} bytes, more than any accepted kind: make a P-256 key with `openssl ecparam -genkey -name prime256v1 -noout`"
    )]
    TooLong {
        /// The length that was found.
        bytes: usize,
    },
    /// Not strict DER of the structure that its kind has.
    #[error("the public key is malformed: {0}; make a new key and CSR with a current openssl")]
    Malformed(&'static str),
    /// Another algorithm or curve.
    #[error(
        "a key of kind {0} is not accepted: make one of RSA 2048, 3072 or 4096, P-256, P-384, P-521 or Ed25519"
    )]
    KindNotAccepted(String),
    /// RSA of another size.
    #[error(
        "an RSA key of {bits} bits is not accepted: make one of 2048, 3072 or 4096 bits, as with `openssl genrsa 2048`"
    )]
    RsaSize {
        /// Bits of the modulus that was found.
        bits: u64,
    },
    /// A key whose private half can be computed or need not be known.
    #[error("the key is weak, {0}: make a new one with a current openssl, and use the old one nowhere")]
    Weak(&'static str),
}

impl KeyError {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "key_malformed",
            Self::KindNotAccepted(_) | Self::TooLong { .. } => "key_kind_not_accepted",
            Self::RsaSize { .. } => "key_size_not_accepted",
            Self::Weak(_) => "key_weak",
        }
    }
}

impl From<NotDer> for KeyError {
    fn from(NotDer: NotDer) -> Self {
        Self::Malformed("its encoding is not DER")
    }
}

/// The parts of a `SubjectPublicKeyInfo`.
struct Info<'a> {
    algorithm: &'a [u8],
    /// What follows the algorithm's OID, as it was written.
    parameters: &'a [u8],
    key: &'a [u8],
}

impl<'a> Info<'a> {
    fn read(der: &'a [u8]) -> Result<Self, NotDer> {
        let mut info = der::only(der, der::SEQUENCE)?.open();
        let algorithm = info.expect(der::SEQUENCE)?;
        let key = info.octet_aligned_bits()?;
        info.finish()?;
        let (algorithm, parameters) = algorithm_identifier(algorithm.value)?;
        Ok(Self { algorithm, parameters, key })
    }
}

/// The OID, and the at most one element after it, of an `AlgorithmIdentifier`'s content.
fn algorithm_identifier(content: &[u8]) -> Result<(&[u8], &[u8]), NotDer> {
    let mut reader = Reader::new(content);
    let oid = reader.expect(der::OID)?.value;
    let parameters = if reader.is_empty() { &[][..] } else { reader.any()?.raw };
    reader.finish()?;
    Ok((oid, parameters))
}

fn kind_of(oid: &[u8]) -> String {
    match oid {
        [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1] => "DSA".to_owned(),
        [0x2b, 0x65, 0x6e] => "X25519".to_owned(),
        [0x2b, 0x65, 0x6f] => "X448".to_owned(),
        [0x2b, 0x65, 0x71] => "Ed448".to_owned(),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a] => "RSA-PSS (id-RSASSA-PSS)".to_owned(),
        other => der::dotted(other),
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut octets = [0; 32];
    octets.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::der::build::{NULL, bits, oid, seq, unsigned};
    use crate::pki::samples;
    use proptest::prelude::*;

    #[test]
    fn kinds_are_written_and_read_back() {
        for kind in KeyKind::ALL {
            assert_eq!(KeyKind::parse(kind.as_str()), Some(kind));
            assert_eq!(kind.is_rsa(), kind.as_str().starts_with("rsa-"));
        }
        assert_eq!(KeyKind::parse("RSA-2048"), None);
    }

    #[test]
    fn every_accepted_kind_of_openssl_is_taken_verbatim() {
        for kind in KeyKind::ALL {
            let spki = samples::spki(&samples::private_key_of(kind.as_str()));
            let key = PublicKey::from_spki(&spki).unwrap();
            assert_eq!((key.kind(), key.spki()), (kind, spki.as_slice()));
            assert_eq!(key.check_not_prime(), Ok(()));
        }
    }

    #[test]
    fn the_hash_is_that_of_the_whole_info() {
        let spki = samples::spki(&samples::private_key_of("p-256"));
        let openssl = samples::openssl(&["dgst", "-sha256", "-binary"], &spki);
        assert_eq!(PublicKey::from_spki(&spki).unwrap().spki_sha256().to_vec(), openssl);
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        let dsa_parameters = samples::openssl(
            &["genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024"],
            b"",
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), dsa_parameters).unwrap();
        let dsa = samples::openssl(&["genpkey", "-paramfile", file.path().to_str().unwrap()], b"");
        let cases = [
            (samples::private_key("ED448", &[]), "Ed448"),
            (samples::private_key("X25519", &[]), "X25519"),
            (samples::private_key("EC", &["ec_paramgen_curve:secp256k1"]), "secp256k1"),
            (samples::private_key("EC", &["ec_paramgen_curve:P-224"]), "P-224"),
            (samples::private_key("EC", &["ec_paramgen_curve:brainpoolP256r1"]), "1.3.36.3.3.2.8.1.1.7"),
            (samples::private_key("RSA-PSS", &["rsa_keygen_bits:2048"]), "id-RSASSA-PSS"),
            (dsa, "DSA"),
        ];
        for (private_key, name) in cases {
            let error = PublicKey::from_spki(&samples::spki(&private_key)).unwrap_err();
            assert_eq!(error.code(), "key_kind_not_accepted", "{name}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn bytes_around_or_missing_from_the_info_are_refused() {
        let spki = samples::spki(&samples::private_key_of("p-256"));
        let trailing = [&spki[..], &[0]].concat();
        assert_eq!(PublicKey::from_spki(&trailing).unwrap_err().code(), "key_malformed");
        assert_eq!(PublicKey::from_spki(&spki[..spki.len() - 1]).unwrap_err().code(), "key_malformed");
        assert_eq!(PublicKey::from_spki(&[]).unwrap_err().code(), "key_malformed");
        assert_eq!(PublicKey::from_spki(&[0x30; 1025]), Err(KeyError::TooLong { bytes: 1025 }));
    }

    #[test]
    fn unused_bits_in_the_key_are_refused() {
        let mut spki = samples::spki(&samples::private_key_of("p-256"));
        let unused = spki.len() - 66;
        assert_eq!(spki[unused], 0);
        spki[unused] = 1;
        assert_eq!(PublicKey::from_spki(&spki).unwrap_err().code(), "key_malformed");
    }

    fn rsa_spki(parameters: &[u8], modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let key = seq(&[unsigned(modulus), unsigned(exponent)]);
        seq(&[seq(&[oid(rsa::OID), parameters.to_vec()]), bits(&key)])
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_not_without_a_panic(bytes: Vec<u8>) {
            let _ = PublicKey::from_spki(&bytes);
        }

        #[test]
        fn any_modulus_is_judged_without_a_panic(modulus: Vec<u8>, exponent: Vec<u8>) {
            let _ = PublicKey::from_spki(&rsa_spki(&NULL, &modulus, &exponent));
            let mut wide = modulus;
            wide.resize(256, 0xa5);
            let _ = PublicKey::from_spki(&rsa_spki(&NULL, &wide, &[1, 0, 1]));
        }
    }
}
