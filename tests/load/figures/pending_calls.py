"""9,000 pending calls behind one synchronous worker: no error, and what each costs in Siding's memory.

The worker is gunicorn's with the chat project's `/api/ask/unsaved/`. All calls of a round are pending at one moment,
which Siding's own gauge shows; resident memory then, less that of the process before its first request, is what they
cost. There are three rounds, because memory that was used once is laid out worse the second time. Each answer is
checked to be the one to its question.

PENDING_CALLS and PENDING_ROUNDS in the environment make it shorter; PENDING_TLS_CALLS=0 leaves out the second part.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import generator
from e2e import tls
from harness import signing
from harness.backend import ChatProject
from harness.process import rss_bytes
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM
from installation import Installation
from verdict import Figure, Note

# A process may have 20,000 descriptors: a client's and a provider's for each call, and a few.
CALLS = int(os.environ.get("PENDING_CALLS", "9000"))
ROUNDS = int(os.environ.get("PENDING_ROUNDS", "3"))
# With TLS and HTTP/2 towards the provider, for information.
TLS_CALLS = int(os.environ.get("PENDING_TLS_CALLS", "1000"))
LEAST_LATENCY = 30
PROBES = 300
# A round begins with first passes only, and ends with second ones: the time of a first pass is at most this share
# of that of a whole exchange. More calls start late than were foreseen on a machine that is busy with other things.
FIRST_PASS, RESERVE = 0.6, 1.5
PATIENCE = "15m"
SAMPLING_SECONDS = 0.2


@dataclass(frozen=True)
class Round:
    """What came of one."""

    latency: int
    result: dict[str, Any]
    pending: int
    """The most at one moment."""
    rss: int
    """At such a moment."""
    rss_after: int

    def kib_each(self, idle: int) -> float:
        """Resident memory of a pending call."""
        return (self.rss - idle) / 1024 / max(self.pending, 1)

    def told(self, idle: int) -> str:
        """For people."""
        result, seconds = self.result, self.result["seconds"]
        return (
            f"calls of {self.latency} s: {result['good']} good, errors: {generator.errors(result)};"
            f" {self.pending} pending at once, {self.kib_each(idle):.1f} KiB each; {seconds:.0f} s in all;"
            f" RSS {mib(idle)} at first, {mib(self.rss)} pending, {mib(self.rss_after)} after"
        )


def measure(directory: Path, installation: Installation) -> Iterator[Figure | Note]:
    """Three rounds of plain HTTP/1.1, then one of TLS and HTTP/2."""
    with stand(directory, installation) as (llm, app):
        idle, rounds = run(proxy(directory, llm, app), CALLS, ROUNDS)
    for number, each in enumerate(rounds, 1):
        yield Note(f"round {number}: {each.told(idle)}")
    yield Figure("errors", sum(each.result["failed"] for each in rounds), "at most", 0, details="all rounds")
    yield Figure("pending at one moment", min(each.pending for each in rounds), "at least", CALLS, details="each round")
    details = f"round {len(rounds)}; the aim is 20"
    yield Figure("memory of a pending call", rounds[-1].kib_each(idle), "at most", 40, "KiB", details)
    if TLS_CALLS:
        yield from encrypted(directory, installation)


def encrypted(directory: Path, installation: Installation) -> Iterator[Note]:
    """One round over TLS and HTTP/2."""
    certificate, key = tls.make(directory)
    arguments = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with stand(directory, installation, *arguments) as (llm, app):
        idle, (only,) = run(proxy(directory, llm, app, {"ca_file": str(certificate)}), TLS_CALLS, 1)
    yield Note(f"TLS and HTTP/2 to the provider: {only.told(idle)}")


@contextlib.contextmanager
def stand(directory: Path, installation: Installation, *provider: str) -> Iterator[tuple[SimulatedLLM, ChatProject]]:
    """Provider and app."""
    with SimulatedLLM(directory, *provider) as llm:
        environment = {"SIDING_SECRET": signing.SECRET, "LLM_TIMEOUT": "900", **llm.sdk_environment()}
        (directory / llm.log_path.stem).mkdir()
        with ChatProject(directory / llm.log_path.stem, python=installation.python, environment=environment) as app:
            yield llm, app


def run(proxy: Siding, calls: int, rounds: int) -> tuple[int, list[Round]]:
    """Resident memory of a fresh process, and the rounds through it."""
    with proxy as siding:
        idle = rss_bytes(siding.pid)
        return idle, [one_round(siding, calls) for _ in range(rounds)]


def proxy(directory: Path, llm: SimulatedLLM, app: ChatProject, provider: dict[str, Any] | None = None) -> Siding:
    """With room for all calls, and patience. `provider` has further settings of it."""
    table = {"dialect": "openai", "base_url": llm.url, "timeout": {"first_byte": PATIENCE, "total": PATIENCE}}
    settings = {
        "backend": {"queue": {"capacity": 2 * CALLS, "timeout": PATIENCE}},
        "handoff": {"deadline": PATIENCE},
        "providers": {"openai": {**table, **(provider or {})}},
        "log": {"filter": "warn"},
    }
    return Siding(directory, app.address, settings=settings)


def target(siding: Siding) -> str:
    """The view that calls the model and writes nothing."""
    return f"{siding.url}/api/ask/unsaved/"


def one_round(siding: Siding, calls: int) -> Round:
    """All calls at once, watched."""
    latency = choose_latency(siding, calls)
    question = f'{{"prompt": "[latency={latency}s] Question {{n}}: why do trains wait?"}}'
    with Watch(siding) as watch:
        arguments = ["--requests", str(calls), "--concurrency", str(calls), "--timeout", PATIENCE]
        result = generator.ask(target(siding), *arguments, question=question)
    return Round(latency, result, watch.pending, watch.rss, rss_bytes(siding.pid))


def choose_latency(siding: Siding, calls: int) -> int:
    """Long enough for the worker to begin all exchanges before the first call ends."""
    generator.ask(target(siding), "--requests", "50", "--concurrency", "8")
    probed = generator.ask(target(siding), "--requests", str(PROBES), "--concurrency", "8")
    return max(LEAST_LATENCY, math.ceil(calls * probed["seconds"] / PROBES * FIRST_PASS * RESERVE))


class Watch(threading.Thread):
    """The most pending calls seen at one moment, and the most resident memory at such a moment."""

    def __init__(self, siding: Siding) -> None:
        super().__init__(daemon=True)
        self._siding, self._done = siding, threading.Event()
        self.pending = self.rss = 0

    def run(self) -> None:
        while not self._done.wait(SAMPLING_SECONDS):
            with contextlib.suppress(OSError):
                self.sample()

    def sample(self) -> None:
        """One look."""
        pending = int(self._siding.value("siding_exchanges_suspended"))
        rss = rss_bytes(self._siding.pid)
        if pending > self.pending:
            self.pending, self.rss = pending, rss
        elif pending == self.pending:
            self.rss = max(self.rss, rss)

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def mib(size: int) -> str:
    """For people."""
    return f"{size / 2**20:.0f} MiB"
