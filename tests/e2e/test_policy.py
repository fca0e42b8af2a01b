"""The policy table, through the front door: what is refused, and from when."""

import json

import certificates
import der
import ledger
import pytest
import requests_by_python as requests
from conftest import Known
from cryptography import x509
from curl import curl
from server import Cluster

MASTERS = "system:masters"


def allow(name: str = "row", **fields) -> dict:
    """An allow row for the token `alice`."""
    row = {"name": name, "effect": "allow", "clusters": ["prod"], "callers": ["token:alice"], "users": ["alice"]}
    return row | fields


def deny(name: str = "row", **fields) -> dict:
    return allow(name, effect="deny", **fields)


def csr(user: str, *groups: str) -> bytes:
    return requests.request(requests.new_key(), user, *groups)


def test_a_refusal_names_every_refused_claim_and_the_nearest_allowed(make_server):
    server = make_server(rows=(
        allow("developers", users=["{caller}"], groups=["dev", "team-*"]),
        allow("others", callers=["token:bob"], users=["bob"], groups=["secret-project"]),
    ))  # fmt: skip

    problem = server.sign(server.alice, csr("mallory", "dev", "ops", "team-x", "tema-y")).problem(403, "policy_denied")

    violations = {(v["claim"], v["value"]): v for v in problem["violations"]}
    # The row gives its groups to alice only, so mallory gets none of them either.
    asked = {("user", "mallory"), ("group", "dev"), ("group", "ops"), ("group", "team-x"), ("group", "tema-y")}
    assert set(violations) == asked
    assert violations["user", "mallory"]["allowed"] == ["alice"]
    assert "mallory" in violations["group", "dev"]["reason"]
    assert violations["group", "tema-y"]["allowed"][0] == "team-*"
    assert all(len(v["allowed"]) <= 5 and v["reason"] for v in violations.values())
    assert "secret-project" not in str(problem) and "bob" not in str(problem)


def test_a_refusal_is_recorded(make_server):
    server = make_server(rows=(allow(),))
    problem = server.sign(server.alice, csr("mallory", "ops")).problem(403)
    [recorded] = server.items(server.auditor, "/v1/refusals")
    assert recorded["request_id"] == problem["request_id"]
    assert (recorded["user"], recorded["groups"], recorded["code"]) == ("mallory", ["ops"], "policy_denied")


def test_nothing_is_allowed_by_default(make_server):
    server = make_server(rows=(allow(enabled=False),))
    server.sign(server.alice, csr("alice")).problem(403, "policy_denied")


def test_rows_add_up_claim_by_claim(make_server):
    server = make_server(rows=(allow("one", groups=["a"]), allow("two", groups=["b"])))
    assert server.sign(server.alice, csr("alice", "a", "b")).issued().json()["policies"] == ["one", "two"]
    server.sign(server.alice, csr("alice", "a", "c")).problem(403)


def test_a_pattern_is_anchored_and_compares_bytes(make_server):
    server = make_server(rows=(allow(groups=["dev", "team-*"]),))
    for group in ("ops", "xdev", "devx", "Dev", "de", "xteam-a", "Team-a", "team", "team-ü"):
        server.sign(server.alice, csr("alice", group)).problem(403, "policy_denied")


def test_deny_beats_allow_whatever_the_order(make_server):
    for rows in ([allow("a", groups=["*"]), deny("z", groups=["prod-*"])],
                 [deny("a", groups=["prod-*"]), allow("z", groups=["*"])]):  # fmt: skip
        server = make_server(rows=tuple(rows))
        server.sign(server.alice, csr("alice", "dev")).issued()
        problem = server.sign(server.alice, csr("alice", "dev", "prod-db")).problem(403, "policy_denied")
        assert [v["value"] for v in problem["violations"]] == ["prod-db"]


def test_a_deny_row_says_only_that_it_denied_unless_it_explains(make_server):
    text = "closed-for-the-holidays"
    for explain in (False, True):
        row = deny("secret-row", groups=["prod-*"], description=text, explain=explain)
        server = make_server(rows=(allow("a", groups=["*"]), row))
        answer = server.sign(server.alice, csr("alice", "prod-db"))
        answer.problem(403)
        assert ("secret-row" in answer.text) is explain


def test_a_deny_row_without_groups_speaks_of_the_name(make_server):
    server = make_server(rows=(allow("a", groups=["*"]), deny("b", users=["*"])))
    server.sign(server.alice, csr("alice")).problem(403)
    server.sign(server.alice, csr("alice", "dev")).problem(403)


# Never.


def one_group(tag: int, value: str) -> list[bytes]:
    return [der.rdn(der.attribute(der.COMMON_NAME, "alice")), der.rdn(der.attribute(der.ORGANIZATION, value, tag))]


