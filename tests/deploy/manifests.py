"""The manifests, as kubectl and helm make them."""

from __future__ import annotations

import functools
from typing import Any

import kubernetes_validate
import yaml

from harness import kubetools
from harness.programs import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "graviton"
CUSTOM = {"ServiceMonitor"}
"""Their schemas are of the operator that defines them."""
VERSIONS = ("1.29", "1.36")
"""The first with native sidecars on by default, and the newest that kubectl here is of."""

Manifest = dict[str, Any]


@functools.cache
def built(folder: str) -> tuple[Manifest, ...]:
    return tuple(yaml.safe_load_all(kubetools.run("kubectl", "kustomize", KUBERNETES / folder)))


def templated(*settings: str) -> list[Manifest]:
    sets = [word for setting in settings for word in ("--set", setting)]
    text = kubetools.run("helm", "template", "graviton", CHART, "--namespace", "graviton", *sets)
    return [one for one in yaml.safe_load_all(text) if one]


def check(manifests: list[Manifest] | tuple[Manifest, ...]) -> None:
    """Strictly: a key that Kubernetes does not know is an error."""
    for one in manifests:
        if one["kind"] not in CUSTOM:
            for version in VERSIONS:
                kubernetes_validate.validate(one, version, strict=True)


def named(manifests: list[Manifest] | tuple[Manifest, ...], kind: str, name: str = "graviton") -> Manifest:
    return next(one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name)


def pods(manifests: list[Manifest] | tuple[Manifest, ...]) -> list[Manifest]:
    """The pod specifications of everything that makes pods."""
    found = []
    for one in manifests:
        spec = one.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found.append(spec["template"]["spec"])
    return found
