"""A clock that steps under a running service: what it signs, what it refuses, and the operator's way on."""

import time
from collections.abc import Callable
from datetime import timedelta

import authorities
import load
import pytest
import records
import requests_by_openssl as requests
from clock import DAY, Clock
from curl import curl
from records import Served


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> authorities.Authority:
    """Old enough to be valid whatever its service takes for today."""
    return authorities.self_signed(tmp_path_factory.mktemp("old") / "ca", timedelta(days=-3650), timedelta(days=3650))


@pytest.fixture
def stepping(served, tmp_path) -> tuple[Served, Clock]:
    """A server on either engine whose clock steps when it is told to. The database's does not."""
    clock = Clock(served.server, tmp_path)
    served.server.stop()
    served.server.start()
    return served, clock


@pytest.fixture
def sign(stepping, tmp_path) -> Callable:
    server, csr = stepping[0].server, requests.new_request(tmp_path, "alice", "dev")
    return lambda **parameters: server.sign(server.alice, csr, **parameters)


def refused(sign, served: Served, code: str, *words: str) -> None:
    """Nothing is signed, nobody is told otherwise, and everything else goes on."""
    server = served.server
    before = served.records.number("SELECT count(*) FROM events")
    for answer in (sign(), sign(dry_run="1")):
        problem = answer.problem(503, code)
        assert "clock" in problem["detail"] and "nothing is signed" in problem["detail"]
        assert int(answer.headers["retry-after"]) >= 1
    not_ready = curl(server.address("/readyz")).problem(503, "not_ready")["detail"]
    assert all(word in not_ready for word in words), not_ready
    assert curl(server.address("/livez")).status == 200
    assert server.get(server.auditor, "/v1/certificates").status == 200
    assert served.records.number("SELECT count(*) FROM events") == before


def test_a_clock_that_steps_back_signs_nothing_until_it_is_right(stepping, sign):
    served, clock = stepping
    sign().issued()
    clock.step(-30)
    sign().issued()
    clock.step(-120)
    refused(sign, served, "clock_behind", "behind the newest record")
    clock.step(0)
    sign().issued()
    assert curl(served.server.address("/readyz")).status == 200
    served.records.assert_whole()


def test_steps_under_load_never_leave_a_record_out_of_order(stepping):
    served, clock = stepping
    server = served.server
    with load.Load(server.port, server.alice, load.csrs()) as clients:
        for offset in (0, -120, 0, -50, -3600, 0):
            clock.step(offset)
            time.sleep(0.4)
    assert {problem.code for problem in clients.problems} == {"clock_behind"}
    served.records.add(clients.received)
    served.records.assert_whole()
    back = "SELECT count(*) FROM events a JOIN events b ON b.number = a.number + 1 AND b.at < a.at - 60"
    assert served.records.number(back) == 0


@pytest.mark.parametrize("served", ["sqlite"], indirect=True)
def test_after_a_day_in_the_future_an_operator_says_how_it_goes_on(stepping, sign):
    """A file has no clock of its own, so the ledger takes what a clock in the future writes."""
    served, clock = stepping
    server = served.server
    sign().issued()
    clock.step(DAY)
    ahead = sign().issued().json()
    clock.step(0)
    refused(sign, served, "clock_behind", "behind the newest record")
    # A restart is no way round it.
    server.stop()
    server.start(until="/livez")
    refused(sign, served, "clock_behind", "behind the newest record")

    said = server.cli("clock", "accept").stderr
    assert said.startswith("records go on from 2")
    after = sign().issued().json()
    assert after["not_before"] < ahead["not_before"]
    accepted = server.get(server.auditor, "/v1/audit", kind="clock.accepted").json()["items"]
    assert len(accepted) == 1 and accepted[0]["caller"].startswith("cli:"), accepted
    listed = [item["serial"] for item in server.items(server.auditor, "/v1/certificates")]
    assert listed[:2] == [after["serial"], ahead["serial"]], "the order is that of the commits"
    served.records.assert_whole()


@pytest.mark.parametrize("served", ["postgres"], indirect=True)
@pytest.mark.parametrize("ahead", [90, DAY])
def test_a_clock_that_is_not_the_databases_signs_nothing(stepping, sign, ahead):
    served, clock = stepping
    sign().issued()
    clock.step(30)
    sign().issued()
    clock.step(ahead)
    refused(sign, served, "clock_off", "and the database's")
    clock.step(0)
    sign().issued()
    clock.step(-90)
    refused(sign, served, "clock_behind", "behind the newest record")
    clock.step(0)
    sign().issued()
    served.records.assert_whole()


def test_a_replica_whose_clock_is_wrong_stops_no_other(make_replicas, tmp_path, postgres_server):
    one, two = make_replicas(2)
    clock = Clock(two, tmp_path)
    two.stop()
    two.start()
    csr = requests.new_request(tmp_path, "alice", "dev")
    two.sign(one.alice, csr).issued()
    clock.step(DAY)
    for _ in range(3):
        two.sign(one.alice, csr).problem(503, "clock_off")
        one.sign(one.alice, csr).issued()
    found = records.on_postgres(one, postgres_server)
    found.assert_whole()
