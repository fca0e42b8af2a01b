"""Four linters for what comes out: openssl, GnuTLS, Python's cryptography and pkilint.

pkilint and cryptography run in this process, on every certificate that a test judges. openssl and GnuTLS cost a process
each, so GnuTLS sees one certificate of each shape; so does every linter of what a test's server issued besides.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from authorities import Authority, openssl
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from pkilint import loader
from pkilint.pkix import certificate, extension, name
from pkilint.validation import ValidationFindingSeverity

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)
_seen: set[tuple] = set()


def lint(pem: bytes, authority: Authority) -> None:
    """Judges a leaf, which its chain may follow."""
    leaf, *chain = _BLOCK.findall(pem)
    pkilint(x509.load_pem_x509_certificate(leaf).public_bytes(serialization.Encoding.DER))
    if _is_new(x509.load_pem_x509_certificate(leaf)):
        _gnutls(leaf, chain, authority)


def lint_each_shape(issued: Iterable[bytes], authorities: Iterable[Authority]) -> None:
    """Of these certificates in DER, judges one of each shape that was not judged before."""
    signers = {_subject(chain[0]): (authority, chain) for authority, chain in map(_with_chain, authorities)}
    for der in issued:
        leaf = x509.load_der_x509_certificate(der)
        # The judges look at the clock, which a test may have stepped.
        is_live = leaf.not_valid_before_utc < datetime.now(UTC) < leaf.not_valid_after_utc
        if is_live and _is_new(leaf):
            pkilint(der)
            authority, chain = signers[leaf.issuer.public_bytes()]
            pem = leaf.public_bytes(serialization.Encoding.PEM)
            intermediates = [] if authority.root == authority.certificate else [chain[0]]
            _openssl(pem, intermediates, authority)
            _gnutls(pem, intermediates, authority)


def pkilint(der: bytes) -> None:
    """No finding of pkilint for RFC 5280 is worse than a notice."""
    document = loader.RFC5280CertificateDocumentLoader().load_der_document(der, "issued")
    found = [
        f"{description.finding.severity.name} {description.finding.code}: {description.message}"
        for result in _validator().validate(document.root)
        for description in result.finding_descriptions
        if description.finding.severity <= ValidationFindingSeverity.WARNING and not _is_about_length(description)
    ]
    assert not found, found


def _is_about_length(description) -> bool:
    """RFC 5280 appendix A.1 bounds CN and O to 64 characters. Kubernetes does not: names of users, as those of service
    accounts or from an identity provider, are longer, and kube-apiserver takes 5,000 characters. Its other readers, Go and
    openssl, do not ask either. Nothing but these two attributes of the subject may be long."""
    said = description.message or ""
    return (
        description.finding.code == "itu.invalid_asn1_syntax"
        and said.startswith('ASN.1 decoding failure occurred at "certificate.tbsCertificate.subject.rdnSequence.')
        and ("X520CommonName" in said or "X520OrganizationName" in said)
        and "ValueSizeConstraint object, consts 1, <Integer value object" in said
        and said.endswith(" at UTF8String")
    )


@cache
def _validator():
    """What `lint_pkix_cert` runs."""
    decoding = certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS)
    return certificate.create_pkix_certificate_validator_container(
        decoding,
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def _openssl(leaf: bytes, chain: list[bytes], authority: Authority) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, rest = Path(folder, "leaf.pem"), Path(folder, "rest.pem")
        path.write_bytes(leaf)
        rest.write_bytes(b"".join(chain))
        untrusted = ["-untrusted", rest] if chain else []
        said = openssl(
            "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslclient", "-CAfile", authority.root, *untrusted,
            path,
        )  # fmt: skip
        assert said == f"{path}: OK\n", said


def _gnutls(leaf: bytes, chain: list[bytes], authority: Authority) -> None:
    """GnuTLS trusts the chain, and has nothing to remark where it prints the leaf."""
    said = _certtool("--verify", "--load-ca-certificate", authority.root, stdin=leaf + b"".join(chain))
    assert "Chain verification output: Verified. The certificate is trusted." in said, said
    shown = _certtool("--certificate-info", stdin=leaf)
    assert "error" not in shown.lower() and "warning" not in shown.lower() and "unknown" not in shown.lower(), shown


def _certtool(*arguments, stdin: bytes) -> str:
    ran = subprocess.run(["certtool", *map(str, arguments)], input=stdin, capture_output=True, timeout=30)
    said = ran.stdout.decode() + ran.stderr.decode()
    assert ran.returncode == 0, said
    return said


def _is_new(leaf: x509.Certificate) -> bool:
    shape = _shape(leaf)
    known = shape in _seen
    _seen.add(shape)
    return not known


def _shape(leaf: x509.Certificate) -> tuple:
    """CA and its algorithm, kind of key, extensions, how many groups, and whether all is ASCII."""
    groups = len(leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return (
        leaf.issuer.public_bytes(),
        leaf.signature_algorithm_oid.dotted_string,
        _kind(leaf.public_key()),
        tuple((extension.oid.dotted_string, extension.critical) for extension in leaf.extensions),
        min(groups, 2),
        leaf.subject.rfc4514_string().isascii(),
    )


def _kind(key) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


def _with_chain(authority: Authority) -> tuple[Authority, list[bytes]]:
    return authority, _BLOCK.findall(authority.certificate.read_bytes())


def _subject(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).subject.public_bytes()
