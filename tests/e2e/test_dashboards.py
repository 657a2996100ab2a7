"""Dashboards and rules against a real Prometheus that scraped a real run: the chat project under gunicorn, with
everything happening that can."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from chat_project import pythons
from harness import dashboards, raw_http
from harness.addresses import free_address, listens
from harness.backend import ChatProject
from harness.calls import KEY
from harness.process import ROOT
from harness.prometheus import RULES, Alertmanager, Prometheus
from harness.siding import Siding
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM
from harness.waiting import until

BOARDS = dashboards.load()
# Time ranges of the rules, made as short as the run.
RANGE = re.compile(r"\[(\d+[smhd]|\$__rate_interval|\$__range)\]")
PRICES = {"gpt-4o-mini": {"input": 1.0, "output": 4.0}}


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_works_in_anybodys_grafana(name):
    assert dashboards.faults(BOARDS[name]) == []


def test_dashboards_are_as_their_generator_writes_them():
    subprocess.run([sys.executable, ROOT / "dashboards" / "generate.py", "--check"], check=True)


def test_the_linter_finds_what_is_wrong():
    board = json.loads(json.dumps(BOARDS["siding-pool.json"]))
    panel = dashboards.panels(board)[0]
    panel["fieldConfig"]["defaults"]["unit"] = ""
    panel["targets"][0]["expr"] = 'rate(siding_workers_busy_seconds_total{job=~"$job"}[5m])'
    panel["gridPos"]["x"] = 20
    found = "\n".join(dashboards.faults(board))
    for fault in ("has no unit", "lacks $instance", "fixed time", "right edge", "covers"):
        assert fault in found, found


def test_rules_are_understood_and_each_alert_fires_and_is_silent_when_it_should():
    checks = [["check", "rules", "rules.yaml"], ["check", "config", "prometheus.yaml"]]
    checks += [["test", "rules", path.name] for path in sorted(RULES.parent.glob("rules_*test.yaml"))]
    assert len(checks) == 4
    for command in checks:
        done = subprocess.run(["promtool", *command], cwd=RULES.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    tested = "".join(path.read_text() for path in RULES.parent.glob("rules_*test.yaml"))
    for alert in re.findall(r"alert: (\w+)", RULES.read_text()):
        assert f"# {alert} fires" in tested
        assert f"# {alert} is silent" in tested


def test_every_alert_has_its_section_in_the_runbook():
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    assert set(alerts) == set(sections)
    for alert in alerts:
        assert f"runbook: docs/runbook.md#{alert.lower()}" in RULES.read_text()


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> Iterator[tuple[Siding, Prometheus]]:
    """Siding before the chat project, and Prometheus, which has seen all that happened."""
    directory = tmp_path_factory.mktemp("watched")
    with ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory))
        environment = {**llm.sdk_environment(), "SIDING_SECRET": SECRET}
        app = stack.enter_context(
            ChatProject(directory, workers=2, python=list(pythons().values())[-1], environment=environment)
        )
        egress = free_address()
        breaker = {"failures": 0.5, "minimum": 1, "window": "30s", "cooldown": "10m", "probes": 1}
        settings: dict[str, Any] = {
            "server": {"egress": egress},
            "backend": {"workers": 2, "queue": {"capacity": 3}},
            "prices": PRICES,
            "cache": {"ttl": "1h"},
            "routes": [{"path": "/api/messages/", "cache": {"ttl": "1h"}}, {"path": "/api/upload/", "class": "batch"}],
            "providers": {
                "flaky": {
                    "dialect": "openai",
                    "base_url": f"{llm.url}/flaky",
                    "breaker": breaker,
                    "fallback": ["openai"],
                    "retry": {"attempts": 2, "budget": 1.0},
                },
            },
        }
        proxy = stack.enter_context(Siding(directory, app.address, llm.providers(), settings))
        proxy.until_app()
        until("the egress", lambda: listens(egress))
        prometheus = stack.enter_context(Prometheus(directory, proxy.admin))
        until("a first scrape", lambda: prometheus.query("siding_build_info"))
        happen(proxy, app, egress)
        scrapes = "count_over_time(siding_build_info[10m])"
        seen = prometheus.value(scrapes) or 0
        until("two scrapes more", lambda: (prometheus.value(scrapes) or 0) >= seen + 3)
        yield proxy, prometheus


def happen(proxy: Siding, app: ChatProject, egress: str) -> None:
    """Something of everything, twice, so that counters rise between scrapes."""
    token = [("Authorization", f"Token {app.token}"), ("Content-Type", "application/json")]
    key = [("Authorization", f"Bearer {KEY}"), ("Content-Type", "application/json")]

    def post(path: str, document: dict[str, Any], headers: Any = token) -> None:
        proxy.request("POST", path, headers, json.dumps(document).encode(), timeout=60)

    def call(provider: str, prompt: str, **more: Any) -> None:
        document = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **more}
        raw_http.request(egress, "POST", f"/{provider}/v1/chat/completions", key, json.dumps(document).encode(), 60)

    def round_of(number: int) -> None:
        with ThreadPoolExecutor(24) as clients:
            jobs = [
                clients.submit(post, "/api/chat/", {"prompt": f"[latency=300ms] {number} {n % 3}"}) for n in range(9)
            ]
            jobs += [
                clients.submit(post, "/api/relay/", {"prompt": f"stream {number} {n}", "format": "text"})
                for n in range(3)
            ]
            jobs += [clients.submit(proxy.request, "GET", "/api/worker/?seconds=0.2", token) for _ in range(6)]
            jobs += [clients.submit(proxy.request, "GET", "/api/messages/", token) for _ in range(4)]
            jobs += [clients.submit(proxy.request, "GET", f"/api/status/{code}/", token) for code in (404, 500)]
            jobs += [clients.submit(call, "openai", f"[status={status}] {number}") for status in (400, 429, 500)]
            jobs += [
                clients.submit(call, "openai", f"stream {number}", stream=True),
                clients.submit(call, "flaky", f"x {number}"),
            ]
            jobs += [clients.submit(call, "openai", f"[latency=400ms] same {number}") for _ in range(4)]
            for job in jobs:
                job.result()
        call("openai", f"[latency=400ms] same {number}")

    for number in range(2):
        round_of(number)


def short(expression: str) -> str:
    """As Grafana would send it, over the run."""
    whole = expression
    for variable in dashboards.VARIABLES:
        whole = whole.replace(f'{variable}=~"${variable}"', f'{variable}=~".*"')
    return RANGE.sub("[1m]", whole)


@pytest.mark.parametrize("name", BOARDS)
def test_every_expression_of_a_dashboard_returns_data(name, watched):
    _, prometheus = watched
    empty = [(title, text) for title, text in dashboards.expressions(BOARDS[name]) if not prometheus.query(short(text))]
    assert empty == []


def test_every_expression_of_a_rule_is_executed_and_names_metrics_that_exist(watched):
    proxy, prometheus = watched
    exported = set(re.findall(r"^# TYPE (\S+)", proxy.page("/metrics").body.decode(), re.MULTILINE))
    reference = set(re.findall(r"`(siding_\w+)`", (ROOT / "docs" / "metrics.md").read_text()))
    assert {name for name in exported if name.startswith("siding_")} <= reference
    text = RULES.read_text()
    named = set(re.findall(r"(?<![:\w])siding_[a-z_]+", text))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) if name not in reference else name for name in named}
    assert families <= reference, families - reference
    for expression in re.findall(r"expr: (?:>-\n)?((?:.|\n(?=\s{10,}\S))+)", text):
        prometheus.query(" ".join(short(expression).split()))
    for record in re.findall(r"record: (\S+)", text):
        assert re.fullmatch(r"job:siding_\w+:\w+", record)
    until("the recorded series", lambda: prometheus.query("job:siding_worker_utilization:ratio_rate5m"))


def test_promtool_finds_nothing_wrong_with_the_metrics(watched):
    proxy, _ = watched
    done = subprocess.run(["promtool", "check", "metrics"], input=proxy.page("/metrics").body, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_every_label_value_is_one_that_the_reference_names(watched):
    proxy, _ = watched
    rows = re.findall(
        r"^\| `(siding_\w+)` \| \w+ \| (.*?) \| ", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE
    )
    closed = {name: dict(re.findall(r"`(\w+)`: ((?:`[^`]*`(?:, )?)+)(?=;|$)", labels)) for name, labels in rows}
    strangers = set()
    for name, labels in re.findall(
        r"^(siding_\w+?)(?:_bucket|_sum|_count)?\{(.*)\} ", proxy.page("/metrics").body.decode(), re.MULTILINE
    ):
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            known = closed.get(name, {}).get(label)
            if known is not None and f"`{value}`" not in known:
                strangers.add((name, label, value))
    assert strangers == set()


def test_an_alert_reaches_its_receiver_and_is_taken_back(stack, scripted, siding, tmp_path):
    received: list[dict[str, Any]] = []
    receiver = stack.enter_context(Receiver(received))
    alertmanager = stack.enter_context(Alertmanager(tmp_path, receiver.url))
    rules = tmp_path / "soon.yaml"
    rules.write_text(re.sub(r"for: \d+m", "for: 0s", RULES.read_text()))
    proxy = siding(free_address())
    stack.enter_context(Prometheus(tmp_path, proxy.admin, alertmanager.address, rules))
    proxy.rewrite("[backend]\nworkers = 0\n")

    def told(status: str) -> bool:
        wanted = ("SidingConfigReloadFailed", status)
        return any(
            (alert["labels"]["alertname"], alert["status"]) == wanted for hook in received for alert in hook["alerts"]
        )

    until("the alert", lambda: told("firing"), 30)
    proxy.reconfigure({"backend": {"workers": 2}})
    until("the end of the alert", lambda: told("resolved"), 60)


class Receiver:
    """Takes webhooks."""

    def __init__(self, received: list[dict[str, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
