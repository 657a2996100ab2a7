"""What is seen of the process, and whether it grows."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import descriptors
from exposition import Scrape
from harness.process import rss_bytes
from harness.siding import Siding

MIB = 2**20
THREADS = re.compile(r"^Threads:\s+(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """One look."""

    at: float
    memory_mib: float
    descriptors: int
    threads: int
    series: int
    in_flight: float

    @classmethod
    def of(cls, siding: Siding) -> Sample:
        """As it is now."""
        scrape = Scrape.of(siding)
        threads = THREADS.search(Path(f"/proc/{siding.pid}/status").read_text())
        assert threads
        return cls(
            at=time.monotonic(),
            memory_mib=rss_bytes(siding.pid) / MIB,
            descriptors=len(descriptors.opened(siding.pid)),
            threads=int(threads[1]),
            series=len(scrape.series()),
            in_flight=scrape.total("siding_exchanges_in_flight"),
        )

    def __str__(self) -> str:
        return (
            f"{self.memory_mib:.1f} MiB, {self.descriptors} descriptors, {self.threads} threads, "
            f"{self.series:,} series, {self.in_flight:g} exchanges in flight"
        )


def growth(samples: list[Sample], what: Callable[[Sample], float]) -> float:
    """By how much something has grown over the second half, by the line through its samples: the first half is for what
    fills up once. Not a number where there are too few."""
    half = samples[len(samples) // 2 :]
    if len(half) < 3:
        return float("nan")
    slope, _ = statistics.linear_regression([sample.at for sample in half], [what(sample) for sample in half])
    return slope * (half[-1].at - half[0].at)
