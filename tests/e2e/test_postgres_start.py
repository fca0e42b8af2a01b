"""What a replica refuses to start on, and how it gets at its database: password, TLS, role."""

import datetime
import ipaddress
import shutil

import pytest
import requests_by_openssl as requests
from conftest import ALICE
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from server import REPOSITORY, Cluster, Server

DATABASE = "replicas"


def refused_to_start(server: Server) -> str:
    """Its one line, where it must not start and not even migrate."""
    ran = server.cli("serve", check=False)
    assert ran.returncode == 1, ran.stderr
    lines = [line for line in ran.stderr.splitlines() if line.startswith("countersign: ")]
    assert len(lines) == 1, ran.stderr
    return lines[0]


@pytest.fixture
def not_started(postgres_server, authority, tmp_path):
    """A replica that was not started, on a new database."""

    def make(database: str | None = None, **settings) -> Server:
        database = database or postgres_server.create(DATABASE)
        return Server(tmp_path / "not-started", Cluster("prod", authority), database=database, **settings)

    return make


@pytest.mark.parametrize("value", ["off", "local", "remote_write"])
def test_a_role_that_commits_early_is_refused(not_started, postgres_server, value):
    server = not_started()
    postgres_server.sql(DATABASE, f"ALTER DATABASE {DATABASE} SET synchronous_commit = {value}")
    assert f"synchronous_commit stands at `{value}`" in refused_to_start(server)


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_does_not_sync_is_refused(not_started, postgres_server, setting):
    server = not_started()
    with postgres_server.configured(**{setting: "off"}):
        assert f"{setting} stands at `off`" in refused_to_start(server)


def test_a_newer_schema_is_refused(not_started, postgres_server):
    server = not_started()
    assert "step 0" in server.cli("migrate", "--check", check=False).stderr
    assert server.cli("migrate", "--check", check=False).returncode == 1
    assert "from step 0 to step" in server.cli("migrate").stdout
    assert "nothing to do" in server.cli("migrate", "--check").stdout
    assert "nothing to do" in server.cli("migrate").stdout
    postgres_server.sql(
        DATABASE,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) "
        "VALUES (9999, 'later', true, '', 0)",
    )
    assert "newer than this program" in refused_to_start(server)
    assert "newer than this program" in server.cli("migrate", check=False).stderr


def test_a_policy_set_with_unknown_fields_is_not_signed_under(not_started, postgres_server):
    server = not_started()
    server.apply(ALICE)
    # As a later version may have written it.
    postgres_server.sql(
        DATABASE,
        "ALTER TABLE policies DISABLE TRIGGER policies_only_end; "
        "UPDATE policies SET body = replace(body, '\"effect\"', '\"quota\":3,\"effect\"')",
    )
    assert "quota" in refused_to_start(server)


def test_the_password_comes_from_a_file_that_nobody_else_can_read(not_started, postgres_server, tmp_path):
    database = postgres_server.create(DATABASE)
    postgres_server.sql(DATABASE, "DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD 'hunter2 %/@'; "
                        f"GRANT CREATE ON SCHEMA public TO guarded; GRANT ALL ON DATABASE {DATABASE} TO guarded")
    hba = postgres_server.folder / "data/pg_hba.conf"
    before = hba.read_text()
    hba.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + before)
    postgres_server.sql("postgres", "SELECT pg_reload_conf()")
    try:
        password = tmp_path / "password"
        password.write_text("hunter2 %/@\n")
        password.chmod(0o644)
        server = not_started(database.replace("countersign@", "guarded@"), database_password_file=str(password))
        assert "chmod 600" in refused_to_start(server)
        assert "chmod 600" in server.cli("config", "check", check=False).stderr
        password.chmod(0o600)
        server.cli("config", "check")
        server.start()
        arguments = open(f"/proc/{server.process.pid}/cmdline").read()
        server.stop()
        password.write_text("wrong\n")
        said = refused_to_start(server)
        assert "password authentication failed" in said
        for text in (arguments, said, server.log.read_text()):
            assert "hunter2" not in text
    finally:
        hba.write_text(before)
        postgres_server.sql("postgres", "SELECT pg_reload_conf()")


