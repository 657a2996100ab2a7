"""urllib3: `HTTPConnectionPool.urlopen`, for botocore and for direct use."""

from __future__ import annotations

import io
from collections.abc import Iterator
from email.message import Message
from functools import partial
from types import ModuleType
from typing import Any, cast

from ..call import OutboundRequest, absolute, milliseconds, origin_of
from ..capture import Capture, current_capture
from ..exchange import current_exchange
from ..journal import Record
from ..patching import Method, replace
from .recorded import body_of, breaking, headers_of, reading, reason_of

CHUNK_BYTES = 64 * 1024


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
        exchange, capture = current_exchange(), current_capture()
        make = original if capture is None else partial(taking, original, capture)
        address = _address(self, url) if exchange is not None else ""
        if exchange is None or not exchange.offers(origin_of(address)):
            return make(self, method, url, body, headers, retries, *args, **options)
        body = in_memory(body)
        record = None
        fields = _fields(self.headers if headers is None else headers)
        if exchange.fits(len(body or b"")) and not any(name == "upgrade" for name, _ in fields):
            timeout = _timeout(self, options)
            record = exchange.ask(OutboundRequest(method, address, fields, body or b"", timeout))
        if record is None:
            with exchange.in_line():
                return make(self, method, url, body, headers, retries, *args, **options)
        if record.is_error:
            raise_error(self, method, url, retries, record)
        return response(record, method, url, **_reading(options))

    return urlopen


def taking(
    original: Method,
    capture: Capture,
    pool: Any,
    method: str,
    url: str,
    body: Any,
    headers: Any,
    retries: Any,
    *args: Any,
    **options: Any,
) -> Any:
    """Make a call in line; if it is the one to relay, its answer is read from a tape."""
    from urllib3 import HTTPHeaderDict

    body = in_memory(body)
    fields = HTTPHeaderDict(_pairs(pool.headers if headers is None else headers))
    request = OutboundRequest(method, _address(pool, url), _fields(fields), body or b"")
    if not capture.takes(request):
        return original(pool, method, url, body, headers, retries, *args, **options)
    fields["Accept-Encoding"] = "identity"
    unread = options | {"preload_content": False}
    with capture.sending():
        answer = original(pool, method, url, body, fields, retries, *args, **unread)
    answered = [pair for pair in _pairs(answer.headers) if pair[0].lower() != "transfer-encoding"]
    tape = capture.answered(answer.status, answered, _chunks(answer), answer.close)
    if tape is None:
        if options.get("preload_content", True):
            answer.read(cache_content=True)
        return answer
    return built(reading(tape), answer.status, answered, method, url, **_reading(options))


def _chunks(answer: Any) -> Iterator[bytes]:
    """The answer's bytes as they arrive, undecoded."""
    if answer.chunked and answer.supports_chunked_reads():
        yield from answer.read_chunked(decode_content=False)
        return
    # The oldest versions have no `read1`, and wait for all that they were asked for.
    read = getattr(answer, "read1", None) or answer.read
    while chunk := read(CHUNK_BYTES, decode_content=False):
        yield chunk


def response(record: Record, method: str, url: str, **options: Any) -> Any:
    """A urllib3 response that reads the recorded body."""
    entry = record.entry
    body = body_of(entry)
    file: Any = io.BytesIO(body)
    if record.broken is not None:
        file = reading(breaking(body, error_of(None, url, record)))
    headers = headers_of(entry, body, method)
    return built(file, entry["status"], headers, method, url, **options)


def built(
    file: Any,
    status: int,
    fields: list[tuple[str, str]],
    method: str,
    url: str,
    **options: Any,
) -> Any:
    from urllib3 import HTTPHeaderDict, HTTPResponse

    headers = HTTPHeaderDict()
    for name, value in fields:
        headers.add(name, value)
    return HTTPResponse(
        body=file,
        headers=headers,
        status=status,
        version=11,
        reason=reason_of(status),
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

    kind, message = record.broken, record.message
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
    return [(name.lower(), value) for name, value in _pairs(headers)]


def _pairs(headers: Any) -> list[tuple[str, str]]:
    pairs = headers.iteritems() if hasattr(headers, "iteritems") else headers.items()
    return [(text(name), text(value)) for name, value in pairs]


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
