"""Clients that leave: one half close their connection, the other half reset it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct

RESET = struct.pack("ii", 1, 0)
# Of a chunked body. No event ends so.
END = b"\r\n0\r\n\r\n"


class Visitor(asyncio.Protocol):
    """One client's connection. `head` and `received` are what came of the answer."""

    def __init__(self, crowd: Crowd, request: bytes, resets: bool) -> None:
        self._crowd, self._request, self._resets = crowd, request, resets
        self.received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        before = self.has_body
        self.received += data
        self._crowd.reading += self.has_body - before
        self._crowd.finished += self.received.endswith(END)

    def connection_lost(self, _: Exception | None) -> None:
        self._crowd.connected -= 1

    @property
    def has_body(self) -> bool:
        """Whether some of its answer's body is here."""
        _, found, body = self.received.partition(b"\r\n\r\n")
        return bool(found and body)

    def leave(self) -> None:
        """At once, whatever is under way."""
        assert self._transport is not None
        if self._resets:
            stream: socket.socket = self._transport.get_extra_info("socket")
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()


class Crowd:
    """
    Clients that came together and leave together. `reading` counts those who have some of their answer's body,
    `finished` those who have all of it, `connected` those who have not left and were not left.
    """

    def __init__(self) -> None:
        self.reading = self.finished = self.connected = 0
        self._visitors: list[Visitor] = []

    async def come(self, address: str, requests: list[bytes]) -> None:
        """All connect and send what they have to send."""
        host, port = address.rsplit(":", 1)
        loop = asyncio.get_running_loop()
        for number, request in enumerate(requests):
            visitor = Visitor(self, request, resets=number % 2 == 1)
            await loop.create_connection(lambda visitor=visitor: visitor, host, int(port))
            self.connected += 1
            self._visitors.append(visitor)

    def leave(self) -> None:
        """All at once."""
        for visitor in self._visitors:
            visitor.leave()


def request(target: str, prompt: str | None, *, stream: bool = True, short_of: int = 0) -> bytes:
    """A chat completion to POST, or without a prompt a GET. Of its body the last `short_of` bytes are not sent."""
    if prompt is None:
        return f"GET {target} HTTP/1.1\r\nHost: siding\r\n\r\n".encode()
    document = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], "stream": stream}
    body = json.dumps(document).encode()
    headers = f"Host: siding\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"POST {target} HTTP/1.1\r\n{headers}\r\n\r\n".encode() + body[: len(body) - short_of]
