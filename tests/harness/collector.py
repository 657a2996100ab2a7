"""A collector of traces: it takes spans over OTLP/HTTP as any other does, or misbehaves."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.waiting import until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

# A span waits up to five seconds for others.
PATIENCE = 15.0


@dataclass(frozen=True)
class Span:
    """A span as it was exported."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    flags: int
    failed: bool
    attributes: dict[str, Any] = field(hash=False)
    events: list[str] = field(hash=False)
    links: list[tuple[str, str]] = field(hash=False)

    @classmethod
    def of(cls, span: Message) -> Span:
        """From its message."""
        return cls(
            name=span.name,
            kind=Message.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            flags=span.flags,
            failed=span.status.code == 2,
            attributes=values(span.attributes),
            events=[event.name for event in span.events],
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        )

    @property
    def traceparent(self) -> str:
        """As what is below it is told."""
        return f"00-{self.trace}-{self.id}-{self.flags & 0xFF:02x}"


class Collector:
    """Serves until the `with` block ends. With a `status` other than 200 it takes nothing; it answers once `release` is
    set."""

    def __init__(self, status: int = 200, rejected: int = 0) -> None:
        self.status = status
        self.rejected = rejected
        self.release = threading.Event()
        self.release.set()
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Collector:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """Keeps what came."""
        self.requests.append((path, headers))
        self.release.wait()
        if self.status != 200:
            return b""
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(values(part.resource.attributes))
            self.spans += [Span.of(span) for scope in part.scope_spans for span in scope.spans]
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.rejected
        return answer.SerializeToString()

    def until_spans(self, count: int) -> list[Span]:
        """Waits until so many spans have come."""
        until(f"{count} spans", lambda: len(self.spans) >= count, PATIENCE)
        return self.spans

    def named(self, name: str) -> list[Span]:
        """The spans with this name, in the order of their beginnings."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start)

    def only(self, name: str) -> Span:
        """The one span with this name."""
        [span] = self.named(name)
        return span

    def below(self, parent: Span) -> list[Span]:
        """The spans right below another, in the order of their beginnings."""
        return sorted((span for span in self.spans if span.parent == parent.id), key=lambda span: span.start)

    def tree(self, root: Span) -> list[Any]:
        """A span's name, and the trees below it."""
        return [root.name, *(self.tree(child) for child in self.below(root))]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = collector.take(self.path, headers, body)
                self.send_response(collector.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def values(attributes: Any) -> dict[str, Any]:
    """Attributes by name."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
