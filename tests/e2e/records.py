"""What is on record, on either engine, read beside the service by another program; and whether it is whole."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from postgres import DATABASE, Postgres
from server import Server

ENGINES = ("sqlite", "postgres")


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


class Records:
    """One ledger. Every certificate that a client received is noted here, to be looked for after the fault."""

    def __init__(self, server: Server, ask: Callable[[str], list[tuple]], der: str):
        self.received: set[bytes] = set()
        self._server, self._ask, self._der = server, ask, der
        self._seen: set[bytes] = set()
        self._last = 0

    def number(self, statement: str) -> int:
        """The one number that this statement selects."""
        return int(self._ask(statement)[0][0])

    def add(self, pems: list[bytes]) -> None:
        """Notes what clients received; nobody may receive what somebody has."""
        ders = {der_of(pem) for pem in pems}
        assert len(ders) == len(pems) and not ders & self.received, "a certificate was given twice"
        self.received |= ders

    def assert_holds_what_was_received(self) -> None:
        """Reads only what is new, so that it can be asked often."""
        rows = self._ask(f"SELECT number, {self._der} FROM certificates WHERE number > {self._last} ORDER BY number")
        self._seen.update(bytes.fromhex(der) for _, der in rows)
        self._last = int(rows[-1][0]) if rows else self._last
        missing = self.received - self._seen
        assert not missing, f"{len(missing)} certificates are out without a record"

    def assert_whole(self) -> None:
        """Nothing that was received is missing, nothing is half there; the program's own check agrees."""
        self.assert_holds_what_was_received()
        for table, kind in (("certificates", "certificate.issued"), ("refusals", "request.refused")):
            of_kind = f"SELECT number FROM events WHERE kind = {KINDS[kind]}"
            assert self.number(f"SELECT count(*) FROM {table} WHERE number NOT IN ({of_kind})") == 0
            assert self.number(f"SELECT count(*) FROM ({of_kind}) e WHERE number NOT IN (SELECT number FROM {table})") == 0
        count = self.number("SELECT count(*) FROM events")
        assert self.number("SELECT max(number) FROM events") == self.number("SELECT number FROM state") == count
        serials = "SELECT count(*) - count(DISTINCT serial) + count(*) - count(DISTINCT der) FROM certificates"
        assert self.number(serials) == 0, "a serial or a certificate is there twice"
        checked = self._server.cli("check", check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr

    def assert_listed(self) -> None:
        """The service itself tells of each certificate, newest first, with the serial that is in it."""
        rows = self._ask(f"SELECT {self._der} FROM certificates ORDER BY number DESC")
        serials = [f"{x509.load_der_x509_certificate(bytes.fromhex(der)).serial_number:032x}" for (der,) in rows]
        listed = [item["serial"] for item in self._server.items(self._server.auditor, "/v1/certificates")]
        assert listed == serials


KINDS = {"certificate.issued": 1, "request.refused": 2}
"""As migrations/ and src/audit.rs number them."""


def on_sqlite(server: Server) -> Records:
    def ask(statement: str) -> list[tuple]:
        with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(statement).fetchall()

    return Records(server, ask, "hex(der)")


def on_postgres(server: Server, postgres: Postgres) -> Records:
    def ask(statement: str) -> list[tuple]:
        return [tuple(line.split("|")) for line in postgres.sql(DATABASE, statement).splitlines()]

    return Records(server, ask, "encode(der, 'hex')")


@dataclass
class Served:
    """A running server and its ledger."""

    engine: str
    server: Server
    records: Records


@pytest.fixture(params=ENGINES)
def served(request) -> Served:
    """One server, on each engine in turn."""
    if request.param == "sqlite":
        server = request.getfixturevalue("make_server")()
        return Served("sqlite", server, on_sqlite(server))
    (server,) = request.getfixturevalue("make_replicas")(1)
    return Served("postgres", server, on_postgres(server, request.getfixturevalue("postgres_server")))
