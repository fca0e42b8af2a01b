"""Clients that go away in the middle of a request, wherever that is: nothing is half there, nothing is kept open."""

import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import load
import raw
import requests_by_openssl as requests
import requests_by_python

CLIENTS = 10_000 if os.environ.get("COUNTERSIGN_SOAK") else 1_000
AT_ONCE = 32
GROWTH_KIB = 32 * 1024
"""What the allocator may keep of the memory that many connections at once took."""


class Leaver:
    """Sends as much of a request as it pleases, and goes; sometimes it reads the beginning of the answer first."""

    def __init__(self, server, bodies: list[bytes]):
        self.received: list[bytes] = []
        self.left: dict[str, int] = {}
        self._port, self._bodies = server.port, bodies
        self._credential = server.alice.read_text().strip()

    def leave(self, number: int) -> None:
        dice = random.Random(number)
        body = self._bodies[number % len(self._bodies)]
        head = (
            f"POST /v1/sign?cluster=prod HTTP/1.1\r\nHost: x\r\n{self._credential}\r\n"
            f"Accept: application/x-pem-file\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        where = dice.choice(["in the head", "in the body", "after the body", "in the answer", "after the answer"])
        self.left[where] = self.left.get(where, 0) + 1
        sent = {"in the head": dice.randrange(len(head)), "in the body": len(head) + dice.randrange(len(body))}
        connection = raw.connect(self._port)
        try:
            connection.sendall((head + body)[: sent.get(where)])
            if where == "after the body":
                time.sleep(dice.choice([0, 0, 0.001, 0.005, 0.02]))
            elif where == "in the answer":
                connection.recv(dice.randrange(1, 400))
            elif where == "after the answer":
                self.received += load.CERTIFICATE.findall(_whole(connection))
            if dice.random() < 0.5:
                # A reset in the place of an orderly end.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        finally:
            connection.close()


def _whole(connection: socket.socket) -> bytes:
    received = b""
    while b"END CERTIFICATE" not in received and (piece := connection.recv(65536)):
        received += piece
    # The last line may come apart.
    return received


def descriptors(server) -> int:
    """How many files it has open. Only root may look at those of a process that forbids it; others see connections."""
    if os.geteuid() == 0:
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[1].endswith(f":{server.port:04X}") and fields[3] in ("01", "08") for fields in sockets)


def test_clients_that_leave_in_the_middle_leave_nothing_behind(served, tmp_path):
    server, records = served.server, served.records
    csr = requests.new_request(tmp_path, "alice", "dev")
    leaver = Leaver(server, load.csrs())
    pid = server.process.pid
    with ThreadPoolExecutor(AT_ONCE) as threads:
        # So that every connection of the pools is open, and every thread there.
        list(threads.map(leaver.leave, range(-4 * AT_ONCE, 0)))
        files, memory = settled(server), raw.resident_kib(pid)
        list(threads.map(leaver.leave, range(CLIENTS)))
    assert len(leaver.left) == 5 and min(leaver.left.values()) > CLIENTS // 10, leaver.left
    assert len(leaver.received) > CLIENTS // 10
    end = time.monotonic() + 5
    while descriptors(server) > files:
        assert time.monotonic() < end, f"{descriptors(server)} files are open, {files} were"
        time.sleep(0.05)
    assert raw.resident_kib(pid) < memory + GROWTH_KIB
    assert server.process.pid == pid and server.process.poll() is None
    server.sign(server.alice, csr).issued()
    records.add(leaver.received)
    records.assert_whole()
    # Of those who left before the answer, many were served all the same: that is on record too.
    assert records.number("SELECT count(*) FROM certificates") > len(leaver.received)


def settled(server) -> int:
    """How many files are open once nobody is there."""
    fewest = descriptors(server)
    for _ in range(20):
        time.sleep(0.05)
        fewest = min(fewest, descriptors(server))
    return fewest


def test_whoever_left_gets_the_same_certificate_when_it_comes_back(served):
    """That is what the Idempotency-Key is for."""
    server, records = served.server, served.records
    body = requests_by_python.request(requests_by_python.new_key(), "alice", "dev")
    credential = server.alice.read_text().strip()
    for number in range(20):
        once = f"Idempotency-Key: left-{number}"
        head = f"POST /v1/sign?cluster=prod HTTP/1.1\r\nHost: x\r\n{credential}\r\n{once}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with raw.connect(server.port) as connection:
            connection.sendall(head.encode() + body)
            time.sleep(number / 2_000)
        end = time.monotonic() + 5
        while (answer := server.sign(server.alice, body, "-H", once)).status == 409:
            assert time.monotonic() < end
        assert answer.status in (200, 201), answer.text
        assert records.number("SELECT count(*) FROM certificates") == number + 1
    records.assert_whole()
