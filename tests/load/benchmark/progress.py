"""A line for each cell, with the time that is left."""

from __future__ import annotations

import time
from typing import Any

from benchmark.plan import Cell
from benchmark.table import duration, errors, number


class Progress:
    """Learns from what has passed how long the rest takes."""

    def __init__(self, cells: list[Cell]) -> None:
        self._all = self._left = sum(cell.seconds for cell in cells)
        self._count, self._number = len(cells), 0
        self._began = time.monotonic()
        print(f"{len(cells)} cells, about {minutes(self._all)}", flush=True)

    def told(self, cell: Cell, record: dict[str, Any]) -> dict[str, Any]:
        """Prints the record and returns it."""
        self._number += 1
        self._left -= cell.seconds
        pace = (time.monotonic() - self._began) / (self._all - self._left)
        left = f"{minutes(self._left * pace)} left" if self._left > 0 else "done"
        print(f"{self._number:2}/{self._count}  {cell}: {summary(record)}; {left}", flush=True)
        return record


def summary(record: dict[str, Any]) -> str:
    """The figures that matter most."""
    if "failure" in record:
        return f"failed: {record['failure']}"
    latency, cost = record["latency_ms"], record["cpu_ms_per_chat"]
    times = f", p50 {duration(latency['p50'])}, p99 {duration(latency['p99'])}" if latency else ""
    cpu = f", {number(cost['total'])} ms CPU" if cost else ""
    return (
        f"{number(record['throughput'])} a second{times}{cpu}, {record['memory_mib']['total']:.0f} MiB, "
        f"{record['connections']} connections, errors: {errors(record)}"
    )


def minutes(seconds: float) -> str:
    """For people."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
