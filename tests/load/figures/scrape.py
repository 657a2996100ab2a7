"""What a scrape takes with 10,000 exchanges in flight, and what scrapes do to other requests.

All exchanges have handed a call over to a model that does not answer yet, by Siding's own count; their calls go over
TLS and HTTP/2, because a process may have 20,000 descriptors and each client has one. Before, requests with routes and
models of their own have made as many series as there can be. A scrape is timed by its client, on a connection that it
keeps, as Prometheus does. Other requests come at a fixed rate, in rounds with a scrape a second and without any by
turns; the p99 of all of a side's is compared.

SCRAPE_EXCHANGES, SCRAPE_ROUNDS and SCRAPE_RATE in the environment make it less.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generator
from e2e import tls
from exposition import Scrape
from harness.addresses import free_address
from harness.backend import Backend
from harness.load_driver import LoadDriver
from harness.process import rss_bytes
from harness.raw_http import Connection
from harness.siding import Siding
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM
from harness.waiting import until
from installation import Installation
from stub import BINARY
from verdict import Figure, Note

EXCHANGES = int(os.environ.get("SCRAPE_EXCHANGES", "10000"))
ROUNDS = int(os.environ.get("SCRAPE_ROUNDS", "8"))
SECONDS = 20
RATE = int(os.environ.get("SCRAPE_RATE", "100"))
SCRAPES = 100
# More than a label has values of its own.
NAMES = 150
WORKERS = 4
# Longer than all that is measured.
HELD = "30m"
BEGINNING_SECONDS = 300
COMPLETION = '{"model": "model-{n}", "messages": [{"role": "user", "content": "[latency=0s] {n}: why do we wait?"}]}'
HOME = Path(__file__).resolve().parents[1]

names = itertools.count()


def measure(directory: Path, installation: Installation) -> Iterator[Figure | Note]:
    """Three verdicts."""
    egress = free_address()
    with contextlib.ExitStack() as stack:
        certificate, key = tls.make(directory)
        flags = ("--tls-cert", str(certificate), "--tls-key", str(key))
        llm = stack.enter_context(SimulatedLLM(directory, *flags, latency=HELD))
        environment = {"LLM_URL": llm.url, "SIDING_SECRET": SECRET}
        python, app = installation.python, "queueing_app:application"
        backend = Backend(directory, app, HOME, workers=WORKERS, python=python, environment=environment)
        stack.enter_context(backend)
        siding = stack.enter_context(Siding(directory, backend.address, settings=settings(llm, certificate, egress)))
        siding.until_app()
        fill(siding, egress)
        alone = scrapes(siding)
        with held(directory, siding):
            series, memory = len(Scrape.of(siding).series()), rss_bytes(siding.pid) >> 20
            beside = scrapes(siding)
            without, during = rounds(siding)
            assert suspended(siding) == EXCHANGES, "not all exchanges were held to the end"
    details = f"{SCRAPES} scrapes of {series:,} series, {EXCHANGES:,} exchanges in flight"
    yield Figure("scrape, median", statistics.median(beside), "at most", 20, "ms", details)
    yield Figure("scrape, p99", p99(beside), "at most", 20, "ms", details)
    yield Note(f"with none in flight: median {statistics.median(alone):.2f} ms, p99 {p99(alone):.2f} ms")
    yield Note(f"Siding's memory with all in flight: {memory} MiB")
    yield moved(without, during)


def settings(llm: SimulatedLLM, certificate: Path, egress: str) -> dict[str, Any]:
    """With room and patience for all."""
    provider = {"dialect": "openai", "base_url": llm.url, "ca_file": str(certificate)}
    return {
        "server": {"threads": 0, "egress": egress},
        "log": {"filter": "warn"},
        "backend": {"workers": WORKERS, "queue": {"capacity": 2 * EXCHANGES, "timeout": HELD}},
        "handoff": {"deadline": HELD},
        "providers": {"openai": {**provider, "timeout": {"first_byte": HELD, "total": HELD}}},
    }


def fill(siding: Siding, egress: str) -> None:
    """Makes the series there can be."""
    routed, completions = f"{siding.url}/routed/{{n}}", f"http://{egress}/openai/v1/chat/completions"
    for url, *flags in ((routed,), (completions, "--body-template", COMPLETION)):
        result = generator.load(url, "--requests", str(NAMES), *flags)
        assert not result["failed"], (url, generator.errors(result))


@contextlib.contextmanager
def held(directory: Path, siding: Siding) -> Iterator[None]:
    """All exchanges wait for the model. Then their clients leave."""
    flags = ["--concurrency", str(EXCHANGES), "--duration", HELD, "--timeout", HELD]
    with LoadDriver(directory, f"{siding.url}/ask/0/0?{{n}}", *flags):
        until("all exchanges to be held", lambda: suspended(siding) == EXCHANGES, BEGINNING_SECONDS)
        yield
    until("no exchange to be held any more", lambda: suspended(siding) == 0, BEGINNING_SECONDS)


def suspended(siding: Siding) -> float:
    """By Siding's own gauge."""
    return siding.value("siding_exchanges_suspended")


def scrapes(siding: Siding) -> list[float]:
    """How long each took, in milliseconds."""
    with Connection(siding.admin) as connection:
        return [scraped(connection) for _ in range(SCRAPES)]


def scraped(connection: Connection) -> float:
    """One of them."""
    began = time.perf_counter()
    response = connection.request("GET", "/metrics")
    took = 1000 * (time.perf_counter() - began)
    assert response.status == 200, response.status
    return took


def rounds(siding: Siding) -> tuple[list[float], list[float]]:
    """What other requests took, without and with scrapes, in milliseconds."""
    without: list[float] = []
    during: list[float] = []
    visit(siding)
    for _ in range(ROUNDS):
        without += visit(siding)
        with scraping(siding):
            during += visit(siding)
    return without, during


@contextlib.contextmanager
def scraping(siding: Siding) -> Iterator[None]:
    """A scrape a second."""
    done = threading.Event()

    def scrape() -> None:
        with Connection(siding.admin) as connection:
            while not done.wait(1.0):
                scraped(connection)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def visit(siding: Siding) -> list[float]:
    """Requests that the app answers at once."""
    arguments = ["--name", f"v{next(names)}", "--rate", str(RATE), "--requests", str(RATE * SECONDS)]
    command = [str(BINARY), "visit", *arguments, "--url", f"{siding.address}/"]
    rows = map(str.split, subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines())
    taken = []
    for _, took, *fault in rows:
        assert not fault, f"a request ended with status {fault[0]}"
        taken.append(int(took) / 1e6)
    return taken


def moved(without: list[float], during: list[float]) -> Figure:
    """By how much scrapes move the p99."""
    change = 100 * (p99(during) / p99(without) - 1)
    spread = " ".join(f"{p99(part(without, at)):.2f}/{p99(part(during, at)):.2f}" for at in range(ROUNDS))
    details = f"{p99(without):.2f} ms, {p99(during):.2f} with one a second; {len(during):,} requests each; {spread}"
    return Figure("p99 of other requests, moved by", change, "at most", 5, "%", details)


def part(taken: list[float], number: int) -> list[float]:
    """One round's."""
    return taken[number * RATE * SECONDS : (number + 1) * RATE * SECONDS]


def p99(taken: list[float]) -> float:
    """Of all but the lowest."""
    return statistics.quantiles(taken, n=100, method="inclusive")[98]
