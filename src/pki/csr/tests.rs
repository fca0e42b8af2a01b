//! What is read, and what is refused, with requests of real tools and hand-built ones.
use super::*;
use crate::pki::der::build::{self, oid, seq, set, tlv};
use crate::pki::key::KeyKind;
use crate::pki::samples::{self, Signer, attribute, cn, o};
use proptest::prelude::*;
use std::collections::BTreeSet;

const CN: &[u8] = &[0x55, 4, 3];
const O: &[u8] = &[0x55, 4, 10];
const UTF8: u8 = 0x0c;
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
const MICROSOFT_REQUEST: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 14];
const CHALLENGE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7];

fn groups(request: &CertRequest) -> Vec<&str> {
    request.groups().iter().map(Name::as_str).collect()
}

fn code(der: &[u8]) -> &'static str {
    CertRequest::parse(der).map_or_else(|error| error.code(), |_| "accepted")
}

fn subject_code(rdns: &[Vec<u8>]) -> &'static str {
    code(&Signer::new().request_for(&seq(rdns)))
}

fn attributes_of(attributes: &[Vec<u8>]) -> Vec<u8> {
    let subject = seq(&[cn("alice")]);
    Signer::new().request(&VERSION, &subject, &tlv(der::CONTEXT_0, &attributes.concat()))
}

fn csr_attribute(object: &[u8], values: &[Vec<u8>]) -> Vec<u8> {
    seq(&[oid(object), set(values)])
}

fn extension(object: &[u8], value: &[u8]) -> Vec<u8> {
    seq(&[oid(object), tlv(der::OCTET_STRING, value)])
}

mod sound {
    use super::*;

    #[test]
    fn every_kind_of_key_of_openssl_is_read() {
        for kind in KeyKind::ALL {
            let private_key = samples::private_key_of(kind.as_str());
            let der = samples::csr(&private_key, &["-subj", "/CN=alice/O=dev/O=ops"]);
            let request = CertRequest::parse(&der).unwrap();
            assert_eq!(request.user().as_str(), "alice");
            assert_eq!(groups(&request), ["dev", "ops"]);
            assert_eq!(request.key().kind(), kind);
            assert_eq!(request.key().spki(), samples::spki(&private_key));
            assert_eq!(request.warnings(), [""; 0]);
        }
    }

    #[test]
    fn short_requests_of_p256_and_ed25519_are_quick_to_check() {
        for kind in KeyKind::ALL {
            let der = samples::csr(&samples::private_key_of(kind.as_str()), &["-subj", "/CN=a"]);
            let quick = matches!(kind, KeyKind::P256 | KeyKind::Ed25519);
            assert_eq!(is_quick_to_check(&der), quick, "{}", kind.as_str());
        }
        assert!(is_quick_to_check(b"") && is_quick_to_check(&[0x30; MAX_QUICK_BYTES]));
        assert!(!is_quick_to_check(&[0x30; MAX_QUICK_BYTES + 1]));
    }

    #[test]
    fn every_accepted_hash_is_read_with_every_kind() {
        for kind in ["rsa-2048", "p-256", "p-384", "p-521"] {
            let private_key = samples::private_key_of(kind);
            for hash in ["-sha256", "-sha384", "-sha512"] {
                let der = samples::csr(&private_key, &["-subj", "/CN=alice", hash]);
                assert_eq!(code(&der), "accepted", "{kind} {hash}");
            }
        }
    }

    #[test]
    fn rsa_pss_with_the_salt_of_its_hash_is_read() {
        let private_key = samples::private_key_of("rsa-2048");
        let pss = |hash: &str, more: &[&str]| {
            let fixed = ["-subj", "/CN=alice", hash, "-sigopt", "rsa_padding_mode:pss"];
            let more = more.iter().flat_map(|option| ["-sigopt", option]);
            code(&samples::csr(&private_key, &fixed.into_iter().chain(more).collect::<Vec<_>>()))
        };
        for hash in ["-sha256", "-sha384", "-sha512"] {
            assert_eq!(pss(hash, &["rsa_pss_saltlen:digest"]), "accepted", "{hash}");
        }
        assert_eq!(pss("-sha256", &["rsa_pss_saltlen:20"]), "signature_algorithm_not_accepted");
        assert_eq!(pss("-sha1", &["rsa_pss_saltlen:20"]), "signature_algorithm_not_accepted");
        let other_mask = ["rsa_pss_saltlen:digest", "rsa_mgf1_md:sha512"];
        assert_eq!(pss("-sha256", &other_mask), "signature_algorithm_not_accepted");
    }

