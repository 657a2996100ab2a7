"""What a cell runs on: new processes, but for the database."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import raw_http
from harness.backend import Backend, ChatProject
from harness.postgres import Postgres
from harness.siding import Siding
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM

from benchmark.plan import Cell

# A thread per core, no access log, and a queue in which the most concurrent load finds a place.
SIDING = {
    "server": {"threads": 0},
    "log": {"filter": "warn"},
    "backend": {"workers": 1, "queue": {"capacity": 2000, "timeout": "120s"}},
}
PATH = "/api/ask/"
# Longer than any wait in a cell: what a server cannot do shows in its figures, not in time-outs.
PATIENCE = {"TIMEOUT": "600", "LLM_TIMEOUT": "300"}


class Project(ChatProject):
    """The chat project on a database that is there. What it still does at the end of a cell nobody waits for."""

    grace_seconds = 0.0

    def start(self) -> None:
        """As any server."""
        Backend.start(self)


@dataclass
class Stand:
    """The processes of one cell."""

    llm: SimulatedLLM
    server: Project
    siding: Siding | None
    postgres: Postgres

    @property
    def url(self) -> str:
        """Where the load goes."""
        return f"{(self.siding or self.server).url}{PATH}"

    def ask_once(self) -> None:
        """One chat that the model answers at once, so that not every thread makes what the process makes once."""
        body = json.dumps({"prompt": "[latency=0ms] First"}).encode()
        address = (self.siding or self.server).address
        response = raw_http.request(address, "POST", PATH, [("Content-Type", "application/json")], body, timeout=60)
        assert response.status == 200, response


@contextlib.contextmanager
def running(cell: Cell, directory: Path, python: str, postgres: Postgres) -> Iterator[Stand]:
    """Starts them and stops them."""
    setup = cell.setup
    with contextlib.ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory, latency=f"{cell.point.latency}s"))
        environment = {**llm.sdk_environment(), **PATIENCE, "DATABASE_URL": postgres.url}
        if setup.behind_siding:
            environment["SIDING_SECRET"] = SECRET
        server = Project(
            directory,
            *setup.arguments,
            server=setup.server,
            threads=setup.threads,
            python=python,
            environment=environment,
        )
        stack.enter_context(server)
        siding = None
        if setup.behind_siding:
            siding = stack.enter_context(Siding(directory, server.address, llm.providers(), SIDING))
            siding.until_app()
        stand = Stand(llm, server, siding, postgres)
        stand.ask_once()
        yield stand


def make_database(directory: Path, python: str, postgres: Postgres) -> None:
    """Tables for all cells."""
    ChatProject(directory, python=python, environment={"DATABASE_URL": postgres.url}).make_database()
