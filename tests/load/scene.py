"""The chat project in one sync worker behind Siding, with chats that wait for the model for as long as is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.backend import ChatProject
from harness.load_driver import LoadDriver, asking
from harness.siding import Siding
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM
from harness.waiting import until
from installation import Installation

CHATS = 1000
# Longer than anything that is measured beside them.
WAITING = "10m"
BEGINNING_SECONDS = 60
SETTINGS = {
    "server": {"threads": 0},
    "log": {"filter": "warn"},
    "backend": {"workers": 1, "queue": {"capacity": 2 * CHATS, "timeout": "120s"}},
    "providers": {"openai": {"timeout": {"first_byte": WAITING, "total": WAITING}}},
    "handoff": {"deadline": "30m"},
}


class Scene:
    """What runs. `suspended` is how many exchanges wait for the model and hold no worker."""

    def __init__(self, directory: Path, llm: SimulatedLLM, app: ChatProject, siding: Siding) -> None:
        self.directory, self.llm, self.app, self.siding = directory, llm, app, siding

    @property
    def suspended(self) -> int:
        """By Siding's own count."""
        return int(self.siding.value("siding_exchanges_suspended"))

    @contextlib.contextmanager
    def pending(self, path: str) -> Iterator[None]:
        """All chats wait for the model, at the beginning and still at the end. Then their clients leave."""
        self.llm.configure(latency=WAITING)
        with self.chats(path):
            until("all chats to wait for the model", lambda: self.suspended == CHATS, BEGINNING_SECONDS)
            yield
            assert self.suspended == CHATS, f"only {self.suspended} chats still wait"
            assert self.llm.stats()["in_flight"] == CHATS, "the model was not asked by all"
        until("no chat to wait any more", lambda: self.suspended == 0, BEGINNING_SECONDS)

    def chats(self, path: str, *arguments: str) -> LoadDriver:
        """As many as there are, in a closed loop."""
        flags = [*asking(CHATS), "--token", self.app.token, "--duration", "1h", "--timeout", "1h", *arguments]
        return LoadDriver(self.directory, f"{self.siding.url}{path}", *flags)


@contextlib.contextmanager
def behind_siding(directory: Path, installation: Installation, database_url: str | None = None) -> Iterator[Scene]:
    """Starts it and stops it. Without `database_url`, the database is a file."""
    database = {"DATABASE_URL": database_url} if database_url else {}
    with contextlib.ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory))
        environment = {**llm.sdk_environment(), "SIDING_SECRET": SECRET, "LLM_TIMEOUT": "1800", **database}
        app = stack.enter_context(ChatProject(directory, python=installation.python, environment=environment))
        siding = stack.enter_context(Siding(directory, app.address, llm.providers(), SETTINGS))
        siding.until_app()
        yield Scene(directory, llm, app, siding)
