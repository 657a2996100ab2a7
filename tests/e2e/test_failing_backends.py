"""An app that is not there, dies, hangs or talks nonsense. A request is sent again only where nothing ran."""

from __future__ import annotations

import os
import signal
import threading

import apps
import pytest
from harness.addresses import free_address
from harness.backend import Backend
from harness.calls import assert_problem, chat, told
from harness.raw_http import Incomplete
from harness.steps import CALL_TYPE, Answer, Close, CloseMidBody, HandOver, Hang, Raw, Tell, by_pass, head, in_order
from harness.waiting import until

BOTH = pytest.mark.parametrize("mode", ["plain", "pass-through"])
STREAMED = {"routes": [{"path": "/**", "handoff": False}]}


def settings(mode, **backend):
    """Buffered or streamed."""
    return {"backend": backend, **(STREAMED if mode == "pass-through" else {})}


@BOTH
def test_an_app_that_does_not_listen_is_a_502(mode, siding):
    proxy = siding(free_address(), settings=settings(mode))
    assert_problem(proxy.request("POST", "/", body=b"x"), 502, "backend-connect")
    proxy.ended("backend-connect", mode)
    proxy.until_value(0, "siding_workers_busy")
    assert proxy.page("/readyz").status == 503


@BOTH
@pytest.mark.parametrize("reset", [True, False])
def test_a_worker_that_closes_without_an_answer_is_a_502_and_a_post_is_not_repeated(mode, reset, scripted, siding):
    worker = scripted(Close(reset))
    proxy = siding(worker, settings=settings(mode))
    assert_problem(proxy.request("POST", "/", body=b"x"), 502, "backend-closed")
    assert len(worker.requests) == 1
    proxy.ended("backend-closed", mode)
    proxy.until_value(0, "siding_workers_busy")


@BOTH
def test_a_get_is_repeated_once_when_its_worker_closes(mode, scripted, siding):
    worker = scripted(in_order(Close(), Answer(200, b"second")))
    proxy = siding(worker, settings=settings(mode))
    assert proxy.request("GET", "/").body == b"second"
    assert len(worker.requests) == 2
    proxy.ended("answered", mode)


@BOTH
def test_a_get_is_not_repeated_twice(mode, scripted, siding):
    worker = scripted(Close())
    proxy = siding(worker, settings=settings(mode))
    assert_problem(proxy.request("GET", "/"), 502, "backend-closed")
    assert len(worker.requests) == 2
    proxy.ended("backend-closed", mode)


@BOTH
def test_a_connection_that_the_app_closed_while_idle_harms_no_request(mode, scripted, siding):
    worker = scripted(Answer(200, b"fine", keep_alive=True))
    proxy = siding(worker, settings=settings(mode, keepalive="60s"))
    assert proxy.request("POST", "/", body=b"1").status == 200
    for stream in list(worker._open):
        stream.shutdown(2)
    until("the worker's connections to end", lambda: not worker._open)
    assert proxy.request("POST", "/", body=b"2").status == 200
    assert [request.content for request in worker.requests] == [b"1", b"2"]
    proxy.ended("answered", mode, 2)


@BOTH
def test_a_post_on_a_used_connection_that_closes_is_not_repeated(mode, scripted, siding):
    worker = scripted(in_order(*[Answer(200, b"fine", keep_alive=True), Close()] * 20))
    proxy = siding(worker, settings=settings(mode, keepalive="60s"))
    # Siding keeps a connection after it has delivered the answer, so a client that is quick can find none to use.
    for opened in range(1, 21):
        assert proxy.request("POST", "/", body=b"1").status == 200
        assert_problem(proxy.request("POST", "/", body=b"2"), 502, "backend-closed")
        assert [request.content for request in worker.requests] == [b"1", b"2"] * opened
        if worker.connections < 2 * opened:
            break
    else:
        pytest.fail("no second request came over the connection of the first")
    proxy.ended("backend-closed", mode, opened)


