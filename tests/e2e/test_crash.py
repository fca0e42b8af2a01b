"""kill -9 under load, on both engines: no certificate is out without its record, and no record is half there."""

import os
import random
import time

import ledger
import load
import requests_by_openssl as requests

KILLS = 200 if os.environ.get("COUNTERSIGN_SOAK") else 20


def test_every_certificate_that_a_client_received_survives_kill_9(served):
    server, records = served.server, served.records
    bodies = load.csrs()
    pseudo_random = random.Random(20_260_101)
    for _ in range(KILLS):
        with load.Load(server.port, server.alice, bodies) as clients:
            time.sleep(pseudo_random.uniform(0.1, 0.6))
            server.kill()
        records.add(clients.received)
        server.start()
        records.assert_holds_what_was_received()
    assert len(records.received) > KILLS, "too few came through for this to say anything"
    records.assert_whole()
    records.assert_listed()


def test_an_idempotency_key_gives_one_certificate_at_most_across_a_crash(served, tmp_path):
    server = served.server
    csr = requests.new_request(tmp_path, "alice", "dev")
    once = ("-H", "Idempotency-Key: crash-1")
    first = server.sign(server.alice, csr, *once).issued().json()
    server.kill()
    server.start()
    again = server.sign(server.alice, csr, *once)
    assert again.status == 200 and again.json()["serial"] == first["serial"]
    assert served.records.number("SELECT count(*) FROM certificates") == 1


def test_a_file_that_was_left_by_kill_9_is_sound(make_server):
    server = make_server()
    with load.Load(server.port, server.alice, load.csrs()):
        time.sleep(0.5)
        server.kill()
    # Before anybody but the reader has opened it.
    assert ledger.integrity(server.database) == "ok"
    assert server.cli("check", check=False).returncode == 0


def test_asked_to_end_it_answers_what_it_began_and_exits_0(served):
    server = served.server
    with load.Load(server.port, server.alice, load.csrs()) as clients:
        time.sleep(0.5)
        assert server.stop() == 0
    served.records.add(clients.received)
    served.records.assert_whole()
    assert set(clients.statuses) <= {201, 429, 503} and 201 in clients.statuses
