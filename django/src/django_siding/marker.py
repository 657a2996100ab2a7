"""What stands for a stream on its way through the project's middlewares.

The proxy delivers the stream; the head of its answer (cookies, CORS, security headers) is what the
middlewares make of the marker's. It is a `StreamingHttpResponse`, as the answer without the proxy
is, so that none of them stores it, hashes it or looks for its content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import StreamingHttpResponse

from . import formats

if TYPE_CHECKING:
    from .call import Call
    from .capture import Terms
    from .exchange import Exchange

# What describes content that is not there. The proxy sets its own.
NOT_OF_THE_HEAD = frozenset({"content-type", "content-length", "content-encoding"})

EVENT_STREAM = "text/event-stream"


class Marker(StreamingHttpResponse):
    def __init__(self, exchange: Exchange, calls: list[Call], terms: Terms) -> None:
        # Most providers stream events; what this one does is not known yet.
        super().__init__((), content_type=formats.content_type(terms.format, EVENT_STREAM))
        dress(self, terms)
        self.exchange = exchange
        self.calls = calls
        self.terms = terms

    def document(self) -> dict[str, Any]:
        """The call document's member `relay`."""
        return {
            "format": self.terms.format,
            "on_disconnect": self.terms.on_disconnect,
            "head": {"status": self.status_code, "headers": self._head()},
        }

    def _head(self) -> list[tuple[str, str]]:
        headers = [(name.lower(), value) for name, value in self.items()]
        cookies = [("set-cookie", cookie.OutputString()) for cookie in self.cookies.values()]
        return [pair for pair in headers if pair[0] not in NOT_OF_THE_HEAD] + cookies


def dress(response: Any, terms: Terms) -> None:
    """Give an answer the headers of its format and the view's own."""
    for name, value in {**formats.headers(terms.format), **terms.headers}.items():
        response[name] = value
