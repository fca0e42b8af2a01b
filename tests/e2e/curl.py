"""The real curl, and what it brought back."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Answer:
    """One answer of the service, as curl saw it."""

    exit: int
    status: int
    headers: dict[str, str]
    body: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def issued(self) -> "Answer":
        """This answer, which must be a 201."""
        assert self.status == 201, f"{self.status}: {self.text}{self.stderr}"
        return self

    def problem(self, status: int, code: str | None = None) -> dict:
        """The problem document, which must have this status, and this code where one is given."""
        assert self.status == status, f"{self.status}: {self.text}{self.stderr}"
        assert self.headers["content-type"] == "application/problem+json"
        assert b"CERTIFICATE" not in self.body
        assert self.body.endswith(b"\n") and self.body.count(b"\n") == 1, "a problem is one line"
        problem = self.json()
        assert problem["status"] == status
        assert problem["detail"] and problem["title"] and problem["type"] and problem["request_id"]
        assert code is None or problem["code"] == code, problem
        return problem


def curl(*arguments, body: bytes | None = None, cwd=None, env=None) -> Answer:
    """Runs curl. `body` goes to its standard input."""
    with tempfile.TemporaryDirectory() as folder:
        headers, out = Path(folder, "headers"), Path(folder, "body")
        command = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", "30"]
        command += ["-D", headers, "-o", out, "-w", "%{http_code}", *map(str, arguments)]
        ran = subprocess.run(command, input=body, capture_output=True, cwd=cwd, env=env, timeout=60)
        return Answer(
            exit=ran.returncode,
            status=int(ran.stdout or 0),
            headers=_last_block(headers.read_text() if headers.exists() else ""),
            body=out.read_bytes() if out.exists() else b"",
            stderr=ran.stderr.decode(),
        )


def _last_block(text: str) -> dict[str, str]:
    blocks = [block for block in text.replace("\r\n", "\n").split("\n\n") if block.strip()]
    lines = blocks[-1].splitlines()[1:] if blocks else []
    pairs = [line.split(":", 1) for line in lines]
    return {name.strip().lower(): value.strip() for name, value in pairs}
