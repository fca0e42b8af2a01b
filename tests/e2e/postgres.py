"""A real PostgreSQL of the suite's own, which tests may stop, kill, freeze and start again."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from server import REPOSITORY, Cluster, Server

SCRIPT = REPOSITORY / "tests/postgres"
OWNER = "countersign"
"""The superuser of the throw-away server, whom it trusts on loopback."""
DATABASE = "replicas"
"""Made anew for each test that asks for replicas."""


class Postgres:
    """One server on 127.0.0.1, with its data in a folder under /tmp: its own user must be able to get there."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="countersign-postgres."))
        self.port: int | None = None
        self.start()

    def start(self) -> "Postgres":
        said = _script("start", self.folder)
        self.port = int(said.rsplit(":", 1)[1])
        return self

    def stop(self, mode: str = "fast") -> None:
        """`fast` cuts every connection, as a restart of the service does."""
        _script("stop", self.folder, mode)

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9 of the whole server, as a power cut that the disk survives."""
        for pid in self._processes():
            _signal(pid, signal.SIGKILL)
        end = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in self._processes()):
            assert time.monotonic() < end, "the server did not die"
            time.sleep(0.02)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While this lasts, the server takes connections and says nothing."""
        stopped = self._processes()
        for pid in stopped:
            _signal(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                _signal(pid, signal.SIGCONT)

    @contextmanager
    def down(self) -> Iterator[None]:
        """While this lasts, there is no server."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def configured(self, **settings: str) -> Iterator[None]:
        """While this lasts, the server runs with these settings; it is restarted before and after."""
        for name, value in settings.items():
            self.sql("postgres", f"ALTER SYSTEM SET {name} = '{value}'")
        self.restart()
        try:
            yield
        finally:
            for name in settings:
                self.sql("postgres", f"ALTER SYSTEM RESET {name}")
            self.restart()

    def create(self, name: str) -> str:
        """Makes a database, empty even if it was there, and returns its URL."""
        self.sql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str, user: str = OWNER) -> str:
        return f"postgres://{user}@127.0.0.1:{self.port}/{database}"

    def sql(self, database: str, statements: str) -> str:
        """What psql prints, unaligned and without headers."""
        psql = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port)]
        ran = subprocess.run(
            [*psql, "-U", OWNER, "-d", database, "-f", "-"], input=statements, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, f"{statements}: {ran.stderr}"
        return ran.stdout.strip()

    def remove(self) -> None:
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self) -> list[int]:
        """The server and its children, children first; none once it is gone."""
        try:
            main = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        except FileNotFoundError:
            return []
        found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) == main]
        return [*found, main] if Path(f"/proc/{main}").exists() else found


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL for the session. Whoever stops it starts it again."""
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def make_replicas(make_server, postgres_server, authority, tmp_path) -> Iterator[Callable[..., list[Server]]]:
    """Makes running replicas on one new database. The first one has alice, the auditor and the admin."""
    made: list[Server] = []

    def make(count: int = 2, *clusters: Cluster, **settings) -> list[Server]:
        clusters = clusters or (Cluster("prod", authority),)
        settings = {"database": postgres_server.create(DATABASE), **settings}
        first = make_server(*clusters, **settings)
        others = [Server(tmp_path / f"replica-{number}", *clusters, **settings) for number in range(1, count)]
        made.extend(others)
        return [first, *(other.start() for other in others)]

    yield make
    for server in made:
        server.stop()


def _script(*arguments) -> str:
    ran = subprocess.run([SCRIPT, *map(str, arguments)], stdout=subprocess.PIPE, text=True, timeout=120)
    assert ran.returncode == 0, f"tests/postgres {arguments}: exit {ran.returncode}"
    return ran.stdout.strip()


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _signal(pid: int, which: signal.Signals) -> None:
    try:
        os.kill(pid, which)
    except ProcessLookupError:
        pass
