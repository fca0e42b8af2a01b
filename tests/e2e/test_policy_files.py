"""Policies as files: tested, looked over, compared, planned, applied under a condition, put back."""

import json

import yaml
from conftest import Known
from curl import curl
from server import REPOSITORY, countersign
from test_policy import allow, csr, deny

STOP = deny("stop", users=["mallory"], callers=["token:*"], hold=True)


def written(server: Known, name: str, *rows: dict):
    path = server.folder / name
    path.write_text(yaml.safe_dump({"policies": list(rows)}))
    return path


def cases(folder, *items: dict, **top):
    path = folder / "cases.yaml"
    path.write_text(yaml.safe_dump({"clusters": {"prod": {}}, "cases": list(items)} | top))
    return path


def test_cases_need_no_server_no_database_and_no_configuration(tmp_path):
    ran = countersign("policy", "test", "-f", REPOSITORY / "examples/policy-cases.yaml", cwd=tmp_path)
    assert ran.stdout.startswith("ok\talice may have dev for a working day\n")
    assert "6 cases passed" in ran.stderr
    assert not any(tmp_path.iterdir()), "nothing is made"


def test_a_case_that_fails_says_what_came_and_why(tmp_path):
    policies = tmp_path / "policies.yaml"
    policies.write_text(yaml.safe_dump({"policies": [allow("people", groups=["dev"], max_ttl="8h")]}))
    good = {"caller": "token:alice", "user": "alice", "groups": ["dev"], "expect": "allow"}
    bad = {"name": "no admins", "caller": "token:alice", "user": "alice", "groups": ["admins"], "expect": "allow"}
    long = good | {"ttl": "12h", "lifetime": "12h"}
    ran = countersign("policy", "test", "-q", "-p", policies, "-f", cases(tmp_path, good, bad, long), cwd=tmp_path, check=False)
    assert ran.returncode == 1
    assert ran.stderr.strip().endswith("2 of 3 cases failed")
    assert ran.stdout.startswith("FAIL\tno admins\n\t- allow\n\t+ deny\n\t  group `admins`: no policy gives")
    assert "\t- allow for 12h\n\t+ allow for 8h\n\t  the lifetime was cut from 12h to 8h" in ran.stdout
    assert not any(line.startswith("ok") for line in ran.stdout.splitlines())


def test_cases_are_decided_under_the_clusters_of_the_configuration(make_server):
    server = make_server(start=False)
    path = cases(server.folder, {"caller": "token:alice", "user": "alice", "expect": "allow"}, clusters=None)
    path.write_text(path.read_text().replace("clusters: null\n", ""))
    # No file that the configuration names is read.
    server.clusters[0].authority.key.rename(server.folder / "elsewhere")
    try:
        server.cli("policy", "test", "-p", written(server, "p.yaml", allow()), "-f", path)
    finally:
        (server.folder / "elsewhere").rename(server.clusters[0].authority.key)


