"""Thousands of broken requests: what openssl or Python's cryptography calls badly signed or unreadable is never
signed, what is good always is, and a certificate says what its request says and nothing else.

`COUNTERSIGN_MUTATIONS` sets how many, `COUNTERSIGN_SEED` which ones; `./test --soak` makes it a hundred thousand."""

import http.client
import os
import subprocess
import time
from collections import Counter

import certificates
import der
import pytest
from conftest import Known
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from mutations import Mutant, Mutator, good_requests
from server import REPOSITORY, Cluster

SOAK = os.environ.get("COUNTERSIGN_SOAK")
COUNT = int(os.environ.get("COUNTERSIGN_MUTATIONS") or (100_000 if SOAK else 2_000))
SEED = int(os.environ.get("COUNTERSIGN_SEED") or time.time_ns() % 1_000_000_000)
# Refusals are counted for each caller, and a thousand in a row are its limit.
FOR_EACH_TOKEN = 800
FAILED = REPOSITORY / "target/mutations"
WIDE = {"name": "wide", "effect": "allow", "clusters": ["*"], "callers": ["token:*"], "users": ["*"], "groups": ["*"]}
REFUSED = {400, 403, 413, 422}


class Judges:
    """Reads a request as two other programs do."""

    def __init__(self, request: bytes):
        self.request = request
        try:
            self.csr = x509.load_der_x509_csr(request)
            self.reason = None if self.csr.is_signature_valid else "cryptography: the signature is not valid"
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            self.csr, self.reason = None, f"cryptography: {error!r}"

    def openssl_objects(self) -> str | None:
        """openssl's objection. Its status is 0 for a bad signature, so its words are read."""
        command = ["openssl", "req", "-inform", "DER", "-verify", "-noout"]
        ran = subprocess.run(command, input=self.request, capture_output=True)
        said = ran.stderr.decode(errors="replace").strip()
        return None if said == "Certificate request self-signature verify OK" else f"openssl: {said or ran.returncode}"

    def names(self) -> tuple[list[str], list[str]]:
        """Every CN, and each O once, in order."""
        try:
            subject = self.csr.subject
        except ValueError as error:
            # Go writes a group that is asked for twice into one RDN twice; it is taken once.
            assert "duplicate attributes" in str(error), error
            return self._names_by_hand()
        users = [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        groups = [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        return users, list(dict.fromkeys(groups))

    def _names_by_hand(self) -> tuple[list[str], list[str]]:
        found = {der.oid(der.COMMON_NAME): [], der.oid(der.ORGANIZATION): []}
        for rdn in der.children(der.children(self.csr.tbs_certrequest_bytes)[1]):
            for attribute in der.children(rdn):
                kind, value = der.children(attribute)
                found.get(kind, []).append(der.split(value)[1].decode())
        users, groups = found.values()
        return users, list(dict.fromkeys(groups))


def objections(mutant: Mutant, status: int, answer: bytes) -> str | None:
    """What is wrong with this answer, if anything is."""
    if status != 201:
        if mutant.good:
            return f"a good request is refused: {answer!r}"
        if status not in REFUSED or b"BEGIN CERTIFICATE" in answer:
            return f"the answer is {status}: {answer!r}"
        return None
    judges = Judges(mutant.der)
    # openssl is a process for each, so it is asked where something was done to the request.
    objection = judges.reason or (None if mutant.good else judges.openssl_objects())
    if objection:
        return f"it is signed, but {objection}"
    leaf = x509.load_pem_x509_certificates(answer)[0]
    user, groups = certificates.identity(leaf)
    if judges.names() != ([user], groups):
        return f"asked for {judges.names()}, given {user!r} {groups!r}"
    if user.startswith("system:") or any(group.startswith("system:") for group in groups):
        return f"given {user!r} {groups!r}"
    if _spki(leaf) != _spki(judges.csr):
        return "another key"
    return None


@pytest.fixture(scope="module")
def wide(tmp_path_factory, authority):
    server = Known(tmp_path_factory.mktemp("mutations"), Cluster("prod", authority))
    server.apply(WIDE)
    server.tokens = [server.token(f"m{number}", "requester") for number in range(-(-COUNT // FOR_EACH_TOKEN))]
    server.start()
    yield server
    server.stop()


def test_what_others_call_broken_is_never_signed_and_what_is_good_always_is(wide, tmp_path):
    print(f"COUNTERSIGN_SEED={SEED} COUNTERSIGN_MUTATIONS={COUNT}")
    mutator = Mutator(SEED, good_requests(tmp_path))
    connection = http.client.HTTPConnection("127.0.0.1", wide.port, timeout=30)
    seen, failed = Counter(), []
    for number in range(COUNT):
        mutant = mutator.next()
        headers = _headers(wide.tokens[number // FOR_EACH_TOKEN])
        connection.request("POST", "/v1/sign", mutant.body, headers)
        response = connection.getresponse()
        objection = objections(mutant, response.status, response.read())
        seen[mutant.how.split(":")[0].split(",")[0], response.status] += 1
        if objection:
            failed.append(f"{mutant.how}: {objection}: {_keep(mutant, number)}")
    print(*sorted(seen.items()), sep="\n")
    assert not failed, f"COUNTERSIGN_SEED={SEED}, {len(failed)} of {COUNT}:\n" + "\n".join(failed[:20])
    assert _signed(seen, "untouched") and _signed(seen, "signed again"), "the mutator no longer reaches the signer"
    assert sum(count for (_, status), count in seen.items() if status == 422) > COUNT / 3


def test_the_judges_see_a_broken_signature(tmp_path):
    """Were they blind, nothing above would be tried."""
    for request in good_requests(tmp_path):
        judges = Judges(request)
        assert judges.reason is None and judges.openssl_objects() is None
        for broken in (request[:-1] + bytes([request[-1] ^ 1]), request[:-1], request + b"\0"):
            judges = Judges(broken)
            assert judges.reason, "cryptography"
        assert Judges(request[:-1] + bytes([request[-1] ^ 1])).openssl_objects(), "openssl"


def test_the_same_seed_breaks_requests_the_same_way(tmp_path):
    requests = good_requests(tmp_path)
    one, other = Mutator(7, requests), Mutator(7, requests)
    for _ in range(300):
        first, second = one.next(), other.next()
        assert first.how == second.how
        # A new key signs differently every time.
        assert first.how.startswith("signed again") or first.body == second.body


def _signed(seen: Counter, how: str) -> int:
    return seen[how, 201]


def _headers(token) -> dict[str, str]:
    name, value = token.read_text().strip().split(": ", 1)
    return {name: value, "Accept": "application/x-pem-file", "Content-Type": "application/pkcs10"}


def _keep(mutant: Mutant, number: int) -> str:
    FAILED.mkdir(parents=True, exist_ok=True)
    path = FAILED / f"{SEED}-{number}.bin"
    path.write_bytes(mutant.body)
    return str(path)


def _spki(holder) -> bytes:
    return holder.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
