"""requests: `HTTPAdapter.send`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..call import OutboundRequest, absolute, milliseconds, origin_of
from ..exchange import Exchange, current_exchange
from ..journal import Record
from ..patching import Method, replace
from . import urllib3

ERRORS = {
    "connect": "ConnectionError",
    "connect_timeout": "ConnectTimeout",
    "first_byte_timeout": "ReadTimeout",
    "idle_timeout": "ReadTimeout",
    "total_timeout": "ReadTimeout",
    "deadline": "ReadTimeout",
    "interrupted": "ChunkedEncodingError",
    "too_large": "ChunkedEncodingError",
    "protocol": "ConnectionError",
    "unavailable": "ConnectionError",
}


def patch(adapters: ModuleType) -> None:
    replace(adapters.HTTPAdapter, "send", handing_over)


def handing_over(original: Method) -> Method:
    def send(
        self: Any,
        request: Any,
        stream: bool = False,
        timeout: Any = None,
        *args: Any,
        **options: Any,
    ) -> Any:
        exchange = current_exchange()
        if exchange is None or not exchange.offers(origin_of(request.url)):
            return original(self, request, stream, timeout, *args, **options)
        record = _ask(exchange, request, timeout)
        if record is None:
            # It sends through urllib3, which is not to be asked again.
            with exchange.in_line():
                return original(self, request, stream, timeout, *args, **options)
        if record.is_error:
            raise _error(request, record)
        raw = urllib3.response(
            record, request.method, request.url, preload_content=False, decode_content=False
        )
        return self.build_response(request, raw)

    return send


def _ask(exchange: Exchange, request: Any, timeout: Any) -> Record | None:
    length = str(request.headers.get("Content-Length", ""))
    if "Upgrade" in request.headers or (length.isdigit() and not exchange.fits(int(length))):
        return None
    return exchange.ask(_outbound(request, timeout))


def _outbound(request: Any, timeout: Any) -> OutboundRequest:
    body = request.body
    if body is not None and not isinstance(body, (bytes, str)):
        _read(request)
    return OutboundRequest(
        method=request.method,
        url=absolute(request.url),
        headers=[
            (urllib3.text(name).lower(), urllib3.text(value))
            for name, value in request.headers.items()
        ],
        body=urllib3.in_memory(request.body) or b"",
        timeout_ms=_milliseconds(timeout),
    )


def _read(request: Any) -> None:
    """Replace a streamed body, which could be sent only once."""
    request.body = urllib3.in_memory(request.body)
    request.headers.pop("Transfer-Encoding", None)
    request.headers["Content-Length"] = str(len(request.body))


def _milliseconds(timeout: Any) -> int | None:
    if isinstance(timeout, tuple):
        timeout = timeout[-1]
    elif timeout is not None and not isinstance(timeout, (int, float)):
        timeout = getattr(timeout, "_read", None)
    return milliseconds(timeout)


def _error(request: Any, record: Record) -> Exception:
    from requests import exceptions

    error: Any = getattr(exceptions, ERRORS[str(record.broken)])
    failure: Exception = error(record.message, request=request)
    return failure
