"""WSGI apps that the tests run under gunicorn."""

from __future__ import annotations

import os
import threading
from urllib.parse import parse_qs


def killable(environ, start_response):
    """`/hang?into=FILE` notes the worker's process in the file and never answers; all else answers at once."""
    if environ["PATH_INFO"] == "/hang":
        with open(parse_qs(environ["QUERY_STRING"])["into"][0], "a") as file:
            file.write(f"{os.getpid()}\n")
        threading.Event().wait()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
