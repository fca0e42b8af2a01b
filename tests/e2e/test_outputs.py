"""Names that are allowed and awkward come out of every format as they went in; the others are refused."""

import csv
import email.message
import io
import json
import re
import subprocess
from pathlib import Path

import certificates
import der
import pytest
import requests_by_python as python_made
import yaml
from conftest import ALICE, Known, lint_what_it_issued
from cryptography import x509
from curl import curl
from kubectl import kubectl
from server import Cluster, environment

PLAIN = [
    "yes", "No", "on", "y", "null", "Null", "~", "true", "0x1F", "0o17", "017", "1e3", "1_000", ".5", "-1", "+1", ".inf",
    ".nan", "12:30:45", "2026-11-24", "2026-11-24T10:00:00Z", "=", "<<", "-", "--", "---", "...", "- a", "-rf", "? a",
    "a: b", "a:", ": a", "a #b", "#a", "'", '"', "''", '"a"', "`id`", "$(id)", "$HOME", "%41", "%", "&a", "!!str a",
    "| a", "> a", "@a", "a@b@c", "[a]", "[", "]", "{a", "a}", "{}", "{{a}}", "\\", "\\n", "a\\", "\\u0041", "a,b", "a;b",
    "a\"; filename=\"b.sh", "../../etc/passwd", "/etc/passwd", ".", "..", ".ssh", "a/b", "a b", "a  b", "a'b\"c",
    "=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "<script>alert(1)</script>", "&amp;", "con", "nul.txt",
    "'=1", "''=1", "=\"a\",\"b\"", "x" * 253,
]  # fmt: skip
BEYOND_ASCII = [
    "Zoë", "gebühren-größe", "王小明", "Ω", "😀", "👩🏽", "אליס", "مريم", "abc אבג", "ไทย", "é" * 126, "ﷺ", "№ 7", "“a”",
    "a\u2010b", "１２", "＝1+1", "＋1", "－1", "＠SUM(A1)", "=אליס", "+😀",
]  # fmt: skip
REFUSED = {
    "tab": ("a\tb", "name_character_not_accepted"),
    "line feed": ("a\nb", "name_character_not_accepted"),
    "carriage return": ("a\rb", "name_character_not_accepted"),
    "next line": ("a\u0085b", "name_character_not_accepted"),
    "line separator": ("a\u2028b", "name_character_not_accepted"),
    "paragraph separator": ("a\u2029b", "name_character_not_accepted"),
    "NUL": ("a\0b", "name_character_not_accepted"),
    "escape": ("a\x1b[31mb", "name_character_not_accepted"),
    "delete": ("a\x7fb", "name_character_not_accepted"),
    "right-to-left override": ("a\u202eb", "name_character_not_accepted"),
    "right-to-left mark": ("a\u200fb", "name_character_not_accepted"),
    "zero width space": ("a\u200bb", "name_character_not_accepted"),
    "joiner": ("👩\u200d💻", "name_character_not_accepted"),
    "byte order mark": ("\ufeffa", "name_character_not_accepted"),
    "private use": ("a\ue000b", "name_character_not_accepted"),
    "unassigned": ("a\u0378b", "name_character_not_accepted"),
    "space first": (" a", "name_space_at_end"),
    "no-break space last": ("a\u00a0", "name_space_at_end"),
    "decomposed": ("Zoe\u0308", "name_not_nfc"),
}
FILE_NAME = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9._@-]{0,99}")
ANYBODY = ALICE | {"name": "anybody", "users": ["*", *BEYOND_ASCII], "groups": ["*", *BEYOND_ASCII]}
EVERYBODY = {"clusters": ["*"], "callers": ["token:*"], "users": ["*"]}
NOT_THIS_GROUP = {"name": "not-this", "effect": "deny", **EVERYBODY, "groups": ["refused"]}
RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def ascii_start(name: str) -> str:
    """What a test is called."""
    return ascii(name)[1:-1][:24]


@pytest.fixture(scope="module")
def anybody(tmp_path_factory, authority):
    """A server whose alice may be anybody, in any group, that is not reserved."""
    # What is in the ledger has a line in the log at this level only.
    server = Known(tmp_path_factory.mktemp("anybody"), Cluster("prod", authority), log="info,countersign=debug")
    server.apply(ANYBODY, NOT_THIS_GROUP)
    server.start()
    yield server
    server.stop()
    lint_what_it_issued(server)


