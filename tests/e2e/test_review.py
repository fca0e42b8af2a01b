"""A request that waits for people, from the CSR to kubectl's file, with the real curl and openssl."""

import os
import pwd
import time
from concurrent.futures import ThreadPoolExecutor

import certificates
import pytest
import requests_by_python as requests
import yaml
from cryptography import x509
from curl import curl

ALLOW = {
    "name": "oncall",
    "effect": "allow",
    "clusters": ["prod"],
    "callers": ["token:alice"],
    "users": ["{caller}"],
    "groups": ["dev", "breakglass"],
    "max_ttl": "8h",
}


def review(**fields) -> dict:
    row = {"name": "breakglass", "effect": "review", "clusters": ["prod"], "callers": ["token:*"], "users": ["*"],
           "groups": ["breakglass"], "approvers": ["token:carol", "token:dave"], "max_ttl": "1h"}  # fmt: skip
    return row | fields


def post(server, header, path: str, *arguments, body: bytes = b""):
    return curl("-X", "POST", "-H", f"@{header}", "--data-binary", "@-", *arguments, f"{server.url}{path}", body=body)


def held(server) -> str:
    """Holds a request, and says where it is."""
    answer = server.sign(server.alice, requests.request(requests.new_key(), "alice", "breakglass"))
    assert answer.status == 202, answer.text
    return answer.headers["location"]


def test_the_whole_story(make_server, authority, tmp_path):
    server = make_server(rows=(ALLOW, review(approvals=2)))
    carol, dave = (server.token(name, "approver") for name in ("carol", "dave"))
    key = requests.new_key()
    csr = requests.request(key, "alice", "breakglass")

    held = server.sign(server.alice, csr)
    assert held.status == 202, held.text
    location = held.headers["location"]
    assert location == f"/v1/requests/{held.json()['id']}" and int(held.headers["retry-after"]) > 0
    post(server, server.alice, f"{location}/certificate").problem(409, "request_not_approved")

    with ThreadPoolExecutor() as pool:
        prefer = ("-H", "Prefer: wait=20")
        waiting = pool.submit(curl, "-H", f"@{server.alice}", *prefer, f"{server.url}{location}")
        for header in (carol, dave):
            assert post(server, header, f"{location}/approve", body=b'{"comment": "INC-4711"}').status == 200
        assert waiting.result().json()["status"] == "approved"

    before = int(time.time())
    collected = post(server, server.alice, f"{location}/certificate", "-H", "Accept: application/json")
    answer = collected.issued().json()
    certificates.assert_good(answer["certificate"], authority, csr, "alice", ["breakglass"], tmp_path / "judge")
    ends = x509.load_pem_x509_certificate(answer["certificate"].encode()).not_valid_after_utc.timestamp()
    assert before + 3_600 <= ends <= time.time() + 3_600, "the lifetime begins when it is collected"

    kubeconfig = post(server, server.alice, f"{location}/certificate?format=kubeconfig")
    assert kubeconfig.status == 200 and kubeconfig.headers["idempotency-replayed"] == "true"
    assert yaml.safe_load(kubeconfig.text)["users"][0]["user"]["client-key"] == "alice.key"

    events = server.items(server.auditor, "/v1/audit")
    kinds = [event["kind"] for event in events if event["kind"].startswith(("request.", "certificate."))]
    assert kinds[::-1] == ["request.held", "request.approved", "request.approved", "certificate.issued",
                           "request.collected"]  # fmt: skip
    server.cli("check")


def test_the_command_line_approves_where_a_row_names_the_account_and_somebody_else_wrote_it(make_server):
    user = pwd.getpwuid(os.getuid()).pw_name
    server = make_server(rows=(ALLOW,))
    rows = yaml.safe_dump({"policies": [ALLOW, review(approvers=[f"cli:{user}"])]}).encode()
    headers = ("-X", "PUT", "-H", f"@{server.admin}", "-H", "If-Match: *", "--data-binary", "@-")
    assert curl(*headers, f"{server.url}/v1/policies", body=rows).status == 200
    request = server.sign(server.alice, requests.request(requests.new_key(), "alice", "breakglass")).json()

    listed = server.cli("request", "list").stdout
    assert request["id"] in listed and "pending (breakglass 0/1)" in listed
    shown = server.cli("request", "show", request["id"]).stdout
    assert f"csr_sha256\t{request['csr_sha256']}" in shown
    assert server.cli("request", "approve", request["id"], "--comment", "sound").stdout == "approved\n"
    post(server, server.alice, f"/v1/requests/{request['id']}/certificate").issued()
    assert server.cli("request", "list").stdout == ""
    assert "collected" in server.cli("request", "list", "--all").stdout
    again = server.cli("request", "deny", request["id"], check=False)
    assert again.returncode == 1 and "collected" in again.stderr

    server.apply(ALLOW, review(approvers=[f"cli:{user}"], description="Touched."))
    own = server.sign(server.alice, requests.request(requests.new_key(), "alice", "breakglass")).json()
    refused = server.cli("request", "approve", own["id"], check=False)
    assert refused.returncode == 1 and "wrote himself" in refused.stderr
    assert server.cli("request", "deny", own["id"]).stdout == "denied\n"


@pytest.mark.parametrize("what", ["denied", "withdrawn"])
def test_nothing_comes_of_a_request_that_was_ended(make_server, what):
    server = make_server(rows=(ALLOW, review()))
    carol = server.token("carol", "approver")
    path = held(server)
    if what == "denied":
        assert post(server, carol, f"{path}/deny", body=b'{"comment": "no"}').status == 200
    else:
        assert curl("-X", "DELETE", "-H", f"@{server.alice}", f"{server.url}{path}").status == 204
    assert curl("-H", f"@{server.alice}", f"{server.url}{path}").json()["status"] == what
    post(server, server.alice, f"{path}/certificate").problem(409, "request_closed")


def test_a_request_outlives_a_crash_and_lapses_on_time(make_server):
    server = make_server(rows=(ALLOW, review()), review={"lapse": "60s"})
    carol = server.token("carol", "approver")
    path = held(server)
    assert post(server, carol, f"{path}/approve").json()["status"] == "approved"
    server.kill()
    server.start()
    post(server, server.alice, f"{path}/certificate").issued()
