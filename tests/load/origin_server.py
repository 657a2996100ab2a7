"""What stands behind the caches: `python origin_server.py ADDRESS`. Standard library only, one thread.

    POST (anything)     1 KiB of JSON with the SHA-256 of the request's body, as a model would answer
    GET /stream/NAME    Server-Sent Events at a fixed pace, each with its number and time.perf_counter's time
    GET /calls          how often each target was asked, without this one

Whoever asks for a stream that is under way joins it and gets first what it missed. So clients that come straight here
have one stream among them, sent in one loop: the control for what a cache shares.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import json
import sys
import time

ANSWER_BYTES = 1024
EVENTS = 20
PACE_SECONDS = 0.05

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """Its counts and its streams."""

    def __init__(self) -> None:
        self.calls: collections.Counter[str] = collections.Counter()
        self.streams: dict[str, Stream] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, target, _ = head.split(" ", 2)
                body = await reader.readexactly(content_length(head))
                if target == "/calls":
                    writer.write(document(self.calls))
                    continue
                self.calls[target] += 1
                if method == "GET" and target.startswith("/stream/"):
                    await self.stream(target).send_to(writer)
                else:
                    writer.write(document(answer(body)))
        writer.close()

    def stream(self, target: str) -> Stream:
        """The one under way, or a new one."""
        if target not in self.streams:
            self.streams[target] = Stream()
        return self.streams[target]


class Stream:
    """Events, sent to all that listen."""

    def __init__(self) -> None:
        self.sent = bytearray(STREAM_HEAD)
        self.listeners: list[asyncio.StreamWriter] = []
        self.run = asyncio.create_task(self._run())

    async def send_to(self, writer: asyncio.StreamWriter) -> None:
        """All of it; the head comes with the first event."""
        if len(self.sent) > len(STREAM_HEAD):
            writer.write(bytes(self.sent))
        self.listeners.append(writer)
        await self.run

    async def _run(self) -> None:
        begun = time.perf_counter()
        for number in range(EVENTS):
            await asyncio.sleep(begun + (number + 1) * PACE_SECONDS - time.perf_counter())
            self._send(chunk(event(number)), first=number == 0)
        self._send(chunk(b""))

    def _send(self, data: bytes, first: bool = False) -> None:
        self.sent += data
        for listener in self.listeners:
            listener.write(bytes(self.sent) if first else data)


def event(number: int) -> bytes:
    """Of about the size of a chat completion's."""
    fields = {
        "number": number,
        "sent": time.perf_counter(),
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": f"word {number} "}, "finish_reason": None}],
    }
    return f"data: {json.dumps(fields)}\n\n".encode()


def chunk(data: bytes) -> bytes:
    """Of a chunked body; nothing is its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(body: bytes) -> dict[str, object]:
    """Filled up to its size."""
    message = {"role": "assistant", "content": ""}
    fields: dict[str, object] = {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "digest": hashlib.sha256(body).hexdigest(),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 256, "completion_tokens": 160, "total_tokens": 416},
    }
    message["content"] = ("because they do " * 64)[: ANSWER_BYTES - len(json.dumps(fields))]
    return fields


def document(fields: object) -> bytes:
    """As an answer."""
    body = json.dumps(fields).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def content_length(head: str) -> int:
    """0 without one: nobody sends chunks."""
    lines = (line.partition(":") for line in head.split("\r\n"))
    return next((int(value) for name, _, value in lines if name.lower() == "content-length"), 0)


async def main() -> None:
    """Serves until it is killed."""
    host, port = sys.argv[1].rsplit(":", 1)
    server = await asyncio.start_server(Server().serve, host, int(port), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
