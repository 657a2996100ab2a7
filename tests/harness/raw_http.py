"""HTTP/1.1 on a bare socket: what is sent is exactly what the test wrote, what came back is kept byte by byte."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field

Header = tuple[str, str]
Headers = Iterable[Header]


class Incomplete(Exception):
    """The peer closed before the message was complete. `received` has what came."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"the connection ended after {received[-200:]!r}")
        self.received = received


@dataclass
class Response:
    """One response, its interim ones included."""

    status: int
    reason: str
    version: str
    headers: list[Header]
    body: bytes
    framing: str
    complete: bool = True
    interim: list[int] = field(default_factory=list)
    raw: bytes = b""

    def header(self, name: str) -> str | None:
        """The header's values, joined; None when it is absent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None


def connect(address: str, timeout: float = 15.0) -> socket.socket:
    """A connection to `host:port` or `unix:/path`."""
    if address.startswith("unix:"):
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(timeout)
        stream.connect(address.removeprefix("unix:"))
        return stream
    host, port = address.rsplit(":", 1)
    stream = socket.create_connection((host, int(port)), timeout)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


class Connection:
    """A client connection."""

    def __init__(self, address: str, timeout: float = 15.0, tls: ssl.SSLContext | None = None) -> None:
        stream = connect(address, timeout)
        self.socket = stream if tls is None else tls.wrap_socket(stream, server_hostname="localhost")
        self.buffer = b""
        self.raw = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def start(self, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> None:
        """Sends a request without waiting for its answer."""
        self.send(request_bytes(method, target, headers, body))

    def request(self, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> Response:
        """Sends a request and reads the answer."""
        self.start(method, target, headers, body)
        return self.response(method)

    def response(self, method: str = "GET") -> Response:
        """Reads one response."""
        self.raw, interim = b"", []
        while True:
            status, reason, version, headers = self._head()
            if status >= 200 or status == 101:
                break
            interim.append(status)
        body, framing, complete = self._body(method, status, headers)
        return Response(status, reason, version, headers, body, framing, complete, interim, self.raw)

    def at_end(self) -> bool:
        """Whether the peer closes (or has closed) the connection without sending anything more."""
        if self.buffer:
            return False
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        pieces, missing = [self.buffer], size - len(self.buffer)
        while missing > 0:
            self.buffer = b""
            pieces.append(self._receive())
            if not pieces[-1]:
                raise Incomplete(self.raw + b"".join(pieces))
            missing -= len(pieces[-1])
        self.buffer = b"".join(pieces)
        return self._take(size)

    def _head(self) -> tuple[int, str, str, list[Header]]:
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head = self._take(self.buffer.index(b"\r\n\r\n") + 4)
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, status, *reason = first.split(" ", 2)
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return int(status), " ".join(reason), version, headers

    def _body(self, method: str, status: int, headers: list[Header]) -> tuple[bytes, str, bool]:
        named = {name.lower(): value for name, value in headers}
        if method == "HEAD" or status in (101, 204, 304):
            return b"", "none", True
        if named.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks(), "chunked", True
        if "content-length" in named:
            return self.read(int(named["content-length"])), "length", True
        received = []
        while chunk := (self.buffer or self._receive()):
            self.buffer = b""
            received.append(chunk)
        self.raw += b"".join(received)
        return b"".join(received), "close", True

    def _chunks(self) -> bytes:
        received = []
        while True:
            while b"\r\n" not in self.buffer:
                self._more()
            size = int(self._take(self.buffer.index(b"\r\n") + 2).split(b";")[0], 16)
            chunk = self.read(size + 2)
            if size == 0:
                return b"".join(received)
            received.append(chunk[:-2])

    def _take(self, size: int) -> bytes:
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        self.raw += taken
        return taken

    def _receive(self) -> bytes:
        return self.socket.recv(1 << 18)

    def _more(self) -> None:
        more = self._receive()
        if not more:
            raise Incomplete(self.raw + self.buffer)
        self.buffer += more


def request_bytes(method: str, target: str, headers: Headers = (), body: bytes | None = None) -> bytes:
    """A request with `Host`, and with `Content-Length` where it has a body and no framing of its own."""
    headers = list(headers)
    names = {name.lower() for name, _ in headers}
    if "host" not in names:
        headers.insert(0, ("Host", "app.example"))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        headers.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def request(
    address: str, method: str, target: str, headers: Headers = (), body: bytes | None = None, timeout: float = 15.0
) -> Response:
    """One request on a connection of its own."""
    with Connection(address, timeout) as connection:
        return connection.request(method, target, headers, body)