SPELLINGS = {
    "plain": one_group(der.UTF8, MASTERS),
    "a printable string": one_group(der.PRINTABLE, MASTERS),
    "a BMP string": one_group(der.BMP, MASTERS),
    "a T61 string": one_group(der.T61, MASTERS),
    "an IA5 string": one_group(der.IA5, MASTERS),
    "a universal string": one_group(der.UNIVERSAL, MASTERS),
    "upper case": one_group(der.UTF8, "System:Masters"),
    "a space before": one_group(der.UTF8, f" {MASTERS}"),
    "a space after": one_group(der.UTF8, f"{MASTERS} "),
    "a space inside": one_group(der.UTF8, "system: masters"),
    "a tab": one_group(der.UTF8, f"{MASTERS}\t"),
    "a newline": one_group(der.UTF8, f"{MASTERS}\n"),
    "a NUL": one_group(der.UTF8, f"{MASTERS}\0"),
    "a zero width space": one_group(der.UTF8, "system:\u200bmasters"),
    "a soft hyphen": one_group(der.UTF8, "system:mas\u00adters"),
    "a right-to-left override": one_group(der.UTF8, "\u202esretsam:metsys"),
    "a Cyrillic letter": one_group(der.UTF8, "system:m\u0430sters"),
    "full width": one_group(der.UTF8, "ｓｙｓｔｅｍ：ｍａｓｔｅｒｓ"),
    "a full width colon": one_group(der.UTF8, "system：masters"),
    "a tag character": one_group(der.UTF8, f"{MASTERS}\U000e0061"),
    "a decomposed letter": one_group(der.UTF8, "syste\u0301m:masters"),
    "behind another group": [*one_group(der.UTF8, "dev"), der.rdn(der.attribute(der.ORGANIZATION, MASTERS))],
    "in one RDN with another": [
        der.rdn(der.attribute(der.COMMON_NAME, "alice")),
        der.rdn(der.attribute(der.ORGANIZATION, "dev"), der.attribute(der.ORGANIZATION, MASTERS)),
    ],
    "in one RDN with the name": [
        der.rdn(der.attribute(der.COMMON_NAME, "alice"), der.attribute(der.ORGANIZATION, MASTERS))
    ],
    "the user name": [der.rdn(der.attribute(der.COMMON_NAME, MASTERS))],
    "a second user name": [
        der.rdn(der.attribute(der.COMMON_NAME, "alice")),
        der.rdn(der.attribute(der.COMMON_NAME, MASTERS)),
    ],
    "a user id": [der.rdn(der.attribute(der.COMMON_NAME, "alice")), der.rdn(der.attribute(der.USER_ID, MASTERS))],
}
DECOMPOSED = SPELLINGS.pop("a decomposed letter")
"""Not a spelling of it, but no NFC either."""


