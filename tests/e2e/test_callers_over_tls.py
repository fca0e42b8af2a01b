"""Callers that a client certificate or a trusted proxy names, over real handshakes."""

import http.client
import json
import ssl
import time

import authorities
import pytest
import requests_by_python as requests
from conftest import ALICE, Known
from cryptography import x509
from curl import Answer, curl
from server import Cluster
from service_certificates import SERVER, Issuer, Leaf, replace

ROBOTS = {
    "name": "robots",
    "effect": "allow",
    "clusters": ["prod"],
    "callers": ["proxy:ci:*"],
    "users": ["{caller}"],
    "groups": ["deployers"],
}
PEOPLE = ROBOTS | {"name": "people", "callers": ["group:sso:devs"], "users": ["alice"], "groups": ["dev"]}
SECRET = "f" * 64


class Tables(Known):
    """A server with more tables in its configuration than the others have."""

    tables = ""

    def _toml(self, settings: dict) -> str:
        text = super()._toml(settings)
        at = text.index("[[clusters]]")
        return text[:at] + self.tables + text[at:]


@pytest.fixture(scope="module")
def company(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("company")
    return {name: Issuer(folder / name, f"{name} CA") for name in ("service", "ci", "proxy", "door", "stranger")}


@pytest.fixture(scope="module")
def secure(tmp_path_factory, authority, company) -> Known:
    folder = tmp_path_factory.mktemp("callers")
    replace(folder / "secret", SECRET.encode(), 0o600)
    leaf = company["service"].service(folder)

    class Own(Tables):
        tables = f"""
[[auth.mtls]]
name = "ci"
ca = "{company["ci"].root}"

[[auth.proxy]]
name = "sso"
ca = "{company["proxy"].root}"
client_names = ["proxy.internal"]

[[auth.proxy]]
name = "edge"
addresses = ["127.0.0.1"]
secret_header = "X-Proxy-Secret"
secret_file = "secret"

[[roles]]
role = "requester"
callers = ["proxy:ci:*", "group:sso:devs"]

"""

    tls = {"certificate": str(leaf.certificate), "key": str(leaf.key)}
    server = Own(folder, Cluster("prod", authority), tls=tls, trusted_proxies=["127.0.0.1"])
    server.trust = ("--cacert", company["service"].root)
    server.apply(ALICE, ROBOTS, PEOPLE)
    server.start()
    yield server
    assert server.stop() == 0
    assert SECRET not in server.log.read_text()


def who(server: Known, shown: Leaf | None = None, *headers: str) -> Answer:
    lines = [part for header in headers for part in ("-H", header)]
    return curl(*server.trust, *(shown.curl if shown else ()), *lines, server.address("/v1/whoami"))


def test_a_runner_gets_a_certificate_with_its_own(secure, company):
    runner = company["ci"].client("deployer")
    csr = requests.request(requests.new_key(), "deployer", "deployers")
    answer = curl(*secure.trust, *runner.curl, "--data-binary", "@-", secure.address("/v1/sign"), body=csr).issued()
    assert answer.json()["requested_by"] == "proxy:ci:deployer"
    csr = requests.request(requests.new_key(), "somebody", "deployers")
    answer = curl(*secure.trust, *runner.curl, "--data-binary", "@-", secure.address("/v1/sign"), body=csr)
    answer.problem(403, "policy_denied")


def test_only_live_client_certificates_of_its_ca_count(secure, company):
    assert who(secure, company["ci"].client("deployer")).json()["caller"] == "proxy:ci:deployer"
    for shown in (
        company["stranger"].client("deployer"),
        company["ci"].client("deployer", days=-0.5),
        company["ci"].client("deployer", begins=1, days=2),
        company["ci"].client("deployer", usage=SERVER),
        company["ci"].client("", x509.DNSName("deployer")),
    ):
        who(secure, shown).problem(401, "unauthenticated")


def test_a_proxy_s_headers_count_with_its_certificate_only(secure, company):
    alice = ("X-Forwarded-User: alice", "X-Forwarded-Groups: devs,everybody")
    proxy = company["proxy"].client("proxy.internal")
    known = who(secure, proxy, *alice).json()
    assert known["caller"] == "proxy:sso:alice" and known["groups"] == ["group:sso:devs", "group:sso:everybody"]
    who(secure, None, *alice).problem(401)
    who(secure, company["proxy"].client("another"), *alice).problem(401)
    who(secure, company["stranger"].client("proxy.internal"), *alice).problem(401)
    runner = who(secure, company["ci"].client("deployer"), *alice).json()
    assert runner["caller"] == "proxy:ci:deployer", "from a stranger they are as if they were not there"
    who(secure, proxy, "X-Forwarded-User: alice", "X-Forwarded-User: bob").problem(401)
    who(secure, proxy, *alice, secure.alice.read_text().strip()).problem(400, "several_credentials")
    assert who(secure, proxy, secure.alice.read_text().strip()).json()["caller"] == "token:alice"


def test_a_secret_counts_from_its_address_only(secure):
    user, secret = "X-Forwarded-User: olga", f"X-Proxy-Secret: {SECRET}"
    assert who(secure, None, user, secret).json()["caller"] == "proxy:edge:olga"
    who(secure, None, user, "X-Proxy-Secret: " + "e" * 64).problem(401)
    who(secure, None, user, secret, secret).problem(401)


def test_the_recorded_address_is_the_client_s(secure):
    csr = requests.request(requests.new_key(), "alice", "dev")
    forwarded = ("-H", "X-Forwarded-For: 198.51.100.9, 203.0.113.7")
    serial = secure.sign(secure.alice, csr, *forwarded).issued().json()["serial"]
    assert secure.get(secure.auditor, f"/v1/certificates/{serial}").json()["address"] == "203.0.113.7"


def test_a_door_lets_nobody_in_without_its_certificate(make_server, company, tmp_path):
    leaf = company["service"].service(tmp_path / "tls")
    tls = {"certificate": str(leaf.certificate), "key": str(leaf.key), "client_ca": str(company["door"].root)}
    server = make_server(start=False, tls=tls)
    server.trust = ("--cacert", company["service"].root)
    server.start()
    assert curl(*server.trust, server.address("/readyz")).status == 200
    token = server.alice.read_text().strip()
    who(server, None, token).problem(401, "unauthenticated")
    who(server, company["stranger"].client("x"), token).problem(401, "unauthenticated")
    assert who(server, company["door"].client("laptop"), token).json()["caller"] == "token:alice"
    who(server, company["door"].client("laptop")).problem(401, "unauthenticated")


def test_a_door_shuts_on_an_open_connection(make_server, company, tmp_path):
    leaf, door = company["service"].service(tmp_path / "tls"), tmp_path / "door.pem"
    replace(door, company["door"].root.read_bytes())
    tls = {"certificate": str(leaf.certificate), "key": str(leaf.key), "client_ca": str(door)}
    server = make_server(start=False, tls=tls)
    server.trust = ("--cacert", company["service"].root)
    server.start()
    context = ssl.create_default_context(cafile=company["service"].root)
    laptop = company["door"].client("laptop", days=12 / 86_400)
    context.load_cert_chain(laptop.certificate, laptop.key)
    headers = dict([server.alice.read_text().strip().split(": ", 1)])

    def connect() -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=10)
        assert ask(connection)[0] == 200
        return connection

    def ask(connection) -> tuple[int, dict]:
        connection.request("GET", "/v1/whoami", headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def shut(connection, stream) -> dict:
        deadline = time.monotonic() + 20
        while (asked := ask(connection))[0] == 200:
            assert time.monotonic() < deadline, "it stays open"
            time.sleep(0.2)
        assert connection.sock is stream, "over the same connection"
        assert asked[0] == 401, asked
        return asked[1]

    first = connect()
    assert "expired" in shut(first, first.sock)["detail"]
    lasting = company["door"].client("laptop")
    context.load_cert_chain(lasting.certificate, lasting.key)
    second = connect()
    replace(door, company["stranger"].root.read_bytes())
    assert "tls.client_ca" in shut(second, second.sock)["detail"]


def refusal_of_source(folder, authority, ca, company) -> str:
    """What `serve` says to a source `ci` that trusts this CA, beside a cluster with that authority."""
    leaf = company["service"].service(folder)

    class Own(Tables):
        tables = f'[[auth.mtls]]\nname = "ci"\nca = "{ca}"\n\n'

    tls = {"certificate": str(leaf.certificate), "key": str(leaf.key)}
    server = Own(folder, Cluster("prod", authority), tls=tls)
    ran = server.cli("serve", check=False)
    assert ran.returncode == 1
    assert "`ci`" in server.cli("config", "check", check=False).stderr
    assert "wrong: auth: auth source `ci`" in server.cli("check", check=False).stdout
    return ran.stderr.splitlines()[-1]


def test_a_ca_that_signs_for_a_cluster_is_no_source(tmp_path, authority, company):
    refusal = refusal_of_source(tmp_path / "server", authority, authority.root, company)
    assert "`ci`" in refusal and "`prod`" in refusal


def test_a_root_above_a_cluster_s_ca_is_no_source_though_it_is_not_in_the_cluster_s_file(tmp_path, company):
    authority = authorities.intermediate(tmp_path / "ca")
    end = "-----END CERTIFICATE-----\n"
    signing, root, _ = authority.certificate.read_text().split(end)
    assert root
    authority.certificate.write_text(signing + end)
    refusal = refusal_of_source(tmp_path / "server", authority, authority.root, company)
    assert "`ci`" in refusal and "`prod`" in refusal


def test_both_checks_open_the_ways_to_authenticate(tmp_path, authority, company):
    folder = tmp_path / "server"
    leaf = company["service"].service(folder)

    class Own(Tables):
        tables = f"""
[[auth.mtls]]
name = "ci"
ca = "{company["ci"].root}"

[[auth.proxy]]
name = "edge"
addresses = ["127.0.0.1"]
secret_header = "X-Proxy-Secret"
secret_file = "secret"

"""

    server = Own(folder, Cluster("prod", authority), tls={"certificate": str(leaf.certificate), "key": str(leaf.key)})
    replace(folder / "secret", SECRET.encode(), 0o600)
    server.start().stop()
    assert server.cli("config", "check").returncode == 0
    assert server.cli("check").returncode == 0
    replace(folder / "secret", SECRET.encode(), 0o644)
    ran = server.cli("config", "check", check=False)
    assert ran.returncode == 1 and "auth.proxy[0].secret_file" in ran.stderr
    ran = server.cli("check", check=False)
    assert ran.returncode == 1 and "wrong: auth: auth.proxy[0].secret_file" in ran.stdout
