//! What this module makes and refuses, judged by the real `openssl`.

use super::openssl::{CA, Workshop};
use super::{Authority, Signed, throw_away};
use crate::pki::csr::CertRequest;
use crate::pki::key::{KeyKind, PublicKey};
use crate::pki::name::ShortName;
use crate::pki::serial::Serial;
use crate::policy::{Approved, Ask};
use crate::time::Time;

const SERIAL: [u8; 16] = [0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn approved(user: &str, groups: &[&str], key: PublicKey, from: Time, until: Time) -> Approved {
    let request = CertRequest::for_tests_with_key(user, groups, key);
    let cluster = ShortName::parse("prod").unwrap();
    Approved::for_tests(Ask { cluster, request, ttl: None, on_behalf_of: None }, from, until)
}

fn sign(authority: &Authority, key: PublicKey) -> Signed {
    let from = authority.not_before();
    let approved =
        approved("alice", &["zeta", "dev", "Ünïcode ✓"], key, from, Time::from_unix(from.unix() + 28_800));
    authority.sign(approved, Serial::from_random(SERIAL)).unwrap()
}

/// Every kind of leaf key under this CA, through `openssl verify` and `openssl x509 -text`.
fn judge(workshop: &Workshop, authority: &Authority) {
    workshop.write("chain.pem", authority.chain_pem());
    for kind in KeyKind::ALL {
        let signed = sign(authority, PublicKey::for_tests(kind));
        workshop.write("leaf.pem", crate::pki::pem::encode("CERTIFICATE", signed.der()));
        let verdict = workshop.openssl(
            "verify -x509_strict -purpose sslclient -CAfile chain.pem -untrusted chain.pem leaf.pem",
        );
        assert_eq!(verdict, "leaf.pem: OK\n", "{kind:?}");
        let usage = if kind.is_rsa() { "Digital Signature, Key Encipherment" } else { "Digital Signature" };
        check_text(
            &workshop.openssl("x509 -in leaf.pem -noout -text -nameopt RFC2253,sep_multiline,utf8"),
            usage,
        );
    }
}

fn check_text(text: &str, usage: &str) {
    let extensions = text.split_once("X509v3 extensions:\n").expect("extensions").1;
    let (extensions, _) = extensions.split_once("    Signature Algorithm:").expect("a signature");
    let lines = extensions.lines().map(str::trim).collect::<Vec<_>>();
    let expected = [
        "X509v3 Key Usage: critical",
        usage,
        "X509v3 Extended Key Usage:",
        "TLS Web Client Authentication",
        "X509v3 Basic Constraints: critical",
        "CA:FALSE",
        "X509v3 Subject Key Identifier:",
    ];
    assert_eq!(lines[..7], expected, "{text}");
    assert_eq!(lines[8], "X509v3 Authority Key Identifier:", "{text}");
    assert_eq!(lines.len(), 10, "{text}");
    assert!(text.contains("Version: 3"), "{text}");
    assert!(text.contains("7f:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f"), "{text}");
}

#[test]
fn a_kubeadm_ca_signs_every_kind_of_key() {
    let workshop = Workshop::new();
    workshop.key("ca", "genrsa -traditional");
    assert!(workshop.read("ca.key").starts_with("-----BEGIN RSA PRIVATE KEY"));
    workshop.root("ca", "/CN=kubernetes", CA, "");
    let authority = workshop.load("ca").unwrap();
    assert_eq!((authority.key_kind(), authority.subject()), ("rsa-2048", "CN=kubernetes"));
    judge(&workshop, &authority);
}

#[test]
fn a_ca_of_every_accepted_kind_signs() {
    for (command, kind) in [
        ("ecparam -genkey -name prime256v1", "p-256"),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "p-384"),
        ("ecparam -genkey -name secp521r1 -noout", "p-521"),
        ("genpkey -algorithm ED25519", "ed25519"),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072", "rsa-3072"),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2560", "rsa"),
    ] {
        let workshop = Workshop::new();
        workshop.key("ca", command);
        workshop.root("ca", "/CN=ca", CA, "");
        let authority = workshop.load("ca").unwrap_or_else(|error| panic!("{command}: {error}"));
        assert_eq!(authority.key_kind(), kind);
        judge(&workshop, &authority);
    }
}

#[test]
fn a_sec1_key_with_a_block_of_curve_parameters_is_read() {
    let workshop = Workshop::new();
    workshop.key("ca", "ecparam -genkey -name secp384r1");
    assert!(workshop.read("ca.key").starts_with("-----BEGIN EC PARAMETERS"));
    workshop.root("ca", "/CN=ca", CA, "");
    assert_eq!(workshop.load("ca").unwrap().key_kind(), "p-384");
}

