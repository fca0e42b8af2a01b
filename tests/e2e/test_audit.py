"""The auditor's questions: docs/audit.md is run line by line, and the command line is judged by other programs."""

import csv
import fcntl
import gzip
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import raw
import requests_by_openssl as requests
from conftest import ALICE, Known
from server import BINARY, REPOSITORY, Cluster, environment
from shell_blocks import Shell, marked, unmarked

DOCUMENT = REPOSITORY / "docs/audit.md"
HOSTILE = ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", 'a,"b";c')
ANYBODY = {"effect": "allow", "clusters": ["prod"], "users": ["*"], "groups": ["*"]}
ROWS = (
    ALICE,
    ANYBODY | {"name": "contractors", "callers": ["token:contractor"]},
    ANYBODY | {"name": "portals", "callers": ["token:portal"], "on_behalf_of": ["*"]},
)


class Prepared(Known):
    """A ledger in which each question has its own answer; `serials` has them by user."""

    def fill(self) -> "Prepared":
        self.credential_ids: dict[str, str] = {}
        self.robot, self.contractor = self.token("robot", "requester"), self.token("contractor", "requester")
        self.portal = self.token("portal", "requester", options=("--on-behalf-of",))
        self.issue(self.alice, "alice", "admins")
        self.issue(self.contractor, "carla", "admins", ttl="30d")
        self.issue(self.contractor, "alice", "dev")
        self.issue(self.portal, "bobs-pod", "dev", on_behalf_of="bob")
        self.issue(self.portal, "annas-pod", on_behalf_of="anna")
        for user in HOSTILE:
            self.issue(self.contractor, user, user)
        robot = requests.new_request(self.folder, "robot", "admins")
        self.sign(self.robot, robot).problem(403, "policy_denied")
        self.cli("key", "block", "ab" * 32, "--reason", "stolen laptop")
        return self

    def issue(self, header: Path, user: str, *groups: str, **parameters) -> dict:
        name = re.sub("[^a-z]", "_", user)
        issued = self.sign(header, requests.new_request(self.folder, user, *groups, name=name), **parameters).issued().json()
        self.credential_ids[f"{user} by {issued['requested_by']}"] = issued["credential_id"]
        return issued

    def audit(self, *arguments, over: str = "ledger", check: bool = True) -> subprocess.CompletedProcess:
        remote = ("--server", self.url, "--token-file", self.auditor) if over == "server" else ()
        return self.cli("audit", *arguments, *remote, check=check)

    def spawn(self, *arguments, variables: dict | None = None, **options) -> subprocess.Popen:
        command = [BINARY, "--config", self.configuration, "audit", *map(str, arguments)]
        return subprocess.Popen(command, cwd=self.folder, env=environment(self.folder) | (variables or {}), **options)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, authority):
    server = Prepared(tmp_path_factory.mktemp("audit"), Cluster("prod", authority, settings={"max_ttl": "60d"}))
    server.apply(*ROWS)
    server.start()
    yield server.fill()
    server.stop()


def rows_of(ndjson: str) -> list[dict]:
    """The rows, if the end says that they are all there."""
    *rows, end = map(json.loads, ndjson.splitlines())
    assert end["end"] is True and end["count"] == len(rows)
    return rows


# The document.


@pytest.fixture(scope="module")
def answers(prepared) -> dict[str, str]:
    """What every block printed; June is the month in which this runs."""
    shell = Shell(prepared.folder)
    shell.environment |= {
        "URL": prepared.url,
        "CREDENTIAL_ID": prepared.credential_ids["bobs-pod by token:portal"],
        "COUNTERSIGN_CONFIG": str(prepared.configuration),
    }
    prepared.folder.joinpath("audit.log").write_text(event("alice", prepared.credential_ids["alice by token:alice"]))
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    printed = {}
    for block in marked(DOCUMENT):
        text = block.text.replace("2026-06-01T", f"{today}T").replace("2026-06-30T", "2999-06-30T")
        ran = shell.run(text)
        assert ran.returncode == 0, f"{block.name}: {ran.stdout}{ran.stderr}"
        printed[block.name] = ran.stdout
    return printed


def test_ten_questions_are_asked_twice_each_and_nothing_else_is_left_unrun():
    assert unmarked(DOCUMENT) == []
    names = [block.name for block in marked(DOCUMENT)]
    assert len([name for name in names if name.endswith("-curl")]) == 10
    assert {name.removesuffix("-curl") for name in names if name.endswith("-curl")} == {
        name.removesuffix("-command") for name in names if name.endswith("-command")
    }
    assert all(block.text.count("\n") == 1 for block in marked(DOCUMENT)), "one line each"


