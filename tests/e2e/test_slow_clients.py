"""Clients that take their time: a worker does not wait for them, and nobody waits for ever."""

from __future__ import annotations

import pytest
from harness.raw_http import Incomplete
from harness.steps import Answer, Raw, Tell

BOTH = pytest.mark.parametrize("via", ["buffered", "streamed"])


def settings(via, **more):
    """Buffering or streaming."""
    return {**more, **({} if via == "buffered" else {"handoff": {"enabled": False}})}


def test_a_worker_is_free_before_its_client_has_read_the_answer(scripted, siding):
    body = bytes(range(256)) * 65_536
    worker = scripted(Answer(200, body))
    proxy = siding(worker, settings={"backend": {"workers": 1, "response_buffer": "32MiB"}})
    with proxy.connect() as slow:
        slow.start("GET", "/")
        worker.wait_for(1)
        worker.wait_idle()
        proxy.until_value(0, "siding_workers_busy")
        assert proxy.value("siding_exchanges_in_flight") == 1
        assert slow.response().body == body
    proxy.ended("answered", "plain")


CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"x" * 16384 + b"\r\n") * 4096
LARGE = {"by length": Answer(200, b"x" * (64 << 20)), "in chunks": Raw(CHUNKS + b"0\r\n\r\n")}


@BOTH
@pytest.mark.parametrize("framing", LARGE)
def test_a_client_that_takes_nothing_is_given_up(framing, via, scripted, siding):
    worker = scripted(LARGE[framing])
    more = {"server": {"write_timeout": "500ms"}, "backend": {"workers": 1, "response_buffer": "64KiB"}}
    proxy = siding(worker, settings=settings(via, **more))
    with proxy.connect(5) as slow:
        slow.start("GET", "/")
        worker.wait_for(1)
        proxy.until_value(1, "siding_exchanges_total", outcome="client-gone")
        proxy.until_value(0, "siding_workers_busy")
        worker.wait_idle()
        with pytest.raises((Incomplete, ConnectionError)):
            slow.response()
    assert proxy.value("siding_exchanges_in_flight") == 0


@BOTH
def test_an_idle_connection_is_closed(via, scripted, siding):
    proxy = siding(scripted(Tell()), settings=settings(via, server={"keepalive": "1s"}))
    with proxy.connect(5) as client:
        for _ in range(2):
            assert client.request("POST", "/", body=b"x").header("connection") == "keep-alive"
        assert client.at_end()
    proxy.ended("answered", times=2)


@BOTH
def test_a_body_in_many_pieces_arrives_whole(via, scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings=settings(via))
    with proxy.connect() as client:
        client.start("POST", "/", [("Content-Length", "300")])
        for number in range(100):
            client.send(b"%03d" % number)
        assert client.response("POST").status == 200
    assert worker.requests[0].content == b"".join(b"%03d" % number for number in range(100))
    proxy.ended("answered")


@BOTH
def test_the_log_tells_what_happened_and_no_secret(via, scripted, siding):
    worker = scripted(Answer(200, b"SECRET-answer", [("X-Token", "SECRET-answer-header")]))
    proxy = siding(worker, settings=settings(via))
    headers = [("Authorization", "Bearer SECRET-token"), ("Cookie", "SECRET-cookie=1")]
    assert proxy.request("POST", "/path?token=SECRET-query", headers, b"SECRET-body").status == 200
    proxy.ended("answered")
    [line] = [line for line in proxy.log.splitlines() if "siding::access" in line]
    for word in ('method="POST"', 'path="/path"', "status=200", 'outcome="answered"', "passes=1"):
        assert word in line
    assert "SECRET" not in proxy.log
