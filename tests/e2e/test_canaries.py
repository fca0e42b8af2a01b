"""Secrets go in everywhere, and come out nowhere: logs, answers, exports, metrics, the database or a copy of it."""

import base64
import re
import subprocess
import urllib.request
from pathlib import Path

import authorities
import ledger
import pytest
import requests_by_openssl as requests
from conftest import ALICE
from cryptography.hazmat.primitives import serialization
from curl import Answer, curl
from postgres import DATABASE
from raw import talk
from server import Cluster

CHALLENGE = "canary-challenge-password-7c1f"
ALTERNATIVE_NAME = "canary-extension-9b2e.example"
GUESSED = "cs1_0123456789ab_" + "canaryGuessedTokenSecret" * 2 + "x"
BASIC = base64.b64encode(b"canary-user:canary-basic-password").decode()
QUERY = "canary-in-the-query-41d0"
IDEMPOTENCY = "canary-idempotency-key-5d0c"
FORMS = ("table", "json", "csv", "ndjson")

WISHES = f"""
[req]
prompt = no
distinguished_name = dn
attributes = attributes
req_extensions = extensions
[dn]
CN = alice
[attributes]
challengePassword = {CHALLENGE}
[extensions]
subjectAltName = DNS:{ALTERNATIVE_NAME}
"""


class Watched:
    """A server at its most talkative, and everything that came out of it."""

    def __init__(self, server):
        self.server = server
        self.out: dict[str, bytes] = {}
        self.answers = 0

    def ask(self, *arguments, **options) -> Answer:
        answer = curl("-i", *arguments, **options)
        self.answers += 1
        self.out[f"answer {self.answers}: {arguments[-1]}"] = answer.body + str(answer.headers).encode()
        return answer

    def sign(self, header: Path, body: bytes, *options, **parameters) -> Answer:
        address = self.server.address("/v1/sign", **parameters)
        return self.ask("-H", f"@{header}", "--data-binary", "@-", *options, address, body=body)

    def run(self, *arguments) -> int:
        ran = self.server.cli(*arguments, check=False)
        self.out[f"countersign {arguments}"] = (ran.stdout + ran.stderr).encode()
        return ran.returncode


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("canaries")


@pytest.fixture(scope="module")
def encrypted(folder) -> authorities.Authority:
    return authorities.encrypted(folder / "encrypted")


@pytest.fixture
def watched(make_server, authority, encrypted):
    clusters = (Cluster("prod", authority), Cluster("second", encrypted))
    return Watched(make_server(*clusters, rows=(ALICE | {"clusters": ["*"]},), log="trace"))


@pytest.fixture
def user(folder) -> tuple[bytes, Path, Path]:
    """A request, its key, and a key that is sent by mistake."""
    key = requests.key(folder, "rsa-2048", "user")
    return requests.request_by_config(folder, key, WISHES), key, requests.key(folder, "p-256", "lost")


def test_no_secret_comes_out_anywhere(watched, user, folder, authority, encrypted):
    server = watched.server
    csr, *keys = user
    drive(watched, csr, *keys)
    run_commands(watched)
    assert watched.run("backup", folder / "copy.db") == 0
    watched.out["backup"] = (folder / "copy.db").read_bytes()
    watched.out["backup as text"] = dumped(folder / "copy.db")
    watched.out["metrics"] = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read()
    watched.out["database, running"] = ledger.bytes_on_disk(server.database)
    break_and_fail(watched, csr)
    watched.out["database as text"] = dumped(server.database)
    assert server.stop() == 0
    watched.out["database, stopped"] = ledger.bytes_on_disk(server.database)
    assert_no_secret(watched, user, authority, encrypted)


def test_no_secret_is_in_a_dump_of_postgresql(make_replicas, postgres_server, user, authority, encrypted):
    clusters = (Cluster("prod", authority), Cluster("second", encrypted))
    (server,) = make_replicas(1, *clusters, rows=(ALICE | {"clusters": ["*"]},), log="trace")
    watched = Watched(server)
    drive(watched, *user)
    run_commands(watched)
    dump = subprocess.run(["pg_dump", "--dbname", postgres_server.url(DATABASE)], check=True, capture_output=True).stdout
    assert QUERY.encode() in dump, "it holds what it should"
    watched.out["dump"] = dump
    assert server.stop() == 0
    assert_no_secret(watched, user, authority, encrypted)


