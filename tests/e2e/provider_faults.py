"""Faults of a provider that can be switched on and off, and the ways in which a call can meet them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tls
from chat_project import is_answer_to
from harness import raw_http
from harness.addresses import free_address, listens
from harness.calls import KEY, chat, told
from harness.providers import read_events, text_of
from harness.raw_http import Incomplete, Response
from harness.scripted_worker import Link, Received, ScriptedWorker, body_of
from harness.siding import Siding, merged
from harness.simulated_llm import SimulatedLLM
from harness.steps import HandOver, Step, Tell, always
from harness.waiting import until
from unhindered import UNHINDERED

# Nothing ends by these unless a fault is about time: a busy machine must not be taken for a bad provider.
WHOLE = "the whole answer"
PATIENT = {"connect": "5s", "first_byte": "20s", "idle": "20s", "total": "30s"}


@dataclass
class Provider:
    """
    A provider with a fault, which `mend` takes away. `requests` is how many it has had, where it can tell; `ca_file` is
    what to trust.
    """

    url: str
    mend: Callable[[], None]
    requests: Callable[[], int] | None = None
    ca_file: str = ""


Broken = Callable[[ExitStack, Path], Provider]


@dataclass(frozen=True)
class Fault:
    """
    What goes wrong. `stream` is whether streams are asked for, `plain` whether no stream can have it, `timeout` the
    provider's time-outs that matter.
    """

    broken: Broken
    stream: bool = False
    plain: bool = False
    timeout: dict[str, str] = field(default_factory=dict)


def says(directives: str, **more: Any) -> Fault:
    """A fault that the simulated LLM can be told to have."""

    def broken(stack: ExitStack, directory: Path) -> Provider:
        llm = stack.enter_context(SimulatedLLM(directory, "--token-rate", "1000"))
        llm.configure(directives=directives)
        return Provider(llm.url, lambda: llm.configure(directives=""), lambda: int(llm.stats()["total"]))

    return Fault(broken, **more)


def refuses(stack: ExitStack, directory: Path) -> Provider:
    """Nobody listens there yet."""
    address = free_address()
    return Provider(f"http://{address}", lambda: _start(stack, SimulatedLLM(directory, "--listen", address)))


def shows_another_certificate(stack: ExitStack, directory: Path) -> Provider:
    """A certificate that nobody trusts, until it is replaced."""
    address = free_address()

    def started(name: str) -> tuple[SimulatedLLM, Path]:
        folder = directory / name
        folder.mkdir()
        cert, key = tls.make(folder)
        flags = ["--listen", address, "--tls-cert", str(cert), "--tls-key", str(key)]
        return SimulatedLLM(directory, *flags, latency="0"), cert

    (bad, _), (good, trusted) = started("untrusted"), started("trusted")
    _start(stack, bad)

    def mend() -> None:
        bad.stop()
        _start(stack, good)

    return Provider(f"https://{address}", mend, ca_file=str(trusted))


def _start(stack: ExitStack, llm: SimulatedLLM) -> None:
    stack.enter_context(llm)


FAULTS: dict[str, Fault] = {
    "refuses connections": Fault(refuses),
    "has a certificate that is not trusted": Fault(shows_another_certificate),
    "hangs before the head": says("[hang]", timeout={"first_byte": "500ms"}),
    "resets the connection before the head": says("[reset]"),
    "answers with bytes that are not HTTP": says("[garbage-http]"),
    "hangs in a plain body": says("[hang-body]", plain=True, timeout={"idle": "500ms"}),
    "hangs in a stream": says("[hang-body]", stream=True, timeout={"idle": "500ms"}),
    "closes the connection in a plain body": says("[reset-body]", plain=True),
    "closes the connection in a stream": says("[reset-body]", stream=True),
    "resets the connection in a plain body": says("[rst-body]", plain=True),
    "resets the connection in a stream": says("[rst-body]", stream=True),
    "sends a malformed stream": says("[malformed]", stream=True),
    "reports an error in a stream": says("[error-body]", stream=True),
    "drips a stream, slowly": says("[drip=64][token-rate=200]", stream=True),
    "drips a stream, longer than a call may take": says(
        "[drip=8][token-rate=20]", stream=True, timeout={"total": "2s"}
    ),
    "429 once, `Retry-After` in seconds": says("[fail-first=1:429][retry-after=1]"),
    "429 once, `Retry-After` in fractions of a second": says("[fail-first=1:429][retry-after=0.2]"),
    "429 once, `Retry-After-Ms`": says("[fail-first=1:429][retry-after-ms=200]"),
    "429 once, `Retry-After` with a date": says("[fail-first=1:429][retry-after-date=1s]"),
    "429, `Retry-After` of an hour": says("[status=429][retry-after=3600]"),
    "429 always": says("[status=429]"),
    "500 once": says("[fail-first=1:500]"),
    "500 always": says("[status=500]"),
    "529 always": says("[status=529]"),
    "400 always": says("[status=400]"),
}


class Way(ABC):
    """How calls reach the provider. `ask` makes one with each prompt, all at once, and tells what their callers got."""

    # Whether no other calls than streaming ones are made.
    streams_only = False

    def __init__(self, stack: ExitStack, directory: Path, provider: Provider, fault: Fault) -> None:
        self.provider, self.fault = provider, fault
        trust = {"ca_file": provider.ca_file} if provider.ca_file else {}
        openai = {"timeout": {**PATIENT, **fault.timeout}, **trust, **UNHINDERED}
        app = stack.enter_context(ScriptedWorker(always(self.view())))
        settings = merged({"providers": {"openai": openai}}, self.settings())
        self.proxy = stack.enter_context(Siding(directory, app.address, provider.url, settings))

    def settings(self) -> dict[str, Any]:
        """What this way needs besides."""
        return {}

    def view(self) -> Step:
        """What the app does."""
        return Tell()

    @abstractmethod
    def ask(self, prompts: list[str]) -> list[str]:
        """What a caller gets for each prompt, all at once."""

    def requests(self) -> int:
        """How often Siding has turned to the provider so far."""
        return int(self.proxy.value("siding_call_attempts_total"))


class Egress(Way):
    """An SDK outside a request."""

    def settings(self) -> dict[str, Any]:
        self.address = free_address()
        return {"server": {"egress": self.address}}

    def ask(self, prompts: list[str]) -> list[str]:
        until("the egress to listen", lambda: listens(self.address))
        return at_once(self._ask, prompts)

    def _ask(self, prompt: str) -> str:
        headers = [("Content-Type", "application/json"), ("Authorization", f"Bearer {KEY}")]
        body = asked(prompt, self.fault.stream).encode()
        try:
            response = raw_http.request(self.address, "POST", "/openai/v1/chat/completions", headers, body, 60)
        except (Incomplete, ConnectionError) as broken:
            return _broken_off(getattr(broken, "received", b""))
        return _seen(response, prompt)


class HandOff(Way):
    """A view whose call Siding makes; its SDK gets what the journal has."""

    def settings(self) -> dict[str, Any]:
        return {"handoff": {"max_calls": 100}}

    def view(self) -> Step:
        return AskEach(self.provider.url, self.fault.stream)

    def ask(self, prompts: list[str]) -> list[str]:
        response = self.proxy.request("POST", "/chat", body=json.dumps(prompts).encode(), timeout=60)
        return [_recorded(entry, prompt) for entry, prompt in zip(told(response)["journal"], prompts, strict=True)]


@dataclass
class AskEach(Step):
    """A view that asks with each of its request's prompts, and tells what it got."""

    url: str
    stream: bool

    def play(self, received: Received, link: Link) -> bool:
        if received.number:
            return Tell().play(received, link)
        bodies = [asked(prompt, self.stream) for prompt in json.loads(received.body)]
        calls = [chat(self.url, "", body=body, seq=number) for number, body in enumerate(bodies)]
        return HandOver(calls).play(received, link)


