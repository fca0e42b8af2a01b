//! Keys and CSRs for tests, made by the real openssl.
use std::io::Write as _;
use std::process::{Command, Stdio};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::der::{
    self,
    build::{bits, oid, seq, set, tlv},
};

const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// Runs openssl with `input` on its standard input. Fails the test when openssl does.
pub fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    run("openssl", arguments, input)
}

/// Runs a program with `input` on its standard input. Fails the test when the program does.
pub fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("these tests need {program} in PATH: {error}"));
    // A program that needs no input may close it first.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    output.stdout
}

/// A private key in PEM: `algorithm` and options as `openssl genpkey` takes them.
pub fn private_key(algorithm: &str, options: &[&str]) -> Vec<u8> {
    let options = options.iter().flat_map(|option| ["-pkeyopt", option]);
    let arguments: Vec<&str> = ["genpkey", "-algorithm", algorithm].into_iter().chain(options).collect();
    openssl(&arguments, b"")
}

/// A private key of an accepted kind, by its name in policies.
pub fn private_key_of(kind: &str) -> Vec<u8> {
    match kind.split_once('-') {
        Some(("rsa", bits)) => private_key("RSA", &[&format!("rsa_keygen_bits:{bits}")]),
        Some((_, _)) => private_key("EC", &[&format!("ec_paramgen_curve:{}", kind.to_uppercase())]),
        None => private_key(kind, &[]),
    }
}

/// The `SubjectPublicKeyInfo` of a private key in PEM.
pub fn spki(private_key: &[u8]) -> Vec<u8> {
    openssl(&["pkey", "-pubout", "-outform", "DER"], private_key)
}

/// A prime of exactly this many bits, big-endian.
pub fn prime(bits: usize) -> Vec<u8> {
    let digits = openssl(&["prime", "-generate", "-bits", &bits.to_string(), "-hex"], b"");
    let digits = String::from_utf8(digits).unwrap();
    num_bigint::BigUint::parse_bytes(digits.trim().as_bytes(), 16).unwrap().to_bytes_be()
}

/// A CSR in DER, made by `openssl req -new` with more arguments.
pub fn csr(private_key: &[u8], arguments: &[&str]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), private_key).unwrap();
    let path = file.path().to_str().unwrap();
    let fixed = ["req", "-new", "-key", path, "-outform", "DER"];
    openssl(&[&fixed[..], arguments].concat(), b"")
}

/// A P-256 key that signs hand-built requests.
pub struct Signer {
    pair: EcdsaKeyPair,
    pub spki: Vec<u8>,
}

impl Signer {
    pub fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let algorithm = seq(&[oid(EC_PUBLIC_KEY), oid(P256)]);
        let spki = seq(&[algorithm, bits(pair.public_key().as_ref())]);
        Self { pair, spki }
    }

    /// A well-signed request over whatever these parts are.
    pub fn request(&self, version: &[u8], subject: &[u8], attributes: &[u8]) -> Vec<u8> {
        let info = seq(&[version.to_vec(), subject.to_vec(), self.spki.clone(), attributes.to_vec()]);
        self.sign(&info)
    }

    /// A request that asks for this subject, and for nothing else.
    pub fn request_for(&self, subject: &[u8]) -> Vec<u8> {
        self.request(&[der::INTEGER, 1, 0], subject, &[der::CONTEXT_0, 0])
    }

    /// Puts a `CertificationRequest` around these bytes.
    pub fn sign(&self, info: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), info).unwrap();
        seq(&[info.to_vec(), seq(&[oid(ECDSA_WITH_SHA256)]), bits(signature.as_ref())])
    }
}

/// One attribute of a name.
pub fn attribute(object: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    seq(&[oid(object), tlv(tag, value)])
}

/// A CN as `UTF8String`, in an RDN of its own.
pub fn cn(value: &str) -> Vec<u8> {
    set(&[attribute(&[0x55, 4, 3], 0x0c, value.as_bytes())])
}

/// An O as `UTF8String`, in an RDN of its own.
pub fn o(value: &str) -> Vec<u8> {
    set(&[attribute(&[0x55, 4, 10], 0x0c, value.as_bytes())])
}
