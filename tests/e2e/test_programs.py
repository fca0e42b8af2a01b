"""Every sound request is signed, whatever program or library made it: nobody is told to use another one."""

from pathlib import Path

import certificates
import der
import pytest
import requests_by_openssl as openssl_made
import requests_by_programs as programs
import requests_by_python as python_made
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import AttributeOID, NameOID

GO = [
    "several groups in one RDN", "P-384", "P-521", "Ed25519", "RSA", "RSA-PSS", "alternative names",
    "extra extensions", "no group",
]  # fmt: skip
JAVASCRIPT = [
    "@peculiar/x509, P-256", "@peculiar/x509, P-384", "@peculiar/x509, RSA", "@peculiar/x509, RSA-PSS",
    "@peculiar/x509, Ed25519", "@peculiar/x509, wishes", "pkijs, P-256", "pkijs, P-384", "pkijs, RSA",
    "pkijs, RSA-PSS", "pkijs, a key identifier", "pkijs, no group", "node-forge", "node-forge, SHA-512", "node-forge, wishes",
]  # fmt: skip
JOINED = "pkijs, joined"


@pytest.fixture(scope="module")
def made_by_go() -> dict[str, bytes]:
    return programs.by_go()


@pytest.fixture(scope="module")
def made_by_javascript() -> dict[str, bytes]:
    return programs.by_javascript()


def test_every_request_of_the_two_programs_is_tried(made_by_go, made_by_javascript):
    assert set(made_by_go) == set(GO) and set(made_by_javascript) == {*JAVASCRIPT, JOINED}


@pytest.mark.parametrize("name", GO)
def test_requests_of_go_are_signed(signed, made_by_go, name):
    # Go writes one RDN with every group, in the order of their encodings.
    groups = [] if name == "no group" else ["dev", "ops", "a longer one"]
    signed(made_by_go[name], "alice", *groups)


@pytest.mark.parametrize("name", JAVASCRIPT)
def test_requests_of_browsers_libraries_are_signed(signed, made_by_javascript, name):
    groups = [] if name == "pkijs, no group" else ["dev", "ops"]
    signed(made_by_javascript[name], "alice", *groups)


def test_a_name_that_a_library_joined_into_one_rdn_is_refused_with_what_to_change(server, made_by_javascript):
    refused = server.sign(server.alice, made_by_javascript[JOINED]).problem(422, "csr_rdn_multi_valued")
    assert "an RDN of its own" in refused["detail"]


KEYTOOL = {
    "RSA": ("-keyalg", "RSA", "-keysize", "2048"),
    "P-256": ("-keyalg", "EC", "-groupname", "secp256r1"),
    "P-384": ("-keyalg", "EC", "-groupname", "secp384r1"),
    "Ed25519": ("-keyalg", "Ed25519"),
    "RSA signed with PSS": ("-keyalg", "RSA", "-keysize", "2048", "-sigalg", "RSASSA-PSS"),
}


@pytest.mark.parametrize("options", KEYTOOL.values(), ids=KEYTOOL.keys())
def test_requests_of_keytool_are_signed(signed, tmp_path, options):
    request_options = ("-sigalg", "RSASSA-PSS") if "RSASSA-PSS" in options else ()
    csr = programs.by_keytool(
        tmp_path, *options, name="CN=alice, OU=Unit, O=dev, O=ops, L=Town, ST=State, C=DE",
        request_options=("-ext", "san=dns:a.example", "-ext", "ku=digitalSignature", *request_options),
    )  # fmt: skip
    assert b"BEGIN NEW CERTIFICATE REQUEST" in csr
    # keytool writes a name from its end to its beginning.
    signed(csr, "alice", "ops", "dev")


CERTTOOL = {
    "RSA": ("--key-type=rsa", "--bits=3072"),
    "P-256": ("--key-type=ecdsa", "--curve=secp256r1"),
    "P-384": ("--key-type=ecdsa", "--curve=secp384r1"),
    "P-521": ("--key-type=ecdsa", "--curve=secp521r1"),
    "Ed25519": ("--key-type=ed25519",),
}
TEMPLATE = """
organization = "dev"
organization = "ops"
unit = "a unit"
country = DE
cn = "alice"
challenge_password = secret
dns_name = "a.example"
tls_www_client
signing_key
"""


