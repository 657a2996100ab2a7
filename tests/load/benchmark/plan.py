"""What is measured, in which order and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.setups import SETUPS, Setup

LATENCIES = (0, 1, 5)
CONCURRENCIES = (1, 32, 256, 1000)
# First requests a second while the load grows: about half of what the fastest server can begin, so that the closed
# loop does not run in waves.
RAMP_RATE = 200
# Starting and stopping the processes of a cell.
OVERHEAD_SECONDS = 6.0


@dataclass(frozen=True)
class Point:
    """How slow the model is and how many chats there are at once. All times are in seconds."""

    latency: int
    concurrency: int
    quick: bool = False

    @property
    def ramp_up(self) -> float:
        """First requests are spread over a latency, or more."""
        return 0.0 if self.concurrency == 1 else max(self.latency, self.concurrency / RAMP_RATE)

    @property
    def warm_up(self) -> float:
        """Until answers come as steadily as they go."""
        return max(3.0, self.ramp_up + self.latency + 1)

    @property
    def window(self) -> float:
        """What is measured."""
        if self.quick:
            return 4.0
        return 12.0 if self.latency >= 5 else 10.0 if self.concurrency >= 1000 else 7.0


@dataclass(frozen=True)
class Cell:
    """A server at a point."""

    setup: Setup
    point: Point

    @property
    def seconds(self) -> float:
        """How long it takes, about."""
        return self.point.warm_up + self.point.window + OVERHEAD_SECONDS

    def __str__(self) -> str:
        return f"{self.point.latency} s, {self.point.concurrency:4} at once, {self.setup.title}"


def cells(only: Iterable[str], quick: bool) -> list[Cell]:
    """
    All servers of one point follow one another, so that what is compared was measured at about the same time. `only`
    has words: names of servers, `latency=N`, `concurrency=N`; of each kind any may match.
    """
    wanted: dict[str, set[str]] = {"server": set(), "latency": set(), "concurrency": set()}
    for word in only:
        kind, _, value = word.rpartition("=")
        if (kind or "server") not in wanted:
            raise ValueError(f"--only {word}: name servers, latency=N or concurrency=N")
        wanted[kind or "server"].add(value)
    known = {
        "server": {setup.name for setup in SETUPS},
        "latency": set(map(str, LATENCIES)),
        "concurrency": set(map(str, CONCURRENCIES)),
    }
    for kind, values in wanted.items():
        if unknown := values - known[kind]:
            raise ValueError(f"no {kind} {', '.join(sorted(unknown))}: there are {', '.join(sorted(known[kind]))}")
    return [
        Cell(setup, Point(latency, concurrency, quick))
        for latency in LATENCIES
        if str(latency) in (wanted["latency"] or known["latency"])
        for concurrency in CONCURRENCIES
        if str(concurrency) in (wanted["concurrency"] or known["concurrency"])
        for setup in SETUPS
        if setup.name in (wanted["server"] or known["server"])
    ]
