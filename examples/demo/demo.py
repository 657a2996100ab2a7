#!/usr/bin/env python3
"""`make demo`: the same Django app under the same two sync workers, called directly and through Siding.

Builds what is missing, starts everything on free ports, loads it, prints a table and stops everything.
With STAY=1 it leaves all up until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from harness import prerequisites

WORKERS = 2
LATENCY = "2s"
# As Siding runs where nothing else is said: a thread per core, no debug log. Chats may wait for the other requests.
SETTINGS = {
    "server": {"threads": 0},
    "log": {"filter": "warn,siding=info"},
    "routes": [{"path": "/api/chat/", "class": "batch"}],
}


def main() -> int:
    """The exit code."""
    # To be told to end is to be interrupted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if prerequisites.main(["demo"]):
        return 1
    from harness.process import ProcessFailed

    directory = Path(tempfile.mkdtemp(prefix="siding-demo-"))
    try:
        clean = run(directory)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        shutil.rmtree(directory, ignore_errors=True)
        return 130
    except (ProcessFailed, AssertionError, RuntimeError, OSError, subprocess.CalledProcessError) as error:
        print(f"\nthe demo failed: {error}\nlogs: {directory}", file=sys.stderr)
        return 1
    if not clean:
        print(f"\nNot every answer was right. Logs: {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def run(directory: Path) -> bool:
    """Whether all went well."""
    import installation
    from harness.backend import ChatProject
    from harness.siding import Siding
    from harness.simulated_llm import SimulatedLLM
    from measurement import Load, measure, warm_up
    from table import table

    installation.build()
    python = str(installation.python())
    secret = secrets.token_hex(32)
    with contextlib.ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory))
        environment = {**llm.sdk_environment(), "SIDING_SECRET": secret}
        backend = stack.enter_context(ChatProject(directory, workers=WORKERS, python=python, environment=environment))
        settings = {"backend": {"workers": WORKERS}, **SETTINGS}
        siding = stack.enter_context(Siding(directory, backend.address, llm.providers(), settings, secret=secret))
        siding.until_app()
        warm_up(backend.url, backend)
        warm_up(siding.url, backend)
        llm.configure(latency=LATENCY)

        heading(f"gunicorn alone: {WORKERS} sync workers, a model that takes {LATENCY}")
        alone = measure(Load("gunicorn alone", backend.url, concurrency=20, seconds=10), backend, None)
        heading("the same workers behind Siding: ten times the load")
        behind = measure(Load("behind Siding", siding.url, concurrency=200, seconds=10), backend, siding)
        print(f"\n{table([alone, behind])}\n", flush=True)
        if os.environ.get("STAY"):
            stay(backend, siding, llm)
        return alone.is_clean and behind.is_clean


def heading(text: str) -> None:
    """Before the driver's own lines."""
    print(f"\n{text}", flush=True)


def stay(backend, siding, llm) -> None:
    """Until Ctrl-C, which is the way out and no failure."""
    print(
        f"Everything is up until Ctrl-C:\n"
        f"  the app through Siding  {siding.url}/api/\n"
        f"  the app directly        {backend.url}/api/\n"
        f"  the status page         http://{siding.admin}/\n"
        f"  Siding's metrics        http://{siding.admin}/metrics\n"
        f"  the simulated LLM       {llm.url}/sim/stats\n"
        f"\n"
        f"  curl {siding.url}/api/chat/ -H 'Authorization: Token {backend.token}' \\\n"
        f"       -H 'Content-Type: application/json' -d '{{\"prompt\": \"Why do trains wait?\"}}'\n",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