    #[test]
    fn names_beyond_ascii_are_read_as_utf8() {
        let private_key = samples::private_key_of("p-256");
        let der = samples::csr(&private_key, &["-utf8", "-subj", "/CN=Zoë/O=王小明/O=ci\\/deploy-1"]);
        let request = CertRequest::parse(&der).unwrap();
        assert_eq!(request.user().as_str(), "Zoë");
        assert_eq!(groups(&request), ["王小明", "ci/deploy-1"]);
    }

    #[test]
    fn printable_strings_are_read() {
        let printable = |object, value: &str| set(&[attribute(object, 0x13, value.as_bytes())]);
        let subject = seq(&[printable(CN, "alice '()+,-./:=?9"), printable(O, "system:masters")]);
        let request = CertRequest::parse(&Signer::new().request_for(&subject)).unwrap();
        assert_eq!(request.user().as_str(), "alice '()+,-./:=?9");
        assert_eq!(groups(&request), ["system:masters"]);
    }

    #[test]
    fn several_groups_in_one_rdn_as_go_writes_them_are_read_in_order() {
        let both =
            set(&[attribute(O, UTF8, b"dev"), attribute(O, UTF8, b"ops"), attribute(O, UTF8, b"admins")]);
        let subject = seq(&[both, cn("alice")]);
        let request = CertRequest::parse(&Signer::new().request_for(&subject)).unwrap();
        assert_eq!(groups(&request), ["dev", "ops", "admins"]);
    }

