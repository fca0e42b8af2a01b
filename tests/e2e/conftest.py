"""What the tests share: CAs are made once, a server of one's own when a test changes something."""

from collections.abc import Callable, Iterator
from pathlib import Path

import authorities
import certificates
import ledger
import lints
import pytest
from authorities import Authority
from postgres import make_replicas, postgres_server  # noqa: F401
from records import served  # noqa: F401
from server import BINARY, Cluster, Server

ALICE = {
    "name": "developers",
    "effect": "allow",
    "clusters": ["prod"],
    "callers": ["token:alice"],
    "users": ["{caller}", "pod-viewer", "shape-*"],
    # `*` is printable ASCII only, so what lies outside of it is spelled out.
    "groups": ["*", "gebühren-größe"],
}
"""The token `alice` may be herself, or one of a few others, in any group that is not reserved."""


def pytest_sessionstart(session) -> None:
    if not session.config.option.collectonly and not BINARY.exists():
        pytest.exit(f"there is no binary at {BINARY}: run ./test, or cargo build --release --locked", returncode=1)


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    """A CA as kubeadm makes it."""
    return authorities.kubeadm(tmp_path_factory.mktemp("kubeadm"))


@pytest.fixture(scope="session")
def server(tmp_path_factory, authority) -> Iterator["Known"]:
    """One running server for every test that leaves policies and tokens alone."""
    server = Known(tmp_path_factory.mktemp("server"), Cluster("prod", authority))
    server.apply(ALICE)
    server.start()
    yield server
    server.stop()
    lint_what_it_issued(server)


@pytest.fixture
def signed(server, authority, tmp_path) -> Callable[..., dict]:
    """Has a request signed, and every property of the certificate judged."""

    def sign_and_judge(csr: bytes, user: str, *groups: str) -> dict:
        answer = server.sign(server.alice, csr).issued().json()
        certificates.assert_good(answer["certificate"], authority, csr, user, list(groups), tmp_path / "judge")
        assert (answer["user"], answer["groups"]) == (user, list(groups))
        return answer

    return sign_and_judge


@pytest.fixture
def make_server(tmp_path, authority) -> Iterator[Callable[..., "Known"]]:
    """Makes running servers of a test's own; they end with it."""
    made: list[Server] = []

    def make(*clusters: Cluster, rows: tuple = (ALICE,), start: bool = True, **settings) -> Known:
        server = Known(tmp_path / f"server-{len(made)}", *(clusters or [Cluster("prod", authority)]), **settings)
        made.append(server)
        server.apply(*rows)
        return server.start() if start else server

    yield make
    for server in made:
        server.stop()
    for server in made:
        lint_what_it_issued(server)


def lint_what_it_issued(server: Server) -> None:
    """Whatever a test was about, what its server issued must be sound."""
    if server.database.exists():
        issued = (row.der for row in ledger.certificates(server.database))
        lints.lint_each_shape(issued, (cluster.authority for cluster in server.clusters))


class Known(Server):
    """A server that knows three people: alice asks, the auditor reads, the admin changes."""

    def __init__(self, folder: Path, *clusters: Cluster, **settings):
        super().__init__(folder, *clusters, **settings)
        self.alice = self.token("alice", "requester")
        self.auditor = self.token("auditor", "auditor")
        self.admin = self.token("admin", "admin")
