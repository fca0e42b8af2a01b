"""Every sound request is signed, whatever made it; what it asks for beyond a key and names is never copied."""

import der
import pytest
import requests_by_openssl as openssl_made
import requests_by_python as python_made
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

EVERY_KEY = ["rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384", "p-521", "ed25519"]
WEAK_KEYS = ["rsa-1024", "rsa-2047", "rsa-2048-e3", "p-224", "secp256k1", "p-256-explicit", "ed448"]


@pytest.mark.parametrize("count", [0, 1, 3, 40, 100])
def test_every_group_is_in_the_certificate_in_order(signed, tmp_path, count):
    groups = [f"team-{(number * 37) % 101}" for number in range(count)]
    signed(openssl_made.new_request(tmp_path, "alice", *groups), "alice", *groups)


def test_a_hundred_and_one_groups_are_refused(server, tmp_path):
    csr = openssl_made.new_request(tmp_path, "alice", *(f"g{number}" for number in range(101)))
    server.sign(server.alice, csr).problem(422)


def test_a_repeated_group_is_taken_once_with_a_warning(signed, tmp_path):
    answer = signed(openssl_made.new_request(tmp_path, "alice", "dev", "ops", "dev"), "alice", "dev", "ops")
    assert any("dev" in warning for warning in answer["warnings"])


@pytest.mark.parametrize("kind", EVERY_KEY)
def test_every_kind_of_key_is_signed(signed, tmp_path, kind):
    signed(openssl_made.new_request(tmp_path, "alice", "dev", kind=kind), "alice", "dev")


@pytest.mark.parametrize("kind", WEAK_KEYS)
def test_a_weak_or_odd_key_is_refused(server, tmp_path, kind):
    csr = openssl_made.new_request(tmp_path, "alice", "dev", kind=kind)
    server.sign(server.alice, csr).problem(422)


@pytest.mark.parametrize("kind", ["p-384", "p-521"])
@pytest.mark.parametrize("digest", ["-sha256", "-sha384", "-sha512"])
def test_the_digest_need_not_fit_the_curve(signed, tmp_path, kind, digest):
    key = openssl_made.key(tmp_path, kind)
    signed(openssl_made.request(key, "/CN=alice/O=dev", digest), "alice", "dev")


def test_rsa_with_sha512_is_signed(signed, tmp_path):
    key = openssl_made.key(tmp_path, "rsa-2048")
    signed(openssl_made.request(key, "/CN=alice/O=dev", "-sha512"), "alice", "dev")


@pytest.mark.parametrize("kind", ["rsa-2048", "p-256"])
def test_a_sha1_signature_is_refused(server, tmp_path, kind):
    csr = openssl_made.request(openssl_made.key(tmp_path, kind), "/CN=alice/O=dev", "-sha1")
    server.sign(server.alice, csr).problem(422)


def test_a_request_whose_signature_does_not_verify_is_refused(server):
    key = python_made.new_key()
    broken = python_made.with_broken_signature(python_made.request(key, "alice", "dev"))
    server.sign(server.alice, broken).problem(422)


def test_go_puts_every_group_into_one_rdn(signed):
    # Go sorts them, as DER does with a SET OF; the order that is encoded is the order that is kept.
    csr = python_made.request_as_go(python_made.new_key(), "alice", "a", "bb", "ccc")
    signed(csr, "alice", "a", "bb", "ccc")


def test_printable_strings_are_read(signed):
    name = der.rdn(der.attribute(der.COMMON_NAME, "alice", der.PRINTABLE))
    group = der.rdn(der.attribute(der.ORGANIZATION, "dev team", der.PRINTABLE))
    signed(python_made.request_with_name(python_made.new_key(), name, group), "alice", "dev team")


def test_names_outside_ascii_survive(signed, tmp_path):
    # A pattern's `*` stands for printable ASCII, so the row names this group itself.
    csr = openssl_made.new_request(tmp_path, "alice", "gebühren-größe")
    signed(csr, "alice", "gebühren-größe")


