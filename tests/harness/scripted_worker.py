"""A server whose every move a test decides: a worker that hands calls over, rightly or wrongly, or a provider
that misbehaves. It speaks HTTP/1.1 on a TCP or Unix socket, a thread per connection, and records what it was
asked. Nothing in it waits for time to pass: requests are waited for by number, hangs end by an event."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness import signing
from harness.steps import Step
from harness.waiting import PATIENCE


@dataclass
class Received:
    """One request as it arrived. `body` is the client's own; the journal before it is taken off."""

    index: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    head: bytes
    at: float
    content: bytes = b""
    complete: bool = False
    journal: list[dict[str, Any]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The header's values, joined; None when it is absent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def number(self) -> int:
        """The pass, 0 where there is no offer."""
        return int(self.header("siding-pass") or 0)

    @property
    def exchange(self) -> str:
        """The exchange's identity, empty where there is no offer."""
        return self.header("siding-id") or ""

    def offer_verifies(self, secret: str = signing.SECRET) -> bool:
        """Whether the request carries an offer with a valid signature."""
        given = self.header("siding-signature") or ""
        if not given.startswith("t="):
            return False
        at, target = signing.time_of(given), self.header("siding-target") or ""
        expected = signing.sign(
            "p2a", self.exchange, self.number, self.method, target, self.content, secret=secret, at=at
        )
        return given == expected and target == self.target and abs(at - time.time()) < 60

    def split(self) -> None:
        """Takes the journal off the content."""
        length = int(self.header("siding-journal-length") or 0)
        self.body = self.content[length:]
        self.journal = json.loads(self.content[:length])["entries"] if length else []


def body_of(entry: dict[str, Any]) -> bytes:
    """The recorded body of a journal's result."""
    if "body_b64" in entry:
        return base64.b64decode(entry["body_b64"])
    return entry.get("body", "").encode()


class ScriptedWorker:
    """Serves until the `with` block ends. `script` says, request by request, what to do; see `harness.steps`. `port` is
    for where no other can be told in time."""

    def __init__(
        self, script: Callable[[Received], Step], path: str | None = None, backlog: int = 1024, port: int = 0
    ) -> None:
        self.script = script
        self.requests: list[Received] = []
        self.in_progress = self.most_in_progress = self.connections = 0
        self.changed = threading.Condition()
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._path = path
        self._listener = _listener(path, backlog, port)
        self.address = f"unix:{path}" if path else f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        """As a provider's base URL."""
        return f"http://{self.address}"

    def __enter__(self) -> ScriptedWorker:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._listener.close()
        with self.changed:
            for stream in list(self._open):
                _shut(stream)
        if self._path and os.path.exists(self._path):
            os.unlink(self._path)

    def wait_for(self, count: int, patience: float = PATIENCE) -> Received:
        """Waits until `count` requests have arrived whole and returns the last of them."""
        with self.changed:
            arrived = self.changed.wait_for(lambda: self._whole() >= count, patience)
            assert arrived, f"{self._whole()} requests arrived, {count} were expected"
            return self.requests[count - 1]

    def wait_idle(self, patience: float = PATIENCE) -> None:
        """Waits until no request is being served."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.in_progress == 0, patience), "a request is still served"

    def of_exchange(self, exchange: str) -> list[Received]:
        """The passes of one exchange."""
        return [request for request in self.requests if request.exchange == exchange]

    def _whole(self) -> int:
        return sum(request.complete for request in self.requests)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections += 1
                self._open.add(stream)
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream: socket.socket) -> None:
        link = Link(stream, self.stopping)
        try:
            while self._serve_one(link):
                pass
        except (OSError, EndOfStream, ValueError):
            pass
        finally:
            with self.changed:
                self._open.discard(stream)
            stream.close()

    def _serve_one(self, link: Link) -> bool:
        head = link.read_head()
        if head is None:
            return False
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        with self.changed:
            received = Received(len(self.requests), method, target, headers, head, time.monotonic())
            self.requests.append(received)
            self.in_progress += 1
            self.most_in_progress = max(self.most_in_progress, self.in_progress)
            link.finishing = once(self._finished)
        try:
            step = self.script(received)
            if step.reads_body:
                received.content = link.read_body(received)
                received.split()
            with self.changed:
                received.complete = True
                self.changed.notify_all()
            return step.play(received, link)
        finally:
            link.finishing()

    def _finished(self) -> None:
        with self.changed:
            self.in_progress -= 1
            self.changed.notify_all()


class EndOfStream(Exception):
    """The peer closed in the middle of a message."""


class Link:
    """A connection as a step sees it."""

    def __init__(self, stream: socket.socket, stopping: threading.Event) -> None:
        self.stream = stream
        self.stopping = stopping
        self.buffer = b""
        # To be called before the last byte of an answer is sent: the peer may send its next request after it.
        self.finishing: Callable[[], None] = lambda: None

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.stream.sendall(data)

    def reset(self) -> None:
        """Ends the connection with a reset."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def hold(self, release: threading.Event) -> None:
        """Waits until the test releases it or ends."""
        while not release.wait(0.02) and not self.stopping.is_set():
            pass

    def read_head(self) -> bytes | None:
        """A request head; None at an orderly end."""
        while b"\r\n\r\n" not in self.buffer:
            more = self.stream.recv(1 << 16)
            if not more:
                return None
            self.buffer += more
        return self.take(self.buffer.index(b"\r\n\r\n") + 4)

    def read_body(self, received: Received) -> bytes:
        """The body, by its framing."""
        if (received.header("expect") or "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if (received.header("transfer-encoding") or "").lower() == "chunked":
            return self._chunks()
        return self.read(int(received.header("content-length") or 0))

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        while len(self.buffer) < size:
            more = self.stream.recv(1 << 18)
            if not more:
                raise EndOfStream
            self.buffer += more
        return self.take(size)

    def take(self, size: int) -> bytes:
        """Bytes that are there already."""
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _chunks(self) -> bytes:
        received = []
        while True:
            line = b""
            while not line.endswith(b"\r\n"):
                line += self.read(1)
            chunk = self.read(int(line, 16) + 2)
            if len(chunk) == 2:
                return b"".join(received)
            received.append(chunk[:-2])


def once(action: Callable[[], None]) -> Callable[[], None]:
    """Carries the action out at the first call only."""
    done = threading.Event()

    def carry_out() -> None:
        if not done.is_set():
            done.set()
            action()

    return carry_out


def digest_of(*parts: str) -> str:
    """A digest as the library makes one: opaque to the proxy."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _listener(path: str | None, backlog: int, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(path or ("127.0.0.1", port))
    listener.listen(backlog)
    return listener


def _shut(stream: socket.socket) -> None:
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)