    #[test]
    fn pythons_several_groups_in_one_rdn_are_read() {
        let script = r#"
import sys
from cryptography import x509
from cryptography.x509.oid import NameOID as N
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
name = x509.Name([
x509.RelativeDistinguishedName([x509.NameAttribute(N.COMMON_NAME, "alice")]),
x509.RelativeDistinguishedName([x509.NameAttribute(N.ORGANIZATION_NAME, v) for v in ("ops", "dev")]),
])
csr = (x509.CertificateSigningRequestBuilder().subject_name(name)
.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), False)
.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"secret")
.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()))
sys.stdout.buffer.write(csr.public_bytes(serialization.Encoding.DER))
"#;
        let request = CertRequest::parse(&samples::run("python3", &["-c", script], b"")).unwrap();
        assert_eq!(groups(&request), ["dev", "ops"]);
        assert_eq!(request.warnings().len(), 1);
    }

    #[test]
    fn attributes_that_tools_add_are_dropped_and_named_once() {
        let private_key = samples::private_key_of("p-256");
        let subject =
            "/C=DE/ST=Bayern/L=Bad Tölz/OU=Unit/OU=Two/DC=corp/CN=alice/O=dev/emailAddress=a@b.example";
        let der = samples::csr(&private_key, &["-utf8", "-subj", subject]);
        let request = CertRequest::parse(&der).unwrap();
        assert_eq!(groups(&request), ["dev"]);
        let named: Vec<&str> = request.warnings().iter().map(|w| w.split(' ').nth(2).unwrap()).collect();
        assert_eq!(named, ["C", "ST", "L", "OU", "DC", "emailAddress"]);
    }

    #[test]
    fn dropped_attributes_may_be_of_any_string_type_even_empty() {
        let unit = |tag, value: &[u8]| set(&[attribute(&[0x55, 4, 11], tag, value)]);
        for tag in [0x0c, 0x12, 0x13, 0x14, 0x16, 0x1a, 0x1c, 0x1e] {
            assert_eq!(subject_code(&[unit(tag, b"\xff\0"), unit(tag, b""), cn("a")]), "accepted");
        }
        for (tag, value) in [(der::INTEGER, vec![1]), (der::SEQUENCE, vec![]), (UTF8, vec![b'a'; 4097])] {
            assert_eq!(subject_code(&[unit(tag, &value), cn("a")]), "csr_malformed");
        }
    }

    #[test]
    fn repeated_groups_are_taken_once_with_a_warning() {
        let subject = seq(&[o("dev"), cn("alice"), o("ops"), o("dev"), o("dev")]);
        let request = CertRequest::parse(&Signer::new().request_for(&subject)).unwrap();
        assert_eq!(groups(&request), ["dev", "ops"]);
        assert_eq!(request.warnings(), ["the group `dev` is in the CSR more than once and taken once"]);
    }

    #[test]
    fn a_hundred_groups_are_read_and_one_more_is_refused() {
        let many = |count: usize| {
            let rdns: Vec<Vec<u8>> = (0..count).map(|n| o(&format!("g{}", n % 101))).collect();
            code(&Signer::new().request_for(&seq(&[&[cn("alice")], &rdns[..]].concat())))
        };
        assert_eq!(many(100), "accepted");
        assert_eq!(many(101), "csr_too_many_groups");
        let hundred: Vec<Vec<u8>> = (0..1000).map(|n| o(&format!("g{}", n % 100))).collect();
        let request = Signer::new().request_for(&seq(&[&[cn("alice")], &hundred[..]].concat()));
        assert_eq!(CertRequest::parse(&request).unwrap().groups().len(), 100);
    }

    #[test]
    fn requested_extensions_are_ignored_and_those_that_matter_are_named() {
        let private_key = samples::private_key_of("p-256");
        let extensions = [
            "subjectAltName=DNS:example.com",
            "keyUsage=critical,keyCertSign",
            "extendedKeyUsage=serverAuth",
            "basicConstraints=critical,CA:TRUE",
            "subjectKeyIdentifier=hash",
            "1.2.3.4=ASN1:UTF8String:odd",
        ];
        let arguments = extensions.iter().flat_map(|extension| ["-addext", extension]);
        let arguments: Vec<&str> = ["-subj", "/CN=alice"].into_iter().chain(arguments).collect();
        let request = CertRequest::parse(&samples::csr(&private_key, &arguments)).unwrap();
        let expected = "extensions requested in the CSR (subjectAltName, keyUsage, extendedKeyUsage, \
            basicConstraints CA:TRUE) are ignored: the certificate has this service's own";
        assert_eq!(request.warnings(), [expected]);
    }

    #[test]
    fn extensions_that_change_nothing_are_ignored_in_silence() {
        let private_key = samples::private_key_of("p-256");
        for extension in ["subjectKeyIdentifier=hash", "basicConstraints=CA:FALSE", "1.2.3.4=ASN1:NULL"] {
            let der = samples::csr(&private_key, &["-subj", "/CN=alice", "-addext", extension]);
            assert_eq!(CertRequest::parse(&der).unwrap().warnings(), [""; 0], "{extension}");
        }
    }

    #[test]
    fn challenge_passwords_and_what_windows_adds_are_tolerated() {
        let template = extension(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2], &[0x1e, 2, 0, b'U']);
        let der = attributes_of(&[
            csr_attribute(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 13, 2, 3], &[tlv(0x16, b"10.0.17763.2")]),
            csr_attribute(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 21, 20], &[seq(&[build::unsigned(&[5])])]),
            csr_attribute(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 13, 2, 2], &[seq(&[build::unsigned(&[1])])]),
            csr_attribute(MICROSOFT_REQUEST, &[seq(&[template])]),
            csr_attribute(CHALLENGE, &[tlv(UTF8, b"secret")]),
        ]);
        assert_eq!(CertRequest::parse(&der).unwrap().warnings(), [""; 0]);
    }

    #[test]
    fn an_extension_request_that_cannot_be_read_is_ignored() {
        for value in [tlv(UTF8, b"x"), seq(&[tlv(UTF8, b"x")]), seq(&[seq(&[])]), tlv(5, b"")] {
            assert_eq!(code(&attributes_of(&[csr_attribute(EXTENSION_REQUEST, &[value])])), "accepted");
        }
    }

    #[test]
    fn keytools_requests_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.p12");
        let store = ["-keystore", store.to_str().unwrap(), "-storepass", "changeit", "-alias", "a"];
        let name = "CN=alice, OU=Unit, O=dev, L=Town, ST=State, C=DE";
        let generate = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", name];
        samples::run("keytool", &[&generate[..], &store].concat(), b"");
        let pem = samples::run("keytool", &[&["-certreq"][..], &store].concat(), b"");
        let der = crate::pki::pem::csr_der(&crate::pki::pem::Keyless::search(pem).unwrap()).unwrap();
        let request = CertRequest::parse(&der).unwrap();
        assert_eq!((request.user().as_str(), groups(&request)), ("alice", vec!["dev"]));
        assert_eq!(request.warnings().len(), 4);
    }
}

