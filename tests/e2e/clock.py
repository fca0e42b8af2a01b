"""A clock that steps: libfaketime, for a service that runs on and for the command line beside it."""

from pathlib import Path

from server import Server

LIBRARY = "libfaketimeMT.so.1"
DAY = 86_400
"""Seconds."""


class Clock:
    """The time of day of a running server and of the command line beside it. Monotonic time is left alone."""

    def __init__(self, server: Server, folder: Path):
        self._offset = folder / "offset"
        self.step(0)
        server.variables = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def step(self, seconds: int) -> None:
        """From now on its clock is that far ahead of the real one, or behind."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._offset)


def library() -> Path:
    found = sorted(path for root in ("/usr/lib", "/usr/local/lib") for path in Path(root).rglob(LIBRARY))
    assert found, "there is no libfaketime here: apt-get install faketime"
    return found[0]
