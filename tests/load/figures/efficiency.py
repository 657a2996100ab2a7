"""Chats a second behind Siding while each waits 1 s for the model, against gunicorn called directly at 0 ms."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from installation import Installation
from sides import behind, direct, ratios, spread
from verdict import Figure

ROUNDS = 5
SECONDS = 12.0
LIMIT = 0.9
PATH = "/api/ask/"


def measure(directory: Path, installation: Installation) -> Iterator[Figure]:
    """One worker each; both sides take turns."""
    with direct(directory, installation) as alone, behind(directory, installation) as proxied:
        rates: dict[str, list[float]] = {alone.name: [], proxied.name: []}
        for side in (alone, proxied):
            side.warm_up(PATH)
        for _ in range(ROUNDS):
            for side in (alone, proxied):
                rates[side.name].append(side.throughput(PATH, SECONDS))
        found = ratios(rates[proxied.name], rates[alone.name])
        sides = ", ".join(f"{name} {statistics.median(each):.1f} a second" for name, each in rates.items())
        details = f"{spread(found)}; {sides}"
        yield Figure("latency-hiding efficiency", statistics.median(found), "at least", LIMIT, "x", details)
