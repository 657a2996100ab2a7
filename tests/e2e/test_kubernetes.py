"""deploy/kubernetes: what kubectl builds is what Kubernetes' APIs take, and its numbers agree with one another and with
Siding. test_pod.py runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from harness.kustomize import COMPONENTS, EXAMPLE, Built, build, container, of_the_app, overlay
from harness.pod_security import violations
from harness.process import ROOT
from manifests import IN_NAMESPACE, MIB, assert_checks, base, bytes_of, deployment, faults, seconds, section, setting

# The oldest Kubernetes that knows sidecars without a feature gate, and the newest whose schemas there are.
KUBERNETES = ["1.29", "1.37"]
OWN_GROUPS = ("apps/", "autoscaling/", "networking.k8s.io/", "v1")
EVERYTHING = ("unix-socket", "shared-processes", "scrape-annotations", "pod-monitor", "prometheus-rules", "keda")
VARIANTS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    **{path.name: (path.name,) for path in sorted(COMPONENTS.iterdir()) if path.name != "sidecar"},
    "everything": EVERYTHING,
}
# What gunicorn takes to stop at the most, by its default graceful_timeout; and what is left for the kubelet.
GUNICORN_SECONDS = 30
ROOM_SECONDS = 5
# What Siding needs besides what it is told to hold.
OWN_MEMORY = 128 * MIB


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., Built]:
    """The example with further components."""

    def built(*components: str, **more: Any) -> Built:
        # network-policy is part of the example.
        added = [name for name in components if name != "network-policy"]
        patches = [IN_NAMESPACE] if {"hpa", "keda"} & set(components) else []
        return build(overlay(tmp_path / "overlay", EXAMPLE, added, patches, **more))

    return built


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_is_what_the_oldest_and_the_newest_kubernetes_take(name, variant):
    own = [manifest for manifest in variant(*VARIANTS[name]) if manifest["apiVersion"].startswith(OWN_GROUPS)]
    assert {"Deployment", "Service", "ConfigMap"} <= {manifest["kind"] for manifest in own}
    for manifest in own:
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_is_let_into_a_restricted_namespace(name, variant):
    assert violations(variant(*VARIANTS[name]).pod) == []


def test_manifests_have_no_field_that_their_apis_do_not_know(variant, tmp_path):
    boards = ROOT / "dashboards"
    everything = list(variant(*EVERYTHING, resources=[boards]))
    scaled = list(build(overlay(tmp_path / "hpa", EXAMPLE, ["hpa"], [IN_NAMESPACE])))
    kinds = {manifest["kind"] for manifest in [*everything, *scaled]}
    assert {"PodMonitor", "PrometheusRule", "ScaledObject", "HorizontalPodAutoscaler", "NetworkPolicy"} <= kinds
    assert faults(everything + scaled) == []


def test_the_check_finds_what_an_api_does_not_know(variant):
    built = variant("pod-monitor", "keda")
    monitor, scaler, deployment = built.one("PodMonitor"), built.one("ScaledObject"), built.one("Deployment")
    monitor["spec"]["podMetricsEndpoints"][0] |= {"interval": "fast", "intervl": "15s"}
    scaler["spec"]["triggers"][0]["metadata"]["threshold"] = 0.7
    deployment["spec"]["template"]["spec"]["initContainers"][0]["restartPolcy"] = "Always"
    found = "\n".join(faults([monitor, scaler, deployment]))
    for fault in ("interval must match", "'\"intervl\"'", "threshold must be string", "'\"restartPolcy\"'"):
        assert fault in found, found
    deployment["spec"]["template"]["spec"]["initContainers"][1]["securityContext"]["allowPrivilegeEscalation"] = True
    assert violations(deployment["spec"]["template"]["spec"]) == ["migrate: may escalate privileges"]


def test_the_sidecar_changes_nothing_without_its_label_and_takes_nothing_from_the_app(tmp_path):
    labelled, other = deployment("labelled", {"siding/sidecar": "true"}), deployment("other", {})
    built = build(overlay(tmp_path / "overlay", base(tmp_path, labelled, other), ["sidecar"]))
    assert built.one("Deployment", "other") == other
    pod = built.one("Deployment", "labelled")["spec"]["template"]["spec"]
    app = pod["containers"][0]
    before = labelled["spec"]["template"]["spec"]["containers"][0]
    assert {key: app[key] for key in before if key != "env"} == {key: before[key] for key in before if key != "env"}
    assert app["env"][0] == before["env"][0]
    assert [each["name"] for each in app["env"]] == ["OWN", "SIDING_SECRET"], "and no provider's key"
    assert pod["containers"][1:] == labelled["spec"]["template"]["spec"]["containers"][1:]
    assert [each["name"] for each in pod["initContainers"]] == ["siding", "migrate"]


def test_the_examples_configuration_is_valid(tmp_path):
    assert_checks(build(EXAMPLE), tmp_path)


def test_times_memory_and_numbers_of_workers_agree():
    built = build(EXAMPLE)
    text = built.one("ConfigMap", "siding")["data"]["siding.toml"]
    app = {each["name"]: each.get("value") for each in container(built.pod, "chat")["env"]}
    assert (app["BIND"], app["WORKERS"]) == (setting("address", text), setting("workers", text))
    assert int(app["TIMEOUT"]) > seconds("timeout", section(text, "backend"))
    # The app's hook, gunicorn, the sidecar's own end.
    needed = 2 * seconds("drain", text) + GUNICORN_SECONDS + ROOM_SECONDS
    assert seconds("propagation", text) < seconds("drain", text)
    assert built.pod["terminationGracePeriodSeconds"] >= needed
    limit = container(built.pod, "siding")["resources"]["limits"]["memory"]
    held = [("buffered", "server"), ("capacity", "cache"), ("capacity", "background")]
    assert bytes_of(limit) >= sum(bytes_of(setting(key, section(text, name))) for key, name in held) + OWN_MEMORY


def test_ports_agree(variant):
    built = variant("pod-monitor", "scrape-annotations")
    text = built.one("ConfigMap", "siding")["data"]["siding.toml"]
    ports = {each["name"]: each["containerPort"] for each in container(built.pod, "siding")["ports"]}
    clients, admin = ports["siding"], ports["siding-admin"]
    assert json.loads(setting("listen", text).replace("'", '"')) == [f"0.0.0.0:{clients}"]
    assert setting("admin", text) == f"0.0.0.0:{admin}"
    assert built.one("Service")["spec"]["ports"][0]["targetPort"] == "siding"
    assert container(built.pod, "chat")["lifecycle"]["preStop"]["httpGet"]["port"] == admin
    annotations = built.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(admin)
    assert built.one("PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] == "siding-admin"
    policy = built.one("NetworkPolicy", "siding")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in policy] == [clients, admin]
    labels = built.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    for chosen in (
        built.one("NetworkPolicy", "siding")["spec"]["podSelector"],
        built.one("PodMonitor")["spec"]["selector"],
    ):
        assert chosen["matchLabels"].items() <= labels


def test_the_app_has_no_probe_whose_failure_would_call_its_hook_while_the_pod_goes_on():
    assert "livenessProbe" not in container(build(EXAMPLE).pod, "chat")


def test_the_unix_variant_shares_one_folder_and_says_where_the_socket_is(tmp_path):
    bound = of_the_app({"BIND": "unix:/run/siding/app.sock"})
    pod = build(overlay(tmp_path / "unix", EXAMPLE, ["unix-socket"], [bound])).pod
    mounts = [container(pod, name)["volumeMounts"] for name in ("siding", "chat")]
    assert all({"name": "siding-socket", "mountPath": "/run/siding"} in each for each in mounts)
    assert container(pod, "siding")["args"][-2:] == ["--backend", "unix:/run/siding/app.sock"]
    assert len(mounts[0]) == 2, "the configuration's is still there"


def test_processes_are_shared_only_where_that_is_asked_for(variant):
    assert "shareProcessNamespace" not in build(EXAMPLE).pod
    pod = variant("shared-processes").pod
    assert pod["shareProcessNamespace"] is True
    assert container(pod, "siding")["securityContext"]["runAsUser"] != pod["securityContext"]["runAsUser"]


def test_the_operators_rules_are_those_that_are_tested():
    generator = ROOT / "deploy" / "prometheus" / "generate.py"
    subprocess.run([sys.executable, str(generator), "--check"], check=True)
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())
    written = yaml.safe_load((COMPONENTS / "prometheus-rules" / "prometheus-rule.yaml").read_text())
    assert written["spec"] == rules


def test_the_dashboards_config_map_holds_each_dashboard(variant):
    held = variant(resources=[ROOT / "dashboards"]).one("ConfigMap", "siding-dashboards")
    assert held["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert set(held["data"]) == {path.name for path in (ROOT / "dashboards").glob("*.json")}
