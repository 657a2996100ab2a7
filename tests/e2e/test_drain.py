"""The end of a process without a failed request: what is served while it is unready and lingers, and what stops it."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from harness.addresses import free_address, listens
from harness.calls import chat, entry
from harness.h2_client import Streams
from harness.raw_http import Connection
from harness.scripted_worker import ScriptedWorker
from harness.steps import Answer, HandOver, Hang, Tell, always, by_pass, by_path
from harness.waiting import until

LINGER = {"server": {"linger": "3s"}}
AT_ONCE = {"server": {"propagation": "0s"}}
STREAMED = {"path": "/streamed", "handoff": False}


def draining(proxy):
    until("unreadiness", lambda: b"draining" in proxy.page("/readyz").body)


def test_a_request_on_an_open_connection_is_served_while_lingering_and_told_to_go(scripted, siding):
    proxy = siding(scripted(Tell()), settings={**LINGER, "routes": [STREAMED]})
    with proxy.connect() as plain, proxy.connect() as streamed:
        assert plain.request("GET", "/").header("connection") != "close"
        streamed.request("GET", "/streamed")
        proxy.signal(signal.SIGTERM)
        draining(proxy)
        for client, path in ((plain, "/"), (streamed, "/streamed")):
            response = client.request("GET", path)
            assert (response.status, response.header("connection")) == (200, "close")
            assert client.at_end()
    assert proxy.wait() == 0


def test_connections_that_stay_silent_are_closed_when_it_stops_accepting(scripted, siding):
    """Whoever waits for the next request on them: Siding itself, or Pingora after a request that it has streamed."""
    proxy = siding(scripted(Tell()), settings={"server": {"linger": "500ms"}, "routes": [STREAMED]})
    with proxy.connect() as new, proxy.connect() as plain, proxy.connect() as streamed:
        assert plain.request("GET", "/").status == streamed.request("GET", "/streamed").status == 200
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        for client in (new, plain, streamed):
            assert client.at_end()
            assert time.monotonic() - began >= 0.5, "it lingers"
    assert proxy.wait() == 0


def test_a_new_connection_is_served_while_lingering(scripted, siding):
    proxy = siding(scripted(Tell()), settings=LINGER)
    proxy.signal(signal.SIGTERM)
    draining(proxy)
    response = proxy.request("GET", "/")
    assert (response.status, response.header("connection")) == (200, "close")
    until("the listener to close", lambda: not listens(proxy.address))
    assert proxy.wait() == 0


def test_requests_that_no_one_has_accepted_yet_are_answered(scripted, siding):
    proxy = siding(scripted(Tell()), settings=LINGER)
    os.kill(proxy.pid, signal.SIGSTOP)
    with proxy.connect() as one, proxy.connect() as other:
        one.start("GET", "/")
        other.start("POST", "/", body=b"x")
        proxy.signal(signal.SIGTERM)
        os.kill(proxy.pid, signal.SIGCONT)
        assert one.response().status == other.response("POST").status == 200
    assert proxy.wait() == 0


def test_a_request_that_comes_with_the_last_connection_is_answered(scripted, siding):
    """The connection is accepted, the listeners close, and only then the request arrives."""
    proxy = siding(scripted(Tell()), settings={"server": {"linger": "0s"}})
    with proxy.connect() as warm, proxy.connect() as client:
        assert warm.request("GET", "/").status == 200, "both are accepted"
        proxy.signal(signal.SIGTERM)
        until("the listener to close", lambda: not listens(proxy.address))
        client.start("GET", "/")
        assert client.response().status == 200
    assert proxy.wait() == 0


def test_clients_of_http_2_are_told_to_leave_and_streams_under_way_end_well(scripted, siding):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b'"late"')))
    script = by_path(chat=by_pass(HandOver([chat(provider.url, "x")]), Tell()), plain=Tell())
    proxy = siding(scripted(script), provider.url, {"server": {"h2c": free_address(), "linger": "2s"}})
    h2c = proxy.settings["server"]["h2c"]
    until("the listener", lambda: listens(h2c))
    with Streams(h2c) as client:
        late = client.start("POST", "/chat", b"x")
        provider.wait_for(1)
        proxy.page("/-/drain")
        client.until_leaving()
        with Streams(h2c) as newcomer:
            assert newcomer.finish(newcomer.start("GET", "/plain")).status == 200, "what comes is served"
            assert not newcomer.is_leaving
            proxy.signal(signal.SIGTERM)
            newcomer.until_leaving()
            newcomer.until_end()
        release.set()
        assert client.finish(late).status == 200
        client.until_end()
    assert proxy.wait() == 0


def test_the_egress_lingers_too(scripted, siding):
    settings = {"server": {"linger": "3s", "egress": free_address()}}
    proxy = siding(scripted(Tell()), scripted(Answer(200, b"{}")).url, settings)
    egress = proxy.settings["server"]["egress"]
    until("the egress to listen", lambda: listens(egress))
    with Connection(egress) as client:
        assert client.request("GET", "/openai/v1/models").header("connection") != "close"
        proxy.signal(signal.SIGTERM)
        draining(proxy)
        response = client.request("GET", "/openai/v1/models")
        assert (response.status, response.header("connection")) == (200, "close")
    assert proxy.wait() == 0


def test_a_process_that_was_drained_before_does_not_linger_again(scripted, siding):
    proxy = siding(scripted(Tell()), settings={"server": {"linger": "500ms"}})
    assert proxy.value("siding_draining") == 0
    assert proxy.page("/-/drain").body == b"draining\n"
    assert proxy.value("siding_draining") == 1
    assert proxy.page("/readyz").status == 503
    assert proxy.request("GET", "/").status == 200, "what comes is served"
    began = time.monotonic()
    until("the linger to be over", lambda: time.monotonic() - began > 0.5)
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0


def test_drained_waits_for_exchanges_that_will_need_the_app(scripted, siding):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b'"late"')))
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell()))
    proxy = siding(worker, provider.url, AT_ONCE)
    with proxy.connect() as client, ThreadPoolExecutor() as pool:
        client.start("POST", "/chat", body=b"x")
        provider.wait_for(1)
        hook = pool.submit(proxy.page, "/-/drained")
        draining(proxy)
        assert not hook.done()
        release.set()
        assert entry(client.response("POST"))["status"] == 200
        response = hook.result()
        assert (response.status, response.body) == (200, b"drained\n")


def test_drained_does_not_wait_for_what_goes_on_without_the_app(scripted, siding):
    """Calls through the egress, and those of clients themselves once the app has said yes."""
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b"{}")))
    route = {"path": "/llm/**", "terminate": {"provider": "openai", "authorize": "/may/", "strip": "/llm"}}
    settings = {"server": {"propagation": "0s", "egress": free_address()}, "routes": [route]}
    settings["providers"] = {"openai": {"api_key_env": "K"}}
    worker = scripted(Answer(204, b""))
    proxy = siding(worker, provider.url, settings, environment={"K": "key"})
    egress = proxy.settings["server"]["egress"]
    until("the egress to listen", lambda: listens(egress))
    with Connection(egress) as job, proxy.connect() as browser:
        job.start("POST", "/openai/v1/chat/completions", [("Content-Type", "application/json")], b"{}")
        browser.start("POST", "/llm/v1/chat/completions", [("Content-Type", "application/json")], b'{"n": 1}')
        provider.wait_for(2)
        assert proxy.page("/-/drained").body == b"drained\n"
        release.set()
        assert job.response("POST").status == browser.response("POST").status == 200


def test_drained_waits_at_least_while_load_balancers_learn_of_it(scripted, siding):
    proxy = siding(scripted(Tell()), settings={"server": {"propagation": "700ms"}})
    began = time.monotonic()
    assert proxy.page("/-/drained").body == b"drained\n"
    assert time.monotonic() - began >= 0.7
    assert proxy.page("/-/drained").body == b"drained\n", "it is asked again at once"
    assert proxy.request("GET", "/").status == 200, "what comes is served"


def test_a_process_drained_for_the_app_alone_serves_again_when_that_is_back(scripted, siding, tmp_path):
    """The kubelet calls the app's hook before it restarts the app's container, too."""
    socket = str(tmp_path / "app.sock")
    with ScriptedWorker(always(Tell()), socket) as worker:
        proxy = siding(worker, settings=AT_ONCE)
        assert proxy.page("/-/drained").body == b"drained\n"
        assert (proxy.page("/readyz").status, proxy.value("siding_draining")) == (503, 1)
    until("it to miss the app", lambda: "the app is gone" in proxy.log)
    scripted(Tell(), path=socket)
    until("readiness", lambda: proxy.page("/readyz").status == 200)
    assert proxy.value("siding_draining") == 0
    with proxy.connect() as client:
        assert client.request("GET", "/").header("connection") != "close"


def test_a_process_that_is_to_end_goes_on_to_say_so_when_the_app_is_back(scripted, siding, tmp_path):
    socket = str(tmp_path / "app.sock")
    with ScriptedWorker(always(Tell()), socket) as worker:
        proxy = siding(worker, settings=AT_ONCE)
        assert proxy.page("/-/drained").body == b"drained\n"
    until("it to miss the app", lambda: "the app is gone" in proxy.log)
    assert proxy.page("/-/drain").body == b"draining\n"
    scripted(Tell(), path=socket)
    response = proxy.request("GET", "/")
    assert (response.status, response.header("connection")) == (200, "close")
    assert proxy.page("/readyz").body == b"draining\n"


def test_drained_waits_no_longer_than_a_shutdown_would(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings={"server": {"propagation": "0s", "drain": "1s"}})
    with proxy.connect() as client:
        client.start("GET", "/")
        worker.wait_for(1)
        response = proxy.page("/-/drained")
        assert (response.status, response.body) == (503, b"time is up, and the app is still needed\n")
        release.set()
        assert client.response().status == 200
