"""What the requests of leaving clients go through, and what is left of them in it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import descriptors
from harness.addresses import free_address
from harness.process import rss_bytes
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM

from leaving.app import HeldApp

PATIENCE = "10m"
# All that counts what is under way or held: 0 at rest.
GAUGES = (
    "siding_workers_busy",
    "siding_workers_orphaned",
    "siding_queue_depth",
    "siding_exchanges_in_flight",
    "siding_exchanges_suspended",
    "siding_calls_in_flight",
    "siding_flights_in_flight",
    "siding_coalesced_waiting",
    "siding_jobs",
    "siding_buffered_bytes",
)
POLL_SECONDS = 0.02
LOOKS = 10
PATIENCE_SECONDS = 60.0


class Stand:
    """Siding between a held app of so many workers and the simulated LLM."""

    def __init__(self, siding: Siding, app: HeldApp, llm: SimulatedLLM, workers: int) -> None:
        self.siding, self.app, self.workers = siding, app, workers
        self._llm = llm

    def gauge(self, family: str) -> int:
        """Now."""
        return self.gauges()[family]

    def gauges(self) -> dict[str, int]:
        """All families without buckets, each the sum of its series, by one look."""
        sums: Counter[str] = Counter()
        for line in self.siding.page("/metrics").body.decode().splitlines():
            series, _, value = line.rpartition(" ")
            if series.startswith("siding_") and "_bucket{" not in series:
                sums[series.partition("{")[0]] += int(float(value))
        return sums

    def provider_in_flight(self) -> int:
        """Calls that it has and did not answer."""
        return self._llm.stats()["in_flight"]

    def descriptors(self) -> int:
        """Open in Siding's process, without the idle connections to the provider that it may keep."""
        return descriptors.without_idle(self.siding.pid, self._llm.address)

    def rss(self) -> int:
        """Siding's resident memory."""
        return rss_bytes(self.siding.pid)

    def left(self) -> dict[str, int]:
        """What is under way or held, by what it is; nothing at rest."""
        gauges = self.gauges()
        counts = {family: gauges[family] for family in GAUGES}
        counts["calls at the provider"] = self.provider_in_flight()
        return {name: count for name, count in counts.items() if count}

    async def rest(self, descriptors: int | None = None) -> tuple[dict[str, int], int]:
        """
        Lets go what the app holds until nothing is left, and no more descriptors are open than that. What is left and
        open in the end; without a number the fewest that are open in a while, since looking opens some too.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        looks: list[int] = []
        while True:
            self.app.release()
            await asyncio.sleep(POLL_SECONDS)
            opened, left = self.descriptors(), self.left()
            looks = [] if left else [*looks, opened]
            is_over = bool(looks) and (len(looks) == LOOKS if descriptors is None else opened <= descriptors)
            if is_over or time.monotonic() > deadline:
                return left, opened if descriptors is not None else min([*looks, opened])

    async def until(self, what: str, probe: Callable[[], bool]) -> None:
        """Waits while everything goes on."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not probe():
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {PATIENCE_SECONDS:.0f} s in vain for: {what}; under way: {self.left()}")
            await asyncio.sleep(POLL_SECONDS)


@contextlib.asynccontextmanager
async def standing(directory: Path, workers: int) -> AsyncIterator[Stand]:
    """Starts it and stops it."""
    address, egress = free_address(), free_address()
    settings = {
        "server": {"egress": egress, "threads": 0, "body_timeout": PATIENCE},
        "log": {"filter": "error"},
        "backend": {
            "workers": workers,
            "timeout": PATIENCE,
            "queue": {"capacity": 4 * workers, "timeout": PATIENCE},
        },
        "handoff": {"deadline": "30m", "relay_keepalive": "1s"},
        # Results are kept though their clients have left; the oldest make room, of fewer than a tenth of the requests.
        "background": {"capacity": f"{max(4 * workers, 64)}KiB", "max_result": "16KiB", "max_jobs": 4 * workers},
        "routes": [
            {"path": "/through/**", "handoff": False},
            {"path": "/shared/**", "cache": {"ttl": "0s", "scope": "public"}},
            {"path": "/llm/**", "terminate": {"provider": "openai", "authorize": "/allowed/", "strip": "/llm"}},
            {"path": "/jobs/**", "background": True},
        ],
    }
    with SimulatedLLM(directory) as llm, Siding(directory, address, llm.providers(), settings) as siding:
        app = HeldApp(llm.url)
        await app.start(address)
        try:
            yield Stand(siding, app, llm, workers)
        finally:
            app.release()
            app.close()