class Relay(Way):
    """A view whose client gets the stream from Siding, or what the view makes of a refusal: it tells its journal."""

    streams_only = True

    def settings(self) -> dict[str, Any]:
        return {"backend": {"workers": 4}}

    def view(self) -> Step:
        return RelayIt(self.provider.url)

    def ask(self, prompts: list[str]) -> list[str]:
        return at_once(self._ask, prompts)

    def _ask(self, prompt: str) -> str:
        return _relayed(self.proxy.request("POST", "/chat", body=prompt.encode(), timeout=60), prompt)


@dataclass
class RelayIt(Step):
    """A view that asks with its request's prompt for a stream to its client."""

    url: str

    def play(self, received: Received, link: Link) -> bool:
        if received.number:
            return Tell().play(received, link)
        call = chat(self.url, "", body=asked(received.body.decode(), True))
        how = {"format": "provider", "head": {"status": 200, "headers": []}}
        return HandOver([call], mode="relay", relay=how).play(received, link)


WAYS: dict[str, type[Way]] = {"egress": Egress, "hand-off": HandOff, "relay": Relay}


def at_once(ask: Callable[[str], str], prompts: list[str]) -> list[str]:
    """Asks with all prompts."""
    with ThreadPoolExecutor(len(prompts)) as threads:
        return list(threads.map(ask, prompts))