def assert_no_secret(watched: Watched, user: tuple[bytes, Path, Path], authority, encrypted) -> None:
    server, (csr, key, lost) = watched.server, user
    watched.out["log"] = server.log.read_bytes()
    assert b'"level":"DEBUG"' in watched.out["log"], "it is not at its most talkative"

    secrets = {
        **{f"token of {path.stem}": token(path) for path in (server.alice, server.auditor, server.admin)},
        "guessed token": GUESSED[17:].encode(),
        "basic password": b"canary-basic-password",
        "challenge password": CHALLENGE.encode(),
        "wished extension": ALTERNATIVE_NAME.encode(),
        "body of the request": csr.splitlines()[-5],
        "CA key": private_octets(authority.key),
        "CA key in PEM": authority.key.read_bytes().splitlines()[12],
        "password of the CA key": encrypted.password_file.read_bytes().strip(),
        "encrypted CA key in PEM": encrypted.key.read_bytes().splitlines()[12],
        "user's key": private_octets(key),
        "user's key in PEM": key.read_bytes().splitlines()[12],
        "key that was sent": private_octets(lost),
        "key that was sent, in PEM": lost.read_bytes().splitlines()[1],
    }
    for what, secret in secrets.items():
        absent(what, secret, watched.out)
    # These are no secrets, and the ledger keeps them; a log is read by more people than a ledger.
    for what, words in {"query": QUERY, "idempotency key": IDEMPOTENCY}.items():
        absent(what, words.encode(), {name: watched.out[name] for name in ("log", "metrics") if name in watched.out})


def drive(watched: Watched, csr: bytes, key: Path, lost: Path) -> None:
    """Success, refusals and errors of every kind, with secrets in each place where one can be."""
    server = watched.server
    for options in ((), ("-H", "Accept: application/yaml"), ("-H", f"Idempotency-Key: {IDEMPOTENCY}")):
        assert watched.sign(server.alice, csr, *options, cluster="prod", reason=QUERY).status == 201
    assert watched.sign(server.alice, csr, cluster="second").status == 201
    assert watched.sign(server.alice, csr, cluster="prod", dry_run="true").status == 200
    assert watched.sign(server.alice, csr, cluster=QUERY).status == 400
    other = requests.request(requests.key(watched.server.folder, "p-256", "other"), "/CN=root")
    assert watched.sign(server.alice, other, cluster="prod").status == 403
    for body in (csr[:-60], csr * 2, lost.read_bytes(), csr + lost.read_bytes(), b'{"csr": "' + csr[:300]):
        assert watched.sign(server.alice, body, cluster="prod").status in (400, 422)
    broken = csr.replace(csr.splitlines()[3], csr.splitlines()[3][::-1])
    assert watched.sign(server.alice, broken, cluster="prod").status == 422
    for value in (f"Bearer {GUESSED}", GUESSED, f"Basic {BASIC}", "Bearer " + token(server.alice).decode()):
        assert watched.ask("-H", f"Authorization: {value}", server.address("/v1/whoami")).status == 401
    secret = token(server.alice).decode()
    for path in (f"/v1/certificates/{secret}", f"/{secret}", f"/v1/whoami?token={secret}", f"/v1/audit?caller={secret}"):
        assert watched.ask("-H", f"@{server.alice}", server.url + path).status >= 400
    lists = ("/v1/certificates", "/v1/refusals", "/v1/audit")
    for path in (*lists, "/v1/policies", "/v1/blocked-keys", "/v1/whoami", "/v1/clusters", "/v1/users/alice", "/readyz"):
        for header in (server.alice, server.auditor, server.admin):
            watched.ask("-H", f"@{header}", server.url + path)
    for path in lists:
        for form in ("csv", "ndjson"):
            assert watched.ask("-H", f"@{server.auditor}", f"{server.url}{path}?format={form}").status == 200
    private = key.read_bytes().replace(b"\n", b"\\n")
    body = b"policies: []\n# " + private
    assert watched.ask("-X", "PUT", "-H", f"@{server.admin}", "-H", "If-Match: *", "--data-binary", "@-",
                       server.url + "/v1/policies", body=body).status == 422  # fmt: skip
    for request in (b"GET / HTTP/9\r\nAuthorization: Bearer " + secret.encode() + b"\r\n\r\n", secret.encode() + b"\r\n\r\n"):
        watched.out[f"raw {request[:10]}"] = talk(server.port, request).received


