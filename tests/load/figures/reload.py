"""A hundred reloads under five hundred requests a second, a third of faulty files: no request fails.

Requests are streamed ones and exchanges with a call of a second, in open loops. Each reload changes something that
requests are served with, or is refused with the reason: workers, a route's limit, a provider's section, the cache.

RELOADS in the environment makes it shorter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import traffic
from harness.siding import Siding, merged, toml
from harness.waiting import until
from installation import Installation
from stub import Stub
from verdict import Figure, Note

RELOADS = int(os.environ.get("RELOADS", "100"))
SECONDS_EACH = 1.2
FAULTY = ("[backend]\nworkers = 0\n", "[backend\n", '[server]\nlisten = ["nowhere"]\n')
COUNTER = "siding_config_reloads_total"


def measure(directory: Path, _: Installation) -> Iterator[Figure | Note]:
    """Requests that failed, and reloads that did not end as they should."""
    with traffic.stub(directory) as stub, proxy(directory, stub) as siding:
        with traffic.under(directory, siding, RELOADS * SECONDS_EACH) as flowing:
            wrong = sum(not reload(siding, number) for number in range(RELOADS))
            assert not flowing.is_over(), "the reloads took longer than the requests"
            outcome = flowing.outcome()
        restart = siding.value("siding_config_restart_needed")
    details = (
        f"{outcome.good:,} answered, p99 of streamed ones {outcome.p99_ms:.1f} ms; {outcome.errors or 'no errors'}"
    )
    yield Figure("failed requests", outcome.failed, "at most", 0, details=details)
    yield Figure("reloads that went wrong", wrong, "at most", 0, details=f"of {RELOADS}, every third of a faulty file")
    yield Note(f"a restart is needed: {restart:g}")


def proxy(directory: Path, stub: Stub) -> Siding:
    """Before the stub."""
    return Siding(directory, stub.address, stub.provider_url, traffic.SETTINGS)


def reload(siding: Siding, number: int) -> bool:
    """Whether one ended as it should."""
    is_faulty = number % 3 == 2
    result = "refused" if is_faulty else "applied"
    before = siding.value(COUNTER, result=result)
    told = siding.log.count("was refused")
    siding.rewrite(FAULTY[number // 3 % len(FAULTY)] if is_faulty else toml(merged(siding.settings, another(number))))
    until(f"reload {number} to be {result}", lambda: siding.value(COUNTER, result=result) == before + 1)
    return siding.log.count("was refused") == told + is_faulty


def another(number: int) -> dict[str, Any]:
    """Settings that differ from those before."""
    limit = {"path": "/call", "max_workers": 50 + number}
    return {
        "backend": {"workers": 60 + number % 40, "timeout": f"{10 + number % 10}s"},
        "routes": [*traffic.SETTINGS["routes"], limit],
        "providers": {"openai": {"retry": {"attempts": 2 + number % 3}}},
        "cache": {"ttl": f"{number}s", "when": "deterministic"},
    }
