"""The ten questions of docs/audit.md: each is asked by curl, on the database, and by the command over HTTP."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from curl import curl
from requests_by_openssl import new_request
from server import BINARY, REPOSITORY
from shell_blocks import marked, unmarked

PAGE = REPOSITORY / "docs/audit.md"
QUESTIONS = ("had", "refused", "credential", "live", "ends", "person", "callers", "outcomes", "row", "changes")

ROWS = (
    {
        "name": "developers", "effect": "allow", "clusters": ["prod"], "callers": ["token:alice"],
        "users": ["{caller}"], "groups": ["dev", "admins"],
    },
    {
        "name": "robots", "effect": "allow", "clusters": ["prod"], "callers": ["token:robot"],
        "users": ["deploy-*"], "groups": ["dev"],
    },
)  # fmt: skip


class Asked:
    """A service with a little history, and the questions as they stand on the page."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        robot = server.token("robot", "requester")
        self.alice = self._sign(server.alice, "alice", "admins").json()
        self.robot = self._sign(robot, "deploy-1", "dev").json()
        self._sign(robot, "deploy-1", "admins", status=403)
        (folder / "bin").mkdir()
        (folder / "bin/countersign").symlink_to(BINARY.resolve())
        shutil.copy(server.auditor, folder / "auditor.header")

    def _sign(self, token, user, *groups, status=201):
        body = new_request(self.folder / "keys", user, *groups)
        answer = curl("-H", f"@{token}", "--data-binary", "@-", f"{self.server.url}/v1/sign?cluster=prod", body=body)
        assert answer.status == status, answer.text
        return answer

    def run(self, script: str, *, server: bool = False) -> subprocess.CompletedProcess:
        environment = os.environ | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "URL": self.server.url,
            "CREDENTIAL_ID": self.alice["credential_id"],
            "COUNTERSIGN_CONFIG": str(self.server.configuration),
        }
        if server:
            script += f" --server {self.server.url} --token-file auditor.header"
            environment["COUNTERSIGN_CONFIG"] = "/nowhere"
        return subprocess.run(
            ["bash", "-c", now(script)], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )


