"""TLS in the service, judged by openssl, curl and Python; certificates and clusters that change under way."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import authorities
import pytest
import requests_by_python as requests
from authorities import Authority
from conftest import ALICE, Known
from cryptography import x509
from curl import curl
from raw import talk
from server import BINARY, Cluster, Server, countersign, environment, free_port
from service_certificates import SERVER, Issuer, Leaf, replace
from shell_blocks import Shell
from test_quickstart import shell_lines, wait_for

PATIENCE = 15
"""Seconds within which a changed file is read again, on a busy machine."""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("company"))


def settings(leaf: Leaf, **more) -> dict:
    return {"tls": {"certificate": str(leaf.certificate), "key": str(leaf.key)} | more}


@pytest.fixture(scope="module")
def secure(tmp_path_factory, authority, issuer) -> Known:
    """A server for tests that change nothing."""
    folder = tmp_path_factory.mktemp("secure")
    limits = {"handshake_seconds": 2}
    server = Known(folder, Cluster("prod", authority), limits=limits, **settings(issuer.service(folder)))
    server.trust = ("--cacert", issuer.root)
    server.apply(ALICE)
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def changing(tmp_path, make_server, issuer):
    """A server whose files a test changes; `leaf` is what it serves with."""

    def make(*clusters: Cluster, **more) -> tuple[Known, Leaf]:
        leaf = issuer.service(tmp_path / "tls")
        server = make_server(*clusters, start=False, **settings(leaf), **more)
        server.trust = ("--cacert", issuer.root)
        return server.start(), leaf

    return make


def shake(port: int, *options: str) -> subprocess.CompletedProcess:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *map(str, options)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)


def served(port: int) -> bytes:
    """The certificate that a new connection is shown, as DER."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as stream:
        return stream.getpeercert(binary_form=True)


def until(condition, what: str, server: Server) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}\n{server.log.read_text()}"
        time.sleep(0.1)


def metric(server: Server, line: str) -> bool:
    text = curl(f"http://127.0.0.1:{server.metrics_port}/metrics").text
    return line in text.splitlines()


def logged(server: Server, *words: str) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if all(word in line for word in words)]


# The handshake.


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_certificate_is_signed_over_tls(secure, version):
    csr = requests.request(requests.new_key(), "alice", "dev")
    secure.sign(secure.alice, csr, f"--tlsv{version}", "--tls-max", version).issued()


def test_older_versions_are_not_spoken(secure):
    assert "New, TLSv1.3" in shake(secure.port).stdout
    assert "New, TLSv1.2" in shake(secure.port, "-tls1_2").stdout
    for version in ("-tls1_1", "-tls1"):
        assert shake(secure.port, version, "-cipher", "ALL:@SECLEVEL=0").returncode != 0, version


def test_the_only_protocol_is_http_1(secure):
    assert "ALPN protocol: http/1.1" in shake(secure.port, "-alpn", "h2,http/1.1").stdout
    assert "No ALPN negotiated" in shake(secure.port).stdout
    assert shake(secure.port, "-alpn", "h2").returncode != 0
    assert curl("--http2", *secure.trust, f"{secure.url}/livez").status == 200


def test_python_finds_the_name_and_the_whole_chain_in_order(secure, issuer):
    context = ssl.create_default_context(cafile=issuer.root)
    for name in ("127.0.0.1", "localhost"):
        connection = http.client.HTTPSConnection(name, secure.port, context=context, timeout=10)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection("127.0.0.1", secure.port, timeout=10).request("GET", "/readyz")


def test_who_speaks_plain_http_is_told_to_speak_tls(secure):
    answer = curl(f"http://127.0.0.1:{secure.port}/readyz")
    assert "https://" in answer.problem(400, "bad_request")["detail"]


def test_what_is_no_handshake_is_closed(secure):
    for said in (b"\x00" * 64, b"\x16\x03\x01\x00\x05hello", b"hello\r\n\r\n", b"\x16"):
        assert b"HTTP" not in talk(secure.port, said, 10).received, said
    curl(*secure.trust, f"{secure.url}/livez")


