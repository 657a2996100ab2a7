"""The load driver, run to its end."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from harness.process import BINARIES

# What the chat project is asked; `{n}` becomes unique in each request.
QUESTION = '{"prompt": "Question {n}: why do trains wait?"}'


def load(url: str, *arguments: str) -> dict[str, Any]:
    """Its result: good and failed answers, errors by kind, throughput, latencies."""
    command = [str(BINARIES / "load-driver"), "--url", url, "--json", "--quiet", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def ask(url: str, *arguments: str, question: str = QUESTION) -> dict[str, Any]:
    """Questions to the chat project, each answer checked."""
    return load(url, "--body-template", question, "--expect-echo", *arguments)


def errors(result: dict[str, Any]) -> str:
    """The failures in words."""
    return ", ".join(f"{count} x {kind}" for kind, count in result["errors"].items()) or "none"
