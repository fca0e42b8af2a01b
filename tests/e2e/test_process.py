"""What the process leaves to somebody who looks at it from outside: no core file, no key file's text in memory."""

import base64
import os
import re
import resource
import signal
from pathlib import Path

import pytest
from conftest import Known
from server import Cluster


@pytest.fixture
def started(tmp_path, authority):
    """A server that would be allowed to dump core, had it not given that up itself."""
    server = Known(tmp_path / "server", Cluster("prod", authority))
    before = resource.getrlimit(resource.RLIMIT_CORE)
    assert before[1] == resource.RLIM_INFINITY or before[1] > 0, "this machine allows no core files at all"
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    yield server
    server.stop()


def test_a_crash_leaves_no_core_file(started):
    limits = Path(f"/proc/{started.process.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), limits
    started.process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(started.process.pid, 0)
    started.process = None
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
    assert not list(started.folder.glob("core*"))


def test_nobody_but_root_may_look_into_it_and_root_finds_no_key_file_there(started, authority):
    """The library's own copy of the key is in memory, in a form of its own; what was read from the file is wiped."""
    text = authority.key.read_bytes()
    lines = text.splitlines()[2:-2]
    der = base64.b64decode(b"".join(text.splitlines()[1:-1]))
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            memory_of(started.process.pid)
        return
    memory = memory_of(started.process.pid)
    assert authority.certificate.read_bytes().splitlines()[3] in memory, "this is not its memory"
    assert not [line for line in lines if line in memory]
    # 32 octets each out of the middle of the file: of the modulus, which is public, and of what follows it.
    assert der[600:632] not in memory and der[400:432] not in memory


def test_no_secret_is_in_its_arguments_or_environment(started):
    shown = Path(f"/proc/{started.process.pid}/cmdline").read_bytes() + Path(f"/proc/{started.process.pid}/environ").read_bytes()
    for header in (started.alice, started.admin):
        assert header.read_bytes().split()[-1] not in shown
    assert b"PRIVATE" not in shown


def memory_of(pid: int) -> bytes:
    """Everything that the process can write to."""
    found = []
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            area, mode = line.split()[:2]
            start, end = (int(number, 16) for number in area.split("-"))
            if mode.startswith("rw"):
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"\0".join(found)
