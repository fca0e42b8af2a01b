use super::*;

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::ca::throw_away;

const NOW: Time = Time::from_unix(1_800_000_000);
const DAY: u32 = 86_400;

struct Files {
    _folder: tempfile::TempDir,
    settings: TlsSettings,
}

fn write(path: &Path, mode: u32, text: &str) {
    let _ = fs::remove_file(path);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    // Whatever the mask of this process takes away.
    file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
}

fn made() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let settings = TlsSettings { certificate: "tls.crt".into(), key: "tls.key".into(), client_ca: None };
    let files = Files { settings: settings.resolved_from(folder.path()), _folder: folder };
    renew(&files);
    files
}

/// Another certificate and key at the same place.
fn renew(files: &Files) {
    let service = throw_away::service(vec!["localhost".to_owned()], NOW).unwrap();
    write(&files.settings.certificate, 0o644, &service.certificate);
    write(&files.settings.key, 0o600, &service.key);
}

fn problem(files: &Files) -> String {
    Tls::load(files.settings.clone()).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn new_files_are_taken_and_bad_ones_leave_what_was() {
    let files = made();
    let tls = Tls::load(files.settings.clone()).unwrap();
    let first = tls.current().fingerprint;
    renew(&files);
    assert_eq!(tls.current().fingerprint, first, "until it is read again");
    let second = tls.reload().unwrap().fingerprint;
    assert_ne!(second, first);
    write(
        &files.settings.certificate,
        0o644,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    assert!(tls.reload().unwrap_err().to_string().contains("tls.crt"));
    assert_eq!(tls.current().fingerprint, second);
}

#[test]
fn the_end_of_the_certificate_is_known() {
    let files = made();
    let current = Tls::load(files.settings.clone()).unwrap().current();
    assert_eq!(current.not_after.seconds_since(NOW), 90 * 86_400);
    assert_eq!(current.server.alpn_protocols, [b"http/1.1"]);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let files = made();
    for mode in [0o644, 0o640, 0o660, 0o602] {
        let key = fs::read_to_string(&files.settings.key).unwrap();
        write(&files.settings.key, mode, &key);
        assert!(problem(&files).contains("chmod 600"), "{mode:o}: {}", problem(&files));
    }
}

#[test]
fn what_is_no_certificate_with_its_key_says_what_it_is() {
    let files = made();
    let (certificate, key) = (
        fs::read_to_string(&files.settings.certificate).unwrap(),
        fs::read_to_string(&files.settings.key).unwrap(),
    );
    let other = throw_away::service(vec!["localhost".to_owned()], NOW).unwrap();
    write(&files.settings.key, 0o600, &other.key);
    assert!(problem(&files).contains("not the key of the first certificate"), "{}", problem(&files));
    write(&files.settings.key, 0o600, &certificate);
    assert!(problem(&files).contains("no private key"), "{}", problem(&files));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write(&files.settings.key, 0o600, encrypted);
    assert!(problem(&files).contains("encrypted"), "{}", problem(&files));
    write(&files.settings.key, 0o600, &key);
    write(&files.settings.certificate, 0o644, &format!("{certificate}{key}"));
    assert!(problem(&files).contains("holds a private key too"), "{}", problem(&files));
    write(&files.settings.certificate, 0o644, "nothing");
    assert!(problem(&files).contains("no certificate"), "{}", problem(&files));
    fs::remove_file(&files.settings.certificate).unwrap();
    assert!(problem(&files).contains("cannot be read"), "{}", problem(&files));
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// An authority, and the certificate of a client that it signed.
fn client() -> (ClientAuthorities, ClientCertificate) {
    let made = throw_away::client("alice", NOW).unwrap();
    let authorities = ClientAuthorities::of(&[der(&made.authority)]).unwrap();
    (authorities, ClientCertificate::new(&[der(&made.certificate)]).unwrap())
}

#[test]
fn an_authority_vouches_for_what_it_signed_while_it_is_valid() {
    let ((authority, alice), (_, mallory)) = (client(), client());
    assert_eq!(authority.verify(&alice, NOW), Ok(()));
    assert_eq!(authority.verify(&mallory, NOW), Err(Unverified::Foreign));
    let after = NOW.after(crate::time::Lifetime::from_seconds(91 * DAY));
    assert_eq!(authority.verify(&alice, after), Err(Unverified::Expired));
    assert_eq!(authority.verify(&alice, NOW.before(60)), Err(Unverified::Expired));
}

#[test]
fn a_certificate_of_a_service_is_none_of_a_client() {
    let service = throw_away::service(vec!["localhost".to_owned()], NOW).unwrap();
    let authority = ClientAuthorities::of(&[der(&service.authority)]).unwrap();
    let shown = ClientCertificate::new(&[der(&service.certificate)]).unwrap();
    assert_eq!(authority.verify(&shown, NOW), Err(Unverified::Foreign));
    assert_eq!(ClientAuthorities::of(&[der(&service.certificate)]).unwrap_err(), 1, "nor an authority's");
}