QUESTIONS = {
    "members": lambda row: row["user"],
    "robot": lambda row: (row["user"], row["code"]),
    "credential": lambda row: (row["user"], row["requested_by"]),
    "valid": lambda row: row["status"],
    "expires": lambda row: row["user"],
    "row": lambda row: row["requested_by"],
    "behalf": lambda row: (row["user"], row["on_behalf_of"]),
    "changes": lambda row: row["caller"].split(":")[0],
    "blocked": lambda row: row["detail"]["reason"],
}
EVERYBODY = {"alice", "bobs-pod", "annas-pod", *HOSTILE}
EXPECTED = {
    "members": {"alice", "carla"},
    "robot": {("robot", "policy_denied")},
    "credential": {("bobs-pod", "token:portal")},
    "valid": {"active"},
    "expires": EVERYBODY,
    "row": {"token:contractor"},
    "behalf": {("bobs-pod", "bob")},
    "changes": {"cli"},
    "blocked": {"stolen laptop"},
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("way", ["curl", "command"])
def test_a_question_has_its_answer(answers, question, way):
    rows = rows_of(answers[f"{question}-{way}"])
    assert {QUESTIONS[question](row) for row in rows} == EXPECTED[question]
    assert rows == rows_of(answers[f"{question}-curl"]), "both find the same rows"


def test_who_asked_for_alice_is_counted(answers):
    for way in ("curl", "command"):
        counts = {item["key"]: item["certificates"] for item in json.loads(answers[f"asked-{way}"])["items"]}
        assert counts == {"token:alice": 1, "token:contractor": 1}


def test_the_document_names_every_flag_of_the_trace():
    source = (REPOSITORY / "src/cli/audit/trace/finding.rs").read_text()
    flags = set(re.findall(r'push\("([a-z_]+)"\)', source))
    assert len(flags) == 6 and flags == set(re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text(), re.MULTILINE))


# The command line.


@pytest.mark.parametrize("over", ["ledger", "server"])
@pytest.mark.parametrize("what", ["certificates", "refusals", "events"])
@pytest.mark.parametrize("form", ["json", "csv", "ndjson"])
def test_the_forms_are_the_services_own(prepared, over, what, form):
    path = {"events": "audit"}.get(what, what)
    said = prepared.audit(what, "-o", form, "--oldest-first", over=over).stdout
    told = prepared.get(prepared.auditor, f"/v1/{path}", order="asc", limit=500, **({} if form == "json" else {"format": form}))
    if form == "json":
        assert json.loads(said)["items"] == told.json()["items"]
    else:
        assert said.encode() == told.body.replace(b"\r\n", b"\n")


def test_csv_is_read_by_others_and_runs_nowhere(prepared):
    with prepared.spawn("certificates", "-o", "csv", stdout=subprocess.PIPE) as ran:
        text = ran.stdout.read().decode()
    header, *rows, end = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert end[:2] == ["end", str(len(rows))] and {len(row) for row in rows} == {len(header)} == {len(end)}
    assert not [cell for row in rows for cell in row if cell.startswith(tuple("=+-@\t\r"))]
    rows = [dict(zip(header, row, strict=True)) for row in rows]
    names = {row["user"].removeprefix("'"): json.loads(row["groups"]) for row in rows}
    for user in HOSTILE:
        assert names[user] == [user]


def test_a_table_is_as_wide_as_columns_says_and_has_no_colour_in_a_pipe(prepared):
    for width in (80, 120):
        ran = prepared.spawn("certificates", stdout=subprocess.PIPE, variables={"COLUMNS": str(width)})
        text = ran.communicate(timeout=30)[0].decode()
        assert max(map(len, text.splitlines())) <= width and "…" in text and "\x1b" not in text
    whole = prepared.audit("certificates").stdout
    assert "\x1b" not in whole and "…" not in whole and 'a,"b";c' in whole


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_is_for_terminals_that_want_it(prepared, variables, coloured):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
    with prepared.spawn("certificates", stdout=theirs, variables={"TERM": "xterm"} | variables) as ran:
        os.close(theirs)
        text = read_terminal(ours)
    assert ran.returncode == 0
    assert ("\x1b[" in text) == coloured
    assert max(len(line) for line in re.sub("\x1b\\[[0-9;]*m", "", text).splitlines()) <= 90


def read_terminal(ours: int) -> str:
    read = b""
    try:
        while piece := os.read(ours, 65536):
            read += piece
    except OSError:
        pass  # Linux says EIO where the other side has closed.
    os.close(ours)
    return read.decode()


