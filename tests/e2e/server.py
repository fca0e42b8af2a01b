"""One real Countersign in a folder of its own: the binary, its configuration, its command line."""

import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import yaml
from authorities import Authority
from cryptography import x509
from curl import Answer, curl

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("COUNTERSIGN_BIN") or REPOSITORY / "target/release/countersign")
START_SECONDS = 20


@dataclass
class Cluster:
    """One `[[clusters]]` table."""

    name: str
    authority: Authority
    server: str = "https://127.0.0.1:6443"
    server_ca: Path | None = None
    settings: dict = field(default_factory=dict)

    def table(self) -> dict:
        files = {
            "server_ca": self.server_ca or self.authority.root,
            "client_ca": self.authority.certificate,
            "client_ca_key": self.authority.key,
            "client_ca_key_password_file": self.authority.password_file,
        }
        names = {"name": self.name, "server": self.server}
        return names | {key: str(path) for key, path in files.items() if path} | self.settings


class Server:
    """Starts `serve`, drives the command line beside it, and ends only what it started."""

    def __init__(self, folder: Path, *clusters: Cluster, **settings):
        self.folder = folder
        self.clusters = clusters
        self.database = folder / "countersign.db"
        self.log = folder / "serve.log"
        self.port, self.metrics_port = free_port(), free_port()
        self.url = f"{'https' if 'tls' in settings else 'http'}://127.0.0.1:{self.port}"
        self.trust: tuple = ()
        """What curl is told of whom to trust."""
        self.process: subprocess.Popen | None = None
        self.command: tuple = (BINARY,)
        """The program, after what it is started by."""
        self.variables: dict[str, str] = {}
        """What its environment has beside the plain one."""
        self.configuration = folder / "countersign.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.configure()

    def configure(self, *clusters: Cluster) -> None:
        """Writes the configuration, with other clusters where some are given."""
        self.clusters = clusters or self.clusters
        beside = self.configuration.with_suffix(".new")
        beside.write_text(self._toml(self.settings))
        beside.rename(self.configuration)

    # The command line.

    def cli(self, *arguments, check: bool = True) -> subprocess.CompletedProcess:
        """Runs `countersign --config FILE ...`."""
        ran = run([*self.command, "--config", self.configuration, *arguments], self.folder, self.variables)
        assert not check or ran.returncode == 0, f"countersign {arguments}: exit {ran.returncode}: {ran.stderr}"
        return ran

    def token(self, name: str, *roles: str, options: tuple = ()) -> Path:
        """Creates a token, and the header file that curl reads it from."""
        role_options = [option for role in roles for option in ("--role", role)]
        token = self.cli("token", "create", name, *role_options, *options).stdout.strip()
        assert token and len(token.split()) == 1, f"standard output holds the token and nothing else: {token!r}"
        header = self.folder / f"{name}.header"
        header.write_text(f"Authorization: Bearer {token}\n")
        header.chmod(0o600)
        return header

    def apply(self, *rows: dict, check: bool = True) -> subprocess.CompletedProcess:
        """Replaces the policy set by these rows, from the command line."""
        path = self.folder / "policies.yaml"
        path.write_text(yaml.safe_dump({"policies": list(rows)}, allow_unicode=True))
        return self.cli("policy", "apply", "-f", path, check=check)

    # The process.

    def start(self, until: str = "/readyz") -> "Server":
        """Starts `serve` and waits until it says that it is ready, or at least alive."""
        # SIGXFSZ stays ignored, so that a full disk is an error for it and not its end.
        self.process = subprocess.Popen(
            [*self.command, "--config", self.configuration, "serve"],
            cwd=self.folder, env=environment(self.folder) | self.variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, restore_signals=False,
        )  # fmt: skip
        threading.Thread(target=_copy, args=(self.process.stdout, self.log), daemon=True).start()
        wait_until_ready(self.url, self.process, self.log, until)
        return self

    def refusal_to_start(self) -> str:
        """The one line that `serve` says where it must not start."""
        ran = self.cli("serve", check=False)
        assert ran.returncode == 1, ran.stderr
        (line,) = ran.stderr.splitlines()
        assert line.startswith("countersign: "), line
        return line

    def stop(self) -> int | None:
        """Asks it to end, as systemd would; its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int | None:
        if self.process is None:
            return None
        self.process.send_signal(how)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end within 20 s of {how.name}") from None
        finally:
            self.process = None

    # The API.

    def sign(self, header: Path, csr: bytes, *options, **parameters) -> Answer:
        """`POST /v1/sign` by curl, with these query parameters."""
        options = (*self.trust, "-H", f"@{header}", "--data-binary", "@-", *options)
        return curl(*options, self.address("/v1/sign", **parameters), body=csr)

    def get(self, header: Path, path: str, *options, **parameters) -> Answer:
        return curl(*self.trust, "-H", f"@{header}", *options, self.address(path, **parameters))

    def lifetime_seconds(self, certificate: x509.Certificate) -> int:
        """From the decision, as the ledger has it, to notAfter."""
        row = self.get(self.auditor, f"/v1/certificates/{certificate.serial_number:032x}").json()
        decided = datetime.fromisoformat(row["issued_at"])
        return int((certificate.not_valid_after_utc - decided).total_seconds())

    def address(self, path: str, **parameters) -> str:
        query = urllib.parse.urlencode(parameters)
        return f"{self.url}{path}{'?' if query else ''}{query}"

    def items(self, header: Path, path: str, **parameters) -> list[dict]:
        """Every item of a list, page after page."""
        found, cursor = [], {}
        while True:
            page = self.get(header, path, limit=100, **parameters, **cursor).json()
            found += page["items"]
            if not page.get("next_cursor"):
                return found
            cursor = {"cursor": page["next_cursor"]}

    def _toml(self, settings: dict) -> str:
        top = {
            "listen": f"127.0.0.1:{self.port}",
            "metrics_listen": f"127.0.0.1:{self.metrics_port}",
            "database": "sqlite:countersign.db",
        } | settings
        databases = [f"[databases.{name}]\nurl = {json.dumps(url)}\n" for name, url in top.pop("databases", {}).items()]
        tables = [_pairs(top), *databases, *("[[clusters]]\n" + _pairs(cluster.table()) for cluster in self.clusters)]
        return "\n".join(tables)


def countersign(*arguments, check: bool = True, cwd: Path) -> subprocess.CompletedProcess:
    """Runs the binary to its end."""
    ran = run([BINARY, *arguments], cwd, {})
    assert not check or ran.returncode == 0, f"countersign {arguments}: exit {ran.returncode}: {ran.stderr}"
    return ran


def run(command: list, cwd: Path, variables: dict[str, str]) -> subprocess.CompletedProcess:
    """Runs it to its end, in a plain environment and these variables."""
    return subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment(cwd) | variables,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def wait_until_ready(url: str, process: subprocess.Popen, log: Path, path: str = "/readyz") -> None:
    """Returns once this path answers 200."""
    end = time.monotonic() + START_SECONDS
    # Whom to trust is what other tests are about.
    context = ssl._create_unverified_context() if url.startswith("https:") else None
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            if urllib.request.urlopen(f"{url}{path}", timeout=2, context=context).status == 200:
                return
        except OSError:
            time.sleep(0.03)
    said = log.read_text() if log.exists() else ""
    process.kill()
    process.wait()
    raise AssertionError(f"it did not become ready in {START_SECONDS} s:\n{said}")


def environment(home: Path) -> dict[str, str]:
    """A user's plain environment: no kubeconfig, no proxy, no settings of ours."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "NO_PROXY": "*", "no_proxy": "*"}
    kept["RUST_BACKTRACE"] = "1"
    return kept


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _pairs(table: dict) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_value(inner)}' for key, inner in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # A JSON string, number or boolean is a TOML one too.
    return json.dumps(value)


def _copy(pipe, path: Path) -> None:
    with path.open("ab", buffering=0) as log:
        for line in pipe:
            log.write(line)