@pytest.fixture(scope="module")
def open_server(tmp_path_factory, authority):
    """A server whose policy gives away everything that a policy can give."""
    server = Known(tmp_path_factory.mktemp("open"), Cluster("prod", authority))
    server.apply(allow("everything", users=["*"], groups=["*"]))
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("rdns", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_system_masters_is_never_issued(open_server, rdns):
    answer = open_server.sign(open_server.alice, requests.request_with_name(requests.new_key(), *rdns))
    assert answer.status in (403, 422), answer.text
    answer.problem(answer.status)
    for row in ledger.certificates(open_server.database):
        user, groups = certificates.identity(x509.load_der_x509_certificate(row.der))
        assert all(name.isascii() and "masters" not in name.lower() for name in (user, *groups))


def test_a_name_that_is_not_in_nfc_is_refused(open_server):
    open_server.sign(open_server.alice, requests.request_with_name(requests.new_key(), *DECOMPOSED)).problem(422)


NEVER = [
    ("system:anonymous",), ("system:serviceaccount:kube-system:admin",), ("alice", "system:authenticated"),
    ("alice", "system:unauthenticated"), ("alice", "system:serviceaccounts"), ("alice", MASTERS),
    ("alice", "system:serviceaccounts:kube-system"),
]  # fmt: skip


@pytest.mark.parametrize("names", NEVER, ids="/".join)
def test_some_names_are_never_issued_and_the_refusal_is_recorded(open_server, names):
    problem = open_server.sign(open_server.alice, csr(*names)).problem(403)
    recorded = open_server.items(open_server.auditor, "/v1/refusals")[0]
    assert recorded["request_id"] == problem["request_id"]


@pytest.mark.parametrize("name", ["system:kube-scheduler", "kubeadm:cluster-admins", "system:node:n1", "system:nodes"])
def test_a_wildcard_never_gives_a_reserved_name(open_server, name):
    open_server.sign(open_server.alice, csr("alice", name)).problem(403)
    open_server.sign(open_server.alice, csr(name)).problem(403)


def test_a_reserved_name_is_given_by_a_row_that_spells_it_out(make_server):
    server = make_server(rows=(allow(groups=["kubeadm:cluster-admins"]),))
    server.sign(server.alice, csr("alice", "kubeadm:cluster-admins")).issued()


# Who is meant.


def test_the_caller_variable_gives_a_caller_its_own_name_only(make_server):
    server = make_server(rows=(allow(callers=["token:*"], users=["{caller}"]),))
    bob = server.token("bob", "requester")
    server.sign(server.alice, csr("alice")).issued()
    server.sign(bob, csr("bob")).issued()
    server.sign(bob, csr("alice")).problem(403)


def test_naming_a_person_needs_the_right_and_a_row_that_speaks_of_it(make_server):
    server = make_server(rows=(
        allow("own", callers=["token:portal"], users=["portal"]),
        allow("people", callers=["token:portal"], users=["{on_behalf_of}"], on_behalf_of=["al*"]),
    ))  # fmt: skip
    portal = server.token("portal", "requester", options=("--on-behalf-of",))
    issued = server.sign(portal, csr("alice"), on_behalf_of="alice").issued().json()
    assert (issued["on_behalf_of"], issued["requested_by"]) == ("alice", "token:portal")
    server.sign(portal, csr("bob"), on_behalf_of="bob").problem(403)
    # An allow row without on_behalf_of never matches a request that names somebody.
    server.sign(portal, csr("portal"), on_behalf_of="alice").problem(403)
    server.sign(portal, csr("alice")).problem(403)
    server.sign(server.alice, csr("alice"), on_behalf_of="alice").problem(403, "on_behalf_of_not_allowed")
    # To be named gives no right.
    assert server.items(server.alice, "/v1/certificates") == []


def test_the_least_lifetime_of_the_claims_holds(make_server):
    server = make_server(rows=(allow("long", groups=["a"], max_ttl="4h"), allow("short", groups=["b"], max_ttl="1h")))
    for groups, hours in ((["a"], 4), (["b"], 1), (["a", "b"], 1)):
        answer = server.sign(server.alice, csr("alice", *groups), ttl="8h").issued().json()
        leaf = x509.load_pem_x509_certificate(answer["certificate"].encode())
        assert server.lifetime_seconds(leaf) == hours * 3600 and answer["warnings"]


def test_a_row_may_ask_for_a_kind_of_key(make_server):
    server = make_server(rows=(allow(keys=["ed25519"]),))
    server.sign(server.alice, csr("alice")).problem(403, "policy_denied")


# From when.


def test_what_the_command_line_applies_holds_for_the_very_next_request(make_server):
    server = make_server(rows=(allow("r"),))
    request = csr("alice")
    for _ in range(5):
        server.apply(deny("r"))
        server.sign(server.alice, request).problem(403)
        server.apply(allow("r"))
        server.sign(server.alice, request).issued()


def test_a_revoked_token_is_refused_at_once(make_server):
    server = make_server(rows=(allow(),))
    request = csr("alice")
    server.sign(server.alice, request).issued()
    server.cli("token", "revoke", "alice")
    server.sign(server.alice, request).problem(401, "unauthenticated")


def test_a_blocked_key_is_refused_at_once(make_server):
    server = make_server(rows=(allow(),))
    request = csr("alice")
    issued = server.sign(server.alice, request).issued().json()
    spki = x509.load_pem_x509_certificate(issued["certificate"].encode()).public_key()
    server.cli("key", "block", certificates.spki_sha256(spki), "--reason", "stolen laptop")
    server.sign(server.alice, request).problem(422, "key_blocked")
    server.cli("key", "unblock", certificates.spki_sha256(spki))
    server.sign(server.alice, request).issued()


# What cannot be written.


BROKEN = {
    "an unknown cluster": allow(clusters=["prdo"]),
    "an empty list": allow(users=[]),
    "no clusters": {key: value for key, value in allow().items() if key != "clusters"},
    "an unknown field": allow(grops=["dev"]),
    "an unknown variable": allow(users=["{calller}"]),
    "an unknown effect": allow() | {"effect": "maybe"},
    "a lifetime on a deny row": deny(max_ttl="1h"),
    "an unknown kind of key": allow(keys=["dsa"]),
    "a wildcard beside a variable": allow(users=["{caller}*"]),
    "a caller of no kind": allow(callers=["alice"]),
    "a wildcard for the kind": allow(callers=["*:alice"]),
    "a bad name": allow("Row One"),
}


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN.keys())
def test_a_row_that_is_wrong_changes_nothing(server, row):
    before = server.cli("policy", "list").stdout
    ran = server.apply(row, check=False)
    assert ran.returncode == 1 and ran.stdout == "" and ran.stderr.strip(), ran
    assert server.cli("policy", "list").stdout == before