def now(script: str) -> str:
    """The page speaks of a June; what it asks about happened today."""
    today = datetime.now(UTC)
    for written, days in (("2026-06-01T00:00:00Z", -1), ("2026-06-30T23:59:59Z", 1), ("2026-07-01T00:00:00Z", 2)):
        script = script.replace(written, (today + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ"))
    return script


@pytest.fixture(scope="module")
def asked(tmp_path_factory, authority):
    from conftest import Known
    from server import Cluster

    server = Known(tmp_path_factory.mktemp("asked"), Cluster("prod", authority))
    server.apply(*ROWS)
    server.start()
    yield Asked(server, tmp_path_factory.mktemp("questions"))
    server.stop()


def items(text: str) -> list:
    """What both forms of an answer hold: the numbers of rows, or the counts."""
    answer = json.loads(text)
    found = answer["live"] if "live" in answer else answer["items"]
    return [item.get("number") or (item["key"], item["certificates"], item["refusals"]) for item in found]


def test_every_block_is_run():
    assert unmarked(PAGE) == []
    assert tuple(block.name for block in marked(PAGE)) == QUESTIONS


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_has_the_same_answer_in_every_way(asked, name):
    (block,) = [block for block in marked(PAGE) if block.name == name]
    curl_line, command = block.text.strip().splitlines()
    by_curl = asked.run(curl_line)
    assert by_curl.returncode == 0, by_curl.stderr + by_curl.stdout
    expected = items(by_curl.stdout)
    assert expected, "the question finds something"
    for server in (False, True):
        by_command = asked.run(f"{command} -o json", server=server)
        assert by_command.returncode == 0, by_command.stderr
        assert items(by_command.stdout) == expected, command
        table = asked.run(command, server=server)
        assert table.returncode == 0 and len(table.stdout.splitlines()) >= len(expected) + 1
        assert "\x1b" not in table.stdout, "colour is for terminals"


def test_the_answers_are_the_right_ones(asked):
    def numbers(command):
        return [json.loads(line) for line in asked.run(f"{command} -o ndjson").stdout.splitlines()[:-1]]

    (had,) = numbers("countersign audit certificates --cluster prod --group admins")
    assert (had["user"], had["serial"]) == ("alice", asked.alice["serial"])
    (refused,) = numbers("countersign audit refusals --caller token:robot")
    assert (refused["user"], refused["groups"], refused["code"]) == ("deploy-1", ["admins"], "policy_denied")
    counts = {item["key"]: item["certificates"] for item in numbers("countersign audit stats --by caller")}
    assert counts == {"token:alice": 1, "token:robot": 1}


def test_exports_say_how_many_rows_they_have(asked):
    for server in (False, True):
        ndjson = asked.run("countersign audit certificates -o ndjson", server=server).stdout.splitlines()
        assert json.loads(ndjson[-1]) == {"end": True, "count": len(ndjson) - 1}
        csv = asked.run("countersign audit certificates -o csv", server=server).stdout.splitlines()
        assert csv[-1].startswith(f"end,{len(csv) - 2},")
    answer = curl("-H", f"@{asked.server.auditor}", "-H", "Accept: text/csv", f"{asked.server.url}/v1/certificates")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.splitlines()[-1].startswith("end,2,")


def test_what_is_wrong_is_said_and_is_no_empty_answer(asked):
    for wrong in ("--cluster prd", "--caller alice", "--status live", "--valid-from 2026-06-01T00:00:00Z"):
        for server in (False, True):
            ran = asked.run(f"countersign audit certificates {wrong}", server=server)
            assert ran.returncode == 1 and ran.stdout == "", ran
            assert ran.stderr.startswith("countersign: "), ran.stderr
    for wrong in ("--usr alice", "--limit 0", "--server http://127.0.0.1:1"):
        assert asked.run(f"countersign audit certificates {wrong}").returncode == 2, wrong


def test_a_follower_prints_each_row_once(asked):
    out = asked.folder / "followed"
    with out.open("wb") as file:
        follower = subprocess.Popen(
            [BINARY, "--config", asked.server.configuration, "audit", "certificates", "--follow", "-o", "ndjson"],
            stdout=file, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            wait_for(lambda: len(out.read_bytes().splitlines()) == 2)
            asked._sign(asked.server.alice, "alice", "dev")
            wait_for(lambda: len(out.read_bytes().splitlines()) == 3)
        finally:
            follower.terminate()
            follower.wait(10)
            follower.stderr.close()
    numbers = [json.loads(line)["number"] for line in out.read_text().splitlines()]
    assert numbers == sorted(set(numbers))


def wait_for(condition, seconds: float = 15):
    import time

    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


# The join to Kubernetes.


def event(user: str, credential: str, at: datetime, stage: str = "ResponseComplete", code: int = 200) -> str:
    """One line as kube-apiserver 1.36 writes it at the level Metadata."""
    stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": "0d2b1a0e-6f0e-4a53-9d3c-2c1a2f6b7c11", "stage": stage,
        "requestURI": "/api/v1/namespaces/default/pods?limit=500", "verb": "list",
        "user": {
            "username": user, "groups": ["dev", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": [credential]},
        },
        "sourceIPs": ["10.0.0.7"], "userAgent": "kubectl/v1.36.0 (linux/amd64) kubernetes/abcdef0",
        "objectRef": {"resource": "pods", "namespace": "default", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": code},
        "requestReceivedTimestamp": stamp, "stageTimestamp": stamp,
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "RBAC"},
    }) + "\n"  # fmt: skip


def test_a_kube_audit_log_is_traced_to_the_ledger(make_server, tmp_path):
    import gzip

    server = make_server(rows=ROWS)
    (tmp_path / "asked").mkdir()
    asked = Asked(server, tmp_path / "asked")
    alice, robot = asked.alice["credential_id"], asked.robot["credential_id"]
    at = datetime.now(UTC)
    unknown = "X509SHA256=" + "5a" * 32
    lines = [event("alice", alice, at, "RequestReceived"), event("alice", alice, at)]
    lines += [event("alice", alice, at + timedelta(seconds=n), code=403 if n == 1 else 200) for n in (1, 2)]
    lines += [event("deploy-1", robot, at), event("deploy-1", robot, at + timedelta(days=400))]
    lines += [event("root", unknown, at), event("system:serviceaccount:a:b", "JTI=1", at), "{not json\n"]
    log = tmp_path / "audit.log.gz"
    log.write_bytes(gzip.compress("".join(lines).encode()))
    server.cli("token", "revoke", "robot")
    spki = curl("-H", f"@{server.auditor}", f"{server.url}/v1/certificates/{asked.alice['serial']}").json()["spki_sha256"]
    server.cli("key", "block", spki, "--reason", "lost")
    for over_http in (False, True):
        ran = asked.run(f"countersign audit trace --kube-audit {log} -o ndjson", server=over_http)
        assert ran.returncode == 0, ran.stderr
        *found, end = [json.loads(line) for line in ran.stdout.splitlines()]
        found = {finding["credential_id"]: finding for finding in found}
        assert end == {
            "end": True, "count": 3, "flagged": 3, "lines": 9, "unreadable_lines": 1, "requests": 7,
            "requests_without_certificate": 1,
        }  # fmt: skip
        mine = found[alice]
        assert (mine["requests"], mine["refused_requests"], mine["flags"]) == (3, 1, ["key_blocked"])
        assert (mine["serial"], mine["requested_by"]) == (asked.alice["serial"], "token:alice")
        assert (mine["policies"], mine["policy_revision"]) == (["developers"], 1)
        assert found[robot]["flags"] == ["outside_validity", "token_revoked", "refused_since"]
        assert (found[unknown]["flags"], found[unknown]["serial"]) == (["not_in_ledger"], None)
        table = asked.run(f"countersign audit trace --kube-audit {log}", server=over_http)
        assert "not_in_ledger" in table.stdout and "3 certificates made 6 of 7 requests" in table.stderr


def test_a_long_log_is_traced_in_bounded_memory(make_server, tmp_path):
    """Over 100 MB in a process that never holds 100 MB."""
    server = make_server(rows=ROWS)
    line = event("alice", "X509SHA256=" + "11" * 32, datetime.now(UTC))
    log = tmp_path / "audit.log"
    with log.open("w") as file:
        for _ in range(100):
            file.write(line * 1_250)
    assert log.stat().st_size > 100_000_000
    ran = subprocess.run(
        ["/usr/bin/python3", "-c", MEASURE, BINARY, "--config", server.configuration, "audit", "trace",
         "--kube-audit", log, "-o", "ndjson"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    end = json.loads(ran.stdout.splitlines()[-1])
    assert (end["requests"], end["count"]) == (125_000, 1)
    assert int(ran.stderr.split()[-1]) < 100_000, f"{ran.stderr.split()[-1]} KB at most"


MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
