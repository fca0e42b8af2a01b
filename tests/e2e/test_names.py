"""Every trick with a name, through the front door, under a policy as wide as one can be written."""

import base64
import http.client
import json
import os
import unicodedata
from collections.abc import Iterator

import certificates
import der
import name_tricks
import pytest
import requests_by_python as requests
from authorities import openssl
from conftest import Known
from cryptography import x509
from kubectl import kubectl
from name_tricks import Names, Trick
from server import Cluster

SPELLED_OUT = [name for name in name_tricks.HARMLESS if not name.isascii()]
# A pattern with a brace is one with a variable; the wide row gives such names.
WIDE = (
    {"name": "wide", "effect": "allow", "clusters": ["*"], "callers": ["token:*"], "users": ["*"], "groups": ["*"]},
    {"name": "spelled-out", "effect": "allow", "clusters": ["*"], "callers": ["token:*"],
     "users": ["*", *SPELLED_OUT], "groups": ["*", *SPELLED_OUT]},
    {"name": "admins", "effect": "allow", "clusters": ["prod"], "callers": ["token:alice"],
     "users": ["bob"], "groups": ["kubeadm:cluster-admins"]},
    {"name": "nodes", "effect": "allow", "clusters": ["prod"], "callers": ["token:alice"],
     "users": ["system:node:worker-1", "alice"], "groups": ["system:nodes"]},
    {"name": "for-others", "effect": "allow", "clusters": ["prod"], "callers": ["token:portal"],
     "users": ["{on_behalf_of}"], "groups": ["*"], "on_behalf_of": ["*", *SPELLED_OUT]},
)  # fmt: skip


@pytest.fixture(scope="module")
def wide(tmp_path_factory, authority) -> Iterator[Known]:
    cluster = Cluster("prod", authority, settings={"reserved": ["corp:", "root"]})
    server = Known(tmp_path_factory.mktemp("names"), cluster)
    server.portal = server.token("portal", "requester", options=("--on-behalf-of",))
    server.apply(*WIDE)
    server.start()
    yield server
    server.stop()


class Client:
    """One connection that stays open."""

    def __init__(self, port: int, header):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = dict([header.read_text().strip().split(": ", 1)])

    def sign(self, body: bytes, query: str = "") -> tuple[int, dict]:
        answer = self._ask(body, query)
        content = answer.read()
        assert answer.status < 500, content
        return answer.status, json.loads(content)

    def _ask(self, body: bytes, query: str) -> http.client.HTTPResponse:
        """Where a query is refused before its body is read, the connection ends with the answer."""
        for last in (False, True):
            try:
                self._connection.request("POST", f"/v1/sign{query}", body, self._headers)
                return self._connection.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._connection.close()
                if last:
                    raise
        raise AssertionError("not reached")


@pytest.fixture(scope="module")
def answers(wide) -> dict[str, tuple[bytes, int, dict]]:
    """What came of every trick: the request, the status and the answer."""
    client = Client(wide.port, wide.alice)
    found = {}
    for trick in name_tricks.TRICKS:
        csr = requests.request_with_name(requests.new_key(), *trick.subject)
        found[trick.what] = (csr, *client.sign(csr))
    return found


def issued() -> list[Trick]:
    return [trick for trick in name_tricks.TRICKS if isinstance(trick.outcome, Names)]


def test_the_table_is_long_and_names_each_trick_once():
    assert len({trick.what for trick in name_tricks.TRICKS}) == len(name_tricks.TRICKS) >= 150