def request_of(user: str, *groups: str) -> bytes:
    rdns = [der.rdn(der.attribute(der.COMMON_NAME, user))]
    rdns += [der.rdn(der.attribute(der.ORGANIZATION, group)) for group in groups]
    return python_made.request_with_name(python_made.new_key(), *rdns)


def saved(server, csr: bytes, folder: Path) -> Path:
    """The one file that `curl -OJ` makes of the kubeconfig."""
    folder.mkdir()
    url = server.address("/v1/sign", format="kubeconfig")
    subprocess.run(
        ["curl", "-q", "-sS", "--fail-with-body", "-OJ", "-H", f"@{server.alice}", "--data-binary", "@-", url],
        input=csr, cwd=folder, env=environment(folder), check=True, timeout=30, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (path,) = folder.iterdir()
    return path


def disposition(header: str) -> str:
    """The file name as Python's email package reads it."""
    message = email.message.Message()
    message["Content-Disposition"] = header
    return message.get_filename()


def by_jq(program: str, document: bytes) -> str:
    return subprocess.run(["jq", "-j", program], input=document, capture_output=True, check=True).stdout.decode()


def assert_says(config: dict, user: str) -> None:
    """A kubeconfig that names this user everywhere."""
    both = f"{user}@prod"
    assert config["current-context"] == both
    assert [one["name"] for one in config["users"]] == [both] == [one["name"] for one in config["contexts"]]
    assert config["contexts"][0]["context"] == {"cluster": "prod", "user": both}
    assert [one["name"] for one in config["clusters"]] == ["prod"]


@pytest.mark.parametrize("name", PLAIN + BEYOND_ASCII, ids=ascii_start)
def test_an_awkward_name_comes_out_as_it_went_in(anybody, authority, tmp_path, name):
    csr = request_of(name, name, "dev")
    answer = anybody.sign(anybody.alice, csr, reason=name).issued()
    said = answer.json()

    leaf = x509.load_pem_x509_certificate(said["certificate"].encode())
    certificates.assert_subject(leaf, name, [name, "dev"])
    if not name.isascii():
        certificates.assert_good(said["certificate"], authority, csr, name, [name, "dev"], tmp_path / "judge")
    assert by_jq(".user, .groups[0]", answer.body) == name * 2
    assert answer.headers["location"] == f"/v1/certificates/{said['serial']}"
    assert FILE_NAME.fullmatch(disposition(answer.headers["content-disposition"]))

    record = anybody.get(anybody.auditor, answer.headers["location"]).json()
    assert (record["user"], record["groups"], record["reason"]) == (name, [name, "dev"], name)
    listed = anybody.get(anybody.auditor, "/v1/certificates", user=name, group=name).json()["items"]
    assert {item["user"] for item in listed} == {name} and said["serial"] in {item["serial"] for item in listed}

    assert_says(yaml.safe_load(said["kubeconfig"]), name)
    assert_comments_are_plain(said["kubeconfig"])


@pytest.mark.parametrize("name", PLAIN[::4] + BEYOND_ASCII[::2], ids=ascii_start)
def test_curl_saves_a_kubeconfig_that_kubectl_reads_as_it_was_meant(anybody, tmp_path, name):
    path = saved(anybody, request_of(name, "dev"), tmp_path / "downloads")
    assert FILE_NAME.fullmatch(path.name) and path.suffix == ".kubeconfig"
    shown = kubectl("config", "view", "--raw", "-o", "json", "--kubeconfig", path, cwd=tmp_path).stdout
    assert_says(json.loads(shown), name)
    assert_says(yaml.safe_load(path.read_text()), name)


def assert_comments_are_plain(kubeconfig: str) -> None:
    """They come first, are printable ASCII, and end where they should: the file begins after them."""
    lines = kubeconfig.split("\n")
    comments = [line for line in lines if line.startswith("#")]
    assert lines[: len(comments)] == comments and lines[len(comments)].startswith("apiVersion:")
    assert all(line.isascii() and line.isprintable() for line in comments)


def test_names_that_become_one_file_name_do_not_share_a_file(anybody, tmp_path):
    names = ["a/b", "a b", "a:b", "a=b", "a_b"]
    files = {saved(anybody, request_of(name), tmp_path / str(number)).name for number, name in enumerate(names)}
    assert len(files) == len(names)


@pytest.mark.parametrize("name, code", REFUSED.values(), ids=REFUSED.keys())
def test_a_name_that_could_end_a_line_or_hide_is_refused_and_shown_escaped(anybody, name, code):
    for csr in (request_of(name), request_of("alice", name)):
        answer = anybody.sign(anybody.alice, csr)
        detail = answer.problem(422, code)["detail"]
        assert detail.isprintable(), detail
        refusal = anybody.get(anybody.auditor, "/v1/refusals", limit=1).json()["items"][0]
        assert refusal["code"] == code and refusal["detail"] == detail


@pytest.mark.parametrize("parameter", ["cluster", "ttl", "key_path", "shape", "format", "on_behalf_of", "reason"])
def test_a_line_end_in_a_parameter_goes_nowhere(anybody, parameter):
    csr = request_of("alice")
    for value in ("a\nb", "a\r\nX-Evil: 1", "a\u2028b"):
        answer = anybody.sign(anybody.alice, csr, **{parameter: value})
        assert answer.status == 400 and "x-evil" not in answer.headers, answer.text
        assert answer.body.count(b"\n") == 1


def test_each_event_of_the_log_is_one_line_of_json_whatever_the_names(anybody):
    header = "X-Request-Id: a\tb"
    ids = set()
    for name in ("a: b", 'a"b', "\\n", "{}", "Zoë", "a\u2028b", "a\nb"):
        answer = anybody.sign(anybody.alice, request_of(name), "-H", header)
        ids.add(answer.headers["x-request-id"])
    curl(f"{anybody.url}/%0a%0d%1b[31m?a=%0a")
    lines = anybody.log.read_text().split("\n")
    assert lines.pop() == ""
    events = [json.loads(line) for line in lines]
    assert all(line.isprintable() for line in lines)
    assert all(isinstance(event, dict) and event["level"] for event in events)
    for request_id in ids:
        assert sum(request_id in line for line in lines) == 1


@pytest.mark.parametrize("path", ["/v1/certificates", "/v1/refusals"])
def test_no_cell_of_csv_is_a_formula_and_each_name_can_be_had_back(anybody, path):
    names = [name for name in PLAIN + BEYOND_ASCII if name.startswith(("'", *RUN_BY_SPREADSHEETS))]
    names += ["a,b", 'a\"; filename=\"b.sh', "a;b", "مريم", "abc אבג", "😀", "a  b"]
    group, status = ("dev", 201) if path == "/v1/certificates" else ("refused", 403)
    for name in names:
        assert anybody.sign(anybody.alice, request_of(name, name, group), reason=name).status == status

    rows = cells(exported(anybody, path, "text/csv", group))
    objects = [json.loads(line) for line in exported(anybody, path, "application/x-ndjson", group).splitlines()]
    assert objects.pop() == {"end": True, "count": len(rows)}
    assert not [cell for row in rows for cell in row.values() if cell.startswith(RUN_BY_SPREADSHEETS)]
    for row, said in zip(rows, objects, strict=True):
        assert {column: said_by(cell, said.get(column)) for column, cell in row.items()} == {c: said.get(c) for c in row}
    assert {row["user"].removeprefix("'") for row in rows} >= set(names)


def exported(server, path: str, kind: str, group: str) -> bytes:
    return server.get(server.auditor, path, "-H", f"Accept: {kind}", group=group).body


def cells(document: bytes) -> list[dict[str, str]]:
    """The records between header and end, as Python's reader has them."""
    header, *records, end = csv.reader(io.StringIO(document.decode(), newline=""), strict=True)
    assert {len(record) for record in (*records, end)} == {len(header)}
    assert end[:2] == ["end", str(len(records))] and not any(end[2:])
    return [dict(zip(header, record, strict=True)) for record in records]


def said_by(cell: str, value):
    """What a cell means, where JSON says a value of this kind: the way back that docs/api.md gives."""
    if value is None:
        return cell or None
    return cell.removeprefix("'") if isinstance(value, str) else json.loads(cell)
