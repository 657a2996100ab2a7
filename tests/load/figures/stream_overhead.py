"""What Siding adds to the way of a stream's events: egress and relay beside a direct connection, 1 and 128 at once.

The simulated LLM stamps each event with the time of its sending, and of the arrival of the call that it answers. The
load driver, one process on the same machine, takes down when each event arrived. So the provider's own time is in
neither of these:

- the first event's way: from the beginning of the client's request to the first event, less the provider's own time;
- an event's delay: from its sending to its arrival, for all events, the first included.

Direct calls, calls through the egress and relayed calls take turns, each call with another prompt. The promise is about
what is left of the proxied ones less the direct ones' median. The median goes off p99 too, so that every delay of the
kernel's and the driver's own beyond the usual counts against Siding; the direct ones' p99 stands beside it.

A relayed stream's first event has come through a pass of an app before that, connection and all. The app is the stub,
whose own time is small, and counted against Siding.

STREAM_OVERHEAD_ROUNDS and STREAM_OVERHEAD_SECONDS in the environment change how long it takes.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import generator
from harness.addresses import free_address
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM
from installation import Installation
from stub import Stub
from verdict import Figure, Note

ROUNDS = int(os.environ.get("STREAM_OVERHEAD_ROUNDS", "5"))
SECONDS = int(os.environ.get("STREAM_OVERHEAD_SECONDS", "10"))
LATENCY = "20ms"
TOKEN_RATE = 50
WORKERS = 100
QUESTION = (
    '{"model": "gpt-4o-mini", "stream": true, "messages":'
    ' [{"role": "user", "content": "Question {n}: why do trains wait?"}]}'
)
DIRECT, EGRESS, RELAY = "direct", "egress", "relay"


@dataclass(frozen=True)
class Load:
    """So many streams at once, one after the other in each place, and what they may cost in milliseconds."""

    streams: int
    tokens: int
    limit_ms: float

    @property
    def stream_seconds(self) -> float:
        """How long one takes."""
        return self.tokens / TOKEN_RATE


# A single stream is short, so that there are enough first events.
LOADS = (Load(1, 10, 1.0), Load(128, 250, 5.0))


@dataclass
class Times:
    """Of all rounds, in milliseconds."""

    first: list[float] = field(default_factory=list)
    delay: list[float] = field(default_factory=list)

    def add(self, result: dict[str, Any]) -> None:
        """One round's."""
        samples = result["streams"]["samples"]
        self.first += samples["first_event_way"]
        self.delay += samples["delay"]


def measure(directory: Path, _: Installation) -> Iterator[Figure | Note]:
    """Two promises for each way and load."""
    with contextlib.ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory, latency=LATENCY))
        stub = stack.enter_context(Stub(directory, "--close", "--relayed-from", llm.address))
        egress = free_address()
        settings = {
            "server": {"egress": egress, "threads": 0},
            "backend": {"workers": WORKERS},
            "log": {"filter": "warn"},
        }
        siding = stack.enter_context(Siding(directory, stub.address, llm.url, settings))
        siding.until_app()
        urls = {
            DIRECT: f"{llm.url}/v1/chat/completions",
            EGRESS: f"http://{egress}/openai/v1/chat/completions",
            RELAY: f"{siding.url}/relay",
        }
        for load in LOADS:
            llm.configure(tokens=load.tokens, token_rate=TOKEN_RATE, directives="[stamp]")
            yield from observed(siding, urls, load)


def observed(siding: Siding, urls: dict[str, str], load: Load) -> Iterator[Figure | Note]:
    """One load, all ways in turn."""
    times = {way: Times() for way in urls}
    used = dict.fromkeys(urls, 0.0)
    for way, url in urls.items():
        stream(way, url, load, 1)
    for _ in range(ROUNDS):
        for way, url in urls.items():
            before = siding.cpu_seconds()
            times[way].add(stream(way, url, load, SECONDS))
            used[way] += siding.cpu_seconds() - before
    name = "1 stream" if load.streams == 1 else f"{load.streams} streams"
    for way in (EGRESS, RELAY):
        yield promise(f"{name}, {way}: first event, p99", times[way].first, times[DIRECT].first, load)
        yield promise(f"{name}, {way}: delay of an event, p99", times[way].delay, times[DIRECT].delay, load)
    for way, each in times.items():
        cpu = "" if way == DIRECT else f"; Siding's CPU {used[way] / len(each.delay) * 1e6:.0f} us an event"
        yield Note(f"{name}, {way}: first event {spread(each.first)}; delay {spread(each.delay)}{cpu}")


def stream(way: str, url: str, load: Load, seconds: int) -> dict[str, Any]:
    """One round; each place begins at another time, so that streams do not march in step."""
    arguments = ["--stream", "--samples", "--concurrency", str(load.streams), "--duration"]
    arguments += [f"{seconds + load.stream_seconds:g}s", "--ramp-up", f"{load.stream_seconds:g}s"]
    result = generator.ask(url, *arguments, question=QUESTION)
    if result["failed"]:
        raise RuntimeError(f"{way}: {generator.errors(result)}")
    if unstamped := result["streams"]["unstamped"]:
        raise RuntimeError(f"{way}: {unstamped} events did not say when they were sent")
    return result


def promise(name: str, times: list[float], direct: list[float], load: Load) -> Figure:
    """What is added, with what it is made of."""
    median, there, here = quantile(direct, 0.5), quantile(direct, 0.99), quantile(times, 0.99)
    details = f"{here:.2f} less {median:.2f}, the direct median; direct p99 {there:.2f}; {len(times)} events"
    return Figure(name, here - median, "at most", load.limit_ms, "ms", details)


def quantile(values: list[float], share: float) -> float:
    """Of all but the lowest."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def spread(values: list[float]) -> str:
    """For people."""
    p50, p99 = (quantile(values, share) for share in (0.5, 0.99))
    return f"p50 {p50:.2f}, p99 {p99:.2f}, max {max(values):.2f} ms"
