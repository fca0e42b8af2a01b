"""The README is run, not believed: its blocks in order, in one shell, as a reader pastes them."""

import json
import re
import stat

import pytest
import yaml
from kubectl import KUBECTL
from server import REPOSITORY, free_port
from shell_blocks import Block, Shell, marked, unmarked
from test_quickstart import running

README = REPOSITORY / "README.md"
PRINTED_ADDRESS = "127.0.0.1:8080"


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> tuple[dict[str, str], Shell]:
    """What each block printed, and the shell whose folder holds what they left."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    shell = Shell(tmp_path_factory.mktemp("readme"), quickstart_options=f"--listen {address}", programs=(KUBECTL,))
    first, *rest = marked(README)
    assert first.name == "quickstart"
    with running(shell, first.text, f"http://{address}"):
        ran = shell.run(one_script(rest).replace(PRINTED_ADDRESS, address))
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return by_block(ran.stdout), shell


def one_script(blocks: list[Block]) -> str:
    return "\n".join(f"echo '== {block.name}'\n{block.text}" for block in blocks)


def by_block(printed: str) -> dict[str, str]:
    parts = re.split(r"^== (\S+)\n", printed, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def json_documents(text: str) -> list:
    """Several in a row, with or without a newline between them."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def test_every_block_is_run_or_says_why_not():
    assert unmarked(README) == []
    assert len(marked(README)) >= 9


def test_the_session_gives_a_kubeconfig(session):
    printed, shell = session
    assert printed["certificate"] == "", "a refusal would be printed"
    config = yaml.safe_load((shell.folder / "alice@quickstart.kubeconfig").read_bytes())
    assert config["current-context"] == "alice@quickstart"
    assert "alice@quickstart" in printed["look"] and printed["look"].startswith("#")


def test_a_refusal_names_the_claim_and_nothing_else(session):
    problem = json.loads(session[0]["refused"])
    assert problem["code"] == "policy_denied"
    assert [violation["value"] for violation in problem["violations"]] == ["accounting"]


def test_the_auditor_sees_both(session):
    certificates, refusals = json_documents(session[0]["audit"])
    assert {item["user"] for item in certificates["items"]} == {"alice"}
    assert refusals["items"][0]["groups"] == ["dev", "accounting"]


def test_merging_gives_a_private_file_with_the_new_credential(session):
    merged = session[1].folder / ".kube/config"
    assert stat.S_IMODE(merged.stat().st_mode) == 0o600
    assert yaml.safe_load(merged.read_bytes())["users"][0]["name"] == "alice@quickstart"


def test_the_sample_policy_is_the_one_in_force(session):
    assert "alice" in session[0]["policy"] or "developers" in session[0]["policy"]


def test_a_stolen_laptops_certificates_are_found(session):
    first = session[0]["find"].splitlines()[0].split("\t")
    assert re.fullmatch("[0-9a-f]{32}", first[0]) and first[1] == "alice" and first[3].startswith("X509SHA256=")


def test_the_caller_of_a_stolen_laptop_is_denied(session):
    assert "stolen-laptop" in session[0]["deny"]
