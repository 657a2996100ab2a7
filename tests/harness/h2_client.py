"""Streams of one HTTP/2 connection without TLS, under the test's control and in one thread."""

from __future__ import annotations

from dataclasses import dataclass, field

import h2.connection
import h2.errors
import h2.events
from harness import raw_http


@dataclass
class Stream:
    """What came back on a stream. `reset` is the code of its end, when it did not end well."""

    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


class Streams:
    """A client's connection."""

    def __init__(self, address: str) -> None:
        self.socket = raw_http.connect(address, 10)
        self.h2 = h2.connection.H2Connection()
        self.streams: dict[int, Stream] = {}
        self.h2.initiate_connection()
        self._send()

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def start(self, method: str, path: str, body: bytes = b"", authority: str = "app.example") -> int:
        """Sends a request; the body must fit into the flow control window."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", authority)]
        self.streams[stream] = Stream()
        self.h2.send_headers(stream, pseudo, end_stream=not body)
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
            data = self.socket.recv(1 << 16)
            assert data, "the connection ended"
            for event in self.h2.receive_data(data):
                self._note(event)
            self._send()
        return self.streams[stream]

    def _note(self, event: h2.events.Event) -> None:
        assert not isinstance(event, h2.events.ConnectionTerminated), event
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
