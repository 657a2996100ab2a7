"""CPU of worker and Siding for one chat that waits 1 s for the model, against gunicorn called directly at 0 ms."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from installation import Installation
from sides import Cost, Side, behind, direct, ratios, spread
from verdict import Figure

ROUNDS = 5
SECONDS = 8.0
LIMIT = 1.25
PROMISED = ("/api/ask/", "/api/ask/unsaved/")
# Writes before the call, which the second pass repeats: what it costs depends on the view.
FOR_INFORMATION = "/api/chat/"


def measure(directory: Path, installation: Installation) -> Iterator[Figure]:
    """Both sides take turns."""
    with direct(directory, installation) as alone, behind(directory, installation) as proxied:
        for side in (alone, proxied):
            side.warm_up(*PROMISED, FOR_INFORMATION)
        for path in PROMISED:
            value, details = compared(alone, proxied, path)
            yield Figure(f"CPU per chat of {path}", value, "at most", LIMIT, "x", details)
        _, details = compared(alone, proxied, FOR_INFORMATION)
        print(f"info  CPU per chat of {FOR_INFORMATION}: {details}", flush=True)


def compared(alone: Side, proxied: Side, path: str) -> tuple[float, str]:
    """The median of the rounds' ratios, and what they are made of."""
    costs: dict[str, list[Cost]] = {alone.name: [], proxied.name: []}
    for _ in range(ROUNDS):
        for side in (alone, proxied):
            costs[side.name].append(side.cost(path, SECONDS))
    ours, theirs = costs[proxied.name], costs[alone.name]
    found = ratios([cost.total for cost in ours], [cost.total for cost in theirs])
    worker = ratios([cost.workers for cost in ours], [cost.workers for cost in theirs])
    sides = ", ".join(f"{name} {typical(each)}" for name, each in costs.items())
    return statistics.median(found), f"{spread(found)}; the worker alone {statistics.median(worker):.3f}; {sides}"


def typical(costs: list[Cost]) -> Cost:
    """The median of each part, over all chats."""
    workers = statistics.median(cost.workers for cost in costs)
    siding = statistics.median(cost.siding for cost in costs)
    return Cost(sum(cost.answered for cost in costs), workers, siding)
