"""The checker finds whatever was changed behind the service's back, and says of which certificate."""

import dataclasses
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import authorities
import load
import pytest
import requests_by_openssl as requests
from conftest import ALICE, Known
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from server import BINARY, Cluster, environment


@dataclasses.dataclass
class Busy:
    """A ledger after a busy run, at rest, and one certificate of it that tests tamper with."""

    folder: Path
    other_ca: bytes
    number: int
    serial: str
    refusal: int


@dataclasses.dataclass
class Checked:
    status: int
    lines: list[str]

    @property
    def wrong(self) -> list[str]:
        return [line.removeprefix("wrong: ") for line in self.lines if line.startswith("wrong: ")]


def check(folder: Path, *options: str) -> Checked:
    ran = subprocess.run(
        [BINARY, "--config", folder / "countersign.toml", "check", *options],
        cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stderr
    assert "panicked" not in ran.stderr, ran.stderr
    return Checked(ran.returncode, ran.stdout.splitlines())


DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def busy(tmp_path_factory) -> Busy:
    folder = tmp_path_factory.mktemp("busy")
    # Old enough that no certificate begins later than five minutes before it was issued.
    server = Known(folder / "server", Cluster("prod", authorities.self_signed(folder / "ca", -DAY, 3650 * DAY)))
    server.apply(ALICE)
    server.start()
    with load.Load(server.port, server.alice, load.csrs()):
        time.sleep(1.5)
    refused = requests.new_request(folder, "somebody-else", "dev", "ops")
    server.sign(server.alice, refused).problem(403)
    csr = requests.new_request(folder, "alice", "dev", "ops")
    once = ("-H", "Idempotency-Key: check-1")
    chosen = server.sign(server.alice, csr, *once, reason="on call", ttl="1h").issued().json()
    server.apply(ALICE, ALICE | {"name": "more"})
    server.cli("key", "block", "ab" * 32, "--reason", "stolen")
    server.cli("key", "unblock", "ab" * 32)
    server.token("gone", "requester")
    server.cli("token", "revoke", "gone")
    for user in ("pod-viewer", "shape-1"):
        server.sign(server.alice, requests.new_request(folder, user, name=user)).issued()
    server.stop()
    other = authorities.kubeadm(folder / "other")
    other_ca = x509.load_pem_x509_certificate(other.certificate.read_bytes())
    with closing(sqlite3.connect(server.database)) as connection:
        row = connection.execute("SELECT number FROM certificates WHERE hex(serial) = ?", [chosen["serial"].upper()])
        number = row.fetchone()[0]
        refusal = connection.execute("SELECT max(number) FROM refusals").fetchone()[0]
        assert connection.execute("SELECT count(*) FROM certificates").fetchone()[0] > 50
    der = other_ca.public_bytes(serialization.Encoding.DER)
    return Busy(server.folder, der, number, chosen["serial"], refusal)


@pytest.fixture
def copy(busy, tmp_path) -> Path:
    shutil.copytree(busy.folder, tmp_path / "copy")
    return tmp_path / "copy"


def tamper(folder: Path, *statements, parameters: dict) -> None:
    """As somebody would who knows SQLite: without triggers and references, and with them again afterwards."""
    with closing(sqlite3.connect(folder / "countersign.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        connection.execute("BEGIN")
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        changed = 0
        for statement in statements:
            changed += connection.execute(statement, parameters).rowcount
        for _, sql in triggers:
            connection.execute(sql)
        connection.execute("COMMIT")
        assert changed > 0, "nothing was tampered with, so nothing would be shown"


def test_a_ledger_after_a_busy_run_is_clean(busy):
    found = check(busy.folder)
    assert (found.status, found.wrong) == (0, []), found.lines
    # As with kubeadm, the CA signs for the API server, too.
    assert [line for line in found.lines if line.startswith("warning: ")] == [
        "warning: cluster prod: the client CA is also the server CA: whoever holds its key can also be the API server"
    ]
    assert found.lines[-1].startswith("checked ") and found.lines[-1].endswith("wrong: 0, warnings: 1")


def test_findings_are_also_told_as_json(busy):
    found = check(busy.folder, "--json")
    finding, summary = map(json.loads, found.lines)
    assert finding["severity"] == "warning" and finding["about"] == "cluster prod"
    assert summary["wrong"] == 0 and summary["warnings"] == 1 and summary["certificates"] > 50


CERTIFICATE = "UPDATE certificates SET {} WHERE number = :number"
NEW_LIST = "INSERT INTO name_lists (id, sha256, names) VALUES (9999, randomblob(32), '{}')"

COLUMNS = {
    "serial": ([CERTIFICATE.format("serial = x'4a000000000000000000000000000001'")], "the certificate says"),
    "authority_id": (
        ["INSERT INTO authorities VALUES (77, :other_spki, :other_ca, 1)",
         "INSERT INTO cluster_authorities SELECT cluster_id, 77, 1 FROM cluster_authorities LIMIT 1",
         CERTIFICATE.format("authority_id = 77")],
        "it was not signed by the CA of its row",
    ),
    "authority_that_is_not_there": ([CERTIFICATE.format("authority_id = 78")], "the CA of its row is not in the ledger"),
    "cluster_id": (
        ["INSERT INTO names VALUES (9998, 'test')", CERTIFICATE.format("cluster_id = 9998")],
        "its CA never signed for the cluster `test`",
    ),
    "caller_id": (
        ["INSERT INTO names VALUES (9998, 'token:nobody')", CERTIFICATE.format("caller_id = 9998")],
        "its caller is not the one in the audit log",
    ),
    "user_name": ([CERTIFICATE.format("user_name = 'mallory'")], "user is `mallory`, the certificate says `alice`"),
    "groups_id": (
        [NEW_LIST.format('["ops","dev"]'), CERTIFICATE.format("groups_id = 9999")],
        "groups is [`ops`, `dev`], the certificate says [`dev`, `ops`]",
    ),
    "groups_that_are_no_list": ([NEW_LIST.format("dev"), CERTIFICATE.format("groups_id = 9999")], None),
    "key_kind": ([CERTIFICATE.format("key_kind = 'p-384'")], "key_kind is p-384, the certificate says p-256"),
    "spki_sha256": ([CERTIFICATE.format("spki_sha256 = randomblob(32)")], "spki_sha256 is "),
    "not_before": ([CERTIFICATE.format("not_before = not_before + 1")], "not_before is "),
    "not_after": ([CERTIFICATE.format("not_after = not_after + 1")], "not_after is "),
    "asked_ttl": ([CERTIFICATE.format("asked_ttl = 3599")], "it lives longer than was asked for"),
    "asked_ttl_that_is_none": ([CERTIFICATE.format("asked_ttl = 'soon'")], None),
    "policy_revision": ([CERTIFICATE.format("policy_revision = 99")], "policy_revision is 99"),
    "earlier_policy_revision": ([CERTIFICATE.format("policy_revision = 0")], "was not in force in revision 0"),
    "policies_id": (
        [NEW_LIST.format('["admins"]'), CERTIFICATE.format("policies_id = 9999")],
        "the policy `admins` was not in force",
    ),
    "no_policies": (
        [NEW_LIST.format("[]"), CERTIFICATE.format("policies_id = 9999")],
        "no policy is named that allowed it",
    ),
    "sha256_head": ([CERTIFICATE.format("sha256_head = sha256_head + 1")], "sha256_head is "),
    "der": (
        [
            CERTIFICATE.format(
                "der = CAST(substr(der, 1, length(der) - 1)"
                " || CASE substr(der, -1) WHEN x'00' THEN x'01' ELSE x'00' END AS BLOB)"
            )
        ],
        "sha256_head is ",
    ),
    "der_cut": ([CERTIFICATE.format("der = substr(der, 1, 100)")], "what is stored as its certificate is none"),
    "der_longer": ([CERTIFICATE.format("der = CAST(der || x'00' AS BLOB)")], "what is stored as its certificate is none"),
    "der_of_another": (
        ["UPDATE certificates SET (der, sha256_head) = (SELECT der, sha256_head FROM certificates ORDER BY number LIMIT 1)"
         " WHERE number = :number"],
        "serial is ",
    ),
    "group_row": (
        ["DELETE FROM name_list_members WHERE list_id = (SELECT groups_id FROM certificates WHERE number = :number)"],
        "a filter by the group `dev` does not find it",
    ),
    "group_too_many": (
        [
            "INSERT INTO names VALUES (9998, 'cluster-admins')",
            "INSERT INTO name_list_members SELECT 9998, groups_id FROM certificates WHERE number = :number",
        ],
        "a filter by the group `cluster-admins` finds it, its own list does not say so",
    ),
    "policy_row": (
        ["DELETE FROM name_list_members WHERE list_id = (SELECT policies_id FROM certificates WHERE number = :number)"],
        "a filter by the policy `developers` does not find it",
    ),
    "event": (["DELETE FROM events WHERE number = :number"], "its event in the audit log is not there"),
    "event_kind": (["UPDATE events SET kind = 3 WHERE number = :number"], "the event of its number is not that"),
    "event_caller": (
        ["INSERT INTO names VALUES (9998, 'token:nobody')", "UPDATE events SET caller_id = 9998 WHERE number = :number"],
        "its caller is not the one in the audit log",
    ),
    "event_time": (["UPDATE events SET at = at - 1 WHERE number = :number"], "the audit log says that it was issued at"),
    "key_owner": (
        [
            CERTIFICATE.format("owns_key = 0"),
            "INSERT INTO key_owners SELECT spki_sha256, 'mallory' FROM certificates WHERE number = :number",
        ],
        "its key is noted for the user `mallory`",
    ),
    "two_key_owners": (
        ["INSERT INTO key_owners SELECT spki_sha256, 'mallory' FROM certificates WHERE number = :number"],
        "two users are noted for its key",
    ),
    "no_key_owner": ([CERTIFICATE.format("owns_key = 0")], "no user is noted for its key"),
    "key_owned_since_later": (
        [
            CERTIFICATE.format("owns_key = 0"),
            "UPDATE certificates SET (spki_sha256, user_name, owns_key) = (SELECT spki_sha256, user_name, 1 FROM"
            " certificates WHERE number = :number) WHERE number = (SELECT max(number) FROM certificates)",
        ],
        "a later certificate is noted as the first one of its key",
    ),
    "cluster_authorities": (["DELETE FROM cluster_authorities"], "its CA never signed for the cluster `prod`"),
    "only_authority": (["UPDATE state SET only_authority = randomblob(32)"], "this database takes another CA only"),
}  # fmt: skip


def head(der: bytes) -> int:
    """What a row has of the SHA-256 of its certificate: the first eight octets, as a signed number."""
    return int.from_bytes(hashlib.sha256(der).digest()[:8], "big", signed=True)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_change_of_a_certificate_is_told_by_its_serial(busy, copy, column):
    statements, text = COLUMNS[column]
    spki = x509.load_der_x509_certificate(busy.other_ca).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    parameters = {"number": busy.number, "other_ca": busy.other_ca, "other_spki": hashlib.sha256(spki).digest()}
    try:
        tamper(copy, *statements, parameters=parameters)
    except sqlite3.IntegrityError:
        # The table itself does not take it, with or without triggers.
        assert text is None
        return
    found = check(copy)
    assert found.status == 1
    if text is None:
        assert any(line.startswith(f"number {busy.number}: ") for line in found.wrong), found.wrong
        return
    told = [line for line in found.wrong if busy.serial in line and text in line]
    assert told, found.wrong


def test_a_certificate_of_another_ca_with_the_same_names_is_told(busy, copy):
    """Everything in the row fits the certificate, and its issuer has the right name; only the key is another."""
    with closing(sqlite3.connect(copy / "countersign.db")) as connection:
        der = connection.execute("SELECT der FROM certificates WHERE number = ?", [busy.number]).fetchone()[0]
    genuine = x509.load_der_x509_certificate(der)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        issuer_name=genuine.issuer, subject_name=genuine.subject, public_key=genuine.public_key(),
        serial_number=genuine.serial_number, not_valid_before=genuine.not_valid_before_utc,
        not_valid_after=genuine.not_valid_after_utc,
        extensions=list(genuine.extensions),
    )  # fmt: skip
    forged = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    parameters = {"number": busy.number, "der": forged, "head": head(forged)}
    tamper(copy, CERTIFICATE.format("der = :der, sha256_head = :head"), parameters=parameters)
    found = check(copy)
    assert found.status == 1
    assert found.wrong == [f"{busy.serial}: it was not signed by the CA of its row, CN=kubernetes"]


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_of_a_certificate_is_told(busy, copy, place):
    with closing(sqlite3.connect(copy / "countersign.db")) as connection:
        der = connection.execute("SELECT der FROM certificates WHERE number = ?", [busy.number]).fetchone()[0]
    flipped = bytearray(der)
    flipped[int(len(der) * place)] ^= 1
    parameters = {"number": busy.number, "der": bytes(flipped), "head": head(bytes(flipped))}
    tamper(copy, CERTIFICATE.format("der = :der, sha256_head = :head"), parameters=parameters)
    found = check(copy)
    assert found.status == 1 and any(line.startswith(f"{busy.serial}: ") for line in found.wrong), found.lines


ELSEWHERE = {
    "a certificate": (
        "DELETE FROM certificates WHERE number = :number",
        "event {number}: the certificate of this event is not there, and was not pruned",
    ),
    "a refusal": (
        "DELETE FROM refusals WHERE number = :refusal",
        "event {refusal}: the refusal of this event is not there, and was not pruned",
    ),
    "a refusal's group": ("DELETE FROM name_list_members", "refusal {refusal}: a filter by the group `dev`"),
    "a list's hash": ("UPDATE name_lists SET sha256 = randomblob(32) WHERE id = 1", "list 1: its sha256 is not that"),
    "a refusal's caller": (
        "UPDATE refusals SET caller_id = (SELECT min(id) FROM names WHERE id <> caller_id)",
        "refusal {refusal}: its caller is not the one in the audit log",
    ),
    "a refusal's event": ("DELETE FROM events WHERE number = :refusal", "event {refusal}: not in the audit log"),
    "all events": ("DELETE FROM events", "events 1 to "),
    "the last number": ("UPDATE state SET number = number + 2", "not in the audit log"),
    "the newest time": ("UPDATE state SET newest_at = newest_at - 5", "state: newest_at is "),
    "a time in the future": ("UPDATE state SET newest_at = newest_at + 9999999", "clock: this machine's clock reads"),
    "the token revision": ("UPDATE state SET token_revision = token_revision + 1", "state: token_revision is "),
    "the blocked keys": (
        "UPDATE state SET blocked_key_revision = 0",
        "state: blocked_key_revision is 0, and the audit log tells of 2 such changes",
    ),
    "a policy's body": ("UPDATE policies SET body = '{{}}' WHERE name = 'more'", "policy more: "),
    "another policy's body": (
        "UPDATE policies SET body = (SELECT body FROM policies WHERE name = 'developers') WHERE name = 'more'",
        "policy more: its body is that of `developers`",
    ),
    "a policy's revision": ("UPDATE policies SET from_revision = 7 WHERE name = 'more'", "policy more: it speaks of"),
    "a policy revision": ("DELETE FROM policy_revisions WHERE revision = 1", "policies: the revisions"),
    "the kept CA": ("UPDATE authorities SET certificate = x'3000'", "CA of prod: the certificate in the ledger: "),
    "the CA's key": ("UPDATE authorities SET spki_sha256 = randomblob(32)", "CA of prod: the ledger knows it by the key"),
    "an idempotency key": (
        "UPDATE idempotency_keys SET number = number - 1, caller_id = (SELECT max(id) FROM names)",
        "an idempotency key stands for it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ELSEWHERE)
def test_a_change_elsewhere_is_told(busy, copy, what):
    statement, text = ELSEWHERE[what]
    tamper(copy, statement.format(), parameters={"number": busy.number, "refusal": busy.refusal})
    found = check(copy)
    text = text.format(number=busy.number, refusal=busy.refusal)
    assert found.status == 1 and any(text in line for line in found.wrong), found.wrong


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("DROP TRIGGER certificates_are_kept", "the trigger certificates_are_kept is not there"),
        ("DROP INDEX certificates_by_user", "the index certificates_by_user is not there"),
        (
            "CREATE TRIGGER x AFTER INSERT ON events BEGIN DELETE FROM idempotency_keys; END",
            "there is a trigger x, which this program does not make",
        ),
    ],
)
def test_a_change_of_the_schema_is_told(copy, statement, text):
    with closing(sqlite3.connect(copy / "countersign.db", isolation_level=None)) as connection:
        connection.execute(statement)
    found = check(copy)
    assert (found.status, found.wrong) == (1, [f"database: {text}"])


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_cut_file_is_told(copy, kept):
    database = copy / "countersign.db"
    os.truncate(database, int(database.stat().st_size * kept))
    found = check(copy)
    assert found.status == 1 and any(line.startswith("database: ") for line in found.wrong), found.lines


def test_a_file_that_is_not_there_is_told_and_not_made(copy):
    (copy / "countersign.db").unlink()
    found = check(copy)
    assert found.status == 1 and "there is no such file" in found.wrong[0], found.lines
    assert not (copy / "countersign.db").exists()


def test_beside_a_busy_server_it_finds_nothing(make_server):
    server = make_server()
    with load.Load(server.port, server.alice, load.csrs()) as clients:
        for _ in range(4):
            found = check(server.folder)
            assert (found.status, found.wrong) == (0, []), found.lines
    assert clients.received and set(clients.statuses) <= {201, 429, 503}


def test_certificates_of_a_ca_that_is_no_longer_configured_are_noted(busy, copy, tmp_path):
    new = authorities.kubeadm(tmp_path / "new", "/CN=new")
    configuration = copy / "countersign.toml"
    text = configuration.read_text()
    for line in text.splitlines():
        if line.startswith("client_ca = "):
            text = text.replace(line, f'client_ca = "{new.certificate}"')
        if line.startswith("client_ca_key = "):
            text = text.replace(line, f'client_ca_key = "{new.key}"')
    configuration.write_text(text)
    found = check(copy)
    assert found.status == 0, found.lines
    notes = [line for line in found.lines if line.startswith("note: CA CN=kubernetes: ")]
    assert len(notes) == 1 and "which no configured cluster has" in notes[0], found.lines


@pytest.mark.parametrize(
    ("begins", "ends", "status", "text"),
    [
        (-DAY, 29 * DAY, 0, "warning: cluster prod: its CA ends soon, at "),
        (-DAY, 31 * DAY, 0, "checked 0 certificates"),
        (-2 * DAY, -DAY, 1, "wrong: cluster prod: its CA ended at "),
        (DAY, 31 * DAY, 1, "wrong: cluster prod: its CA is not valid before "),
    ],
)
def test_a_ca_that_ends_is_told(tmp_path, authority, begins, ends, status, text):
    ending = authorities.self_signed(tmp_path / "ca", begins, ends)
    server = Known(tmp_path / "server", Cluster("prod", ending, server_ca=authority.root))
    found = check(server.folder)
    assert found.status == status and any(line.startswith(text) for line in found.lines), found.lines
    assert ("ends soon" in str(found.lines)) == (ends == 29 * DAY)


def test_every_cluster_whose_files_do_not_load_is_told(tmp_path, authority):
    open_to_all = authorities.self_signed(tmp_path / "open", -DAY, 90 * DAY)
    open_to_all.key.chmod(0o644)
    open_to_all.certificate.chmod(0o600)
    elsewhere = dataclasses.replace(authority, key=open_to_all.certificate)
    clusters = Cluster("a", open_to_all), Cluster("b", elsewhere), Cluster("c", authority)
    server = Known(tmp_path / "server", *clusters)
    found = check(server.folder)
    assert found.status == 1
    assert len(found.wrong) == 2, found.lines
    assert found.wrong[0].startswith(f"configuration: cluster `a`: the CA key file {open_to_all.key}: ")
    assert found.wrong[1].startswith("configuration: cluster `b`: ") and "holds no private key" in found.wrong[1]


def test_two_clusters_with_one_ca_are_told(tmp_path, authority):
    server = Known(tmp_path / "server", Cluster("a", authority), Cluster("b", authority))
    found = check(server.folder)
    assert found.status == 1 and "trust_group" in found.wrong[0], found.lines
