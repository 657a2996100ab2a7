"""10,000 requests whose clients leave, at each point of each mode: nothing remains of them.

A crowd comes at once; when all its requests are at the point, which Siding's gauges, the app or the provider tell, all
clients leave, every second one with a reset. Then nothing is under way any more, by Siding's gauges (workers, queue,
exchanges, calls, flights and those who wait for them, bytes of bodies) and by the provider's count. Siding has as many
descriptors as after the first crowd, the idle connections aside that it may keep to the provider. From the second tenth
of the requests to the last, its memory grows by less than a task takes: the first two make room for the crowds, which
are all of the same size. A leaked task shows there, since the runtime does not tell how many there are.

Workers whose clients leave in a pass stay taken until the app is done with it; it is, after the clients have left.

ABORTED_REQUESTS in the environment is their number, ABORTED_REQUESTS_AT picks points by a part of their name.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from installation import Installation
from leaving.points import POINTS, Point
from leaving.stand import Stand, standing
from leaving.visitors import Crowd, request
from verdict import Figure

REQUESTS = int(os.environ.get("ABORTED_REQUESTS", "10000"))
ONLY = os.environ.get("ABORTED_REQUESTS_AT", "")
# Workers of the app: a tenth of the requests is two crowds of twice as many.
WORKERS = max(REQUESTS // 40, 1)
TENTH = 4 * WORKERS
# From the second tenth on: a task of an exchange takes several KiB, and the allocator's own ups and downs are not more
# than two MiB in all.
GROWTH_MIB = max(512 * 8 * TENTH / 2**20, 2.0)


@dataclass
class Remains:
    """What was seen at rest."""

    left: dict[str, int] = field(default_factory=dict)
    descriptors: tuple[int, int] = (0, 0)
    """After the first crowd and after the last."""
    rss: list[int] = field(default_factory=list)
    """After each tenth."""
    saved: int = 0

    @property
    def count(self) -> int:
        """Of all things that should not be there; bytes are one."""
        first, last = self.descriptors
        return sum(self.left.values()) + max(last - first, 0)

    @property
    def growth(self) -> float:
        """MiB of memory, from the second tenth on; unknown if it did not come to the last."""
        return math.nan if len(self.rss) < 10 else (self.rss[-1] - self.rss[1]) / 2**20

    def __str__(self) -> str:
        left = ", ".join(f"{count} {name}" for name, count in self.left.items()) or "nothing by any gauge"
        return f"{left}; {self.descriptors[1]} descriptors, {self.descriptors[0]} after the first crowd"


def measure(directory: Path, _: Installation) -> Iterator[Figure]:
    """Two promises for each point."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        found = at_all_points(directory)
        try:
            while (figure := loop.run_until_complete(anext(found, None))) is not None:
                yield figure
        finally:
            loop.run_until_complete(found.aclose())


async def at_all_points(directory: Path) -> AsyncGenerator[Figure, None]:
    """One after the other in one process."""
    async with standing(directory, WORKERS) as stand:
        for point in POINTS:
            if ONLY not in point.name:
                continue
            remains = await at(stand, point)
            yield Figure(f"{point.name}: left", remains.count, "at most", 0, "", str(remains))
            tenths = " ".join(f"{rss / 2**20:.1f}" for rss in remains.rss)
            details = f"MiB after each tenth of {10 * TENTH}: {tenths}"
            yield Figure(f"{point.name}: growth of memory", remains.growth, "at most", GROWTH_MIB, "MiB", details)
            if point.is_saved:
                yield Figure(f"{point.name}: last passes", remains.saved, "at least", 10 * TENTH)


async def at(stand: Stand, point: Point) -> Remains:
    """All requests of one point."""
    size = WORKERS * point.crowd_per_worker
    remains, first = Remains(), None
    saved = stand.gauge("siding_relay_passes_total")
    for number in range(10 * TENTH // size):
        await one_crowd(stand, point, number, size)
        remains.left, last = await stand.rest(first)
        first = last if first is None else first
        remains.descriptors = (first, last)
        if remains.count:
            break
        if (number + 1) * size % TENTH == 0:
            remains.rss.append(stand.rss())
    remains.saved = stand.gauge("siding_relay_passes_total") - saved
    return remains


async def one_crowd(stand: Stand, point: Point, number: int, size: int) -> None:
    """It comes, is where it should be, and leaves."""
    stand.app.moves = point.moves
    crowd = Crowd()
    address = stand.siding.settings["server"]["egress"] if point.by_egress else stand.siding.address
    await crowd.come(address, [asked(point, number, each) for each in range(size)])
    await stand.until(f"{size} requests: {point.name}", lambda: point.is_reached(stand, crowd, size))
    crowd.leave()


def asked(point: Point, number: int, each: int) -> bytes:
    """The request of one of a crowd: like no other, or like all of its crowd's."""
    name = f"{point.name} {number}" if point.shares else f"{point.name} {number} {each}"
    prompt = None if point.prompt is None else f"{point.prompt} {name}"
    return request(point.target.format(n=number), prompt, stream=point.streams, short_of=point.short_of)
