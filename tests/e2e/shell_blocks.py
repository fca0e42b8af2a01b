"""The `sh` blocks of a Markdown file that are marked to be run, and a shell to run them in."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from server import BINARY, environment

MARKED = re.compile(r"<!-- run: (?P<name>[a-z-]+) -->\n+```sh\n(?P<text>.*?)```", re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: [^>]+ -->\n+```sh\n(?P<text>.*?)```", re.DOTALL)
ANY = re.compile(r"```sh\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block, under the name in the comment before it."""

    name: str
    text: str


def marked(markdown: Path) -> list[Block]:
    return [Block(found["name"], found["text"]) for found in MARKED.finditer(markdown.read_text())]


def unmarked(markdown: Path) -> list[str]:
    """The blocks that are neither run nor say why they are not."""
    text = markdown.read_text()
    known = {found["text"] for pattern in (MARKED, NOT_RUN) for found in pattern.finditer(text)}
    return [found["text"] for found in ANY.finditer(text) if found["text"] not in known]


CARGO = """#!/bin/sh
[ "$1 $2 $3" = "run --release --" ] || exit 99
shift 3
[ "$1" = quickstart ] && exec "{binary}" "$@" {options}
exec "{binary}" "$@"
"""


class Shell:
    """Runs blocks in one folder. `cargo run --release --` there is the binary that was already built."""

    def __init__(self, folder: Path, quickstart_options: str = "", programs: tuple[Path, ...] = ()):
        self.folder = folder
        first_on_path = folder / ".programs"
        first_on_path.mkdir(parents=True)
        cargo = first_on_path / "cargo"
        cargo.write_text(CARGO.format(binary=BINARY, options=quickstart_options))
        cargo.chmod(0o755)
        for program in (BINARY, *programs):
            (first_on_path / program.name).symlink_to(program)
        self.environment = environment(folder)
        self.environment["PATH"] = os.pathsep.join([str(first_on_path), self.environment["PATH"]])

    def run(self, script: str) -> subprocess.CompletedProcess:
        """Runs a block as it is printed, and stops at the first line that fails."""
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def start(self, script: str, log: Path) -> subprocess.Popen:
        """Starts a block that goes on running."""
        # `exec`, so that the process that is ended is the server and no shell around it.
        return subprocess.Popen(
            ["bash", "-c", f"exec {script.strip()}"],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=log.open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip
