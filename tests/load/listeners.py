"""Many clients of one event stream in one process, and when each of them got what.

They have connected before the first of them asks. Times are taken right after the read; all parsing is done when the
streams are over.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from functools import partial

TIMEOUT_SECONDS = 30.0
# Of a chunked body. No event ends so.
END = b"\r\n0\r\n\r\n"
SENT = re.compile(rb'"sent": ([\d.]+)')


@dataclass(frozen=True)
class Heard:
    """What one client got. Times are `time.perf_counter`'s."""

    body: bytes
    first: float
    """The body's first byte."""
    events: list[float]
    """The last byte of each."""
    sent: list[float]
    """When the origin sent each."""


@dataclass
class Listener(asyncio.Protocol):
    """A client's connection with everything that was read from it."""

    done: asyncio.Future[None]
    reads: list[tuple[float, bytes]] = field(default_factory=list)
    tail: bytes = b""
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.reads.append((time.perf_counter(), data))
        self.tail = (self.tail + data)[-len(END) :]
        if self.tail == END and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"a stream ended after {b''.join(self.raw())[-200:]!r}"))

    def raw(self) -> list[bytes]:
        """The reads without their times."""
        return [data for _, data in self.reads]

    def heard(self) -> Heard:
        """What it all means."""
        raw = b"".join(self.raw())
        head, _, rest = raw.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200") or b"chunked" not in head.lower():
            raise RuntimeError(f"the answer is no stream: {raw[:500]!r}")
        body, places = unchunked(rest, len(head) + 4)
        ends = [found.end() for found in re.finditer(rb"\n\n", body)]
        sent = [float(text) for text in SENT.findall(body)]
        return Heard(body, self.at(places[0]), [self.at(places[end - 1]) for end in ends], sent)

    def at(self, place: int) -> float:
        """When the byte there was read."""
        for when, data in self.reads:
            place -= len(data)
            if place < 0:
                return when
        raise IndexError(place)


def unchunked(rest: bytes, offset: int) -> tuple[bytes, list[int]]:
    """A body, and where each of its bytes was in the stream. `offset` is where its chunks begin there."""
    body, places, at = bytearray(), list[int](), 0
    while True:
        line = rest.index(b"\r\n", at)
        size = int(rest[at:line].split(b";")[0], 16)
        if not size:
            return bytes(body), places
        body += rest[line + 2 : line + 2 + size]
        places += range(offset + line + 2, offset + line + 2 + size)
        at = line + 2 + size + 2


def listen(address: str, target: str, clients: int) -> list[Heard]:
    """All ask for it at once."""
    return asyncio.run(_listen(address, target, clients))


def itself(listener: Listener) -> Listener:
    """asyncio asks for a protocol when a connection is made; here it is there before."""
    return listener


async def _listen(address: str, target: str, clients: int) -> list[Heard]:
    loop = asyncio.get_running_loop()
    host, port = address.rsplit(":", 1)
    listeners = [Listener(loop.create_future()) for _ in range(clients)]
    for each in listeners:
        await loop.create_connection(partial(itself, each), host, int(port))
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()
    try:
        for each in listeners:
            assert each.transport is not None
            each.transport.write(request)
        await asyncio.wait_for(asyncio.gather(*(each.done for each in listeners)), TIMEOUT_SECONDS)
    finally:
        for each in listeners:
            if each.transport is not None:
                each.transport.abort()
    return [each.heard() for each in listeners]
