"""The proxy's side of the hand-off, over a Django WSGI handler in this process."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from django.core.handlers.wsgi import WSGIHandler

CALL = "application/vnd.siding.call+json; v=1"
SECRET = "a secret of the tests, 32 bytes+"


@dataclass
class Answer:
    """What the client gets, and how it came about."""

    status: int
    headers: dict[str, str]
    body: bytes
    passes: int
    calls: list[dict[str, Any]] = field(default_factory=list)
    # Of a relayed call: how, and what the client got instead of this answer.
    relay: dict[str, Any] | None = None
    relayed: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Opened:
    """An answer whose body is still to come."""

    status: int
    headers: dict[str, str]
    content: Any


@dataclass
class Proxy:
    """Attributes change what it offers; `meddle` edits an environment just before it is sent."""

    origin: str
    secret: str = SECRET
    max_calls: int = 8
    max_call_bytes: int = 4 * 1024 * 1024
    modes: str = "replay"
    outcome: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None
    meddle: Callable[[dict[str, Any]], None] | None = None
    offering: bool = True
    handler: Any = None

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        self.handler = WSGIHandler()
        entries: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        relayed: dict[str, Any] = {}
        now_ms = int(time.time() * 1000)
        for number in range(17):
            environ = self.environ(method, target, body, headers or {}, number, now_ms, entries)
            status, answer_headers, content = send(self.handler, environ)
            if answer_headers.get("Content-Type") != CALL:
                return Answer(status, answer_headers, content, number + 1, calls, **relayed)
            document = self.checked(environ, status, answer_headers, content)
            calls += document["calls"]
            entries += document["journal"]
            results = [self.perform(call, number) for call in document["calls"]]
            if document["mode"] == "relay" and begins(results[0]):
                results[0]["relayed"] = True
                relayed = {"relay": document["relay"], "relayed": body_of(results[0])}
            entries += results
        raise AssertionError("too many passes")

    def opened(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Opened:
        """The first pass's answer, which the caller iterates and closes."""
        environ = self.environ(method, target, body, headers, 0, int(time.time() * 1000), [])
        started: list[Any] = []
        content = WSGIHandler()(
            environ, lambda status, fields, *_: started.extend((status, fields))
        )
        return Opened(int(started[0].split()[0]), dict(started[1]), content)

    def environ(self, method, target, body, headers, number, now_ms, entries) -> dict[str, Any]:
        environ = wsgi_environ(method, target, headers)
        content = body
        if self.offering:
            journal = json.dumps({"v": 1, "entries": entries}).encode() if number else b""
            content = journal + body
            offer = {
                "ACCEPT": f'v=1; modes="{self.modes}"; '
                f'origins="https://api.example.com {self.origin}"; '
                f"max-calls={self.max_calls}; max-call-bytes={self.max_call_bytes}",
                "ID": "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c",
                "PASS": str(number),
                "NOW_MS": str(now_ms),
                "DEADLINE_MS": str(now_ms + 600_000),
                "TARGET": target,
            }
            if number:
                offer["JOURNAL_LENGTH"] = str(len(journal))
            environ |= {f"HTTP_SIDING_{name}": value for name, value in offer.items()}
            environ["HTTP_SIDING_SIGNATURE"] = self.sign("p2a", environ, content)
        if content or method in ("POST", "PUT", "PATCH"):
            environ["CONTENT_LENGTH"] = str(len(content))
        environ["wsgi.input"] = io.BytesIO(content)
        if self.meddle:
            self.meddle(environ)
        return environ

    def sign(self, direction: str, environ, content: bytes, t: int | None = None) -> str:
        t = int(time.time()) if t is None else t
        mac = signature(self.secret, direction, environ, t, content)
        return f"t={t},v1={mac}"

    def checked(self, environ, status, headers, content: bytes) -> dict[str, Any]:
        assert status == 202
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Length"] == str(len(content))
        t = int(headers["Siding-Signature"].split(",")[0].removeprefix("t="))
        assert headers["Siding-Signature"] == self.sign("a2p", environ, content, t)
        document = json.loads(content)
        assert document["v"] == 1
        assert document["mode"] in self.modes.split()
        assert ("relay" in document) == (document["mode"] == "relay")
        assert document["mode"] == "replay" or len(document["calls"]) == 1
        assert document["id"] == environ["HTTP_SIDING_ID"]
        assert str(document["pass"]) == environ["HTTP_SIDING_PASS"]
        assert 1 <= len(document["calls"]) <= self.max_calls
        assert [call["seq"] for call in document["calls"]] == list(range(len(document["calls"])))
        return document

    def perform(self, call: dict[str, Any], number: int) -> dict[str, Any]:
        entry = {"name": call["name"], "digest": call["digest"], "pass": number, "elapsed_ms": 5}
        forced = self.outcome(call) if self.outcome else None
        return entry | (forced or fetch(call))


def begins(entry: dict[str, Any]) -> bool:
    """Whether the client is to get it as it arrives."""
    return entry.get("relayed", entry["kind"] == "result" and 200 <= entry["status"] < 300)


def body_of(entry: dict[str, Any]) -> bytes:
    return (
        base64.b64decode(entry["body_b64"])
        if "body_b64" in entry
        else entry.get("body", "").encode()
    )


def fetch(call: dict[str, Any]) -> dict[str, Any]:
    url = urlsplit(call["url"])
    connection = http.client.HTTPConnection(url.hostname, url.port)
    target = url.path + (f"?{url.query}" if url.query else "")
    body = base64.b64decode(call["body_b64"]) if "body_b64" in call else call.get("body", "")
    content = body if isinstance(body, bytes) else body.encode()
    connection.request(call["method"], target, content, dict(call["headers"]))
    response = connection.getresponse()
    result = response.read()
    connection.close()
    headers = [[name.lower(), value] for name, value in response.getheaders()]
    if response.status >= 400:
        headers.append(["x-should-retry", "false"])
    return {"kind": "result", "status": response.status, "headers": headers} | as_text(result)


def as_text(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_b64": base64.b64encode(body).decode()}


def signature(secret: str, direction: str, environ, t: int, content: bytes) -> str:
    lines = [
        "v1",
        direction,
        environ["HTTP_SIDING_ID"],
        environ["HTTP_SIDING_PASS"],
        str(t),
        environ["REQUEST_METHOD"],
        environ["HTTP_SIDING_TARGET"],
        hashlib.sha256(content).hexdigest(),
    ]
    return hmac.new(secret.encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()


def wsgi_environ(method: str, target: str, headers: dict[str, str]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "app.example.com",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return environ


def send(handler: Any, environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    started: list[Any] = []
    response = handler(environ, lambda status, headers, *_: started.extend([status, headers]))
    try:
        body = b"".join(response)
    finally:
        response.close()
    return int(started[0].split()[0]), dict(started[1]), body
