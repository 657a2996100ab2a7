"""Server-sent events on a bare connection, read one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from harness.raw_http import Connection, Headers


@dataclass
class Event:
    """One event."""

    id: str
    name: str
    data: Any


class EventStream(Connection):
    """A client that has asked for events. `after` is the identity of the last one it knows."""

    def __init__(self, address: str, target: str, headers: Headers = (), after: str | None = None) -> None:
        super().__init__(address)
        more = [("Accept", "text/event-stream"), *([("Last-Event-ID", after)] if after else [])]
        self.start("GET", target, [*headers, *more])
        self.status, _, _, self.headers = self._head()
        self._text = b""

    def next(self) -> Event | None:
        """The next event; None at the end of the stream, which must be an orderly one."""
        while True:
            while b"\n\n" not in self._text:
                while b"\r\n" not in self.buffer:
                    self._more()
                size = int(self._take(self.buffer.index(b"\r\n") + 2), 16)
                chunk = self.read(size + 2)[:-2]
                if not size:
                    assert not self._text, f"the stream ends within an event: {self._text!r}"
                    return None
                self._text += chunk
            block, _, self._text = self._text.partition(b"\n\n")
            if not block.startswith(b":"):
                fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
                return Event(fields["id"], fields["event"], json.loads(fields["data"]))

    def rest(self) -> list[Event]:
        """All events to the end."""
        events = []
        while event := self.next():
            events.append(event)
        return events

    def until(self, name: str) -> Event:
        """The next event of this name; others are passed over."""
        while event := self.next():
            if event.name == name:
                return event
        raise AssertionError(f"the stream ended without {name}")