mod subject {
    use super::*;

    #[test]
    fn exactly_one_common_name_is_needed() {
        assert_eq!(subject_code(&[]), "csr_subject_empty");
        assert_eq!(subject_code(&[o("dev")]), "csr_cn_missing");
        assert_eq!(subject_code(&[cn("alice"), cn("alice")]), "csr_cn_repeated");
        assert_eq!(subject_code(&[cn("alice"), o("dev"), cn("root")]), "csr_cn_repeated");
    }

    #[test]
    fn an_rdn_of_several_attributes_other_than_o_is_refused() {
        let (user, group) = (attribute(CN, UTF8, b"alice"), attribute(O, UTF8, b"dev-ops"));
        assert_eq!(subject_code(&[set(&[user.clone(), group.clone()])]), "csr_rdn_multi_valued");
        assert_eq!(subject_code(&[set(&[group.clone(), user.clone()])]), "csr_rdn_multi_valued");
        assert_eq!(subject_code(&[set(&[user.clone(), user.clone()])]), "csr_rdn_multi_valued");
        let unit = attribute(&[0x55, 4, 11], UTF8, b"dev-ops");
        assert_eq!(subject_code(&[cn("a"), set(&[group.clone(), unit.clone()])]), "csr_rdn_multi_valued");
        assert_eq!(subject_code(&[cn("a"), set(&[unit.clone(), unit])]), "csr_rdn_multi_valued");
    }

    #[test]
    fn an_empty_rdn_anywhere_is_refused() {
        assert_eq!(subject_code(&[set(&[])]), "csr_malformed");
        assert_eq!(subject_code(&[set(&[]), cn("alice"), o("dev")]), "csr_malformed");
        assert_eq!(subject_code(&[cn("alice"), set(&[])]), "csr_malformed");
    }

    #[test]
    fn an_rdn_out_of_order_is_refused() {
        let swapped = set(&[attribute(O, UTF8, b"ops"), attribute(O, UTF8, b"dev")]);
        assert_eq!(subject_code(&[cn("alice"), swapped]), "csr_malformed");
    }

    #[test]
    fn other_string_types_are_refused_for_cn_and_o() {
        let wide: Vec<u8> = "system:masters".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for object in [CN, O] {
            for (tag, value) in [
                (0x14, &b"system:masters"[..]),
                (0x16, b"system:masters"),
                (0x1a, b"system:masters"),
                (0x12, b"12"),
                (0x1c, b"\0\0\0s"),
                (0x1e, &wide),
                (der::OCTET_STRING, b"alice"),
                (der::BIT_STRING, b"\0alice"),
                (der::SEQUENCE, b""),
                (5, b""),
                (0x8c, b"alice"),
                (0x2c, b"\x0c\x01a"),
            ] {
                let rdns = [set(&[attribute(object, tag, value)]), cn("alice")];
                assert_eq!(subject_code(&rdns), "csr_string_type_not_accepted", "{tag:02x}");
            }
        }
    }

    #[test]
    fn bytes_outside_their_string_type_are_refused() {
        for (tag, value) in [
            (0x13, &b"a*b"[..]),
            (0x13, b"a@b"),
            (0x13, b"a&b"),
            (0x13, b"a_b"),
            (0x13, b"a\0b"),
            (0x13, "é".as_bytes()),
            (UTF8, b"a\xff"),
            (UTF8, b"\xc0\x80"),
            (UTF8, b"\xed\xa0\x80"),
            (UTF8, b"caf\xe9"),
        ] {
            let rdns = [set(&[attribute(CN, tag, value)])];
            assert_eq!(subject_code(&rdns), "csr_string_type_not_accepted", "{value:02x?}");
        }
    }