def test_who_never_ends_its_handshake_is_closed_in_time(secure):
    for said in (b"", b"\x16\x03\x01\x02\x00"):
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", secure.port), 10) as stream:
            stream.sendall(said)
            stream.settimeout(10)
            assert stream.recv(1) == b""
        assert 1 < time.monotonic() - started < 6


def test_handshakes_count_as_connections_and_make_room(changing):
    server, _ = changing(limits={"connections": 4, "handshake_seconds": 60})
    silent = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(12)]
    assert curl(*server.trust, f"{server.url}/livez").status == 200
    closed = 0
    for stream in silent:
        stream.settimeout(0.5)
        try:
            closed += stream.recv(1) == b""
        except TimeoutError:
            pass
        stream.close()
    assert closed >= 8, "the limit is one for handshakes too"


def test_a_drain_does_not_wait_for_handshakes(changing):
    server, _ = changing(limits={"handshake_seconds": 60, "drain_seconds": 30})
    with socket.create_connection(("127.0.0.1", server.port), 10):
        time.sleep(0.2)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 10


# The certificate changes.


def test_new_connections_get_a_new_certificate_and_old_ones_go_on(changing, issuer):
    server, leaf = changing()
    context = ssl.create_default_context(cafile=issuer.root)
    old = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=10)
    old.request("GET", "/livez")
    old.getresponse().read()
    before, connection = leaf.der, old.sock
    assert served(server.port) == before
    issuer.service(leaf.certificate.parent)
    assert leaf.der != before
    for _ in range(PATIENCE * 2):
        old.request("GET", "/livez")
        assert old.getresponse().read() is not None
        if served(server.port) == leaf.der:
            break
        time.sleep(0.5)
    assert served(server.port) == leaf.der
    old.request("GET", "/livez")
    assert old.getresponse().status == 200 and old.sock is connection
    assert metric(server, 'countersign_reloads_total{what="tls",outcome="taken"} 1')
    assert logged(server, "the TLS certificate was read again")


def test_a_bad_new_file_leaves_the_old_certificate_and_is_told(changing, issuer):
    server, leaf = changing()
    before = leaf.der
    replace(leaf.certificate, b"-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n")
    refused = 'countersign_reloads_total{what="tls",outcome="refused"} 1'
    until(lambda: metric(server, refused), "a bad certificate is counted", server)
    assert served(server.port) == before
    assert logged(server, "ERROR", "tls.crt")
    time.sleep(5)
    assert metric(server, refused), "it is said once"
    issuer.service(leaf.certificate.parent)
    until(lambda: served(server.port) == leaf.der, "a good one is taken after it", server)


def test_a_key_that_others_can_read_is_not_taken(changing, issuer):
    server, leaf = changing()
    before = leaf.der
    fresh = issuer.service(leaf.certificate.parent / "fresh")
    replace(leaf.key, fresh.key.read_bytes(), 0o644)
    replace(leaf.certificate, fresh.certificate.read_bytes())
    until(lambda: logged(server, "chmod 600"), "it says what to do", server)
    assert served(server.port) == before


def test_sighup_reads_at_once_and_ends_nothing(changing, issuer):
    server, leaf = changing()
    issuer.service(leaf.certificate.parent)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: served(server.port) == leaf.der, "SIGHUP reads", server)
    for _ in range(20):
        server.process.send_signal(signal.SIGHUP)
    assert curl(*server.trust, f"{server.url}/readyz").status == 200


