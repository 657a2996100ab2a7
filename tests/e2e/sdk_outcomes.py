"""Runs the programs in `sdks` and `js`: what a library makes of the answers that it gets at an entry point."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from entry_points import Entry, EntryPoint

E2E = Path(__file__).resolve().parent
KEY = "sk-test"
PATIENCE_SECONDS = 300
# Nothing is looked up elsewhere, and nothing of the caller's environment changes what a library does.
ENVIRONMENT = {"LANG": "C.UTF-8", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"}

# What differs between two calls whoever answers: times, and ids, which the simulated LLM counts and libraries draw.
IDS = re.compile(r"sim\d{12}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|0x[0-9a-f]+|taken=[\d.]+")
OF_ONE_CALL = {"created", "created_at", "createdAt", "timestamp", "sdk_http_response"}


@dataclass(frozen=True)
class Case:
    """One call of a library. `retries` are the library's own where it is None."""

    api: str
    form: str
    prompt: str
    key: str = KEY
    timeout: float = 30.0
    retries: int | None = 0


@dataclass(frozen=True)
class Asked:
    """What came of a case: what the library returned or raised, without what differs from call to call; how often the
    provider was asked, and with which keys."""

    outcome: dict[str, Any]
    requests: int
    keys: list[str]


def asked(program: str, cases: Sequence[Case], point: EntryPoint, directory: Path) -> list[dict[str, Any]]:
    """What comes of each case at an entry point, which runs for as long as that takes: the fields of an `Asked`."""
    with ExitStack() as stack:
        entry = point.start(stack, directory)
        said = run(program, {"bases": entry.bases, "headers": {}, "cases": [asdict(case) for case in cases]})
        outcomes = json.loads(IDS.sub("ID", entry.without_addresses(said)))
        return [asdict(_seen(case, outcome, entry)) for case, outcome in zip(cases, outcomes, strict=True)]


def _seen(case: Case, outcome: dict[str, Any], entry: Entry) -> Asked:
    headers = [dict(request["headers"]) for request in entry.llm.asked(case.prompt)]
    names = ("authorization", "x-api-key", "x-goog-api-key")
    keys = {sent[name].removeprefix("Bearer ") for sent in headers for name in names if name in sent}
    return Asked(_comparable(outcome), int(entry.llm.stats(case.prompt)["total"]), sorted(keys))


def run(program: str, told: dict[str, Any]) -> str:
    """What a program says to what it is told."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(E2E), **ENVIRONMENT}
    done = subprocess.run(
        command_of(program),
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_of(program: str) -> list[str]:
    """What runs a program of `js` or `sdks` with the packages that it needs."""
    if program.endswith(".mjs"):
        # Packages are searched from where the program is linked to.
        home = Path(_told("SDKS_NODE"))
        return ["node", "--preserve-symlinks", "--preserve-symlinks-main", str(home / "programs" / program)]
    return [_told("SDKS_PYTHON"), str(E2E / "sdks" / program)]


def _told(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set: run these tests with python tests/e2e/run.py .cache")
    return value


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        # Siding asks for a stream's usage on behalf of all, so each chunk may say that it has none.
        unsaid = OF_ONE_CALL | {name for name in ("usage",) if value.get(name) is None}
        return {name: _comparable(item) for name, item in value.items() if name not in unsaid}
    return [_comparable(item) for item in value] if isinstance(value, list) else value
