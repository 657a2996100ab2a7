"""From the start of the process to its end: what is ready when, what a shutdown finishes and what it cuts."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from harness.addresses import free_address, listens
from harness.calls import assert_problem, chat, entry
from harness.raw_http import Connection, Incomplete
from harness.scripted_worker import ScriptedWorker
from harness.siding import Siding
from harness.steps import Answer, HandOver, Hang, Tell, always, by_pass
from harness.waiting import until


def test_it_is_alive_at_once_and_ready_when_the_app_listens(stack, siding, tmp_path):
    path = str(tmp_path / "app.sock")
    proxy = siding(f"unix:{path}")
    assert proxy.page("/livez").status == 200
    response = proxy.page("/readyz")
    assert (response.status, b"app" in response.body) == (503, True)
    with ScriptedWorker(always(Answer()), path):
        assert proxy.page("/readyz").status == 200
        assert proxy.request("GET", "/").status == 200
    assert proxy.page("/readyz").status == 503
    assert proxy.page("/livez").status == 200


def test_a_saturated_pool_is_ready(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings={"backend": {"workers": 1}})
    with proxy.connect() as client:
        client.start("GET", "/")
        worker.wait_for(1)
        assert proxy.page("/readyz").status == 200
        release.set()
        assert client.response().status == 200


def test_every_outcome_is_exported_before_it_happened(scripted, siding):
    proxy = siding(scripted(Answer()))
    for outcome in ("answered", "client-gone", "interrupted", "queue-full", "handoff-invalid", "deadline", "draining"):
        for mode in ("plain", "replay", "pass-through"):
            assert proxy.value("siding_exchanges_total", mode=mode, outcome=outcome) == 0
    response = proxy.page("/metrics")
    assert response.header("content-type").startswith("text/plain; version=0.0.4")
    assert proxy.page("/else").status == 404


def test_a_shutdown_finishes_what_waits_for_a_provider(scripted, siding):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b'"late"')))
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell()))
    proxy = siding(worker, provider.url)
    with proxy.connect() as client:
        client.start("POST", "/chat", body=b"question")
        provider.wait_for(1)
        proxy.signal(signal.SIGTERM)
        until("unreadiness", lambda: b"draining" in proxy.page("/readyz").body)
        assert proxy.page("/readyz").status == 503
        assert proxy.page("/livez").status == 200
        until("the listener to close", lambda: not listens(proxy.address))
        assert proxy.is_running()
        release.set()
        response = client.response("POST")
        answered = time.monotonic()
        assert entry(response)["status"] == 200
    assert proxy.wait() == 0
    assert time.monotonic() - answered < 1
    assert [request.number for request in worker.requests if request.target == "/chat"] == [0, 1]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_shutdown_finishes_what_a_worker_does(streamed, scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release, Answer(200, b"x" * 300_000)))
    proxy = siding(worker, settings={"handoff": {"enabled": not streamed}})
    with proxy.connect() as client:
        client.start("POST", "/", body=b"x")
        worker.wait_for(1)
        proxy.signal(signal.SIGTERM)
        until("the listener to close", lambda: not listens(proxy.address))
        release.set()
        response = client.response("POST")
        assert response.body == b"x" * 300_000
        assert response.header("connection") == "close", "the client is told not to send more"
    assert proxy.wait() == 0


def test_a_shutdown_finishes_what_waits_for_a_worker(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings={"backend": {"workers": 1}})
    with proxy.connect() as first, proxy.connect() as second:
        first.start("GET", "/1")
        worker.wait_for(1)
        second.start("GET", "/2")
        proxy.until_value(1, "siding_queue_depth", **{"class": "interactive"})
        proxy.signal(signal.SIGTERM)
        until("the listener to close", lambda: not listens(proxy.address))
        release.set()
        assert first.response().status == second.response().status == 200
    assert proxy.wait() == 0


def test_a_shutdown_of_an_idle_process_is_quick(scripted, siding):
    proxy = siding(scripted(Answer()), settings={"server": {"linger": "0s"}})
    with proxy.connect() as idle:
        assert idle.request("GET", "/").status == 200
        proxy.ended("answered")
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert time.monotonic() - began < 1
        assert idle.at_end()


def test_a_shutdown_cuts_what_does_not_finish_in_time(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "[hang]")]), Tell()))
    proxy = siding(worker, llm.url, {"server": {"drain": "400ms"}})
    with proxy.connect() as client:
        client.start("POST", "/chat", body=b"question")
        llm.until_stats({"in_flight": 1})
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        response = client.response("POST")
        assert 0.4 <= time.monotonic() - began < 2
        assert_problem(response, 503, "draining")
        assert response.header("retry-after")
        assert response.header("connection") == "close"
        assert client.at_end()
    assert proxy.wait() == 0
    llm.until_stats({"total": 1, "cancelled": 1})
    assert len(worker.requests) == 1


def test_a_shutdown_waits_for_no_worker_for_ever(scripted, siding):
    worker = scripted(Hang(threading.Event()))
    proxy = siding(worker, settings={"server": {"drain": "300ms"}, "handoff": {"enabled": False}})
    with proxy.connect() as client:
        client.start("POST", "/", body=b"x")
        worker.wait_for(1)
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert time.monotonic() - began < 4
        with pytest.raises((Incomplete, ConnectionError)):
            client.response("POST")


def test_an_interrupt_ends_at_once(scripted, siding):
    worker = scripted(Hang(threading.Event()))
    proxy = siding(worker)
    with proxy.connect() as client:
        client.start("GET", "/")
        worker.wait_for(1)
        began = time.monotonic()
        proxy.signal(signal.SIGINT)
        proxy.wait()
        assert time.monotonic() - began < 1
        with pytest.raises((Incomplete, ConnectionError)):
            client.response()


@pytest.mark.parametrize("listener", ["listen", "admin", "h2c"])
def test_an_address_that_is_taken_is_said_clearly(listener, scripted, siding, stack, tmp_path):
    taken = scripted(Answer()).address
    server = {listener: [taken] if listener == "listen" else taken}
    proxy = stack.enter_context(Siding(tmp_path, free_address(), None, {"server": server}, wait=False))
    assert proxy.wait() == 1
    assert f"cannot listen on {taken}" in proxy.log
    assert "in use" in proxy.log
    assert "panicked" not in proxy.log
    assert len(proxy.log.splitlines()) == 1


def test_it_listens_on_a_unix_socket_and_replaces_one_that_was_left_behind(scripted, siding, tmp_path):
    worker = scripted(Tell())
    address = f"unix:{tmp_path}/siding.sock"
    for _ in range(2):
        proxy = siding(worker, settings={"server": {"listen": [address]}})
        assert proxy.address == address
        response = proxy.request("POST", "/", body=b"over a socket")
        assert response.status == 200
        assert b"over a socket" in response.body
        assert worker.requests[-1].header("x-forwarded-for") is None
        proxy.signal(signal.SIGKILL)
        proxy.wait()


def test_it_serves_several_listeners_at_once(scripted, siding, tmp_path):
    addresses = [free_address(), free_address(), f"unix:{tmp_path}/siding.sock"]
    proxy = siding(scripted(Answer()), settings={"server": {"listen": addresses}})
    for address in addresses:
        with Connection(address) as connection:
            assert connection.request("GET", "/").status == 200
    proxy.ended("answered", times=3)


def test_the_app_may_listen_on_a_unix_socket(llm, scripted, siding, tmp_path):
    worker = scripted(by_pass(HandOver([chat(llm.url, "x")]), Tell()), path=str(tmp_path / "app.sock"))
    proxy = siding(worker, llm.url, {"routes": [{"path": "/streamed", "handoff": False}]})
    assert entry(proxy.request("POST", "/chat", body=b"x"))["status"] == 200
    worker.script = always(Answer(200, b"streamed"))
    assert proxy.request("POST", "/streamed", body=b"x").body == b"streamed"
