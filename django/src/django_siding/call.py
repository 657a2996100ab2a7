"""A call that the proxy is asked to make (protocol section 2)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from .digest import digest

MEDIA_TYPE = "application/vnd.siding.call+json; v=1"

# These are between the SDK and its connection. The proxy has its own.
NOT_PASSED_ON = frozenset(
    """
    accept-encoding connection content-length expect host keep-alive proxy-authenticate
    proxy-authorization proxy-connection te trailer transfer-encoding upgrade
    """.split()
)

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class OutboundRequest:
    """An HTTP request, whichever library is about to send it. Header names are in lower case."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes
    timeout_ms: int | None = None

    def header(self, wanted: str) -> str:
        return next((value for name, value in self.headers if name == wanted), "")

    @cached_property
    def digest(self) -> str:
        return digest(self.method, self.url, self.header("content-type"), self.body)


@dataclass(frozen=True)
class Call:
    name: str
    request: OutboundRequest
    # What the app said about sharing it; no part of its identity.
    cache: dict[str, Any] = field(default_factory=dict)

    def document(self, seq: int) -> dict[str, Any]:
        request = self.request
        document: dict[str, Any] = {
            "seq": seq,
            "name": self.name,
            "method": request.method,
            "url": request.url,
            "headers": passed_on(request.headers),
            "digest": request.digest,
        }
        if request.body:
            document.update(_body(request.body))
        if request.timeout_ms is not None:
            document["timeout_ms"] = request.timeout_ms
        if self.cache:
            document["cache"] = self.cache
        return document


def call_document(
    exchange_id: str,
    pass_number: int,
    calls: Iterable[Call],
    journal: list[dict[str, Any]],
    relay: dict[str, Any] | None = None,
) -> bytes:
    document = {
        "v": 1,
        "id": exchange_id,
        "pass": pass_number,
        "mode": "replay" if relay is None else "relay",
        "calls": [call.document(seq) for seq, call in enumerate(calls)],
        "journal": journal,
    }
    if relay is not None:
        document["relay"] = relay
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def passed_on(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    named = {
        token.strip().lower()
        for name, value in headers
        if name == "connection"
        for token in value.split(",")
    }
    return [
        (name, value) for name, value in headers if name not in NOT_PASSED_ON and name not in named
    ]


def origin_of(url: str) -> str:
    """Scheme, host and port, without a default port: as offers write it."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    port = parts.port
    if port is None or port == DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{port}"


def absolute(url: str) -> str:
    """The URL as it is requested: without credentials and fragment."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{origin_of(url)}{parts.path or '/'}{query}"


def milliseconds(seconds: Any) -> int | None:
    """A time-out in the protocol's unit; `None` for none."""
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0:
        return max(1, int(seconds * 1000))
    return None


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_b64": base64.b64encode(body).decode("ascii")}
