"""WSGI apps that the tests run under gunicorn."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from urllib.parse import parse_qs

FOLDER = Path(__file__).parent


def killable(environ, start_response):
    """`/hang?into=FILE` notes the worker's process in the file and never answers; all else answers at once."""
    if environ["PATH_INFO"] == "/hang":
        with open(parse_qs(environ["QUERY_STRING"])["into"][0], "a") as file:
            file.write(f"{os.getpid()}\n")
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


# Request headers that differ between direct and proxied by design, and are not told by `mirror`.
ADDED = {
    "X-FORWARDED-FOR",  # the client's address, which a direct app sees on its socket
    "X-FORWARDED-PROTO",  # the client's scheme, likewise
    "X-REQUEST-START",  # when the pass began
    "TRACEPARENT",  # the span that the pass is
    "CONNECTION",  # concerns one connection
    "EXPECT",  # met by the proxy
    "TE",  # concerns one connection
    "TRANSFER-ENCODING",  # likewise; a body of unknown length that is buffered is sent on with its length
}
BLOCK = b"0123456789abcdef" * 4096


def mirror(environ, start_response):
    """Pages for comparing a direct answer with a proxied one; by default tells what it was asked."""
    page = environ["PATH_INFO"].strip("/").split("/")[0]
    status, headers, body = PAGES.get(page, _echo)(environ)
    start_response(status, headers)
    return body


def _echo(environ):
    content = environ["wsgi.input"].read()
    names = {key[5:].replace("_", "-"): value for key, value in environ.items() if key.startswith("HTTP_")}
    told = {
        "method": environ["REQUEST_METHOD"],
        "raw": environ["RAW_URI"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "type": environ.get("CONTENT_TYPE"),
        "length": environ.get("CONTENT_LENGTH"),
        "headers": {k: v for k, v in sorted(names.items()) if k not in ADDED and not k.startswith("SIDING-")},
        "body": [len(content), hashlib.sha256(content).hexdigest()],
    }
    body = json.dumps(told).encode()
    return "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], [body]


def _chunked(environ):
    return "200 OK", [("Content-Type", "text/plain")], (b"piece %d " % number for number in range(5))


def _empty(environ):
    return "200 OK", [("Content-Length", "0")], []


def _headers(environ):
    headers = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"), ("X-Empty", ""), ("X-Odd", 'a\tb  c; "q"')]
    headers += [("X-Latin", "caf\xe9"), ("Vary", "Accept"), ("Vary", "Cookie"), ("Server", "mine")]
    headers += [("Cache-Control", "private"), ("ETag", 'W/"x"'), ("Via", "1.1 other"), ("Content-Length", "2")]
    return "200 OK", headers, [b"ok"]


def _fresh(environ):
    if environ.get("HTTP_IF_NONE_MATCH") == '"v1"' or "HTTP_IF_MODIFIED_SINCE" in environ:
        return "304 Not Modified", [("ETag", '"v1"'), ("Expires", "0")], []
    return "200 OK", [("ETag", '"v1"'), ("Content-Length", "5")], [b"fresh"]


def _status(environ):
    code = environ["PATH_INFO"].split("/")[2]
    if code == "204":
        return "204 No Content", [("X-Code", code)], []
    return f"{code} Some Reason", [("Content-Length", "4"), ("Location", "/elsewhere")], [b"body"]


def _large(environ):
    size = int(environ["PATH_INFO"].split("/")[2]) << 20
    blocks = (BLOCK for _ in range(size // len(BLOCK)))
    return "200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))], blocks


def _unread(environ):
    return "413 Too Large", [("Content-Length", "8")], [b"too much"]


PAGES = {
    "chunked": _chunked,
    "empty": _empty,
    "headers": _headers,
    "fresh": _fresh,
    "status": _status,
    "large": _large,
    "unread": _unread,
}
