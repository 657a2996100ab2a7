"""The fast endpoint's p99 while 1,000 chats wait behind one worker, to its p99 on the idle system.

Both are measured through the same Siding at the same rate, in turns, so that what else the machine does falls on both.
What chats that come and go cost it is told besides.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.load_driver import LoadDriver
from installation import Installation
from scene import CHATS, Scene, behind_siding
from verdict import Figure

ROUNDS = 3
RATE = 150
SAMPLES = 3000
SECONDS = SAMPLES / RATE
# How long the model takes while chats come and go: 50 a second, which one worker can serve.
COMING_AND_GOING = "20s"


def measure(directory: Path, installation: Installation) -> Iterator[Figure]:
    """One verdict."""
    idle, pending = [], []
    with behind_siding(directory, installation) as scene:
        fast(scene)
        for number in range(1, ROUNDS + 1):
            idle.append(fast(scene))
            with scene.pending("/api/ask/"):
                pending.append(fast(scene))
            print(f"   round {number}: idle {told(idle[-1])}; pending {told(pending[-1])}", flush=True)
        busy = beside_chats(scene)
    alone, beside = (statistics.median(run["latency_ms"]["p99"] for run in runs) for runs in (idle, pending))
    details = (
        f"p99 {beside:.2f} ms with {CHATS:,} pending to {alone:.2f} ms idle, medians of {ROUNDS} rounds of "
        f"{SAMPLES:,} at {RATE} a second; while {CHATS:,} come and go every {COMING_AND_GOING}: {told(busy)}"
    )
    yield Figure("fast endpoint's p99 with 1,000 chats pending, to idle", beside / alone, "at most", 1.5, "", details)


def fast(scene: Scene) -> dict[str, Any]:
    """The fast endpoint at the rate, all answered."""
    flags = ["--rate", str(RATE), "--duration", f"{SECONDS:g}s"]
    with LoadDriver(scene.directory, f"{scene.siding.url}/api/fast/", *flags) as driver:
        result = driver.result(patience=SECONDS + 60)
    assert not result["failed"], result["errors"]
    return result


def beside_chats(scene: Scene) -> dict[str, Any]:
    """The same while chats are begun and answered all the time."""
    scene.llm.configure(latency=COMING_AND_GOING)
    # Spread over a latency: from then on, as many are answered as begin.
    with scene.chats("/api/ask/", "--ramp-up", COMING_AND_GOING, "--warm-up", "25s"):
        return fast(scene)


def told(run: dict[str, Any]) -> str:
    """p50 and p99."""
    return f"p50 {run['latency_ms']['p50']:.2f} ms, p99 {run['latency_ms']['p99']:.2f} ms"