    #[test]
    fn names_that_break_a_rule_are_refused_and_shown_escaped_and_cut() {
        let long = "a".repeat(254);
        for (value, expected) in [
            ("", "name_empty"),
            (long.as_str(), "name_too_long"),
            (" alice", "name_space_at_end"),
            ("al\0ice", "name_character_not_accepted"),
            ("\u{202e}ecila", "name_character_not_accepted"),
            ("al\u{200d}ice", "name_character_not_accepted"),
            ("al\u{ad}ice", "name_character_not_accepted"),
            ("al\u{e000}ice", "name_character_not_accepted"),
            ("al\u{378}ice", "name_character_not_accepted"),
            ("al\u{2028}ice", "name_character_not_accepted"),
            ("Zoe\u{308}", "name_not_nfc"),
        ] {
            assert_eq!(subject_code(&[cn(value)]), expected, "{value:?}");
            assert_eq!(subject_code(&[cn("alice"), o(value)]), expected, "{value:?}");
            let request = Signer::new().request_for(&seq(&[cn(value)]));
            let message = CertRequest::parse(&request).unwrap_err().to_string();
            assert!(message.len() < 300 && !message.contains(char::is_control), "{message}");
            assert!(!message.contains(['\u{202e}', '\u{200d}', '\u{2028}']), "{message}");
        }
    }

    #[test]
    fn attributes_that_kubernetes_or_a_reader_could_use_are_refused() {
        let uid = [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1];
        let kubernetes_uid = [0x2b, 6, 1, 4, 1, 0x83, 0xc2, 0x53, 2];
        let others: [&[u8]; 7] = [
            &uid,
            &kubernetes_uid,
            &[0x55, 4, 5],
            &[0x55, 4, 42],
            &[0x55, 4, 0x80, 3],
            &[0x55, 4, 10, 1],
            &[],
        ];
        for object in others {
            let rdns = [cn("alice"), set(&[attribute(object, UTF8, b"root")])];
            assert_eq!(subject_code(&rdns), "csr_subject_attribute_not_accepted", "{object:02x?}");
        }
        let request = Signer::new().request_for(&seq(&[set(&[attribute(&kubernetes_uid, UTF8, b"0")])]));
        let message = CertRequest::parse(&request).unwrap_err().to_string();
        assert!(message.contains("1.3.6.1.4.1.57683.2"), "{message}");
    }

    #[test]
    fn subjects_of_another_shape_are_refused() {
        let value = attribute(CN, UTF8, b"alice");
        let extra = seq(&[oid(CN), tlv(UTF8, b"alice"), tlv(UTF8, b"root")]);
        for rdns in
            [vec![value.clone()], vec![set(&[extra])], vec![seq(&[value])], vec![tlv(UTF8, b"CN=alice")]]
        {
            assert_eq!(subject_code(&rdns), "csr_malformed");
        }
    }
}

mod structure {
    use super::*;

    fn good() -> Vec<u8> {
        Signer::new().request_for(&seq(&[cn("alice"), o("dev")]))
    }

    #[test]
    fn bytes_after_or_missing_at_the_end_are_refused() {
        let good = good();
        assert_eq!(code(&good), "accepted");
        assert_eq!(code(&[&good[..], b"\n"].concat()), "csr_malformed");
        assert_eq!(code(&[&good[..], &good[..]].concat()), "csr_malformed");
        for length in 0..good.len() {
            assert_eq!(code(&good[..length]), "csr_malformed");
        }
    }

    #[test]
    fn other_versions_are_refused() {
        let subject = seq(&[cn("alice")]);
        for version in [&[2, 1, 1][..], &[2, 1, 2], &[2, 1, 0xff], &[2, 2, 0, 0], &[2, 0]] {
            let der = Signer::new().request(version, &subject, &[der::CONTEXT_0, 0]);
            assert_eq!(code(&der), "csr_version_not_accepted", "{version:02x?}");
        }
        let der = Signer::new().request(&[], &subject, &[der::CONTEXT_0, 0]);
        assert_eq!(code(&der), "csr_malformed");
    }

    #[test]
    fn lengths_that_der_forbids_are_refused() {
        let good = good();
        let content = &good[4..];
        assert_eq!(good[1], 0x82.min(good[1]));
        let outer = der::only(&good, der::SEQUENCE).unwrap();
        let length = u16::try_from(outer.value.len()).unwrap().to_be_bytes();
        let padded = [&[0x30, 0x83, 0, length[0], length[1]], outer.value].concat();
        let indefinite = [&[0x30, 0x80], outer.value, &[0, 0]].concat();
        for bad in [padded, indefinite, content.to_vec()] {
            assert_eq!(code(&bad), "csr_malformed");
        }
    }

