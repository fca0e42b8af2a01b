//! Keys and CSRs, made by openssl as its users make them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A private key in a folder of the test's.
pub struct Key {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Key {
    /// A fresh P-256 key.
    pub fn p256() -> Self {
        Self::made(&["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out"])
    }

    /// A key by the arguments of openssl, which end in `-out`.
    pub fn made(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        openssl(arguments, Some(&path));
        Self { path, _folder: folder }
    }

    /// The PEM of a CSR for `subject`, as in `/CN=alice/O=dev`.
    pub fn csr(&self, subject: &str) -> String {
        let key = self.path.to_str().unwrap();
        String::from_utf8(openssl(&["req", "-new", "-utf8", "-key", key, "-subj", subject], None)).unwrap()
    }

    /// SHA-256 of the public half, as openssl computes it, in hex.
    pub fn spki_sha256(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let public = folder.path().join("public.der");
        let arguments = ["pkey", "-pubout", "-outform", "DER", "-in", self.path.to_str().unwrap(), "-out"];
        openssl(&arguments, Some(&public));
        let digest = openssl(&["dgst", "-sha256", "-r"], Some(&public));
        String::from_utf8(digest).unwrap().split(' ').next().unwrap().to_owned()
    }

    /// The PEM of the private key itself, which must never be sent.
    pub fn private_pem(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }
}

impl Key {
    /// The same in DER.
    pub fn private_der(&self) -> Vec<u8> {
        openssl(&["pkey", "-outform", "DER", "-in", self.path.to_str().unwrap()], None)
    }
}

/// The PEM of a CSR for `subject` under a fresh P-256 key.
pub fn csr(subject: &str) -> String {
    Key::p256().csr(subject)
}

/// What `openssl x509 -noout` prints of a PEM certificate under `arguments`.
pub fn x509(pem: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("certificate.pem");
    std::fs::write(&path, pem).unwrap();
    let mut all = vec!["x509", "-noout", "-nameopt", "RFC2253,utf8,-esc_msb", "-in", path.to_str().unwrap()];
    all.extend(arguments);
    String::from_utf8(openssl(&all, None)).unwrap()
}

fn openssl(arguments: &[&str], out: Option<&Path>) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments);
    if let Some(out) = out {
        command.arg(out);
    }
    let output = command.output().expect("openssl is needed by these tests");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
