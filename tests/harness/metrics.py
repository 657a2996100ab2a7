"""What a page of metrics says."""

from __future__ import annotations

import re


def total(page: str, family: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    value, found = 0.0, False
    for line in page.splitlines():
        match = re.fullmatch(r"([a-z_0-9]+)(?:\{(.*)\})? (\S+)", line)
        if match and match[1] == family:
            given = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            if all(given.get(name) == wanted for name, wanted in labels.items()):
                value, found = value + float(match[3]), True
    assert found, f"{family}{labels} is not exported"
    return value