    #[test]
    fn a_padded_length_inside_a_well_signed_request_is_refused() {
        let signer = Signer::new();
        let padded = [&[0x31, 0x81, 0x10][..], &attribute(CN, UTF8, b"alice!!")].concat();
        assert_eq!(padded[2], u8::try_from(padded.len() - 3).unwrap());
        assert_eq!(code(&signer.request_for(&seq(&[padded]))), "csr_malformed");
    }

    #[test]
    fn missing_and_additional_fields_are_refused() {
        let signer = Signer::new();
        let subject = seq(&[cn("alice")]);
        let parts = [VERSION.to_vec(), subject.clone(), signer.spki.clone(), vec![der::CONTEXT_0, 0]];
        assert_eq!(code(&signer.sign(&seq(&parts))), "accepted");
        assert_eq!(code(&signer.sign(&seq(&parts[..3]))), "csr_malformed");
        let extra = [&parts[..], &[vec![der::CONTEXT_1, 0]]].concat();
        assert_eq!(code(&signer.sign(&seq(&extra))), "csr_malformed");
        let attributes_as_set = [&parts[..3], &[vec![der::SET, 0]]].concat();
        assert_eq!(code(&signer.sign(&seq(&attributes_as_set))), "csr_malformed");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut nested = vec![5, 0];
        while nested.len() < 60_000 {
            nested = tlv(der::SEQUENCE, &nested);
            if nested.len() > 20_000 {
                break;
            }
        }
        assert_eq!(code(&nested), "csr_malformed");
        assert_eq!(code(&[0x30, 0x80].repeat(30_000)), "csr_malformed");
        assert_eq!(code(&vec![0x30; 65_537]), "body_too_large");
    }
}

mod request_attributes {
    use super::*;

    #[test]
    fn a_second_extension_request_of_either_kind_is_refused() {
        let request = |object| csr_attribute(object, &[seq(&[extension(&[0x55, 0x1d, 14], &[4, 0])])]);
        for pair in [
            [request(EXTENSION_REQUEST), request(EXTENSION_REQUEST)],
            [request(MICROSOFT_REQUEST), request(MICROSOFT_REQUEST)],
            [request(EXTENSION_REQUEST), request(MICROSOFT_REQUEST)],
        ] {
            assert_eq!(code(&attributes_of(&pair)), "csr_extension_requests_not_accepted");
        }
    }

    #[test]
    fn an_extension_request_has_exactly_one_value() {
        let two = csr_attribute(EXTENSION_REQUEST, &[seq(&[]), seq(&[])]);
        assert_eq!(code(&attributes_of(&[two])), "csr_extension_requests_not_accepted");
        let none = csr_attribute(EXTENSION_REQUEST, &[]);
        assert_eq!(code(&attributes_of(&[none])), "csr_malformed");
    }

    #[test]
    fn repeated_and_too_many_attributes_are_refused() {
        let challenge = csr_attribute(CHALLENGE, &[tlv(UTF8, b"secret")]);
        let twice = attributes_of(&[challenge.clone(), challenge]);
        assert_eq!(code(&twice), "csr_attributes_not_accepted");
        let many = |count: u8| {
            let each = (0..count).map(|n| csr_attribute(&[0x2a, n], &[tlv(UTF8, b"x")]));
            code(&attributes_of(&each.collect::<Vec<_>>()))
        };
        assert_eq!((many(32), many(33)), ("accepted", "csr_attributes_not_accepted"));
    }

    #[test]
    fn attributes_of_another_shape_are_refused() {
        for bad in [
            seq(&[oid(CHALLENGE)]),
            seq(&[oid(CHALLENGE), tlv(UTF8, b"x")]),
            seq(&[oid(CHALLENGE), set(&[vec![0x0c, 5, b'x']])]),
            set(&[]),
            vec![0x30],
            csr_attribute(&[0x2a, 0x86, 0x86, 0x48, 0xf7], &[tlv(UTF8, b"an arc without an end")]),
            csr_attribute(&[0x2a, 0x80, 0x01], &[tlv(UTF8, b"a padded arc")]),
            csr_attribute(&[], &[tlv(UTF8, b"no arc")]),
        ] {
            assert_eq!(code(&attributes_of(&[bad])), "csr_malformed");
        }
    }
}

mod signature {
    use super::*;

    #[test]
    fn every_changed_bit_is_refused() {
        let good = Signer::new().request_for(&seq(&[cn("alice"), o("dev")]));
        for bit in 0..good.len() * 8 {
            let mut changed = good.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(code(&changed), "accepted", "bit {bit}");
        }
    }

