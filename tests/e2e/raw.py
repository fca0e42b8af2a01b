"""Raw connections, for what no well-behaved client sends."""

import contextlib
import re
import resource
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

STATUS = re.compile(rb"(?:^|\n)HTTP/1\.[01] (\d{3}) ")


@dataclass
class Ending:
    """What came back on one connection, and how it ended."""

    received: bytes
    closed: bool
    """The service ended the connection; otherwise the time was up."""
    seconds: float

    @property
    def statuses(self) -> list[int]:
        """Of every answer, but for 100."""
        return [int(status) for status in STATUS.findall(self.received) if status != b"100"]


def connect(port: int, timeout: float = 20) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


def talk(port: int, request: bytes, timeout: float = 20) -> Ending:
    """Sends all of this, then reads until the service closes."""
    started = time.monotonic()
    with connect(port, timeout) as connection:
        try:
            connection.sendall(request)
        except OSError:
            pass  # It was closed on us; what was answered before may still be there.
        return listen(connection, started)


def listen(connection: socket.socket, started: float) -> Ending:
    received, closed = b"", False
    try:
        while not closed:
            piece = connection.recv(65536)
            received, closed = received + piece, not piece
    except TimeoutError:
        pass
    except OSError:
        closed = True
    return Ending(received, closed, time.monotonic() - started)


def drip(port: int, at_once: bytes, by_the_byte: bytes, every: float = 0.2) -> Ending:
    """Sends the second part one byte at a time, until it is cut off or answered."""
    started = time.monotonic()
    with connect(port, every) as connection:
        connection.sendall(at_once)
        for byte in by_the_byte:
            try:
                if connection.recv(1, socket.MSG_PEEK) == b"":
                    return Ending(b"", True, time.monotonic() - started)
                break
            except TimeoutError:
                pass
            except OSError:
                return Ending(b"", True, time.monotonic() - started)
            try:
                connection.send(bytes([byte]))
            except OSError:
                break
        connection.settimeout(10)
        return listen(connection, started)


class Held:
    """Many connections that were opened and are held, each after sending the same."""

    def __init__(self, port: int, count: int, request: bytes):
        allow_descriptors(count + 500)
        self.connections = []
        for _ in range(count):
            connection = connect(port)
            connection.sendall(request)
            self.connections.append(connection)

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_) -> None:
        for connection in self.connections:
            connection.close()

    def still_open(self) -> int:
        return sum(_is_open(connection) for connection in self.connections)


def _is_open(connection: socket.socket) -> bool:
    """Whatever was answered is read first."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


class Asking:
    """An ordinary client that goes on asking for certificates, each time on a connection of its own."""

    def __init__(self, server, header: Path, csr: bytes):
        self.server = server
        self.statuses: list[int] = []
        self.seconds: list[float] = []
        self.failures: list[str] = []
        head = f"POST /v1/sign?cluster=prod HTTP/1.1\r\nHost: x\r\n{header.read_text().strip()}\r\n"
        self._request = f"{head}Connection: close\r\nContent-Length: {len(csr)}\r\n\r\n".encode() + csr
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._pid = server.process.pid
        self.most_kib = 0

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self._wait_for_some()
        self._stop.set()
        self._thread.join()
        if kind is None:
            self.check()

    def _wait_for_some(self) -> None:
        """What went on beside it may have been over in a moment."""
        until = time.monotonic() + 10
        while len(self.seconds) < 3 and not self.failures and time.monotonic() < until:
            time.sleep(0.05)

    def check(self) -> None:
        """Every request was answered with a certificate, soon, by the same small process."""
        assert not self.failures, self.failures[:3]
        assert len(self.statuses) >= 3 and set(self.statuses) == {201}, self.statuses
        assert max(self.seconds) < 5, f"the slowest took {max(self.seconds):.1f} s"
        assert self.server.process.pid == self._pid and self.server.process.poll() is None
        assert self.most_kib < 100 * 1024, f"it took {self.most_kib} KiB of memory"

    def _ask(self) -> None:
        while not self._stop.wait(0.05):
            try:
                ending = talk(self.server.port, self._request)
                self.statuses += ending.statuses or [0]
                self.seconds.append(ending.seconds)
                self.most_kib = max(self.most_kib, resident_kib(self._pid))
            except OSError as error:
                self.failures.append(repr(error))


def resident_kib(pid: int, field: str = "VmRSS") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def peak_kib(pid: int) -> int:
    """The most memory that a child had, once it has ended. What the kernel says of an ended one would not do: that
    holds what the parent had when it forked."""
    peak = 0
    with contextlib.suppress(OSError, StopIteration):
        while True:
            peak = resident_kib(pid, "VmHWM")
            time.sleep(0.02)
    return peak


def allow_descriptors(wanted: int) -> None:
    """Raises this process's own limit on open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        assert hard == resource.RLIM_INFINITY or hard >= wanted, f"at most {hard} open files are allowed here"
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