@BOTH
def test_an_app_that_takes_too_long_is_a_504_and_its_worker_free_again(mode, scripted, siding):
    worker = scripted(Hang(threading.Event()))
    proxy = siding(worker, settings=settings(mode, timeout="400ms"))
    assert_problem(proxy.request("POST", "/", body=b"x"), 504, "backend-timeout")
    assert len(worker.requests) == 1
    proxy.ended("backend-timeout", mode)
    proxy.until_value(0, "siding_workers_busy")


@BOTH
@pytest.mark.parametrize("bytes_", [b"\x16\x03\x01 no HTTP at all\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n"])
def test_an_answer_that_is_not_http_is_a_502(mode, bytes_, scripted, siding):
    worker = scripted(Raw(bytes_))
    proxy = siding(worker, settings=settings(mode))
    assert_problem(proxy.request("POST", "/", body=b"x"), 502, "backend-protocol")
    assert len(worker.requests) == 1
    proxy.ended("backend-protocol", mode)


@BOTH
@pytest.mark.parametrize("chunked", [True, False])
def test_an_answer_that_breaks_off_never_looks_complete(mode, chunked, scripted, siding):
    worker = scripted(CloseMidBody(b"half", chunked))
    proxy = siding(worker, settings=settings(mode))
    with pytest.raises(Incomplete) as broken:
        proxy.request("POST", "/", body=b"x")
    assert broken.value.received.startswith(b"HTTP/1.1 200")
    assert b"half" in broken.value.received
    assert not broken.value.received.endswith(b"0\r\n\r\n")
    assert len(worker.requests) == 1
    proxy.ended("interrupted", mode)
    proxy.until_value(0, "siding_workers_busy")


def test_a_call_document_that_breaks_off_is_never_made(llm, scripted, siding):
    headers = [("Content-Type", CALL_TYPE), ("Content-Length", "900")]
    worker = scripted(Raw(head(202, headers) + b'{"v": 1, "calls": ['))
    proxy = siding(worker, llm.url)
    assert_problem(proxy.request("POST", "/", body=b"x"), 502, "backend-closed")
    assert llm.stats()["total"] == 0
    assert len(worker.requests) == 1
    proxy.ended("backend-closed")


def test_a_worker_that_dies_in_a_resumed_pass_is_not_repeated(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "x")]), Close()))
    proxy = siding(worker, llm.url)
    assert_problem(proxy.request("POST", "/", body=b"x"), 502, "backend-closed")
    assert [request.number for request in worker.requests] == [0, 1]
    assert llm.stats("x")["total"] == 1
    proxy.ended("backend-closed", "replay")


def test_a_worker_that_dies_in_a_resumed_get_is_repeated_with_its_journal(llm, scripted, siding):
    worker = scripted(in_order(HandOver([chat(llm.url, "x")]), Close(), Tell()))
    proxy = siding(worker, llm.url)
    [entry] = told(proxy.request("GET", "/"))["journal"]
    assert entry["status"] == 200
    assert llm.stats("x")["total"] == 1
    assert [request.number for request in worker.requests] == [0, 1, 1]
    assert worker.requests[1].content == worker.requests[2].content
    proxy.ended("answered", "replay")


@BOTH
@pytest.mark.parametrize(("method", "passes"), [("POST", 1), ("GET", 2)])
def test_a_gunicorn_worker_that_is_killed_in_a_pass_is_a_502(mode, method, passes, stack, siding, tmp_path):
    app = stack.enter_context(Backend(tmp_path, "apps:killable", apps.FOLDER))
    proxy = siding(app, settings=settings(mode))
    for number in range(1, passes + 1):
        if number == 1:
            client = stack.enter_context(proxy.connect())
            client.start(method, f"/hang?into={tmp_path}/workers")
        seen = until("the worker to begin", lambda n=number: pids(tmp_path, n))
        os.kill(seen[-1], signal.SIGKILL)
    assert_problem(client.response(method), 502, "backend-closed")
    assert len(pids(tmp_path, passes)) == passes
    proxy.ended("backend-closed", mode)
    proxy.until_value(0, "siding_workers_busy")
    assert proxy.request("GET", "/").status == 200, "gunicorn has started another worker"


def pids(directory, count):
    """The worker that served each pass so far, once there are `count`."""
    path = directory / "workers"
    lines = path.read_text().split() if path.exists() else []
    return [int(line) for line in lines] if len(lines) >= count else []
