"""An LLM's answer as it arrives: a stream of events, or one JSON document."""

from __future__ import annotations

import json
from typing import Any

# Of an event that is held until it is complete; a larger one is not read.
LARGEST = 8 * 1024 * 1024

# At the beginning, looked at to tell what it is.
BEGINNING = 64

BOM = b"\xef\xbb\xbf"
BLANKS = b" \t\n\f\r"


class Oversized:
    """In place of an event that is too large to be read."""


class Event:
    def __init__(self, name: bytes, data: bytes) -> None:
        self.name = name
        self.data = data


class Document:
    """A whole answer that is no stream."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def is_event_stream(beginning: bytes) -> bool | None:
    """Whether events follow: JSON begins with a bracket, which no event does. None: unknown yet."""
    looked_at = beginning[:BEGINNING]
    if len(looked_at) < len(BOM) and BOM.startswith(looked_at):
        return None
    text = looked_at.removeprefix(BOM).lstrip(BLANKS)
    if not text:
        return True if len(looked_at) == BEGINNING else None
    return text[:1] not in (b"{", b"[")


class Intake:
    """Collects what arrives. Holds one unfinished event, or the document, up to a bound."""

    def __init__(self) -> None:
        self.is_stream: bool | None = None
        self._held = bytearray()
        self._oversized = False
        self._ends_with_cr = False

    def feed(self, raw: bytes) -> list[Event | Oversized]:
        if not raw:
            return []
        if self.is_stream is None:
            raw = bytes(self._held) + raw
            self._held.clear()
            self.is_stream = is_event_stream(raw)
            if self.is_stream:
                raw = raw.removeprefix(BOM)
        if not self.is_stream:
            self._held += raw
            self._bound()
            return []
        # A line end may come in two pieces: its second half is then no line end of its own.
        if self._ends_with_cr:
            raw = raw.removeprefix(b"\n")
        self._ends_with_cr = raw.endswith(b"\r")
        return self._events(raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))

    def _events(self, lines: bytes) -> list[Event | Oversized]:
        found: list[Event | Oversized] = []
        # What is held has been searched, but for a line end that another may follow.
        start = max(0, len(self._held) - 1)
        self._held += lines
        begin = 0
        while (end := self._held.find(b"\n\n", start)) >= 0:
            event = _event(bytes(self._held[begin:end]))
            if self._oversized or end - begin > LARGEST:
                found.append(Oversized())
            elif event:
                found.append(event)
            self._oversized = False
            begin = start = end + 2
        del self._held[:begin]
        self._bound()
        return found

    def _bound(self) -> None:
        """Of what is too large, only its end is still to be seen."""
        if len(self._held) > LARGEST:
            self._oversized = True
            del self._held[:-1]

    def finish(self) -> Event | Document | Oversized | None:
        """What is left: the document, or an event that lacks its last line end."""
        held = bytes(self._held)
        self._held.clear()
        if self._oversized:
            return Oversized()
        if self.is_stream is False:
            return Document(held.removeprefix(BOM))
        return _event(held)


def _event(block: bytes) -> Event | None:
    """None for what readers do not see, such as a comment."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return Event(b"", block[6:])  # nearly all of them
    name = b""
    data = None
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value
        elif field == b"data":
            data = value if data is None else data + b"\n" + value
    return None if data is None else Event(name, data)


def parse(data: bytes) -> Any:
    """The JSON, or None."""
    try:
        return JSON.decode(data.decode())
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


# Made once: an answer has hundreds of events.
JSON = json.JSONDecoder(parse_constant=_refuse)
