"""A client that leaves: what nobody waits for any more is cancelled, but a worker that runs stays taken."""

from __future__ import annotations

import socket
import threading

import pytest
from harness.calls import chat
from harness.steps import Answer, CloseMidBody, HandOver, Hang, Tell, by_pass, by_path

ROUTES = {"routes": [{"path": "/streamed/**", "handoff": False}]}


def test_a_client_that_leaves_while_a_provider_works_cancels_the_call(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "[hang]"), chat(llm.url, "[hang] too")]), Tell()))
    proxy = siding(worker, llm.url)
    with proxy.connect() as client:
        client.start("POST", "/chat", body=b"question")
        llm.until_stats({"in_flight": 2})
        proxy.until_value(1, "siding_exchanges_suspended")
    llm.until_stats({"total": 2, "cancelled": 2, "in_flight": 0})
    proxy.ended("client-gone", "replay")
    proxy.until_value(0, "siding_workers_busy")
    assert proxy.value("siding_calls_total", result="cancelled") == 2
    assert proxy.value("siding_exchanges_suspended") == proxy.value("siding_calls_in_flight") == 0
    assert proxy.value("siding_buffered_bytes") == 0
    assert len(worker.requests) == 1, "nobody waits for the answer, so there is no second pass"
    assert proxy.value("siding_results_kept_total") == 0


def test_a_client_that_closes_its_sending_side_counts_as_one_that_left(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "[hang]")]), Tell()))
    proxy = siding(worker, llm.url)
    with proxy.connect() as client:
        client.start("POST", "/chat", body=b"question")
        llm.until_stats({"in_flight": 1})
        client.socket.shutdown(socket.SHUT_WR)
        assert client.at_end()
    llm.until_stats({"total": 1, "cancelled": 1})
    proxy.ended("client-gone", "replay")
    proxy.until_value(0, "siding_workers_busy")


@pytest.mark.parametrize("path", ["/buffered", "/streamed/x"])
def test_a_client_that_leaves_while_a_worker_runs_does_not_free_the_worker(path, scripted, siding):
    release = threading.Event()
    worker = scripted(by_path(buffered=Hang(release), streamed=Hang(release), next=Answer(200, b"next")))
    proxy = siding(worker, settings={"backend": {"workers": 1}, **ROUTES})
    with proxy.connect() as client:
        client.start("POST", path, body=b"question")
        worker.wait_for(1)
    if path == "/buffered":
        proxy.until_value(1, "siding_workers_orphaned")
        proxy.ended("client-gone")
    assert proxy.value("siding_workers_busy") == 1
    with proxy.connect() as second:
        second.start("GET", "/next")
        proxy.until_value(1, "siding_queue_depth", **{"class": "interactive"})
        assert len(worker.requests) == 1, "the only worker is still busy"
        release.set()
        assert second.response().body == b"next"
    assert worker.most_in_progress == 1
    proxy.until_value(2, "siding_exchanges_total")
    proxy.until_value(0, "siding_workers_busy")
    assert proxy.value("siding_workers_orphaned") == 0
    if path == "/buffered":  # a streamed answer that fits into the kernel's buffer counts as delivered
        assert proxy.value("siding_exchanges_total", outcome="client-gone") == 1


@pytest.mark.parametrize("path", ["/buffered", "/streamed/x"])
def test_a_client_that_leaves_in_the_middle_of_its_answer_does_not_free_the_worker(path, scripted, siding):
    release = threading.Event()
    half = CloseMidBody(b"x" * 1000, chunked=True, hold=release)
    worker = scripted(by_path(buffered=half, streamed=half, next=Answer(200, b"next")))
    proxy = siding(worker, settings={"backend": {"workers": 1}, **ROUTES})
    with proxy.connect() as client:
        client.start("GET", path)
        client.read(1000)
    with proxy.connect() as second:
        second.start("GET", "/next")
        proxy.until_value(1, "siding_queue_depth", **{"class": "interactive"})
        assert worker.in_progress == 1
        assert len(worker.requests) == 1
        assert proxy.value("siding_workers_busy") == 1
        release.set()
        assert second.response().body == b"next"
    assert worker.most_in_progress == 1
    proxy.until_value(0, "siding_workers_busy")
    assert proxy.value("siding_workers_orphaned") == 0


def test_a_call_of_a_client_that_left_meanwhile_is_not_made(llm, scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release, HandOver([chat(llm.url, "too late")])))
    proxy = siding(worker, llm.url)
    with proxy.connect() as client:
        client.start("POST", "/chat", body=b"question")
        worker.wait_for(1)
    proxy.ended("client-gone")
    release.set()
    proxy.until_value(0, "siding_workers_busy")
    assert llm.stats()["total"] == 0
    assert len(worker.requests) == 1


@pytest.mark.parametrize("path", ["/buffered", "/streamed/x"])
def test_a_client_that_leaves_the_queue_frees_its_place_and_never_reaches_a_worker(path, scripted, siding):
    release = threading.Event()
    worker = scripted(by_path(first=Hang(release), buffered=Tell(), streamed=Tell(), last=Answer(200, b"last")))
    proxy = siding(worker, settings={"backend": {"workers": 1, "queue": {"capacity": 1}}, **ROUTES})
    with proxy.connect() as first, proxy.connect() as last:
        first.start("GET", "/first")
        worker.wait_for(1)
        with proxy.connect() as leaver:
            leaver.start("GET", path)
            proxy.until_value(1, "siding_queue_depth", **{"class": "interactive"})
        proxy.until_value(0, "siding_queue_depth", **{"class": "interactive"})
        last.start("GET", "/last")
        proxy.until_value(1, "siding_queue_depth", **{"class": "interactive"})
        release.set()
        assert (first.response().status, last.response().body) == (200, b"last")
    assert [request.target for request in worker.requests] == ["/first", "/last"]
    proxy.ended("client-gone")
    proxy.ended("answered", times=2)


def test_a_client_that_leaves_in_the_middle_of_its_upload_never_reaches_a_worker(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker)
    with proxy.connect() as client:
        client.start("POST", "/upload", [("Content-Length", "1000")])
        client.send(b"x" * 500)
        proxy.until_value(1, "siding_exchanges_in_flight")
    proxy.ended("client-gone")
    proxy.until_value(0, "siding_exchanges_in_flight")
    assert worker.requests == []
    assert proxy.value("siding_buffered_bytes") == 0


def test_a_client_that_leaves_between_two_passes_does_not_resume(llm, scripted, siding):
    release = threading.Event()
    resume = HandOver([chat(llm.url, "quick")])
    worker = scripted(lambda r: Hang(release) if r.target == "/slow" else by_pass(resume, Tell())(r))
    proxy = siding(worker, llm.url, {"backend": {"workers": 1}})
    with proxy.connect() as slow, proxy.connect() as client:
        blocker = chat(llm.url, "[latency=300ms]")
        resume.calls = [blocker]
        client.start("POST", "/chat", body=b"question")
        llm.until_stats({"in_flight": 1})
        slow.start("GET", "/slow")
        worker.wait_for(2)
        proxy.until_value(1, "siding_queue_depth", **{"class": "resume"})
        client.close()
        proxy.until_value(0, "siding_queue_depth", **{"class": "resume"})
        release.set()
        assert slow.response().status == 200
    proxy.ended("client-gone", "replay")
    assert [request.target for request in worker.requests] == ["/chat", "/slow"]
    assert llm.stats()["completed"] == 1
