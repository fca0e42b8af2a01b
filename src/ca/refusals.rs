//! Each reason for which a CA does not load, with files of the real `openssl`.

use super::openssl::{CA, Workshop};
use super::{Authority, throw_away};
use crate::time::Time;

/// What makes files that are refused, and a part of the sentence.
fn refused(make: impl FnOnce(&Workshop), part: &str) {
    let workshop = Workshop::new();
    make(&workshop);
    let sentence = workshop.refusal("ca");
    assert!(sentence.contains(part), "{sentence}");
    assert!(sentence.contains(workshop.path("ca.").to_str().unwrap()), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
}

#[test]
fn key_and_certificate_that_do_not_match_are_refused() {
    for other in
        ["ecparam -genkey -name prime256v1 -noout", "genpkey -algorithm RSA", "genpkey -algorithm ED25519"]
    {
        refused(
            |workshop| {
                workshop.p256_root("ca", CA);
                workshop.key("ca", other);
            },
            "is not the key of the first certificate in",
        );
    }
}

#[test]
fn a_certificate_that_is_no_cas_is_refused() {
    refused(|w| w.p256_root("ca", "subjectKeyIdentifier=hash\n"), "basicConstraints is missing");
    refused(|w| w.p256_root("ca", "basicConstraints=critical,CA:FALSE\n"), "basicConstraints says CA:FALSE");
    refused(
        |w| {
            let usage = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign,digitalSignature\n";
            w.p256_root("ca", usage);
        },
        "keyUsage lacks keyCertSign",
    );
    refused(
        |w| w.p256_root("ca", &format!("{CA}extendedKeyUsage=serverAuth\n")),
        "extendedKeyUsage lacks clientAuth",
    );
    refused(
        |w| w.p256_root("ca", &format!("{CA}nameConstraints=critical,permitted;DNS:example.com\n")),
        "critical name constraints, to which kube-apiserver answers 401",
    );
    refused(|w| w.p256_root("ca", &format!("{CA}1.2.3.4=critical,DER:0500\n")), "critical extension 1.2.3.4");
}

#[test]
fn a_ca_without_key_usage_or_with_client_auth_loads() {
    for extensions in [
        "basicConstraints=critical,CA:TRUE\n".to_owned(),
        "basicConstraints=CA:TRUE\n".to_owned(),
        format!("{CA}extendedKeyUsage=serverAuth,clientAuth\n"),
        format!("{CA}nameConstraints=permitted;DNS:example.com\nsubjectAltName=DNS:kubernetes\n"),
    ] {
        let workshop = Workshop::new();
        workshop.p256_root("ca", &extensions);
        workshop.load("ca").unwrap_or_else(|error| panic!("{extensions}: {error}"));
    }
}

#[test]
fn weak_keys_and_hashes_are_refused() {
    let small = |w: &Workshop| {
        w.openssl("genrsa -out ca.key 1024");
        w.write("ca.key", w.read("ca.key"));
        w.root("ca", "/CN=ca", CA, "");
    };
    refused(small, "RSA key has 1024 bits");
    for hash in ["sha1", "md5"] {
        let weak = |w: &Workshop| {
            w.key("ca", "genpkey -algorithm RSA");
            w.root("ca", "/CN=ca", CA, &format!("-{hash}"));
        };
        refused(weak, &format!("signed with {}", if hash == "md5" { "MD5" } else { "SHA-1" }));
    }
    let curve = |w: &Workshop| {
        w.key("ca", "ecparam -genkey -name secp256k1 -noout");
        w.root("ca", "/CN=ca", CA, "");
    };
    refused(curve, "kind of key is not supported");
}

#[test]
fn a_chain_whose_certificates_did_not_sign_each_other_is_refused() {
    let two = |w: &Workshop| {
        w.p256_root("ca", CA);
        w.intermediate("leaf", "ca", CA);
        w.p256_root("other", CA);
    };
    let join = |w: &Workshop, names: &[&str]| {
        let text = names.iter().map(|name| w.read(&format!("{name}.crt"))).collect::<String>();
        w.write("ca.crt", text);
        w.write("ca.key", w.read("leaf.key"));
    };
    let case = |names: &'static [&'static str], part: &str| {
        refused(
            |w| {
                two(w);
                w.write("root.crt", w.read("ca.crt"));
                join(w, names);
            },
            part,
        );
    };
    case(&["leaf", "other"], "certificate 2 of it (CN=other) did not sign the one before");
    case(&["leaf", "root", "root"], "certificate 2 of it is self-signed, yet another follows");
    case(&["leaf", "leaf"], "certificate 2 of it (CN=leaf) did not sign the one before");
    case(&["root", "leaf"], "certificate 1 of it is self-signed");
    case(&["leaf"; 11], "11 certificates, more than 10");
}

