"""What the HPA and KEDA ask Prometheus, asked by promtool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from harness.kustomize import COMPONENTS, EXAMPLE, KustomizeFailed, Manifest, build, overlay
from harness.process import ROOT
from manifests import IN_NAMESPACE, base, deployment


@pytest.fixture
def keda(tmp_path: Path) -> Manifest:
    """The specification of KEDA's object for the example."""
    folder = overlay(tmp_path / "keda", EXAMPLE, ["pod-monitor", "keda"], [IN_NAMESPACE])
    return build(folder).one("ScaledObject")["spec"]


def queries(keda: Manifest) -> dict[str, str]:
    """What autoscalers ask Prometheus, the adapter's for one pod."""
    triggers = keda["triggers"]
    adapter = yaml.safe_load((COMPONENTS / "hpa" / "prometheus-adapter.yaml").read_text())["rules"]
    filled = {
        rule["name"]["as"]: rule["metricsQuery"]
        .replace("<<.GroupBy>>", "pod")
        .replace("<<.LabelMatchers>>", 'pod=~".+"')
        for rule in adapter
    }
    return {**filled, "keda_demand": triggers[0]["metadata"]["query"], "keda_wait": triggers[1]["metadata"]["query"]}


def test_autoscalers_ask_for_metrics_that_there_are(keda, tmp_path):
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    for name, query in queries(keda).items():
        asked = {re.sub(r"_bucket$", "", found) for found in re.findall(r"\bsiding_\w+", query)}
        assert asked, name
        assert asked <= documented, name
    hpa = build(overlay(tmp_path / "hpa", EXAMPLE, ["hpa"], [IN_NAMESPACE])).one("HorizontalPodAutoscaler")["spec"]
    assert hpa["scaleTargetRef"]["name"] == "chat"
    provided = yaml.safe_load((COMPONENTS / "hpa" / "prometheus-adapter.yaml").read_text())["rules"]
    wanted = {metric["pods"]["metric"]["name"] for metric in hpa["metrics"]}
    assert wanted == {rule["name"]["as"] for rule in provided}


def test_autoscalers_see_demand_beyond_the_workers_and_no_wait_where_there_is_no_traffic(keda, tmp_path):
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
        for name, query in queries(keda).items()
    ]
    test = {
        "evaluation_interval": "15s",
        "tests": [{"interval": "15s", "input_series": series, "promql_expr_test": asked}],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_keda_asks_for_the_deployment_in_its_namespace_only(keda, tmp_path):
    assert keda["scaleTargetRef"]["name"] == "chat"
    text = "\n".join(trigger["metadata"]["query"] for trigger in keda["triggers"])
    assert text.count('{namespace="chat",deployment="chat"') == text.count("{") == 4
    unnamed = deployment("web", {"siding/sidecar": "true"})
    with pytest.raises(KustomizeFailed, match=r"metadata\.namespace"):
        build(overlay(tmp_path / "unnamed", base(tmp_path, unnamed), ["sidecar", "keda"]))