@pytest.mark.parametrize("over", ["ledger", "server"])
def test_following_sees_each_new_row_once_in_order_and_ends_when_interrupted(prepared, over):
    remote = ("--server", prepared.url, "--token-file", prepared.auditor) if over == "server" else ()
    before = rows_of(prepared.audit("certificates", "-o", "ndjson", "--oldest-first").stdout)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with prepared.spawn("certificates", "--follow", "--limit", "3", "-o", "ndjson", *remote, **pipes) as ran:
        seen = [json.loads(ran.stdout.readline()) for _ in range(3)]
        issued = [prepared.issue(prepared.contractor, f"late-{number}")["serial"] for number in range(4)]
        seen += [json.loads(ran.stdout.readline()) for _ in range(4)]
        time.sleep(1.5)
        ran.send_signal(signal.SIGINT)
        rest, said = ran.communicate(timeout=10)
    assert (ran.returncode, rest, said) == (0, b"", b"")
    assert [row["serial"] for row in seen] == [row["serial"] for row in before[-3:]] + issued


def test_a_reader_that_goes_away_is_no_failure(prepared):
    for form in ("table", "json", "csv", "ndjson"):
        ours, theirs = os.pipe()
        os.close(ours)
        with prepared.spawn("events", "-o", form, stdout=theirs, stderr=subprocess.PIPE) as ran:
            os.close(theirs)
            said = ran.stderr.read()
        assert ran.returncode == 0 and said == b"", said


def test_wrong_usage_is_exit_status_2_and_a_wrong_value_1(prepared):
    for arguments in (["certificates", "--usr", "a"], ["refusals", "--serial", "00"], ["certificates", "--limit", "0"],
                      ["certificates", "--follow", "-o", "json"], ["certificates", "--server", prepared.url], ["trace"]):  # fmt: skip
        ran = prepared.audit(*arguments, check=False)
        assert ran.returncode == 2 and ran.stdout == "", ran.stderr
    for arguments in (["--cluster", "prd"], ["--caller", "alice"], ["--status", "revoked"], ["--valid-at", "june"], ["--user", ""]):
        for over in ("ledger", "server"):
            ran = prepared.audit("certificates", *arguments, over=over, check=False)
            assert ran.returncode == 1 and ran.stdout == "" and ran.stderr.count("\n") == 1, (ran.stdout, ran.stderr)


def test_the_tokens_file_is_looked_at_and_a_missing_role_is_told(prepared, tmp_path):
    exposed = tmp_path / "token"
    exposed.write_bytes(prepared.auditor.read_bytes())
    exposed.chmod(0o644)
    remote = ("audit", "events", "--server", prepared.url, "--token-file")
    ran = prepared.cli(*remote, exposed, check=False)
    assert ran.returncode == 1 and "chmod 600" in ran.stderr
    ran = prepared.cli(*remote, prepared.alice, check=False)
    assert ran.returncode == 1 and "403" in ran.stderr and "cs1_" not in ran.stderr


# The join to Kubernetes.


