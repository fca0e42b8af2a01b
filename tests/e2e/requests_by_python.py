"""Requests that openssl's command line cannot make: Go's shape, odd string types, wrong signatures."""

import base64
import textwrap

import der
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request(key, user: str, *groups: str) -> bytes:
    """CN, then one RDN for each group."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return _signed(x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes)), key)


def request_as_go(key, user: str, *groups: str) -> bytes:
    """What Go's pkix.Name writes: one RDN that holds every O, then the CN."""
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    name = x509.Name(
        [
            x509.RelativeDistinguishedName(organizations),
            x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, user)]),
        ]
    )
    return _signed(x509.CertificateSigningRequestBuilder().subject_name(name), key)


def request_with_extensions(key, user: str, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
    """A request that asks for these extensions, each with its critical flag."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return _signed(builder, key)


def request_with_name(key: ec.EllipticCurvePrivateKey, *rdns: bytes) -> bytes:
    """A request whose subject is these RDNs, byte for byte (see `der`)."""
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    info = der.sequence(der.tlv(der.INTEGER, b"\0"), der.sequence(*rdns), spki, der.tlv(0xA0, b""))
    ecdsa_with_sha256 = der.sequence(der.oid("1.2.840.10045.4.3.2"))
    signature = key.sign(info, ec.ECDSA(hashes.SHA256()))
    return pem(der.sequence(info, ecdsa_with_sha256, der.tlv(der.BIT_STRING, b"\0" + signature)))


def with_broken_signature(request_pem: bytes) -> bytes:
    """The same request, its signature made by nobody: the name is changed after signing."""
    changed = bytearray(to_der(request_pem))
    at = changed.index(b"alice")
    changed[at : at + 5] = b"alicf"
    return pem(bytes(changed))


def to_der(request_pem: bytes) -> bytes:
    return x509.load_pem_x509_csr(request_pem).public_bytes(serialization.Encoding.DER)


def pem(request_der: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(request_der).decode(), 64)
    return "\n".join(["-----BEGIN CERTIFICATE REQUEST-----", *lines, "-----END CERTIFICATE REQUEST-----", ""]).encode()


def _signed(builder, key) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
