"""A crowd of clients in one process that ask for the same completion through Siding's egress, plain or streaming."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

# Of a chunked body. No event ends so.
END = b"\r\n0\r\n\r\n"
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class Client(asyncio.Protocol):
    """One of them: what it asks, and what it read. It leaves after so many bytes, if that is said."""

    request: bytes
    done: asyncio.Future[str]
    leaves_after: int | None = None
    raw: bytearray = field(default_factory=bytearray)
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)
        if self.leaves_after == 0:
            self.end("left")

    def data_received(self, data: bytes) -> None:
        self.raw += data
        if self.leaves_after is not None and len(self.raw) >= self.leaves_after:
            self.end("left")
        elif self.is_complete():
            self.end("complete")

    def connection_lost(self, _: Exception | None) -> None:
        self.end("broken")

    def end(self, how: str) -> None:
        """It is over for this client."""
        if not self.done.done():
            self.done.set_result(how)
        if self.transport is not None:
            self.transport.abort()

    def is_complete(self) -> bool:
        """Whether the answer is here whole."""
        if self.raw.endswith(END):
            return True
        head = self.raw.find(b"\r\n\r\n", 0, 4096)
        length = LENGTH.search(self.raw, 0, head) if head > 0 else None
        return length is not None and len(self.raw) >= head + 4 + int(length[1])

    def body(self) -> bytes:
        """The answer's bytes."""
        head, _, rest = bytes(self.raw).partition(b"\r\n\r\n")
        return unchunked(rest) if b"chunked" in head.lower() else rest

    def status(self) -> int:
        """The answer's status, 0 without one."""
        return int(self.raw[9:12] or 0)


def unchunked(rest: bytes) -> bytes:
    """A body that came in chunks; what of it came."""
    body, at = bytearray(), 0
    while (line := rest.find(b"\r\n", at)) >= 0 and (size := int(rest[at:line], 16)):
        body += rest[line + 2 : line + 2 + size]
        at = line + 2 + size + 2
    return bytes(body)


def asking(prompt: str, *, stream: bool) -> bytes:
    """The request."""
    document = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], "stream": stream}
    body = json.dumps(document).encode()
    head = (
        "POST /openai/v1/chat/completions HTTP/1.1\r\nHost: siding\r\nAuthorization: Bearer one\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True)
class Plan:
    """Who comes when: `spread` seconds from the first to the last; `leaving` says after how many bytes one leaves."""

    clients: int
    spread: float
    leaving: dict[int, int] = field(default_factory=dict)


def gather(address: str, prompt: str, plan: Plan, patience: float) -> list[tuple[str, Client]]:
    """All ask, every second one for a stream; how it ended for each."""
    return gather_each([address], prompt, plan, patience)


def gather_each(addresses: Sequence[str], prompt: str, plan: Plan, patience: float) -> list[tuple[str, Client]]:
    """The same at several addresses; two clients go to each in turn, one of each form."""
    return asyncio.run(_gather(addresses, prompt, plan, patience))


async def _gather(addresses: Sequence[str], prompt: str, plan: Plan, patience: float) -> list[tuple[str, Client]]:
    loop = asyncio.get_running_loop()
    requests = [asking(prompt, stream=True), asking(prompt, stream=False)]
    begun = loop.time()
    clients = []
    for number in range(plan.clients):
        client = Client(requests[number % 2], loop.create_future(), plan.leaving.get(number))
        await asyncio.sleep(begun + plan.spread * number / plan.clients - loop.time())
        host, port = addresses[number // 2 % len(addresses)].rsplit(":", 1)
        await loop.create_connection(partial(itself, client), host, int(port))
        clients.append(client)
    ends = await asyncio.wait_for(asyncio.gather(*(client.done for client in clients)), patience)
    return list(zip(ends, clients, strict=True))


def itself(client: Client) -> Client:
    """asyncio asks for a protocol when a connection is made; here it is there before."""
    return client
