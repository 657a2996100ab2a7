"""What clients do, and how each visit ended: its answer is checked, so that another's, or half of one, is noticed."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness import raw_http
from harness.raw_http import Connection, Header, Response

JSON = ("Content-Type", "application/json")
PATIENCE_SECONDS = 60.0
COMPLETIONS = "/openai/v1/chat/completions"
# Each ends a call in another way; the view answers with an error, or the right answer after a retry.
FAULTS = (
    "[status=503]",
    "[status=429]",
    "[fail-first=1:503]",
    "[reset]",
    "[reset-body]",
    "[hang]",
    "[hang-body]",
    "[error-body]",
    "[garbage]",
    "[malformed]",
)
# Different answers that are shared.
SHARED = 50
GOOD, WRONG, LEFT = "good", "wrong", "left"


@dataclass
class Place:
    """Where it all is, and what clients were given there."""

    address: str
    egress: str
    token: str
    # Prompts of answered visits whose rows must be in the database, with the text that their clients read.
    saved: dict[str, str] = field(default_factory=dict)
    relayed: dict[str, str] = field(default_factory=dict)


class Client:
    """A visitor with a connection that it keeps."""

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.name = place, name
        self.chance = random.Random(name)
        self._numbers = itertools.count()
        self._kept: dict[str, Connection] = {}

    @property
    def headers(self) -> list[Header]:
        """Who it is, and what it sends."""
        return [JSON, ("Authorization", f"Token {self.place.token}")]

    def prompt(self, directives: str = "") -> str:
        """One that nobody has sent before."""
        return f"{directives}soak {self.name} {next(self._numbers)}"

    def turn(self, choices: int) -> int:
        """One after the other."""
        return next(self._numbers) % choices

    def ask(
        self, method: str, target: str, headers: raw_http.Headers, body: bytes | None = None, *, egress: bool = False
    ) -> Response:
        """A request on the connection that is kept, if there is one."""
        address = self.place.egress if egress else self.place.address
        connection = self._kept.pop(address, None) or Connection(address, PATIENCE_SECONDS)
        try:
            response = connection.request(method, target, headers, body)
        except BaseException:
            connection.close()
            raise
        if response.framing == "close" or (response.header("connection") or "").lower() == "close":
            connection.close()
        else:
            self._kept[address] = connection
        return response

    def close(self) -> None:
        """Leaves for good."""
        for connection in self._kept.values():
            connection.close()


def chat(client: Client) -> str:
    """A view hands its call over, and writes a row with the answer."""
    prompt = client.prompt()
    response = client.ask("POST", "/api/ask/", client.headers, document(prompt=prompt))
    return answered(response, prompt, client.place.saved)


def relay(client: Client) -> str:
    """A stream in plain text that the client reads while no worker waits; saved when it has been given."""
    prompt = client.prompt()
    response = client.ask("POST", "/api/relay/", client.headers, document(prompt=prompt, format="text"))
    if response.status != 200:
        return reason(response)
    text = response.body.decode()
    client.place.relayed[prompt] = text
    return GOOD if is_answer(prompt, text) else WRONG


def call(client: Client) -> str:
    """An SDK outside a request, plain and streaming by turns."""
    prompt, stream = client.prompt(), bool(client.turn(2))
    response = client.ask("POST", COMPLETIONS, [JSON, KEY], completion(prompt, stream), egress=True)
    if response.status != 200:
        return reason(response)
    if not stream:
        return GOOD if is_answer(prompt, told(response)["choices"][0]["message"]["content"]) else WRONG
    return GOOD if is_answer(prompt, streamed(response.body)) else WRONG


def shared(client: Client) -> str:
    """An answer that many share, by its path."""
    path = f"/api/echo/shared/{client.chance.randrange(SHARED)}/"
    response = client.ask("GET", path, [])
    if response.status != 200:
        return reason(response)
    return GOOD if told(response)["path"] == path else WRONG


def fast(client: Client) -> str:
    """A request that is streamed through."""
    response = client.ask("GET", "/api/fast/", [])
    if response.status != 200:
        return reason(response)
    return GOOD if told(response) == {"ok": True} else WRONG


def job(client: Client) -> str:
    """An answer that nobody waits for at first, which is taken away in the end."""
    prompt = client.prompt()
    headers = [*client.headers, ("Prefer", "respond-async")]
    begun = client.ask("POST", "/api/ask/unsaved/", headers, document(prompt=prompt))
    location = begun.header("location")
    if begun.status != 202 or location is None:
        return reason(begun)
    response = begun
    while response.status == 202:
        response = client.ask("GET", location, [*client.headers, ("Prefer", "wait=10")])
    removed = client.ask("DELETE", location, client.headers)
    return answered(response, prompt, {}) if removed.status == 204 else reason(removed)


def fault(client: Client) -> str:
    """A provider in trouble: an error that the view makes of it, or the right answer after all."""
    prompt = client.prompt(FAULTS[client.turn(len(FAULTS))] + " ")
    response = client.ask("POST", "/api/ask/", client.headers, document(prompt=prompt))
    is_the_views = response.header("content-type") == "application/json" and response.status in (502, 504)
    return GOOD if is_the_views and "error" in told(response) else answered(response, prompt, client.place.saved)


def leave(client: Client) -> str:
    """A client that goes: after half a body, at once, while the model thinks, in the middle of its stream."""
    prompt, way = client.prompt(), client.turn(5)
    ask, stream = document(prompt=prompt), document(prompt=prompt, format="text")
    address = client.place.egress if way == 4 else client.place.address
    with Connection(address, PATIENCE_SECONDS) as connection:
        if way == 0:
            length = ("Content-Length", str(len(ask)))
            connection.start("POST", "/api/ask/", [*client.headers, length], ask[: len(ask) // 2])
        elif way in (1, 2):
            connection.start("POST", "/api/ask/", client.headers, ask)
        elif way == 3:
            connection.start("POST", "/api/relay/", client.headers, stream)
        else:
            connection.start("POST", COMPLETIONS, [JSON, KEY], completion(prompt, True))
        if way == 2:
            connection.socket.settimeout(client.chance.uniform(0.01, 0.4))
        if way >= 2:
            read_a_little(connection)
    return LEFT


KEY = ("Authorization", "Bearer sk-soak")


@dataclass(frozen=True)
class Kind:
    """Visitors that all do the same, each with a pause of this mean between two visits."""

    visit: Callable[[Client], str]
    visitors: int
    pause_seconds: float

    @property
    def name(self) -> str:
        """For the report."""
        return self.visit.__name__


KINDS = (
    Kind(chat, 8, 0.5),
    Kind(relay, 4, 0.8),
    Kind(call, 4, 0.4),
    Kind(shared, 4, 0.1),
    Kind(fast, 4, 0.1),
    Kind(job, 2, 0.5),
    Kind(fault, 4, 0.8),
    Kind(leave, 4, 0.3),
)


def read_a_little(connection: Connection) -> None:
    """Until something comes, or patience ends."""
    with contextlib.suppress(OSError):
        connection.socket.recv(1)


def document(**members: Any) -> bytes:
    """A body in JSON."""
    return json.dumps(members).encode()


def completion(prompt: str, stream: bool) -> bytes:
    """A body as the API wants it."""
    return document(model="gpt-4.1-mini", messages=[{"role": "user", "content": prompt}], stream=stream)


def told(response: Response) -> Any:
    """What a body says in JSON."""
    return json.loads(response.body)


def streamed(body: bytes) -> str:
    """The text of a stream of completions; nothing of one that does not end as it should."""
    events = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    if not events or events.pop() != "[DONE]":
        return ""
    choices = (choice for event in events for choice in json.loads(event).get("choices", []))
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def answered(response: Response, prompt: str, saved: dict[str, str]) -> str:
    """How a chat ended, whose row is looked for later."""
    if response.status != 200:
        return reason(response)
    text = told(response)["answer"]
    saved[prompt] = text
    return GOOD if is_answer(prompt, text) else WRONG


def is_answer(prompt: str, text: str) -> bool:
    """The simulated LLM begins each answer with a hash of its prompt."""
    return text.startswith(f"Echo {hashlib.sha256(prompt.encode()).hexdigest()[:12]}: ")


def reason(response: Response) -> str:
    """Why there is no answer: Siding's own word, or the status."""
    if response.header("content-type") == "application/problem+json":
        return str(told(response)["type"]).rpartition(":")[2]
    return f"status {response.status}"
