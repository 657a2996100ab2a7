"""Upgrades, interim and early responses: the bytes of the app itself, whichever way they come."""

from __future__ import annotations

from contextlib import suppress

import pytest
from comparing import comparable
from harness.raw_http import Connection, Incomplete
from harness.raw_steps import AnswerBeforeTheBody, UpgradeAndEcho
from harness.steps import Answer, EarlyHints, Raw, Tell

BOTH = pytest.mark.parametrize("via", ["buffered", "streamed"])
UPGRADE = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "eA=="),
]


def proxied(via, worker, siding, **settings):
    """Siding before a server, buffering or streaming."""
    return siding(worker, settings={**settings, **({} if via == "buffered" else {"handoff": {"enabled": False}})})


@BOTH
def test_a_websocket_works_and_holds_no_worker(via, scripted, siding):
    worker = scripted(lambda r: UpgradeAndEcho(b"hello") if r.header("upgrade") else Answer(200, b"plain"))
    proxy = proxied(via, worker, siding, backend={"workers": 1})
    for address in (worker.address, proxy.address):
        with Connection(address, 5) as connection:
            response = connection.request("GET", "/socket", UPGRADE)
            assert (response.status, response.header("upgrade")) == (101, "websocket")
            assert response.header("sec-websocket-accept") == "x"
            assert connection.read(5) == b"hello"
            for message in (b"\x81\x02hi", bytes(range(256)) * 1000):
                connection.send(message)
                assert connection.read(len(message)) == message
            if address == proxy.address:
                proxy.until_value(0, "siding_workers_busy")
                assert proxy.request("GET", "/").body == b"plain"
    proxy.ended("answered", "pass-through", 2 if via == "streamed" else 1)
    assert not [name for name, _ in worker.requests[1].headers if name.lower().startswith("siding-")]


@BOTH
def test_a_refused_upgrade_is_an_ordinary_answer(via, scripted, siding):
    worker = scripted(Answer(403, b"no socket here"))
    proxy = proxied(via, worker, siding)
    direct = Connection(worker.address).request("GET", "/socket", UPGRADE)
    with proxy.connect(5) as connection:
        assert comparable(connection.request("GET", "/socket", UPGRADE)) == comparable(direct)
    proxy.ended("answered", "pass-through")
    proxy.until_value(0, "siding_workers_busy")


@BOTH
def test_early_hints_do_not_disturb_the_answer(via, scripted, siding):
    worker = scripted(EarlyHints(Answer(200, b"late")))
    proxy = proxied(via, worker, siding)
    with proxy.connect(5) as connection:
        for _ in range(2):
            response = connection.request("POST", "/", body=b"x")
            assert (response.status, response.body) == (200, b"late")
            assert set(response.interim) <= {103}, "an interim response is passed on or dropped, as RFC 8297 allows"
    proxy.ended("answered", times=2)


@BOTH
@pytest.mark.parametrize("size", [1000, 100_000, 9 << 20])
def test_an_answer_before_the_body_was_read_arrives(via, size, scripted, siding):
    worker = scripted(AnswerBeforeTheBody(413, b"too much"))
    proxy = proxied(via, worker, siding)
    answers = []
    for address in (worker.address, proxy.address):
        with Connection(address, 5) as connection:
            connection.start("POST", "/upload", [("Content-Length", str(size))])
            with suppress(ConnectionError):  # it has answered and closed already
                connection.send(b"x" * size)
            answers.append(comparable(connection.response("POST")))
    assert answers[0] == answers[1]
    assert len(worker.requests) == 2
    proxy.until_value(0, "siding_workers_busy")


def test_a_chunked_upload_beyond_max_body_is_refused_with_a_remedy(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings={"server": {"max_body": "64KiB"}})
    with proxy.connect(5) as connection:
        connection.start("POST", "/", [("Transfer-Encoding", "chunked")])
        connection.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        connection.send(b"1\r\nx\r\n0\r\n\r\n")
        response = connection.response("POST")
    assert response.status == 413
    assert b"Content-Length" in response.body
    assert b"server.max_body" in response.body
    assert response.header("connection") == "close"
    assert worker.requests == []
    proxy.ended("body-too-large")


def test_a_body_that_does_not_arrive_in_time_is_refused(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings={"server": {"body_timeout": "300ms"}})
    with proxy.connect(5) as connection:
        connection.start("POST", "/", [("Content-Length", "10")])
        connection.send(b"01234")
        response = connection.response("POST")
        assert response.status == 408
        assert b"body-timeout" in response.body
        assert connection.at_end()
    assert worker.requests == []
    proxy.ended("body-timeout")


@BOTH
def test_an_answer_to_the_end_of_the_connection_arrives_whole(via, scripted, siding):
    worker = scripted(Raw(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"to the end " * 1000))
    proxy = proxied(via, worker, siding)
    with proxy.connect(5) as connection:
        for _ in range(2):
            response = connection.request("GET", "/")
            assert (response.status, response.body) == (200, b"to the end " * 1000)
    proxy.ended("answered", times=2)


@BOTH
def test_an_answer_of_more_than_its_length_is_cut_to_it(via, scripted, siding):
    worker = scripted(
        Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfourHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
    )
    proxy = proxied(via, worker, siding, backend={"keepalive": "60s"})
    for _ in range(3):
        assert proxy.request("GET", "/").body == b"four"
    assert len(worker.requests) == 3


@BOTH
def test_a_client_that_reads_late_gets_every_byte(via, scripted, siding):
    body = bytes(range(256)) * 80_000
    worker = scripted(Answer(200, body))
    proxy = proxied(via, worker, siding)
    with proxy.connect(10) as connection:
        connection.start("GET", "/")
        worker.wait_for(1)
        proxy.until_value(1, "siding_workers_busy")  # what it may read ahead is bounded
        received = connection.response()
    assert received.body == body
    proxy.ended("answered")


@BOTH
def test_an_answer_with_a_broken_chunk_never_looks_complete(via, scripted, siding):
    worker = scripted(Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\nZZ\r\nbad\r\n0\r\n\r\n"))
    proxy = proxied(via, worker, siding)
    with pytest.raises(Incomplete):
        proxy.request("GET", "/", timeout=5)
    proxy.ended("interrupted")
