"""What tests of manifests have in common."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import yaml
from harness.kustomize import Built, Manifest
from harness.process import BINARIES, ROOT
from harness.signing import SECRET
from sdk_outcomes import command_of

MIB = 1 << 20
# A patch of the example: the Deployment says its namespace itself, as KEDA's component wants it.
IN_NAMESPACE: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "chat", "namespace": "chat"},
}


def faults(manifests: list[Manifest]) -> list[str]:
    """What the schemas and types of the APIs have against manifests, the operator's and KEDA's too."""
    told = json.dumps(manifests)
    done = subprocess.run(command_of("manifests.mjs"), input=told, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def base(directory: Path, *manifests: Manifest) -> Path:
    """A kustomization with these manifests."""
    folder = directory / "base"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (folder / "all.yaml").write_text(yaml.safe_dump_all(manifests))
    return folder


def deployment(name: str, labels: dict[str, str]) -> Manifest:
    """An app with containers, variables and settings of its own."""
    env = [{"name": "OWN", "value": "1"}]
    app = {"name": "django", "image": "web", "env": env, "securityContext": {"runAsUser": 1000}}
    pod = {
        "initContainers": [{"name": "migrate", "image": "web"}],
        "containers": [app, {"name": "cron", "image": "web"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }


def assert_checks(built: Built, directory: Path) -> None:
    """The ConfigMap's configuration is one that Siding takes."""
    config = directory / "siding.toml"
    config.write_text(built.one("ConfigMap", "siding")["data"]["siding.toml"])
    environment = {"SIDING_SECRET": SECRET, "OPENAI_API_KEY": "x"}
    command = [str(BINARIES / "siding"), "check", "--config", str(config)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def setting(key: str, text: str) -> str:
    """A key's value: the configuration's own, else the default."""
    reference = (ROOT / "config" / "reference.toml").read_text()
    found = re.search(rf"^{key} = (.+)$", text, re.MULTILINE) or re.search(rf"^{key} = (.+)$", reference, re.MULTILINE)
    assert found, key
    return str(json.loads(found[1]) if found[1][0] in '"[' else found[1])


def section(text: str, name: str) -> str:
    """One section of a configuration over the same of the defaults."""
    reference = (ROOT / "config" / "reference.toml").read_text()
    parts = [re.search(rf"^\[{name}\]\n(.*?)(?=^\[|\Z)", each, re.MULTILINE | re.DOTALL) for each in (text, reference)]
    return "\n".join(part[1] for part in parts if part)


def seconds(key: str, text: str) -> int:
    """A duration in whole seconds."""
    value = setting(key, text)
    assert re.fullmatch(r"\d+s", value), value
    return int(value[:-1])


def bytes_of(text: str) -> int:
    """`512MiB` as Siding writes it, `1Gi` as Kubernetes does."""
    number, unit = re.fullmatch(r"(\d+)([MG])i?B?", text).groups()
    return int(number) * {"M": MIB, "G": 1024 * MIB}[unit]
