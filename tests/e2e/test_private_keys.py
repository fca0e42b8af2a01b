"""A private key that is sent by mistake, in whatever a client can make of it, is refused and kept nowhere."""

import base64
import json

import ledger
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
OPENSSH, PLAIN = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
LOCKED = serialization.BestAvailableEncryption(b"secret")

KEYS = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def in_json(text: str) -> bytes:
    return json.dumps({"csr": text}).encode()


def raw_json(text: str) -> bytes:
    return json.dumps({"csr": text}, ensure_ascii=False).encode()


TEXTS = {
    "base64": lambda der: base64.b64encode(der).decode(),
    "base64url": lambda der: base64.urlsafe_b64encode(der).decode(),
    "base64url without padding": lambda der: base64.urlsafe_b64encode(der).decode().rstrip("="),
    "base64 in lines": lambda der: base64.encodebytes(der).decode(),
    "base64 twice": lambda der: base64.b64encode(base64.b64encode(der)).decode(),
    "hex": lambda der: der.hex(),
    "hex in capitals": lambda der: der.hex().upper(),
    "hex with colons": lambda der: der.hex(":"),
    "hex with hyphens": lambda der: der.hex("-").upper(),
    "hex of PostgreSQL": lambda der: "\\x" + der.hex(),
    "hex in lines": lambda der: "\n".join(der.hex()[at : at + 60] for at in range(0, len(der.hex()), 60)),
    "Latin-1": lambda der: der.decode("latin-1"),
    "Windows-1252": lambda der: "".join(_windows_1252(byte) for byte in der),
    "what is left as UTF-8": lambda der: der.decode("utf-8", "replace"),
}


def _windows_1252(byte: int) -> str:
    """As a browser or .NET decodes it: what the table lacks stays as it is."""
    try:
        return bytes([byte]).decode("windows-1252")
    except UnicodeDecodeError:
        return chr(byte)


@pytest.fixture
def refuse(server):
    """Has a body refused as a private key, and sees that nothing of it stays."""

    def send(body: bytes, *options) -> None:
        refusals = ledger.count(server.database, "refusals")
        problem = server.sign(server.alice, body, *options).problem(422, "private_key_in_body")
        assert "new one" in problem["detail"]
        assert ledger.count(server.database, "refusals") == refusals
        kept = ledger.bytes_on_disk(server.database) + server.log.read_bytes()
        piece = len(body) // 2
        assert body[piece : piece + 24] not in kept

    return send


def ders(key) -> list[bytes]:
    formats = [PKCS8] if isinstance(key, ed25519.Ed25519PrivateKey) else [PKCS8, TRADITIONAL]
    return [key.private_bytes(DER, form, PLAIN) for form in formats]


@pytest.mark.parametrize("spelling", TEXTS.values(), ids=TEXTS.keys())
def test_der_in_any_text_is_refused_as_a_body_and_in_json(refuse, spelling):
    for kind in ("RSA", "P-256"):
        for der in ders(KEYS[kind]):
            text = spelling(der)
            bodies = {text.encode(), in_json(text), raw_json(text)}
            for body in bodies:
                refuse(body)


@pytest.mark.parametrize("kind", KEYS)
def test_der_itself_is_refused_whatever_it_is_called(refuse, kind):
    for der in [*ders(KEYS[kind]), KEYS[kind].private_bytes(DER, PKCS8, LOCKED)]:
        for media_type in ("application/pkcs10", "application/octet-stream", "application/json"):
            refuse(der, "-H", f"Content-Type: {media_type}")


@pytest.mark.parametrize("kind", KEYS)
def test_pem_of_every_format_is_refused(refuse, kind):
    key = KEYS[kind]
    forms = [(PKCS8, PLAIN), (PKCS8, LOCKED), (OPENSSH, PLAIN)]
    for form, lock in forms:
        pem = key.private_bytes(PEM, form, lock)
        for body in (pem, pem.replace(b"\n", b""), in_json(pem.decode()), base64.b64encode(pem), pem.hex().encode()):
            refuse(body)


def test_a_pfx_is_refused(refuse):
    key = KEYS["P-256"]
    for lock in (PLAIN, LOCKED):
        pfx = pkcs12.serialize_key_and_certificates(b"alice", key, None, None, lock)
        for body in (pfx, base64.b64encode(pfx), base64.urlsafe_b64encode(pfx), pfx.hex().encode()):
            refuse(body)
        refuse(in_json(base64.b64encode(pfx).decode()))
        refuse(in_json(pfx.decode("latin-1")))


def b64u(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def jwks() -> dict[str, dict]:
    rsa_numbers, ec_numbers = KEYS["RSA"].private_numbers(), KEYS["P-256"].private_numbers()
    edwards = KEYS["Ed25519"]
    return {
        "RSA": {"kty": "RSA", "n": b64u(rsa_numbers.public_numbers.n), "e": "AQAB", "d": b64u(rsa_numbers.d)},
        "EC": {
            "crv": "P-256", "kty": "EC", "x": b64u(ec_numbers.public_numbers.x), "y": b64u(ec_numbers.public_numbers.y),
            "d": b64u(ec_numbers.private_value),
        },
        "OKP": {
            "kty": "OKP", "crv": "Ed25519", "d": b64u(int.from_bytes(edwards.private_bytes_raw(), "big")),
            "x": b64u(int.from_bytes(edwards.public_key().public_bytes_raw(), "big")),
        },
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["RSA", "EC", "OKP"])
def test_a_jwk_is_refused_alone_in_a_set_and_in_a_string(refuse, kind):
    jwk = jwks()[kind]
    for value in (jwk, {"keys": [jwk]}, {"csr": jwk}, {"csr": json.dumps(jwk)}):
        refuse(json.dumps(value).encode())
        refuse(json.dumps(value, indent=2).encode())
    refuse(base64.b64encode(json.dumps(jwk).encode()))


def test_a_public_jwk_is_no_private_key(server):
    jwk = {name: value for name, value in jwks()["EC"].items() if name != "d"}
    server.sign(server.alice, json.dumps(jwk).encode()).problem(400, "json_invalid")


def test_a_request_in_any_of_these_texts_is_not_taken_for_a_key(server):
    for key in KEYS.values():
        digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
        der = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest).public_bytes(DER)
        for spelling in TEXTS.values():
            answer = server.sign(server.alice, in_json(spelling(der)))
            assert answer.status == 201 or answer.json()["code"] != "private_key_in_body", answer.text