def event(user: str, credential_id: str | None, at: str | None = None, stage: str = "ResponseComplete", code: int = 200) -> str:
    """One line as kube-apiserver 1.32 and newer writes it."""
    at = at or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    extra = {"extra": {"authentication.kubernetes.io/credential-id": [credential_id]}} if credential_id else {}
    return json.dumps({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "0f6f4e9c-6b1c-4a51-8f4b-3a1f8e6f0001",
        "stage": stage, "requestURI": "/api/v1/namespaces/default/pods?limit=500", "verb": "list",
        "user": {"username": user, "groups": ["dev", "system:authenticated"], **extra},
        "sourceIPs": ["10.0.0.7"], "userAgent": "kubectl/v1.36.0 (linux/amd64) kubernetes/abcdef0",
        "objectRef": {"resource": "pods", "namespace": "default", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": code},
        "requestReceivedTimestamp": at, "stageTimestamp": at,
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
    }, separators=(",", ":")) + "\n"  # fmt: skip


def traced(server: Prepared, *logs: Path, over: str = "ledger") -> tuple[dict[str, dict], dict]:
    """Each certificate by its credential id, and the sum."""
    ran = server.audit("trace", "--kube-audit", *logs, "-o", "ndjson", over=over)
    *found, end = map(json.loads, ran.stdout.splitlines())
    assert end["end"] is True and end["count"] == len(found)
    return {row["credential_id"]: row for row in found}, end


@pytest.mark.parametrize("over", ["ledger", "server"])
def test_a_log_is_traced_to_records_and_what_is_remarkable_is_flagged(make_prepared, tmp_path, over):
    server = make_prepared()
    ids = server.credential_ids
    stolen = server.issue(server.contractor, "stolen", "dev")
    server.cli("key", "block", stolen["serial"], "--reason", "stolen")
    portal, unknown = ids["bobs-pod by token:portal"], "X509SHA256=" + "5e" * 32
    server.cli("token", "revoke", "portal")
    alice, carla = ids["alice by token:alice"], ids["carla by token:contractor"]
    log = tmp_path / "audit.log"
    log.write_text("".join([
        event("alice", alice, stage="RequestReceived"), event("alice", alice), event("alice", alice, code=403),
        event("carla", carla, at="2999-01-01T00:00:00.000000Z"),
        event("stolen", stolen["credential_id"]), event("bobs-pod", portal), event("bobs-pod", portal),
        event("mallory", unknown), event("not-her", ids["annas-pod by token:portal"]),
        event("system:serviceaccount:kube-system:job-controller", "JTI=0e1c"), event("oidc:zoe", None),
        "\n", "I0601 not an event\n", '{"kind":"EventList"}\n', "[]\n", event("alice", alice)[:-40],
    ]))  # fmt: skip
    packed = tmp_path / "audit.log.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    found, end = traced(server, log, over=over)
    assert (found, end) == traced(server, packed, over=over)
    assert found[alice]["requests"] == 2 and found[alice]["refused_requests"] == 1
    assert (found[alice]["requested_by"], found[alice]["policies"]) == ("token:alice", ["developers"])
    record = server.get(server.auditor, "/v1/certificates", credential_id=alice).json()["items"][0]
    for member in ("serial", "policies", "policy_revision", "requested_by", "groups", "not_after"):
        assert found[alice][member] == record[member], member
    flags = {credential_id: row["flags"] for credential_id, row in found.items()}
    assert flags == {
        alice: [], carla: ["outside_validity"], stolen["credential_id"]: ["key_blocked"], portal: ["token_revoked"],
        unknown: ["not_in_ledger"], ids["annas-pod by token:portal"]: ["name_differs", "token_revoked"],
    }  # fmt: skip
    assert found[unknown]["serial"] is None and found[unknown]["user"] == "mallory"
    assert (end["lines"], end["unreadable_lines"], end["requests_without_certificate"]) == (15, 4, 2)
    table = server.audit("trace", "--kube-audit", log, over=over)
    assert "not_in_ledger" in table.stdout and "5 certificates have flags" in table.stderr


@pytest.fixture
def make_prepared(tmp_path, authority):
    made: list[Prepared] = []

    def make() -> Prepared:
        made.append(Prepared(tmp_path / "own", Cluster("prod", authority, settings={"max_ttl": "60d"})))
        made[-1].apply(*ROWS)
        return made[-1].start().fill()

    yield make
    for server in made:
        server.stop()


def test_a_refusal_since_is_flagged(make_prepared, tmp_path):
    server = make_prepared()
    fresh = server.issue(server.contractor, "fresh")
    server.apply(ALICE)
    server.sign(server.contractor, requests.new_request(tmp_path, "fresh")).problem(403, "policy_denied")
    log = tmp_path / "audit.log"
    log.write_text(event("fresh", fresh["credential_id"]))
    assert traced(server, log)[0][fresh["credential_id"]]["flags"] == ["refused_since"]


def test_a_large_log_is_read_in_bounded_memory(prepared, tmp_path):
    """200 MB, or 1 GB where COUNTERSIGN_SOAK is set; a thousand certificates."""
    megabytes = 1_000 if os.environ.get("COUNTERSIGN_SOAK") else 200
    known = list(prepared.credential_ids.values())
    ids = known + [f"X509SHA256={number:064x}" for number in range(1_000 - len(known))]
    block = "".join(event(f"user-{number}", credential_id) for number, credential_id in enumerate(ids)).encode()
    log = tmp_path / "audit.log"
    with log.open("wb") as file:
        blocks = megabytes * 1_000_000 // len(block) + 1
        for _ in range(blocks):
            file.write(block)
    began = time.monotonic()
    with (
        prepared.spawn("trace", "--kube-audit", log, "-o", "ndjson", stdout=subprocess.PIPE) as ran,
        ThreadPoolExecutor(1) as threads,
    ):
        peak = threads.submit(raw.peak_kib, ran.pid)
        text = ran.stdout.read().decode()
    used = peak.result()
    took = time.monotonic() - began
    end = json.loads(text.splitlines()[-1])
    print(f"{megabytes} MB in {took:.1f} s, {used // 1024} MB of memory")
    assert ran.returncode == 0 and end["requests"] == blocks * 1_000 and end["count"] == 1_000
    assert 0 < used < 100 * 1024, f"{used} kB for a log of {megabytes} MB"
