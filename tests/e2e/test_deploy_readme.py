"""deploy/README.md, followed as a newcomer follows it, as far as no cluster is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import yaml
from harness.kustomize import COMPONENTS, EXAMPLE, Built, container
from harness.process import ROOT
from manifests import assert_checks, faults, setting

README = ROOT / "deploy" / "README.md"
BLOCK = re.compile(r"^```(?:yaml|toml)\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^    (kubectl (?:.*\\\n)*.*)", re.MULTILINE)


def test_a_newcomer_who_follows_the_readme_has_a_deployment_with_siding(tmp_path):
    written = follow_readme(tmp_path)
    pod = written.pod
    assert container(pod, "siding")["restartPolicy"] == "Always"
    assert container(pod, "siding")["image"] == "registry.example.com/siding:0.1.0"
    app = container(pod, "django")
    assert [each["name"] for each in app["env"]] == ["SIDING_SECRET"]
    assert app["lifecycle"]["preStop"]["httpGet"]["path"] == "/-/drained"
    assert written.one("Service")["spec"]["ports"][0]["targetPort"] == "siding"
    text = written.one("ConfigMap", "siding")["data"]["siding.toml"]
    assert app["args"][app["args"].index("--workers") + 1] == setting("workers", text)
    assert app["args"][app["args"].index("--bind") + 1] == setting("address", text)
    assert_checks(written, tmp_path)
    assert faults(list(written)) == []


def follow_readme(directory: Path) -> Built:
    """Writes its files into a copy of what the repository has, and runs its first command that needs no cluster."""
    for part in ("deploy", "dashboards"):
        shutil.copytree(ROOT / part, directory / part)
    files = dict(BLOCK.findall(README.read_text()))
    assert set(files) == {"deployment.yaml", "service.yaml", "siding.toml", "kustomization.yaml"}
    mine = directory / "deploy" / "kubernetes" / "mine"
    mine.mkdir()
    for name, text in files.items():
        (mine / name).write_text(text)
    first = COMMAND.findall(README.read_text())[0]
    assert first == "kubectl kustomize deploy/kubernetes/mine"
    done = subprocess.run(first.split(), cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Built(done.stdout)


def test_the_readmes_secret_is_the_one_that_the_manifests_name(tmp_path):
    created = next(each for each in COMMAND.findall(README.read_text()) if "create secret" in each)
    command = ["bash", "-c", f"{created} --dry-run=client --output=yaml"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    secret, written = yaml.safe_load(done.stdout), follow_readme(tmp_path)
    assert secret["metadata"]["namespace"] == written.one("Deployment")["metadata"]["namespace"]
    assert container(written.pod, "siding")["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    keys = set(re.findall(r'_env = "(\w+)"', written.one("ConfigMap", "siding")["data"]["siding.toml"]))
    assert set(secret["data"]) == {"SIDING_SECRET", *keys}


def test_the_readme_names_what_is_there():
    text = README.read_text()
    options = text[text.index("## Options") : text.index("### ")]
    named = set(re.findall(r"^\| `([\w-]+)` \|", options, re.MULTILINE))
    assert named == {path.name for path in COMPONENTS.iterdir()} - {"sidecar"}
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (README.parent / link).exists(), link
    described = (EXAMPLE / "kustomization.yaml").read_text()
    assert all(f"../components/{path.name}" in described for path in COMPONENTS.iterdir())
