"""Manifests and chart: what Kubernetes takes, with the guide's names, and both the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.manifests import CHART, KUBERNETES, Manifest, built, check, named, pods, templated
from harness import kubetools
from harness.programs import Graviton

OVERLAYS = ("base", "overlays/production", "overlays/single-node", "sidecar")
SECRETS = (
    "secrets.create=true", "secrets.postgres.jdbcUrl=jdbc:postgresql://db/g", "secrets.postgres.username=g",
    "secrets.postgres.password=p", "secrets.aws.accessKeyId=k", "secrets.aws.secretAccessKey=s",
)  # fmt: skip
CHARTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "everything": (*SECRETS, "serviceMonitor.enabled=true", "storage.bucket=b", "storage.region=r"),
    "least": (
        "autoscaling.enabled=false", "networkPolicy.enabled=false", "backup.enabled=false", "replicas=1",
        "persistence.accessModes={ReadWriteOnce}", "service.type=ClusterIP",
    ),
}  # fmt: skip


@pytest.mark.parametrize("folder", OVERLAYS)
def test_kubernetes_takes_the_manifests(folder: str) -> None:
    check(built(folder))


@pytest.mark.parametrize("settings", CHARTS.values(), ids=CHARTS)
def test_kubernetes_takes_what_the_chart_makes(settings: tuple[str, ...]) -> None:
    check(templated(*settings))


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    assert "0 chart(s) failed" in kubetools.run("helm", "lint", "--strict", CHART)


def test_a_key_that_nobody_knows_is_found() -> None:
    """That the check checks."""
    wrong = yaml.safe_load((KUBERNETES / "base" / "deployment.yaml").read_text())
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(Exception, match="livenesProbe"):
        check([wrong])


@pytest.mark.parametrize("way", ["kustomize", "helm"])
def test_the_names_are_the_guides(way: str) -> None:
    made = built("overlays/production") if way == "kustomize" else templated()
    deployment = named(made, "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        "http": 8080,
        "grpc": 50051,
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    ports = {port["port"]: port["targetPort"] for port in named(made, "Service")["spec"]["ports"]}
    assert ports == {80: 8080, 50051: 50051}
    named(made, "PersistentVolumeClaim", "graviton-pvc")
    named(made, "NetworkPolicy", "graviton-policy")
    scaler = named(made, "HorizontalPodAutoscaler", "graviton-hpa")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 10)
    secrets = {
        variable["name"]: (source["name"], source["key"])
        for variable in container["env"]
        if (source := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    assert secrets == {
        "PG_JDBC_URL": ("graviton-secrets", "pg-jdbc-url"),
        "PG_USERNAME": ("graviton-secrets", "pg-username"),
        "PG_PASSWORD": ("graviton-secrets", "pg-password"),
        "AWS_ACCESS_KEY_ID": ("aws-credentials", "access-key-id"),
        "AWS_SECRET_ACCESS_KEY": ("aws-credentials", "secret-access-key"),
    }


def test_the_example_of_secrets_has_every_key() -> None:
    example = list(yaml.safe_load_all((KUBERNETES / "secrets.example.yaml").read_text()))
    check(example)
    there = {(one["metadata"]["name"], key) for one in example for key in one["stringData"]}
    wanted = {
        (source["name"], source["key"])
        for folder in OVERLAYS
        for pod in pods(built(folder))
        for container in pod["containers"]
        for variable in container.get("env", [])
        if (source := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    assert wanted == there


def test_secrets_of_the_chart_have_the_keys() -> None:
    made = templated(*SECRETS)
    assert set(named(made, "Secret", "graviton-secrets")["stringData"]) == {
        "pg-jdbc-url", "pg-username", "pg-password",
    }  # fmt: skip
    assert set(named(made, "Secret", "aws-credentials")["stringData"]) == {
        "access-key-id",
        "secret-access-key",
    }


def essence(manifest: Manifest) -> Any:
    """Without labels, annotations and what one of the two ways alone says."""
    kind, spec = manifest["kind"], yaml.safe_load(yaml.safe_dump(manifest["spec"]))
    template = spec.get("template", {})
    template.pop("metadata", None)
    for container in template.get("spec", {}).get("containers", []):
        container.pop("imagePullPolicy", None)
        container["env"] = [
            one for one in container["env"] if kind != "Deployment" or one["name"] != "AWS_REGION"
        ]
        container.pop("envFrom", None)
    for volume in template.get("spec", {}).get("volumes", []):
        if "configMap" in volume:  # kustomize adds a hash of the contents
            volume["configMap"]["name"] = volume["configMap"]["name"][: len("graviton-config")]
    return spec


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Deployment", "graviton"), ("Service", "graviton"), ("PersistentVolumeClaim", "graviton-pvc"),
        ("NetworkPolicy", "graviton-policy"), ("HorizontalPodAutoscaler", "graviton-hpa"),
        ("PodDisruptionBudget", "graviton"), ("ServiceMonitor", "graviton"), ("CronJob", "graviton-backup"),
        ("PersistentVolumeClaim", "graviton-backup"),
    ],
)  # fmt: skip
def test_chart_and_manifests_are_the_same(kind: str, name: str) -> None:
    chart = named(templated("serviceMonitor.enabled=true", "storage.region=us-east-1"), kind, name)
    assert essence(chart) == essence(named(built("overlays/production"), kind, name))


@pytest.mark.parametrize("way", ["kustomize", "helm"])
def test_the_configuration_is_in_order(graviton: Graviton, scratch: Path, way: str) -> None:
    made = built("base") if way == "kustomize" else templated()
    text = next(
        one["data"]["graviton.conf"]
        for one in made
        if one["kind"] == "ConfigMap" and "graviton.conf" in one["data"]
    )
    file = scratch / "graviton.conf"
    file.write_text(text)
    variables = {"PG_JDBC_URL": "jdbc:postgresql://db/g", "PG_USERNAME": "g", "PG_PASSWORD": "p"}
    assert b"in order" in graviton.run("config", "check", file, **variables).stdout


def allowed(rules: list[Manifest], side: str) -> set[tuple[str, int]]:
    """(who, port); who by a label, or "anywhere"."""
    found = set()
    for rule in rules:
        for peer in rule[side]:
            labels = peer.get("podSelector", {}).get("matchLabels", {"": "anywhere"})
            found |= {(next(iter(labels.values())), port["port"]) for port in rule["ports"]}
    return found


def test_the_policy_lets_through_what_is_needed() -> None:
    policy = named(built("base"), "NetworkPolicy", "graviton-policy")["spec"]
    assert allowed(policy["ingress"], "from") == {
        ("frontend", 8080), ("frontend", 50051), ("frontend", 8081), ("prometheus", 8080),
        ("graviton", 50051),
    }  # fmt: skip
    assert allowed(policy["egress"], "to") == {
        ("kube-dns", 53), ("postgres", 5432), ("graviton", 50051), ("anywhere", 443),
    }  # fmt: skip


def test_pods_are_confined() -> None:
    for folder in OVERLAYS[:3]:
        for pod in pods(built(folder)):
            assert pod["securityContext"]["runAsNonRoot"]
            for container in pod["containers"]:
                assert not container["securityContext"]["allowPrivilegeEscalation"]
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", ["files-privileged", "files-unprivileged"])
def test_a_mount_is_a_native_sidecar_that_drains_in_time(name: str) -> None:
    pod = named(built("sidecar"), "Deployment", name)["spec"]["template"]["spec"]
    mount = next(one for one in pod["initContainers"] if one["name"] == "mount")
    said = " ".join(mount["args"])
    assert mount["restartPolicy"] == "Always"
    assert "fuseblk" in mount["startupProbe"]["exec"]["command"][-1]
    drain, waits = (int(re.findall(rf"[ ,]{name}=(\d+)s", said)[0]) for name in ("drain-timeout", "timeout"))
    assert drain + waits < pod["terminationGracePeriodSeconds"]
    program = pod["containers"][0]["volumeMounts"][0]
    assert program["mountPropagation"] == "HostToContainer"
    privileged = [one for one in pod["initContainers"] if one["securityContext"].get("privileged")]
    assert [one["name"] for one in privileged] == [{"files-privileged": "mount"}.get(name, "mounter")]
    (shared,) = [one for one in privileged[0]["volumeMounts"] if one["name"] == "graviton"]
    assert shared["mountPropagation"] == "Bidirectional"
    if name == "files-unprivileged":
        assert mount["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not any(one["name"] == "token" for one in privileged[0]["volumeMounts"])
