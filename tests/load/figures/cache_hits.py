"""Cached answers a second to POST requests, told apart by their bodies: Siding, nginx and Varnish.

Each has the answers to the same prompts of 1 or 16 KiB, and they take turns under the same load: keep-alive clients
that go through the prompts over and over. Each prompt's answer is checked on each cache before and after, and the
origin is not asked in between. A promise is about the median of the rounds' ratios. Processor time a request is told
beside it: it is the steadier figure where the machine does other things too.

Siding's key is the body's meaning, which it has to parse; the others' are its bytes. nginx keeps files, the others
memory. None writes a log of requests.

CACHE_HITS_ROUNDS and CACHE_HITS_SECONDS in the environment change how long it takes; CACHE_HITS_WITHOUT=siding leaves
Siding out, and with it all promises.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prompts
from caches import CachingNginx, Varnish, caching_siding, require_body_access
from harness import raw_http
from harness.siding import Siding
from installation import Installation
from origin import Origin
from prompts import Prompt
from proxies import Proxy
from tools import require
from verdict import Figure, Note

ROUNDS = int(os.environ.get("CACHE_HITS_ROUNDS", "5"))
SECONDS = int(os.environ.get("CACHE_HITS_SECONDS", "3"))
WITHOUT = os.environ.get("CACHE_HITS_WITHOUT", "").split()
PROMPTS = 200
SMALL, LARGE = "1 KiB", "16 KiB"
SIZES = {SMALL: 1024, LARGE: 16 * 1024}
CONNECTIONS = 64
TARGET = "/v1/chat/completions"
JSON = ("Content-Type", "application/json")

SIDING, NGINX, VARNISH = "siding", "nginx", "varnish"
LEAST_OF_BEST, LEAST_OF_SMALL, MOST_OF_NGINX = 1.1, 0.6, 1.0

SCRIPT = """
local requests, last = {}, 0
function init(arguments)
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["Host"] = "app.example"
    for body in io.lines(arguments[1]) do
        requests[#requests + 1] = wrk.format("POST", nil, nil, body)
    end
end
function request()
    last = last % #requests + 1
    return requests[last]
end
"""
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}

Seen = dict[str, list["Turn"]]


@dataclass(frozen=True)
class Turn:
    """What a cache did in one turn."""

    throughput: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """A request."""


def measure(directory: Path, _: Installation) -> Iterator[Figure | Note]:
    """The promises, then everything that was seen."""
    require("nginx", "wrk", "varnishd")
    require_body_access()
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(Origin(directory))
        contestants = {name: stack.enter_context(each) for name, each in caches(directory, origin).items()}
        seen = {size: rounds(contestants, origin, Pool(directory, length)) for size, length in SIZES.items()}
    if SIDING in contestants:
        yield from promises(seen)
    for size in SIZES:
        for name in contestants:
            yield Note(f"{size}, {name}: {row(seen[size][name])}")


def caches(directory: Path, origin: Origin) -> dict[str, Proxy | Siding]:
    """By what they are called in the report."""
    known: dict[str, Proxy | Siding] = {
        SIDING: caching_siding(directory, origin.address, "POST", "1h"),
        NGINX: CachingNginx(directory, origin.address),
        VARNISH: Varnish(directory, origin.address, by_body=True),
    }
    return {name: each for name, each in known.items() if name not in WITHOUT}


class Pool:
    """Prompts of one size, with the files that wrk reads."""

    def __init__(self, directory: Path, size: int) -> None:
        self.prompts: list[Prompt] = prompts.pool(PROMPTS, size)
        self.script, self.bodies = directory / "hits.lua", directory / f"prompts-{size}"
        self.script.write_text(SCRIPT)
        self.bodies.write_bytes(b"".join(prompt.body + b"\n" for prompt in self.prompts))


def rounds(contestants: dict[str, Any], origin: Origin, pool: Pool) -> Seen:
    """Each has its turn in each, in another order each time."""
    before = origin.calls(TARGET)
    for each in contestants.values():
        check(each, pool)
        turn(each, pool, 1)
    seen: Seen = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name in random.sample(list(contestants), len(contestants)):
            seen[name].append(turn(contestants[name], pool, SECONDS))
    for each in contestants.values():
        check(each, pool)
    asked, expected = origin.calls(TARGET) - before, len(contestants) * len(pool.prompts)
    if asked != expected:
        raise RuntimeError(f"the origin was asked {asked} times instead of {expected}, once for each prompt and cache")
    return seen


def check(cache: Proxy | Siding, pool: Pool) -> None:
    """Each prompt has its own answer. The first time, this is what fills the cache."""
    with raw_http.Connection(cache.address) as connection:
        for prompt in pool.prompts:
            answer = connection.request("POST", TARGET, [JSON], prompt.body)
            if answer.status != 200 or json.loads(answer.body)["digest"] != prompt.digest:
                raise RuntimeError(f"{cache.name} gave a wrong answer: {answer.status} {answer.body[:300]!r}")


def turn(cache: Proxy | Siding, pool: Pool, seconds: int) -> Turn:
    """Load by one thread of wrk."""
    url = f"http://{cache.address}{TARGET}"
    before = cache.cpu_seconds()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(pool.script), url, "--"]
    text = subprocess.run([*command, str(pool.bodies)], capture_output=True, text=True, check=True).stdout
    used = cache.cpu_seconds() - before
    if fault := re.search(r"Non-2xx.*|Socket errors.*", text):
        raise RuntimeError(f"{cache.name}: {fault[0]}\n{cache.last_words()}")
    requests = int(found(r"(\d+) requests in", text)[0])
    throughput = float(found(r"Requests/sec:\s*(\S+)", text)[0])
    p50, p99 = (milliseconds(text, percent) for percent in (50, 99))
    return Turn(throughput, p50, p99, used / requests * 1e6)


def milliseconds(text: str, percent: int) -> float:
    """A quantile of wrk's."""
    value, unit = found(rf"{percent}%\s+([\d.]+)(us|ms|s)", text)
    return float(value) * UNITS_MS[unit]


def found(pattern: str, text: str) -> tuple[str, ...]:
    """The groups of what must be in wrk's report."""
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said something else:\n{text}")
    return match.groups()


def promises(seen: dict[str, Seen]) -> Iterator[Figure]:
    """About Siding."""
    small, large = seen[SMALL], seen[LARGE]
    others = [name for name in small if name != SIDING]
    best = max(others, key=lambda name: throughput(small[name]))
    ratios = [own.throughput / other.throughput for own, other in zip(small[SIDING], small[best], strict=True)]
    yield Figure(f"hits, {SMALL}", statistics.median(ratios), "at least", LEAST_OF_BEST, f"of {best}", spread(ratios))
    ratios = [many.throughput / few.throughput for many, few in zip(large[SIDING], small[SIDING], strict=True)]
    yield Figure(f"hits, {LARGE}", statistics.median(ratios), "at least", LEAST_OF_SMALL, f"of {SMALL}", spread(ratios))
    for size in SIZES:
        turns = zip(seen[size][SIDING], seen[size][NGINX], strict=True)
        ratios = [own.p99_ms / other.p99_ms for own, other in turns]
        yield Figure(f"p99, {size}", statistics.median(ratios), "at most", MOST_OF_NGINX, "of nginx", spread(ratios))


def throughput(turns: list[Turn]) -> float:
    """The median."""
    return statistics.median(turn.throughput for turn in turns)


def spread(ratios: list[float]) -> str:
    """For people."""
    return f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"


def row(turns: list[Turn]) -> str:
    """Medians."""
    rates = [turn.throughput for turn in turns]
    p50, p99, cpu = (
        statistics.median(getattr(turn, field) for turn in turns) for field in ("p50_ms", "p99_ms", "cpu_us")
    )
    return (
        f"{statistics.median(rates):.0f} requests a second ({min(rates):.0f} to {max(rates):.0f}),"
        f" p50 {p50:.2f} ms, p99 {p99:.2f} ms, {cpu:.1f} us of CPU a request"
    )
