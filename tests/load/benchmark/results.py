"""The raw results of a run, in one file, a cell a line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# With fewer answers, the clock of the kernel's accounting is too coarse for the cost of one.
ENOUGH_ANSWERS = 50


@dataclass
class Results:
    """Conditions, and the cells' records in the order in which they were measured."""

    conditions: dict[str, Any]
    cells: list[dict[str, Any]] = field(default_factory=list)

    def cell(self, server: str, latency: int, concurrency: int) -> dict[str, Any] | None:
        """The record of one, if it was measured."""
        place = (server, latency, concurrency)
        found = [cell for cell in self.cells if (cell["server"], cell["latency_s"], cell["concurrency"]) == place]
        return found[0] if found else None

    def best(self, server: str, latency: int) -> dict[str, Any] | None:
        """The cell with the greatest throughput at any concurrency."""
        found = [cell for cell in self.cells if (cell["server"], cell["latency_s"]) == (server, latency)]
        return max(found, key=lambda cell: cell["throughput"], default=None)

    def write(self, path: Path) -> None:
        """As JSON."""
        lines = ",\n".join(json.dumps(cell) for cell in self.cells)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"conditions": {json.dumps(self.conditions, indent=1)},\n"cells": [\n{lines}\n]}}\n')

    @classmethod
    def read(cls, path: Path) -> Results:
        """What `write` wrote."""
        return cls(**json.loads(path.read_text()))


def cpu_per_chat(cell: dict[str, Any] | None) -> float | None:
    """Milliseconds of server and Siding together; none where too few answers came to tell."""
    if cell is None or cell["answered"] < ENOUGH_ANSWERS:
        return None
    return cell["cpu_ms_per_chat"]["total"]
