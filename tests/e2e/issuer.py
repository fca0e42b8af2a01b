"""A real issuer of tokens on loopback: https, discovery, keys that it rotates, and whatever goes wrong with it."""

import base64
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import authorities
from authorities import Authority
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"
CLUSTER_KEYS = "/openid/v1/jwks"
FAR_TOO_MUCH = 300 * 1024


def encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _number(number: int, octets: int | None = None) -> str:
    return encode(number.to_bytes(octets or (number.bit_length() + 7) // 8))


@dataclass
class Issuer:
    """Serves discovery and keys until it is closed; signs whatever claims a test wants."""

    folder: Path
    authority: Authority
    trouble: str = ""
    """What is wrong with it: see `_Handler`."""
    asked: list[str] = field(default_factory=list)
    """Every path that was asked for, and with which Authorization."""
    authorizations: list[str | None] = field(default_factory=list)

    def __post_init__(self):
        self.keys: dict[str, object] = {}
        self.rotate("one")
        certificate, key = authorities.server_certificate(self.folder, self.authority)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)
        self.port = 0
        self.up()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca_file = self.authority.root

    def up(self) -> None:
        """Listens, on the same port as before."""
        handler = type("Handler", (_Handler,), {"issuer": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def down(self) -> None:
        """Nobody answers any more."""
        self.server.shutdown()
        self.server.server_close()

    def rotate(self, kid: str, kind: str = "EC") -> None:
        """From now on this key alone is published."""
        self.keys = {kid: new_key(kind)}

    def jwks(self) -> dict:
        return {"keys": [_jwk(kid, key) for kid, key in self.keys.items()]}

    def claims(self, name: str = "alice", **changed) -> dict:
        now = int(time.time())
        claims = {"iss": self.url, "sub": f"id-of-{name}", "aud": "countersign", "iat": now - 5, "exp": now + 600}
        claims |= {"preferred_username": name, "groups": ["dev"]} | changed
        return {key: value for key, value in claims.items() if value is not None}

    def token(self, name: str = "alice", key: tuple | None = None, **changed) -> str:
        """A sound token, but for what is changed; by another key where one is given with its kid."""
        kid, signer = key or next(iter(self.keys.items()))
        return sign(kid, signer, self.claims(name, **changed))

    def key(self) -> tuple:
        return next(iter(self.keys.items()))

    def settings(self, **changed) -> dict:
        """Its `[[auth.oidc]]` table."""
        table = {
            "name": "corp",
            "issuer": self.url,
            "ca_file": str(self.ca_file),
            "audience": "countersign",
            "algorithms": ["ES256", "RS256"],
            "username_claim": "preferred_username",
            "groups_claim": "groups",
        }
        return {key: value for key, value in (table | changed).items() if value is not None}


def new_key(kind: str = "EC"):
    return ec.generate_private_key(ec.SECP256R1()) if kind == "EC" else rsa.generate_private_key(65537, 2048)


def sign(kid: str, key, claims: dict) -> str:
    algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
    head = {"alg": algorithm, "kid": kid, "typ": "JWT"}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (head, claims))
    if algorithm == "ES256":
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32) + s.to_bytes(32)
    else:
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{encode(signature)}"


def _jwk(kid: str, key) -> dict:
    public = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": _number(public.n), "e": _number(public.e)}
    x, y = _number(public.x, 32), _number(public.y, 32)
    return {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": x, "y": y}


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        issuer, trouble = self.issuer, self.issuer.trouble
        issuer.asked.append(self.path)
        issuer.authorizations.append(self.headers.get("Authorization"))
        if trouble == "redirects" or (trouble == "redirects the keys" and self.path != DISCOVERY):
            return self._answer(302, b"", {"Location": f"{issuer.url}/elsewhere"})
        if trouble == "fails":
            return self._answer(500, b"{}")
        if trouble == "is slow":
            time.sleep(8)
        if self.path == DISCOVERY:
            return self._answer(200, json.dumps(self._discovery()).encode())
        if self.path in (KEYS, CLUSTER_KEYS, "/elsewhere"):
            return self._answer(200, self._keys())
        return self._answer(404, b"{}")

    def _discovery(self) -> dict:
        issuer, trouble = self.issuer, self.issuer.trouble
        claimed = "https://other.example" if trouble == "is somebody else" else issuer.url
        keys = f"{issuer.url}{KEYS}"
        if trouble == "has its keys on plain HTTP":
            keys = keys.replace("https:", "http:")
        if trouble == "has its keys in a file":
            keys = "file:///etc/passwd"
        return {"issuer": claimed, "jwks_uri": keys, "id_token_signing_alg_values_supported": ["none", "HS256"]}

    def _keys(self) -> bytes:
        trouble = self.issuer.trouble
        if trouble == "sends far too much":
            return json.dumps(self.issuer.jwks() | {"x": "x" * FAR_TOO_MUCH}).encode()
        if trouble == "sends no JSON":
            return b"<html>sign in</html>"
        if trouble == "has no keys":
            return b'{"keys": []}'
        if trouble == "shares a secret":
            return json.dumps({"keys": [{"kty": "oct", "kid": "one", "k": encode(b"secret")}]}).encode()
        return json.dumps(self.issuer.jwks()).encode()

    def _answer(self, status: int, body: bytes, headers: dict | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json", "Content-Length": len(body)} | (headers or {})).items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *_):
        pass
