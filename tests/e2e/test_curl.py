"""The API as curl uses it: bodies, answers, errors, retries."""

import base64
import json
import re
import subprocess
from pathlib import Path

import certificates
import ledger
import pytest
import requests_by_openssl as requests
import requests_by_python as python_made
import yaml
from authorities import openssl
from cryptography import x509
from curl import curl
from server import environment

KIB_64 = 64 * 1024


@pytest.fixture(scope="module")
def csr(tmp_path_factory) -> bytes:
    return requests.new_request(tmp_path_factory.mktemp("csr"), "alice", "dev")


def leaf_of(body: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(body)[0]


# What the body may be.


def test_curl_d_strips_every_newline_and_it_is_still_read(server, csr, tmp_path):
    path = tmp_path / "alice.csr"
    path.write_bytes(csr)
    stripped = curl("-H", f"@{server.alice}", "-d", f"@{path}", server.address("/v1/sign", cluster="prod"))
    stripped.issued()


def test_json_holds_request_and_parameters(server, csr):
    body = json.dumps({"csr": csr.decode(), "cluster": "prod", "ttl": "90m", "reason": "deploy"})
    answer = curl("-H", f"@{server.alice}", "--json", body, f"{server.url}/v1/sign").issued().json()
    assert server.lifetime_seconds(leaf_of(answer["certificate"].encode())) == 90 * 60


def test_curl_upload_with_post_works_and_without_it_is_a_405_that_says_so(server, csr, tmp_path):
    path = tmp_path / "alice.csr"
    path.write_bytes(csr)
    url = server.address("/v1/sign", cluster="prod")
    curl("-H", f"@{server.alice}", "-X", "POST", "-T", path, url).issued()
    refused = curl("-H", f"@{server.alice}", "-T", path, url)
    assert "-X POST" in refused.problem(405)["detail"]
    assert "POST" in refused.headers["allow"]


SPELLINGS = {
    "carriage returns": lambda pem: pem.replace(b"\n", b"\r\n"),
    "the old label": lambda pem: pem.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"),
    "text around it": lambda pem: b"Certificate Request:\n    Data: x\n" + pem + b"\nthe end\n",
    "base64 of PEM": lambda pem: base64.b64encode(pem),
    "base64 of PEM in lines": lambda pem: base64.encodebytes(pem),
    "a byte order mark": lambda pem: b"\xef\xbb\xbf" + pem,
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_pem_is_read_in_every_common_spelling(server, csr, spell):
    server.sign(server.alice, spell(csr)).issued()


@pytest.mark.parametrize("encode", [bytes, base64.b64encode], ids=["plain", "base64"])
def test_der_is_read_under_its_content_type(server, csr, encode):
    body = encode(python_made.to_der(csr))
    server.sign(server.alice, body, "-H", "Content-Type: application/pkcs10").issued()


def test_two_requests_in_one_body_are_refused(server, csr):
    answer = server.sign(server.alice, csr + csr)
    assert answer.status in (400, 422), answer.text
    answer.problem(answer.status)


def test_utf16_gets_a_sentence_that_says_so(server, csr):
    answer = server.sign(server.alice, csr.decode().encode("utf-16"))
    assert answer.status in (400, 415, 422) and "UTF-16" in answer.problem(answer.status)["detail"]


@pytest.mark.parametrize("body", [b"", b"hello", b"{", b"\0" * 100, b"-----BEGIN CERTIFICATE REQUEST-----\n"])
def test_a_body_that_is_no_request_is_a_problem(server, body):
    answer = server.sign(server.alice, body)
    assert answer.status in (400, 415, 422), answer.text
    answer.problem(answer.status)


def test_64_kib_are_read_and_one_byte_more_is_not(server, csr):
    padding = b"\n" * (KIB_64 - len(csr))
    server.sign(server.alice, padding + csr).issued()
    server.sign(server.alice, padding + b"\n" + csr).problem(413)


# What the answer is.


@pytest.mark.parametrize("accept", ["application/x-pem-file", "application/pem-certificate-chain"])
def test_accept_pem(server, csr, accept):
    answer = server.sign(server.alice, csr, "-H", f"Accept: {accept}").issued()
    assert leaf_of(answer.body).subject.rfc4514_string() == "O=dev,CN=alice"


def test_accept_yaml_is_the_kubeconfig(server, csr):
    answer = server.sign(server.alice, csr, "-H", "Accept: application/yaml").issued()
    assert yaml.safe_load(answer.body)["kind"] == "Config"
    assert answer.headers["content-type"].startswith("application/yaml")


def test_json_is_the_default_and_says_everything(server, csr):
    answer = server.sign(server.alice, csr).issued()
    said = answer.json()
    leaf = leaf_of(said["certificate"].encode())
    assert said["not_after"] == f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert said["not_before"] == f"{leaf.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert (said["user"], said["groups"], said["cluster"]) == ("alice", ["dev"], "prod")
    assert said["requested_by"] == "token:alice" and said["policies"] == ["developers"]
    assert said["policy_revision"] >= 1 and said["warnings"] == [] and said["status"] == "active"
    assert said["not_before"] < said["renew_after"] < said["not_after"]
    assert yaml.safe_load(said["kubeconfig"])["kind"] == "Config"
    assert answer.headers["location"].endswith(f"/v1/certificates/{said['serial']}")


@pytest.mark.parametrize("format, first", [("json", b"{"), ("pem", b"-----BEGIN CERT"), ("kubeconfig", b"#")])
def test_format_wins_over_accept(server, csr, format, first):
    other = "application/json" if format != "json" else "application/yaml"
    answer = server.sign(server.alice, csr, "-H", f"Accept: {other}", format=format).issued()
    assert answer.body.startswith(first)


def test_another_accept_is_a_406_that_lists_the_choices(server, csr):
    detail = server.sign(server.alice, csr, "-H", "Accept: image/png").problem(406)["detail"]
    assert "application/json" in detail and "application/yaml" in detail and "application/x-pem-file" in detail


def test_an_authenticated_answer_is_never_cached(server, csr):
    for answer in (server.sign(server.alice, csr), server.get(server.alice, "/v1/certificates")):
        assert answer.headers["cache-control"] == "no-store"
        assert {word.strip().lower() for word in answer.headers["vary"].split(",")} >= {"authorization", "accept"}


# Parameters.


@pytest.mark.parametrize("ttl, seconds", [("8h", 28800), ("90m", 5400), ("28800", 28800), ("10m", 600), ("600", 600)])
def test_a_lifetime_is_exact_to_the_second(server, csr, ttl, seconds):
    answer = server.sign(server.alice, csr, ttl=ttl, format="pem").issued()
    assert server.lifetime_seconds(leaf_of(answer.body)) == seconds


@pytest.mark.parametrize("ttl", ["0", "-1", "9m", "599", "soon", "8 h", "1e3", "", "99999999999999999999h", "100000h"])
def test_a_lifetime_that_cannot_be_meant_is_a_400(server, csr, ttl):
    assert "ttl" in server.sign(server.alice, csr, ttl=ttl).problem(400)["detail"]


def test_a_lifetime_over_the_clusters_is_cut_with_a_warning(server, csr):
    answer = server.sign(server.alice, csr, ttl="48h").issued().json()
    assert server.lifetime_seconds(leaf_of(answer["certificate"].encode())) == 24 * 3600
    assert len(answer["warnings"]) == 1


def test_the_default_lifetime_is_eight_hours(server, csr):
    assert server.lifetime_seconds(leaf_of(server.sign(server.alice, csr, format="pem").issued().body)) == 28800


def test_an_unknown_parameter_is_a_400_that_names_it(server, csr):
    assert "tll" in server.sign(server.alice, csr, tll="8h").problem(400)["detail"]
    assert "usr" in server.get(server.alice, "/v1/certificates", usr="alice").problem(400)["detail"]


def test_a_parameter_given_twice_is_a_400(server, csr):
    url = server.address("/v1/sign") + "?ttl=8h&ttl=9h"
    curl("-H", f"@{server.alice}", "--data-binary", "@-", url, body=csr).problem(400)
    body = json.dumps({"csr": csr.decode(), "ttl": "8h"})
    curl("-H", f"@{server.alice}", "--json", body, server.address("/v1/sign", ttl="8h")).problem(400)


def test_an_unknown_field_of_the_json_is_a_400(server, csr):
    body = json.dumps({"csr": csr.decode(), "groups": ["system:masters"]})
    assert "groups" in curl("-H", f"@{server.alice}", "--json", body, f"{server.url}/v1/sign").problem(400)["detail"]


def test_an_unknown_cluster_is_a_400_that_lists_the_known(server, csr):
    assert "prod" in server.sign(server.alice, csr, cluster="prdo").problem(400, "cluster_unknown")["detail"]


def test_a_dry_run_checks_everything_and_writes_nothing(server, csr):
    before = (ledger.count(server.database, "certificates"), len(server.items(server.auditor, "/v1/refusals")))
    preview = server.sign(server.alice, csr, dry_run="true")
    assert preview.status == 200 and preview.json()["user"] == "alice" and b"BEGIN CERT" not in preview.body
    server.sign(server.alice, python_made.with_broken_signature(csr), dry_run="true").problem(422)
    stranger = python_made.request(python_made.new_key(), "stranger")
    server.sign(server.alice, stranger, dry_run="true").problem(403, "policy_denied")
    after = (ledger.count(server.database, "certificates"), len(server.items(server.auditor, "/v1/refusals")))
    assert before == after


# Errors.


def test_fail_with_body_exits_22_and_prints_the_problem_on_one_line(server, tmp_path):
    ran = subprocess.run(
        ["curl", "-q", "-sS", "--fail-with-body", "-H", f"@{server.alice}", "--data-binary", "hello",
         f"{server.url}/v1/sign"], capture_output=True, env=environment(tmp_path), timeout=30,
    )  # fmt: skip
    assert ran.returncode == 22
    assert ran.stdout.count(b"\n") == 1 and json.loads(ran.stdout)["code"]


SESSION = """
openssl req -new -key alice.key -subj "/CN=alice/O=$GROUP" |
  curl -sS --fail-with-body -H @token.header -H "Accept: application/yaml" --data-binary @- \\
       "$URL/v1/sign?cluster=prod&ttl=8h" -o new.tmp && mv new.tmp alice@prod.kubeconfig || cat new.tmp
"""


def test_the_session_leaves_a_good_kubeconfig_alone_when_it_is_refused(make_server, tmp_path):
    server = make_server(rows=(
        {"name": "only-dev", "effect": "allow", "clusters": ["prod"], "callers": ["token:alice"],
         "users": ["alice"], "groups": ["dev"]},
    ))  # fmt: skip
    (tmp_path / "token.header").write_text(server.alice.read_text())
    requests.key(tmp_path, name="alice")

    def session(group: str) -> str:
        variables = {"GROUP": group, "URL": server.url}
        ran = subprocess.run(
            ["sh", "-c", SESSION], cwd=tmp_path, env=environment(tmp_path) | variables, capture_output=True, timeout=30
        )
        return ran.stdout.decode()

    assert session("dev") == ""
    good = (tmp_path / "alice@prod.kubeconfig").read_bytes()
    assert yaml.safe_load(good)["kind"] == "Config"

    assert json.loads(session("ops"))["code"] == "policy_denied"
    assert (tmp_path / "alice@prod.kubeconfig").read_bytes() == good


@pytest.mark.parametrize("value", [None, "Bearer wrong", "Bearer ", "Basic YWxpY2U6eA==", "bearer", "Bearer a b"])
def test_no_or_a_wrong_credential_is_a_401(server, csr, value):
    header = ["-H", f"Authorization: {value}"] if value else []
    answer = curl(*header, "--data-binary", "@-", server.address("/v1/sign"), body=csr)
    answer.problem(401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_with_one_changed_character_is_a_401(server, csr, tmp_path):
    text = server.alice.read_text().rstrip("\n")
    for at in (-1, -12, -30):
        changed = "A" if text[at] != "A" else "B"
        (tmp_path / "h").write_text(f"{text[:at]}{changed}{text[at:][1:]}\n")
        server.sign(tmp_path / "h", csr).problem(401)


def test_an_unknown_path_is_a_404_and_a_wrong_method_a_405(server):
    server.get(server.alice, "/v1/nothing").problem(404)
    curl("-X", "DELETE", "-H", f"@{server.admin}", server.address("/v1/policies")).problem(405)


# Roles.


def test_an_auditor_may_not_ask_and_a_requester_may_not_change(server, csr):
    server.sign(server.auditor, csr).problem(403, "role_missing")
    put = ("-X", "PUT", "-H", "If-Match: *", "--json", '{"policies": []}')
    server.get(server.alice, "/v1/policies", *put).problem(403, "role_missing")
    server.get(server.auditor, "/v1/policies", *put).problem(403, "role_missing")
    server.get(server.alice, "/v1/audit").problem(403, "role_missing")


# The ledger.


def test_one_certificate_is_read_again_in_every_form(server, csr):
    serial = server.sign(server.alice, csr).issued().json()["serial"]
    with_colons = ":".join(re.findall("..", serial.upper()))
    assert server.get(server.alice, f"/v1/certificates/{serial}").json()["serial"] == serial
    assert server.get(server.auditor, f"/v1/certificates/{with_colons}").json()["serial"] == serial
    pem = server.get(server.alice, f"/v1/certificates/{serial}", format="pem")
    assert format(leaf_of(pem.body).serial_number, "032x") == serial
    config = server.get(server.alice, f"/v1/certificates/{serial}", "-H", "Accept: application/yaml")
    assert yaml.safe_load(config.body)["kind"] == "Config"


def test_what_belongs_to_another_is_not_found(make_server, csr):
    server = make_server()
    bob = server.token("bob", "requester")
    serial = server.sign(server.alice, csr).issued().json()["serial"]
    server.get(bob, f"/v1/certificates/{serial}").problem(404, "not_found")
    assert server.items(bob, "/v1/certificates") == []
    assert [item["serial"] for item in server.items(server.alice, "/v1/certificates")] == [serial]


def test_the_ledger_answers_who_has_what(make_server, tmp_path):
    server = make_server()
    for user, group in (("alice", "dev"), ("pod-viewer", "app"), ("shape-x", "dev")):
        server.sign(server.alice, requests.new_request(tmp_path, user, group)).issued()
    issued = server.items(server.auditor, "/v1/certificates")
    assert [item["user"] for item in issued] == ["shape-x", "pod-viewer", "alice"], "newest first"
    for filters, users in (
        ({"user": "alice"}, ["alice"]),
        ({"group": "dev"}, ["shape-x", "alice"]),
        ({"status": "active", "group": "app"}, ["pod-viewer"]),
        ({"status": "expired"}, []),
        ({"caller": "token:alice", "limit": 1}, ["shape-x", "pod-viewer", "alice"]),
        ({"credential_id": issued[2]["credential_id"]}, ["alice"]),
    ):
        assert [item["user"] for item in pages(server, "/v1/certificates", **filters)] == users, filters


def pages(server, path: str, **filters) -> list[dict]:
    """Every item, by following `Link: rel="next"` as any HTTP client would."""
    found, url = [], server.address(path, **filters)
    while url:
        page = curl("-H", f"@{server.auditor}", url)
        assert page.status == 200, page.text
        found += page.json()["items"]
        link = re.match(r'<([^>]+)>; rel="?next', page.headers.get("link", ""))
        url = link and (link[1] if link[1].startswith("http") else server.url + link[1])
    return found


def test_every_change_is_in_the_audit_log(make_server, csr):
    server = make_server()
    server.sign(server.alice, csr).issued()
    server.sign(server.alice, python_made.request(python_made.new_key(), "stranger")).problem(403)
    server.cli("token", "revoke", "alice")
    kinds = [event["kind"] for event in server.items(server.auditor, "/v1/audit")]
    assert kinds == [
        "token.revoked", "request.refused", "certificate.issued", "policy.replaced",
        "token.created", "token.created", "token.created",
    ]  # fmt: skip


# Retrying.


def test_an_idempotency_key_gives_the_same_certificate_again(server, tmp_path):
    key = requests.key(tmp_path)
    subject = requests.subject("alice", "retried")
    once = ("-H", "Idempotency-Key: deploy-42")
    first = server.sign(server.alice, requests.request(key, subject), *once, ttl="1h").issued()
    before = ledger.count(server.database, "certificates")

    # Other bytes for the same wish: an ECDSA signature is never the same twice.
    again = server.sign(server.alice, requests.request(key, subject), *once, ttl="1h")

    assert again.status == 200 and again.headers["idempotency-replayed"] == "true"
    assert again.json()["certificate"] == first.json()["certificate"]
    assert ledger.count(server.database, "certificates") == before
    for csr, ttl in (
        (requests.request(key, subject), "2h"),
        (requests.request(key, requests.subject("alice")), "1h"),
        (requests.new_request(tmp_path, "alice", "retried"), "1h"),
    ):
        server.sign(server.alice, csr, *once, ttl=ttl).problem(422, "idempotency_key_reused")


# Policies over HTTP.


def test_if_match_guards_the_policy_set(make_server, csr):
    server = make_server()
    row = {"name": "r", "effect": "deny", "clusters": ["prod"], "callers": ["token:alice"], "users": ["*"]}
    read = server.get(server.admin, "/v1/policies")
    etag = read.headers["etag"]

    def put(body: str, *options):
        return server.get(server.admin, "/v1/policies", "-X", "PUT", *options, "--json", body)

    new = json.dumps({"policies": [row]})
    put(new).problem(428, "if_match_required")
    changed = put(new, "-H", f"If-Match: {etag}")
    assert changed.status == 200, changed.text
    assert changed.headers["etag"] != etag
    # The precondition is looked at before the body.
    put("garbage", "-H", f"If-Match: {etag}").problem(412, "revision_mismatch")
    server.sign(server.alice, csr).problem(403, "policy_denied")
    # What is read is what can be written.
    assert put(read.text, "-H", f"If-Match: {changed.headers['etag']}").status == 200
    server.sign(server.alice, csr).issued()


def test_one_row_that_is_read_can_be_written(make_server):
    server = make_server()
    row = server.get(server.admin, "/v1/policies/developers")
    assert row.status == 200 and row.json()["name"] == "developers"
    server.get(server.admin, "/v1/policies/nothing").problem(404)


# Secrets.


def private_keys(folder: Path) -> dict[str, tuple[bytes, bytes]]:
    """Bodies that hold a private key, each with bytes of the key that must turn up nowhere."""
    key = requests.key(folder, "rsa-2048")
    pkcs8 = key.read_bytes()
    pkcs1 = openssl("rsa", "-in", key, "-traditional").encode()
    sec1 = requests.key(folder, "p-256", "ec").read_bytes()
    csr = requests.request(key, "/CN=alice")
    der = base64.b64decode("".join(pkcs8.decode().splitlines()[1:-1]))
    line = pkcs8.splitlines()[5]
    return {
        "PKCS#8": (pkcs8, line),
        "PKCS#1": (pkcs1, pkcs1.splitlines()[5]),
        "SEC1": (sec1, sec1.splitlines()[1]),
        "a key after the request": (csr + pkcs8, line),
        "a key before the request": (pkcs1 + csr, pkcs1.splitlines()[5]),
        "without newlines": (pkcs8.replace(b"\n", b""), line),
        "base64 of PEM": (base64.b64encode(pkcs8), base64.b64encode(pkcs8)[200:260]),
        "DER": (der, der[100:140]),
        "JSON": (json.dumps({"csr": (csr + pkcs8).decode()}).encode(), line),
    }


def test_a_private_key_is_refused_and_written_nowhere(make_server, tmp_path):
    server = make_server()
    refusals = len(server.items(server.auditor, "/v1/refusals"))
    bodies = private_keys(tmp_path)
    for name, (body, _) in bodies.items():
        answer = server.sign(server.alice, body)
        assert answer.status in (400, 422), f"{name}: {answer.text}"
        problem = answer.problem(answer.status)
        assert "private key" in problem["detail"] and "new" in problem["detail"], name
    assert len(server.items(server.auditor, "/v1/refusals")) == refusals
    server.stop()
    kept = ledger.bytes_on_disk(server.database) + server.log.read_bytes()
    for name, (_, canary) in bodies.items():
        assert canary not in kept, name


def test_no_token_and_no_request_body_is_written_anywhere(make_server, csr):
    server = make_server()
    server.sign(server.alice, csr).issued()
    server.sign(server.alice, csr, cluster="nothing").problem(400)
    tokens = [path.read_text().split()[-1].encode() for path in (server.alice, server.auditor, server.admin)]
    server.stop()
    kept = ledger.bytes_on_disk(server.database) + server.log.read_bytes()
    for secret in [*tokens, csr.splitlines()[3]]:
        assert secret not in kept
        assert secret[-24:] not in kept
