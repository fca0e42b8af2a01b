"""Callers with tokens of a real issuer, which rotates its keys, fails and lies."""

import json
import time

import authorities
import pytest
import requests_by_python as requests
from curl import Answer, curl
from issuer import CLUSTER_KEYS, DISCOVERY, KEYS, Issuer, new_key
from issuer import sign as signed
from server import Cluster

OWN = {
    "name": "own", "effect": "allow", "clusters": ["prod"], "callers": ["oidc:corp:*"],
    "users": ["{caller}"], "groups": ["{caller.groups}"],
}  # fmt: skip
REQUESTERS = {"role": "requester", "callers": ["oidc:corp:*"]}


@pytest.fixture
def issuer(tmp_path):
    issuer = Issuer(tmp_path / "issuer", authorities.kubeadm(tmp_path / "issuer-ca", "/CN=issuer"))
    yield issuer
    issuer.down()


@pytest.fixture
def make(make_server, issuer):
    """Makes a server that trusts the issuer."""

    def make(start: bool = True, **changed):
        settings = {"auth": {"oidc": [issuer.settings(**changed)]}, "roles": [REQUESTERS]}
        return make_server(rows=(OWN,), start=start, **settings)

    return make


def whoami(server, token: str) -> Answer:
    return curl("-H", f"Authorization: Bearer {token}", server.address("/v1/whoami"))


def sign(server, token: str, user: str, *groups: str) -> Answer:
    csr = requests.request(requests.new_key(), user, *groups)
    return curl("-H", f"Authorization: Bearer {token}", "--data-binary", "@-", server.address("/v1/sign"), body=csr)


def reconfigured(server, **settings):
    """The same server under another configuration, which the command line need not take."""
    server.configuration.write_text(server._toml(settings))
    return server


def last_line(server) -> str:
    """What `serve` says last where it must not start."""
    ran = server.cli("serve", check=False)
    assert ran.returncode == 1, ran.stderr
    return ran.stderr.splitlines()[-1]


def wait_until(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)


def test_a_person_signs_in_with_a_token_of_the_issuer(make, issuer):
    server = make()
    assert issuer.asked == [DISCOVERY, KEYS]
    known = whoami(server, issuer.token()).json()
    assert (known["caller"], known["groups"]) == ("oidc:corp:alice", ["group:corp:dev"])
    issued = sign(server, issuer.token(), "alice", "dev").issued().json()
    assert issued["requested_by"] == "oidc:corp:alice"
    sign(server, issuer.token(), "alice", "admins").problem(403, "policy_denied")
    sign(server, issuer.token("bob"), "alice").problem(403, "policy_denied")
    assert issuer.asked == [DISCOVERY, KEYS], "keys are fetched once"


def test_what_is_wrong_with_a_token_is_in_the_log_and_the_token_is_not(make, issuer):
    server = make()
    now = int(time.time())
    for changed, reason in [
        ({"exp": now - 1}, "expired"),
        ({"aud": "other"}, "another audience"),
        ({"iss": "https://other.example"}, "no source has its iss"),
        ({"iat": now - 90_000}, "max_token_age"),
        ({"preferred_username": None}, "preferred_username"),
        ({"_claim_names": {"groups": "src1"}}, "left out"),
    ]:
        token = issuer.token(**changed)
        problem = whoami(server, token).problem(401, "unauthenticated")
        [line] = [line for line in server.log.read_text().splitlines()
                  if problem["request_id"] in line and "a JWT is not accepted" in line]  # fmt: skip
        assert reason in line
        assert not any(part in server.log.read_text() for part in token.split("."))


