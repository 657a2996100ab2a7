"""The two sides of a comparison: gunicorn's sync worker called directly, and the same behind Siding."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import signing
from harness.backend import ChatProject
from harness.process import BINARIES
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM
from installation import Installation

SETTINGS = {
    "server": {"threads": 0},
    "backend": {"queue": {"capacity": 2000, "timeout": "120s"}},
    "log": {"filter": "warn"},
}
BODY = '{"prompt": "Question {n}: why do trains wait?"}'
# Enough to keep one worker busy: called directly, and while each chat waits a second for its answer.
DIRECT_CONCURRENCY = 4
BEHIND_CONCURRENCY = 600
# Before a throughput is read: the first answers, and the wave in which they come, are over.
SETTLING_SECONDS = 6.0


@dataclass(frozen=True)
class Side:
    """One worker and what is in front of it."""

    name: str
    backend: ChatProject
    siding: Siding | None
    concurrency: int

    def cost(self, path: str, seconds: float) -> Cost:
        """The CPU of a load, from before its first chat to after its last."""
        before = self._cpu()
        answered = finished(self._load(path, seconds))
        workers, proxy = (1000 * (after - was) / answered for after, was in zip(self._cpu(), before, strict=True))
        return Cost(answered, workers, proxy)

    def throughput(self, path: str, seconds: float) -> float:
        """Rows written a second in a window within a load: with ample concurrency the load's beginning and end, when
        all wait for the model, are not what is asked about."""
        load = self._load(path, SETTLING_SECONDS + seconds)
        try:
            time.sleep(SETTLING_SECONDS)
            began, before = time.monotonic(), self._rows()
            time.sleep(max(0.0, seconds - 1.0))
            rate = (self._rows() - before) / (time.monotonic() - began)
        finally:
            finished(load)
        return rate

    def warm_up(self, *paths: str) -> None:
        """No measurement pays for imports, clients and first connections."""
        for path in paths:
            finished(self._load(path, 2.0))

    def _load(self, path: str, seconds: float) -> subprocess.Popen[str]:
        url = (self.siding or self.backend).url
        command = [str(BINARIES / "load-driver"), "--url", f"{url}{path}", "--body-template", BODY, "--expect-echo"]
        command += ["--concurrency", str(self.concurrency), "--duration", f"{seconds:g}s", "--token"]
        return subprocess.Popen([*command, self.backend.token, "--json", "--quiet"], stdout=subprocess.PIPE, text=True)

    def _cpu(self) -> tuple[float, float]:
        return self.backend.cpu_seconds(), self.siding.cpu_seconds() if self.siding else 0.0

    def _rows(self) -> int:
        with contextlib.closing(sqlite3.connect(self.backend.database_path, timeout=20)) as database:
            [last] = database.execute("SELECT max(id) FROM chat_answer").fetchone()
        return last or 0


@dataclass(frozen=True)
class Cost:
    """Milliseconds of CPU for one chat."""

    answered: int
    workers: float
    siding: float

    @property
    def total(self) -> float:
        """Workers and Siding."""
        return self.workers + self.siding

    def __str__(self) -> str:
        siding = f" + {self.siding:.3f} Siding" if self.siding else ""
        return f"{self.workers:.3f}{siding} ms a chat over {self.answered} chats"


@contextlib.contextmanager
def direct(directory: Path, installation: Installation) -> Iterator[Side]:
    """A model that answers at once; no trace of Siding."""
    python = installation.python
    with (
        SimulatedLLM(directory, latency="0") as model,
        ChatProject(made(directory, "direct"), python=python, environment=model.sdk_environment()) as backend,
    ):
        yield Side("direct", backend, None, DIRECT_CONCURRENCY)


@contextlib.contextmanager
def behind(directory: Path, installation: Installation, latency: str = "1s") -> Iterator[Side]:
    """A model that takes its time."""
    python = installation.python
    with SimulatedLLM(directory, latency=latency) as model:
        environment = {**model.sdk_environment(), "SIDING_SECRET": signing.SECRET}
        with (
            ChatProject(made(directory, "behind"), python=python, environment=environment) as backend,
            Siding(directory, backend.address, model.providers(), SETTINGS) as siding,
        ):
            siding.until_app()
            yield Side("behind Siding", backend, siding, BEHIND_CONCURRENCY)


def finished(load: subprocess.Popen[str]) -> int:
    """How many chats were answered; a failed one spoils a measurement."""
    with load:
        result: dict[str, Any] = json.loads(load.communicate()[0] or "null") or {}
    if not result.get("good") or result["failed"]:
        raise RuntimeError(f"chats failed: {result or 'the load driver gave no result'}")
    return int(result["good"])


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Of each round."""
    return [first / second for first, second in zip(over, under, strict=True)]


def spread(values: Sequence[float]) -> str:
    """The median, and how far the rounds are apart."""
    return f"{statistics.median(values):.3f}, rounds {min(values):.3f} to {max(values):.3f}"


def made(directory: Path, name: str) -> Path:
    """A folder in it."""
    folder = directory / name
    folder.mkdir()
    return folder
