"""One SQLite file has one server, by whatever name the file is reached; one clear line says so."""

import os

import pytest
from server import Cluster, Server


@pytest.fixture
def second(make_server, authority, tmp_path):
    """Makes another server, not started, whose configuration calls the first one's file so."""
    first = make_server()

    def make(name) -> Server:
        return Server(tmp_path / "second", Cluster("prod", authority), database=f"sqlite:{name}")

    make.first = first
    return make


def test_a_second_server_on_one_file_is_refused(second):
    line = second(second.first.database).refusal_to_start()
    assert str(second.first.database) in line and "served by another process" in line


def test_a_symbolic_link_is_seen_through(second, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(second.first.database)
    assert "served by another process" in second(link).refusal_to_start()
    folder = tmp_path / "folder"
    folder.symlink_to(second.first.folder)
    assert "served by another process" in second(folder / "countersign.db").refusal_to_start()
    winding = second.first.folder / ".." / second.first.folder.name / "." / "countersign.db"
    assert "served by another process" in second(winding).refusal_to_start()


def test_a_hard_link_is_refused(second, tmp_path):
    link = tmp_path / "link.db"
    os.link(second.first.database, link)
    assert "hard link" in second(link).refusal_to_start()


def test_the_refused_one_does_no_harm_and_the_next_one_may_serve(second):
    first, other = second.first, second(second.first.database)
    other.refusal_to_start()
    assert first.get(first.auditor, "/v1/audit").status == 200
    first.kill()
    other.start()
    try:
        assert first.database.exists() and other.get(first.auditor, "/v1/audit").status == 200
        assert first.cli("check", check=False).returncode == 0
    finally:
        other.stop()


def test_one_configuration_serves_once(make_server):
    server = make_server()
    line = server.refusal_to_start()
    assert f"127.0.0.1:{server.port}" in line and "in use" in line
