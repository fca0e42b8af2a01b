"""The linters do find fault: with certificates that this service would never issue."""

import datetime

import authorities
import lints
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate_of(authority, *extensions: tuple[x509.ExtensionType, bool], lasts_hours: int = 8) -> x509.Certificate:
    """A certificate by this CA with these extensions."""
    ca = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        issuer_name=ca.subject,
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")]),
        public_key=ec.generate_private_key(ec.SECP256R1()).public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(hours=24),
        not_valid_after=now + datetime.timedelta(hours=lasts_hours),
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256())


def test_pkilint_finds_a_missing_identifier_and_a_usage_that_is_none(authority):
    usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    bad = certificate_of(authority, (usage, False))
    with pytest.raises(AssertionError, match="authority_key_identifier"):
        lints.pkilint(bad.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize("what", ["another CA", "expired"])
def test_openssl_and_gnutls_refuse_what_does_not_verify(authority, tmp_path, what):
    signer = authorities.kubeadm(tmp_path) if what == "another CA" else authority
    bad = certificate_of(signer, lasts_hours=-1 if what == "expired" else 8).public_bytes(serialization.Encoding.PEM)
    for judge in (lints._openssl, lints._gnutls):
        with pytest.raises(AssertionError):
            judge(bad, [], authority)
