"""What a running service takes over of its configuration file, and what it says of the rest."""

import signal

import pytest
import requests_by_python as requests
from conftest import Known
from curl import curl
from server import Cluster
from service_certificates import Issuer, replace
from test_callers_over_tls import ROBOTS, Tables
from test_tls import logged, until

SOURCE = """
[[auth.mtls]]
name = "ci"
ca = "{root}"

"""
ROLE = """
[[roles]]
role = "requester"
callers = ["proxy:ci:*"]

"""


@pytest.fixture
def running(tmp_path, authority):
    """A server whose runners come with a certificate, and one of them."""
    company = Issuer(tmp_path / "company")
    leaf = company.service(tmp_path / "server")

    class Own(Tables):
        tables = SOURCE.format(root=company.root) + ROLE

    tls = {"certificate": str(leaf.certificate), "key": str(leaf.key)}
    server = Own(tmp_path / "server", Cluster("prod", authority), tls=tls)
    server.trust = ("--cacert", company.root)
    server.apply(ROBOTS)
    server.start()
    yield server, company.client("deployer")
    assert server.stop() == 0


def roles(server: Known, shown) -> list[str]:
    return curl(*server.trust, *shown.curl, server.address("/v1/whoami")).json()["roles"]


def change(server: Known, before: str, after: str) -> None:
    text = server.configuration.read_text()
    assert before in text
    replace(server.configuration, text.replace(before, after).encode())
    server.process.send_signal(signal.SIGHUP)


def test_what_was_taken_out_and_goes_on_is_told(running):
    server, runner = running
    assert roles(server, runner) == ["requester"]
    server.process.send_signal(signal.SIGHUP)
    until(lambda: logged(server, "nothing of them has changed"), "it is read", server)
    assert not logged(server, "wait for a restart")
    change(server, ROLE, "")
    until(lambda: logged(server, "WARN", "wait for a restart", '"roles"'), "it is told", server)
    assert roles(server, runner) == ["requester"], "as the page says"
    change(server, 'name = "ci"', 'name = "runners"')
    until(lambda: logged(server, "WARN", "wait for a restart", '"auth, roles"'), "both are told", server)
    server.stop()
    change_at_rest = server.configuration.read_text()
    assert "runners" in change_at_rest
    server.start()
    assert roles(server, runner) == []


def test_a_cluster_does_not_take_the_name_of_a_source_that_runs(running):
    server, runner = running
    # The file is sound in itself: the source has another name there.
    text = server.configuration.read_text().replace(ROLE, "").replace('name = "ci"', 'name = "runners"')
    replace(server.configuration, text.replace('name = "prod"', 'name = "ci"').encode())
    server.process.send_signal(signal.SIGHUP)
    until(lambda: logged(server, "ERROR", "`ci`", "restart the service"), "it is refused", server)
    csr = requests.request(requests.new_key(), "deployer", "deployers")
    curl(*server.trust, *runner.curl, "--data-binary", "@-", server.address("/v1/sign"), body=csr).issued()
    curl(*server.trust, *runner.curl, "--data-binary", "@-", server.address("/v1/sign", cluster="ci"), body=csr).problem(400)