    #[test]
    fn a_signature_of_another_key_or_request_is_refused() {
        let (one, other) = (Signer::new(), Signer::new());
        let subject = seq(&[cn("alice")]);
        let info = seq(&[VERSION.to_vec(), subject, one.spki.clone(), vec![der::CONTEXT_0, 0]]);
        assert_eq!(code(&one.sign(&info)), "accepted");
        assert_eq!(code(&other.sign(&info)), "signature_invalid");
    }

    #[test]
    fn broken_hashes_are_refused_with_the_option_to_use() {
        let private_key = samples::private_key_of("rsa-2048");
        for (hash, name) in [("-sha1", "SHA-1"), ("-md5", "MD5"), ("-sha224", "SHA-224")] {
            let der = samples::csr(&private_key, &["-subj", "/CN=alice", hash]);
            let error = CertRequest::parse(&der).unwrap_err();
            assert_eq!(error.code(), "signature_algorithm_not_accepted");
            assert!(error.to_string().contains(name) && error.to_string().contains("-sha256"), "{error}");
        }
        let der = samples::csr(&samples::private_key_of("p-256"), &["-subj", "/CN=alice", "-sha1"]);
        assert_eq!(code(&der), "signature_algorithm_not_accepted");
    }

    /// The request with its signature algorithm replaced.
    fn signed_as(der: &[u8], algorithm: Vec<u8>) -> Vec<u8> {
        let outer = Outer::read(der).unwrap();
        seq(&[outer.info.raw.to_vec(), algorithm, build::bits(outer.signature)])
    }

    #[test]
    fn the_algorithm_must_be_the_one_that_was_used_with_its_own_parameters() {
        let der = Signer::new().request_for(&seq(&[cn("alice")]));
        let ecdsa = |last: u8| oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last]);
        let rsa = |last: u8| oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last]);
        for (algorithm, expected) in [
            (seq(&[ecdsa(2)]), "accepted"),
            (seq(&[ecdsa(3)]), "signature_invalid"),
            (seq(&[ecdsa(2), build::NULL.to_vec()]), "signature_algorithm_not_accepted"),
            (seq(&[ecdsa(1)]), "signature_algorithm_not_accepted"),
            (seq(&[ecdsa(2), ecdsa(2), ecdsa(2)]), "signature_algorithm_not_accepted"),
            (seq(&[]), "signature_algorithm_not_accepted"),
            (seq(&[rsa(11), build::NULL.to_vec()]), "signature_invalid"),
            (seq(&[rsa(11)]), "signature_invalid"),
            (seq(&[oid(&[0x2b, 0x65, 0x70])]), "signature_invalid"),
            (seq(&[oid(&[0x2b, 0x65, 0x71])]), "signature_algorithm_not_accepted"),
        ] {
            assert_eq!(code(&signed_as(&der, algorithm.clone())), expected, "{algorithm:02x?}");
        }
    }

    #[test]
    fn rsa_signatures_have_null_parameters_or_none() {
        let der = samples::csr(&samples::private_key_of("rsa-2048"), &["-subj", "/CN=alice"]);
        let sha256_with_rsa = oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]);
        let with =
            |parameters: &[u8]| code(&signed_as(&der, seq(&[sha256_with_rsa.clone(), parameters.to_vec()])));
        assert_eq!((with(&[5, 0]), with(&[])), ("accepted", "accepted"));
        for other in [&[0x30, 0][..], &[5, 1, 0], &[4, 0]] {
            assert_eq!(with(other), "signature_algorithm_not_accepted", "{other:02x?}");
        }
    }

    #[test]
    fn a_signature_that_anyone_can_write_under_a_small_order_key_is_refused() {
        // With the neutral element as key and R, and S = 0, every message verifies.
        let neutral = [&[1][..], &[0; 31]].concat();
        let algorithm = seq(&[oid(&[0x2b, 0x65, 0x70])]);
        let spki = seq(&[algorithm.clone(), build::bits(&neutral)]);
        let info = seq(&[VERSION.to_vec(), seq(&[cn("alice")]), spki, vec![der::CONTEXT_0, 0]]);
        let forged = seq(&[info, algorithm, build::bits(&[&neutral[..], &[0; 32]].concat())]);
        assert_eq!(code(&forged), "key_weak");
    }

    #[test]
    fn weak_and_other_keys_of_openssl_are_refused_by_code() {
        let rsa = |options: &[&str]| samples::private_key("RSA", options);
        for (private_key, expected) in [
            (rsa(&["rsa_keygen_bits:1024"]), "key_size_not_accepted"),
            (rsa(&["rsa_keygen_bits:2056"]), "key_size_not_accepted"),
            (rsa(&["rsa_keygen_bits:2048", "rsa_keygen_pubexp:3"]), "key_weak"),
            (samples::private_key("EC", &["ec_paramgen_curve:secp256k1"]), "key_kind_not_accepted"),
            (samples::private_key("ED448", &[]), "signature_algorithm_not_accepted"),
        ] {
            assert_eq!(code(&samples::csr(&private_key, &["-subj", "/CN=alice"])), expected);
        }
    }

    #[test]
    fn a_prime_modulus_is_refused_though_its_signature_verifies() {
        let script = r#"
import sys
from hashlib import sha256
n, e, info = int(sys.argv[1], 16), 65537, sys.stdin.buffer.read()
prefix = bytes.fromhex("3031300d060960864801650304020105000420")
padded = (b"\0\1" + b"\xff" * (256 - 3 - len(prefix) - 32) + b"\0" + prefix + sha256(info).digest())
signature = pow(int.from_bytes(padded, "big"), pow(e, -1, n - 1), n)
sys.stdout.buffer.write(signature.to_bytes(256, "big"))
"#;
        let modulus = samples::prime(2048);
        let rsa =
            |last: u8| seq(&[oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last]), build::NULL.to_vec()]);
        let key = seq(&[build::unsigned(&modulus), build::unsigned(&[1, 0, 1])]);
        let spki = seq(&[rsa(1), build::bits(&key)]);
        let info = seq(&[VERSION.to_vec(), seq(&[cn("alice")]), spki, vec![der::CONTEXT_0, 0]]);
        let hex = num_bigint::BigUint::from_bytes_be(&modulus).to_str_radix(16);
        let signature = samples::run("python3", &["-c", script, &hex], &info);
        let error = CertRequest::parse(&seq(&[info, rsa(11), build::bits(&signature)])).unwrap_err();
        assert_eq!(error.to_string().split(':').next(), Some("the key is weak, its modulus is a prime"));
    }
}

