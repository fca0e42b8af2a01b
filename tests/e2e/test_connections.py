"""Hostile connections: each is answered or closed in time, and an ordinary client goes on as before."""

import json
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ledger
import pytest
import requests_by_python as requests
from conftest import ALICE, Known
from raw import Asking, Ending, Held, connect, drip, listen, resident_kib, talk
from server import Cluster

HEADER_SECONDS, BODY_SECONDS = 2, 3
MARGIN = 2.5
"""Seconds that a busy machine may take on top; a dead connection is read for 2 s before it is closed."""
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory, authority):
    """A server with short times, so that the tests are."""
    limits = {"header_seconds": HEADER_SECONDS, "body_seconds": BODY_SECONDS}
    server = Known(tmp_path_factory.mktemp("attacked"), Cluster("prod", authority), limits=limits)
    server.apply(ALICE)
    server.start()
    pid = server.process.pid
    yield server
    assert server.process.pid == pid and server.process.poll() is None, "it ended"
    assert server.stop() == 0
    every_line_is_one_event(server.log)


@pytest.fixture(scope="module", autouse=True)
def by_default(tmp_path_factory, authority):
    """What a server without `[limits]` does; it takes its time, so it runs beside the other tests."""
    server = Known(tmp_path_factory.mktemp("default"), Cluster("prod", authority))
    server.apply(ALICE)
    server.start()
    body = head(server.alice, b"Content-Length: 1000")
    with ThreadPoolExecutor() as pool:
        yield {
            "silent": pool.submit(talk, server.port, b"", 20),
            "half a head": pool.submit(talk, server.port, b"GET /livez HTTP/1.1\r\nHost: ", 20),
            "idle": pool.submit(talk, server.port, GET + b"\r\n", 20),
            "slow head": pool.submit(drip, server.port, GET, b"X" * 500),
            "slow body": pool.submit(drip, server.port, body, b"-" * 500),
        }
    server.stop()


@pytest.fixture(scope="module")
def csr() -> bytes:
    return requests.request(requests.new_key(), "alice", "dev")


@pytest.fixture
def asking(attacked, csr) -> Asking:
    return Asking(attacked, attacked.alice, csr)


def head(header: Path, *lines: bytes, line: bytes = b"POST /v1/sign HTTP/1.1") -> bytes:
    """The head of a request with this caller's token."""
    return b"\r\n".join([line, b"Host: x", header.read_bytes().strip(), *lines, b"", b""])


def every_line_is_one_event(log: Path) -> None:
    lines = log.read_text().splitlines()
    assert lines
    for line in lines:
        event = json.loads(line)
        assert event["level"] and event["timestamp"], line


# One request each. The first number is the status that is expected; None is closed without an answer.


