"""A file that cannot be written: 503 meanwhile and nothing released; by itself, without a restart, again afterwards."""

import os
import pwd
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ledger
import load
import pytest
import records
import requests_by_openssl as requests
from authorities import Authority
from conftest import ALICE, Known
from curl import curl
from server import BINARY, Cluster, Server

ANSWER_SECONDS = 5.0
"""A database that does not answer is a 503 within this time; the tests allow a slow machine one more second."""
NOBODY = "nobody"


def assert_unavailable(server, csr: bytes) -> None:
    started = time.monotonic()
    answer = server.sign(server.alice, csr)
    took = time.monotonic() - started
    problem = answer.problem(503, "ledger_unavailable")
    assert "no certificate was sent" in problem["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    assert took < ANSWER_SECONDS + 1, f"a client waited {took:.1f} s"


def survives(server, tmp_path, breakage) -> None:
    """It refuses while something is broken, and works again afterwards, unrestarted; under load all the while."""
    csr = requests.new_request(tmp_path, "alice", "dev")
    server.sign(server.alice, csr).issued()
    process = server.process.pid
    found = records.on_sqlite(server)
    with load.Load(server.port, server.alice, load.csrs()) as clients:
        time.sleep(0.3)
        with breakage:
            # What was under way when it broke has come through or not by now.
            assert_unavailable(server, csr)
            before = found.number("SELECT count(*) FROM certificates")
            assert_unavailable(server, csr)
            assert curl(server.address("/livez")).status == 200
            assert found.number("SELECT count(*) FROM certificates") == before
        mended = time.monotonic()
        while server.sign(server.alice, csr).status != 201:
            assert time.monotonic() - mended < 5, "it does not recover"
        time.sleep(0.3)
    assert found.number("SELECT count(*) FROM certificates") > before
    assert {problem.status for problem in clients.problems} == {503}, clients.problems
    assert all(problem.retry_after for problem in clients.problems)
    assert clients.slowest < ANSWER_SECONDS + 1
    assert server.process.pid == process and server.process.poll() is None
    found.add(clients.received)
    found.assert_whole()
    assert ledger.integrity(server.database) == "ok"


@pytest.mark.parametrize("table", ["certificates", "events"])
def test_a_storage_error_releases_nothing(make_server, tmp_path, table):
    # An event that cannot be written keeps its certificate from being written: they are one transaction.
    server = make_server()
    survives(server, tmp_path, ledger.every_insert_fails(server.database, table))


def test_a_refusal_that_cannot_be_recorded_is_a_503(make_server, tmp_path):
    server = make_server()
    csr = requests.new_request(tmp_path, "stranger")
    with ledger.every_insert_fails(server.database, "refusals"):
        assert_unavailable(server, csr)
    server.sign(server.alice, csr).problem(403)


@contextmanager
def held_by_sqlite3(database: Path) -> Iterator[None]:
    """While this lasts, Debian's sqlite3 holds the exclusive lock."""
    shell = subprocess.Popen(
        ["sqlite3", "-bail", database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    shell.stdin.write(".timeout 10000\nPRAGMA wal_autocheckpoint = 0;\nBEGIN EXCLUSIVE;\nSELECT 'locked';\n")
    assert [shell.stdout.readline().strip() for _ in range(2)] == ["0", "locked"]
    try:
        yield
    finally:
        shell.communicate("ROLLBACK;\n.quit\n", timeout=10)
        assert shell.returncode == 0


def test_a_database_that_is_locked_by_another_program_releases_nothing(make_server, tmp_path):
    server = make_server()
    survives(server, tmp_path, held_by_sqlite3(server.database))


class FileSizeLimit:
    """While this lasts, the server cannot write past the first kilobyte of any file."""

    def __init__(self, server: Server):
        self._pid = server.process.pid

    def __enter__(self):
        self._before = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (1024, self._before[1]))

    def __exit__(self, *_):
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._before)


def test_a_file_that_may_not_grow_releases_nothing(make_server, tmp_path):
    server = make_server()
    survives(server, tmp_path, FileSizeLimit(server))


@pytest.fixture(scope="session")
def failing_disk(tmp_path_factory) -> Path:
    """The library that makes a disk fail."""
    built = tmp_path_factory.mktemp("failing-disk") / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", built, source, "-ldl"], check=True)
    return built


@contextmanager
def disk_is(word: str, switch: Path) -> Iterator[None]:
    switch.write_text(word)
    try:
        yield
    finally:
        switch.write_text("")


@pytest.mark.parametrize("word", ["full", "readonly", "unsynced"])
def test_a_disk_that_fails_releases_nothing(make_server, failing_disk, tmp_path, word):
    server, switch = on_failing_disk(make_server, failing_disk, tmp_path)
    survives(server, tmp_path, disk_is(word, switch))


def on_failing_disk(make_server, failing_disk, tmp_path) -> tuple[Known, Path]:
    server, switch = make_server(start=False), tmp_path / "switch"
    switch.write_text("")
    server.variables = {"LD_PRELOAD": str(failing_disk), "FAILING_DISK": str(switch)}
    return server.start(), switch


@pytest.mark.parametrize("word", ["full", "readonly"])
def test_on_a_disk_that_fails_it_does_not_start(make_server, failing_disk, tmp_path, word):
    server, switch = on_failing_disk(make_server, failing_disk, tmp_path)
    server.kill()
    with disk_is(word, switch):
        assert "countersign.db" in server.refusal_to_start()
    server.start().sign(server.alice, requests.new_request(tmp_path, "alice")).issued()


@pytest.fixture
def unprivileged(authority) -> Iterator[Known]:
    """A server that is not root, for whom no mode means anything, in a folder that its user can get to."""
    folder = Path(tempfile.mkdtemp(prefix="countersign-unprivileged."))
    own = Authority(folder / "ca.crt", folder / "ca.key", folder / "ca.crt")
    shutil.copy(authority.certificate, own.certificate)
    shutil.copy(authority.key, own.key)
    (folder / "ledger").mkdir()
    program = shutil.copy(BINARY, folder / "countersign")
    as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={pwd.getpwnam(NOBODY).pw_gid}", "--clear-groups", program)
    command = as_nobody if os.geteuid() == 0 else (program,)
    server = Unprivileged(folder, Cluster("prod", own), command)
    yield server
    server.stop()
    shutil.rmtree(folder)


class Unprivileged(Known):
    def __init__(self, folder: Path, cluster: Cluster, command: tuple):
        Server.__init__(self, folder, cluster, database="sqlite:ledger/countersign.db")
        self.command, self.database = command, folder / "ledger/countersign.db"
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, NOBODY)
        self.alice = self.token("alice", "requester")
        self.auditor = self.token("auditor", "auditor")
        self.apply(ALICE)


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def test_in_a_folder_that_it_cannot_write_it_does_not_start(unprivileged, tmp_path):
    folder = unprivileged.database.parent
    with mode(folder, 0o555):
        assert str(folder) in unprivileged.refusal_to_start()
    unprivileged.start().sign(unprivileged.alice, requests.new_request(tmp_path, "alice")).issued()
    unprivileged.stop()
    unprivileged.database.unlink()
    with mode(folder, 0o555):
        assert "Permission denied" in unprivileged.refusal_to_start()
        assert not list(folder.glob("countersign.db*-*")), "nothing is left behind"


def test_a_file_that_it_cannot_write_is_not_served(unprivileged):
    with mode(unprivileged.database, 0o444):
        assert str(unprivileged.database) in unprivileged.refusal_to_start()


def test_modes_changed_under_a_running_server_lose_nothing(unprivileged, tmp_path):
    """Its files are open, so it goes on. A file system that turned read-only is another matter, see above."""
    server = unprivileged.start()
    csr = requests.new_request(tmp_path, "alice", "dev")
    with load.Load(server.port, server.alice, load.csrs()) as clients, ExitStack() as changed:
        for path in (*server.database.parent.glob("countersign.db*"), server.database.parent):
            changed.enter_context(mode(path, 0o555 if path.is_dir() else 0o444))
        time.sleep(0.5)
        assert len(server.items(server.auditor, "/v1/certificates")) > 0
        server.sign(server.alice, csr).issued()
        changed.close()
    assert not clients.problems
    found = records.on_sqlite(server)
    found.add(clients.received)
    found.assert_whole()
