"""What every library needs of a recorded result."""

from __future__ import annotations

import http
import io
from collections.abc import Iterable, Iterator
from typing import Any

from ..journal import body_of


def headers_of(entry: dict[str, Any], body: bytes, method: str) -> list[tuple[str, str]]:
    """The recorded headers, with the length that the recorded body has.

    Streamed answers come without one; an answer to HEAD keeps its own.
    """
    headers = [(name, value) for name, value in entry["headers"]]
    if method == "HEAD":
        return headers
    framing = ("content-length", "transfer-encoding")
    kept = [(name, value) for name, value in headers if name.lower() not in framing]
    return [*kept, ("content-length", str(len(body)))]


def breaking(body: bytes, error: Exception) -> Iterator[bytes]:
    """An answer that broke off: what arrived of it, then the failure."""
    if body:
        yield body
    raise error


def reading(chunks: Iterable[bytes]) -> io.BufferedReader:
    """The chunks as a file, for libraries that read."""
    return io.BufferedReader(Chunks(chunks))


class Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = iter(chunks)
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self.rest or next(self.chunks, b"")
        size = min(len(chunk), len(buffer))
        buffer[:size], self.rest = chunk[:size], chunk[size:]
        return size


def reason_of(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


__all__ = ["body_of", "breaking", "headers_of", "reading", "reason_of"]
