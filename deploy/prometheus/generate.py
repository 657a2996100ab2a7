#!/usr/bin/env python3
"""Writes the rules as the Prometheus Operator takes them; with `--check`, fails where they are not up to date.

python deploy/prometheus/generate.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

RULES = Path(__file__).parent / "rules.yaml"
WRITTEN = RULES.parents[1] / "kubernetes" / "components" / "prometheus-rules" / "prometheus-rule.yaml"
HEAD = """\
# deploy/prometheus/generate.py wrote this from deploy/prometheus/rules.yaml: change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: siding
spec:
"""


def prometheus_rule() -> str:
    """The resource: the file's groups, indented."""
    lines = RULES.read_text().splitlines()
    body = lines[lines.index("groups:") :]
    return HEAD + "".join(f"  {line}".rstrip() + "\n" for line in body)


def main() -> int:
    """The exit code."""
    if sys.argv[1:] == ["--check"]:
        if WRITTEN.read_text() == prometheus_rule():
            return 0
        print(f"{WRITTEN} is not up to date: python deploy/prometheus/generate.py", file=sys.stderr)
        return 1
    WRITTEN.write_text(prometheus_rule())
    return 0


if __name__ == "__main__":
    sys.exit(main())