#[test]
fn an_issuer_of_the_same_name_with_another_key_did_not_sign() {
    refused(
        |w| {
            w.p256_root("root", CA);
            w.intermediate("ca", "root", CA);
            w.p256_root("root", CA);
            w.write("ca.crt", [w.read("ca.crt"), w.read("root.crt")].concat());
        },
        "certificate 2 of it (CN=root) did not sign the one before",
    );
}

#[test]
fn a_path_length_that_is_too_small_is_refused() {
    refused(
        |w| {
            w.p256_root("root", &CA.replace("CA:TRUE", "CA:TRUE,pathlen:0"));
            w.intermediate("ca", "root", CA);
            w.write("ca.crt", [w.read("ca.crt"), w.read("root.crt")].concat());
        },
        "certificate 2 of it allows 0 CAs below it (pathlen), but 1 are",
    );
}

#[test]
fn a_weak_certificate_higher_up_is_refused() {
    refused(
        |w| {
            w.p256_root("root", CA);
            w.intermediate("ca", "root", CA);
            w.key("root", "genpkey -algorithm RSA");
            w.root("root", "/CN=root", CA, "-sha1");
            w.write("ca.crt", [w.read("ca.crt"), w.read("root.crt")].concat());
        },
        "certificate 2 of it is refused: it is signed with SHA-1",
    );
}

#[test]
fn garbage_in_the_certificate_file_is_refused() {
    let with = |change: fn(String, &Workshop) -> String, part: &str| {
        refused(
            |w| {
                w.p256_root("ca", CA);
                w.write("ca.crt", change(w.read("ca.crt"), w));
            },
            part,
        );
    };
    with(|_, _| String::new(), "holds no PEM block");
    with(|text, w| text + &w.read("ca.key"), "holds a block `EC PRIVATE KEY`");
    with(|text, _| text.replace("-----END CERTIFICATE-----\n", ""), "no matching END line");
    with(|text, _| text.replacen("MII", "M!!", 1).replacen("MIIB", "M!!B", 1), "is not base64");
    with(
        |text, _| text + "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "certificate 2 of it is refused: it is not a DER certificate",
    );
    with(
        |text, _| text.clone() + &text.replace("-----BEGIN", "----BEGIN"),
        "looks like a part of a PEM block",
    );
    let missing = Workshop::new();
    assert!(missing.refusal("ca").contains("it cannot be read"));
}

#[test]
fn text_that_openssl_writes_around_a_certificate_is_no_garbage() {
    let workshop = Workshop::new();
    workshop.p256_root("ca", CA);
    let text = workshop.openssl("x509 -in ca.crt -text");
    assert!(text.starts_with("Certificate:\n"));
    workshop.write("ca.crt", text);
    workshop.load("ca").unwrap();
}