@pytest.mark.parametrize("options", CERTTOOL.values(), ids=CERTTOOL.keys())
def test_requests_of_gnutls_are_signed(signed, tmp_path, options):
    csr = programs.by_certtool(tmp_path, TEMPLATE, *options)
    assert csr.startswith(b"PKCS #10 Certificate Request Information"), "it writes text before the block"
    signed(csr, "alice", "dev", "ops")


WINDOWS_KEYS = {
    "RSA 2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA 4096": lambda: rsa.generate_private_key(65537, 4096),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


@pytest.mark.parametrize("asked_by", [programs.EXTENSION_REQUEST, programs.CERT_EXTENSIONS], ids=["PKCS 9", "Microsoft"])
@pytest.mark.parametrize("new_key", WINDOWS_KEYS.values(), ids=WINDOWS_KEYS.keys())
def test_requests_as_windows_writes_them_are_signed(signed, new_key, asked_by):
    rdns = [
        der.rdn(der.attribute("0.9.2342.19200300.100.1.25", "example", der.IA5)),
        der.rdn(der.attribute(der.ORGANIZATION, "dev", der.PRINTABLE)),
        der.rdn(der.attribute(der.COMMON_NAME, "alice", der.PRINTABLE)),
    ]
    csr = programs.by_certreq(new_key(), asked_by, *rdns)
    answer = signed(csr, "alice", "dev")
    assert any("DC" in warning for warning in answer["warnings"])


PYTHON = {
    "P-256": (ec.generate_private_key(ec.SECP256R1()), hashes.SHA256(), None),
    "P-384 with SHA-384": (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384(), None),
    "P-521 with SHA-512": (ec.generate_private_key(ec.SECP521R1()), hashes.SHA512(), None),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), None, None),
    "RSA": (rsa.generate_private_key(65537, 2048), hashes.SHA256(), None),
    "RSA-PSS": (
        rsa.generate_private_key(65537, 2048),
        hashes.SHA256(),
        padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH),
    ),
}


@pytest.mark.parametrize("key, digest, scheme", PYTHON.values(), ids=PYTHON.keys())
def test_requests_of_python_are_signed(signed, key, digest, scheme):
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "dev"),
            x509.NameAttribute(NameOID.COMMON_NAME, "alice"),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"secret")
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
    padding_of = {"rsa_padding": scheme} if scheme else {}
    csr = builder.sign(key, digest, **padding_of).public_bytes(serialization.Encoding.PEM)
    signed(csr, "alice", "dev")


OPENSSL = {
    "a signature by PSS": ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"),
    "the words NEW": ("-newhdr",),
    "its text before it": ("-text",),
    "names as UTF-8 only": ("-nameopt", "utf8"),
    "every string as UTF-8": ("-config", "utf8only"),
}


@pytest.mark.parametrize("options", OPENSSL.values(), ids=OPENSSL.keys())
def test_requests_of_openssl_are_signed_whatever_its_options(signed, tmp_path, options):
    if "utf8only" in options:
        path = tmp_path / "openssl.cnf"
        path.write_text("[req]\nstring_mask = utf8only\ndistinguished_name = dn\n[dn]\n")
        options = ("-config", path)
    csr = openssl_made.request(openssl_made.key(tmp_path, "rsa-2048"), "/CN=alice/O=dev", *options)
    signed(csr, "alice", "dev")


def test_der_of_every_program_is_signed_too(server, made_by_go, made_by_javascript, tmp_path, authority):
    several = made_by_go["several groups in one RDN"], made_by_javascript["pkijs, P-256"]
    for pem in several:
        csr = python_made.to_der(pem)
        answer = server.sign(server.alice, csr, "-H", "Content-Type: application/pkcs10").issued().json()
        groups = certificates.identity(x509.load_pem_x509_csr(pem))[1]
        certificates.assert_good(answer["certificate"], authority, pem, "alice", groups, Path(tmp_path, "judge"))