#[test]
fn the_issuer_is_the_cas_subject_byte_for_byte() {
    for subject in ["/DC=com/DC=example/OU=a/OU=b/CN=x", "/O=b/O=a/CN=x+OU=y", "/CN=Zürich CA/C=CH"] {
        let workshop = Workshop::new();
        workshop.key("ca", "ecparam -genkey -name prime256v1 -noout");
        workshop
            .write("req.cnf", format!("[req]\ndistinguished_name=dn\nx509_extensions=x\n[dn]\n[x]\n{CA}"));
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-new",
                "-utf8",
                "-multivalue-rdn",
                "-config",
                "req.cnf",
                "-key",
                "ca.key",
            ])
            .args(["-out", "ca.crt", "-days", "30", "-subj", subject])
            .current_dir(workshop.path(""))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let authority = workshop.load("ca").unwrap();
        judge(&workshop, &authority);
        let of_ca = workshop.openssl("x509 -in ca.crt -noout -subject -nameopt RFC2253");
        let of_leaf = workshop.openssl("x509 -in leaf.pem -noout -issuer -nameopt RFC2253");
        assert_eq!(of_ca.strip_prefix("subject="), of_leaf.strip_prefix("issuer="));
    }
}

#[test]
fn the_subject_is_the_user_and_then_each_group_in_an_rdn_of_its_own() {
    let workshop = Workshop::new();
    workshop.p256_root("ca", CA);
    let authority = workshop.load("ca").unwrap();
    judge(&workshop, &authority);
    let subject = workshop
        .openssl("x509 -in leaf.pem -noout -subject -nameopt utf8,sep_multiline,show_type,sname,dn_rev");
    let lines = subject.lines().skip(1).map(str::trim).collect::<Vec<_>>();
    let expected = ["O=UTF8STRING:Ünïcode ✓", "O=UTF8STRING:dev", "O=UTF8STRING:zeta", "CN=UTF8STRING:alice"];
    assert_eq!(lines, expected, "{subject}");
}

#[test]
fn an_intermediate_signs_and_its_chain_is_sent() {
    let workshop = Workshop::new();
    workshop.p256_root("root", CA);
    workshop.intermediate("middle", "root", &CA.replace("CA:TRUE", "CA:TRUE,pathlen:1"));
    workshop.intermediate("ca", "middle", &CA.replace("CA:TRUE", "CA:TRUE,pathlen:0"));
    let whole = ["ca.crt", "middle.crt", "root.crt"].map(|name| workshop.read(name)).concat();
    workshop.write("ca.crt", &whole);
    let authority = workshop.load("ca").unwrap();
    assert_eq!(authority.chain_pem(), whole);
    assert_eq!(authority.intermediates_pem().matches("BEGIN CERTIFICATE").count(), 2);
    assert!(!authority.intermediates_pem().contains(&workshop.read("root.crt")));
    assert_eq!(authority.chain_keys().len(), 3);
    assert_eq!(authority.chain_keys()[0], authority.spki_sha256());
    // The root lives 3650 days, both others 300.
    assert!(authority.not_after().seconds_since(authority.not_before()) <= 300 * 86_400);
    workshop.write("untrusted.pem", authority.intermediates_pem());
    let signed = sign(&authority, PublicKey::for_tests(KeyKind::P256));
    workshop.write("leaf.pem", crate::pki::pem::encode("CERTIFICATE", signed.der()));
    workshop
        .openssl("verify -x509_strict -purpose sslclient -CAfile root.crt -untrusted untrusted.pem leaf.pem");
}

#[test]
fn the_authority_key_identifier_is_copied_or_left_out() {
    let workshop = Workshop::new();
    workshop.p256_root("ca", &CA.replace("subjectKeyIdentifier=hash", "subjectKeyIdentifier=0102030405"));
    judge(&workshop, &workshop.load("ca").unwrap());
    assert!(workshop.openssl("x509 -in leaf.pem -noout -text").contains("01:02:03:04:05\n"));
    workshop.p256_root("bare", &CA.replace("subjectKeyIdentifier=hash", "subjectKeyIdentifier=none"));
    let signed = sign(&workshop.load("bare").unwrap(), PublicKey::for_tests(KeyKind::P256));
    workshop.write("leaf.pem", crate::pki::pem::encode("CERTIFICATE", signed.der()));
    let text = workshop.openssl("x509 -in leaf.pem -noout -text");
    assert!(text.contains("Subject Key Identifier") && !text.contains("Authority Key Identifier"), "{text}");
    workshop.openssl("verify -purpose sslclient -CAfile bare.crt leaf.pem");
}

#[test]
fn validity_is_kept_to_the_second_on_both_sides_of_2050() {
    let workshop = Workshop::new();
    workshop.p256_root("ca", CA);
    let authority = workshop.load("ca").unwrap();
    let (from, until) =
        (Time::parse("2049-12-31T23:59:59Z").unwrap(), Time::parse("2050-01-01T00:00:00Z").unwrap());
    let key = PublicKey::for_tests(KeyKind::P256);
    let signed = authority.sign(approved("a", &[], key, from, until), Serial::from_random(SERIAL)).unwrap();
    workshop.write("leaf.pem", crate::pki::pem::encode("CERTIFICATE", signed.der()));
    let asn1 = workshop.openssl("asn1parse -in leaf.pem");
    assert!(asn1.contains("UTCTIME           :491231235959Z"), "{asn1}");
    assert!(asn1.contains("GENERALIZEDTIME   :20500101000000Z"), "{asn1}");
}

