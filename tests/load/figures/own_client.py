"""CPU for one chat of a view that makes its SDK client anew, against the same view with a shared one, behind Siding."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from pathlib import Path

from installation import Installation
from sides import Side, behind, direct, ratios, spread
from verdict import Figure

ROUNDS = 5
SECONDS = 8.0
LIMIT = 1.3
CONCURRENCY = 100
SHARED, OWN = "/api/ask/", "/api/ask/own-client/"


def measure(directory: Path, installation: Installation) -> Iterator[Figure]:
    """Both views take turns. Directly, as information, the ratio is what people know."""
    with direct(directory, installation) as alone, behind(directory, installation) as proxied:
        # So that a view as dear as it is directly is answered in time, and measured.
        proxied = dataclasses.replace(proxied, concurrency=CONCURRENCY)
        for side in (alone, proxied):
            side.warm_up(SHARED, OWN)
        value, details = compared(proxied)
        yield Figure("CPU per chat with an own client", value, "at most", LIMIT, "x", details)
        _, details = compared(alone)
        print(f"info  the same called directly: {details}", flush=True)


def compared(side: Side) -> tuple[float, str]:
    """The median of the rounds' ratios, and what they are made of."""
    own, shared = [], []
    for _ in range(ROUNDS):
        shared.append(side.cost(SHARED, SECONDS).total)
        own.append(side.cost(OWN, SECONDS).total)
    found = ratios(own, shared)
    parts = f"{statistics.median(own):.3f} and {statistics.median(shared):.3f} ms a chat"
    return statistics.median(found), f"{spread(found)}; {parts}"
