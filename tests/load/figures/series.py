"""A million requests that are all different: how many series there are before and after, and what memory it takes.

A quarter each: GETs with paths and queries of their own; the same with methods of their own; GETs whose answers name a
route of their own (`Siding-Route`); completions through the egress with models and prompts of their own. What a label
can be is a closed or a capped set, so all series there can be are there after the first tenth; the rest must add none.

SERIES_REQUESTS in the environment is their number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import generator
from exposition import Scrape
from harness.addresses import free_address
from harness.process import rss_bytes
from harness.siding import Siding
from installation import Installation
from stub import Stub
from verdict import Figure, Note

REQUESTS = int(os.environ.get("SERIES_REQUESTS", "1000000"))
FIRST = REQUESTS // 10
CONCURRENCY = 32
# What a pod may cost whoever scrapes it, at the worst.
MOST_SERIES = 10_000
COMPLETION = '{"model": "model-{n}", "messages": [{"role": "user", "content": "Question {n}: why do trains wait?"}]}'


def measure(directory: Path, _: Installation) -> Iterator[Figure | Note]:
    """Two verdicts."""
    egress = free_address()
    settings = {"server": {"egress": egress}, "backend": {"workers": 100}, "log": {"filter": "error"}}
    with Stub(directory) as stub, Siding(directory, stub.address, stub.provider_url, settings) as siding:
        siding.until_app()
        before, rss_before = Scrape.of(siding).series(), rss_bytes(siding.pid)
        different(siding, egress, FIRST)
        first, rss_first = Scrape.of(siding).series(), rss_bytes(siding.pid)
        different(siding, egress, REQUESTS - FIRST)
        last = Scrape.of(siding)
        after, rss_after = last.series(), rss_bytes(siding.pid)
    added = sorted(after - first)
    details = f"{len(before):,} before, {len(first):,} after {FIRST:,}, {len(after):,} after {REQUESTS:,} requests"
    yield Figure("series", len(after), "at most", MOST_SERIES, details=details)
    yield Figure("series that the last nine tenths added", len(added), "at most", 0, details=", ".join(added[:3]))
    memory = " / ".join(str(size >> 20) for size in (rss_before, rss_first, rss_after))
    yield Note(f"resident memory before / after a tenth / after all: {memory} MiB; a scrape is {len(last.text)} bytes")


def different(siding: Siding, egress: str, requests: int) -> None:
    """So many requests, all answered."""
    loads = (
        (f"{siding.url}/bytes/10/{{n}}?question={{n}}",),
        (f"{siding.url}/bytes/10/{{n}}?question={{n}}", "--method", "M{n}"),
        (f"{siding.url}/routed/10/{{n}}",),
        (f"http://{egress}/openai/v1/chat/completions", "--body-template", COMPLETION),
    )
    for url, *flags in loads:
        common = ["--requests", str(requests // len(loads)), "--concurrency", str(CONCURRENCY)]
        result = generator.load(url, *flags, *common)
        assert not result["failed"], (url, generator.errors(result))
