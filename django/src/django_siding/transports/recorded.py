"""What every library needs of a recorded result."""

from __future__ import annotations

import http
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


def reason_of(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


__all__ = ["body_of", "headers_of", "reason_of"]
