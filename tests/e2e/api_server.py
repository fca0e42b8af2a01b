"""A stand-in for kube-apiserver: TLS with client certificates, and just enough of the API for kubectl.

It takes identities as Kubernetes does: the CN of the client's certificate is the user, each O a group. OpenSSL
decides whether the certificate is good, and checks it as a TLS client's.
"""

import json
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import certificates
from cryptography import x509

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-0", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    "status": {"phase": "Running"},
}
PODS = {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get", "list"]}
ANSWERS = {
    "/": {"paths": ["/api", "/apis", "/version"]},
    "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0-stand-in", "platform": "linux/amd64"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [PODS]},
    "/api/v1/namespaces/default/pods": {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [POD]},
}


@dataclass(frozen=True)
class Seen:
    """One request, and who made it."""

    path: str
    user: str
    groups: tuple[str, ...]


class ApiServer:
    """Listens on a free port of 127.0.0.1 until it is closed."""

    def __init__(self, client_ca: Path, certificate: Path, key: Path):
        self.seen: list[Seen] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        self._server = _TlsServer(("127.0.0.1", 0), _Handler)
        self._server.context, self._server.seen = context, self.seen
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> "ApiServer":
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def identities(self) -> set[tuple[str, tuple[str, ...]]]:
        return {(seen.user, seen.groups) for seen in self.seen}


class _TlsServer(ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        # In the connection's own thread, so that one bad handshake holds up nobody.
        try:
            secured = self.context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        with secured:
            self.RequestHandlerClass(secured, client_address, self)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        leaf = x509.load_der_x509_certificate(self.connection.getpeercert(binary_form=True))
        user, groups = certificates.identity(leaf)
        self.server.seen.append(Seen(path, user, tuple(groups)))
        known = ANSWERS.get(path)
        body = json.dumps(known or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