@pytest.mark.parametrize("mode", ["", "?sslmode=disable", "?sslmode=require", "?sslmode=verify-ca"])
def test_off_loopback_only_a_verified_server_is_taken(not_started, mode):
    server = not_started(f"postgres://countersign:hunter2@db.example/x{mode}")
    ran = server.cli("config", "check", check=False)
    assert ran.returncode == 1 and "sslmode=verify-full" in ran.stderr and "hunter2" not in ran.stderr


def test_a_role_that_owns_nothing_can_serve(make_replicas, postgres_server, authority, tmp_path):
    one, _ = make_replicas()
    postgres_server.sql(DATABASE, "DROP ROLE IF EXISTS service; " + grants_of_the_docs())
    server = Server(tmp_path / "service", Cluster("prod", authority), database=postgres_server.url(DATABASE, "service"))
    server.start()
    try:
        csr = requests.new_request(tmp_path, "alice", "dev")
        server.sign(one.alice, csr, "-H", "Idempotency-Key: one").issued()
        server.sign(one.alice, requests.new_request(tmp_path, "root"), "-H", "X: y").problem(403)
        server.apply(ALICE | {"groups": ["dev"]})
        server.token("dave", "requester")
        server.cli("token", "revoke", "dave")
        server.cli("key", "block", "ab" * 32, "--reason", "leaked")
        server.cli("key", "unblock", "ab" * 32)
    finally:
        server.stop()
    for forbidden in (
        "DELETE FROM certificates", "UPDATE events SET at = 0", "TRUNCATE refusals CASCADE",
        "ALTER TABLE certificates DISABLE TRIGGER ALL", "DROP TABLE refusals", "SET session_replication_role = replica",
    ):  # fmt: skip
        with pytest.raises(AssertionError, match="permission denied|must be owner"):
            postgres_server.sql(DATABASE, f"SET ROLE service; {forbidden}")


def grants_of_the_docs() -> str:
    """The statements that docs/postgresql.md gives for a role without ownership."""
    text = (REPOSITORY / "docs/postgresql.md").read_text()
    block = next(block for block in text.split("```sql\n")[1:] if "GRANT SELECT" in block)
    return block.split("```")[0].replace("countersign_service", "service")


def certificate(name: str, key, issuer=None, issuer_key=None, addresses=()) -> x509.Certificate:
    """A CA where there is no issuer, else a server's certificate for these addresses."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )  # fmt: skip
    if addresses:
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256())


def with_tls(postgres, folder, addresses):
    """A context in which the server speaks TLS for these addresses; and the file of its CA."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate("database CA", ca_key)
    leaf = certificate("database", key, ca, ca_key, addresses)
    data = postgres.folder / "data"
    (data / "tls.crt").write_bytes(leaf.public_bytes(Encoding.PEM))
    (data / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    owner = data.stat()
    for name in ("tls.crt", "tls.key"):
        (data / name).chmod(0o600)
        shutil.chown(data / name, owner.st_uid, owner.st_gid)
    root = folder / "db-ca.crt"
    root.write_bytes(ca.public_bytes(Encoding.PEM))
    return postgres.configured(ssl="on", ssl_cert_file="tls.crt", ssl_key_file="tls.key"), root


def test_verify_full_takes_the_server_that_it_names_and_no_other(not_started, postgres_server, tmp_path):
    here = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    database = postgres_server.create(DATABASE)
    tls, root = with_tls(postgres_server, tmp_path, here)
    with tls:
        for host in ("127.0.0.1", "localhost"):
            url = database.replace("127.0.0.1", host)
            server = not_started(f"{url}?sslmode=verify-full&sslrootcert={root}")
            server.start()
            said = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) " \
                   "WHERE application_name = 'countersign'"
            assert postgres_server.sql("postgres", said) == "t"
            server.stop()
        said = refused_to_start(not_started(f"{database}?sslmode=verify-full"))
        assert "certificate" in said.lower(), said
    tls, root = with_tls(postgres_server, tmp_path, [x509.DNSName("db.example")])
    with tls:
        said = refused_to_start(not_started(f"{database}?sslmode=verify-full&sslrootcert={root}"))
        assert "certificate" in said.lower() or "name" in said.lower(), said
    said = refused_to_start(not_started(f"{database}?sslmode=verify-full&sslrootcert={root}"))
    assert "tls" in said.lower() or "ssl" in said.lower(), said
