"""`countersign quickstart`: one command, and the lines that it prints work as they are."""

import contextlib
import signal
import socket
import stat
import time
import tomllib
from pathlib import Path

import authorities
import certificates
import ledger
import pytest
import yaml
from authorities import Authority
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from kubectl import kubectl
from server import countersign, free_port, wait_until_ready
from shell_blocks import Shell

FOLDER = "countersign-quickstart"
SECRETS = ["ca.key", "alice.key", "alice.header", "auditor.header", "admin.header"]
FILES = [*SECRETS, "ca.crt", "countersign.toml", "countersign.db", "policies.yaml", "alice@quickstart.kubeconfig"]


def once(folder: Path, *options: str, check: bool = True):
    """`quickstart --once` on a port that is free."""
    listen = () if "--listen" in options else ("--listen", f"127.0.0.1:{free_port()}")
    return countersign("quickstart", "--once", *listen, *options, cwd=folder, check=check)


@pytest.fixture
def made(tmp_path) -> Path:
    """The folder that `quickstart --once` leaves."""
    once(tmp_path)
    return tmp_path / FOLDER


@contextlib.contextmanager
def running(shell: Shell, command: str, url: str):
    """Runs a command that serves, until the block ends; yields what it prints, as a file."""
    log = shell.folder / "printed.txt"
    process = shell.start(command, log)
    try:
        wait_until_ready(url, process, log)
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def wait_for(text: str, log: Path) -> None:
    deadline = time.monotonic() + 20
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def shell_lines(printed: str) -> str:
    """The shell session in what quickstart prints: each `openssl` or `curl` line, and the lines it goes on to."""
    kept, goes_on = [], False
    for line in printed.splitlines():
        if goes_on or line.strip().startswith(("openssl ", "curl ", "cd ")):
            kept.append(line)
            goes_on = line.rstrip().endswith(("\\", "|", "&&"))
    return "\n".join(kept)


def test_everything_that_is_needed_is_there_and_secrets_are_private(made):
    assert {path.name for path in made.iterdir()} >= set(FILES)
    for name in SECRETS:
        assert stat.S_IMODE((made / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE((made / "countersign.db").stat().st_mode) & 0o077 == 0
    for name in ("alice", "auditor", "admin"):
        assert (made / f"{name}.header").read_text().startswith("Authorization: Bearer ")


def test_its_certificate_is_as_good_as_any(made, tmp_path):
    config = yaml.safe_load((made / "alice@quickstart.kubeconfig").read_bytes())
    [row] = ledger.certificates(made / "countersign.db")
    pem = x509.load_der_x509_certificate(row.der).public_bytes(Encoding.PEM)
    csr = authorities.openssl("req", "-new", "-key", made / "alice.key", "-subj", "/CN=alice").encode()
    user, groups = certificates.identity(x509.load_pem_x509_certificate(pem))
    authority = Authority(made / "ca.crt", made / "ca.key", root=made / "ca.crt")
    certificates.assert_good(pem, authority, csr, "alice", groups, tmp_path / "judge")
    assert user == "alice" and config["current-context"] == "alice@quickstart"


def test_its_kubeconfig_loads_in_kubectl_from_anywhere(made, tmp_path):
    config = made / "alice@quickstart.kubeconfig"
    shown = kubectl("--kubeconfig", config, "config", "view", "--minify", "--raw", "--flatten", cwd=tmp_path).stdout
    user = yaml.safe_load(shown)["users"][0]["user"]
    assert user["client-certificate-data"] and user["client-key-data"]


def test_twice_on_one_folder_keeps_what_is_there(made, tmp_path):
    kept = {name: (made / name).read_bytes() for name in (*SECRETS, "ca.crt", "countersign.toml", "policies.yaml")}
    once(tmp_path)
    assert kept == {name: (made / name).read_bytes() for name in kept}
    assert ledger.integrity(made / "countersign.db") == "ok"


def test_another_ca_in_its_folder_is_refused_and_kept(made, tmp_path):
    other = authorities.kubeadm(tmp_path / "other", "/CN=the company")
    (made / "ca.crt").write_bytes(other.certificate.read_bytes())
    (made / "ca.key").write_bytes(other.key.read_bytes())
    ran = once(tmp_path, check=False)
    assert ran.returncode == 1 and "CA" in ran.stderr
    assert (made / "ca.key").read_bytes() == other.key.read_bytes()


def test_a_folder_that_holds_somebody_elses_ca_is_left_alone(tmp_path):
    other = authorities.kubeadm(tmp_path / FOLDER, "/CN=the company")
    before = other.key.read_bytes()
    ran = once(tmp_path, check=False)
    assert ran.returncode == 1
    assert other.key.read_bytes() == before


def test_a_network_address_needs_the_flag_that_says_so(tmp_path):
    ran = once(tmp_path, "--listen", "0.0.0.0:8080", check=False)
    assert ran.returncode != 0 and "insecure" in ran.stderr
    assert not (tmp_path / FOLDER / "countersign.toml").exists()


def test_the_printed_lines_work_pasted_as_they_are(tmp_path):
    port = free_port()
    shell = Shell(tmp_path)
    with running(shell, f"countersign quickstart --listen 127.0.0.1:{port}", f"http://127.0.0.1:{port}") as printed:
        wait_for("Serving on", printed)
        session = shell_lines(printed.read_text())
        assert "curl " in session, printed.read_text()
        before = ledger.count(tmp_path / FOLDER / "countersign.db", "certificates")
        ran = shell.run(session)
        assert ran.returncode == 0, f"{session}\n{ran.stdout}{ran.stderr}"
        assert ledger.count(tmp_path / FOLDER / "countersign.db", "certificates") > before


def test_healthcheck_says_whether_it_serves(made, tmp_path):
    configuration = made / "countersign.toml"
    assert countersign("--config", configuration, "healthcheck", cwd=tmp_path, check=False).returncode == 1
    listen = tomllib.loads(configuration.read_text())["listen"]
    with running(Shell(tmp_path), "countersign quickstart", f"http://{listen}"):
        assert countersign("--config", configuration, "healthcheck", cwd=tmp_path).returncode == 0


def test_version_is_one_line(tmp_path):
    said = countersign("version", cwd=tmp_path).stdout
    assert said.startswith("countersign 0.1.0") and said.count("\n") == 1


def test_a_busy_port_is_said_and_not_waited_for(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = countersign("quickstart", "--listen", address, cwd=tmp_path, check=False)
    assert ran.returncode == 1 and address in ran.stderr
