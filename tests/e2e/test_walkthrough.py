"""The walk-through that people follow by hand, with `openssl x509 -req` replaced by one curl."""

import shutil
import subprocess
from pathlib import Path

import authorities
import certificates
import pytest
import requests_by_openssl as requests
import yaml
from api_server import ApiServer
from authorities import openssl
from cryptography import x509
from kubectl import kubectl
from server import Cluster


@pytest.fixture
def cluster(tmp_path, authority):
    """An API server whose own certificate comes from another CA than its clients' do."""
    server_ca = authorities.kubeadm(tmp_path / "server-ca", "/CN=kubernetes-server")
    certificate, key = authorities.server_certificate(tmp_path / "api-server", server_ca)
    with ApiServer(authority.certificate, certificate, key) as api_server:
        yield Cluster("prod", authority, server=api_server.url, server_ca=server_ca.certificate), api_server


@pytest.fixture
def home(tmp_path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_the_walk_through_as_it_is_printed(make_server, cluster, home):
    described, api_server = cluster
    server = make_server(described)
    openssl("genrsa", "-out", "pod-viewer.key", "2048", cwd=home)
    openssl(
        "req", "-new", "-key", "pod-viewer.key", "-out", "pod-viewer.csr", "-subj", "/CN=pod-viewer/O=app", cwd=home
    )
    subprocess.run(
        ["curl", "-q", "-sS", "--fail-with-body", "-H", f"@{server.alice}", "-H", "Accept: application/x-pem-file",
         "--data-binary", "@pod-viewer.csr", "-o", "pod-viewer.crt", f"{server.url}/v1/sign?cluster=prod&ttl=8h"],
        cwd=home, check=True, timeout=30,
    )  # fmt: skip
    credentials = ["--client-certificate=pod-viewer.crt", "--client-key=pod-viewer.key", "--embed-certs=true"]
    kubectl("config", "set-credentials", "pod-viewer", *credentials, cwd=home)
    kubectl(
        "config", "set-cluster", "prod", f"--server={described.server}",
        f"--certificate-authority={described.server_ca}", "--embed-certs=true", cwd=home,
    )  # fmt: skip
    kubectl("config", "set-context", "pod-viewer@prod", "--cluster=prod", "--user=pod-viewer", cwd=home)

    shown = kubectl("--context=pod-viewer@prod", "get", "pods", cwd=home)

    assert "web-0" in shown.stdout
    assert api_server.identities() == {("pod-viewer", ("app",))}


def test_our_kubeconfig_works_from_another_folder_without_editing(make_server, cluster, home):
    described, api_server = cluster
    server = make_server(described)
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    csr = requests.new_request(home, "alice", "dev", "team-a", "on call")
    answer = server.sign(server.alice, csr, "-H", "Accept: application/yaml").issued()
    config = home / "alice@prod.kubeconfig"
    config.write_bytes(answer.body)

    shown = kubectl("--kubeconfig", config, "get", "pods", cwd=elsewhere)
    version = kubectl("--kubeconfig", config, "version", cwd=elsewhere)
    raw = kubectl("--kubeconfig", config, "get", "--raw", "/", cwd=elsewhere)

    assert "web-0" in shown.stdout and "Server Version: v1.37" in version.stdout and "/version" in raw.stdout
    assert api_server.identities() == {("alice", ("dev", "team-a", "on call"))}


def test_forty_groups_arrive_at_the_api_server_in_order(make_server, cluster, home):
    described, api_server = cluster
    server = make_server(described)
    groups = [f"group-{number}" for number in range(40)]
    answer = server.sign(server.alice, requests.new_request(home, "alice", *groups), "-H", "Accept: application/yaml")
    (home / "config").write_bytes(answer.issued().body)

    kubectl("--kubeconfig", "config", "get", "pods", cwd=home)

    assert api_server.identities() == {("alice", tuple(groups))}


def test_a_chain_of_an_intermediate_ca_reaches_an_api_server_that_trusts_the_root(make_server, tmp_path, home):
    authority = authorities.intermediate(tmp_path / "intermediate")
    server_ca = authorities.kubeadm(tmp_path / "server-ca", "/CN=kubernetes-server")
    with ApiServer(authority.root, *authorities.server_certificate(tmp_path / "api-server", server_ca)) as api_server:
        server = make_server(Cluster("prod", authority, server=api_server.url, server_ca=server_ca.certificate))
        answer = server.sign(server.alice, requests.new_request(home, "alice", "dev"), "-H", "Accept: application/yaml")
        (home / "config").write_bytes(answer.issued().body)

        kubectl("--kubeconfig", "config", "get", "pods", cwd=home)

        assert api_server.identities() == {("alice", ("dev",))}


def test_the_kubeconfig_says_what_it_is_and_holds_no_key(server, home):
    csr = requests.new_request(home, "alice", "dev")
    answer = server.sign(server.alice, csr, "-H", "Accept: application/yaml").issued()
    config = yaml.safe_load(answer.body)

    assert answer.headers["content-disposition"].find("alice@prod.kubeconfig") > 0
    assert config["current-context"] == "alice@prod"
    assert [user["name"] for user in config["users"]] == ["alice@prod"]
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key"}
    assert config["users"][0]["user"]["client-key"] == "alice.key"
    assert [cluster["name"] for cluster in config["clusters"]] == ["prod"]
    assert b"PRIVATE KEY" not in answer.body
    comment = b"".join(line for line in answer.body.splitlines() if line.startswith(b"#")).decode("ascii")
    assert "alice" in comment and "dev" in comment and "prod" in comment and "KUBECONFIG" in comment


def test_key_path_names_another_key_file_and_nothing_but_a_bare_one(server, home):
    csr = requests.new_request(home, "alice", "dev")

    renamed = server.sign(server.alice, csr, format="kubeconfig", key_path="laptop.key").issued()
    assert yaml.safe_load(renamed.body)["users"][0]["user"]["client-key"] == "laptop.key"

    for path in ("../alice.key", "/etc/alice.key", "a b", ""):
        server.sign(server.alice, csr, key_path=path).problem(400)


def test_a_fragment_merges_without_switching_the_context(make_server, cluster, home):
    described, api_server = cluster
    server = make_server(described)
    kubectl("config", "set-context", "mine", "--cluster=other", "--user=other", cwd=home)
    kubectl("config", "use-context", "mine", cwd=home)
    csr = requests.new_request(home, "alice", "dev")
    fragment = server.sign(server.alice, csr, format="kubeconfig", shape="fragment").issued()
    (home / "alice@prod.kubeconfig").write_bytes(fragment.body)
    both = {"KUBECONFIG": f"{home}/alice@prod.kubeconfig:{home}/.kube/config"}

    merged = kubectl("config", "view", "--flatten", "--raw", cwd=home, **both).stdout
    shutil.copy(home / "alice.key", home / ".kube/alice.key")
    (home / ".kube/config").write_text(merged)

    assert kubectl("config", "current-context", cwd=home).stdout.strip() == "mine"
    assert "web-0" in kubectl("--context=alice@prod", "get", "pods", cwd=home).stdout
    assert api_server.identities() == {("alice", ("dev",))}


def test_the_new_file_first_replaces_an_old_credential(make_server, cluster, home):
    described, api_server = cluster
    server = make_server(described)
    key = requests.key(home, name="alice")
    for name, group in (("old", "before"), ("new", "after")):
        csr = requests.request(key, requests.subject("alice", group))
        (home / name).write_bytes(server.sign(server.alice, csr, format="kubeconfig").issued().body)

    kubectl("get", "pods", cwd=home, KUBECONFIG=f"{home}/new:{home}/old")

    assert api_server.identities() == {("alice", ("after",))}


def test_a_certificate_of_another_ca_is_turned_away(make_server, cluster, tmp_path, home):
    described, api_server = cluster
    other = authorities.kubeadm(tmp_path / "other", "/CN=kubernetes")
    server = make_server(Cluster("prod", other, server=api_server.url, server_ca=described.server_ca))
    answer = server.sign(server.alice, requests.new_request(home, "alice"), format="kubeconfig").issued()
    (home / "config").write_bytes(answer.body)

    refused = kubectl("--kubeconfig", "config", "get", "--raw", "/", cwd=home, check=False)

    assert refused.returncode != 0 and api_server.seen == []


def test_the_credential_id_is_the_one_that_kubernetes_stamps(server, home):
    answer = server.sign(server.alice, requests.new_request(home, "alice", "dev")).issued().json()
    leaf = x509.load_pem_x509_certificate(answer["certificate"].encode())

    digest = leaf.fingerprint(certificates.SHA256).hex()
    assert answer["credential_id"] == f"X509SHA256={digest}"
    assert answer["fingerprint_sha256"].replace(":", "").lower() == digest
    assert int(answer["serial"], 16) == leaf.serial_number and len(answer["serial"]) == 32
