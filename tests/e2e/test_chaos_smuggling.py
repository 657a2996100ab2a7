"""Requests that two readers may take for two things. Each is refused, or it reaches the app as exactly one request that
can be read in one way only; docs/chaos.md says which."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from chaos_page import first_cells, is_being_made, observed
from h2.exceptions import ProtocolError
from harness.addresses import free_address
from harness.h2_client import Streams
from harness.raw_http import Connection, Incomplete
from harness.scripted_worker import Received, ScriptedWorker
from harness.siding import Siding
from harness.steps import Answer
from two_readings import HTTP1, HTTP2, Stream, Vector

# How long a client waits that has sent all it had.
PATIENCE = 2.0
TOKEN = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")
WAYS = ("buffered", "streamed")
LENGTH, CODING = "content-length", "transfer-encoding"


@dataclass
class Site:
    """An app that tells the target of each request, and answers whatever else comes on the same connection too."""

    app: ScriptedWorker
    proxies: dict[str, Siding]

    def arrived(self, since: int) -> list[Received]:
        """What reached the app whole, but for what the test asked to see whether all is well. A streamed request that
        breaks off is none: the app's connection has ended with it."""
        requests = [request for request in self.app.requests[since:] if request.complete]
        return [request for request in requests if request.target not in ("/probe", "/ordinary")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("smuggling")
    with ExitStack() as stack:
        app = stack.enter_context(ScriptedWorker(lambda request: Answer(200, request.target.encode(), keep_alive=True)))
        proxies = {way: stack.enter_context(Siding(directory, app.address, None, settings(way))) for way in WAYS}
        yield Site(app, proxies)


def settings(way: str) -> dict:
    """Connections to the app are used again, so that what is left on one would be taken for a request."""
    own = {"server": {"h2c": free_address()}, "backend": {"keepalive": "60s", "timeout": "5s", "threads": 4}}
    return own if way == "buffered" else {**own, "handoff": {"enabled": False}}


@pytest.mark.parametrize("name", HTTP1)
def test_a_request_of_http_1_is_refused_or_arrives_as_one(name: str, site: Site) -> None:
    outcomes = [outcome(site, way, HTTP1[name]) for way in WAYS]
    observed(list(HTTP1).index(name), name, *outcomes)


@pytest.mark.parametrize("name", HTTP2)
def test_a_request_of_http_2_is_refused_or_arrives_as_one(name: str, site: Site) -> None:
    outcomes = [outcome_of_stream(site, way, HTTP2[name]) for way in WAYS]
    observed(len(HTTP1) + list(HTTP2).index(name), f"HTTP/2: {name}", *outcomes)


def outcome(site: Site, way: str, vector: Vector) -> str:
    """What the client and the app see of it."""
    since, proxy = len(site.app.requests), site.proxies[way]
    with Connection(proxy.address, PATIENCE) as client:
        client.send(vector.data)
        try:
            status = client.response(vector.data.split(b" ")[0].decode("latin-1")).status
        except TimeoutError:
            said = "nothing, it waits for more"
        except (Incomplete, ConnectionError, ValueError):
            said = "nothing, the connection ends"
        else:
            assert status < 500, status
            goes_on = goes_on_well(client)
            said = f"{'one request' if status == 200 else status}, the connection {'goes on' if goes_on else 'ends'}"
            assert status == 200 or not goes_on, "it is not known where the next request begins"
    others_are_well(proxy)
    arrived = site.arrived(since)
    if "one request" not in said:
        assert arrived == [], [request.head for request in arrived]
        return said
    [request] = arrived
    assert_unambiguous(request)
    assert (request.target, request.content) == (vector.target, vector.body)
    return said


def goes_on_well(client: Connection) -> bool:
    """Whether the connection takes another request, and answers this one and no other."""
    try:
        response = client.request("GET", "/probe")
    except (Incomplete, ConnectionError, TimeoutError):
        return False
    assert (response.status, response.body) == (200, b"/probe"), response
    return True


def others_are_well(proxy: Siding) -> None:
    """The next clients get their own answers, over whatever connections there are to the app."""
    for _ in range(2):
        assert proxy.request("GET", "/ordinary").body == b"/ordinary"


def outcome_of_stream(site: Site, way: str, request: Stream) -> str:
    """What the client and the app see of it."""
    since, proxy = len(site.app.requests), site.proxies[way]
    h2c = proxy.settings["server"]["h2c"]
    with Streams(h2c, lenient=True) as streams:
        number = streams.send(request.headers, request.body)
        try:
            stream = streams.finish(number)
        except (AssertionError, OSError, ProtocolError):
            said = "the connection ends"
        else:
            assert stream.reset is not None or stream.status < 500, stream
            said = "the stream is reset" if stream.reset is not None else str(stream.status)
    with Streams(h2c) as others:
        assert bytes(others.finish(others.start("GET", "/ordinary")).body) == b"/ordinary"
    others_are_well(proxy)
    arrived = site.arrived(since)
    if said != "200":
        assert arrived == [], [request.head for request in arrived]
        return said
    [only] = arrived
    assert_unambiguous(only)
    assert (only.target, only.content) == (request.target, request.body)
    return "one request"


def assert_unambiguous(request: Received) -> None:
    """Nobody can read another request out of its head."""
    assert request.head.endswith(b"\r\n\r\n")
    lines = request.head[:-4].split(b"\r\n")
    assert not re.search(rb"[\r\n\0]", b"".join(lines)), request.head
    assert re.fullmatch(rb"[A-Z]+ (/[!-~\x80-\xff]*|\*) HTTP/1\.1", lines[0]), lines[0]
    for name, _ in request.headers:
        assert TOKEN.fullmatch(name), name
    count = {name: [key.lower() for key, _ in request.headers].count(name) for name in ("host", LENGTH, CODING)}
    assert count["host"] == 1, request.head
    assert count[LENGTH] + count[CODING] <= 1, request.head
    assert re.fullmatch("[0-9]+", request.header(LENGTH) or "0"), request.head
    assert request.header(CODING) in (None, "chunked"), request.head
    assert request.header("upgrade") in (None, "websocket"), request.head
    assert request.header("http2-settings") is None, request.head
    assert request.header("trailer") is None, request.head


def test_the_page_tells_of_every_request_and_of_no_other() -> None:
    if is_being_made():
        pytest.skip("the page is being made")
    assert first_cells("requests") == [*HTTP1, *(f"HTTP/2: {name}" for name in HTTP2)]
