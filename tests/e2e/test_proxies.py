"""Behind real proxies, with the configurations of docs/deployment.md."""

import re
import subprocess
import time
from pathlib import Path

import pytest
import requests_by_python as requests
from curl import curl
from server import REPOSITORY, environment, free_port
from service_certificates import Issuer

NGINX = Path("/usr/sbin/nginx")
HAPROXY = Path("/usr/sbin/haproxy")


def block(language: str) -> str:
    """The configuration in the page."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", (REPOSITORY / "docs/deployment.md").read_text(), re.DOTALL)
    return text


@pytest.fixture
def running():
    """Starts programs and ends them."""
    started = []

    def start(command: list, folder: Path, port: int) -> None:
        log = (folder / "proxy.log").open("wb")
        process = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=log, stderr=log)
        started.append(process)
        deadline = time.monotonic() + 20
        while curl("-k", f"https://127.0.0.1:{port}/livez").status != 200:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "proxy.log").read_text()
            time.sleep(0.1)

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


@pytest.mark.skipif(not NGINX.exists(), reason="nginx is not installed")
def test_nginx_ends_tls_and_tells_the_address(tmp_path, make_server, running):
    issuer = Issuer(tmp_path / "company")
    leaf, port = issuer.service(tmp_path / "nginx"), free_port()
    server = make_server(trusted_proxies=["127.0.0.1"], limits={"connections_per_address": 0})
    text = block("nginx").replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
    text = text.replace("/etc/nginx/tls.crt", str(leaf.certificate)).replace("/etc/nginx/tls.key", str(leaf.key))
    text = text.replace("listen 8443", f"listen 127.0.0.1:{port}")
    folder = tmp_path / "run"
    folder.mkdir()
    paths = "\n".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\ndaemon off;\nmaster_process off;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{paths}\n{text}\n}}\n"
    )
    running([NGINX, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"], folder, port)
    url, trust = f"https://127.0.0.1:{port}", ("--cacert", issuer.root)
    csr = requests.request(requests.new_key(), "alice", "dev")
    # From another address than the proxy's own, which is trusted.
    elsewhere = ("--interface", "127.0.0.2")
    options = (*trust, *elsewhere, "-H", f"@{server.alice}", "-H", "X-Forwarded-For: 198.51.100.1", "--data-binary", "@-")
    answer = curl(*options, f"{url}/v1/sign?cluster=prod", body=csr).issued().json()
    row = server.get(server.auditor, f"/v1/certificates/{answer['serial']}").json()
    assert row["address"] == "127.0.0.2", "what the proxy saw, and not what the client said"
    for _ in range(20):
        assert curl(*trust, "-H", f"@{server.alice}", f"{url}/v1/whoami").status == 200
    export = curl(*trust, "-H", f"@{server.auditor}", f"{url}/v1/certificates?format=ndjson")
    assert b'{"end":true' in export.body
    problem = curl(*trust, "-H", "X-Forwarded-User: admin", f"{url}/v1/whoami").problem(401)
    assert problem["code"] == "unauthenticated"


@pytest.mark.skipif(not HAPROXY.exists(), reason="HAProxy is not installed")
def test_haproxy_passes_tls_and_client_certificates_through(tmp_path, make_server, running):
    issuer = Issuer(tmp_path / "company")
    leaf, port = issuer.service(tmp_path / "tls"), free_port()
    tls = {"certificate": str(leaf.certificate), "key": str(leaf.key)}
    server = make_server(tls=tls, start=False, limits={"connections_per_address": 0})
    server.trust = ("--cacert", issuer.root)
    server.start()
    text = block("haproxy").replace("127.0.0.1:9443", f"127.0.0.1:{server.port}").replace(":8443", f"127.0.0.1:{port}")
    (tmp_path / "haproxy.cfg").write_text(text)
    running([HAPROXY, "-db", "-f", tmp_path / "haproxy.cfg"], tmp_path, port)
    server.port, server.url = port, f"https://127.0.0.1:{port}"
    csr = requests.request(requests.new_key(), "alice", "dev")
    server.sign(server.alice, csr).issued()
    stranger = issuer.client("x")
    problem = curl(*server.trust, *stranger.curl, server.address("/v1/whoami")).problem(401)
    assert "certificate" in problem["detail"], "it arrived"
