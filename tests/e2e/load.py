"""Many clients at once, each of which keeps what it was given."""

import http.client
import json
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import requests_by_python as requests

CLIENTS = 16
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """An answer that brought no certificate."""

    status: int
    code: str
    retry_after: int | None


class Load:
    """Sixteen clients that ask for certificates until they are told to stop."""

    def __init__(self, port: int, header: Path, bodies: list[bytes]):
        self.received: list[bytes] = []
        """Every whole certificate that reached a client, as PEM."""
        self.statuses: list[int] = []
        self.problems: set[Problem] = set()
        self.slowest = 0.0
        """Seconds from a request to its whole answer."""
        self._port = port
        self._headers = dict([header.read_text().strip().split(": ", 1)]) | {"Accept": "application/x-pem-file"}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(body,)) for body in bodies]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._stop.is_set():
            try:
                started = time.monotonic()
                connection.request("POST", "/v1/sign?cluster=prod", body, self._headers)
                answer = connection.getresponse()
                self._keep(answer, _read(answer))
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.statuses.append(answer.status)
            except (OSError, http.client.HTTPException):
                # The server is gone, or going.
                connection.close()
                self._stop.wait(0.02)

    def _keep(self, answer: http.client.HTTPResponse, body: bytes) -> None:
        self.received += CERTIFICATE.findall(body)
        # A body that was cut off says nothing.
        if answer.status != 201 and body.endswith(b"}\n"):
            retry_after = answer.headers["Retry-After"]
            problem = Problem(answer.status, json.loads(body)["code"], retry_after and int(retry_after))
            self.problems.add(problem)
            # As a client that is told to come again later, if sooner than it is told.
            self._stop.wait(0.05)


def csrs(user: str = "alice") -> list[bytes]:
    """One request for each client, made beforehand: making keys is not what is measured."""
    return [requests.request(requests.new_key(), user, f"client-{number}") for number in range(CLIENTS)]


def _read(answer: http.client.HTTPResponse) -> bytes:
    """The body, or as much of it as came before the server died: a certificate in it is out."""
    try:
        return answer.read()
    except http.client.IncompleteRead as cut:
        return cut.partial
