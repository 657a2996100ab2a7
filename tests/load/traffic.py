"""Five hundred requests a second of three kinds, none of which may fail: what a process's life is measured under."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import generator
from harness.load_driver import LoadDriver
from harness.siding import Siding
from stub import Stub

# Streamed through by Pingora on kept connections and on new ones, and exchanges with a call: each in an open loop.
KEPT_RATE, FRESH_RATE, CHATS_RATE = 300, 100, 100
LATENCY = "1s"
SETTINGS: dict[str, Any] = {
    "server": {"threads": 0},
    "log": {"filter": "warn"},
    "backend": {"workers": 100, "queue": {"capacity": 5000}},
    "routes": [{"path": "/bytes/**", "handoff": False}],
}
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """Of all kinds together."""

    good: int
    failed: int
    errors: str
    p99_ms: float


class Traffic:
    """All kinds, for some seconds."""

    def __init__(self, directory: Path, siding: Siding, seconds: float) -> None:
        body = ["--body-template", '{"n": "{n}"}']
        ends = ["--duration", f"{seconds:g}s", "--timeout", "60s"]
        chats = LoadDriver(directory, f"{siding.url}/call", *body, "--rate", str(CHATS_RATE), *ends)
        streamed = f"{siding.url}/bytes/1000"
        kept = LoadDriver(directory, streamed, "--rate", str(KEPT_RATE), *ends)
        fresh = LoadDriver(directory, streamed, "--rate", str(FRESH_RATE), "--fresh", *ends)
        self.drivers = [kept, fresh, chats]

    def is_over(self) -> bool:
        """Whether no request is begun or under way any more."""
        return not any(driver.is_running() for driver in self.drivers)

    def outcome(self) -> Outcome:
        """Waits for the end."""
        results = [driver.result(PATIENCE_SECONDS) for driver in self.drivers]
        return Outcome(
            good=sum(result["good"] for result in results),
            failed=sum(result["failed"] for result in results),
            errors=generator.errors({"errors": sum((Counter(result["errors"]) for result in results), Counter())}),
            p99_ms=results[0]["latency_ms"]["p99"],
        )


@contextlib.contextmanager
def under(directory: Path, siding: Siding, seconds: float) -> Iterator[Traffic]:
    """While it flows."""
    traffic = Traffic(directory, siding, seconds)
    with contextlib.ExitStack() as stack:
        for driver in traffic.drivers:
            stack.enter_context(driver)
        yield traffic


def stub(directory: Path) -> Stub:
    """The app and its provider."""
    return Stub(directory, "--latency", LATENCY)
