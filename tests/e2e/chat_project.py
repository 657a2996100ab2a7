"""The chat project under a real WSGI server, with or without Siding in front, as its clients and its database
see it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sqlite3
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backend import ChatProject, Server
from harness.siding import Siding
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM

# What each server serves at once, as Siding is told.
SERVERS: dict[Server, tuple[int, int]] = {
    "gunicorn-sync": (2, 1),
    "gunicorn-gthread": (1, 4),
    "gunicorn-gevent": (1, 8),
    "granian": (1, 4),
}
FRONTS = ["siding", "direct"]


def pythons() -> dict[str, str]:
    """Interpreters with the chat project's requirements, by the label of their Django."""
    told = os.environ.get("CHAT_PYTHONS", "")
    if not told:
        sys.exit("CHAT_PYTHONS is not set: run these tests with python tests/e2e/run.py .cache")
    return dict(pair.split("=", 1) for pair in told.split(os.pathsep))


@dataclass
class Answer:
    """What the client got."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Chat:
    """A running system."""

    url: str
    llm: SimulatedLLM
    backend: ChatProject
    siding: Siding | None

    def send(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own, with a user's token."""
        target = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": f"Token {self.backend.token}", **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def ask(self, prompt: str, path: str = "/api/chat/", **more: Any) -> Answer:
        """A chat."""
        body = json.dumps({"prompt": prompt, **more}).encode()
        return self.send("POST", path, body, {"Content-Type": "application/json"})

    def rows(self, prompt: str) -> list[tuple[str, str]]:
        """Role and text of all messages in conversations that began with this prompt."""
        query = (
            "select role, text from chat_message where conversation_id in "
            "(select conversation_id from chat_message where role = 'user' and text = ?) order by id"
        )
        with sqlite3.connect(self.backend.database_path, timeout=20) as database:
            return database.execute(query, (prompt,)).fetchall()

    def calls(self, prompt: str) -> int:
        """How often the provider was asked."""
        return int(self.llm.stats(prompt)["total"])

    @property
    def is_behind_siding(self) -> bool:
        """Whether Siding is in front."""
        return self.siding is not None


def fingerprint(prompt: str) -> str:
    """The beginning of the prompt's hash, by which the simulated LLM's answer to it is known."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:12]


def is_answer_to(prompt: str, text: str) -> bool:
    """The simulated LLM begins each answer with a hash of its prompt, so that a mixed-up one is noticed."""
    return text.startswith(f"Echo {fingerprint(prompt)}: ")


@contextmanager
def running(
    directory: Path,
    *,
    server: Server,
    python: str,
    behind_siding: bool,
    latency: str = "50ms",
    pool: tuple[int, int] | None = None,
) -> Iterator[Chat]:
    """Starts everything and stops it. `pool` is how many workers and threads there are."""
    workers, threads = pool or SERVERS[server]
    with ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory, "--token-rate", "1000", latency=latency))
        environment = {**llm.sdk_environment(), "LLM_TIMEOUT": "10"}
        if behind_siding:
            environment["SIDING_SECRET"] = SECRET
        backend = stack.enter_context(
            ChatProject(
                directory, server=server, workers=workers, threads=threads, python=python, environment=environment
            )
        )
        siding = None
        if behind_siding:
            # No chat is refused because this machine is slow.
            settings = {"backend": {"workers": workers, "threads": threads, "queue": {"timeout": "2m"}}}
            siding = stack.enter_context(Siding(directory, backend.address, llm.providers(), settings))
            siding.until_app()
        yield Chat(siding.url if siding else backend.url, llm, backend, siding)
