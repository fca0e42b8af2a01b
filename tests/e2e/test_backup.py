"""A copy that is made under load holds all that was acknowledged before, passes the check, and serves."""

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import ledger
import load
import pytest
import requests_by_openssl as requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from server import BINARY, environment, free_port


def restored(server, copy: Path, folder: Path):
    """A server of its own on a restored copy, as docs/production.md says to do it."""
    shutil.copytree(server.folder, folder, ignore=shutil.ignore_patterns("countersign.db*", "*.db"))
    shutil.copy(copy, folder / "countersign.db")
    again = type(server).__new__(type(server))
    again.__dict__.update(server.__dict__)
    again.folder, again.database, again.log = folder, folder / "countersign.db", folder / "serve.log"
    again.port, again.metrics_port, again.process = free_port(), free_port(), None
    again.url = f"http://127.0.0.1:{again.port}"
    again.configuration = folder / "countersign.toml"
    text = server.configuration.read_text()
    text = text.replace(f":{server.port}", f":{again.port}").replace(f":{server.metrics_port}", f":{again.metrics_port}")
    again.configuration.write_text(text)
    return again


def test_a_backup_under_load_is_whole_and_serves(make_server, tmp_path):
    server = make_server()
    with load.Load(server.port, server.alice, load.csrs()) as clients:
        while len(clients.received) < 200:
            time.sleep(0.05)
        before = list(clients.received)
        server.cli("backup", tmp_path / "copy.db")
        known = len(clients.received)
        while len(clients.received) < known + 50:
            time.sleep(0.05)
    assert set(clients.statuses) <= {201, 429}, "nobody was turned away for it"

    copy = tmp_path / "copy.db"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.db"]
    assert ledger.integrity(copy) == "ok"
    acknowledged = {x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in before}
    kept = {row.der for row in ledger.certificates(copy)}
    assert acknowledged <= kept and len(kept) < ledger.count(server.database, "certificates")

    again = restored(server, copy, tmp_path / "restored")
    assert again.cli("check").stdout.splitlines()[-1].endswith("wrong: 0, warnings: 1")
    again.start()
    try:
        again.sign(again.alice, requests.new_request(tmp_path, "alice", "dev")).issued()
        assert len(again.items(again.auditor, "/v1/certificates")) == len(kept) + 1
    finally:
        again.stop()


def test_no_secret_of_a_token_is_in_a_backup(make_server, tmp_path):
    server = make_server()
    server.sign(server.alice, requests.new_request(tmp_path, "alice", "dev")).issued()
    server.cli("backup", tmp_path / "copy.db")
    octets = (tmp_path / "copy.db").read_bytes()
    for header in (server.alice, server.auditor, server.admin):
        token = header.read_text().split()[-1]
        secret = max(token.replace("_", ".").split("."), key=len)
        assert len(secret) > 20 and secret.encode() not in octets and token.encode() not in octets


def test_a_file_that_exists_is_never_overwritten(make_server, tmp_path):
    server = make_server(start=False)
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere")
    for file in (copy, tmp_path / "link.db", server.database):
        ran = server.cli("backup", file, check=False)
        assert ran.returncode == 1 and "exists, and is not overwritten" in ran.stderr, ran.stderr
    assert copy.read_text() == "precious" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("file", ["nowhere/copy.db", "."])
def test_a_backup_that_cannot_be_written_leaves_nothing(make_server, tmp_path, file):
    server = make_server(start=False)
    before = sorted(os.listdir(tmp_path))
    ran = server.cli("backup", tmp_path / file, check=False)
    assert ran.returncode == 1 and ran.stderr.startswith("countersign: "), ran.stderr
    assert sorted(os.listdir(tmp_path)) == before


def test_a_backup_onto_a_full_disk_leaves_nothing(make_server, tmp_path):
    server = make_server(start=False)
    before = sorted(os.listdir(tmp_path))
    limited = "ulimit -f 40; trap '' XFSZ; exec \"$@\""
    ran = subprocess.run(
        ["bash", "-c", limited, "bash", BINARY, "--config", server.configuration, "backup", tmp_path / "copy.db"],
        env=environment(tmp_path), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 1 and "copy.db" in ran.stderr, ran.stderr
    assert sorted(os.listdir(tmp_path)) == before


def test_a_ledger_that_is_not_there_is_not_made_to_be_copied(make_server, tmp_path):
    server = make_server(start=False)
    server.database.unlink()
    ran = server.cli("backup", tmp_path / "copy.db", check=False)
    assert ran.returncode == 1 and "there is no such file" in ran.stderr
    assert not server.database.exists() and not (tmp_path / "copy.db").exists()
