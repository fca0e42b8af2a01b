"""Writes what a fuzz target starts from: a corpus made by the real openssl, and a dictionary of its words.

    python3 fuzz/seeds.py TARGET FOLDER DICTIONARY
"""

import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/e2e"))
sys.dont_write_bytecode = True

import der  # noqa: E402

CONFIG = """
[req]
prompt = no
distinguished_name = dn
attributes = attributes
req_extensions = wishes
[dn]
CN = alice
O = dev
OU = unit
emailAddress = a@example.com
[attributes]
challengePassword = secret
unstructuredName = a printer
[wishes]
basicConstraints = critical, CA:TRUE
subjectAltName = DNS:kubernetes, IP:10.0.0.1
"""
KEYS = {
    "rsa": ("genrsa", "2048"),
    "p256": ("ecparam", "-genkey", "-name", "prime256v1", "-noout"),
    "p384": ("ecparam", "-genkey", "-name", "secp384r1", "-noout"),
    "ed25519": ("genpkey", "-algorithm", "ED25519"),
}
QUERIES = [
    "", "user=alice&cluster=prod", "user=a+b%2Bc%C3%A9&limit=10", "caller=token:alice", "caller=cli%3Aroot&&limit=1",
    "valid_at=2026-01-01T00:00:00Z&user", "cursor=AQAAAAAAAAAIAAAAAAAAAAA", "us%65r=a&user=b", "%", "user=%ff",
]  # fmt: skip
ROWS = """
policies:
- &row
  name: dev
  effect: allow
  clusters: [prod]
  callers: ['oidc:corp:*']
  users: ['{caller}', "Zo\\u00eb", 'a*b']
  groups: [dev, yes, 'null', "~", ""]
  on_behalf_of: ['*']
  max_ttl: 90m
  keys: [p-256]
- name: no-root
  effect: deny
  clusters: ['*']
  callers: ['token:portal', "group:corp:x"]
  users: [root]
  enabled: false
  explain: true
  description: |
    Nobody is root.
     # not a comment

  # a comment
- {name: x, effect: review, clusters: [p], callers: [token:a], users: [>-
    folded
    text], max_ttl: 3600}
"""
WORDS = {
    "pem": ["-----BEGIN ", "-----END ", "CERTIFICATE REQUEST-----", "NEW ", "PRIVATE KEY-----", "CERTIFICATE-----",
            "PUBLIC KEY", "\\xef\\xbb\\xbf", "\\xff\\xfe", "csr=", "%2D", "%20", "MII", "Content-Disposition: form-data"],
    "csr": ["\\x06\\x03\\x55\\x04\\x03", "\\x06\\x03\\x55\\x04\\x0a", "\\x06\\x03\\x55\\x04\\x0b", "\\x31", "\\x30", "\\xa0",
            "\\x0c", "\\x13", "\\x1e", "\\x06\\x09\\x2a\\x86\\x48\\x86\\xf7\\x0d\\x01\\x09\\x0e", "\\x81\\x80", "\\x82\\x01\\x00",
            "\\x06\\x09\\x2a\\x86\\x48\\x86\\xf7\\x0d\\x01\\x09\\x07", "\\xe2\\x80\\x8b", "\\xcc\\x81"],
    "policy_file": ["policies:", "\\x0a- name: ", "\\x0a  effect: ", "allow", "deny", "review", "clusters: ", "callers: ",
                    "users: ", "groups: ", "on_behalf_of: ", "max_ttl: ", "keys: ", "description: ", "enabled: ",
                    "explain: ", "revision: ", "|+", ">-", "!!str ", "&a ", "*a", "<<: ", "\\xe2\\x80\\xa8", "\\xc2\\x85",
                    "\\\\x07", "\\\\u2028", "---", "...", "%YAML 1.2", "? ", "'", "token:a", "0x1", "1e3", "~", "null"],
    "pattern": ["{caller}", "{on_behalf_of}", "{caller.groups}", "*", "{", "}", ":", "system:"],
    "cursor": ["AQ"],
    "query": ["user", "cluster", "caller", "valid_at", "limit", "cursor", "=", "&", "%25", "%26", "+", "%00", "%c3%a9"],
}  # fmt: skip


def main(target: str, folder: Path, dictionary: Path) -> None:
    dictionary.write_text("".join(f'"{word}"\n' for word in (_escaped(word) for word in WORDS[target])))
    for number, seed in enumerate(seeds(target)):
        (folder / f"seed-{number:02}").write_bytes(seed)


def seeds(target: str) -> list[bytes]:
    if target == "pem":
        return [body for request in requests() for body in spellings(request)]
    if target == "csr":
        return [*requests(), *map(parts, requests())]
    if target == "policy_file":
        return [ROWS.encode(), (REPOSITORY / "examples/policies.yaml").read_bytes(), json.dumps(row()).encode()]
    return [query.encode() for query in QUERIES] if target == "query" else [bytes(range(64))]


def requests() -> list[bytes]:
    """DER, one for each kind of key."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config").write_text(CONFIG)
        return [request(folder, *command) for command in KEYS.values()]


def request(folder: Path, *command: str) -> bytes:
    key = folder / "key"
    arguments = [*command, "-out", key] if command[0] != "genrsa" else ["genrsa", "-out", key, *command[1:]]
    openssl(*arguments)
    return openssl("req", "-new", "-key", key, "-config", folder / "config", "-outform", "DER")


def openssl(*arguments) -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout


def spellings(request: bytes) -> list[bytes]:
    base = base64.encodebytes(request)
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + base + b"-----END CERTIFICATE REQUEST-----\n"
    return [request, pem, pem.replace(b"\n", b"\r\n"), pem.replace(b"\n", b""), base, base64.b64encode(pem), pem * 2]


def parts(request: bytes) -> bytes:
    """What the target signs by itself: the length of the subject, the subject, the attributes."""
    _, subject, _, attributes = der.children(der.children(request)[0])
    return len(subject).to_bytes(2, "big") + subject + attributes


def row() -> dict:
    row = {"name": "a", "effect": "allow", "clusters": ["prod"], "callers": ["token:a"], "users": ["*"], "max_ttl": "8h"}
    return {"revision": 3, "policies": [row]}


def _escaped(word: str) -> str:
    return word.replace('"', '\\"')


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
