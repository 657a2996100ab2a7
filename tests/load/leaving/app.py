"""An app on the event loop of its clients, whose passes are held until they are released.

So it is known where each request is when its client leaves. It ends each connection after its answer, as gunicorn's
sync workers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from harness import signing
from harness.steps import CALL_TYPE, head


class Move(Enum):
    """What a pass does."""

    ANSWER = auto()
    HOLD = auto()
    """Answers when it is released."""
    HALF = auto()
    """Sends half of its answer, and the rest when it is released."""
    REPLAY = auto()
    """Hands over the call that the request's body is."""
    RELAY = auto()
    """The same, to be streamed to the client."""
    RELAY_TO_THE_END = auto()
    """The same, and saved even if the client leaves."""


@dataclass(frozen=True)
class Pass:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def number(self) -> int:
        """0 where there is no offer."""
        return int(self.headers.get("siding-pass", 0))


class HeldApp:
    """`moves` says what passes do: the first, and all later ones. `held` counts those that wait to be released."""

    def __init__(self, provider: str) -> None:
        self.moves: tuple[Move, ...] = (Move.ANSWER,)
        self.held = self.passes = 0
        self._provider = provider
        self._released = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> None:
        """Listens."""
        host, port = address.rsplit(":", 1)
        self._server = await asyncio.start_server(self._serve, host, int(port), backlog=1024)

    def close(self) -> None:
        """Takes no more requests."""
        if self._server is not None:
            self._server.close()

    def release(self) -> None:
        """Lets go on what is held now."""
        self._released.set()
        self._released = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            received = await read(reader)
            self.passes += received.target != "/"
            await self._play(self.moves[min(received.number, len(self.moves) - 1)], received, writer)
            await writer.drain()
        writer.close()

    async def _play(self, move: Move, received: Pass, writer: asyncio.StreamWriter) -> None:
        if move in (Move.REPLAY, Move.RELAY, Move.RELAY_TO_THE_END):
            writer.write(self._handed_over(move, received))
            return
        if move is Move.ANSWER or received.target == "/":
            writer.write(answer(b"answer"))
            return
        if move is Move.HALF:
            writer.write(head(200, [*PLAIN, ("Content-Length", str(2 * len(HALF)))]) + HALF)
        await self._hold()
        writer.write(HALF if move is Move.HALF else answer(b"answer"))

    async def _hold(self) -> None:
        self.held += 1
        try:
            await self._released.wait()
        finally:
            self.held -= 1

    def _handed_over(self, move: Move, received: Pass) -> bytes:
        identity, number = received.headers["siding-id"], received.number
        document: dict[str, Any] = {"v": 1, "id": identity, "pass": number, "mode": "replay", "journal": []}
        document["calls"] = [call(f"{self._provider}/v1/chat/completions", received.body.decode())]
        if move is not Move.REPLAY:
            leaving = "finish" if move is Move.RELAY_TO_THE_END else "cancel"
            relay = {"format": "provider", "on_disconnect": leaving, "head": {"status": 200, "headers": []}}
            document |= {"mode": "relay", "relay": relay}
        body = json.dumps(document).encode()
        signature = signing.sign("a2p", identity, number, received.method, received.target, body)
        return answer(body, 202, [("Content-Type", CALL_TYPE), ("Siding-Signature", signature)])


PLAIN = [("Content-Type", "text/plain"), ("Connection", "close")]
# More than any buffer on the way keeps for a larger write.
HALF = b"half" * 4096


async def read(reader: asyncio.StreamReader) -> Pass:
    """A request with a length, or without a body."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Pass(method, target, headers, body)


def answer(body: bytes, status: int = 200, headers: Any = PLAIN[:1]) -> bytes:
    """A whole one."""
    return head(status, [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]) + body


def call(url: str, body: str) -> dict[str, Any]:
    """As the library hands it over."""
    headers = [["content-type", "application/json"], ["authorization", "Bearer sk-example"]]
    fixed = {"seq": 0, "name": "app/views.py:chat:42#0", "method": "POST", "digest": "0" * 64}
    return {**fixed, "url": url, "headers": headers, "body": body}
