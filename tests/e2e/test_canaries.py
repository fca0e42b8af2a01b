"""Secrets go in everywhere, and come out nowhere: logs, answers, exports, metrics, the database or a copy of it."""

import base64
import re
import subprocess
import time
import urllib.request
from pathlib import Path

import authorities
import issuer as issuers
import ledger
import pytest
import requests_by_openssl as requests
import service_certificates
from conftest import ALICE
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from curl import Answer, curl
from postgres import DATABASE
from raw import talk
from server import Cluster
from service_certificates import Leaf, replace

CHALLENGE = "canary-challenge-password-7c1f"
ALTERNATIVE_NAME = "canary-extension-9b2e.example"
GUESSED = "cs1_0123456789ab_" + "canaryGuessedTokenSecret" * 2 + "x"
BASIC = base64.b64encode(b"canary-user:canary-basic-password").decode()
QUERY = "canary-in-the-query-41d0"
IDEMPOTENCY = "canary-idempotency-key-5d0c"
FORMS = ("table", "json", "csv", "ndjson")
CLAIM = "canary-claim-that-nobody-asked-for-3f6a"
PROXY_SECRET = "canaryProxySecret" * 3
GUESSED_PROXY_SECRET = "canaryGuessOfTheProxySecret" * 2

CSR = ("--data-binary", "@-")
ROWS_OF_CALLERS = (
    {
        "name": "own", "effect": "allow", "clusters": ["prod"], "callers": ["oidc:corp:*"],
        "users": ["{caller}"], "groups": ["{caller.groups}"],
    },
    {
        "name": "portal", "effect": "allow", "clusters": ["prod"], "callers": ["token:portal"], "on_behalf_of": ["*"],
        "users": ["{on_behalf_of}"], "groups": ["{on_behalf_of.groups}"], "proof": True,
    },
    {
        "name": "renewals", "effect": "allow", "renew": True, "clusters": ["prod"], "callers": ["cert:prod:*"],
        "users": ["{caller}"], "groups": ["*"],
    },
)  # fmt: skip

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
        answer = curl("-i", *self.server.trust, *arguments, **options)
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
    trust = ("--ca-file", *watched.server.trust[1:]) if watched.server.trust else ()
    by_api = ("audit", "certificates", "--server", watched.server.url, *trust, "--token-file")
    secret = watched.server.clusters[0].authority.key
    for arguments in (
        ("token", "list"), ("policy", "list"), ("key", "list"), ("key", "block", "ab" * 32, "--reason", "x"),
        ("config", "check"), ("healthcheck",), ("version",), ("check",), ("check", "--json"), ("migrate", "--check"),
        ("identity", "list"), ("request", "list", "--all"), ("audit", "stats"), (*by_api, watched.server.auditor),
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


class Callers:
    """One of every way to authenticate, what it shows, and what was shown in its place."""

    def __init__(self, folder: Path):
        self.issuer = issuers.Issuer(folder / "issuer", authorities.kubeadm(folder / "issuer-ca", "/CN=issuer"))
        self.company = service_certificates.Issuer(folder / "company")
        self.leaf = self.company.service(folder)
        self.runner = self.company.client("runner")
        self.proxy_secret = folder / "proxy-secret"
        replace(self.proxy_secret, PROXY_SECRET.encode(), 0o600)
        good = [self.issuer.token(name, canary=f"{CLAIM}-{name}") for name in ("alice", "carol")]
        stranger = ("one", ec.generate_private_key(ec.SECP256R1()))
        bad = [
            self.issuer.token("mallory", key=stranger, canary=f"{CLAIM}-forged"),
            self.issuer.token("late", exp=1_000_000_000, iat=999_999_000, canary=f"{CLAIM}-expired"),
            self.issuer.token("alice", sub="id-of-another", canary=f"{CLAIM}-taken"),
            self.issuer.token("alice", aud="somebody-else", canary=f"{CLAIM}-audience"),
        ]
        self.alice, self.carol, self.bad = *good, bad
        self.portal: list[Path] = []
        """The header files of a token that was rotated: the old secret and the new one."""
        self.renewed: list[Leaf] = []

    def settings(self) -> dict:
        edge = {"name": "edge", "addresses": ["127.0.0.1"], "secret_header": "X-Proxy-Secret"}
        auth = {
            "oidc": [self.issuer.settings(proves_persons=True)],
            "mtls": [{"name": "ci", "ca": str(self.company.root)}],
            "proxy": [edge | {"secret_file": str(self.proxy_secret)}],
        }
        callers = ["oidc:corp:*", "proxy:ci:*", "proxy:edge:*"]
        tls = {"certificate": str(self.leaf.certificate), "key": str(self.leaf.key)}
        return {"auth": auth, "roles": [{"role": "requester", "callers": callers}], "tls": tls}

    def secrets(self) -> dict[str, bytes]:
        """A JWT's claims are on record where that is said; the token itself, and what else it claims, nowhere."""
        jwts = {f"JWT {number}": token for number, token in enumerate([self.alice, self.carol, *self.bad])}
        parts = {f"{what}, part {n}": part.encode() for what, token in jwts.items() for n, part in enumerate(token.split("."))}
        signatures = {f"{what}, signature": decoded(token.split(".")[2]) for what, token in jwts.items()}
        keys = {"service's key": self.leaf.key, "runner's key": self.runner.key}
        keys |= {f"key {n} of a renewal": leaf.key for n, leaf in enumerate(self.renewed)}
        return {
            **{what: part for what, part in parts.items() if not what.endswith("part 0")},
            **signatures,
            "claim": CLAIM.encode(),
            "secret of the proxy": PROXY_SECRET.encode(),
            "guessed secret of the proxy": GUESSED_PROXY_SECRET.encode(),
            **{f"secret {number} of a token that was rotated": token(path) for number, path in enumerate(self.portal)},
            **{what: private_octets(key) for what, key in keys.items()},
            **{f"{what} in PEM": key.read_bytes().splitlines()[1] for what, key in keys.items()},
        }


@pytest.fixture
def callers(tmp_path):
    callers = Callers(tmp_path / "callers")
    yield callers
    callers.issuer.down()


def test_no_credential_of_any_kind_of_caller_comes_out_anywhere(make_server, callers, folder):
    server = make_server(rows=ROWS_OF_CALLERS, start=False, log="trace", **callers.settings())
    server.trust = ("--cacert", callers.company.root)
    watched = Watched(server.start())
    drive_callers(watched, callers, folder)
    run_commands(watched)
    assert watched.run("backup", folder / "callers.db") == 0
    watched.out["backup"] = (folder / "callers.db").read_bytes()
    watched.out["metrics"] = urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics").read()
    watched.out["database, running"] = ledger.bytes_on_disk(server.database)
    with ledger.every_insert_fails(server.database, "certificates"):
        csr = requests.request(requests.key(folder, "p-256", "failing"), "/CN=alice/O=dev")
        assert watched.ask(*bearer(callers.alice), *CSR, server.address("/v1/sign"), body=csr).status == 503
    watched.out["database as text"] = dumped(server.database)
    assert b"id-of-carol" in watched.out["database as text"], "it holds what it should"
    assert server.stop() == 0
    watched.out["database, stopped"] = ledger.bytes_on_disk(server.database)
    assert_no_credential(watched, callers)


def test_no_credential_of_any_kind_of_caller_is_in_a_dump_of_postgresql(make_replicas, postgres_server, callers, folder):
    (server,) = make_replicas(1, rows=ROWS_OF_CALLERS, log="trace", **callers.settings())
    server.trust = ("--cacert", callers.company.root)
    watched = Watched(server)
    drive_callers(watched, callers, folder)
    dump = subprocess.run(["pg_dump", "--dbname", postgres_server.url(DATABASE)], check=True, capture_output=True).stdout
    assert b"id-of-carol" in dump, "it holds what it should"
    watched.out["dump"] = dump
    assert server.stop() == 0
    assert_no_credential(watched, callers)


def drive_callers(watched: Watched, callers: Callers, folder: Path) -> None:
    """Everybody asks with what is good and with what is bad."""
    server = watched.server
    whoami, sign = server.address("/v1/whoami"), server.address("/v1/sign")
    csr = requests.request(requests.key(folder, "p-256", "asking"), "/CN=alice/O=dev")
    assert watched.ask(*bearer(callers.alice), *CSR, sign, body=csr).status == 201
    assert watched.ask(*bearer(callers.alice), *CSR, server.address("/v1/sign", ttl="x"), body=csr).status == 400
    for token in callers.bad:
        assert watched.ask(*bearer(token), whoami).status == 401
        assert watched.ask(*bearer(token), *CSR, sign, body=csr).status == 401
    for path in (f"/v1/certificates/{callers.carol}", f"/v1/whoami?token={callers.carol}"):
        assert watched.ask(*bearer(callers.alice), server.url + path).status >= 400
    on_behalf_of(watched, callers, folder)
    assert watched.ask(*callers.runner.curl, whoami).status == 200
    assert watched.ask(*callers.runner.curl, *bearer(callers.alice), whoami).status == 400
    for secret, status in ((PROXY_SECRET, 200), (GUESSED_PROXY_SECRET, 401)):
        headers = ("-H", f"X-Proxy-Secret: {secret}", "-H", "X-Forwarded-User: olga", "-H", "X-Forwarded-Groups: dev")
        assert watched.ask(*headers, whoami).status == status
    twice = ("-H", f"X-Proxy-Secret: {PROXY_SECRET}", "-H", "X-Forwarded-User: olga", "-H", "X-Forwarded-User: root")
    assert watched.ask(*twice, whoami).status == 401
    renewal(watched, callers, folder)
    for path in ("/v1/certificates", "/v1/refusals", "/v1/audit", "/v1/identities", "/v1/tokens", "/v1/requests", "/readyz"):
        for header in (server.auditor, server.admin):
            watched.ask("-H", f"@{header}", server.url + path)


def on_behalf_of(watched: Watched, callers: Callers, folder: Path) -> None:
    """A portal with a token that is rotated, beside tokens of persons that hold and that do not."""
    server = watched.server
    old = server.token("portal", "requester", options=("--on-behalf-of",))
    new = folder / "rotated.header"
    secret = server.cli("token", "rotate", "portal", "--grace", "1h").stdout.strip()
    replace(new, f"Authorization: Bearer {secret}\n".encode(), 0o600)
    callers.portal = [old, new]
    csr = requests.request(requests.key(folder, "p-256", "carol"), "/CN=carol/O=dev")
    for header in callers.portal:
        proven = ("-H", f"@{header}", "-H", f"On-Behalf-Of-Token: {callers.carol}", *CSR)
        answer = watched.ask(*proven, server.address("/v1/sign", on_behalf_of="carol"), body=csr)
        assert answer.status == 201
        assert watched.ask(*proven, server.address("/v1/sign", on_behalf_of="dave"), body=csr).status == 403
        assert watched.ask(*proven, server.address("/v1/sign", dry_run="true"), body=csr).status == 200
        for token in callers.bad:
            person = ("-H", f"@{header}", "-H", f"On-Behalf-Of-Token: {token}", *CSR)
            assert watched.ask(*person, server.address("/v1/sign"), body=csr).status == 403
    # A portal that sends both tokens in the wrong place.
    assert watched.ask(*bearer(callers.carol), "-H", f"On-Behalf-Of-Token: {token_text(new)}", *CSR,
                       server.address("/v1/sign"), body=csr).status == 403  # fmt: skip
    server.cli("token", "rotate", "portal", "--grace", "0s")
    time.sleep(1)  # Reading follows within half a second.
    for header in callers.portal:
        assert watched.ask("-H", f"@{header}", server.address("/v1/whoami")).status == 401


def renewal(watched: Watched, callers: Callers, folder: Path) -> None:
    """A certificate and its key that renew, that open nothing else, and whose key is then blocked."""
    server = watched.server
    key = requests.key(folder, "p-256", "renewing")
    csr = requests.request(key, "/CN=alice/O=dev")
    certificate = folder / "renewing.crt"
    pem = curl(*server.trust, *bearer(callers.alice), *CSR, server.address("/v1/sign", format="pem"), body=csr).issued()
    replace(certificate, pem.body)
    shown = Leaf(certificate, key)
    callers.renewed.append(shown)
    assert watched.ask(*shown.curl, *CSR, server.address("/v1/renew"), body=csr).status == 201
    more = requests.request(key, "/CN=alice/O=dev/O=ops")
    assert watched.ask(*shown.curl, *CSR, server.address("/v1/renew"), body=more).status == 403
    assert watched.ask(*shown.curl, server.address("/v1/whoami")).status == 403
    assert watched.ask(*shown.curl, *bearer(callers.alice), server.address("/v1/whoami")).status == 400
    (row, *_) = server.items(server.auditor, "/v1/certificates", caller="cert:prod:alice")
    assert watched.run("key", "block", row["spki_sha256"], "--reason", "x") == 0
    assert watched.ask(*shown.curl, *CSR, server.address("/v1/renew"), body=csr).status == 401


def assert_no_credential(watched: Watched, callers: Callers) -> None:
    watched.out["log"] = watched.server.log.read_bytes()
    assert b'"level":"DEBUG"' in watched.out["log"], "it is not at its most talkative"
    for what, secret in callers.secrets().items():
        absent(what, secret, watched.out)


def bearer(text: str) -> tuple:
    return ("-H", f"Authorization: Bearer {text}")


def dumped(database: Path) -> bytes:
    """All of it as text."""
    return subprocess.run(["sqlite3", database, ".dump"], check=True, capture_output=True).stdout


def token(header: Path) -> bytes:
    """The secret part; the id before it may be shown."""
    return header.read_text().split("_")[-1].strip().encode()


def token_text(header: Path) -> str:
    return header.read_text().split()[-1]


def decoded(part: str) -> bytes:
    """Of a JWT."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


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
