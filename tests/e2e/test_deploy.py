"""The files under deploy/: what can be judged without a running systemd and without a cluster."""

import re
import subprocess
from pathlib import Path

import tomllib
import yaml
from server import BINARY, REPOSITORY, countersign, run

DEPLOY = REPOSITORY / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def documents() -> list[dict]:
    return [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str) -> dict:
    (found,) = [document for document in documents() if document["kind"] == kind]
    return found


def test_every_manifest_names_what_it_is_and_lies_in_one_namespace():
    for document in documents():
        assert document["apiVersion"] and document["kind"] and document["metadata"]["name"]
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "countersign"


def test_pods_are_within_podsecurity_restricted():
    labels = of_kind("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {"configMap", "secret"}
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not any("hostPort" in port for port in container["ports"])


def test_the_rules_for_keys_of_callers_are_comments_that_become_rules():
    text = (DEPLOY / "kubernetes/service.yaml").read_text()
    uncommented = re.sub(r"^    # (?=- |  )", "    ", text, flags=re.MULTILINE)
    for manifest, ports in ((text, [53, 53, 5432]), (uncommented, [53, 53, 5432, 443, 6443])):
        (policy,) = [one for one in yaml.safe_load_all(manifest) if one["kind"] == "NetworkPolicy"]
        egress = policy["spec"]["egress"]
        assert [port["port"] for rule in egress for port in rule["ports"]] == ports
        assert all(rule["to"] for rule in egress)


def test_keys_are_mounted_as_the_service_takes_them():
    deployment = of_kind("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    secrets = {one["metadata"]["name"] for one in documents() if one["kind"] == "Secret"}
    for volume in pod["volumes"]:
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440 and volume["secret"]["secretName"] in secrets
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    (container,) = pod["containers"]
    assert all("subPath" not in mount for mount in container["volumeMounts"])


def test_labels_ports_and_probes_fit_together():
    deployment, service = of_kind("Deployment"), of_kind("Service")
    template = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys()
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] in ports and asked["scheme"] == "HTTPS" and asked["path"] in ("/livez", "/readyz")
    config = tomllib.loads(of_kind("ConfigMap")["data"]["countersign.toml"])
    assert config["listen"].endswith(f":{ports['https']}") and config["metrics_listen"].endswith(f":{ports['metrics']}")


def test_the_configuration_has_no_key_that_there_is_not(tmp_path):
    """It is read to its end: what it complains of is the first file that is missing here."""
    text = of_kind("ConfigMap")["data"]["countersign.toml"]
    (tmp_path / "countersign.toml").write_text(text)
    ran = countersign("--config", tmp_path / "countersign.toml", "config", "check", cwd=tmp_path, check=False)
    assert ran.returncode == 1 and "/run/secrets/" in ran.stderr, ran.stderr
    mounts = of_kind("Deployment")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    folders = {mount["mountPath"] for mount in mounts}
    for path in re.findall(r'"(/run/secrets/[^"]+)"', text):
        assert str(Path(path).parent) in folders, path


def test_the_unit_is_hardened_and_names_what_there_is(tmp_path):
    unit = (DEPLOY / "countersign.service").read_text()
    for line in unit.splitlines():
        assert not line or line[0] in "#[" or "=" in line, line
    for command in re.findall(r"^Exec\w+=/usr/local/bin/countersign (.*)$", unit, re.MULTILINE):
        ran = run([BINARY, *command.split(), "--help"], tmp_path, {})
        assert ran.returncode == 0, command
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", DEPLOY / "countersign.service"]
    judged = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout[-400:]
