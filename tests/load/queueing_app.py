"""A worker that is held for as long as each request says, with nothing else to do: for gunicorn's sync workers.

`/serve/MS` is answered after so many milliseconds. `/ask/MS/MORE` is handed over after MS, with a call whose prompt is
the request's path, and answered after MORE when it comes back with the call's result. All else is answered at once,
`/routed/NAME` as a view of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.calls import chat
from harness.signing import sign
from harness.steps import CALL_TYPE

Headers = list[tuple[str, str]]


def application(environ: dict[str, Any], start_response: Callable[[str, Headers], object]) -> Iterable[bytes]:
    """The WSGI app."""
    what, *times = environ["PATH_INFO"].strip("/").split("/")
    number = int(environ.get("HTTP_SIDING_PASS", 0))
    if what in ("serve", "ask"):
        time.sleep(float(times[number]) / 1000)
    status, headers, body = hand_over(environ) if what == "ask" and number == 0 else ("200 OK", [], b"done")
    if what == "routed":
        headers.append(("Siding-Route", environ["PATH_INFO"]))
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


def hand_over(environ: dict[str, Any]) -> tuple[str, Headers, bytes]:
    """The call as the library would make it (docs/protocol.md)."""
    exchange, target = environ["HTTP_SIDING_ID"], environ["RAW_URI"]
    call = chat(os.environ["LLM_URL"], target)
    document = {"v": 1, "id": exchange, "pass": 0, "mode": "replay", "calls": [call], "journal": []}
    body = json.dumps(document).encode()
    signature = sign("a2p", exchange, 0, environ["REQUEST_METHOD"], target, body)
    headers = [("Content-Type", CALL_TYPE), ("Cache-Control", "no-store"), ("Siding-Signature", signature)]
    return "202 Accepted", headers, body
