"""Every kind of CA that clusters have: `openssl verify` accepts what it signs."""

import authorities
import certificates
import conftest
import pytest
import requests_by_openssl as requests
from cryptography import x509
from server import Cluster, countersign

MAKERS = [
    authorities.kubeadm,
    authorities.ec_with_parameters,
    authorities.encrypted,
    authorities.intermediate,
    authorities.long_subject,
    authorities.ed25519,
]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_certificates_of_every_kind_of_ca_verify(make_server, tmp_path, make):
    authority = make(tmp_path / "ca")
    server = make_server(Cluster("prod", authority))
    for kind in ("p-256", "rsa-2048", "ed25519"):
        csr = requests.new_request(tmp_path / kind, "alice", "dev", "ops", kind=kind)
        answer = server.sign(server.alice, csr, "-H", "Accept: application/x-pem-file").issued()
        certificates.assert_good(answer.body, authority, csr, "alice", ["dev", "ops"], tmp_path / "judge")


def test_an_intermediate_is_sent_along_and_its_root_is_not(make_server, tmp_path):
    authority = authorities.intermediate(tmp_path / "ca")
    server = make_server(Cluster("prod", authority))
    csr = requests.new_request(tmp_path, "alice")

    sent = x509.load_pem_x509_certificates(server.sign(server.alice, csr, format="pem").issued().body)

    assert [certificate.subject.rfc4514_string() for certificate in sent] == [
        "CN=alice",
        "CN=kubernetes clients,O=Example",
    ]


def test_a_certificate_never_outlives_its_ca(make_server, tmp_path):
    authority = authorities.kubeadm(tmp_path / "ca")
    authorities.openssl(
        "req", "-x509", "-new", "-key", authority.key, "-days", 1, "-subj", "/CN=kubernetes",
        "-config", tmp_path / "ca/openssl.cnf", "-out", authority.certificate,
    )  # fmt: skip
    server = make_server(Cluster("prod", authority, settings={"max_ttl": "72h"}))

    answer = server.sign(server.alice, requests.new_request(tmp_path, "alice"), ttl="48h").issued().json()

    leaf = x509.load_pem_x509_certificate(answer["certificate"].encode())
    ca = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    assert leaf.not_valid_after_utc == ca.not_valid_after_utc
    assert answer["warnings"], "a cut is said"


def refused_start(make_server, cluster: Cluster, *more: Cluster) -> str:
    """What `serve` says when it refuses to start with these clusters."""
    server = make_server(cluster, *more, rows=(), start=False)
    ran = countersign("--config", server.configuration, "serve", check=False, cwd=server.folder)
    assert ran.returncode == 1
    return ran.stderr


@pytest.fixture
def make_unstarted(make_server, monkeypatch):
    """Servers whose files are wrong: no token can be made for them, so none is."""
    monkeypatch.setattr(conftest.Known, "token", lambda *_, **__: None)
    monkeypatch.setattr(conftest.Known, "apply", lambda *_, **__: None)
    return make_server


def test_a_key_of_another_certificate_is_refused_at_start(make_unstarted, tmp_path):
    authority, other = authorities.kubeadm(tmp_path / "a"), authorities.kubeadm(tmp_path / "b")
    authority.key = other.key
    assert "key" in refused_start(make_unstarted, Cluster("prod", authority))


def test_a_certificate_that_is_no_ca_is_refused_at_start(make_unstarted, tmp_path):
    authority = authorities.kubeadm(tmp_path / "a")
    authority.certificate, authority.key = authorities.server_certificate(tmp_path / "b", authority)
    authority.key.chmod(0o600)
    assert "CA" in refused_start(make_unstarted, Cluster("prod", authority))


def test_a_key_that_others_can_read_is_refused_at_start(make_unstarted, tmp_path):
    authority = authorities.kubeadm(tmp_path / "a")
    authority.key.chmod(0o644)
    said = refused_start(make_unstarted, Cluster("prod", authority))
    assert str(authority.key) in said and "BEGIN" not in said


def test_one_ca_for_two_clusters_is_refused_unless_both_name_their_trust_group(make_unstarted, authority):
    said = refused_start(make_unstarted, Cluster("prod", authority), Cluster("staging", authority))
    assert "trust_group" in said and "prod" in said and "staging" in said


def test_a_wrong_password_is_refused_at_start(make_unstarted, tmp_path):
    authority = authorities.encrypted(tmp_path / "a")
    authority.password_file.write_text("wrong\n")
    assert "password" in refused_start(make_unstarted, Cluster("prod", authority))
