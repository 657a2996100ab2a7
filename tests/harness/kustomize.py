"""Manifests as kubectl builds them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
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


def overlay(
    folder: Path, base: Path, components: Sequence[str] = (), patches: Sequence[Manifest] = (), **more: Any
) -> Path:
    """Writes a kustomization on top of another one, with these components and whatever else it may hold."""

    def reached(target: Path) -> str:
        return os.path.relpath(target, folder)

    folder.mkdir()
    own = {
        "resources": [reached(base), *map(reached, more.pop("resources", []))],
        "components": [reached(COMPONENTS / name) for name in components],
        "patches": [{"patch": yaml.safe_dump(patch)} for patch in patches],
        **more,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return folder


def of_the_app(environment: dict[str, str]) -> Manifest:
    """A patch of the example: variables of the app's container."""
    variables = [{"name": name, "value": value} for name, value in environment.items()]
    template = {"spec": {"containers": [{"name": "chat", "env": variables}]}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "chat"}, "spec": {"template": template}}


def container(pod: Manifest, name: str) -> Manifest:
    """A container of a pod, sidecars included."""
    found = [each for each in [*pod.get("initContainers", []), *pod["containers"]] if each["name"] == name]
    assert len(found) == 1, f"{len(found)} containers are named {name}"
    return found[0]