def test_keys_are_rotated_and_outlive_an_outage(make, issuer):
    server = make()
    old, new = issuer.key(), None
    known = issuer.token()
    assert whoami(server, known).status == 200
    issuer.down()
    assert whoami(server, issuer.token("bob")).status == 200, "old keys are kept through an outage"
    issuer.up()
    issuer.rotate("two", "RSA")
    new = issuer.key()
    before = len(issuer.asked)
    for _ in range(20):
        whoami(server, issuer.token()).problem(401)
        whoami(server, signed("nobody-has-this", old[1], issuer.claims())).problem(401)
    assert len(issuer.asked) - before <= 2, "an unknown kid is looked for once a minute at most"
    wait_until(lambda: whoami(server, issuer.token("carol", key=new)).status == 200, 65)
    whoami(server, known).problem(401)
    whoami(server, issuer.token("bob", key=old)).problem(401)


@pytest.mark.parametrize("trouble", [
    "redirects", "redirects the keys", "fails", "is slow", "is somebody else", "has its keys on plain HTTP",
    "has its keys in a file", "sends far too much", "sends no JSON", "has no keys", "shares a secret",
])  # fmt: skip
def test_an_issuer_that_lies_or_fails_vouches_for_nobody(make, issuer, trouble):
    issuer.trouble = trouble
    server = make()
    whoami(server, issuer.token()).problem(401)
    assert "/elsewhere" not in issuer.asked, "nothing is followed"
    assert "auth.oidc corp" in curl(server.address("/readyz")).text
    issuer.trouble = ""
    wait_until(lambda: whoami(server, issuer.token()).status == 200, 20)


def test_an_issuer_with_a_certificate_of_another_ca_is_not_asked(make, issuer, tmp_path):
    other = authorities.kubeadm(tmp_path / "another-ca", "/CN=another")
    server = make(ca_file=str(other.root))
    whoami(server, issuer.token()).problem(401)
    assert issuer.asked == []


def test_nothing_that_a_token_names_is_ever_fetched(make, issuer):
    server = make()
    before = len(issuer.asked)
    kid, key = issuer.key()
    token = signed(kid, key, issuer.claims(jku=f"{issuer.url}/elsewhere", jwks_uri=f"{issuer.url}/elsewhere"))
    assert whoami(server, token).status == 200
    assert len(issuer.asked) == before


def test_an_approver_on_the_command_line_sees_whether_the_person_was_proven(make_server, issuer):
    portal = {
        "name": "portal", "effect": "allow", "clusters": ["prod"], "callers": ["token:portal"], "on_behalf_of": ["*"],
        "users": ["{on_behalf_of}"],
    }  # fmt: skip
    look = {"name": "look", "effect": "review", "clusters": ["prod"], "callers": ["token:portal"], "users": ["*"]}
    rows = (portal, look | {"approvers": ["token:carol"]})
    server = make_server(rows=rows, auth={"oidc": [issuer.settings(proves_persons=True)]})
    header = server.token("portal", "requester", options=("--on-behalf-of",))
    token = ("-H", f"On-Behalf-Of-Token: {issuer.token('alice')}")
    for options, shown, listed in ((token, "true", "alice (proven)"), ((), "false", "alice (not proven)")):
        csr = requests.request(requests.new_key(), "alice")
        held = server.sign(header, csr, *options, on_behalf_of="alice")
        assert held.status == 202, held.text
        told = server.cli("request", "show", held.json()["id"]).stdout
        assert "on_behalf_of\talice\n" in told and f"on_behalf_of_proof\t{shown}\n" in told
        (line,) = [line for line in server.cli("request", "list").stdout.splitlines() if held.json()["id"] in line]
        assert line.split("\t")[5:7] == ["token:portal", listed]


def test_a_name_is_given_free_on_the_command_line(make, issuer):
    server = make()
    assert whoami(server, issuer.token()).status == 200
    whoami(server, issuer.token(sub="another")).problem(401)
    listed = server.cli("identity", "list").stdout.split("\t")
    assert listed[:3] == ["oidc:corp:alice", issuer.url, "id-of-alice"]
    server.cli("identity", "release", "oidc:corp:alice")
    assert server.cli("identity", "release", "oidc:corp:alice", check=False).returncode == 1
    wait_until(lambda: whoami(server, issuer.token(sub="another")).status == 200, 5)
    wait_until(lambda: whoami(server, issuer.token()).status == 401, 5)
    events = server.items(server.auditor, "/v1/audit", kind="identity.released")
    assert events[0]["caller"].startswith("cli:") and events[0]["detail"]["subject"] == "id-of-alice"


