"""Several replicas on one PostgreSQL: what holds across them, what is refused, what is survived."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import load
import pytest
import requests_by_openssl as requests
import requests_by_python
import yaml
from conftest import ALICE
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from server import Cluster, Server

DATABASE = "replicas"
ANSWER_SECONDS = 5.0
READ_SECONDS = 1.0
"""Within this time a change on one replica holds for reading on the others."""


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def ders(postgres) -> set[bytes]:
    return {bytes.fromhex(line) for line in postgres.sql(DATABASE, "SELECT encode(der, 'hex') FROM certificates").split()}


def assert_dense(postgres) -> None:
    """Numbers without a gap, each with its event."""
    said = postgres.sql(DATABASE, "SELECT count(*), min(number), max(number) FROM events")
    count, least, most = said.split("|")
    assert (least, most) == ("1", count), said
    assert postgres.sql(DATABASE, "SELECT number FROM state") == count


def test_a_policy_changed_on_one_replica_holds_on_the_other_at_once(make_replicas, tmp_path):
    one, two = make_replicas()
    csr = requests.new_request(tmp_path, "alice", "dev")
    two.sign(one.alice, csr).issued()
    for change in (lambda rows: one.apply(*rows), lambda rows: put_policies(one, rows)):
        change([ALICE | {"groups": ["ops"]}])
        two.sign(one.alice, csr).problem(403)
        change([ALICE])
        two.sign(one.alice, csr).issued()


def put_policies(server, rows) -> None:
    body = yaml.safe_dump({"policies": rows}, allow_unicode=True).encode()
    etag = server.get(server.admin, "/v1/policies").headers["etag"]
    options = ("-X", "PUT", "-H", f"If-Match: {etag}", "--data-binary", "@-")
    from curl import curl

    assert curl("-H", f"@{server.admin}", *options, server.address("/v1/policies"), body=body).status == 200


def test_a_token_revoked_on_one_replica_gets_nothing_from_the_other(make_replicas, tmp_path):
    one, two = make_replicas()
    csr = requests.new_request(tmp_path, "alice", "dev")
    two.sign(one.alice, csr).issued()
    assert two.get(one.alice, "/v1/whoami").status == 200
    one.cli("token", "revoke", "alice")
    revoked = time.monotonic()
    assert two.sign(one.alice, csr).status in (401, 403)
    while two.get(one.alice, "/v1/whoami").status == 200:
        assert time.monotonic() - revoked < READ_SECONDS, "it still reads"
    two.get(one.alice, "/v1/whoami").problem(401)


def test_a_token_made_and_a_key_blocked_on_one_replica_hold_on_the_other_at_once(make_replicas, tmp_path):
    one, two = make_replicas()
    carol = one.token("carol", "requester")
    one.apply(ALICE | {"callers": ["token:alice", "token:carol"]})
    csr = requests.new_request(tmp_path, "carol", "dev")
    issued = two.sign(carol, csr).issued().json()
    spki = two.get(one.auditor, f"/v1/certificates/{issued['serial']}").json()["spki_sha256"]
    one.cli("key", "block", spki, "--reason", "leaked")
    two.sign(carol, csr).problem(403)


def test_one_key_is_certified_for_one_user_though_two_replicas_are_asked_at_once(make_replicas):
    one, two = make_replicas()
    with ThreadPoolExecutor(2) as threads:
        for _ in range(15):
            key = requests_by_python.new_key()
            alice = requests_by_python.request(key, "alice", "dev")
            other = requests_by_python.request(key, "pod-viewer", "dev")
            both = [threads.submit(one.sign, one.alice, alice), threads.submit(two.sign, one.alice, other)]
            assert sorted(answer.result().status for answer in both) == [201, 403]


def test_one_idempotency_key_gives_one_certificate_though_two_replicas_are_asked_at_once(make_replicas, postgres_server):
    one, two = make_replicas()
    csr = requests_by_python.request(requests_by_python.new_key(), "alice", "dev")
    with ThreadPoolExecutor(4) as threads:
        for number in range(15):
            once = ("-H", f"Idempotency-Key: once-{number}")
            asked = [threads.submit(server.sign, one.alice, csr, *once) for server in (one, two, one, two)]
            answers = [answer.result() for answer in asked]
            good = [answer for answer in answers if answer.status in (200, 201)]
            # Within one replica the same key at once is told to come again.
            assert {answer.status for answer in answers} <= {200, 201, 409} and good
            assert len({answer.json()["serial"] for answer in good}) == 1
            assert postgres_server.sql(DATABASE, "SELECT count(*) FROM certificates") == str(number + 1)


def test_no_certificate_is_out_without_a_record_though_replicas_are_killed(make_replicas, postgres_server):
    one, two = make_replicas()
    received: set[bytes] = set()
    bodies = load.csrs()
    for _ in range(5):
        with load.Load(one.port, one.alice, bodies) as first, load.Load(two.port, one.alice, bodies) as second:
            time.sleep(0.4)
            two.kill()
            time.sleep(0.2)
            killed = len(first.received)
            time.sleep(0.4)
        assert len(first.received) > killed, "the other replica goes on"
        received.update(der_of(pem) for pem in first.received + second.received)
        two.start()
    assert received <= ders(postgres_server)
    assert_dense(postgres_server)


def test_no_certificate_is_out_without_a_record_though_the_database_is_killed(make_replicas, postgres_server):
    one, two = make_replicas()
    received: set[bytes] = set()
    bodies = load.csrs()
    for _ in range(3):
        with load.Load(one.port, one.alice, bodies) as first, load.Load(two.port, one.alice, bodies) as second:
            time.sleep(0.6)
            postgres_server.kill()
            time.sleep(0.2)
            postgres_server.start()
            time.sleep(1.5)
        assert first.statuses[-1] == 201 and second.statuses[-1] == 201, "they recover by themselves"
        assert set(first.statuses + second.statuses) <= {201, 429, 503}
        received.update(der_of(pem) for pem in first.received + second.received)
    assert received <= ders(postgres_server)
    assert_dense(postgres_server)


@pytest.mark.parametrize("fault", ["down", "frozen"])
def test_a_database_that_does_not_answer_releases_nothing(make_replicas, postgres_server, tmp_path, fault):
    one, two = make_replicas()
    csr = requests.new_request(tmp_path, "alice", "dev")
    one.sign(one.alice, csr).issued()
    with getattr(postgres_server, fault)():
        for server in (one, two, one):
            for ask in (lambda: server.sign(one.alice, csr), lambda: server.get(one.auditor, "/v1/certificates")):
                started = time.monotonic()
                answer = ask()
                took = time.monotonic() - started
                answer.problem(503)
                assert int(answer.headers["retry-after"]) >= 1
                assert took < ANSWER_SECONDS + 1, f"a client waited {took:.1f} s"
    for server in (one, two):
        end = time.monotonic() + 10
        while server.sign(one.alice, csr).status != 201:
            assert time.monotonic() < end, "it does not recover"
        assert server.process.poll() is None
    assert_dense(postgres_server)


def refused_to_start(server: Server) -> str:
    """Its one line, where it must not start and not even migrate."""
    ran = server.cli("serve", check=False)
    assert ran.returncode == 1, ran.stderr
    lines = [line for line in ran.stderr.splitlines() if line.startswith("countersign: ")]
    assert len(lines) == 1, ran.stderr
    return lines[0]


@pytest.fixture
def not_started(postgres_server, authority, tmp_path):
    """A replica that was not started, on a new database."""

    def make(database: str | None = None, **settings) -> Server:
        database = database or postgres_server.create(DATABASE)
        return Server(tmp_path / "not-started", Cluster("prod", authority), database=database, **settings)

    return make


@pytest.mark.parametrize("value", ["off", "local", "remote_write"])
def test_a_role_that_commits_early_is_refused(not_started, postgres_server, value):
    server = not_started()
    postgres_server.sql(DATABASE, f"ALTER DATABASE {DATABASE} SET synchronous_commit = {value}")
    assert f"synchronous_commit stands at `{value}`" in refused_to_start(server)


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_does_not_sync_is_refused(not_started, postgres_server, setting):
    server = not_started()
    with postgres_server.configured(**{setting: "off"}):
        assert f"{setting} stands at `off`" in refused_to_start(server)


def test_a_newer_schema_is_refused(not_started, postgres_server):
    server = not_started()
    assert "step 0" in server.cli("migrate", "--check", check=False).stderr
    assert server.cli("migrate", "--check", check=False).returncode == 1
    assert "from step 0 to step" in server.cli("migrate").stdout
    assert "nothing to do" in server.cli("migrate", "--check").stdout
    assert "nothing to do" in server.cli("migrate").stdout
    postgres_server.sql(
        DATABASE,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) "
        "VALUES (9999, 'later', true, '', 0)",
    )
    assert "newer than this program" in refused_to_start(server)
    assert "newer than this program" in server.cli("migrate", check=False).stderr


def test_a_policy_set_with_unknown_fields_is_not_signed_under(not_started, postgres_server):
    server = not_started()
    server.apply(ALICE)
    # As a later version may have written it.
    postgres_server.sql(
        DATABASE,
        "ALTER TABLE policies DISABLE TRIGGER policies_only_end; "
        "UPDATE policies SET body = replace(body, '\"effect\"', '\"quota\":3,\"effect\"')",
    )
    assert "quota" in refused_to_start(server)


def test_the_password_comes_from_a_file_that_nobody_else_can_read(not_started, postgres_server, tmp_path):
    database = postgres_server.create(DATABASE)
    postgres_server.sql(DATABASE, "DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD 'hunter2 %/@'; "
                        f"GRANT CREATE ON SCHEMA public TO guarded; GRANT ALL ON DATABASE {DATABASE} TO guarded")
    hba = postgres_server.folder / "data/pg_hba.conf"
    before = hba.read_text()
    hba.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + before)
    postgres_server.sql("postgres", "SELECT pg_reload_conf()")
    try:
        password = tmp_path / "password"
        password.write_text("hunter2 %/@\n")
        password.chmod(0o644)
        server = not_started(database.replace("countersign@", "guarded@"), database_password_file=str(password))
        assert "chmod 600" in refused_to_start(server)
        assert "chmod 600" in server.cli("config", "check", check=False).stderr
        password.chmod(0o600)
        server.cli("config", "check")
        server.start()
        arguments = open(f"/proc/{server.process.pid}/cmdline").read()
        server.stop()
        password.write_text("wrong\n")
        said = refused_to_start(server)
        assert "password authentication failed" in said
        for text in (arguments, said, server.log.read_text()):
            assert "hunter2" not in text
    finally:
        hba.write_text(before)
        postgres_server.sql("postgres", "SELECT pg_reload_conf()")


@pytest.mark.parametrize("mode", ["", "?sslmode=disable", "?sslmode=require", "?sslmode=verify-ca"])
def test_off_loopback_only_a_verified_server_is_taken(not_started, mode):
    server = not_started(f"postgres://countersign:hunter2@db.example/x{mode}")
    ran = server.cli("config", "check", check=False)
    assert ran.returncode == 1 and "sslmode=verify-full" in ran.stderr and "hunter2" not in ran.stderr


def test_a_role_that_owns_nothing_can_serve(make_replicas, postgres_server, authority, tmp_path):
    one, two = make_replicas()
    grants = (two.folder.parents[0] / "grants.sql", "docs/postgresql.md")
    postgres_server.sql(DATABASE, "DROP ROLE IF EXISTS service; CREATE ROLE service LOGIN; " + grants_of_the_docs())
    server = Server(tmp_path / "service", Cluster("prod", authority), database=postgres_server.url(DATABASE, "service"))
    server.start()
    try:
        csr = requests.new_request(tmp_path, "alice", "dev")
        server.sign(one.alice, csr, "-H", "Idempotency-Key: one").issued()
        server.sign(one.alice, requests.new_request(tmp_path, "root"), "-H", "X: y").problem(403)
        server.apply(ALICE | {"groups": ["dev"]})
        server.token("dave", "requester")
        server.cli("token", "revoke", "dave")
        server.cli("key", "block", "ab" * 32, "--reason", "leaked")
        server.cli("key", "unblock", "ab" * 32)
    finally:
        server.stop()
    del grants
    for forbidden in (
        "DELETE FROM certificates", "UPDATE events SET at = 0", "TRUNCATE refusals CASCADE",
        "ALTER TABLE certificates DISABLE TRIGGER ALL", "DROP TABLE refusals", "SET session_replication_role = replica",
    ):  # fmt: skip
        with pytest.raises(AssertionError, match="permission denied|must be owner"):
            postgres_server.sql(DATABASE, f"SET ROLE service; {forbidden}")


def grants_of_the_docs() -> str:
    """The statements that docs/postgresql.md gives for a role without ownership."""
    from server import REPOSITORY

    text = (REPOSITORY / "docs/postgresql.md").read_text()
    block = next(block for block in text.split("```sql\n")[1:] if "GRANT SELECT" in block)
    return block.split("```")[0].replace("countersign_service", "service")


def test_two_replicas_start_at_once_on_an_empty_database(postgres_server, authority, tmp_path):
    database = postgres_server.create(DATABASE)
    servers = [Server(tmp_path / f"at-once-{n}", Cluster("prod", authority), database=database) for n in range(4)]
    starting = [threading.Thread(target=server.start) for server in servers]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join()
    try:
        assert all(server.process and server.process.poll() is None for server in servers)
    finally:
        for server in servers:
            server.stop()
