"""Streaming answers of views that were not written for relay.

A stream's calls happen while the server iterates it, after the status has been sent: too late to
suspend. So an offered stream is run inside the view and held until it is complete. A stream that
makes no call should not suffer: files are never touched, and a stream that has grown large, or that
has run for a while without a call, is let go and goes on as it would have without Siding.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exchange import Exchange

HELD_BYTES = 1024 * 1024
HELD_SECONDS = 2.0


def hold(response: Any, exchange: Exchange) -> Any:
    if not is_stream(response):
        return response
    stream = iter(response.streaming_content)
    try:
        held, complete = _collect(stream, exchange)
    except BaseException:
        release(response)
        raise
    # Its own close() is already among the response's.
    response.streaming_content = held if complete else itertools.chain(held, stream)
    return response


def is_stream(response: Any) -> bool:
    """Whether it makes its calls while it is sent. Files make none, `relay()` has made its own."""
    return (
        getattr(response, "streaming", False)
        and not getattr(response, "is_async", False)
        and getattr(response, "file_to_stream", None) is None
        and not getattr(response, "is_relayed", False)
    )


def _collect(stream: Iterator[bytes], exchange: Exchange) -> tuple[list[bytes], bool]:
    """The chunks and whether they are all."""
    started = time.monotonic()
    size = 0
    held = []
    for chunk in stream:
        held.append(chunk)
        size += len(chunk)
        # A stream that has had an answer is likely to ask again, however slow it is.
        waited = not exchange.delivered and time.monotonic() - started > HELD_SECONDS
        if size > HELD_BYTES or waited:
            return held, False
    return held, True


def release(response: Any) -> None:
    """Close what the response holds. Its close() would also end the request for Django."""
    for close in response._resource_closers:
        try:
            close()
        except Exception:  # noqa: BLE001 - as Django does; the stream's own failure matters more
            continue
