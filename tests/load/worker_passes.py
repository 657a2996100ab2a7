"""What one pass costs in the worker: the chat project's view in this process, without gunicorn, proxy and network
between them.

    python tests/load/worker_passes.py DIRECTORY [--path /api/ask/] [--rounds N] [--profile WAY]

DIRECTORY keeps the virtual environments. Rounds of each way to run the view take turns, so that what else the machine
does meets them all; of each way, the least and the median CPU of this thread are shown.

    direct          the call is made; the model is another process, whose CPU does not count
    pass0, pass1    with a signed offer: suspended at the call; answered from the journal
    bare0, bare1    without an offer, the transport replaced by one that raises, or answers, at once: what the view,
                    Django and the SDK cost by themselves up to the call, and in all but the network
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import functools
import gc
import http.server
import io
import json
import multiprocessing
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from harness.backend import CHAT  # noqa: E402
from harness.signing import SECRET, sign  # noqa: E402
from installation import Installation  # noqa: E402

WAYS = ("direct", "pass0", "pass1", "bare0", "bare1")
REQUESTS = 25
PROMPT = json.dumps({"prompt": "How long is a siding?"}).encode()
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4.1-mini",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "As long as the longest train. " * 8},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 64, "total_tokens": 73},
}
ANSWER = json.dumps(COMPLETION).encode()


def main() -> int:
    """The exit code. Runs itself again where the chat project's requirements are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--path", default="/api/ask/")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--profile", choices=WAYS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        measure(options)
        return 0
    python = Installation(options.directory).python
    with tempfile.TemporaryDirectory(prefix="siding-passes-") as directory:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": directory,
            "DATABASE_URL": f"sqlite://{directory}/chat.sqlite3",
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SIDING_SECRET": SECRET,
        }
        subprocess.run([python, "manage.py", "migrate", "--verbosity", "0"], cwd=CHAT, env=environment, check=True)
        command = [python, str(Path(__file__).resolve()), *sys.argv[1:], "--inside"]
        return subprocess.run(command, env=environment, cwd=Path.cwd()).returncode


def measure(options: argparse.Namespace) -> None:
    """Prints the table, or one profile."""
    url = model()
    os.environ["OPENAI_BASE_URL"] = f"{url}/v1"
    sys.path.insert(0, str(CHAT))
    from project.wsgi import application

    requests = ways(functools.partial(send, application), url, options.path)
    for request in requests.values():
        seconds_of(request)
    if options.profile:
        profile(requests[options.profile])
        return
    samples: dict[str, list[float]] = {name: [] for name in requests}
    gc.collect()
    gc.freeze()
    for _ in range(options.rounds):
        for name, request in requests.items():
            samples[name].append(seconds_of(request) * 1e6)
    show(options.path, samples)


def show(path: str, samples: dict[str, list[float]]) -> None:
    """Microseconds a request, and what both passes cost against the direct call."""
    print(f"{path}: microseconds of CPU, least and median of {len(samples['direct'])} rounds of {REQUESTS}")
    for name, values in samples.items():
        print(f"  {name:7} {min(values):8.0f} {statistics.median(values):8.0f}")
    for name, first, second in (("both passes", "pass0", "pass1"), ("bare", "bare0", "bare1")):
        totals = [sum(pair) for pair in zip(samples[first], samples[second], strict=True)]
        ratio = statistics.median(total / direct for total, direct in zip(totals, samples["direct"], strict=True))
        least = (min(samples[first]) + min(samples[second])) / min(samples["direct"])
        print(f"  {name} / direct: {least:.3f} of the least, {ratio:.3f} in the median round")


def ways(send: Callable[[dict[str, Any]], tuple[str, bytes]], url: str, path: str) -> dict[str, Callable[[], Any]]:
    """What is compared. The second pass answers what the first asked."""

    def direct() -> None:
        status, body = send(environ(path, PROMPT))
        assert status.startswith("200"), (status, body)

    def pass0() -> bytes:
        status, body = send(offered(url, path, 0, b""))
        assert status.startswith("202"), (status, body)
        return body

    [call] = json.loads(pass0())["calls"]
    result = {
        "kind": "result",
        "name": call["name"],
        "digest": call["digest"],
        "pass": 0,
        "elapsed_ms": 1000,
        "status": 200,
        "headers": [["content-type", "application/json"], ["date", "Mon, 01 Jan 2024 00:00:00 GMT"]],
        "body": ANSWER.decode(),
    }
    journal = json.dumps({"v": 1, "entries": [result]}).encode()

    def pass1() -> None:
        status, body = send(offered(url, path, 1, journal))
        assert status.startswith("200"), (status, body)

    def raising(*_: object) -> None:
        raise Left

    def bare0() -> None:
        with mock.patch("httpx2.HTTPTransport.handle_request", raising), contextlib.suppress(Left):
            send(environ(path, PROMPT))

    def answering(*_: object) -> Any:
        import httpx2

        headers = [("content-type", "application/json"), ("content-length", str(len(ANSWER)))]
        return httpx2.Response(200, headers=headers, stream=httpx2.ByteStream(ANSWER))

    def bare1() -> None:
        with mock.patch("httpx2.HTTPTransport.handle_request", answering):
            direct()

    return dict(zip(WAYS, (direct, pass0, pass1, bare0, bare1), strict=True))


class Left(BaseException):
    """The transport was reached."""


def offered(url: str, path: str, number: int, journal: bytes) -> dict[str, Any]:
    """A request as the proxy sends it."""
    exchange, content, now = "5f0c" * 8, journal + PROMPT, int(time.time() * 1000)
    offer = {
        "ACCEPT": f'v=1; modes="replay"; origins="{url}"; max-calls=8; max-call-bytes=4194304',
        "ID": exchange,
        "PASS": str(number),
        "NOW_MS": str(now),
        "DEADLINE_MS": str(now + 600_000),
        "TARGET": path,
        "SIGNATURE": sign("p2a", exchange, number, "POST", path, content),
        **({"JOURNAL_LENGTH": str(len(journal))} if journal else {}),
    }
    return environ(path, content) | {f"HTTP_SIDING_{name}": value for name, value in offer.items()}


def environ(path: str, content: bytes) -> dict[str, Any]:
    """What a WSGI server makes of a request."""
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_ACCEPT": "*/*",
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.input": io.BytesIO(content),
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def send(application: Any, request: dict[str, Any]) -> tuple[str, bytes]:
    """Status and body."""
    started: list[str] = []
    response = application(request, lambda status, headers, *_: started.append(status))
    try:
        return started[0], b"".join(response)
    finally:
        response.close()


def seconds_of(request: Callable[[], Any]) -> float:
    """CPU of this thread for one of some requests."""
    before = time.thread_time()
    for _ in range(REQUESTS):
        request()
    return (time.thread_time() - before) / REQUESTS


def profile(request: Callable[[], Any]) -> None:
    """By own time; cProfile makes calls dearer than they are."""
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(20 * REQUESTS):
        request()
    profiler.disable()
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(60)


class Model(http.server.BaseHTTPRequestHandler):
    """Answers every call at once."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n"
        self.wfile.write(head.encode() + ANSWER)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def model() -> str:
    """The address of one in a process of its own, which ends with this one."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    context.Process(target=serve, args=(theirs,), daemon=True).start()
    return str(ours.recv())


def serve(pipe: Connection) -> None:
    """Serves until it is ended."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    pipe.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