#[test]
fn an_accepted_request_says_the_same_to_other_readers() {
    use x509_cert::der::{Decode as _, Encode as _};
    let private_key = samples::private_key_of("p-384");
    for subject in ["/CN=alice/O=dev/O=ops", "/O=x/CN=bob/O=y", "/C=DE/CN=Z/OU=u"] {
        let der = samples::csr(&private_key, &["-subj", subject, "-addext", "subjectAltName=DNS:a.example"]);
        let request = CertRequest::parse(&der).unwrap();
        let other = x509_cert::request::CertReq::from_der(&der).unwrap();
        assert_eq!(other.to_der().unwrap(), der);
        let text = other.info.subject.to_string();
        let named: BTreeSet<&str> = text.split(',').filter_map(|part| part.strip_prefix("O=")).collect();
        assert_eq!(named, request.groups().iter().map(Name::as_str).collect());
        assert!(text.contains(&format!("CN={}", request.user())), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_request_or_not_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(CertRequest::parse(&bytes).is_err());
    }

    #[test]
    fn any_subject_and_attributes_are_judged_without_a_panic(subject: Vec<u8>, attributes: Vec<u8>) {
        let subject = tlv(der::SEQUENCE, &subject);
        let attributes = tlv(der::CONTEXT_0, &attributes);
        let _ = CertRequest::parse(&Signer::new().request(&VERSION, &subject, &attributes));
    }

    #[test]
    fn an_accepted_name_is_the_one_that_was_asked(user in ".{0,12}", group in "\\PC{1,12}") {
        let request = Signer::new().request_for(&seq(&[cn(&user), o(&group)]));
        match CertRequest::parse(&request) {
            Ok(request) => {
                prop_assert_eq!(request.user().as_str(), user);
                prop_assert_eq!(request.groups()[0].as_str(), group);
            }
            Err(error) => prop_assert!(matches!(error, CsrError::Name { .. }), "{}", error),
        }
    }
}