def run_commands(watched: Watched) -> None:
    """Those that work, and those that are given what they must not show."""
    by_api = ("audit", "certificates", "--server", watched.server.url, "--token-file")
    secret = watched.server.clusters[0].authority.key
    for arguments in (
        ("token", "list"), ("policy", "list"), ("key", "list"), ("key", "block", "ab" * 32, "--reason", "x"),
        ("config", "check"), ("healthcheck",), ("version",), ("check",), ("check", "--json"), ("migrate", "--check"),
        ("audit", "stats"), (*by_api, watched.server.auditor),
        *(("audit", what, "-o", form) for what in ("certificates", "refusals", "events") for form in FORMS),
        ("audit", "trace", "--kube-audit", secret, "-o", "ndjson"),
    ):  # fmt: skip
        assert watched.run(*arguments) == 0, watched.out[f"countersign {arguments}"]
    for arguments in (
        ("token", "revoke", "nobody"), ("key", "block", secret, "--reason", "x"), ("policy", "apply", "-f", secret),
        ("backup", secret), (*by_api, secret),
    ):  # fmt: skip
        assert watched.run(*arguments) != 0, arguments


def break_and_fail(watched: Watched, csr: bytes) -> None:
    """503 and 500, whose causes are in the log."""
    server = watched.server
    with ledger.every_insert_fails(server.database, "certificates"):
        assert watched.sign(server.alice, csr, cluster="prod").status == 503
    ledger.change(server.database, "DROP TRIGGER certificates_are_kept")
    ledger.change(server.database, "UPDATE certificates SET serial = zeroblob(16) WHERE number = (SELECT min(number) FROM certificates)")
    assert watched.ask("-H", f"@{server.auditor}", server.address("/v1/certificates")).status == 500


def dumped(database: Path) -> bytes:
    """All of it as text."""
    return subprocess.run(["sqlite3", database, ".dump"], check=True, capture_output=True).stdout


def token(header: Path) -> bytes:
    """The secret part; the id before it may be shown."""
    return header.read_text().split("_")[-1].strip().encode()


def private_octets(key: Path) -> bytes:
    """Of the number that only the holder knows."""
    numbers = serialization.load_pem_private_key(key.read_bytes(), None).private_numbers()
    number = getattr(numbers, "private_value", None) or numbers.d
    return number.to_bytes((number.bit_length() + 7) // 8, "big")[:32]


def absent(what: str, secret: bytes, out: dict[str, bytes]) -> None:
    assert len(secret) >= 16, what
    for where, content in out.items():
        for form in spellings(secret):
            assert not re.search(re.escape(form), content, re.IGNORECASE), f"{what} is in {where}"


def spellings(secret: bytes) -> list[bytes]:
    """As it is, in hex, and in base64 wherever in a text it stands."""
    shifted = [base64.b64encode(b"\0" * shift + secret)[4:-4] for shift in range(3)]
    return [secret, secret.hex().encode(), *shifted]


def test_a_secret_would_be_found():
    secret = b"canary-that-is-there"
    for content in (secret, secret.hex().upper().encode(), *(base64.b64encode(b"x" * n + secret + b"yz") for n in range(3))):
        with pytest.raises(AssertionError):
            absent("it", secret, {"here": b"before " + content + b" after"})
