"""Several replicas on one PostgreSQL: what holds across them, what is survived."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import load
import requests_by_openssl as requests
import requests_by_python
import yaml
from conftest import ALICE
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from curl import curl
from server import Cluster, Server

DATABASE = "replicas"
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
    two.sign(carol, csr).problem(422, "key_blocked")


def test_one_key_is_certified_for_one_user_though_two_replicas_are_asked_at_once(make_replicas):
    one, two = make_replicas()
    with ThreadPoolExecutor(2) as threads:
        for _ in range(15):
            key = requests_by_python.new_key()
            alice = requests_by_python.request(key, "alice", "dev")
            other = requests_by_python.request(key, "pod-viewer", "dev")
            both = [threads.submit(one.sign, one.alice, alice), threads.submit(two.sign, one.alice, other)]
            assert sorted(answer.result().status for answer in both) == [201, 422]


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
