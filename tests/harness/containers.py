"""Podman and buildah with a state of their own in a folder: images, containers and volumes that nobody else sees. As
root, without systemd and without a network."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

STORAGE = """\
[storage]
driver = "overlay"
runroot = "{folder}/run"
graphroot = "{folder}/graph"
"""
# Limits below the caller's own, which need no privilege; control groups without systemd.
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
tmp_dir = "{folder}/tmp"
lock_type = "file"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
# crun does not work where both versions of control groups are mounted.
PODMAN = ("podman", "--runtime", "runc")
PATIENCE_SECONDS = 300.0


class ContainersFailed(Exception):
    """A command of podman or buildah failed."""


class Containers:
    """A folder with its own images, containers and volumes, until `remove` is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = {"CONTAINERS_STORAGE_CONF": ("storage.conf", STORAGE), "CONTAINERS_CONF": ("own.conf", CONTAINERS)}
        self._environment = {**os.environ, **{name: str(folder / file) for name, (file, _) in settings.items()}}
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in settings.values():
            (folder / file).write_text(text.format(folder=folder))

    def remove(self) -> None:
        """Kills what runs and removes everything."""
        self.podman("pod", "rm", "--force", "--all", "--time", "0")
        # It knows which mounts to undo, which removing files does not.
        self.podman("system", "reset", "--force")
        shutil.rmtree(self.folder, ignore_errors=True)

    def podman(self, *arguments: str, text: str | None = None) -> str:
        """Runs a command, which must succeed, and returns what it printed. `text` is its standard input."""
        return self._run([*PODMAN, *arguments], text)

    def add_secret(self, name: str, values: dict[str, str]) -> None:
        """What pods know as a Kubernetes Secret."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.podman("secret", "create", name, "-", text=json.dumps(encoded))

    def inspect(self, name: str) -> dict[str, Any]:
        """What podman knows of a container."""
        return json.loads(self.podman("container", "inspect", name))[0]

    def build(self, dockerfile: Path, tag: str, context: Path, stages: dict[str, str] | None = None) -> None:
        """
        Builds an image from the last stage of a Dockerfile. `stages` are stages that are not built, and what is there
        in their place: a folder, or `container-image://NAME`.
        """
        given = [f"--build-context={name}={value}" for name, value in (stages or {}).items()]
        command = ["buildah", "build", "--quiet", "--isolation=chroot", "--layers=false", *given]
        self._run([*command, f"--file={dockerfile}", f"--tag={tag}", str(context)], None)

    def _run(self, command: list[str], text: str | None) -> str:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=self._environment, timeout=PATIENCE_SECONDS
        )
        if done.returncode:
            raise ContainersFailed(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
        return done.stdout