def asked(prompt: str, stream: bool) -> str:
    """A request's body."""
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **more})


def _seen(response: Response, prompt: str) -> str:
    """What a client got."""
    if response.header("content-type") == "application/problem+json":
        problem = json.loads(response.body)["type"].rpartition(":")[2]
        return f"{response.status} `{problem}`"
    return _answer(response.status, response.body, dict(response.headers), prompt)


def _relayed(response: Response, prompt: str) -> str:
    """What a client got through a view that relays."""
    if response.header("content-type") == "application/json":
        [entry] = told(response)["journal"]
        assert "relayed" not in entry, "the client has had a stream already"
        return _recorded(entry, prompt)
    before, _, last = response.body.rstrip().rpartition(b"\n\n")
    if b'"stream_interrupted"' in last:
        assert before, "nothing of the answer came"
        return "a part of the answer, then an error event"
    return _seen(response, prompt)


def _recorded(entry: dict[str, Any], prompt: str) -> str:
    """What a view's SDK gets."""
    if entry["kind"] == "error":
        return f"the error `{entry['error']}`"
    return _answer(entry["status"], body_of(entry), dict(entry["headers"]), prompt)


def _answer(status: int, body: bytes, headers: dict[str, str], prompt: str) -> str:
    """What a provider's answer is."""
    if status != 200:
        assert json.loads(body)["error"]["message"] == f"Simulated error {status}."
        when = {name.lower() for name in headers} & {"retry-after", "retry-after-ms"}
        return f"the provider's {status}" + (" with its `Retry-After`" if when else "")
    return WHOLE if _is_whole(body, prompt) else "what the provider sent, as it is"


def _is_whole(body: bytes, prompt: str) -> bool:
    try:
        if body.startswith(b"data:"):
            return is_answer_to(prompt, text_of(read_events(body)))
        return is_answer_to(prompt, json.loads(body)["choices"][0]["message"]["content"])
    except (AssertionError, KeyError, ValueError):
        return False


def _broken_off(received: bytes) -> str:
    """What a client got whose connection ended before its answer did."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), received
    assert body, "nothing of the answer came"
    return "a part of the answer, then the connection ends"


def combinations() -> list[tuple[str, str]]:
    """All that is observed, in the order of the page."""
    return [(fault, way) for fault in FAULTS for way in WAYS if not (FAULTS[fault].plain and WAYS[way].streams_only)]
