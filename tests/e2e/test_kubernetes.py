"""deploy/kubernetes and its README: what kubectl builds is what Kubernetes' APIs take, and its numbers agree with one another
and with Siding. tests/e2e/test_pod.py runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from harness.kustomize import (
    COMPONENTS,
    EXAMPLE,
    Built,
    KustomizeFailed,
    Manifest,
    build,
    container,
    of_the_app,
    overlay,
)
from harness.pod_security import violations
from harness.process import BINARIES, ROOT
from harness.signing import SECRET
from sdk_outcomes import command_of

# The oldest Kubernetes that knows sidecars without a feature gate, and the newest whose schemas there are.
KUBERNETES = ["1.29", "1.37"]
OWN_GROUPS = ("apps/", "autoscaling/", "networking.k8s.io/", "v1")
README = ROOT / "deploy" / "README.md"
EVERYTHING = ("unix-socket", "shared-processes", "scrape-annotations", "pod-monitor", "prometheus-rules", "keda")
VARIANTS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    **{path.name: (path.name,) for path in sorted(COMPONENTS.iterdir()) if path.name != "sidecar"},
    "everything": EVERYTHING,
}
# What gunicorn takes to stop at the most, by its default graceful_timeout; and what is left for the kubelet.
GUNICORN_SECONDS = 30
ROOM_SECONDS = 5
MIB = 1 << 20
# What Siding needs besides what it is told to hold.
OWN_MEMORY = 128 * MIB


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., Built]:
    """The example with further components."""

    def built(*components: str, **more: Any) -> Built:
        # network-policy is part of the example.
        added = [name for name in components if name != "network-policy"]
        patches = [in_namespace()] if {"hpa", "keda"} & set(components) else []
        return build(overlay(tmp_path / "overlay", EXAMPLE, added, patches, **more))

    return built


def in_namespace() -> Manifest:
    """As the README says for KEDA."""
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "chat", "namespace": "chat"}}


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


def faults(manifests: list[Manifest]) -> list[str]:
    """What the schemas and types of the APIs have against manifests, the operator's and KEDA's too."""
    told = json.dumps(manifests)
    done = subprocess.run(command_of("manifests.mjs"), input=told, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_manifests_have_no_field_that_their_apis_do_not_know(variant, tmp_path):
    boards = ROOT / "dashboards"
    everything = list(variant(*EVERYTHING, resources=[boards]))
    scaled = list(build(overlay(tmp_path / "hpa", EXAMPLE, ["hpa"], [in_namespace()])))
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


def test_the_examples_configuration_is_valid(tmp_path):
    assert_checks(build(EXAMPLE), tmp_path)


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


def queries(variant: Callable[..., Built]) -> dict[str, str]:
    """What autoscalers ask Prometheus, the adapter's for one pod."""
    triggers = variant("keda").one("ScaledObject")["spec"]["triggers"]
    adapter = yaml.safe_load((COMPONENTS / "hpa" / "prometheus-adapter.yaml").read_text())["rules"]
    filled = {
        rule["name"]["as"]: rule["metricsQuery"]
        .replace("<<.GroupBy>>", "pod")
        .replace("<<.LabelMatchers>>", 'pod=~".+"')
        for rule in adapter
    }
    return {**filled, "keda_demand": triggers[0]["metadata"]["query"], "keda_wait": triggers[1]["metadata"]["query"]}


def test_autoscalers_ask_for_metrics_that_there_are(variant, tmp_path):
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    for name, query in queries(variant).items():
        asked = {re.sub(r"_bucket$", "", found) for found in re.findall(r"\bsiding_\w+", query)}
        assert asked, name
        assert asked <= documented, name
    hpa = build(overlay(tmp_path / "hpa", EXAMPLE, ["hpa"], [in_namespace()])).one("HorizontalPodAutoscaler")["spec"]
    assert hpa["scaleTargetRef"]["name"] == "chat"
    provided = yaml.safe_load((COMPONENTS / "hpa" / "prometheus-adapter.yaml").read_text())["rules"]
    wanted = {metric["pods"]["metric"]["name"] for metric in hpa["metrics"]}
    assert wanted == {rule["name"]["as"] for rule in provided}


def test_autoscalers_see_demand_beyond_the_workers_and_no_wait_where_there_is_no_traffic(variant, tmp_path):
    """Two pods with two workers each: one is 60 % busy, one all of the time with three that wait. A third, of another
    Deployment, does not count."""
    pods = [("a", "chat", 1.2, 0), ("b", "chat", 2.0, 3), ("c", "other", 2.0, 9)]
    series = []
    for pod, owner, busy, waiting in pods:
        labels = f'namespace="chat",deployment="{owner}",pod="{pod}"'
        series += [
            {"series": f"siding_workers_busy_seconds_total{{{labels}}}", "values": f"0+{busy * 15:g}x20"},
            {"series": f'siding_queue_depth{{{labels},class="interactive"}}', "values": f"{waiting}x20"},
            {"series": f'siding_queue_depth{{{labels},class="batch"}}', "values": "500x20"},
            {"series": f"siding_workers_limit{{{labels}}}", "values": "2x20"},
        ]
        for bound in ("0.5", "2.5", "+Inf"):
            wait = f'siding_queue_wait_seconds_bucket{{{labels},class="interactive",le="{bound}"}}'
            series.append({"series": wait, "values": "5x20" if pod == "a" else f"0+{4 if bound == '0.5' else 8}x20"})
    expected = {
        "siding_workers_demand_ratio": {'{pod="a"}': 0.6, '{pod="b"}': 2.5, '{pod="c"}': 5.5},
        "siding_queue_wait_p95_seconds": {'{pod="a"}': 0, '{pod="b"}': 2.3, '{pod="c"}': 2.3},
        "keda_demand": {"{}": (1.2 + 2 + 3) / 2},
        "keda_wait": {"{}": 2.3},
    }
    asked = [
        {
            "expr": f"round({query}, 0.001)" if name.startswith("siding") else f"round(({query}), 0.001)",
            "eval_time": "5m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in expected[name].items()],
        }
        for name, query in queries(variant).items()
    ]
    test = {
        "evaluation_interval": "15s",
        "tests": [{"interval": "15s", "input_series": series, "promql_expr_test": asked}],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_keda_asks_for_the_deployment_in_its_namespace_only(variant, tmp_path):
    scaler = variant("keda").one("ScaledObject")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "chat"
    text = "\n".join(trigger["metadata"]["query"] for trigger in scaler["triggers"])
    assert text.count('{namespace="chat",deployment="chat"') == text.count("{") == 4
    unnamed = deployment("web", {"siding/sidecar": "true"})
    with pytest.raises(KustomizeFailed, match="metadata.namespace"):
        build(overlay(tmp_path / "unnamed", base(tmp_path, unnamed), ["sidecar", "keda"]))


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
