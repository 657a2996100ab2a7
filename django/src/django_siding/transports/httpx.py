"""httpx and httpx2: `HTTPTransport.handle_request`. Their transports are alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, partial
from types import ModuleType
from typing import Any

from ..call import OutboundRequest, milliseconds
from ..capture import Capture, current_capture
from ..exchange import Exchange, current_exchange
from ..journal import Record
from ..patching import Method, replace
from . import deferred
from .recorded import body_of, breaking, headers_of

ERRORS = {
    "connect": "ConnectError",
    "connect_timeout": "ConnectTimeout",
    "first_byte_timeout": "ReadTimeout",
    "idle_timeout": "ReadTimeout",
    "total_timeout": "ReadTimeout",
    "deadline": "ReadTimeout",
    "interrupted": "RemoteProtocolError",
    "too_large": "RemoteProtocolError",
    "protocol": "RemoteProtocolError",
    "unavailable": "ConnectError",
}


def patch(library: ModuleType) -> None:
    replace(library.HTTPTransport, "handle_request", partial(handing_over, library))
    deferred.patch(library)


def handing_over(library: ModuleType, original: Method) -> Method:
    def handle_request(self: Any, request: Any) -> Any:
        exchange, capture = current_exchange(), current_capture()
        make = original if capture is None else partial(taking, library, original, capture)
        if exchange is None:
            return make(self, request)
        origin = _origin(request.url)
        if not exchange.offers(origin):
            return make(self, request)
        record = None
        headers = _headers(request)
        if _can_be_handed_over(exchange, dict(headers)):
            record = exchange.ask(_outbound(request, origin, headers))
        if record is None:
            with exchange.in_line():
                return make(self, request)
        return _answer(library, request, record)

    return handle_request


def taking(
    library: ModuleType, original: Method, capture: Capture, transport: Any, request: Any
) -> Any:
    """Make a call in line; if it is the one to relay, its answer is read from a tape."""
    if not capture.takes(_outbound(request, _origin(request.url), _headers(request))):
        return original(transport, request)
    request.headers["accept-encoding"] = "identity"
    response = original(transport, request)
    fields = [(name, value) for name, value in response.headers.items()]
    stream = response.stream
    tape = capture.answered(response.status_code, fields, iter(stream), stream.close)
    if tape is not None:
        response.stream = _streamed(library)(tape)
    return response


@cache
def _streamed(library: ModuleType) -> Any:
    base: Any = library.SyncByteStream

    class Streamed(base):
        def __init__(self, chunks: Iterable[bytes]) -> None:
            self.chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            yield from self.chunks

    return Streamed


def _headers(request: Any) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in request.headers.raw
    ]


def _origin(url: Any) -> str:
    # `netloc` leaves default ports and credentials out.
    return f"{url.scheme}://{url.netloc.decode('ascii')}".lower()


def _can_be_handed_over(exchange: Exchange, headers: dict[str, str]) -> bool:
    if "upgrade" in headers:
        return False
    length = headers.get("content-length", "")
    return not length.isdigit() or exchange.fits(int(length))


def _outbound(request: Any, origin: str, headers: list[tuple[str, str]]) -> OutboundRequest:
    request.read()
    timeout = request.extensions.get("timeout") or {}
    return OutboundRequest(
        method=request.method,
        url=origin + request.url.raw_path.decode("ascii"),
        headers=headers,
        body=request.content,
        timeout_ms=milliseconds(timeout.get("read")),
    )


def _answer(library: ModuleType, request: Any, record: Record) -> Any:
    entry = record.entry
    if record.is_error:
        raise _error(library, request, record)
    body = body_of(entry)
    stream = library.ByteStream(body)
    if record.broken is not None:
        stream = _streamed(library)(breaking(body, _error(library, request, record)))
    return library.Response(
        status_code=entry["status"],
        headers=headers_of(entry, body, request.method),
        stream=stream,
        extensions={"http_version": b"HTTP/1.1"},
    )


def _error(library: ModuleType, request: Any, record: Record) -> Exception:
    error: Any = getattr(library, ERRORS[str(record.broken)])
    failure: Exception = error(record.message, request=request)
    return failure
