"""A real Prometheus and a real Alertmanager, as Debian packages them, with data that are not kept."""

from __future__ import annotations

import json
import shutil
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from harness.addresses import answers, free_address
from harness.process import ROOT, Process

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"


class Prometheus(Process):
    """Scrapes `target` every second and evaluates the shipped rules."""

    def __init__(self, directory: Path, target: str, alertmanager: str | None = None, rules: Path = RULES) -> None:
        super().__init__(directory, "prometheus")
        self.address = free_address()
        shutil.copy(rules, directory / "rules.yaml")
        alerting = f'alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}\n'
        config = directory / "prometheus.yaml"
        config.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            "rule_files: [rules.yaml]\n"
            f'scrape_configs: [{{job_name: siding, static_configs: [{{targets: ["{target}"]}}]}}]\n'
            + (alerting if alertmanager else "")
        )
        flags = [f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"]
        self.command = ["prometheus", *flags, f"--web.listen-address={self.address}"]

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        return answers(self.address, "/-/ready")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query. An expression that it does not understand fails."""
        target = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(target, timeout=10) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {json.load(error)['error']}") from error
        result: list[dict[str, Any]] = document["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        """Of a query that yields one series."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None


class Alertmanager(Process):
    """Sends every alert to a webhook at once."""

    def __init__(self, directory: Path, webhook: str) -> None:
        super().__init__(directory, "alertmanager")
        self.address = free_address()
        config = directory / "alertmanager.yaml"
        config.write_text(
            "route: {receiver: hook, group_wait: 0s, group_interval: 1s}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{webhook}', send_resolved: true}}]}}]\n"
        )
        flags = [f"--config.file={config}", f"--storage.path={directory / 'alerts'}", "--cluster.listen-address="]
        self.command = ["prometheus-alertmanager", *flags, f"--web.listen-address={self.address}"]

    def is_ready(self) -> bool:
        """Whether it takes alerts."""
        return answers(self.address, "/-/ready")
