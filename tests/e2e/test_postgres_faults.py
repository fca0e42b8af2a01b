"""PostgreSQL stopped, killed and frozen under load: 503 in time meanwhile, nothing lost, by itself again afterwards."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import load
import pytest
import records
import requests_by_openssl as requests
from curl import curl

ANSWER_SECONDS = 5.0
"""A database that does not answer is a 503 within this time; the tests allow a slow machine one more second."""
BACK_SECONDS = 10.0
"""Once the database takes connections, certificates are issued again within this time."""


@contextmanager
def stopped(postgres, mode: str):
    postgres.stop(mode)
    try:
        yield
    finally:
        postgres.start()


@contextmanager
def killed(postgres):
    postgres.kill()
    try:
        yield
    finally:
        postgres.start()


FAULTS = {
    "stopped": lambda postgres: stopped(postgres, "fast"),
    "stopped at once": lambda postgres: stopped(postgres, "immediate"),
    "killed": killed,
    "frozen": lambda postgres: postgres.frozen(),
}


def assert_told(server, csr: bytes) -> None:
    """What each kind of client sees meanwhile, all of them at the same time."""

    def timed(ask):
        started = time.monotonic()
        return ask(), time.monotonic() - started

    asks = {
        "sign": lambda: server.sign(server.alice, csr),
        "list": lambda: server.get(server.auditor, "/v1/certificates"),
        "ready": lambda: curl(server.address("/readyz")),
        "live": lambda: curl(server.address("/livez")),
    }
    with ThreadPoolExecutor(len(asks)) as threads:
        answers = dict(zip(asks, threads.map(timed, asks.values()), strict=True))
    for what, (answer, seconds) in answers.items():
        assert seconds < ANSWER_SECONDS + 1, f"{what}: a client waited {seconds:.1f} s"
        if what == "live":
            assert (answer.status, answer.text) == (200, "alive\n")
            continue
        problem = answer.problem(503, "not_ready" if what == "ready" else "ledger_unavailable")
        assert "the ledger does not answer" in problem["detail"]
        assert int(answer.headers["retry-after"]) >= 1


def wait_until_it_signs(server, csr: bytes) -> float:
    started = time.monotonic()
    while server.sign(server.alice, csr).status != 201:
        assert time.monotonic() - started < BACK_SECONDS, "it does not come back by itself"
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.parametrize("fault", FAULTS)
def test_meanwhile_503_and_afterwards_nothing_is_lost(make_replicas, postgres_server, tmp_path, fault):
    (server,) = make_replicas(1)
    csr = requests.new_request(tmp_path, "alice", "dev")
    process = server.process.pid
    found = records.on_postgres(server, postgres_server)
    with load.Load(server.port, server.alice, load.csrs()) as clients:
        time.sleep(0.5)
        with FAULTS[fault](postgres_server):
            assert_told(server, csr)
            quiet = len(clients.received)
            time.sleep(1)
            assert len(clients.received) == quiet, "a certificate came out that nobody recorded"
        wait_until_it_signs(server, csr)
        assert curl(server.address("/readyz")).status == 200
        time.sleep(0.5)
    assert len(clients.received) > quiet > 0
    assert set(clients.statuses) == {201, 503}
    assert {problem.code for problem in clients.problems} <= {"ledger_unavailable", "ledger_busy"}
    assert all(problem.retry_after for problem in clients.problems)
    assert clients.slowest < ANSWER_SECONDS + 1
    assert server.process.pid == process and server.process.poll() is None
    found.add(clients.received)
    found.assert_whole()


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_a_restart_under_two_replicas_loses_nothing(make_replicas, postgres_server, tmp_path, mode):
    one, two = make_replicas(2)
    csr = requests.new_request(tmp_path, "alice", "dev")
    found = records.on_postgres(one, postgres_server)
    two.alice, two.auditor = one.alice, one.auditor
    with ExitStack() as stack:
        loads = [stack.enter_context(load.Load(server.port, one.alice, load.csrs())) for server in (one, two)]
        for _ in range(3):
            time.sleep(0.4)
            postgres_server.kill() if mode == "kill" else postgres_server.stop(mode)
            postgres_server.start()
            for server in (one, two):
                wait_until_it_signs(server, csr)
    received = [pem for clients in loads for pem in clients.received]
    for clients in loads:
        assert set(clients.statuses) <= {201, 503}
        assert clients.slowest < ANSWER_SECONDS + 1
    found.add(received)
    found.assert_whole()


def test_a_replica_that_is_frozen_in_the_middle_stops_no_other(make_replicas, postgres_server, tmp_path):
    """The server itself ends the transaction of one that stands still, so its lock goes too."""
    one, two = make_replicas(2)
    two.auditor = one.auditor
    csr = requests.new_request(tmp_path, "alice", "dev")
    found = records.on_postgres(one, postgres_server)
    with load.Load(two.port, one.alice, load.csrs()) as frozen:
        for _ in range(5):
            time.sleep(0.3)
            two.process.send_signal(signal.SIGSTOP)
            wait_until_it_signs(one, csr)
            two.process.send_signal(signal.SIGCONT)
    found.add(frozen.received)
    found.assert_whole()
