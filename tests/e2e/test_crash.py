"""No certificate is out without its record: under kill -9, a broken, locked or full database."""

import os
import random
import resource
import time

import ledger
import load
import pytest
import requests_by_openssl as requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

KILLS = 200 if os.environ.get("COUNTERSIGN_SOAK") else 20
ANSWER_SECONDS = 5.0
"""A database that does not answer is a 503 within this time; the tests allow a slow machine one more second."""


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def test_every_certificate_that_a_client_received_survives_kill_9(make_server):
    server = make_server()
    bodies = load.csrs()
    received: set[bytes] = set()
    pseudo_random = random.Random(20_260_101)
    for _ in range(KILLS):
        with load.Load(server.port, server.alice, bodies) as clients:
            time.sleep(pseudo_random.uniform(0.1, 0.6))
            server.kill()
        answered = [der_of(pem) for pem in clients.received]
        assert len(set(answered)) == len(answered), "no certificate is given twice"
        received.update(answered)
        server.start()
        rows = {row.der for row in ledger.certificates(server.database)}
        assert received <= rows, f"{len(received - rows)} certificates are out without a record"

    assert len(received) > KILLS, "too few came through for this to say anything"
    assert ledger.integrity(server.database) == "ok"
    rows = ledger.certificates(server.database)
    assert len({row.serial for row in rows}) == len(rows) == len({row.der for row in rows})
    assert [row.number for row in rows] == sorted({row.number for row in rows})
    for row in rows:
        serial = x509.load_der_x509_certificate(row.der).serial_number
        assert serial == int.from_bytes(row.serial, "big")
    listed = [item["serial"] for item in server.items(server.auditor, "/v1/certificates")]
    assert listed == [row.serial.hex() for row in reversed(rows)]


def test_an_idempotency_key_gives_one_certificate_at_most_across_a_crash(make_server, tmp_path):
    server = make_server()
    csr = requests.new_request(tmp_path, "alice", "dev")
    once = ("-H", "Idempotency-Key: crash-1")
    first = server.sign(server.alice, csr, *once).issued().json()
    server.kill()
    server.start()
    again = server.sign(server.alice, csr, *once)
    assert again.status == 200 and again.json()["serial"] == first["serial"]
    assert ledger.count(server.database, "certificates") == 1


@pytest.fixture
def broken(make_server, tmp_path):
    """A server, and a check that it refuses while something is broken and works again afterwards, unrestarted."""
    server = make_server()
    csr = requests.new_request(tmp_path, "alice", "dev")
    server.sign(server.alice, csr).issued()

    def check(breakage) -> None:
        before = ledger.count(server.database, "certificates")
        process = server.process.pid
        with breakage:
            for _ in range(3):
                assert_unavailable(server, csr)
            assert ledger.count(server.database, "certificates") == before
        server.sign(server.alice, csr).issued()
        assert ledger.count(server.database, "certificates") == before + 1
        assert server.process.pid == process and server.process.poll() is None
        assert ledger.integrity(server.database) == "ok"

    check.server = server
    return check


def assert_unavailable(server, csr: bytes) -> None:
    started = time.monotonic()
    answer = server.sign(server.alice, csr)
    took = time.monotonic() - started
    answer.problem(503)
    assert int(answer.headers["retry-after"]) >= 1
    assert took < ANSWER_SECONDS + 1, f"a client waited {took:.1f} s"


@pytest.mark.parametrize("table", ["certificates", "events"])
def test_a_storage_error_releases_nothing(broken, table):
    # An event that cannot be written keeps its certificate from being written: they are one transaction.
    broken(ledger.every_insert_fails(broken.server.database, table))


def test_a_locked_database_releases_nothing(broken):
    broken(ledger.locked(broken.server.database))


class FullDisk:
    """While this lasts, the server cannot write past the first kilobyte of any file."""

    def __init__(self, pid: int):
        self._pid = pid

    def __enter__(self):
        self._before = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (1024, self._before[1]))

    def __exit__(self, *_):
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._before)


def test_a_full_disk_releases_nothing(broken):
    broken(FullDisk(broken.server.process.pid))


def test_a_refusal_that_cannot_be_recorded_is_a_503(make_server, tmp_path):
    server = make_server()
    csr = requests.new_request(tmp_path, "stranger")
    with ledger.every_insert_fails(server.database, "refusals"):
        assert_unavailable(server, csr)
    server.sign(server.alice, csr).problem(403)


def test_asked_to_end_it_answers_what_it_began_and_exits_0(make_server):
    server = make_server()
    with load.Load(server.port, server.alice, load.csrs()) as clients:
        time.sleep(0.5)
        assert server.stop() == 0
    rows = {row.der for row in ledger.certificates(server.database)}
    assert {der_of(pem) for pem in clients.received} <= rows
    assert set(clients.statuses) <= {201, 429, 503} and 201 in clients.statuses
