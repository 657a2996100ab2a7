"""An exchange that runs out of time or finds no worker for its results: what the client and its retry get."""

from __future__ import annotations

import threading
import time

import pytest
from harness.calls import assert_problem, chat, entry, told
from harness.steps import Answer, Drip, HandOver, Hang, Tell, by_pass, by_path

SHORT = {"handoff": {"deadline": "3s"}, "backend": {"timeout": "1s"}}


def test_a_deadline_while_a_provider_works_leaves_time_for_a_last_pass(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "[hang]")]), Tell()))
    proxy = siding(worker, llm.url, SHORT)
    began = time.monotonic()
    result = entry(proxy.request("POST", "/chat", body=b"question"))
    assert 2 <= time.monotonic() - began < 3, "a tenth of the deadline is kept for the last pass"
    assert (result["kind"], result["error"]) == ("error", "deadline")
    assert result["message"]
    llm.until_stats({"total": 1, "cancelled": 1}, "[hang]")
    [deadline] = {request.header("siding-deadline-ms") for request in worker.requests}
    assert deadline
    proxy.ended("answered", "replay")


def test_an_exchange_whose_last_pass_does_not_end_in_time_is_a_504(llm, scripted, siding):
    never = threading.Event()
    worker = scripted(by_pass(HandOver([chat(llm.url, "[hang]")]), Hang(never)))
    settings = {"handoff": {"deadline": "2s"}, "backend": {"timeout": "1900ms"}}
    proxy = siding(worker, llm.url, settings)
    began = time.monotonic()
    assert_problem(proxy.request("POST", "/chat", body=b"question"), 504, "deadline")
    assert 1.9 <= time.monotonic() - began < 3
    assert [request.number for request in worker.requests] == [0, 1]
    llm.until_stats({"total": 1, "cancelled": 1}, "[hang]")
    proxy.ended("deadline", "replay")
    assert proxy.value("siding_workers_busy") == 1, "the worker still runs"
    proxy.until_value(0, "siding_workers_busy")


def test_an_exchange_that_finds_no_worker_for_its_results_in_time_is_refused(llm, scripted, siding):
    busy = threading.Event()
    resume = by_pass(HandOver([chat(llm.url, "[latency=300ms]")]), Tell())
    worker = scripted(by_path(chat=resume, slow=Drip(busy)))
    settings = {"handoff": {"deadline": "2s"}, "backend": {"timeout": "1s", "workers": 1}}
    proxy = siding(worker, llm.url, settings)
    with proxy.connect() as client, proxy.connect() as slow:
        client.start("POST", "/chat", [("Authorization", "Token mine")], b"question")
        llm.until_stats({"in_flight": 1})
        slow.start("POST", "/slow", body=b"")
        worker.wait_for(2)
        assert_problem(client.response("POST"), 503, "queue-timeout")
        busy.set()
        assert slow.response("POST").complete
    assert llm.stats()["total"] == 1
    assert [request.target for request in worker.requests] == ["/chat", "/slow"]
    proxy.ended("queue-timeout", "replay")
    assert proxy.value("siding_results_kept_total") == 1, "its client's retry need not pay again"


def refused_resume(llm, scripted, siding, prompt, credentials):
    """One exchange whose results found the resume queue full: one worker, one place, both taken."""
    release = threading.Event()
    calls = {"/first": "[latency=400ms] first", "/second": f"[latency=800ms] {prompt}"}
    slow = Hang(release, Answer(200, b"slow"))

    def script(received):
        if received.target == "/slow":
            return slow
        return by_pass(HandOver([chat(llm.url, calls[received.target])]), Tell())(received)

    worker = scripted(script)
    settings = {"backend": {"workers": 1, "timeout": "20s", "queue": {"resume_capacity": 1}}}
    proxy = siding(worker, llm.url, settings)
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as blocker:
        first.start("POST", "/first", body=b"1")
        second.start("POST", "/second", credentials, b"2")
        llm.until_stats({"in_flight": 2})
        blocker.start("GET", "/slow")
        worker.wait_for(3)
        proxy.until_value(1, "siding_queue_depth", **{"class": "resume"})
        response = second.response("POST")
        assert_problem(response, 503, "queue-full")
        assert int(response.header("retry-after") or 0) >= 1
        release.set()
        assert entry(first.response("POST"))["status"] == 200
        assert blocker.response().body == b"slow"
    proxy.ended("queue-full", "replay")
    assert proxy.value("siding_queue_rejected_total", reason="full") == 1
    assert proxy.value("siding_results_kept_total") == 1
    assert llm.stats(calls["/second"])["total"] == 1
    return proxy, worker, calls["/second"]