@pytest.mark.parametrize(("changed", "says"), [
    ({"issuer": "https://token.actions.githubusercontent.com"}, "require an owner"),
    ({"issuer": "http://127.0.0.1"}, "https://"),
    ({"algorithms": ["HS256"]}, "HS256"),
    ({"name": "prod"}, "cluster"),
    ({"ca_file": "/nowhere"}, "/nowhere"),
    ({"jwks_file": "nowhere.json", "ca_file": None}, "nowhere.json"),
])  # fmt: skip
def test_a_configuration_that_is_not_safe_does_not_start(make, issuer, changed, says):
    server = make(start=False)
    assert says in last_line(reconfigured(server, auth={"oidc": [issuer.settings(**changed)]}, roles=[]))
    assert says in server.cli("config", "check", check=False).stderr
    ran = server.cli("check", check=False)
    assert ran.returncode == 1 and says in ran.stdout + ran.stderr


def test_two_files_with_one_key_do_not_start(make_server, issuer, tmp_path):
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(issuer.jwks()))
    tables = [
        issuer.settings(name=name, issuer=f"https://{name}.example", jwks_file=str(keys), ca_file=None)
        for name in ("one", "two")
    ]
    server = make_server(start=False)
    assert "key in common" in last_line(reconfigured(server, auth={"oidc": tables}))


def test_an_issuer_that_shows_the_key_of_another_keeps_nobody_from_starting(make_server, issuer, tmp_path):
    hostile = Issuer(tmp_path / "hostile", issuer.authority)
    issuer.keys["two"], hostile.keys["copy"] = new_key(), issuer.key()[1]
    server = make_server(
        rows=(OWN,), roles=[REQUESTERS], auth={"oidc": [hostile.settings(name="hostile"), issuer.settings()]}
    )
    assert "auth.oidc hostile and auth.oidc corp have a key in common" in curl(server.address("/readyz")).text
    assert "verifies for neither" in server.log.read_text()
    whoami(server, issuer.token()).problem(401)
    copied = ("copy", issuer.key()[1])
    whoami(server, hostile.token(key=copied)).problem(401)
    assert whoami(server, issuer.token(key=("two", issuer.keys["two"]))).json()["caller"] == "oidc:corp:alice"
    assert whoami(server, hostile.token()).json()["caller"] == "oidc:hostile:alice"
    hostile.down()


def test_a_key_that_a_cluster_shows_too_verifies_for_neither(make_server, issuer, tmp_path, authority):
    cluster = Issuer(tmp_path / "cluster", issuer.authority)
    table = {"cluster": "prod", "issuer": cluster.url, "server": cluster.url, "ca": str(cluster.ca_file), "audience": "countersign"}
    table["algorithms"] = ["ES256"]
    cluster.trouble = "fails"
    server = make_server(
        Cluster("prod", authority), rows=(OWN,), roles=[REQUESTERS],
        auth={"oidc": [issuer.settings()], "kubernetes": [table]},
    )  # fmt: skip
    assert whoami(server, issuer.token()).status == 200
    own = cluster.key()
    cluster.keys, cluster.trouble = {"own": own[1], **issuer.keys}, ""
    account = {"namespace": "ci", "serviceaccount": {"name": "builder", "uid": "u"}}
    pod = cluster.claims(sub="system:serviceaccount:ci:builder") | {"kubernetes.io": account}
    wait_until(lambda: whoami(server, signed("own", own[1], pod)).status == 200, 30)
    whoami(server, signed(*issuer.key(), pod)).problem(401)
    assert CLUSTER_KEYS in cluster.asked
    assert "key in common" in curl(server.address("/readyz")).text
    whoami(server, issuer.token()).problem(401)
    cluster.down()
