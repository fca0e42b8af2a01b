"""What changes between check and record: no certificate has a number after the change that forbids it."""

import time

import load
import pytest
from conftest import ALICE
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from records import on_postgres

ROUNDS = 3
POLICY_REPLACED, TOKEN_REVOKED, KEY_BLOCKED = 3, 5, 6
"""Kinds of events, as the database numbers them."""


def last_issued(records, caller: str) -> int:
    return records.number(
        f"SELECT coalesce(max(number), 0) FROM certificates WHERE caller_id = (SELECT id FROM names WHERE name = '{caller}')"
    )


def event(records, kind: int) -> int:
    """The number of the newest event of this kind."""
    return records.number(f"SELECT max(number) FROM events WHERE kind = {kind}")


def test_a_revoked_token_gets_nothing_from_its_revocation_on(served):
    server, records = served.server, served.records
    for number in range(ROUNDS):
        name = f"caller-{number}"
        server.apply(ALICE | {"callers": [f"token:{name}"], "users": ["alice"]})
        header = server.token(name, "requester")
        with load.Load(server.port, header, load.csrs()) as clients:
            until_some_came_through(clients)
            server.cli("token", "revoke", name)
            time.sleep(0.2)
        assert 0 < last_issued(records, f"token:{name}") < event(records, TOKEN_REVOKED)
        told = set(clients.statuses)
        assert told & {401, 403} and told <= {201, 401, 403, 503}, told
        records.add(clients.received)
    records.assert_whole()


def test_a_policy_that_went_gives_nothing_from_its_change_on(served):
    server, records = served.server, served.records
    for _ in range(ROUNDS):
        server.apply(ALICE)
        with load.Load(server.port, server.alice, load.csrs()) as clients:
            until_some_came_through(clients)
            server.apply(ALICE | {"users": ["pod-viewer"]})
            time.sleep(0.2)
        assert 0 < last_issued(records, "token:alice") < event(records, POLICY_REPLACED)
        told = set(clients.statuses)
        assert 403 in told and told <= {201, 403, 429, 503}, told
        records.add(clients.received)
    records.assert_whole()


def test_a_blocked_key_is_not_certified_from_its_blocking_on(served):
    server, records = served.server, served.records
    for _ in range(ROUNDS):
        bodies = load.csrs()
        key = x509.load_pem_x509_csr(bodies[0]).public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(spki)
        blocked = digest.finalize().hex()
        with load.Load(server.port, server.alice, bodies) as clients:
            until_some_came_through(clients)
            server.cli("key", "block", blocked, "--reason", "leaked")
            time.sleep(0.2)
        literal = f"x'{blocked}'" if served.engine == "sqlite" else f"'\\x{blocked}'"
        last = records.number(f"SELECT coalesce(max(number), 0) FROM certificates WHERE spki_sha256 = {literal}")
        assert 0 < last < event(records, KEY_BLOCKED)
        assert last_issued(records, "token:alice") > event(records, KEY_BLOCKED), "the others go on"
        records.add(clients.received)
    records.assert_whole()


def until_some_came_through(clients) -> None:
    end = time.monotonic() + 10
    while len(clients.received) < 50:
        assert time.monotonic() < end, clients.problems
        time.sleep(0.01)


@pytest.mark.parametrize("change", ["token", "policy"])
def test_a_change_on_one_replica_holds_on_another_under_load(make_replicas, postgres_server, change):
    one, two = make_replicas(2)
    found = on_postgres(one, postgres_server)
    with load.Load(two.port, one.alice, load.csrs()) as clients:
        until_some_came_through(clients)
        if change == "token":
            one.cli("token", "revoke", "alice")
        else:
            one.apply(ALICE | {"users": ["pod-viewer"]})
        time.sleep(0.2)
    assert 0 < last_issued(found, "token:alice") < event(found, TOKEN_REVOKED if change == "token" else POLICY_REPLACED)
    found.add(clients.received)
    found.assert_whole()
