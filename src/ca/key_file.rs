//! Reads the private key of a CA: PKCS#8 (RFC 5958), also encrypted (RFC 8018), PKCS#1 (RFC 8017,
//! what kubeadm writes) and SEC1 (RFC 5915, what `openssl ecparam -genkey` writes).

use std::path::Path;

use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair,
};
use der::SecretDocument;
use der::asn1::{ObjectIdentifier, OctetStringRef};
use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::pem_file::{self, Block, PemProblem};
use super::secret_file::{self, Quoted, SecretFileProblem};
use super::signer::Signer;

/// rsaEncryption, RFC 8017 appendix A.1.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// id-ecPublicKey, RFC 5480 section 2.1.1.
const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// id-Ed25519, RFC 8410 section 3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Why a key file gives no key. No variant holds anything of the file's content.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileProblem {
    /// The file cannot be read, or too many can read it.
    #[error(transparent)]
    File(#[from] SecretFileProblem),
    /// Not PEM.
    #[error(transparent)]
    Pem(#[from] PemProblem),
    /// No private key among the blocks.
    #[error("it holds no private key but `{}`: name the CA's key file (kubeadm: /etc/kubernetes/pki/ca.key)", .0.escape_debug())]
    NoKey(String),
    /// Two keys.
    #[error("it holds more than one private key: keep the CA's own")]
    SeveralKeys,
    /// The old encryption of openssl, with MD5 and one round.
    #[error("it is encrypted in openssl's old format, which is not read: convert it with `{0}`")]
    OldEncryption(String),
    /// PKCS#8 encryption with something else than PBKDF2 or scrypt and AES.
    #[error("it is encrypted in a way that is not read: convert it with `{0}`")]
    UnknownEncryption(String),
    /// Encrypted, and no password file is configured.
    #[error("it is encrypted: name the file with its password in key_password_file")]
    PasswordMissing,
    /// Not encrypted, and a password file is configured.
    #[error("it is not encrypted, yet key_password_file is set: remove that setting or encrypt the key")]
    PasswordUnused,
    /// The password does not open it.
    #[error("the password in key_password_file does not open it: check the password")]
    PasswordWrong,
    /// RSA under 2048 bits, or over 8192.
    #[error("its RSA key is damaged, or has not 2048 to 8192 bits: make a new CA with a larger key")]
    Rsa,
    /// A curve that is not accepted.
    #[error(
        "its elliptic curve is not P-256, P-384 or P-521, or the key is damaged: make a new CA with one of these"
    )]
    Curve,
    /// Ed25519 that does not parse.
    #[error("its Ed25519 key is damaged: restore it from a backup")]
    Ed25519,
    /// DSA, Ed448, RSA-PSS, an OpenSSH key...
    #[error("its kind of key is not supported: a CA's key is RSA, P-256, P-384, P-521 or Ed25519, in PEM")]
    Unsupported,
    /// PKCS#8 that does not parse.
    #[error("its content is not a private key: the file is damaged")]
    Damaged,
}

/// The signer in the file at `path`.
///
/// # Errors
/// See [`KeyFileProblem`].
pub(super) fn read(path: &Path, password: Option<&[u8]>) -> Result<Signer, KeyFileProblem> {
    let file = secret_file::read(path)?;
    let block = only_key(pem_file::blocks(&file)?)?;
    if block.headers.iter().any(|header| header.contains("ENCRYPTED")) {
        return Err(KeyFileProblem::OldEncryption(conversion(path)));
    }
    match (block.label.as_str(), password) {
        ("ENCRYPTED PRIVATE KEY", Some(password)) => pkcs8(decrypt(path, &block.der, password)?.as_bytes()),
        ("ENCRYPTED PRIVATE KEY", None) => Err(KeyFileProblem::PasswordMissing),
        (_, Some(_)) => Err(KeyFileProblem::PasswordUnused),
        ("PRIVATE KEY", None) => pkcs8(&block.der),
        ("RSA PRIVATE KEY", None) => {
            RsaKeyPair::from_der(&block.der).map(Signer::Rsa).map_err(|_| KeyFileProblem::Rsa)
        }
        ("EC PRIVATE KEY", None) => elliptic_curve(&block.der),
        _ => Err(KeyFileProblem::Unsupported),
    }
}

/// The password in the file at `path`, without the newline that editors put at the end.
///
/// # Errors
/// The file cannot be read, too many can read it, or it is empty.
pub(super) fn read_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, PasswordFileProblem> {
    let mut password = secret_file::read(path)?;
    if password.ends_with(b"\n") {
        password.pop();
        if password.ends_with(b"\r") {
            password.pop();
        }
    }
    if password.is_empty() { Err(PasswordFileProblem::Empty) } else { Ok(password) }
}

/// Why a password file gives no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileProblem {
    /// The file cannot be read, or too many can read it.
    #[error(transparent)]
    File(#[from] SecretFileProblem),
    /// Nothing, or a newline alone.
    #[error("it is empty: write the key's password into it")]
    Empty,
}

/// openssl writes a block of curve parameters before the key, which repeats what the key says.
fn only_key(blocks: Vec<Block>) -> Result<Block, KeyFileProblem> {
    let labels = blocks.iter().map(|block| block.label.as_str()).collect::<Vec<_>>().join("`, `");
    let mut keys = blocks.into_iter().filter(|block| block.label.ends_with("PRIVATE KEY"));
    let key = keys.next().ok_or(KeyFileProblem::NoKey(labels))?;
    if keys.next().is_some() { Err(KeyFileProblem::SeveralKeys) } else { Ok(key) }
}

fn decrypt(path: &Path, der: &[u8], password: &[u8]) -> Result<SecretDocument, KeyFileProblem> {
    let unknown = || KeyFileProblem::UnknownEncryption(conversion(path));
    let encrypted = EncryptedPrivateKeyInfo::<&OctetStringRef>::try_from(der).map_err(|_| unknown())?;
    encrypted.decrypt(password).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            KeyFileProblem::PasswordWrong
        }
        _ => unknown(),
    })
}

fn pkcs8(der: &[u8]) -> Result<Signer, KeyFileProblem> {
    let info = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyFileProblem::Damaged)?;
    match info.algorithm.oid {
        RSA => RsaKeyPair::from_pkcs8(der).map(Signer::Rsa).map_err(|_| KeyFileProblem::Rsa),
        ELLIPTIC_CURVE => elliptic_curve(der),
        ED25519 => Ed25519KeyPair::from_pkcs8(der).map(Signer::Ed25519).map_err(|_| KeyFileProblem::Ed25519),
        _ => Err(KeyFileProblem::Unsupported),
    }
}

/// PKCS#8 or SEC1: the library takes both, and only those of the curve it is asked for.
fn elliptic_curve(der: &[u8]) -> Result<Signer, KeyFileProblem> {
    let try_curve = |curve| EcdsaKeyPair::from_private_key_der(curve, der);
    try_curve(&ECDSA_P256_SHA256_ASN1_SIGNING)
        .map(Signer::P256)
        .or_else(|_| try_curve(&ECDSA_P384_SHA384_ASN1_SIGNING).map(Signer::P384))
        .or_else(|_| try_curve(&ECDSA_P521_SHA512_ASN1_SIGNING).map(Signer::P521))
        .map_err(|_| KeyFileProblem::Curve)
}

fn conversion(path: &Path) -> String {
    let mut to = path.as_os_str().to_owned();
    to.push(".pkcs8");
    format!("openssl pkcs8 -topk8 -v2 aes-256-cbc -in {} -out {}", Quoted(path), Quoted(Path::new(&to)))
}