def test_a_mounted_secret_is_read_again_when_kubernetes_swaps_it(tmp_path, make_server, issuer):
    mount = tmp_path / "mount"
    for version in ("..1", "..2"):
        issuer.service(mount / version)
    (mount / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key"):
        (mount / name).symlink_to(f"..data/{name}")
    leaf = Leaf(mount / "tls.crt", mount / "tls.key")
    server = make_server(start=False, **settings(leaf)).start()
    before = leaf.der
    assert served(server.port) == before
    (mount / "..data_tmp").symlink_to("..2")
    (mount / "..data_tmp").rename(mount / "..data")
    assert leaf.der != before
    until(lambda: served(server.port) == leaf.der, "the swapped secret is served", server)


def test_a_resumed_session_gets_no_certificate_that_was_replaced(changing, issuer, tmp_path):
    server, leaf = changing()
    session = tmp_path / "session"
    assert "Reused" not in shake(server.port, "-tls1_2", "-sess_out", session).stdout
    assert "Reused" in shake(server.port, "-tls1_2", "-sess_in", session).stdout
    issuer.service(leaf.certificate.parent)
    until(lambda: served(server.port) == leaf.der, "the new one is served", server)
    assert "Reused" not in shake(server.port, "-tls1_2", "-sess_in", session).stdout


# The clusters change.


def names(server: Known) -> list[str]:
    return [item["name"] for item in server.get(server.alice, "/v1/clusters").json()["items"]]


def test_a_cluster_is_added_and_removed_under_way(changing, tmp_path, authority):
    prod, test = Cluster("prod", authority), Cluster("test", authorities.ec_with_parameters(tmp_path / "test-ca"))
    server, _ = changing(prod)
    assert names(server) == ["prod"]
    server.configure(prod, test)
    until(lambda: names(server) == ["prod", "test"], "a cluster is added", server)
    server.apply(ALICE | {"clusters": ["prod", "test"]})
    csr = requests.request(requests.new_key(), "alice", "dev")
    answer = server.sign(server.alice, csr, cluster="test").issued().json()
    server.sign(server.alice, csr).problem(400, "cluster_required")
    server.configure(prod)
    until(lambda: names(server) == ["prod"], "a cluster is removed", server)
    server.sign(server.alice, csr, cluster="test").problem(400, "cluster_unknown")
    server.sign(server.alice, csr).issued()
    kept = server.get(server.alice, f"/v1/certificates/{answer['serial']}").json()
    assert kept["cluster"] == "test", "its record stays"
    events = [event for event in server.items(server.auditor, "/v1/audit") if event["kind"] == "clusters.reloaded"]
    assert [event["detail"]["added"] for event in events] == [[], ["test"]]
    assert [event["detail"]["removed"] for event in events] == [["test"], []]
    server.clusters = (prod, test)


def test_what_a_cluster_says_changes_under_way(changing, authority):
    server, _ = changing(Cluster("prod", authority))
    server.configure(Cluster("prod", authority, settings={"max_ttl": "9h", "default_ttl": "1h"}))
    csr = requests.request(requests.new_key(), "alice", "dev")

    def default() -> str:
        return server.get(server.alice, "/v1/clusters").json()["items"][0]["default_ttl"]

    until(lambda: default() in ("1h", 3600), "its default is another", server)
    answer = server.sign(server.alice, csr, dry_run="true").json()
    assert answer["not_after"] < server.sign(server.alice, csr, dry_run="true", ttl="8h").json()["not_after"]


def swapped(tmp_path: Path, own: Authority) -> Authority:
    """A copy of a CA's files, to be overwritten."""
    folder = tmp_path / "own-ca"
    folder.mkdir()
    copy = Authority(folder / "ca.crt", folder / "ca.key", folder / "ca.crt")
    shutil.copy(own.certificate, copy.certificate)
    replace(copy.key, own.key.read_bytes(), 0o600)
    return copy


def test_another_ca_key_under_the_same_name_is_refused(changing, tmp_path, authority):
    mine = swapped(tmp_path, authority)
    server, _ = changing(Cluster("prod", mine))
    other = authorities.ed25519(tmp_path / "other")
    replace(mine.key, other.key.read_bytes(), 0o600)
    replace(mine.certificate, other.certificate.read_bytes())
    until(lambda: logged(server, "ERROR", "prod", "another CA key"), "it says so", server)
    assert logged(server, "Restart the service")
    csr = requests.request(requests.new_key(), "alice", "dev")
    signed = server.sign(server.alice, csr).issued().json()
    certificate = x509.load_pem_x509_certificate(signed["certificate"].encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.root.read_bytes()))
    # Nor does it come in over a moment without the cluster.
    third = Cluster("third", authorities.ec_with_parameters(tmp_path / "third"))
    server.configure(third)
    until(lambda: names(server) == ["third"], "prod is gone", server)
    server.configure(third, Cluster("prod", other))
    until(lambda: len(logged(server, "ERROR", "prod", "another CA key")) >= 2, "it is refused again", server)
    assert names(server) == ["third"]
    server.clusters = (Cluster("prod", authority), third)