ALICE = [("Authorization", "Bearer alice"), ("Cookie", "session=1")]


def test_a_retry_finds_the_result_that_its_first_try_had_to_leave(llm, scripted, siding):
    proxy, _, prompt = refused_resume(llm, scripted, siding, "kept", ALICE)
    result = entry(proxy.request("POST", "/second", ALICE, b"2"))
    assert (result["kind"], result["status"]) == ("result", 200)
    assert llm.stats(prompt)["total"] == 1
    assert proxy.value("siding_results_reused_total") == 1
    entry(proxy.request("POST", "/second", ALICE, b"2"))
    assert llm.stats(prompt)["total"] == 2, "a kept result is used once"
    assert proxy.value("siding_results_reused_total") == 1


OTHERS = {
    "nobody": [],
    "another token": [("Authorization", "Bearer mallory"), ("Cookie", "session=1")],
    "another cookie": [("Authorization", "Bearer alice"), ("Cookie", "session=2")],
    "one credential in the place of two": [("Authorization", "Bearer alicesession=1")],
    "another key": [*ALICE, ("X-API-Key", "of-mallory")],
    "another user by the word of a proxy in front": [*ALICE, ("X-Remote-User", "mallory")],
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_clients_retry_does_not_find_the_result(other, llm, scripted, siding):
    proxy, _, prompt = refused_resume(llm, scripted, siding, "private", ALICE)
    assert entry(proxy.request("POST", "/second", OTHERS[other], b"2"))["status"] == 200
    assert llm.stats(prompt)["total"] == 2
    assert proxy.value("siding_results_reused_total") == 0


def test_an_errors_result_is_not_kept_for_a_retry(llm, scripted, siding):
    release = threading.Event()
    prompts = {"/first": "[latency=300ms] first", "/second": "[latency=600ms][status=400] second"}

    def script(received):
        if received.target == "/slow":
            return Hang(release)
        return by_pass(HandOver([chat(llm.url, prompts[received.target])]), Tell())(received)

    worker = scripted(script)
    proxy = siding(worker, llm.url, {"backend": {"workers": 1, "queue": {"resume_capacity": 1}}})
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as blocker:
        first.start("POST", "/first", body=b"1")
        second.start("POST", "/second", body=b"2")
        llm.until_stats({"in_flight": 2})
        blocker.start("GET", "/slow")
        assert second.response("POST").status == 503
        release.set()
        assert first.response("POST").status == 200
    assert proxy.value("siding_results_kept_total") == 0
    assert entry(proxy.request("POST", "/second", body=b"2"))["status"] == 400
    assert llm.stats(prompts["/second"])["total"] == 2


def test_the_journal_grows_in_order_over_many_passes(llm, scripted, siding):
    value = {"kind": "value", "name": "once:id", "value": {"n": 1}}
    steps = [HandOver([chat(llm.url, "a"), chat(llm.url, "b")], journal=[value]), HandOver([chat(llm.url, "c")])]
    worker = scripted(by_pass(*steps, Tell()))
    proxy = siding(worker, llm.url)
    body = bytes(range(256)) * 300
    response = proxy.request("POST", "/chat?x=%20y&x=2", [("X-Two", "1"), ("X-Two", "2")], body)
    journal = told(response)["journal"]
    assert [(e["kind"], e.get("pass")) for e in journal] == [("value", None), *[("result", 0)] * 2, ("result", 1)]
    assert journal[0] == value
    assert [(r.number, r.target, r.header("x-two")) for r in worker.requests] == [
        (number, "/chat?x=%20y&x=2", "1, 2") for number in range(3)
    ]
    assert all(r.body == body and r.offer_verifies() for r in worker.requests)
    assert len({(r.exchange, r.header("siding-now-ms")) for r in worker.requests}) == 1
    assert llm.stats()["total"] == 3
    proxy.ended("answered", "replay")


def test_a_resumed_pass_is_neither_partial_nor_conditional(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "x")]), Tell()))
    proxy = siding(worker, llm.url)
    conditions = ["Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"]
    entry(proxy.request("GET", "/", [(name, '"x"') for name in conditions]))
    first, second = worker.requests
    assert all(first.header(name) == '"x"' for name in conditions)
    assert not any(second.header(name) for name in conditions)
