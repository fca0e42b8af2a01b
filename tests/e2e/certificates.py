"""The judge: what every issued certificate must be, said by openssl, GnuTLS, pkilint and Python's cryptography."""

import hashlib
import re
from pathlib import Path

import der
import lints
from authorities import Authority, openssl
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

SHA256 = hashes.SHA256()
PROFILE = {
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
}


def assert_good(pem: bytes | str, authority: Authority, csr: bytes, user: str, groups: list[str], folder: Path) -> None:
    """Everything at once: chain, names, key, extensions, serial."""
    pem = pem.encode() if isinstance(pem, str) else pem
    leaf = x509.load_pem_x509_certificates(pem)[0]
    ca = x509.load_pem_x509_certificates(authority.certificate.read_bytes())[0]
    assert_chain(pem, authority, folder)
    lints.lint(pem, authority)
    assert identity(leaf) == (user, groups)
    assert_subject_is_utf8_one_value_each(leaf, user, groups)
    assert_extensions(leaf, ca)
    assert _spki(leaf) == _spki(x509.load_pem_x509_csr(csr)), "the key is the one in the request"
    assert issuer_bytes(leaf) == subject_bytes(ca), "the issuer is the CA's subject, byte for byte"
    assert leaf.version == x509.Version.v3
    assert leaf.serial_number.bit_length() == 127, "16 octets, positive, of fixed width"
    assert leaf.not_valid_before_utc >= ca.not_valid_before_utc
    assert leaf.not_valid_after_utc <= ca.not_valid_after_utc
    assert "sha1" not in str(leaf.signature_algorithm_oid._name).lower()


def assert_chain(pem: bytes, authority: Authority, folder: Path) -> None:
    """`openssl verify` accepts it, as strictly as it can, for a TLS client. Its text is read, not its status."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", pem, re.DOTALL)
    leaf, rest = folder / "leaf.pem", folder / "rest.pem"
    leaf.write_bytes(blocks[0])
    rest.write_bytes(b"".join(blocks[1:]))
    untrusted = ["-untrusted", rest] if blocks[1:] else []
    said = openssl(
        "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslclient", "-CAfile", authority.root, *untrusted, leaf
    )
    assert said == f"{leaf}: OK\n", said


def identity(certificate: x509.Certificate) -> tuple[str, list[str]]:
    """User and groups, as kube-apiserver takes them: the CN, and each O in order."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert len(names) == 1
    return names[0].value, [group.value for group in groups]


def assert_subject_is_utf8_one_value_each(leaf: x509.Certificate, user: str, groups: list[str]) -> None:
    """The subject's bytes are the ones that these names give, and openssl reads the same types."""
    assert_subject(leaf, user, groups)
    shown = openssl(
        "x509", "-noout", "-subject", "-nameopt", "sep_multiline,show_type,sname,utf8",
        stdin=leaf.public_bytes(serialization.Encoding.PEM),
    )  # fmt: skip
    types = [line.strip().split("=", 1)[1].split(":", 1)[0].strip() for line in shown.splitlines()[1:]]
    assert types == ["UTF8STRING"] * (1 + len(groups)), shown


def assert_subject(leaf: x509.Certificate, user: str, groups: list[str]) -> None:
    """The subject's bytes are the ones that these names give."""
    expected = [der.rdn(der.attribute(der.COMMON_NAME, user))]
    expected += [der.rdn(der.attribute(der.ORGANIZATION, group)) for group in groups]
    assert subject_bytes(leaf) == der.sequence(*expected)


def assert_extensions(leaf: x509.Certificate, ca: x509.Certificate) -> None:
    """Exactly the five of the profile, whatever the request asked for."""
    found = {extension.oid: extension.critical for extension in leaf.extensions}
    assert found == PROFILE and len(leaf.extensions) == len(PROFILE)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    is_rsa = isinstance(leaf.public_key(), rsa.RSAPublicKey)
    expected = {"digital_signature", "key_encipherment"} if is_rsa else {"digital_signature"}
    assert _usages(usage) == expected
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (False, None)
    own = leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert own == hashlib.sha256(_key_bits(leaf.public_key())).digest()[:20], "RFC 7093, method 1"
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert issuer.key_identifier == ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert issuer.authority_cert_issuer is None and issuer.authority_cert_serial_number is None


def subject_bytes(certificate: x509.Certificate) -> bytes:
    return _tbs(certificate)[5]


def issuer_bytes(certificate: x509.Certificate) -> bytes:
    return _tbs(certificate)[3]


def spki_sha256(key) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, as hex: how a key is named."""
    return sha256_hex(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def sha256_hex(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def _tbs(certificate: x509.Certificate) -> list[bytes]:
    return der.children(certificate.tbs_certificate_bytes)


def _usages(usage: x509.KeyUsage) -> set[str]:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign",
    )  # fmt: skip
    return {name for name in every if getattr(usage, name)}


def _spki(holder) -> bytes:
    return holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _key_bits(key) -> bytes:
    """What is inside the BIT STRING of the SubjectPublicKeyInfo."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.public_bytes_raw()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