def test_a_configuration_that_is_wrong_changes_nothing(changing, authority):
    server, _ = changing(Cluster("prod", authority))
    good = server.configuration.read_bytes()
    for bad in (b"not = toml = at all", good.replace(b"max_ttl", b"x") + b"\nunknown_key = 1\n", b""):
        before = len(logged(server, "the clusters stay as they were"))
        replace(server.configuration, bad)
        until(lambda: len(logged(server, "the clusters stay as they were")) > before, "it is told", server)
        assert names(server) == ["prod"]
    replace(server.configuration, good)
    until(lambda: logged(server, "nothing of them has changed"), "the old one is as good as ever", server)


# The command line.


def test_a_start_with_wrong_files_says_which(make_server, issuer, tmp_path):
    leaf = issuer.service(tmp_path / "tls")
    server = make_server(start=False, **settings(leaf))
    leaf.key.chmod(0o644)
    assert "tls.key" in server.refusal_to_start() and "chmod 600" in server.refusal_to_start()
    leaf.key.chmod(0o600)
    other = issuer.service(tmp_path / "other")
    replace(leaf.certificate, other.certificate.read_bytes())
    assert "not the key of the first certificate" in server.refusal_to_start()
    assert "not the key" in server.cli("config", "check", check=False).stderr


def test_check_looks_at_the_tls_files(make_server, issuer, tmp_path):
    leaf = issuer.service(tmp_path / "tls", days=3)
    server = make_server(start=False, **settings(leaf))
    server.start().stop()
    ran = server.cli("check")
    assert "warning: tls: " in ran.stdout and "ends soon" in ran.stdout
    issuer.leaf(tmp_path / "tls", "countersign", SERVER, [], days=-0.5, stem="tls")
    ran = server.cli("check", check=False)
    assert ran.returncode == 1 and "wrong: tls: " in ran.stdout and "ended at" in ran.stdout


def test_healthcheck_asks_over_tls(secure, issuer, tmp_path):
    assert secure.cli("healthcheck").returncode == 0
    by_name = ("--url", f"https://localhost:{secure.port}")
    assert countersign("healthcheck", *by_name, "--ca-file", issuer.root, cwd=tmp_path).returncode == 0
    assert countersign("healthcheck", *by_name, cwd=tmp_path, check=False).returncode == 1
    wrong = ("--url", f"http://127.0.0.1:{secure.port}")
    assert "https" in countersign("healthcheck", *wrong, cwd=tmp_path, check=False).stderr


def test_the_command_line_reads_the_ledger_over_tls(secure, issuer):
    ran = secure.cli(
        "audit", "stats", "--server", secure.url, "--ca-file", issuer.root, "--token-file", secure.auditor, "-o", "json"
    )
    assert json.loads(ran.stdout) is not None


def test_a_quickstart_serves_over_tls(tmp_path):
    port = free_port()
    log = tmp_path / "log"
    with log.open("wb") as out:
        command = [BINARY, "quickstart", "--tls", "--listen", f"127.0.0.1:{port}"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdout=out, stderr=out)
    try:
        wait_for("Serving on https://127.0.0.1", log)
        printed = log.read_text()
        assert printed.count("--cacert") >= 5
        assert "alice" in Shell(tmp_path).run(shell_lines(printed)).stdout
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    folder = tmp_path / "countersign-quickstart"
    assert os.stat(folder / "tls.key").st_mode & 0o777 == 0o600
    again = countersign("quickstart", "--once", cwd=tmp_path)
    assert "https://" in again.stdout, "the folder says how it is served"