def framings(csr: bytes) -> dict[str, tuple[int, bytes, bytes]]:
    """Heads and bodies that say in two ways where the request ends: status, more head, body."""
    length, size = b"Content-Length: %d" % len(csr), len(csr)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (size, csr)
    hidden = b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n"
    te = b"Transfer-Encoding: "
    return {
        "two lengths that differ": (400, length + b"\r\nContent-Length: %d" % (size + 1), csr),
        "a list of lengths": (400, b"Content-Length: %d, %d" % (size, size), csr),
        "a signed length": (400, b"Content-Length: +%d" % size, csr),
        "a negative length": (400, b"Content-Length: -1", csr),
        "a length in hex": (400, b"Content-Length: 0x10", csr),
        "a length beyond numbers": (400, b"Content-Length: " + b"9" * 30, csr),
        "a space before the colon": (400, b"Content-Length : %d" % size, csr),
        "an unknown coding": (400, te + b"xchunked", chunked),
        "two codings": (400, te + b"gzip, chunked", chunked),
        "chunked is not the last": (400, te + b"chunked, gzip", chunked),
        "chunked twice": (400, te + b"chunked\r\n" + te + b"chunked", chunked),
        "identity": (400, te + b"identity", chunked),
        "a request hidden behind both": (400, b"Content-Length: 5\r\n" + te + b"chunked", b"0\r\n\r\n" + hidden),
        "a chunk size beyond numbers": (400, te + b"chunked", b"F" * 18 + b"\r\nx"),
        "chunks that end in LF": (400, te + b"chunked", chunked.replace(b"\r\n", b"\n")),
        "a huge chunk extension": (400, te + b"chunked", b"%x;a=%s\r\n%s" % (size, b"b" * 300_000, csr)),
        "a thousand trailers": (400, te + b"chunked", chunked[:-2] + b"X: y\r\n" * 1000 + b"\r\n"),
        "a huge trailer": (400, te + b"chunked", chunked[:-2] + b"X: " + b"y" * 300_000 + b"\r\n\r\n"),
        "8 MB with their length": (413, b"Content-Length: %d" % (8 << 20), b"x" * (8 << 20)),
        "8 MB in chunks": (413, te + b"chunked", (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 128 + b"0\r\n\r\n"),
        "an encoded body": (415, length + b"\r\nContent-Encoding: gzip", csr),
    }


FRAMINGS = list(framings(b"x"))


@pytest.mark.parametrize("name", FRAMINGS)
def test_a_framing_that_can_be_read_in_two_ways_is_refused_once(attacked, csr, name):
    status, lines, body = framings(csr)[name]
    ending = talk(attacked.port, head(attacked.alice, lines) + body)
    assert ending.statuses == [status], ending.received[:300]
    assert ending.closed and ending.seconds < HEADER_SECONDS + MARGIN
    assert b"CERTIFICATE" not in ending.received


def test_a_length_beside_chunks_counts_for_nothing_and_ends_the_connection(attacked, csr):
    """RFC 9112, section 6.3: the chunks count, and what follows them is no request."""
    both = head(attacked.alice, b"Content-Length: %d" % len(csr), b"Transfer-Encoding: chunked")
    ending = talk(attacked.port, both + b"%x\r\n%s\r\n0\r\n\r\n" % (len(csr), csr) + GET + b"\r\n")
    assert ending.statuses == [201] and ending.closed and ending.seconds < MARGIN


def test_the_same_length_twice_is_one(attacked, csr):
    length = b"Content-Length: %d" % len(csr)
    ending = talk(attacked.port, head(attacked.alice, length, length, CLOSE[:-2]) + csr)
    assert ending.statuses == [201]


HEADS = {
    "a folded line": (400, GET + b"X: a\r\n b\r\n\r\n"),
    "a bare CR": (400, GET + b"X: a\rY: b\r\n\r\n"),
    "lines that end in CR": (400, b"GET /livez HTTP/1.1\rHost: x\r\r"),
    "NUL in a value": (400, GET + b"X: a\0b\r\n\r\n"),
    "NUL in a name": (400, GET + b"X\0: b\r\n\r\n"),
    "NUL in the path": (400, b"GET /v1/\0 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a space before the colon": (400, GET + b"X : b\r\n\r\n"),
    "a first line that is folded": (400, b"GET /livez HTTP/1.1\r\n Host: x\r\n\r\n"),
    "no host": (400, b"GET /livez HTTP/1.1\r\n\r\n"),
    "two hosts": (400, GET + b"Host: y\r\n\r\n"),
    "101 headers": (431, GET + b"X: y\r\n" * 100 + b"\r\n"),
    "1,000 headers": (431, GET + b"X: y\r\n" * 1000 + b"\r\n"),
    "a header of 64 KiB": (431, GET + b"X: " + b"y" * 65536 + b"\r\n\r\n"),
    "a path of 1 MiB": (431, b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a path of 30 KiB": (404, b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"),
    "a long method": (405, b"A" * 20_000 + b" /livez HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"),
    "HTTP/0.9": (400, b"GET /livez\r\n"),
    "HTTP/1.2": (400, b"GET /livez HTTP/1.2\r\nHost: x\r\n\r\n"),
    "HTTP/2": (None, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, bytes.fromhex("16030100b8010000b403") + b"\0" * 180),
    "CONNECT": (404, b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"),
    "OPTIONS of everything": (404, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"),
    "TRACE": (405, b"TRACE /livez HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"),
}


@pytest.mark.parametrize(("status", "request_bytes"), HEADS.values(), ids=HEADS)
def test_a_head_that_is_not_plain_is_refused(attacked, status, request_bytes):
    ending = talk(attacked.port, request_bytes)
    assert ending.statuses == ([status] if status else []), ending.received[:300]
    assert ending.closed and ending.seconds < HEADER_SECONDS + MARGIN


PATHS = {
    "/v1/../livez": 404,
    "/v1/%2e%2e/livez": 404,
    "/v1/%2e%2e%2flivez": 404,
    "//v1/sign": 404,
    "/v1//sign": 404,
    "/v1/sign/": 404,
    "/V1/sign": 404,
    "/v1/%73ign": 404,
    "/v1/certificates/%00": 400,
    "/v1/certificates/%ff": 400,
    "/v1/certificates/..%2f..": 400,
    "/v1/clusters/%2e%2e/client-ca.pem": 404,
    "/v1/clusters/prod%00/client-ca.pem": 404,
}


@pytest.mark.parametrize(("path", "status"), PATHS.items())
def test_a_path_is_what_it_says_and_nothing_else(attacked, path, status):
    request = head(attacked.alice, CLOSE[:-2], line=f"GET {path} HTTP/1.1".encode())
    assert talk(attacked.port, request).statuses == [status]


def test_an_upgrade_is_not_taken(attacked):
    for protocol in (b"h2c", b"websocket"):
        ending = talk(attacked.port, GET + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
        assert ending.statuses == [200], ending.received


def test_head_has_no_body_and_1_0_is_answered_and_closed(attacked):
    for path, status in (("/livez", 200), ("/nothing", 404), ("/v1/whoami", 401)):
        ending = talk(attacked.port, f"HEAD {path} HTTP/1.1\r\nHost: x\r\n".encode() + CLOSE + b"\r\n")
        assert ending.statuses == [status] and ending.received.endswith(b"\r\n\r\n"), ending.received
    old = talk(attacked.port, b"GET /livez HTTP/1.0\r\n\r\n")
    assert old.statuses == [200] and old.closed and old.seconds < HEADER_SECONDS


def test_requests_that_come_together_are_answered_in_order(attacked):
    ending = talk(attacked.port, (GET + b"\r\n") * 50 + GET.replace(b"/livez", b"/nothing") + CLOSE + b"\r\n")
    assert ending.statuses == [200] * 50 + [404]


def test_a_body_is_asked_for_only_once_the_caller_is_known(attacked, csr):
    expect = (b"Expect: 100-continue", b"Content-Length: %d" % len(csr), CLOSE[:-2])
    with connect(attacked.port) as connection:
        connection.sendall(head(attacked.alice, *expect))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(csr)
        assert listen(connection, time.monotonic()).statuses == [201]
    nobody = b"\r\n".join([b"POST /v1/sign HTTP/1.1", b"Host: x", *expect, b"", b""])
    ending = talk(attacked.port, nobody)
    assert ending.received.startswith(b"HTTP/1.1 401 ") and ending.closed


def test_who_has_said_all_is_still_answered(attacked, csr):
    with connect(attacked.port) as connection:
        connection.sendall(head(attacked.alice, b"Content-Length: %d" % len(csr)) + csr)
        connection.shutdown(1)
        assert listen(connection, time.monotonic()).statuses == [201]


# Bodies.

BODIES = {
    "JSON, 100,000 deep": (413, b'{"csr":' + b"[" * 100_000),
    "JSON, 60,000 deep": (400, b'{"csr":' + b"[" * 60_000),
    "JSON objects, 10,000 deep": (400, b'{"a":' * 10_000),
    "JSON with a million keys": (413, b"{" + b",".join(b'"%d":1' % number for number in range(1_000_000)) + b"}"),
    "JSON with 6,000 keys": (400, b"{" + b",".join(b'"%d":1' % number for number in range(6_000)) + b"}"),
    "one JSON key 6,000 times": (400, b"{" + b",".join([b'"csr":""'] * 6_000) + b"}"),
    "a million BEGIN lines": (413, b"-----BEGIN\n" * 1_000_000),
    "5,900 BEGIN lines": (422, b"-----BEGIN\n" * 5_900),
    "2,000 labels": (422, b"-----BEGIN CERTIFICATE REQUEST-----\n" * 1_700),
    "64 KiB of hyphens": (422, b"-" * 65_536),
    "64 KiB of base64": (422, b"MII" + b"A" * 65_533),
    "64 KiB of NUL": (422, b"\0" * 65_536),
    "64 KiB of nested DER": (422, b"\x30\x80" * 32_768),
}


def test_hostile_bodies_are_refused_soon_while_others_are_served(attacked, asking):
    with asking, ThreadPoolExecutor(4) as pool:
        jobs = {
            name: pool.submit(talk, attacked.port, head(attacked.alice, b"Content-Length: %d" % len(body), CLOSE[:-2]) + body)
            for name, (_, body) in BODIES.items()
        }  # fmt: skip
        endings = {name: job.result() for name, job in jobs.items()}
        time.sleep(0.5)
    for name, ending in endings.items():
        assert ending.statuses == [BODIES[name][0]], f"{name}: {ending.received[:300]}"
        assert ending.closed and ending.seconds < 5, f"{name}: {ending.seconds:.1f} s"


SETS = {
    "YAML, 100,000 deep": b"[" * 100_000,
    "JSON, 100,000 deep": b'{"a":' * 100_000,
    "aliases of aliases": b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10)) for n in range(9)),
    "100,000 keys": b"{" + b",".join(b'"k%d": 1' % number for number in range(100_000)) + b"}",
    "BEGIN lines": b"-----BEGIN\n" * 100_000,
}


def test_hostile_policy_sets_are_refused_while_others_are_served(attacked, asking):
    with asking:
        for name, body in SETS.items():
            lines = (b"If-Match: *", b"Content-Length: %d" % len(body), CLOSE[:-2])
            ending = talk(attacked.port, head(attacked.admin, *lines, line=b"PUT /v1/policies HTTP/1.1") + body)
            assert ending.statuses == [422], f"{name}: {ending.received[:300]}"


# Slowness.


def test_who_sends_by_the_byte_is_cut_off_in_time(attacked, asking, csr):
    length = b"Content-Length: %d" % len(csr)
    with asking, ThreadPoolExecutor(60) as pool:
        heads = [pool.submit(drip, attacked.port, GET, b"X" * 100) for _ in range(30)]
        bodies = [pool.submit(drip, attacked.port, head(attacked.alice, length), csr) for _ in range(30)]
        slow_heads, slow_bodies = [job.result() for job in heads], [job.result() for job in bodies]
    for ending in slow_heads:
        assert ending.closed and HEADER_SECONDS - 0.5 < ending.seconds < HEADER_SECONDS + MARGIN, ending
    for ending in slow_bodies:
        assert ending.statuses == [408] and b"body_timeout" in ending.received, ending
        assert ending.closed and BODY_SECONDS - 0.5 < ending.seconds < BODY_SECONDS + MARGIN


def test_a_body_that_never_comes_is_a_408(attacked):
    ending = talk(attacked.port, head(attacked.alice, b"Content-Length: 100"))
    assert ending.statuses == [408] and ending.seconds < BODY_SECONDS + MARGIN


# Floods.

FLOODS = {
    "half open": b"GET /livez HTTP/1.1\r\nHost: ",
    "idle": GET + b"\r\n",
}


def test_a_flood_of_half_open_and_idle_connections_keeps_nobody_out(attacked, asking):
    with asking:
        with Held(attacked.port, 1000, FLOODS["half open"]) as half, Held(attacked.port, 1000, FLOODS["idle"]) as idle:
            time.sleep(HEADER_SECONDS + MARGIN)
            assert half.still_open() + idle.still_open() == 0, "they were held for longer than it says"


def test_a_flood_of_bodies_that_do_not_come_keeps_nobody_out(attacked, asking):
    unfinished = head(attacked.alice, b"Content-Length: 60000") + b"x" * 1000
    with asking, Held(attacked.port, 1300, unfinished):
        time.sleep(1)


def test_a_flood_of_connections_without_a_word_leaves_no_memory_behind(attacked, asking):
    with asking:
        for _ in range(3):
            with Held(attacked.port, 700, b""):
                pass
    assert resident_kib(attacked.process.pid) < 100 * 1024


def wait_for_at_most(limit: int, count) -> int:
    """The first count within the limit, or the last after ten seconds.

    The kernel's queue holds connections that the service has not seen yet, on a busy machine for a while.
    """
    deadline = time.monotonic() + 10
    while (now := count()) > limit and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


def test_no_more_connections_are_held_than_it_says(make_server):
    server = make_server(limits={"header_seconds": 30})
    with Held(server.port, 1300, GET) as held:
        assert wait_for_at_most(1024, held.still_open) <= 1024
        assert talk(server.port, GET + CLOSE + b"\r\n").statuses == [200]


def test_one_address_makes_room_for_itself(make_server):
    server = make_server(limits={"connections_per_address": 20, "header_seconds": 30})
    with Held(server.port, 50, GET) as held:
        assert wait_for_at_most(20, held.still_open) <= 20
        assert talk(server.port, GET + CLOSE + b"\r\n").statuses == [200]


def test_it_asks_for_as_many_open_files_as_it_needs(make_server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        server = make_server()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limits = Path(f"/proc/{server.process.pid}/limits").read_text().splitlines()
    open_files = next(line for line in limits if line.startswith("Max open files")).split()
    assert int(open_files[3]) >= 1024 + 64


# Refusals.


def test_refusals_past_the_limit_are_not_recorded_and_do_not_grow_the_database(make_server, tmp_path):
    server = make_server(limits={"refusals_burst": 20, "refusals_per_minute": 1})
    refused = requests.request(requests.new_key(), "root", "admins")
    request = head(server.alice, b"Content-Length: %d" % len(refused), CLOSE[:-2], line=b"POST /v1/sign HTTP/1.1")
    with ThreadPoolExecutor(8) as pool:
        endings = list(pool.map(lambda _: talk(server.port, request + refused), range(300)))
    codes = [status for ending in endings for status in ending.statuses]
    assert codes.count(403) == 20 and codes.count(429) == 280
    capped = next(ending for ending in endings if ending.statuses == [429])
    assert b"retry-after: " in capped.received.lower() and b"too_many_refusals" in capped.received
    assert ledger.count(server.database, "refusals") == 20
    metrics = talk(server.metrics_port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n").received
    assert b"countersign_refusals_not_recorded_total 280" in metrics
    server.sign(server.alice, requests.request(requests.new_key(), "alice")).issued()


# Last, because it takes longest.


def test_the_times_are_those_of_the_documentation(by_default):
    endings: dict[str, Ending] = {name: job.result() for name, job in by_default.items()}
    for name in ("silent", "half a head", "idle", "slow head"):
        ending = endings[name]
        assert ending.closed and 9 < ending.seconds < 10 + MARGIN, f"{name}: {ending.seconds:.1f} s"
    slow = endings["slow body"]
    assert slow.statuses == [408] and 29 < slow.seconds < 30 + MARGIN, slow