def test_apply_prints_what_changed(make_server):
    server = make_server(rows=(allow("keeps"), allow("goes"), allow("changes")))
    said = server.apply(allow("keeps"), allow("comes"), allow("changes", groups=["dev"])).stdout
    assert "comes" in said and "goes" in said and "changes" in said and "keeps" not in said


def test_wrong_usage_exits_2(server):
    assert server.cli("policy", "aply", check=False).returncode == 2


def test_the_command_line_explains_what_the_service_decides(make_server):
    server = make_server(rows=(
        allow("people", groups=["dev"], max_ttl="2h"),
        allow("others", callers=["token:bob"], groups=["ops"]),
        deny("no-admins", groups=["admins"]),
    ))  # fmt: skip
    asked = ("policy", "explain", "--caller", "token:alice", "--user", "alice", "--cluster", "prod", "--group", "dev")

    told = server.cli(*asked)
    assert "people*" in told.stdout and "not on callers, groups" in told.stdout
    assert "the most that people gives" in told.stdout

    refused = server.cli(*asked, "--group", "admins", "-o", "json", check=False)
    assert refused.returncode == 3 and "policy_denied" not in refused.stderr and "admins" in refused.stderr
    over_http = server.sign(server.alice, csr("alice", "dev", "admins")).problem(403, "policy_denied")
    explained = json.loads(refused.stdout)
    assert explained["violations"] == over_http["violations"]
    denied = explained["claims"][2]
    assert (denied["value"], denied["outcome"], denied["policies"]) == ("admins", "denied", ["no-admins"])


def test_a_file_is_explained_without_a_database_and_without_a_ca(make_server):
    server = make_server(rows=(allow(),))
    rows = server.folder / "rows.json"
    rows.write_text(json.dumps({"policies": [allow("next", groups=["dev"])]}))
    server.stop()
    for file in (*server.folder.rglob("*.key"), *server.folder.rglob("*.db")):
        file.unlink()
    asked = ("policy", "explain", "--caller", "token:alice", "--user", "alice", "--cluster", "prod", "--group", "dev")
    assert "next*" in server.cli(*asked, "-f", rows).stdout
    without = server.cli(*asked, check=False)
    assert without.returncode == 1 and "no such file" in without.stderr


def test_what_credentials_would_show_is_supposed_on_the_command_line(make_server):
    rows = (
        allow(
            "proven", callers=["oidc:corp:portal"], users=["{on_behalf_of}"], groups=["{on_behalf_of.groups}"],
            on_behalf_of=["*"], proof=True,
        ),
        allow("mail", callers=["oidc:corp:*"], users=["{caller.claim.email}"]),
    )  # fmt: skip
    server = make_server(rows=rows)
    portal = ("policy", "explain", "--caller", "oidc:corp:portal", "--cluster", "prod", "--on-behalf-of", "carol")
    carol = (*portal, "--user", "carol")
    assert "proven*" in server.cli(*carol, "--group", "dev", "--proof-group", "dev", "--proof-group", "ops").stdout
    assert "proven*" in server.cli(*carol, "--proof").stdout
    for asked in (carol, (*carol, "--proof", "--group", "dev")):
        assert server.cli(*asked, check=False).returncode == 3
    mail = ("policy", "explain", "--caller", "oidc:corp:7", "--cluster", "prod", "--user", "a@corp.example")
    assert "mail*" in server.cli(*mail, "--caller-claim", "email=a@corp.example").stdout
    assert server.cli(*mail, "--caller-claim", "email=b@corp.example", check=False).returncode == 3
    for wrong in (("--proof",), ("--proof-group", "dev"), ("--caller-claim", "email")):
        assert server.cli(*mail, *wrong, check=False).returncode == 2


def test_a_requester_evaluates_for_itself_only(make_server):
    server = make_server(rows=(allow("people", groups=["dev"]),))
    url = server.address("/v1/policies/evaluate")
    body = ("--data-binary", json.dumps({"user": "alice", "groups": ["dev"]}))
    told = curl("-H", f"@{server.alice}", *body, url)
    assert told.status == 200 and told.json()["outcome"] == "allowed"
    body = ("--data-binary", json.dumps({"caller": "token:bob", "user": "bob"}))
    curl("-H", f"@{server.alice}", *body, url).problem(403, "role_missing")
    body = ("--data-binary", json.dumps({"user": "alice", "on_behalf_of": "carol", "proof": {"groups": ["dev"]}}))
    curl("-H", f"@{server.alice}", *body, url).problem(403, "role_missing")