#[test]
fn a_time_that_no_certificate_can_hold_is_not_signed() {
    let workshop = Workshop::new();
    workshop.p256_root("ca", CA);
    let authority = workshop.load("ca").unwrap();
    for until in [-1, i64::MIN, 253_402_300_800, i64::MAX] {
        let key = PublicKey::for_tests(KeyKind::P256);
        let approved = approved("a", &[], key, Time::from_unix(0), Time::from_unix(until));
        assert!(authority.sign(approved, Serial::from_random(SERIAL)).is_err(), "{until}");
    }
}

#[test]
fn a_hundred_groups_of_the_longest_name_are_signed() {
    let workshop = Workshop::new();
    workshop.p256_root("ca", CA);
    let authority = workshop.load("ca").unwrap();
    let groups = (0..100).map(|i| format!("{i:0>253}")).collect::<Vec<_>>();
    let groups = groups.iter().map(String::as_str).collect::<Vec<_>>();
    let key = PublicKey::for_tests(KeyKind::Ed25519);
    let approved = approved("a", &groups, key, authority.not_before(), authority.not_after());
    let signed = authority.sign(approved, Serial::from_random(SERIAL)).unwrap();
    workshop.write("leaf.pem", crate::pki::pem::encode("CERTIFICATE", signed.der()));
    workshop.openssl("verify -x509_strict -purpose sslclient -CAfile ca.crt leaf.pem");
    assert_eq!(workshop.openssl("asn1parse -in leaf.pem").matches(":organizationName").count(), 100);
}

#[test]
fn what_is_handed_on_says_what_was_signed() {
    let workshop = Workshop::new();
    workshop.p256_root("ca", CA);
    let authority = workshop.load("ca").unwrap();
    let signed = sign(&authority, PublicKey::for_tests(KeyKind::P256));
    workshop.write("leaf.der", signed.der());
    let sha256 = workshop.openssl("dgst -sha256 -r leaf.der");
    let hex = signed.sha256().iter().fold(String::new(), |text, octet| format!("{text}{octet:02x}"));
    assert_eq!(sha256.split(' ').next(), Some(hex.as_str()));
    assert_eq!(signed.authority(), authority.spki_sha256());
    assert_eq!(signed.serial(), Serial::from_random(SERIAL));
    assert_eq!(signed.approved().user().as_str(), "alice");
    assert_eq!(signed.approved().groups().len(), 3);
}

#[test]
fn a_throw_away_ca_signs_and_lives_ninety_days() {
    let workshop = Workshop::new();
    let now = Time::from_unix(
        std::fs::metadata(workshop.path(""))
            .unwrap()
            .modified()
            .unwrap()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            .try_into()
            .unwrap(),
    );
    let (certificate, key) = throw_away::make("trial CA", now).unwrap();
    workshop.write("ca.crt", certificate);
    workshop.write("ca.key", key.as_str());
    let authority = workshop.load("ca").unwrap();
    assert_eq!(
        (authority.not_before(), authority.not_after()),
        (now, Time::from_unix(now.unix() + 90 * 86_400))
    );
    assert_eq!(authority.subject(), "CN=trial CA");
    judge(&workshop, &authority);
    let text = workshop.openssl("x509 -in ca.crt -noout -text");
    assert!(text.contains("CA:TRUE, pathlen:0") && text.contains("Certificate Sign, CRL Sign\n"), "{text}");
    workshop.openssl("verify -x509_strict -CAfile ca.crt ca.crt");
}

#[test]
fn an_expired_ca_loads() {
    let workshop = Workshop::new();
    let (certificate, key) = throw_away::make("old", Time::from_unix(1_000_000_000)).unwrap();
    workshop.write("ca.crt", certificate);
    workshop.write("ca.key", key.as_str());
    assert_eq!(workshop.load("ca").unwrap().not_after(), Time::from_unix(1_000_000_000 + 90 * 86_400));
}

#[test]
fn a_chain_is_read_under_every_signature_algorithm_of_the_table() {
    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest";
    for (key, options) in [
        ("genpkey -algorithm RSA", "-sha256".to_owned()),
        ("genpkey -algorithm RSA", "-sha384".to_owned()),
        ("genpkey -algorithm RSA", "-sha512".to_owned()),
        ("genpkey -algorithm RSA", format!("-sha256 {pss}")),
        ("genpkey -algorithm RSA", format!("-sha384 {pss}")),
        ("genpkey -algorithm RSA", format!("-sha512 {pss}")),
        ("ecparam -genkey -name prime256v1", "-sha512".to_owned()),
        ("ecparam -genkey -name secp384r1", "-sha256".to_owned()),
        ("ecparam -genkey -name secp521r1", "-sha384".to_owned()),
    ] {
        let workshop = Workshop::new();
        workshop.key("ca", key);
        workshop.root("ca", "/CN=ca", CA, &options);
        let authority = workshop.load("ca").unwrap_or_else(|error| panic!("{key} {options}: {error}"));
        // Empty only if the root's own signature was verified.
        assert_eq!(authority.intermediates_pem(), "", "{key} {options}");
    }
}
