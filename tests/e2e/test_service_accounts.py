"""Pods with the tokens of their clusters, which all have the same `iss`."""

import time

import authorities
import pytest
import requests_by_python as requests
from curl import Answer, curl
from issuer import CLUSTER_KEYS, Issuer, sign
from server import Cluster

USUAL = "https://kubernetes.default.svc.cluster.local"
ROBOTS = {
    "name": "robots", "effect": "allow", "clusters": ["prod"], "callers": ["sa:prod:ci:*"], "users": ["ci-robot"],
}  # fmt: skip


@pytest.fixture
def clusters(tmp_path):
    ca = authorities.kubeadm(tmp_path / "api-ca", "/CN=api")
    made = {name: Issuer(tmp_path / name, ca) for name in ("prod", "test")}
    yield made
    for cluster in made.values():
        cluster.down()


@pytest.fixture
def server(make_server, clusters, authority, tmp_path):
    other = authorities.kubeadm(tmp_path / "other-ca", "/CN=other")
    token = tmp_path / "reviewer"
    token.write_text("reviewer-token\n")
    token.chmod(0o600)
    tables = [
        {"cluster": name, "server": cluster.url, "ca": str(cluster.ca_file), "audience": "countersign"}
        | ({"token_file": str(token)} if name == "prod" else {})
        for name, cluster in clusters.items()
    ]
    return make_server(
        Cluster("prod", authority), Cluster("test", other), rows=(ROBOTS,),
        auth={"kubernetes": tables}, roles=[{"role": "requester", "callers": ["sa:prod:ci:*"]}],
    )  # fmt: skip


def pod(cluster: Issuer, namespace: str = "ci", name: str = "builder", **changed) -> str:
    now = int(time.time())
    claims = {
        "iss": USUAL, "sub": f"system:serviceaccount:{namespace}:{name}", "aud": ["countersign"],
        "iat": now - 5, "nbf": now - 5, "exp": now + 3_600,
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": "u"}},
    }  # fmt: skip
    return sign(*cluster.key(), claims | changed)


def whoami(server, token: str) -> Answer:
    return curl("-H", f"Authorization: Bearer {token}", server.address("/v1/whoami"))


def test_a_pod_is_known_by_the_cluster_whose_keys_verify_its_token(server, clusters):
    for name, cluster in clusters.items():
        assert cluster.asked == [CLUSTER_KEYS]
        known = whoami(server, pod(cluster)).json()
        assert (known["caller"], known["groups"]) == (f"sa:{name}:ci:builder", [])
    assert clusters["prod"].authorizations == ["Bearer reviewer-token"]
    assert clusters["test"].authorizations == [None]
    csr = requests.request(requests.new_key(), "ci-robot")
    header = "Authorization: Bearer " + pod(clusters["prod"])
    issued = curl("-H", header, "--data-binary", "@-", server.address("/v1/sign", cluster="prod"), body=csr).issued()
    assert issued.json()["requested_by"] == "sa:prod:ci:builder"
    header = "Authorization: Bearer " + pod(clusters["test"])
    refused = curl("-H", header, "--data-binary", "@-", server.address("/v1/sign", cluster="prod"), body=csr)
    refused.problem(403, "role_missing")


def test_a_token_for_the_api_server_opens_nothing(server, clusters):
    for audience in ([USUAL], "https://kubernetes.default.svc", [], None):
        whoami(server, pod(clusters["prod"], aud=audience)).problem(401)
    whoami(server, pod(clusters["prod"], sub="system:serviceaccount:kube-system:builder")).problem(401)
    whoami(server, pod(clusters["prod"], **{"kubernetes.io": {}})).problem(401)


def test_the_audience_is_this_services_own(make_server, clusters):
    cluster = clusters["prod"]
    for audience in (USUAL, "https://kubernetes.default.svc", cluster.url):
        table = {"cluster": "prod", "server": cluster.url, "ca": str(cluster.ca_file), "audience": audience}
        server = make_server(start=False)
        server.configuration.write_text(server._toml({"auth": {"kubernetes": [table]}}))
        assert "audience" in server.refusal_to_start()
