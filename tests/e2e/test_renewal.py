"""Renewal over mTLS: a certificate of ours and its key, and nothing else, over a real handshake."""

import base64
import http.client
import json
import ssl

import certificates
import pytest
import requests_by_python as requests
import yaml
from conftest import ALICE, Known
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from curl import Answer, curl
from server import Cluster
from service_certificates import Issuer, Leaf, replace

RENEWALS = {
    "name": "renewals",
    "effect": "allow",
    "renew": True,
    "clusters": ["prod"],
    "callers": ["cert:prod:*"],
    "users": ["{caller}"],
    "groups": ["*"],
}


@pytest.fixture(scope="module")
def secure(tmp_path_factory, authority) -> Known:
    folder = tmp_path_factory.mktemp("renewal")
    issuer = Issuer(folder / "company")
    leaf = issuer.service(folder)
    tls = {"certificate": str(leaf.certificate), "key": str(leaf.key)}
    server = Known(folder, Cluster("prod", authority), tls=tls)
    server.trust = ("--cacert", issuer.root)
    server.apply(ALICE, RENEWALS)
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def alice(secure, tmp_path) -> Leaf:
    """A certificate of alice's in two groups, with its key."""
    key = requests.new_key()
    answer = secure.sign(secure.alice, requests.request(key, "alice", "dev", "team-a")).issued().json()
    return on_disk(tmp_path, answer, key)


def on_disk(folder, answer: dict, key) -> Leaf:
    leaf = Leaf(folder / "alice.crt", folder / "alice.key")
    replace(leaf.certificate, answer["certificate"].encode())
    replace(leaf.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    return leaf


def renew(server: Known, shown: Leaf | None, csr: bytes, *options, path: str = "/v1/renew", **parameters) -> Answer:
    options = (*server.trust, *(shown.curl if shown else ()), "--data-binary", "@-", *options)
    return curl(*options, server.address(path, **parameters), body=csr)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_certificate_is_renewed_with_its_key_alone(secure, alice, authority, tmp_path, version):
    key = requests.new_key()
    csr = requests.request(key, "alice", "dev", "team-a")
    answer = renew(secure, alice, csr, f"--tlsv{version}", "--tls-max", version).issued().json()
    certificates.assert_good(answer["certificate"], authority, csr, "alice", ["dev", "team-a"], tmp_path / "judge")
    assert answer["requested_by"] == "cert:prod:alice"
    old = x509.load_pem_x509_certificate(alice.certificate.read_bytes())
    row = secure.get(secure.auditor, f"/v1/certificates/{answer['serial']}").json()
    assert row["renewed_from"] == f"{old.serial_number:032x}"
    assert yaml.safe_load(answer["kubeconfig"])["users"][0]["name"] == "alice@prod"
    again = renew(secure, on_disk(tmp_path, answer, key), csr).issued().json()
    assert again["groups"] == ["dev", "team-a"]


def test_what_the_page_says_for_users_works(secure, alice, tmp_path):
    csr = requests.request(requests.new_key(), "alice", "dev")
    answer = renew(secure, alice, csr, "-H", "Accept: application/yaml").issued()
    data = yaml.safe_load(answer.body)["users"][0]["user"]["client-certificate-data"]
    assert x509.load_pem_x509_certificate(base64.b64decode(data))


def test_one_more_group_or_another_user_is_403(secure, alice):
    for names in (("alice", "dev", "team-b"), ("alice", "dev", "team-a", "ops"), ("pod-viewer",)):
        problem = renew(secure, alice, requests.request(requests.new_key(), *names)).problem(403, "policy_denied")
        assert problem["violations"][0]["rule"] == "renewal"


def test_without_the_key_there_is_no_handshake(secure, alice, tmp_path):
    other = requests.new_key()
    stolen = Leaf(alice.certificate, tmp_path / "other.key")
    replace(stolen.key, other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    answer = renew(secure, stolen, requests.request(other, "alice"))
    assert answer.exit != 0 and answer.status == 0
    # A program that insists gets nowhere either: the certificate's key must sign the handshake.
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLError):
        context.load_cert_chain(stolen.certificate, stolen.key)


def test_it_opens_nothing_else(secure, alice):
    for path in ("/v1/whoami", "/v1/certificates", "/v1/clusters", "/v1/audit", "/v1/policies"):
        answer = curl(*secure.trust, *alice.curl, secure.address(path))
        answer.problem(403, "renewal_only")
    csr = requests.request(requests.new_key(), "alice")
    renew(secure, alice, csr, path="/v1/sign", cluster="prod").problem(403, "renewal_only")
    assert curl(*secure.trust, *alice.curl, secure.address("/readyz")).status == 200
    both = renew(secure, alice, csr, "-H", f"@{secure.alice}")
    both.problem(400, "several_credentials")
    renew(secure, None, csr, "-H", f"@{secure.alice}").problem(403, "certificate_required")
    renew(secure, None, csr).problem(401, "unauthenticated")


def test_a_certificate_of_the_same_ca_that_is_not_in_the_ledger_is_401(secure, authority, tmp_path):
    from authorities import openssl

    key, csr, certificate = tmp_path / "x.key", tmp_path / "x.csr", tmp_path / "x.crt"
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", "/CN=alice/O=dev", "-out", csr)
    extensions = tmp_path / "extensions"
    extensions.write_text("extendedKeyUsage = clientAuth\nbasicConstraints = critical, CA:FALSE\n")
    openssl(
        "x509", "-req", "-in", csr, "-CA", authority.certificate, "-CAkey", authority.key, "-set_serial", 99,
        "-days", 1, "-extfile", extensions, "-out", certificate,
    )  # fmt: skip
    shown = Leaf(certificate, key)
    problem = renew(secure, shown, requests.request(requests.new_key(), "alice", "dev")).problem(401)
    assert "unknown" in problem["detail"]


def test_a_foreign_certificate_is_401_and_harms_no_token(secure, tmp_path):
    stranger = Issuer(tmp_path / "other").client("alice")
    csr = requests.request(requests.new_key(), "alice", "dev")
    renew(secure, stranger, csr).problem(401, "unauthenticated")
    renew(secure, stranger, csr, "-H", f"@{secure.alice}", path="/v1/sign", cluster="prod").issued()


def test_a_connection_that_stays_open_is_looked_at_each_time(secure, alice, tmp_path):
    context = ssl.create_default_context(cafile=secure.trust[1])
    context.load_cert_chain(alice.certificate, alice.key)
    connection = http.client.HTTPSConnection("127.0.0.1", secure.port, context=context, timeout=20)

    def ask() -> tuple[int, dict]:
        csr = requests.request(requests.new_key(), "alice", "dev")
        connection.request("POST", "/v1/renew", body=csr, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    assert ask()[0] == 201
    serial = f"{x509.load_pem_x509_certificate(alice.certificate.read_bytes()).serial_number:032x}"
    secure.cli("key", "block", serial, "--reason", "lost")
    for _ in range(50):
        status, _ = ask()
        if status == 401:
            break
    assert status == 401
    csr = requests.request(requests.new_key(), "alice", "dev")
    renew(secure, alice, csr).problem(401, "unauthenticated")


def test_rows_that_mix_people_and_certificates_are_refused(secure):
    for change in ({"renew": False}, {"callers": ["cert:prod:*", "token:alice"]}, {"on_behalf_of": ["*"]}):
        ran = secure.apply(ALICE, RENEWALS | change, check=False)
        assert ran.returncode == 1 and "renewals" in ran.stderr, change
    secure.apply(ALICE, RENEWALS)
