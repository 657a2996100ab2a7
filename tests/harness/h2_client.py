"""Streams of one HTTP/2 connection without TLS, under the test's control and in one thread."""

from __future__ import annotations

from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
from harness import raw_http
from hyperframe.frame import Frame, GoAwayFrame

# Before each frame.
HEADER_BYTES = 9


@dataclass
class Stream:
    """What came back on a stream. `reset` is the code of its end, when it did not end well."""

    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


class Streams:
    """A client's connection."""

    def __init__(self, address: str, lenient: bool = False) -> None:
        """A `lenient` one sends headers as they are, also those that no client may send."""
        self.socket = raw_http.connect(address, 10)
        checks = {"validate_outbound_headers": False, "normalize_outbound_headers": False} if lenient else {}
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(**checks))
        self.streams: dict[int, Stream] = {}
        # Whether the server wants further requests on another connection.
        self.is_leaving = False
        self._unread = b""
        self.h2.initiate_connection()
        self._send()

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def start(self, method: str, path: str, body: bytes = b"", authority: str = "app.example") -> int:
        """Sends a request; the body must fit into the flow control window."""
        return self.send([(":method", method), (":path", path), (":scheme", "http"), (":authority", authority)], body)

    def send(self, headers: list[tuple[str, str]], body: bytes = b"") -> int:
        """Sends a request with these headers."""
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = Stream()
        self.h2.send_headers(stream, headers, end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self._send()
        return stream

    def reset(self, stream: int) -> None:
        """Ends a stream as a client that lost interest does."""
        self.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self._send()

    def finish(self, stream: int) -> Stream:
        """Reads until the stream has ended, well or not."""
        while not self.streams[stream].ended:
            assert self._read(), "the connection ended"
        return self.streams[stream]

    def until_leaving(self) -> None:
        """Reads until the server wants further requests on another connection."""
        while not self.is_leaving:
            assert self._read(), "the connection ended"

    def until_end(self) -> None:
        """Reads until the server closes the connection."""
        while self._read():
            pass

    def _read(self) -> bool:
        data = self.socket.recv(1 << 16)
        self._unread += data
        while len(self._unread) >= HEADER_BYTES:
            frame, length = Frame.parse_frame_header(memoryview(self._unread[:HEADER_BYTES]))
            whole = self._unread[: HEADER_BYTES + length]
            if len(whole) < HEADER_BYTES + length:
                break
            self._unread = self._unread[len(whole) :]
            if isinstance(frame, GoAwayFrame):
                # The library takes the connection for closed then; streams under way are not.
                frame.parse_body(memoryview(whole[HEADER_BYTES:]))
                assert frame.error_code == h2.errors.ErrorCodes.NO_ERROR, frame
                self.is_leaving = True
                continue
            for event in self.h2.receive_data(whole):
                self._note(event)
        if data:
            self._send()
        return bool(data)

    def _note(self, event: h2.events.Event) -> None:
        stream = self.streams.get(getattr(event, "stream_id", None) or 0, Stream())
        if isinstance(event, h2.events.ResponseReceived):
            stream.status = int({bytes(name): value for name, value in event.headers}[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.ended, stream.reset = True, int(event.error_code)

    def _send(self) -> None:
        self.socket.sendall(self.h2.data_to_send())
