"""`ledger prune`: what was kept for long enough goes, what was not stays, and the audit log says which."""

from contextlib import contextmanager
from datetime import timedelta

import authorities
import pytest
import requests_by_openssl as requests
from clock import DAY, Clock
from postgres import DATABASE

LIFE = "8h"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> authorities.Authority:
    """Old enough to have signed months ago."""
    return authorities.self_signed(tmp_path_factory.mktemp("old") / "ca", timedelta(days=-3650), timedelta(days=3650))


class Aged:
    """A stopped server with a ledger that grew over ninety days."""

    def __init__(self, served, folder, postgres_server):
        self.engine, self.server, self.records = served.engine, served.server, served.records
        self.clock, self._postgres = Clock(self.server, folder), postgres_server
        self._csr = requests.new_request(folder, "alice", "dev", "ops")
        self._refused = requests.new_request(folder, "stranger", "dev", name="stranger")
        self.serials: dict[int, list[str]] = {}
        self.server.stop()
        for days, certificates, refusals in ((90, 3, 2), (40, 1, 1), (10, 1, 1), (0, 1, 0)):
            with self.days_ago(days):
                self.server.start()
                self.serials[days] = [self._sign() for _ in range(certificates)]
                for _ in range(refusals):
                    self.server.sign(self.server.alice, self._refused).problem(403)
                self.server.stop()

    def _sign(self) -> str:
        return self.server.sign(self.server.alice, self._csr, ttl=LIFE).issued().json()["serial"]

    @contextmanager
    def days_ago(self, days: int):
        """The clocks of the service, and of its database where that has one, stand so long ago."""
        self.clock.step(-days * DAY)
        self._step_database(days)
        yield
        self.clock.step(0)
        self._step_database(0)

    def _step_database(self, days: int) -> None:
        if self.engine == "postgres":
            now = f"SELECT CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT) - {days * DAY}"
            self._postgres.sql(
                DATABASE, f"CREATE OR REPLACE FUNCTION ledger_time() RETURNS BIGINT LANGUAGE sql VOLATILE AS '{now}'"
            )

    def keep(self, retention: str) -> None:
        text = self.server.configuration.read_text()
        lines = [line for line in text.splitlines() if not line.startswith("retention")]
        self.server.configuration.write_text("\n".join([f'retention = "{retention}"', *lines]))

    def counts(self) -> tuple[int, int, int]:
        tables = ("certificates", "refusals", "events")
        return tuple(self.records.number(f"SELECT count(*) FROM {table}") for table in tables)


@pytest.fixture
def aged(served, tmp_path, request) -> Aged:
    postgres_server = request.getfixturevalue("postgres_server") if served.engine == "postgres" else None
    return Aged(served, tmp_path, postgres_server)


def test_without_a_retention_everything_is_kept(aged):
    before = aged.counts()
    ran = aged.server.cli("ledger", "prune")
    assert ran.stdout == "certificates\t0\nrefusals\t0\n" and "kept for ever" in ran.stderr
    assert aged.counts() == before == (6, 4, before[2])
    aged.records.assert_whole()


def test_what_was_kept_for_long_enough_goes_and_the_audit_log_says_so(aged):
    server = aged.server
    aged.keep("60d")
    certificates, refusals, events = aged.counts()
    assert "not in force yet" in server.cli("ledger", "prune", "--dry-run").stderr
    assert aged.counts() == (certificates, refusals, events), "a dry run changes nothing"

    ran = server.cli("ledger", "prune")
    assert ran.stdout == "certificates\t3\nrefusals\t2\n" and "were deleted: kept for 60d" in ran.stderr
    # One event for the retention, one each for the pruned certificates and refusals.
    assert aged.counts() == (certificates - 3, refusals - 2, events + 3)
    assert server.cli("ledger", "prune").stdout == "certificates\t0\nrefusals\t0\n"

    server.start()
    listed = [item["serial"] for item in server.items(server.auditor, "/v1/certificates")]
    assert listed == [aged.serials[days][0] for days in (0, 10, 40)]
    audit = server.items(server.auditor, "/v1/audit")
    assert [event["kind"] for event in audit[:3]] == ["ledger.pruned", "ledger.pruned", "retention.changed"]
    assert sum(event["kind"] == "certificate.issued" for event in audit) == 6, "the events of what went stay"
    checked = server.cli("check", check=False)
    assert checked.returncode == 0, checked.stdout


def test_it_works_beside_a_server_and_goes_further_under_a_shorter_retention(aged):
    server = aged.server
    aged.keep("60d")
    server.start()
    assert server.cli("ledger", "prune").stdout == "certificates\t3\nrefusals\t2\n"
    aged.keep("30d")
    assert server.cli("ledger", "prune", "--dry-run").stdout == "certificates\t0\nrefusals\t0\n"
    assert server.cli("ledger", "prune").stdout == "certificates\t1\nrefusals\t1\n"
    server.get(server.auditor, f"/v1/certificates/{aged.serials[40][0]}").problem(404)
    assert server.get(server.auditor, f"/v1/certificates/{aged.serials[10][0]}").status == 200
    aged.keep("29d")
    ran = server.cli("ledger", "prune", check=False)
    assert ran.returncode == 1 and "at least 30d" in ran.stderr
    assert server.cli("check", check=False).returncode == 1, "its configuration is not valid any more"
    aged.keep("30d")
    assert server.cli("check", check=False).returncode == 0


@pytest.mark.parametrize("served", ["postgres"], indirect=True)
def test_a_program_whose_clock_is_a_year_ahead_deletes_nothing_too_early(aged):
    """The database's own clock decides. A file has none but the machine's."""
    aged.keep("60d")
    before = aged.counts()[:2]
    aged.clock.step(365 * DAY)
    ran = aged.server.cli("ledger", "prune", check=False)
    aged.clock.step(0)
    assert ran.returncode == 1, ran.stdout
    assert "append-only" in ran.stderr
    assert aged.counts()[:2] == before
