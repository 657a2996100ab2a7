"""The worker pool: never more requests than workers, in the order of their classes, within bounded queues."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.calls import assert_problem, chat, entry
from harness.steps import Answer, HandOver, Hang, Tell, Work, by_pass, by_path
from harness.waiting import until

DEPTH = "siding_queue_depth"
CLASSES = {
    "routes": [
        {"path": "/streamed/**", "handoff": False},
        {"path": "/batch/**", "class": "batch"},
        {"path": "/narrow/**", "max_workers": 1},
    ]
}


def waiting(proxy, count, name="interactive"):
    """Waits until so many requests wait in a class."""
    proxy.until_value(count, DEPTH, **{"class": name})


def test_there_are_never_more_requests_at_the_app_than_workers(llm, scripted, siding):
    all_busy = threading.Event()

    def script(received):
        if worker.in_progress == 3:
            all_busy.set()
        suspends = received.target.startswith("/chat")
        call = HandOver([chat(llm.url, f"[latency=20ms] {received.target}")])
        return Hang(all_busy, by_pass(call, Tell())(received) if suspends else Answer())

    worker = scripted(script)
    proxy = siding(worker, llm.url, {"backend": {"workers": 3}, **CLASSES})
    kinds = ["/chat/%d", "/streamed/%d", "/batch/%d", "/plain/%d"]

    def one(number):
        return proxy.request("POST", kinds[number % 4] % number, body=b"x" * number, timeout=30)

    with ThreadPoolExecutor(200) as clients:
        responses = list(clients.map(one, range(200)))
    assert {response.status for response in responses} == {200}
    assert len(worker.requests) == 250
    assert worker.most_in_progress == 3
    assert llm.stats()["total"] == 50
    proxy.ended("answered", times=200)
    proxy.until_value(0, "siding_workers_busy")
    assert proxy.value("siding_workers_limit") == 3
    assert proxy.value(DEPTH) == 0


@pytest.mark.parametrize("path", ["/buffered", "/streamed/x"])
def test_the_app_is_told_since_when_a_request_waited(path, scripted, siding):
    """Tools that measure the queue in front of an app read it."""
    release = threading.Event()
    worker = scripted(by_path(block=Hang(release), **{path.strip("/").split("/")[0]: Answer()}))
    proxy = siding(worker, settings={"backend": {"workers": 1}, **CLASSES})
    with proxy.connect() as first, proxy.connect() as second:
        first.start("GET", "/block")
        worker.wait_for(1)
        second.start("GET", path)
        waiting(proxy, 1)
        waited = time.time()
        until("it to have waited for longer", lambda: time.time() > waited + 0.05)
        release.set()
        assert second.response().status == 200
    assert float(worker.requests[1].header("x-request-start").removeprefix("t=")) <= waited


def test_threads_multiply_workers(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings={"backend": {"workers": 2, "threads": 2}})
    with ThreadPoolExecutor(6) as clients:
        responses = [clients.submit(proxy.request, "GET", f"/{n}") for n in range(6)]
        waiting(proxy, 2)
        assert proxy.value("siding_workers_limit") == proxy.value("siding_workers_busy") == 4
        worker.wait_for(4)
        release.set()
        assert {response.result().status for response in responses} == {200}
    assert worker.most_in_progress == 4


def test_results_go_before_people_and_people_before_batches(llm, scripted, siding):
    release = threading.Event()
    resume = by_pass(HandOver([chat(llm.url, "[latency=300ms]")]), Tell())
    worker = scripted(lambda r: {"/chat": resume(r), "/slow": Hang(release)}.get(r.target, Answer()))
    proxy = siding(worker, llm.url, {"backend": {"workers": 1}, **CLASSES})
    with ThreadPoolExecutor(8) as clients:
        chat_ = clients.submit(proxy.request, "POST", "/chat", body=b"x")
        llm.until_stats({"in_flight": 1})
        others = [clients.submit(proxy.request, "GET", "/slow")]
        worker.wait_for(2)
        for count, (path, name) in enumerate([("/batch/1", "batch"), ("/batch/2", "batch")], 1):
            others.append(clients.submit(proxy.request, "GET", path))
            waiting(proxy, count, name)
        for count, path in enumerate(["/people/1", "/people/2"], 1):
            others.append(clients.submit(proxy.request, "GET", path))
            waiting(proxy, count)
        waiting(proxy, 1, "resume")
        release.set()
        assert entry(chat_.result())["status"] == 200
        assert {other.result().status for other in others} == {200}
    order = [request.target for request in worker.requests]
    assert order == ["/chat", "/slow", "/chat", "/people/1", "/people/2", "/batch/1", "/batch/2"]
    proxy.ended("answered", times=6)


@pytest.mark.parametrize("prefix", ["/narrow", "/streamed"])
def test_a_bulkhead_bounds_its_route_and_leaves_the_rest_alone(prefix, scripted, siding):
    release = threading.Event()
    worker = scripted(lambda r: Hang(release) if r.target.startswith(prefix) else Answer())
    routes = [{"path": f"{prefix}/**", "max_workers": 1, "handoff": prefix == "/narrow"}]
    proxy = siding(worker, settings={"backend": {"workers": 3}, "routes": routes})
    with ThreadPoolExecutor(3) as clients:
        narrow = [clients.submit(proxy.request, "GET", f"{prefix}/{number}") for number in range(3)]
        worker.wait_for(1)
        waiting(proxy, 2)
        assert proxy.value("siding_workers_busy") == 1
        assert proxy.request("GET", "/other").status == 200
        release.set()
        assert {response.result().status for response in narrow} == {200}
    assert len(worker.requests) == 4
    assert worker.most_in_progress == 2


@pytest.mark.parametrize("path", ["/plain", "/streamed/x"])
def test_a_full_queue_refuses_newcomers_at_once(path, scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings={"backend": {"workers": 1, "queue": {"capacity": 1}}, **CLASSES})
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(proxy.request, "GET", "/1")
        worker.wait_for(1)
        second = clients.submit(proxy.request, "GET", "/2")
        waiting(proxy, 1)
        refused = proxy.request("POST", path, body=b"x")
        assert_problem(refused, 503, "queue-full")
        assert int(refused.header("retry-after") or 0) >= 1
        release.set()
        assert first.result().status == second.result().status == 200
    assert [request.target for request in worker.requests] == ["/1", "/2"]
    assert proxy.value("siding_queue_rejected_total", reason="full") == 1
    proxy.ended("queue-full")


@pytest.mark.parametrize("path", ["/plain", "/streamed/x"])
def test_a_newcomer_that_finds_no_worker_in_time_is_refused(path, scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings={"backend": {"workers": 1, "queue": {"timeout": "300ms"}}, **CLASSES})
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(proxy.request, "GET", "/1")
        worker.wait_for(1)
        refused = proxy.request("POST", path, body=b"x")
        assert_problem(refused, 503, "queue-timeout")
        assert int(refused.header("retry-after") or 0) >= 1
        release.set()
        assert first.result().status == 200
    assert [request.target for request in worker.requests] == ["/1"]
    assert proxy.value("siding_queue_rejected_total", reason="timeout") == 1
    proxy.ended("queue-timeout")
    assert proxy.value(DEPTH) == 0


def test_a_newcomer_whose_wait_would_be_too_long_is_refused_at_once(scripted, siding):
    release = threading.Event()
    worker = scripted(by_path(work=Work(0.02), block=Hang(release), late=Answer()))
    proxy = siding(worker, settings={"backend": {"workers": 1, "queue": {"timeout": "200ms"}}})
    for _ in range(60):  # what a pass takes is known after some
        assert proxy.request("GET", "/work").status == 200
    with ThreadPoolExecutor(41) as clients:
        blocked = clients.submit(proxy.request, "GET", "/block")
        worker.wait_for(61)
        late = [clients.submit(proxy.request, "GET", "/late") for _ in range(40)]
        refused = [json.loads(response.result().body)["type"].rpartition(":")[2] for response in late]
        release.set()
        assert blocked.result().status == 200
    assert set(refused) == {"queue-hopeless", "queue-timeout"}
    hopeless = refused.count("queue-hopeless")
    assert hopeless >= 25, "ten waits of 20 ms fill the 200 ms"
    assert proxy.value("siding_queue_rejected_total", reason="hopeless") == hopeless
    assert len(worker.requests) == 61
    proxy.ended("queue-hopeless", times=hopeless)


def test_a_refused_client_may_use_its_connection_again(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release, Answer(200, b"served")))
    proxy = siding(worker, settings={"backend": {"workers": 1, "queue": {"capacity": 1}}})
    with ThreadPoolExecutor(2) as clients, proxy.connect() as client:
        first = clients.submit(proxy.request, "GET", "/1")
        worker.wait_for(1)
        clients.submit(proxy.request, "GET", "/queued")
        waiting(proxy, 1)
        assert_problem(client.request("POST", "/2", body=b"x" * 1000), 503, "queue-full")
        release.set()
        assert first.result().status == 200
        proxy.until_value(0, "siding_workers_busy")
        assert client.request("POST", "/2", body=b"x" * 1000).body == b"served"


def test_uploads_wait_for_their_bodies_without_a_worker(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings={"backend": {"workers": 1}})
    with proxy.connect() as slow:
        slow.start("POST", "/slow", [("Content-Length", "10")])
        slow.send(b"01234")
        proxy.until_value(1, "siding_exchanges_in_flight")
        assert proxy.value("siding_workers_busy") == 0
        assert proxy.request("GET", "/fast").status == 200
        slow.send(b"56789")
        assert b'"0123456789"' in slow.response("POST").body


def test_memory_for_bodies_is_bounded_and_given_back(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    settings = {"backend": {"workers": 4}, "server": {"max_body": "64KiB", "buffered": "100KiB"}}
    proxy = siding(worker, settings=settings)
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(proxy.request, "POST", "/1", body=b"x" * 60_000)
        worker.wait_for(1)
        assert proxy.value("siding_buffered_bytes") == 60_000
        refused = proxy.request("POST", "/2", body=b"x" * 60_000)
        assert_problem(refused, 503, "buffers-full")
        assert refused.header("retry-after")
        release.set()
        assert first.result().status == 200
    proxy.ended("buffers-full")
    proxy.until_value(0, "siding_buffered_bytes")
    assert proxy.request("POST", "/3", body=b"x" * 60_000).status == 200


def test_utilisation_is_the_integral_of_busy_workers(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings={"backend": {"workers": 2}})
    with ThreadPoolExecutor(2) as clients:
        responses = [clients.submit(proxy.request, "GET", f"/{number}") for number in range(2)]
        worker.wait_for(2)
        until("a quarter second of saturation", lambda: proxy.value("siding_workers_saturated_seconds_total") >= 0.25)
        saturated = proxy.value("siding_workers_saturated_seconds_total")
        assert proxy.value("siding_workers_busy_seconds_total") >= 2 * saturated
        release.set()
        assert {response.result().status for response in responses} == {200}
