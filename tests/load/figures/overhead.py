"""The proxy's own time in an exchange with a call: all that is neither the app's nor the provider's.

Measured from outside. An exchange takes the client from the beginning of its request to the last byte of its answer.
Off that go the stub's own times, each from the last byte of a request to the first of its answer, in both passes and
in the provider. What is left is Siding, four loopback legs (client, pass, call, pass) and the waking of whoever waits
at their ends.

The legs are not the proxy's, so a control goes through the same four without it, one after the other, between the
same clients and the same stub: bytes of about the same number, connections kept or made anew as in the exchange.
Both ends of these legs are a few lines around a socket, so that next to no HTTP is in the control; reading and
writing it on Siding's ends counts as Siding's. The promise is about what the exchange has left less the control's
median. The median goes off p99 too, so that every delay of the kernel's beyond the usual counts against Siding.

The app ends its connections as gunicorn's sync workers do, so each pass makes one. Beside it stand the same with
connections kept, and what Siding's own metric says, which does not see the legs to the client.

OVERHEAD_ROUNDS and OVERHEAD_SECONDS in the environment change how long it takes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.siding import Siding
from installation import Installation
from stub import BINARY, Stub
from verdict import Figure, Note

ROUNDS = int(os.environ.get("OVERHEAD_ROUNDS", "5"))
SECONDS = int(os.environ.get("OVERHEAD_SECONDS", "5"))
RATE = 200
LATENCY = "50ms"
WORKERS = 100
# Requests to the stub: two passes and a call; the control's four legs.
LEGS, CONTROL_LEGS = 3, 4
# Answers of about what the client, the first pass, the call and the second pass get.
CONTROL = (("provider", 100), ("address", 800), ("provider", 600), ("address", 100))
METRIC = "siding_overhead_seconds"

names = itertools.count()


def measure(directory: Path, _: Installation) -> Iterator[Figure | Note]:
    """With an app as gunicorn's sync workers are, then with one that keeps connections."""
    closing, keeping = observe(directory, "--close"), observe(directory)
    legs = quantile(closing.control, 0.5)
    details = f"{len(closing.exchange)} exchanges at {RATE} a second, less {legs:.0f} us for the legs"
    yield Figure("p50", quantile(closing.exchange, 0.5) - legs, "at most", 150, "us", details)
    yield Figure("p99", quantile(closing.exchange, 0.99) - legs, "at most", 1000, "us", details)
    yield Note(f"a connection each pass: {closing}")
    yield Note(f"connections kept: {keeping}")


@dataclass(frozen=True)
class Observed:
    """What is left of exchanges and of controls, in microseconds, and what else there is to say."""

    exchange: list[float]
    control: list[float]
    metric: str
    cpu_us: float

    def __str__(self) -> str:
        left, control = spread(self.exchange), spread(self.control)
        return (
            f"left of an exchange {left}; control {control}; Siding's metric {self.metric};"
            f" Siding's CPU {self.cpu_us:.0f} us an exchange"
        )


def observe(directory: Path, *arguments: str) -> Observed:
    """Exchanges and controls in turn."""
    exchange: list[float] = []
    control: list[float] = []
    settings = {"backend": {"workers": WORKERS}, "log": {"filter": "warn"}}
    with contextlib.ExitStack() as stack:
        stub = stack.enter_context(Stub(directory, "--latency", LATENCY, *arguments))
        siding = stack.enter_context(Siding(directory, stub.address, stub.provider_url, settings))
        through, direct = [f"{siding.address}/call"], [f"{getattr(stub, at)}/bytes/{size}" for at, size in CONTROL]
        visit(stub, through, LEGS, 1)
        visit(stub, direct, CONTROL_LEGS, 1)
        before, cpu = buckets(siding), siding.cpu_seconds()
        for _ in range(ROUNDS):
            exchange += visit(stub, through, LEGS, SECONDS)
            control += visit(stub, direct, CONTROL_LEGS, SECONDS)
        cpu_us = (siding.cpu_seconds() - cpu) / len(exchange) * 1e6
        return Observed(exchange, control, from_buckets(before, buckets(siding)), cpu_us)


def visit(stub: Stub, urls: list[str], legs: int, seconds: int) -> list[float]:
    """What is left of each exchange, in microseconds."""
    arguments = ["--name", f"v{next(names)}", "--rate", str(RATE), "--requests", str(RATE * seconds)]
    arguments += [word for url in urls for word in ("--url", url)]
    command = [str(BINARY), "visit", *arguments]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    records, left = stub.records(), []
    for name, total, *fault in map(str.split, text.splitlines()):
        if fault:
            raise RuntimeError(f"an exchange ended with status {fault[0]}")
        known, own = records[name]
        if known != legs:
            raise RuntimeError(f"an exchange took {known} requests instead of {legs}")
        left.append((int(total) - own) / 1000)
    return left


def quantile(values: list[float], share: float) -> float:
    """Of all but the lowest."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def spread(values: list[float]) -> str:
    """For people."""
    p50, p90, p99 = (quantile(values, share) for share in (0.5, 0.9, 0.99))
    return f"p50 {p50:.0f}, p90 {p90:.0f}, p99 {p99:.0f} us"


def buckets(siding: Siding) -> dict[float, float]:
    """The histogram of Siding's own measurement: how many exchanges took at most so long."""
    lines = siding.page("/metrics").body.decode().splitlines()
    rows = (line.split('le="')[1].split('"} ') for line in lines if line.startswith(f"{METRIC}_bucket"))
    return {float(bound): float(count) for bound, count in rows}


def from_buckets(before: dict[float, float], after: dict[float, float]) -> str:
    """The bounds that median and 99th percentile do not exceed."""
    counts = {bound: after[bound] - before[bound] for bound in after}
    total = max(counts.values())
    p50, p99 = (min(bound for bound, count in counts.items() if count >= share * total) for share in (0.5, 0.99))
    return f"p50 up to {p50 * 1e6:.0f}, p99 up to {p99 * 1e6:.0f} us"
