"""urllib3: `HTTPConnectionPool.urlopen`, for botocore and for direct use."""

from __future__ import annotations

import io
from email.message import Message
from types import ModuleType
from typing import Any, cast

from ..call import OutboundRequest, absolute, milliseconds, origin_of
from ..exchange import current_exchange
from ..journal import Record
from ..patching import Method, replace
from .recorded import body_of, headers_of, reason_of


def patch(library: ModuleType) -> None:
    replace(library.HTTPConnectionPool, "urlopen", handing_over)


def handing_over(original: Method) -> Method:
    def urlopen(
        self: Any,
        method: str,
        url: str,
        body: Any = None,
        headers: Any = None,
        retries: Any = None,
        *args: Any,
        **options: Any,
    ) -> Any:
        exchange = current_exchange()
        address = _address(self, url) if exchange is not None else ""
        if exchange is None or not exchange.offers(origin_of(address)):
            return original(self, method, url, body, headers, retries, *args, **options)
        body = in_memory(body)
        record = None
        fields = _fields(self.headers if headers is None else headers)
        if exchange.fits(len(body or b"")) and not any(name == "upgrade" for name, _ in fields):
            timeout = _timeout(self, options)
            record = exchange.ask(OutboundRequest(method, address, fields, body or b"", timeout))
        if record is None:
            with exchange.in_line():
                return original(self, method, url, body, headers, retries, *args, **options)
        if record.is_error:
            raise_error(self, method, url, retries, record)
        return response(record, method, url, **_reading(options))

    return urlopen


def response(record: Record, method: str, url: str, **options: Any) -> Any:
    """A urllib3 response that reads the recorded body."""
    from urllib3 import HTTPHeaderDict, HTTPResponse

    body = body_of(record.entry)
    headers = HTTPHeaderDict()
    for name, value in headers_of(record.entry, body, method):
        headers.add(name, value)
    return HTTPResponse(
        body=io.BytesIO(body),
        headers=headers,
        status=record.entry["status"],
        version=11,
        reason=reason_of(record.entry["status"]),
        original_response=cast(Any, ReadResponse(headers)),
        request_method=method,
        request_url=url,
        **options,
    )


class ReadResponse:
    """Stands for the connection's response: requests takes cookies from its headers."""

    def __init__(self, headers: Any) -> None:
        self.msg = Message()
        for name, value in headers.iteritems():
            self.msg[name] = value

    def isclosed(self) -> bool:
        return True

    def close(self) -> None:
        pass


def error_of(pool: Any, url: str, record: Record) -> Exception:
    from urllib3 import exceptions

    kind, message = record.entry["error"], str(record.entry.get("message", ""))
    if kind in ("connect", "unavailable"):
        return exceptions.NewConnectionError(pool, message)
    if kind == "connect_timeout":
        return exceptions.ConnectTimeoutError(pool, message)
    if kind in ("interrupted", "too_large", "protocol"):
        return exceptions.ProtocolError(message)
    return exceptions.ReadTimeoutError(pool, url, message)


def raise_error(pool: Any, method: str, url: str, retries: Any, record: Record) -> None:
    """Fail as a pool does that has no attempts left: how depends on the caller's `retries`."""
    from urllib3 import Retry

    error = error_of(pool, url, record)
    if not isinstance(retries, Retry):
        retries = Retry.from_int(retries, default=pool.retries)
    if retries.total is False:
        raise error
    retries.new(total=0).increment(method, url, error=error, _pool=pool)
    raise error


def _address(pool: Any, url: str) -> str:
    if url.startswith(("http://", "https://")):
        return absolute(url)
    host = f"[{pool.host}]" if ":" in pool.host and not pool.host.startswith("[") else pool.host
    port = f":{pool.port}" if pool.port else ""
    return absolute(f"{pool.scheme}://{host}{port}/{url.removeprefix('/')}")


def _fields(headers: Any) -> list[tuple[str, str]]:
    pairs = headers.iteritems() if hasattr(headers, "iteritems") else headers.items()
    return [(text(name).lower(), text(value)) for name, value in pairs]


def text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def in_memory(body: Any) -> Any:
    """The body in memory: a stream could be sent only once."""
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    if isinstance(body, str):
        return body.encode()
    if hasattr(body, "read"):
        return in_memory(body.read())
    return b"".join(part.encode() if isinstance(part, str) else bytes(part) for part in body)


def _timeout(pool: Any, options: dict[str, Any]) -> int | None:
    timeout = options.get("timeout", pool.timeout)
    if timeout is None or isinstance(timeout, (int, float)):
        return milliseconds(timeout)
    read = getattr(timeout, "_read", None)
    return milliseconds(getattr(pool.timeout, "_read", None) if _is_default(read) else read)


def _is_default(value: Any) -> bool:
    return value is not None and not isinstance(value, (int, float))


def _reading(options: dict[str, Any]) -> dict[str, bool]:
    names = ("preload_content", "decode_content")
    return {name: bool(options.get(name, True)) for name in names}
