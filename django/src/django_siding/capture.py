"""The streaming call inside of `relay()`: which one it is, and what became of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from . import formats
from .call import OutboundRequest
from .journal import Record
from .tape import Tape

ON_DISCONNECT = ("cancel", "finish")
NOT_UNDERSTOOD = (
    "relay() can turn the answers of OpenAI's, Anthropic's and Gemini's APIs into another format; "
    'use format="provider" for'
)

_current: ContextVar[Capture | None] = ContextVar("django_siding_capture", default=None)


@dataclass(frozen=True)
class Terms:
    """How a call is relayed (protocol section 2)."""

    format: str
    on_disconnect: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("format", self.format, formats.FORMATS)
        _one_of("on_disconnect", self.on_disconnect, ON_DISCONNECT)

    @property
    def finishes(self) -> bool:
        """Whether the call goes on without its client."""
        return self.on_disconnect == "finish"


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")


class Misused(BaseException):
    """`call` did what cannot be relayed. No `Exception`, so that no SDK takes it for a failure."""


class Capture:
    """What one `relay()` has seen of its call."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.thread = threading.get_ident()
        self.url = ""
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.record: Record | None = None
        self.tape: Tape | None = None
        self.made_others = False
        self._is_sending = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Leave calls alone: a library that retries sends what was taken already."""
        self._is_sending = True
        try:
            yield
        finally:
            self._is_sending = False

    @property
    def has_call(self) -> bool:
        return self.status is not None or self.record is not None

    @property
    def is_begun(self) -> bool:
        """Whether an answer has begun, after which nothing can take its place."""
        if self.record is not None and self.record.is_relayed:
            return True
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_cut(self) -> bool:
        """Whether the client already has a stream that broke off."""
        record = self.record
        return record is not None and record.is_relayed and record.cut_short is not None

    def takes(self, request: OutboundRequest) -> bool:
        """Whether this is the call to relay. One that failed may be followed by another."""
        if self._is_sending:
            return False
        if not is_streaming(request):
            self.made_others = True
            return False
        if self.is_begun:
            raise Misused("relay() relays one streaming call, and `call` made a second one")
        if not formats.understands(self.terms.format, request.url):
            raise Misused(f"{NOT_UNDERSTOOD} {request.url.partition('?')[0]}")
        self.url = request.url
        return True

    def recorded(self, record: Record) -> None:
        """The proxy has made the call."""
        self.record = record
        self.tape = None
        if not record.is_error:
            self._head(record.entry["status"], record.entry["headers"])

    def answered(
        self,
        status: int,
        headers: list[tuple[str, str]],
        chunks: Iterator[bytes],
        close: Callable[[], None],
    ) -> Tape | None:
        """A call in line has been answered: what to read a good answer from instead."""
        self.record = None
        self._head(status, headers)
        if self.is_begun:
            self.tape = Tape(chunks, close)
        return self.tape

    def _head(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}

    def close(self) -> None:
        if self.tape is not None:
            self.tape.close()


def current_capture() -> Capture | None:
    """The capture that this thread has opened; contexts may be copied into others."""
    capture = _current.get()
    if capture is None or capture.thread != threading.get_ident():
        return None
    return capture


def is_streaming(request: OutboundRequest) -> bool:
    """Whether it asks for a stream: in the body, or as for Gemini and Bedrock in the path."""
    path = request.url.partition("?")[0].rpartition("/")[2]
    return "stream" in path.lower() or _member(request.body, "stream") is True


def _member(body: bytes, name: str) -> Any:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document.get(name) if isinstance(document, dict) else None
