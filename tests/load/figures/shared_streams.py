"""One stream for a hundred clients that ask for it at once: how far apart they get its events, to Varnish.

The origin sends 20 events, one each 50 ms. Siding's cache keeps nothing of it and only joins identical requests;
Varnish does so by itself while it fetches. They take turns, each round with another address. Each round the origin is
asked once, and all answers are complete and the same.

A delay is a client's less that of the client which got the same bytes first: of the body's first byte, and of each
later event. The clients are one process, which reads one socket after the other; a control without a cache shows what
that adds: the origin gives one stream to all who ask for it, in one loop. Since a delay says nothing of what all
clients wait for, the time from the origin's sending is told beside it.

SHARED_STREAMS_ROUNDS in the environment changes how long it takes; SHARED_STREAMS_WITHOUT=siding leaves Siding out,
and with it all promises.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from caches import Varnish, caching_siding
from harness.siding import Siding
from installation import Installation
from listeners import Heard, listen
from origin import Origin
from origin_server import EVENTS
from proxies import Proxy
from tools import require
from verdict import Figure, Note

ROUNDS = int(os.environ.get("SHARED_STREAMS_ROUNDS", "10"))
WITHOUT = os.environ.get("SHARED_STREAMS_WITHOUT", "").split()
CLIENTS = 100
LIMIT_MS = 5.0

SIDING, VARNISH, CONTROL = "siding", "varnish", "no cache"

Contestant = Proxy | Siding | Origin

names = itertools.count()


@dataclass
class Delays:
    """Of all rounds and clients, in milliseconds."""

    first: list[float] = field(default_factory=list)
    """Of the body's first byte, behind the earliest client."""
    events: list[float] = field(default_factory=list)
    """Of each later event, behind the earliest client."""
    sent: list[float] = field(default_factory=list)
    """Of each event, behind its sending."""

    def add(self, clients: list[Heard]) -> None:
        """One round's."""
        self.first += behind([each.first for each in clients])
        for number in range(1, EVENTS):
            self.events += behind([each.events[number] for each in clients])
        self.sent += [(got - sent) * 1000 for each in clients for got, sent in zip(each.events, each.sent, strict=True)]

    def __str__(self) -> str:
        return (
            f"first byte {spread(self.first)}; later events {spread(self.events)}; events from their sending"
            f" {spread(self.sent)}"
        )


def measure(directory: Path, _: Installation) -> Iterator[Figure | Note]:
    """The promises, then everything that was seen."""
    require("varnishd")
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(Origin(directory))
        contestants: dict[str, Contestant] = {**caches(directory, origin)}
        for cache in contestants.values():
            stack.enter_context(cache)
        contestants[CONTROL] = origin
        delays = rounds(contestants, origin)
    if SIDING in contestants:
        yield promise("first byte, p99", {name: each.first for name, each in delays.items()})
        yield promise("later events, p99", {name: each.events for name, each in delays.items()})
    for name, each in delays.items():
        yield Note(f"{name}: {each}")


def caches(directory: Path, origin: Origin) -> dict[str, Proxy | Siding]:
    """By what they are called in the report."""
    known: dict[str, Proxy | Siding] = {
        SIDING: caching_siding(directory, origin.address, "GET", "0s"),
        VARNISH: Varnish(directory, origin.address, by_body=False),
    }
    return {name: each for name, each in known.items() if name not in WITHOUT}


def rounds(contestants: dict[str, Contestant], origin: Origin) -> dict[str, Delays]:
    """Each has its turn in each, in another order each time."""
    for name, each in contestants.items():
        one_round(name, each, origin)
    seen = {name: Delays() for name in contestants}
    for _ in range(ROUNDS):
        for name in random.sample(list(contestants), len(contestants)):
            seen[name].add(one_round(name, contestants[name], origin))
    return seen


def one_round(name: str, contestant: Contestant, origin: Origin) -> list[Heard]:
    """A stream that nobody has asked for before."""
    target = f"/stream/chat?round={next(names)}"
    clients = listen(contestant.address, target, CLIENTS)
    if faulty := sum(each.body != clients[0].body or len(each.events) != EVENTS for each in clients):
        raise RuntimeError(f"{name}: {faulty} of {CLIENTS} answers are not complete or not the same")
    expected = CLIENTS if name == CONTROL else 1
    if (calls := origin.calls(target)) != expected:
        raise RuntimeError(f"{name}: the origin was asked {calls} times instead of {expected}")
    return clients


def behind(times: list[float]) -> list[float]:
    """The delay of each to the earliest."""
    earliest = min(times)
    return [(each - earliest) * 1000 for each in times]


def promise(name: str, delays: dict[str, list[float]]) -> Figure:
    """About Siding, with the others beside it."""
    others = ", ".join(f"{other} {quantile(each, 0.99):.2f}" for other, each in delays.items() if other != SIDING)
    details = f"{others}; {ROUNDS} rounds of {CLIENTS} clients"
    return Figure(name, quantile(delays[SIDING], 0.99), "at most", LIMIT_MS, "ms", details)


def quantile(values: list[float], share: float) -> float:
    """Of all but the lowest."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def spread(values: list[float]) -> str:
    """For people."""
    p50, p99 = (quantile(values, share) for share in (0.5, 0.99))
    return f"p50 {p50:.2f}, p99 {p99:.2f}, max {max(values):.2f} ms"
