"""Throughput of requests without a call, against a bare Pingora proxy and nginx.

All stand in front of the same app and take turns of a second under the same load: keep-alive clients, one
request, answers of 0, 1 and 16 KiB. A promise is about the median of the rounds' ratios to bare Pingora. Processor
time a request is told beside it: it is the steadier figure where the machine does other things too.

Siding writes no access log here, as the others do not; its default is told as a note. PASS_THROUGH_ROUNDS and
PASS_THROUGH_SECONDS in the environment change how long it takes; PASS_THROUGH_PRELOAD names a library that Siding
and bare Pingora are started with, such as another allocator.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import raw_http
from harness.process import Process
from harness.siding import Siding
from installation import Installation
from proxies import THREADS, BarePingora, Nginx, Proxy, require_same_allocator
from stub import Stub
from tools import require
from verdict import Figure, Note

ROUNDS = int(os.environ.get("PASS_THROUGH_ROUNDS", "15"))
SECONDS = int(os.environ.get("PASS_THROUGH_SECONDS", "1"))
PRELOAD = {"LD_PRELOAD": path} if (path := os.environ.get("PASS_THROUGH_PRELOAD")) else {}
SIZES = {"0": 0, "1 KiB": 1024, "16 KiB": 16 * 1024}
CONNECTIONS = 64
# More than the connections, so that no request waits for a worker.
WORKERS = 1000

BARE, STREAMED, BUFFERED, LOGGED = "bare Pingora", "pass-through", "buffered", "buffered, access log"
PROMISES = {STREAMED: 0.95, BUFFERED: 0.8}


@dataclass(frozen=True)
class Turn:
    """What a proxy did in one turn."""

    throughput: float
    cpu_us: float
    """A request."""


def measure(directory: Path, installation: Installation) -> Iterator[Figure | Note]:
    """A ratio for each size and path, then everything that was seen."""
    require("nginx", "wrk")
    require_same_allocator()
    with contextlib.ExitStack() as stack:
        app = stack.enter_context(Stub(directory))
        contestants = {name: stack.enter_context(each) for name, each in proxies(directory, app).items()}
        seen = {size: rounds(contestants, f"/bytes/{length}") for size, length in SIZES.items()}
    for name, least in PROMISES.items():
        for size in SIZES:
            yield figure(f"{name}, {size}", seen[size], name, least)
    for size in SIZES:
        for name in contestants:
            yield Note(f"{size}, {name}: {row(seen[size], name)}")


def proxies(directory: Path, app: Stub) -> dict[str, Proxy | Siding]:
    """By what they are called in the report."""
    return {
        BARE: BarePingora(directory, app.address, PRELOAD),
        STREAMED: siding(directory, app, {"routes": [{"path": "/**", "handoff": False}]}),
        BUFFERED: siding(directory, app),
        LOGGED: siding(directory, app, {"log": {"filter": "warn,siding=info"}}),
        "nginx": Nginx(directory, app.address),
    }


def siding(directory: Path, app: Stub, settings: dict[str, Any] | None = None) -> Siding:
    """With the defaults but for the log, and without a queue."""
    own = {"log": {"filter": "warn"}, "server": {"threads": THREADS}, **(settings or {})}
    own["backend"] = {"workers": WORKERS}
    return Siding(directory, app.address, app.provider_url, own, environment=PRELOAD)


def rounds(contestants: dict[str, Any], target: str) -> dict[str, list[Turn]]:
    """Each has its turn in each, in another order each time."""
    for each in contestants.values():
        check(each.address, target)
        turn(each, target, 1)
    seen: dict[str, list[Turn]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name in random.sample(list(contestants), len(contestants)):
            seen[name].append(turn(contestants[name], target, SECONDS))
    return seen


def check(address: str, target: str) -> None:
    """Fails if it does not answer with the right number of bytes."""
    answer = raw_http.request(address, "GET", target)
    length = int(target.rsplit("/", 1)[1])
    if (answer.status, len(answer.body)) != (200, length):
        raise RuntimeError(f"{address} answered {answer.status} with {len(answer.body)} bytes instead of {length}")


def turn(proxy: Process, target: str, seconds: int) -> Turn:
    """Load by one thread of wrk."""
    url = f"http://{proxy.address}{target}"
    before = proxy.cpu_seconds()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = proxy.cpu_seconds() - before
    if fault := re.search(r"Non-2xx.*|Socket errors.*", text):
        raise RuntimeError(f"{proxy.name}: {fault[0]}\n{proxy.last_words()}")
    requests = int(re.search(r"(\d+) requests in", text)[1])
    return Turn(float(re.search(r"Requests/sec:\s*(\S+)", text)[1]), used / requests * 1e6)


def figure(name: str, seen: dict[str, list[Turn]], contestant: str, least: float) -> Figure:
    """The ratio of throughputs."""
    pairs = list(zip(seen[contestant], seen[BARE], strict=True))
    ratios = [own.throughput / bare.throughput for own, bare in pairs]
    cpu = statistics.median(own.cpu_us / bare.cpu_us for own, bare in pairs)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"
    details = f"{spread}; CPU a request {cpu:.2f} times bare Pingora's"
    return Figure(name, statistics.median(ratios), "at least", least, "of bare Pingora", details)


def row(seen: dict[str, list[Turn]], name: str) -> str:
    """Medians."""
    throughput = statistics.median(turn.throughput for turn in seen[name])
    cpu = statistics.median(turn.cpu_us for turn in seen[name])
    return f"{throughput:.0f} requests a second, {cpu:.1f} us of CPU a request"
