"""Manifests as kubectl builds them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from harness.process import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPONENTS = KUBERNETES / "components"
EXAMPLE = KUBERNETES / "example"

Manifest = dict[str, Any]


class KustomizeFailed(Exception):
    """A kustomization cannot be built."""


@dataclass
class Built:
    """What a kustomization gives."""

    text: str

    def __iter__(self) -> Iterator[Manifest]:
        return iter(yaml.safe_load_all(self.text))

    def one(self, kind: str, name: str | None = None) -> Manifest:
        """The only one of its kind, or of that name."""
        found = [each for each in self if each["kind"] == kind and name in (None, each["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of kind {kind} (name {name}) in\n{self.text}"
        return found[0]

    @property
    def pod(self) -> Manifest:
        """The only Deployment's pod, its specification."""
        return self.one("Deployment")["spec"]["template"]["spec"]


def build(folder: Path) -> Built:
    """Builds a kustomization."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise KustomizeFailed(done.stderr)
    return Built(done.stdout)


def container(pod: Manifest, name: str) -> Manifest:
    """A container of a pod, sidecars included."""
    found = [each for each in [*pod.get("initContainers", []), *pod["containers"]] if each["name"] == name]
    assert len(found) == 1, f"{len(found)} containers are named {name}"
    return found[0]