#[test]
fn a_key_file_that_gives_no_key_is_refused() {
    let with = |make: fn(&Workshop), part: &str| {
        refused(
            |w| {
                w.p256_root("ca", CA);
                make(w);
            },
            part,
        );
    };
    with(|w| w.write("ca.key", w.read("ca.crt")), "holds no private key but `CERTIFICATE`");
    with(|w| w.write("ca.key", w.read("ca.key").repeat(2)), "more than one private key");
    with(|w| w.key("ca", "ecparam -genkey -name secp256k1 -noout"), "not P-256, P-384 or P-521");
    with(|w| w.key("ca", "genpkey -algorithm ED448"), "its kind of key is not supported");
    with(|w| w.write("ca.key", [0x30, 0x82, 0xff]), "it is not a text file");
    with(
        |w| w.write("ca.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
        "is not a private key",
    );
    with(
        |w| w.write("ca.key", "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n"),
        "its RSA key is damaged",
    );
    with(|w| std::fs::remove_file(w.path("ca.key")).unwrap(), "it cannot be read");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    refused(
        |w| {
            w.p256_root("ca", CA);
            std::fs::set_permissions(w.path("ca.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
        },
        "it has mode 0644, so every user of this machine can read it: run `chmod 600 /",
    );
}

/// A P-256 CA whose key is encrypted with these options, and a password file.
fn encrypted(options: &str, password: &str) -> (Workshop, Result<Authority, String>) {
    let workshop = Workshop::new();
    workshop.p256_root("ca", CA);
    workshop.openssl(&format!("pkcs8 -topk8 -in ca.key -passout pass:geheim -out enc.key {options}"));
    workshop.write("ca.key", workshop.read("enc.key"));
    workshop.write("password", password);
    let mut settings = workshop.settings("ca");
    settings.key_password_file = Some(workshop.path("password"));
    let loaded = Authority::load(&settings).map_err(|error| error.to_string());
    (workshop, loaded)
}

#[test]
fn an_encrypted_key_opens_with_its_password() {
    for options in
        ["-v2 aes-256-cbc", "-v2 aes-128-cbc -iter 1000", "-scrypt", "-v2 aes-256-cbc -v2prf hmacWithSHA512"]
    {
        for password in ["geheim", "geheim\n", "geheim\r\n"] {
            let (workshop, loaded) = encrypted(options, password);
            assert!(workshop.read("ca.key").starts_with("-----BEGIN ENCRYPTED PRIVATE KEY"));
            assert_eq!(loaded.err(), None, "{options}");
        }
    }
}

#[test]
fn a_wrong_or_missing_password_is_refused() {
    let (workshop, loaded) = encrypted("-v2 aes-256-cbc", "falsch");
    assert!(loaded.unwrap_err().contains("the password in key_password_file does not open it"));
    assert!(workshop.refusal("ca").contains("it is encrypted: name the file with its password"));
    let (_, loaded) = encrypted("-v2 aes-256-cbc", "geheim\n\n");
    assert!(loaded.unwrap_err().contains("does not open it"));
    let (_, loaded) = encrypted("-v2 aes-256-cbc", "\n");
    assert!(loaded.unwrap_err().contains("it is empty"));
}

#[test]
fn a_password_for_a_key_that_is_not_encrypted_is_refused() {
    let workshop = Workshop::new();
    workshop.p256_root("ca", CA);
    workshop.write("password", "geheim");
    let mut settings = workshop.settings("ca");
    settings.key_password_file = Some(workshop.path("password"));
    assert!(Authority::load(&settings).unwrap_err().to_string().contains("it is not encrypted"));
}

#[test]
fn a_password_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (workshop, _) = encrypted("-v2 aes-256-cbc", "geheim");
    let path = workshop.path("password");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
    let mut settings = workshop.settings("ca");
    settings.key_password_file = Some(path);
    let sentence = Authority::load(&settings).unwrap_err().to_string();
    assert!(sentence.contains("password file /") && sentence.contains("mode 0604"), "{sentence}");
}

#[test]
fn the_command_in_the_refusal_of_an_old_encryption_converts_the_key() {
    let workshop = Workshop::new();
    workshop.key("plain", "genrsa");
    workshop.openssl("rsa -in plain.key -aes128 -passout pass:geheim -traditional -out old.key");
    workshop.write("old.key", workshop.read("old.key"));
    assert!(workshop.read("old.key").contains("Proc-Type: 4,ENCRYPTED"));
    workshop.root("old", "/CN=old", CA, "-passin pass:geheim");
    let sentence = workshop.refusal("old");
    let (_, command) = sentence.split_once("convert it with `openssl ").expect("a command");
    let command = command.strip_suffix('`').unwrap();
    workshop.openssl(&format!("{command} -passin pass:geheim -passout pass:geheim"));
    workshop.write("password", "geheim\n");
    let mut settings = workshop.settings("old");
    settings.key = workshop.path("old.key.pkcs8");
    settings.key_password_file = Some(workshop.path("password"));
    Authority::load(&settings).unwrap();
}

#[test]
fn a_pkcs5_version_1_key_names_the_conversion() {
    let workshop = Workshop::new();
    let (certificate, key) = throw_away::make("ca", Time::from_unix(1_700_000_000)).unwrap();
    workshop.write("ca.crt", certificate);
    workshop.write("plain.key", key.as_str());
    workshop.openssl("pkcs8 -topk8 -in plain.key -v1 PBE-SHA1-3DES -passout pass:geheim -out v1.key");
    workshop.write("ca.key", workshop.read("v1.key"));
    workshop.write("password", "geheim");
    let mut settings = workshop.settings("ca");
    settings.key_password_file = Some(workshop.path("password"));
    let sentence = Authority::load(&settings).unwrap_err().to_string();
    assert!(sentence.contains("convert it with `openssl pkcs8 -topk8"), "{sentence}");
}

#[test]
fn no_error_shows_the_key_or_the_password() {
    let (workshop, _) = encrypted("-v2 aes-256-cbc", "falsches-Wort");
    let mut settings = workshop.settings("ca");
    settings.key_password_file = Some(workshop.path("password"));
    let error = Authority::load(&settings).unwrap_err();
    let text = format!("{error} {error:?}");
    let line = workshop.read("ca.key").lines().nth(1).unwrap().to_owned();
    assert!(!text.contains("falsches-Wort") && !text.contains(&line), "{text}");
}
