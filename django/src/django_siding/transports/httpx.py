"""httpx and httpx2: `HTTPTransport.handle_request`. Their transports are alike."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from ..call import OutboundRequest, milliseconds
from ..exchange import Exchange, current_exchange
from ..journal import Record
from ..patching import Method, replace
from . import deferred
from .recorded import body_of, headers_of

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
        exchange = current_exchange()
        if exchange is None:
            return original(self, request)
        origin = _origin(request.url)
        if not exchange.offers(origin):
            return original(self, request)
        record = None
        headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in request.headers.raw
        ]
        if _can_be_handed_over(exchange, dict(headers)):
            record = exchange.ask(_outbound(request, origin, headers))
        if record is None:
            with exchange.in_line():
                return original(self, request)
        return _answer(library, request, record)

    return handle_request


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
        error = getattr(library, ERRORS[entry["error"]])
        raise error(str(entry.get("message", "")), request=request)
    body = body_of(entry)
    return library.Response(
        status_code=entry["status"],
        headers=headers_of(entry, body, request.method),
        stream=library.ByteStream(body),
        extensions={"http_version": b"HTTP/1.1"},
    )
