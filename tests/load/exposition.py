"""One scrape of Siding's metrics."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from harness.siding import Siding

LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Scrape:
    """The text, and when it was asked for."""

    at: float
    text: str

    @classmethod
    def of(cls, siding: Siding) -> Scrape:
        """As it is now."""
        at = time.monotonic()
        return cls(at, siding.page("/metrics").body.decode())

    def total(self, family: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        found = []
        for match in re.finditer(rf"^{family}(?:\{{(.*)\}})? (\S+)$", self.text, re.MULTILINE):
            given = dict(LABEL.findall(match[1] or ""))
            if all(given.get(name) == value for name, value in labels.items()):
                found.append(float(match[2]))
        assert found, f"{family}{labels} is not exported"
        return sum(found)

    def series(self) -> set[str]:
        """The names of all series, labels included."""
        return {line.rpartition(" ")[0] for line in self.text.splitlines() if not line.startswith("#")}


def between(before: Scrape, after: Scrape, family: str, **labels: str) -> float:
    """By how much a counter has grown."""
    return after.total(family, **labels) - before.total(family, **labels)
