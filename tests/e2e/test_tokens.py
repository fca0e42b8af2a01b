"""Tokens by command and by curl: rotated, revoked, last used, and what becomes of those that do not hold."""

import json
import time

import ledger
import requests_by_openssl as requests
from curl import curl


def header(server, name: str, token: str):
    path = server.folder / f"{name}.header"
    path.write_text(f"Authorization: Bearer {token}\n")
    path.chmod(0o600)
    return path


def test_a_token_rotates_by_command_beside_the_server(make_server, tmp_path):
    server = make_server()
    csr = requests.request(requests.key(tmp_path, "p-256", "laptop"), "/CN=alice")
    rotated = server.cli("token", "rotate", "alice", "--grace", "2s")
    renewed = header(server, "renewed", rotated.stdout.strip())
    assert len(rotated.stdout.split()) == 1 and rotated.stderr == ""
    server.sign(renewed, csr).issued()
    assert server.get(server.alice, "/v1/whoami").status == 200
    (line,) = [line for line in server.cli("token", "list").stdout.splitlines() if line.startswith("alice\t")]
    assert "old secret until" in line, line
    time.sleep(2.1)
    server.sign(server.alice, csr).problem(401, "unauthenticated")
    server.sign(renewed, csr).issued()
    server.cli("token", "revoke", "alice")
    server.sign(renewed, csr).problem(401, "unauthenticated")
    ran = server.cli("token", "rotate", "alice", check=False)
    assert ran.returncode == 1 and "revoked" in ran.stderr and ran.stderr.count("\n") == 1, ran.stderr


def test_what_cannot_be_is_said_in_one_line(make_server):
    server = make_server(start=False)
    for arguments, said in [
        (("rotate", "nobody"), "there is no token"),
        (("rotate", "alice", "--grace", "8d"), "7d"),
        (("rotate", "alice", "--expires", "366d"), "365d"),
        (("create", "late", "--role", "admin", "--expires", "0s"), "between one second and 365d"),
    ]:
        ran = server.cli("token", *arguments, check=False)
        assert ran.returncode == 1 and said in ran.stderr and ran.stderr.count("\n") == 1, ran.stderr


def test_the_documented_line_rotates_a_token_with_itself(make_server, tmp_path):
    server = make_server()
    answer = curl("-H", f"@{server.alice}", "-X", "POST", f"{server.url}/v1/tokens/alice/rotate", "-d", '{"grace": "0s"}')
    assert answer.status == 201 and answer.headers["cache-control"] == "no-store", answer.text
    given = answer.json()
    server.get(server.alice, "/v1/whoami").problem(401, "unauthenticated")
    renewed = header(server, "renewed", given["token"])
    assert server.get(renewed, "/v1/whoami").json()["caller"] == "token:alice"
    assert given["token"] not in server.get(server.admin, "/v1/tokens").text
    secret = given["token"].split("_")[2].encode()
    server.stop()
    assert secret[:43] not in ledger.bytes_on_disk(server.database)
    assert secret[:43] not in server.log.read_bytes()


def test_the_end_of_the_service_writes_what_was_only_noted(make_server):
    server = make_server()
    assert server.get(server.alice, "/v1/whoami").status == 200
    guessed = header(server, "guessed", "cs1_0123456789ab_" + "0" * 49)
    last = [server.get(guessed, "/v1/whoami").problem(401, "unauthenticated")["request_id"] for _ in range(5)][-1]
    assert "never used" in server.cli("token", "list").stdout
    server.stop()
    (line,) = [line for line in server.cli("token", "list").stdout.splitlines() if line.startswith("alice\t")]
    assert "\tused 20" in line, line
    said = server.cli("audit", "events", "--kind", "authentication.failed", "-o", "ndjson").stdout
    event = json.loads(said.splitlines()[0])
    assert (event["detail"]["count"], event["detail"]["method"], event["address"]) == (5, "token", "127.0.0.1")
    assert event["request_id"] == last and "cs1_" not in said


def test_what_one_does_on_the_command_line_is_under_his_name(make_server):
    server = make_server()
    server.cli("token", "rotate", "alice")
    server.cli("token", "revoke", "alice")
    for kind in ("token.created", "token.rotated", "token.revoked", "policy.replaced"):
        events = server.items(server.auditor, "/v1/audit", kind=kind)
        assert events and all(event["caller"].startswith("cli:") and event["caller"] != "cli:" for event in events), kind
