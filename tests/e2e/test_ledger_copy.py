"""A SQLite ledger moves to PostgreSQL: whole, resumable, compared."""

import subprocess
import time

import ledger
import load
import pytest
import requests_by_openssl as requests
from server import BINARY, Cluster, Server, environment

DATABASE = "copied"
FILLER = 150_000
"""Names beside those of the records, so that the copy takes long enough to be broken off."""


@pytest.fixture
def filled(make_server, postgres_server, tmp_path) -> Server:
    """A stopped server with some of everything, and a `[databases.big]` that is empty."""
    url = postgres_server.create(DATABASE)
    server = make_server(databases={"big": url})
    with load.Load(server.port, server.alice, load.csrs()):
        time.sleep(1.5)
    csr = requests.new_request(tmp_path, "alice", "dev")
    server.sign(server.alice, csr, "-H", "Idempotency-Key: before").issued()
    server.sign(server.alice, requests.new_request(tmp_path, "root")).problem(403)
    server.cli("key", "block", "ab" * 32, "--reason", "leaked = ö")
    server.token("gone", "requester")
    server.cli("token", "revoke", "gone")
    server.csr = csr
    return server


def on_postgres(server: Server, authority, tmp_path, postgres_server) -> Server:
    """A replica on the copy, with the tokens of the file that it was copied from."""
    copied = Server(tmp_path / "copied", Cluster("prod", authority), database=postgres_server.url(DATABASE))
    copied.alice, copied.auditor = server.alice, server.auditor
    return copied.start()


def events(server: Server) -> list[dict]:
    """But for those of what these tests do themselves: they are written now and then."""
    own = ("ledger.read", "authentication.succeeded")
    return [event for event in server.items(server.auditor, "/v1/audit") if event["kind"] not in own]


def everything(server: Server) -> list:
    lists = [server.items(server.auditor, path) for path in ("/v1/certificates", "/v1/refusals")]
    # The last column says when a token was last used, which these tests do too.
    tokens = [line.rsplit("\t", 1)[0] for line in server.cli("token", "list").stdout.splitlines()]
    return [*lists, events(server), tokens, server.cli("key", "list").stdout]


def test_a_ledger_moves_whole_and_goes_on(filled, authority, postgres_server, tmp_path):
    before = everything(filled)
    refused = filled.cli("ledger", "copy", "--to", "big", check=False)
    assert refused.returncode == 1 and "served by another process" in refused.stderr
    filled.stop()
    ran = filled.cli("ledger", "copy", "--to", "big")
    assert "copied and compared" in ran.stdout and "100%" not in ran.stderr
    copied = on_postgres(filled, authority, tmp_path, postgres_server)
    try:
        assert everything(copied) == before
        again = copied.sign(filled.alice, filled.csr, "-H", "Idempotency-Key: before")
        assert again.status == 200 and again.headers["idempotency-replayed"] == "true"
        # New names and numbers go on from the copied ones.
        serial = copied.sign(filled.alice, requests.new_request(tmp_path, "alice", "new-group")).issued().json()["serial"]
        assert copied.items(filled.auditor, "/v1/certificates")[0]["serial"] == serial
        assert len(events(copied)) == len(before[2]) + 1
    finally:
        copied.stop()
    twice = filled.cli("ledger", "copy", "--to", "big", check=False)
    assert twice.returncode == 1 and "holds a ledger already" in twice.stderr
    assert "no [databases.none]" in filled.cli("ledger", "copy", "--to", "none", check=False).stderr


def broken_off(server: Server, postgres_server) -> None:
    """Kills a copy once it has brought some rows over."""
    ledger.change(
        server.database,
        "INSERT INTO names (name) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        f"WHERE i < {FILLER}) SELECT 'filler-' || i FROM n",
    )
    copying = subprocess.Popen(
        [BINARY, "--config", server.configuration, "ledger", "copy", "--to", "big"],
        cwd=server.folder, env=environment(server.folder), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 30
    while True:
        assert time.monotonic() < end and copying.poll() is None, "it was not caught in the middle"
        if postgres_server.sql(DATABASE, "SELECT to_regclass('ledger_copy')"):
            rows = postgres_server.sql(DATABASE, "SELECT coalesce(sum(rows), 0) FROM ledger_copy")
            if int(rows) > 5_000:
                break
    copying.kill()
    copying.wait()


def test_a_copy_that_was_killed_goes_on_where_it_was(filled, authority, postgres_server, tmp_path):
    before = everything(filled)
    filled.stop()
    broken_off(filled, postgres_server)
    half = Server(tmp_path / "half", Cluster("prod", authority), database=postgres_server.url(DATABASE))
    refused = half.cli("serve", check=False)
    assert refused.returncode == 1 and "run `countersign ledger copy` again" in refused.stderr
    ran = filled.cli("ledger", "copy", "--to", "big")
    assert "rows were there from an earlier attempt" in ran.stderr
    assert postgres_server.sql(DATABASE, "SELECT count(*) FROM names WHERE name LIKE 'filler-%'") == str(FILLER)
    copied = on_postgres(filled, authority, tmp_path, postgres_server)
    try:
        assert everything(copied) == before
    finally:
        copied.stop()


def test_a_copy_that_is_not_the_same_is_no_ledger(filled, postgres_server):
    filled.stop()
    broken_off(filled, postgres_server)
    postgres_server.sql(
        DATABASE, "ALTER TABLE names DISABLE TRIGGER ALL; UPDATE names SET name = 'somebody' WHERE name = 'token:alice'"
    )
    ran = filled.cli("ledger", "copy", "--to", "big", check=False)
    assert ran.returncode == 1 and "names is not the same on both sides" in ran.stderr
    # The source has moved on: what was copied before may not be true any more.
    filled.cli("key", "block", "cd" * 32, "--reason", "later")
    ran = filled.cli("ledger", "copy", "--to", "big", check=False)
    assert ran.returncode == 1 and "has changed since this copy began" in ran.stderr