def test_every_trick_is_refused_for_its_reason_or_harmless(answers):
    wrong = []
    for trick in name_tricks.TRICKS:
        _, status, answer = answers[trick.what]
        if isinstance(trick.outcome, Names):
            expected = (201, trick.outcome.user, list(trick.outcome.groups))
            seen = (status, answer.get("user"), answer.get("groups"))
        else:
            expected = (403 if trick.outcome == name_tricks.DENIED else 422, trick.outcome)
            seen = (status, answer.get("code"))
        if seen != expected:
            wrong.append(f"{trick.what}: {seen} instead of {expected}: {answer.get('detail')}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_refusal_holds_a_certificate_or_what_a_terminal_would_act_on(answers):
    for what, (_, status, answer) in answers.items():
        if status != 201:
            assert "CERTIFICATE-----" not in json.dumps(answer), what
            categories = {unicodedata.category(character) for character in answer["detail"]}
            assert not categories & {"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"}, (what, answer["detail"])


def test_every_certificate_says_these_bytes_to_every_reader(answers, authority, tmp_path):
    files, expected = [], []
    for number, trick in enumerate(issued()):
        _, _, answer = answers[trick.what]
        leaf = x509.load_pem_x509_certificate(answer["certificate"].encode())
        user, groups = trick.outcome.user, list(trick.outcome.groups)
        assert certificates.identity(leaf) == (user, groups), trick.what
        names = [der.attribute(der.COMMON_NAME, user), *(der.attribute(der.ORGANIZATION, group) for group in groups)]
        assert certificates.subject_bytes(leaf) == der.sequence(*map(der.rdn, names)), trick.what
        files.append(tmp_path / f"{number}.pem")
        files[-1].write_text(answer["certificate"])
        lines = [f"CN={user}", *(f"O={group}" for group in groups)]
        expected += [f"{files[-1]}: OK", "Chain:", f"depth=0: {lines[0]}", *lines[1:]]
    shown = openssl("verify", "-x509_strict", "-purpose", "sslclient", "-show_chain",
                    "-nameopt", "sep_multiline,sname,utf8", "-CAfile", authority.root, *files)  # fmt: skip
    lines = [line.removesuffix(" (untrusted)") for line in shown.split("\n")]
    assert [line for line in lines if line and not line.startswith("depth=1: ")] == expected


def test_every_certificate_of_an_odd_shape_is_as_it_must_be(answers, authority, tmp_path):
    shapes = [trick for trick in issued() if not trick.what.startswith(("user: ", "group: "))]
    assert len(shapes) >= 10
    for trick in shapes:
        csr, _, answer = answers[trick.what]
        user, groups = trick.outcome.user, list(trick.outcome.groups)
        certificates.assert_good(answer["certificate"], authority, csr, user, groups, tmp_path)


def test_kubectl_reads_every_user_by_its_name(answers, tmp_path):
    users = {}
    for number, trick in enumerate(issued()):
        _, _, answer = answers[trick.what]
        if trick.what.startswith("user: "):
            path = tmp_path / f"{number}.kubeconfig"
            path.write_text(answer["kubeconfig"])
            users[f"{trick.outcome.user}@prod"] = (path, answer["certificate"])
    files = os.pathsep.join(str(path) for path, _ in users.values())
    view = kubectl("config", "view", "--raw", "-o", "json", cwd=tmp_path, KUBECONFIG=files).stdout
    seen = {user["name"]: user["user"]["client-certificate-data"] for user in json.loads(view)["users"]}
    assert set(seen) == set(users)
    for name, (_, certificate) in users.items():
        assert base64.b64decode(seen[name]).decode().startswith(certificate.strip()), name


def test_no_row_can_be_written_for_a_look_alike_or_for_what_is_no_name(wide):
    texts = [*name_tricks.LOOK_ALIKES.values()]
    texts += [text for text, _ in name_tricks.NOT_NAMES.values() if len(text) <= 254]
    for field in ("users", "groups"):
        rows = [WIDE[0] | {"name": f"row-{number}", field: [text]} for number, text in enumerate(texts)]
        path = wide.folder / "tricks.json"
        path.write_text(json.dumps({"policies": rows}))
        refused = wide.cli("policy", "apply", "-f", path, check=False)
        assert refused.returncode != 0
        named = [text for number, text in enumerate(texts) if f"policy `row-{number}`, {field}: " in refused.stderr]
        assert named == texts


def test_what_is_refused_is_recorded_with_the_names_that_could_be_read(wide, answers):
    refused = [answer for _, status, answer in answers.values() if status != 201]
    recorded = {row["request_id"]: row for row in wide.items(wide.auditor, "/v1/refusals")}
    assert {answer["request_id"] for answer in refused} <= set(recorded)
    for trick in name_tricks.TRICKS:
        _, status, answer = answers[trick.what]
        if status != 201:
            assert recorded[answer["request_id"]]["code"] == trick.outcome
    assert len([row for row in recorded.values() if row["user"] == name_tricks.MASTERS]) >= 1


# Names that come beside the CSR: in the query, and in JSON.


def texts_for_a_person() -> dict[str, tuple[str, int]]:
    """Each text with the status that it gets as on_behalf_of, where the CSR asks for `alice`."""
    found = {text: 400 for text, _ in name_tricks.NOT_NAMES.values() if len(text) <= 254}
    # The rows give to each person only its own name, so none of these is allowed; none breaks anything.
    found |= dict.fromkeys((*name_tricks.LOOK_ALIKES.values(), *name_tricks.WITHOUT_A_ROW.values()), 403)
    return found


def test_the_person_of_a_portal_is_held_to_the_same_rules(wide):
    client = Client(wide.port, wide.portal)
    for text, status in texts_for_a_person().items():
        body = json.dumps({"csr": csr("bob").decode(), "cluster": "prod", "on_behalf_of": text}).encode()
        seen, answer = client.sign(body)
        assert seen == status, (text, seen, answer)


def test_a_portal_gives_nobody_a_reserved_name_or_what_looks_like_one(wide):
    client = Client(wide.port, wide.portal)
    for text in (*name_tricks.LOOK_ALIKES.values(), *name_tricks.WITHOUT_A_ROW.values()):
        body = json.dumps({"csr": csr(text).decode(), "on_behalf_of": text}).encode()
        status, answer = client.sign(body)
        assert (status, answer["code"]) in ((422, "name_looks_reserved"), (403, "policy_denied")), (text, answer)
    for text in SPELLED_OUT:
        body = json.dumps({"csr": csr(text).decode(), "on_behalf_of": text}).encode()
        status, answer = client.sign(body)
        assert (status, answer["user"], answer["on_behalf_of"]) == (201, text, text)


ODD_TEXTS = ["Prod", "prod ", " prod", "рrod", "ｐｒｏｄ", "prod\u200b", "pro\u00add", "prod\0", "prod\n", "prod/../dev",
             "*", "p*"]  # fmt: skip


@pytest.mark.parametrize("place", ["query", "json"])
def test_a_cluster_is_named_exactly(wide, place):
    client = Client(wide.port, wide.alice)
    for text in ODD_TEXTS:
        if place == "query":
            status, answer = client.sign(csr("alice"), f"?cluster={quoted(text)}")
        else:
            status, answer = client.sign(json.dumps({"csr": csr("alice").decode(), "cluster": text}).encode())
        assert status == 400 and answer["code"] in ("cluster_unknown", "parameter_invalid"), (text, answer)


def test_a_key_path_is_a_bare_file_name(wide):
    client = Client(wide.port, wide.alice)
    for text in ["../alice.key", "/etc/passwd", "a/b", "a\\b", ".", "..", "-rf", "a b", "ключ.key", "a\u200b.key",
                 "a\0", "a\n", "~", "$HOME", "a:b", "ａ.key", "a" * 256]:  # fmt: skip
        status, answer = client.sign(csr("alice"), f"?key_path={quoted(text)}")
        assert (status, answer["code"]) == (400, "parameter_invalid"), (text, answer)
        status, answer = client.sign(json.dumps({"csr": csr("alice").decode(), "key_path": text}).encode())
        assert (status, answer["code"]) == (400, "parameter_invalid"), (text, answer)


def test_query_and_json_cannot_say_different_things(wide):
    client = Client(wide.port, wide.alice)
    body = json.dumps({"csr": csr("alice").decode(), "cluster": "prod"}).encode()
    for query in ["?cluster=prod", "?cl%75ster=prod", "?cluster=dev"]:
        status, answer = client.sign(body, query)
        assert (status, answer["code"]) == (400, "parameter_repeated")
    twice = json.dumps({"csr": csr("alice").decode()})[:-1] + ', "cluster": "prod", "cluster": "dev"}'
    assert client.sign(twice.encode())[0] == 400
    escaped = json.dumps({"csr": csr("alice").decode()})[:-1] + ', "cluster": "prod", "cl\\u0075ster": "dev"}'
    assert client.sign(escaped.encode())[0] == 400
    surrogate = json.dumps({"csr": csr("alice").decode()})[:-1] + ', "cluster": "prod\\ud800"}'
    assert client.sign(surrogate.encode())[0] == 400


def csr(user: str, *groups: str) -> bytes:
    names = [name_tricks.cn(user), *map(name_tricks.o, groups)]
    return requests.request_with_name(requests.new_key(), *names)


def quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())
