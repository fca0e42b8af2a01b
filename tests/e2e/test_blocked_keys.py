"""Keys that get no certificate, named in every way that a user has at hand, by command and by curl."""

import requests_by_openssl as requests
from authorities import openssl


def test_a_key_is_named_by_serial_csr_certificate_or_public_key(make_server, tmp_path):
    server = make_server()
    key = requests.key(tmp_path, "p-256", "laptop")
    csr = requests.request(key, "/CN=alice")
    issued = server.sign(server.alice, csr).issued().json()
    files = {"a.csr": csr, "a.crt": issued["certificate"].encode(), "a.pub": openssl("pkey", "-in", key, "-pubout").encode()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for named in [issued["serial"], issued["serial"].upper(), *(tmp_path / name for name in files)]:
        server.cli("key", "block", named, "--reason", "stolen laptop")
        server.sign(server.alice, csr).problem(422, "key_blocked")
        server.cli("key", "unblock", named)
        server.sign(server.alice, csr).issued()


def test_what_names_no_key_is_said(make_server, tmp_path):
    server = make_server(start=False)
    key = requests.key(tmp_path, "p-256", "laptop")
    for named, said in [(key, "private key"), ("ab" * 16, "there is no certificate"), ("nothing", "64 hex digits"), (server.configuration, "PEM")]:
        ran = server.cli("key", "block", named, "--reason", "x", check=False)
        assert ran.returncode == 1 and said in ran.stderr and ran.stderr.count("\n") == 1, ran.stderr


def test_the_documented_lines_block_a_key_over_http(make_server, tmp_path):
    server = make_server()
    key = requests.key(tmp_path, "p-256", "laptop")
    csr = requests.request(key, "/CN=alice")
    server.sign(server.alice, csr).issued()
    public = tmp_path / "laptop.der"
    openssl("pkey", "-in", key, "-pubout", "-outform", "DER", "-out", public)
    printed = openssl("dgst", "-sha256", "-c", public).split()[-1]
    assert printed.count(":") == 31
    path = f"/v1/blocked-keys/{printed}"
    blocked = server.get(server.admin, path, "-X", "PUT", "-d", '{"reason": "laptop stolen"}')
    assert blocked.status == 201, blocked.text
    server.sign(server.alice, csr).problem(422, "key_blocked")
    assert [item["reason"] for item in server.get(server.auditor, "/v1/blocked-keys").json()["items"]] == ["laptop stolen"]
    assert server.get(server.admin, path, "-X", "DELETE").status == 204
    server.sign(server.alice, csr).issued()
