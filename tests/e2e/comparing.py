"""The difference between an answer of the app itself and the same answer through Siding: none, but for these."""

from __future__ import annotations

from harness.raw_http import Connection, Response

EXCEPTIONS = {
    "date",  # another second
    "connection",  # concerns one connection; whether it can be used again is compared by using it
    "keep-alive",  # likewise
    "transfer-encoding",  # likewise; the body is compared without its framing
}


def comparable(response: Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """What must be the same: status, headers (names in any case, values of a name in order) and body."""
    headers = [(name.lower(), value) for name, value in response.headers if name.lower() not in EXCEPTIONS]
    return response.status, sorted(headers, key=lambda header: header[0]), response.body


def exchange(address: str, request: bytes, method: str, timeout: float = 5) -> tuple[Response, bool]:
    """One request as raw bytes, and whether its connection could be used for another."""
    with Connection(address, timeout) as connection:
        connection.send(request)
        response = connection.response(method)
        if response.framing == "close" or (response.header("connection") or "").lower() == "close":
            return response, False
        again = connection.request("GET", "/again")
        assert (again.status, again.version) == (200, "HTTP/1.1"), again
        return response, True