def test_what_is_hardly_meant_is_found(make_server):
    server = make_server(start=False)
    sound = written(server, "sound.yaml", allow(users=["{caller}"], groups=["dev"]))
    assert server.cli("policy", "lint", "-f", sound).stdout == ""
    wide = written(server, "wide.yaml", allow(users=["{caller}"], groups=["on*"]), deny("never", clusters=["staging-*"]))
    ran = server.cli("policy", "lint", "-f", wide, check=False)
    assert ran.returncode == 1 and ran.stdout.startswith("warning\tnever\tclusters\t")
    everything = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    bindings = server.folder / "rbac.json"
    bindings.write_text(json.dumps({"kind": "List", "items": [
        {"kind": "ClusterRole", "metadata": {"name": "cluster-admin"}, "rules": everything},
        {"kind": "ClusterRoleBinding", "metadata": {"name": "emergency"}, "subjects": [{"kind": "Group", "name": "oncall"}],
         "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}},
    ]}))  # fmt: skip
    ran = server.cli("policy", "lint", "-f", wide, "--bindings", bindings, "--cluster", "prod", check=False)
    assert "`on*` reaches the group `oncall`, whom the binding `emergency` to `cluster-admin`" in ran.stdout
    assert len(ran.stdout.splitlines()) == 2


def test_a_file_is_compared_and_applied_at_its_revision_only(make_server):
    server = make_server(rows=(allow("dev", max_ttl="8h"),), start=False)
    same = written(server, "same.yaml", allow("dev", max_ttl="8h"))
    other = written(server, "other.yaml", allow("dev", max_ttl="4h"), allow("new"))
    assert server.cli("policy", "diff", "-f", same).stdout == ""
    ran = server.cli("policy", "diff", "-f", other, check=False)
    assert ran.returncode == 1
    assert ran.stdout == 'added\tnew\nchanged\tdev\tmax_ttl\t"8h" -> "4h"\n'
    ran = server.cli("policy", "apply", "-f", other, "--revision", "0", check=False)
    assert ran.returncode == 1 and "nothing was changed" in ran.stderr and "revision 1" in ran.stderr
    server.cli("policy", "apply", "-f", other, "--revision", "1")
    assert server.cli("policy", "diff", "-f", other).returncode == 0


def test_an_emergency_deny_outlives_the_next_run_of_a_pipeline(make_server):
    server = make_server(rows=(allow(), STOP))
    pipeline = written(server, "pipeline.yaml", allow())
    ran = server.cli("policy", "apply", "-f", pipeline, check=False)
    assert ran.returncode == 1 and "`stop`" in ran.stderr and "--release stop" in ran.stderr
    answer = curl("-X", "PUT", "-H", f"@{server.admin}", "-H", "If-Match: *", "--data-binary", f"@{pipeline}",
                  server.address("/v1/policies"))  # fmt: skip
    assert "`stop`" in answer.problem(409, "policy_held")["detail"]
    ran = server.cli("policy", "apply", "-f", pipeline, "--release", "stp", check=False)
    assert ran.returncode == 1 and "`stp`" in ran.stderr
    assert "removed\tstop" in server.cli("policy", "apply", "-f", pipeline, "--release", "stop").stdout


def test_an_old_revision_is_put_back_if_it_is_still_valid(make_server):
    server = make_server(rows=(allow("one"),), start=False)
    server.apply(allow("two"), STOP)
    assert server.cli("policy", "rollback", "1", check=False).returncode == 1, "stop is held"
    assert server.cli("policy", "rollback", "9", check=False).returncode == 1
    ran = server.cli("policy", "rollback", "1", "--release", "stop")
    assert ran.stdout == "added\tone\nremoved\tstop\nremoved\ttwo\n"
    lines = [line.split("\t") for line in server.cli("policy", "history").stdout.splitlines()]
    assert [line[0] for line in lines] == ["3", "2", "1"]
    assert lines[0][3] == "added one; removed stop, two; as revision 1"
    assert all(line[2].startswith("cli:") for line in lines)
    assert "two" in server.cli("policy", "list", "--revision", "2").stdout
    # Written for another configuration, revision 3 is one that nobody could write any more.
    server.configuration.write_text(server.configuration.read_text().replace('"prod"', '"other"'))
    ran = server.cli("policy", "rollback", "3", check=False)
    assert ran.returncode == 1 and "there is no cluster `prod`" in ran.stderr


def test_a_plan_and_a_list_show_who_keeps_what_is_no_longer_given(make_server):
    server = make_server(rows=(allow("people", groups=["dev", "team-x"]),))
    server.sign(server.alice, csr("alice", "team-x")).issued()
    server.sign(server.alice, csr("alice", "dev")).issued()
    server.sign(server.alice, csr("alice", "ops")).problem(403)
    narrow = written(server, "narrow.yaml", allow("people", groups=["dev", "ops"]))
    plan = json.loads(server.cli("policy", "plan", "-o", "json", "-f", narrow).stdout)
    answer = curl("-H", f"@{server.auditor}", "--data-binary", f"@{narrow}", server.address("/v1/policies/plan"))
    assert answer.status == 200 and answer.json() == plan, "the command says what the API says"
    assert [one["groups"] for one in plan["certificates"]["items"]] == [["team-x"]]
    flips = {tuple(flip["groups"]): (flip["was"]["effect"], flip["would_be"]["effect"]) for flip in plan["replay"]["items"]}
    assert flips == {("team-x",): ("allow", "deny"), ("ops",): ("deny", "allow")}
    text = server.cli("policy", "plan", "-f", narrow).stdout
    assert "2 live certificates, 1 no longer allowed" in text
    assert "allowed -> refused\t1 times\talice [team-x] on prod, asked for by token:alice" in text

    drifted = ("audit", "certificates", "--drifted", "-o", "json")
    assert json.loads(server.cli(*drifted).stdout)["items"] == []
    server.cli("policy", "apply", "-f", narrow)
    [one] = json.loads(server.cli(*drifted).stdout)["items"]
    assert one["groups"] == ["team-x"]
    assert server.items(server.auditor, "/v1/certificates", drifted="true") == [one]
    token = server.folder / "auditor.header"
    asked = server.cli(*drifted, "--server", server.url, "--token-file", token)
    assert json.loads(asked.stdout)["items"] == [one]


def test_a_row_is_edited_by_curl(make_server):
    server = make_server()
    new = written(server, "row.yaml")
    new.write_text(yaml.safe_dump(allow("new", users=["bob"])))
    put = ("-X", "PUT", "-H", f"@{server.admin}", "--data-binary", f"@{new}", server.address("/v1/policies/new"))
    curl(*put).problem(428, "if_match_required")
    assert curl(*put, "-H", "If-None-Match: *").status == 201
    curl(*put, "-H", "If-None-Match: *").problem(412, "policy_exists")
    answer = server.get(server.admin, "/v1/policies/new")
    tag = answer.headers["etag"]
    assert answer.json() == yaml.safe_load(new.read_text())
    server.cli("policy", "apply", "-f", written(server, "all.yaml", allow(), allow("new", users=["carol"])))
    curl(*put, "-H", f"If-Match: {tag}").problem(412, "revision_mismatch")
    gone = curl("-X", "DELETE", "-H", f"@{server.admin}", "-H", "If-Match: *", server.address("/v1/policies/new"))
    assert gone.json()["removed"] == ["new"]
    assert server.get(server.admin, "/v1/policies/new").status == 404