@pytest.mark.parametrize(
    "dropped", ["C=DE", "ST=Hessen", "L=Frankfurt", "OU=unit", "DC=example", "emailAddress=a@example.com"]
)
def test_other_attributes_are_dropped_and_named(signed, tmp_path, dropped):
    csr = openssl_made.request(openssl_made.key(tmp_path), f"/{dropped}/CN=alice/O=dev")
    answer = signed(csr, "alice", "dev")
    kind = dropped.split("=")[0]
    assert any(kind.lower() in warning.lower() for warning in answer["warnings"]), answer["warnings"]


@pytest.mark.parametrize(
    "rdns",
    [
        pytest.param(["/O=dev"], id="no common name"),
        pytest.param(["/CN=alice/CN=alice"], id="two common names"),
        pytest.param(["/CN=alice/UID=0"], id="a user id"),
        pytest.param(["/CN=alice/serialNumber=1"], id="another attribute"),
    ],
)
def test_a_subject_that_says_too_little_or_too_much_is_refused(server, tmp_path, rdns):
    csr = openssl_made.request(openssl_made.key(tmp_path), rdns[0])
    server.sign(server.alice, csr).problem(422)


def test_an_rdn_of_name_and_group_is_refused(server):
    mixed = der.rdn(der.attribute(der.COMMON_NAME, "alice"), der.attribute(der.ORGANIZATION, "dev"))
    csr = python_made.request_with_name(python_made.new_key(), mixed)
    server.sign(server.alice, csr).problem(422)


def test_an_empty_first_rdn_is_refused(server):
    name = der.rdn(der.attribute(der.COMMON_NAME, "alice"))
    csr = python_made.request_with_name(python_made.new_key(), der.tlv(der.SET, b""), name)
    server.sign(server.alice, csr).problem(422)


EXTENSIONS = {
    "subject alternative names": [(x509.SubjectAlternativeName([x509.DNSName("kubernetes.default")]), False)],
    "a CA": [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.KeyUsage(True, True, True, True, True, True, True, False, False), True),
    ],
    "server authentication": [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), True)
    ],
    "a key identifier": [(x509.SubjectKeyIdentifier(b"\0" * 20), False)],
    "an unknown critical one": [
        (x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.57683.2"), b"\x0c\x04root"), True)
    ],
    "a Microsoft template": [
        (x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.311.20.2"), b"\x1e\x06\0C\0A\0X"), False)
    ],
}


@pytest.mark.parametrize("asked", EXTENSIONS.values(), ids=EXTENSIONS.keys())
def test_no_extension_that_is_asked_for_is_copied(signed, asked):
    csr = python_made.request_with_extensions(python_made.new_key(), "alice", *asked)
    signed(csr, "alice")


OPENSSL_CONFIG = """
[req]
prompt = no
distinguished_name = dn
attributes = attributes
req_extensions = wishes
[dn]
CN = alice
O = dev
[attributes]
challengePassword = secret-challenge
unstructuredName = a printer
[wishes]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
extendedKeyUsage = serverAuth, codeSigning
subjectKeyIdentifier = hash
subjectAltName = DNS:kubernetes, IP:10.0.0.1, email:root@example.com
nsComment = made by hand
certificatePolicies = 1.2.3.4
1.2.3.4.5 = ASN1:UTF8String:anything
"""


def test_an_openssl_configuration_full_of_wishes_is_signed_and_none_is_granted(signed, tmp_path):
    csr = openssl_made.request_by_config(tmp_path, openssl_made.key(tmp_path), OPENSSL_CONFIG)
    answer = signed(csr, "alice", "dev")
    assert "secret-challenge" not in str(answer)


def test_one_key_for_two_users_is_refused(server, tmp_path):
    key = openssl_made.key(tmp_path)
    server.sign(server.alice, openssl_made.request(key, "/CN=shape-one")).issued()
    refused = server.sign(server.alice, openssl_made.request(key, "/CN=shape-two")).problem(422, "key_owned")
    assert "new" in refused["detail"]


def test_the_key_of_the_ca_itself_is_refused(server, authority):
    csr = openssl_made.request(authority.key, "/CN=alice")
    server.sign(server.alice, csr).problem(422, "key_is_a_ca_key")
