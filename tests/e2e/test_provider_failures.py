"""What goes wrong at a provider reaches the app as a result in its journal, after the retries that may help."""

from __future__ import annotations

import json
import socket
import threading
import time
from email.utils import formatdate

import pytest
from harness.addresses import free_address
from harness.calls import chat, entry, told
from harness.scripted_worker import body_of
from harness.steps import Answer, Close, CloseMidBody, HandOver, Hang, Raw, Tell, by_pass, in_order

# A connection is a part of the wait for the first byte, so its time-out must be the shorter one.
FAST = {"connect": "200ms", "first_byte": "400ms", "idle": "300ms", "total": "10s"}


def once(timeout=None, **retry):
    """Settings with one provider that is not tried again unless the test says so."""
    return {"providers": {"openai": {"timeout": timeout or FAST, "retry": {"attempts": 1, **retry}}}}


def ask(siding, scripted, url, calls, settings=None):
    """One exchange whose worker hands `calls` over and then tells what it was sent."""
    worker = scripted(by_pass(HandOver(calls), Tell()))
    proxy = siding(worker, url, settings or once())
    response = proxy.request("POST", "/chat", body=b"question")
    assert [request.number for request in worker.requests] == [0, 1]
    assert worker.requests[1].body == b"question"
    assert worker.requests[1].offer_verifies()
    proxy.ended("answered", "replay")
    return proxy, response


def counted(proxy, result):
    """Exactly one call ended, and so."""
    proxy.until_value(1, "siding_calls_total", result=result)
    assert proxy.value("siding_calls_total") == 1
    assert proxy.value("siding_calls_in_flight") == 0


def test_an_answer_becomes_a_result_with_body_and_headers(llm, scripted, siding):
    call = chat(llm.url, "hello")
    proxy, response = ask(siding, scripted, llm.url, [call])
    result = entry(response)
    assert (result["kind"], result["status"], result["pass"]) == ("result", 200, 0)
    assert (result["name"], result["digest"]) == (call["name"], call["digest"])
    assert "Echo" in json.loads(body_of(result))["choices"][0]["message"]["content"]
    names = [name for name, _ in result["headers"]]
    assert "x-request-id" in names
    assert not {"connection", "transfer-encoding", "content-length"} & set(names)
    assert dict(llm.asked()[0]["headers"])["authorization"] == dict(call["headers"])["authorization"]
    counted(proxy, "ok")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_client_error_is_not_retried_and_becomes_a_result(status, llm, scripted, siding):
    prompt = f"[status={status}]"
    proxy, response = ask(siding, scripted, llm.url, [chat(llm.url, prompt)], once(attempts=3))
    result = entry(response)
    assert (result["kind"], result["status"]) == ("result", status)
    assert ["x-should-retry", "false"] in result["headers"]
    assert llm.stats(prompt)["total"] == 1
    assert proxy.value("siding_call_retries_total") == 0
    counted(proxy, "client_error")


@pytest.mark.parametrize(("status", "word"), [(429, "rate_limited"), (500, "server_error"), (503, "server_error")])
def test_an_error_that_may_pass_is_retried_and_then_becomes_a_result(status, word, llm, scripted, siding):
    prompt = f"[status={status}][retry-after=0]"
    proxy, response = ask(siding, scripted, llm.url, [chat(llm.url, prompt)], once(attempts=3))
    result = entry(response)
    assert (result["kind"], result["status"]) == ("result", status)
    assert ["x-should-retry", "false"] in result["headers"]
    assert llm.stats(prompt)["total"] == 3
    assert proxy.value("siding_call_retries_total") == 2
    assert proxy.value("siding_call_attempts_total") == 3
    counted(proxy, word)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_a_retry_that_succeeds_is_all_the_app_sees(status, llm, scripted, siding):
    prompt = f"[fail-first=1:{status}][retry-after=0]"
    proxy, response = ask(siding, scripted, llm.url, [chat(llm.url, prompt)], once(attempts=2))
    result = entry(response)
    assert (result["status"], llm.stats(prompt)["total"]) == (200, 2)
    assert "x-should-retry" not in dict(result["headers"])
    counted(proxy, "ok")


def test_retries_stop_when_their_budget_is_spent(llm, scripted, siding):
    prompts = [f"{number} [status=503][retry-after=0]" for number in range(14)]
    calls = [chat(llm.url, prompt) for prompt in prompts]
    settings = once(attempts=2, budget=0.01)
    settings["providers"]["openai"]["breaker"] = False
    settings["handoff"] = {"max_calls": 20}
    proxy, response = ask(siding, scripted, llm.url, calls, settings)
    assert [result["status"] for result in told(response)["journal"]] == [503] * 14
    assert llm.stats()["total"] == 24, "a burst of ten retries, then a hundredth of the calls"
    assert proxy.value("siding_call_retries_total") == 10


SPELLINGS = {
    "milliseconds": lambda: ("Retry-After-Ms", "700"),
    "fractional seconds": lambda: ("Retry-After", "0.7"),
    "seconds": lambda: ("Retry-After", "1"),
    "a date": lambda: ("Retry-After", formatdate(int(time.time()) + 2, usegmt=True)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_pause_a_provider_asks_for_is_kept(spelling, scripted, siding):
    name, value = SPELLINGS[spelling]()
    provider = scripted(in_order(Answer(429, b"{}", [(name, value)]), Answer(200, b'"ok"')))
    proxy, response = ask(siding, scripted, provider.url, [chat(provider.url, "x")], once(attempts=2))
    assert entry(response)["status"] == 200
    first, second = provider.requests
    least = 1.0 if spelling in ("seconds", "a date") else 0.7
    assert least <= second.at - first.at < least + 1.5
    assert first.content == second.content
    assert proxy.value("siding_call_retries_total") == 1


def test_a_pause_that_is_too_long_is_not_waited_for(llm, scripted, siding):
    prompt = "[status=429][retry-after=3600]"
    proxy, response = ask(siding, scripted, llm.url, [chat(llm.url, prompt)], once(attempts=3))
    assert (entry(response)["status"], llm.stats(prompt)["total"]) == (429, 1)
    assert ["retry-after", "3600"] in entry(response)["headers"]
    counted(proxy, "rate_limited")


def failure(siding, scripted, url, word, prompt="x", settings=None):
    """An exchange whose only call ends without a complete answer."""
    proxy, response = ask(siding, scripted, url, [chat(url, prompt)], settings)
    result = entry(response)
    assert (result["kind"], result["error"]) == ("error", word), result
    assert result["message"]
    assert "127.0.0.1" in result["message"]
    counted(proxy, word)
    return proxy


def test_a_refused_connection_is_retried_and_then_an_error(scripted, siding):
    proxy = failure(siding, scripted, f"http://{free_address()}", "connect", settings=once(attempts=2))
    assert proxy.value("siding_call_attempts_total") == 2


def test_a_connection_that_takes_too_long_is_an_error(stack, scripted, siding):
    full = stack.enter_context(socket.socket())
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    queue = [stack.enter_context(socket.socket()) for _ in range(8)]
    for waiting in queue:  # nobody accepts, so the kernel's queue fills and then drops connection requests
        waiting.setblocking(False)
        waiting.connect_ex(full.getsockname())
    failure(siding, scripted, f"http://127.0.0.1:{full.getsockname()[1]}", "connect_timeout")


def test_a_provider_that_never_answers_is_an_error(llm, scripted, siding):
    failure(siding, scripted, llm.url, "first_byte_timeout", "[hang]", once(attempts=2))
    llm.until_stats({"total": 2, "cancelled": 2, "in_flight": 0}, "[hang]")


def test_the_app_may_ask_for_less_patience_than_the_provider_gets(llm, scripted, siding):
    patient = {"connect": "3s", "first_byte": "60s", "idle": "60s", "total": "60s"}
    call = chat(llm.url, "[hang]", timeout_ms=250)
    proxy, response = ask(siding, scripted, llm.url, [call], once(timeout=patient))
    assert entry(response)["error"] == "first_byte_timeout"
    assert 250 <= entry(response)["elapsed_ms"] < 3000
    counted(proxy, "first_byte_timeout")


def test_a_provider_that_stalls_in_the_body_is_an_error(llm, scripted, siding):
    failure(siding, scripted, llm.url, "idle_timeout", "[hang-body]", once(attempts=2))
    llm.until_stats({"total": 1, "cancelled": 1}, "[hang-body]")


def test_a_call_that_takes_too_long_in_all_is_an_error(llm, scripted, siding):
    timeout = {**FAST, "first_byte": "60s", "total": "300ms"}
    failure(siding, scripted, llm.url, "total_timeout", "[hang]", once(timeout))
    llm.until_stats({"total": 1, "cancelled": 1}, "[hang]")


def test_a_reset_before_the_head_is_retried_and_then_an_error(llm, scripted, siding):
    failure(siding, scripted, llm.url, "connect", "[reset]", once(attempts=2))
    llm.until_stats({"total": 2, "broken": 2}, "[reset]")


@pytest.mark.parametrize("reset", [True, False])
def test_a_provider_that_closes_before_the_head_is_an_error(reset, scripted, siding):
    provider = scripted(Close(reset))
    failure(siding, scripted, provider.url, "connect")
    assert len(provider.requests) == 1


def test_a_provider_that_dies_in_the_body_is_an_error_and_not_asked_again(llm, scripted, siding):
    failure(siding, scripted, llm.url, "interrupted", "[reset-body]", once(attempts=3))
    assert llm.stats("[reset-body]")["total"] == 1


@pytest.mark.parametrize("chunked", [True, False])
def test_half_a_body_is_never_a_result(chunked, scripted, siding):
    provider = scripted(CloseMidBody(b"half", chunked))
    failure(siding, scripted, provider.url, "interrupted")


def test_bytes_that_are_not_http_are_an_error(llm, scripted, siding):
    failure(siding, scripted, llm.url, "protocol", "[garbage-http]", once(attempts=3))
    assert llm.stats("[garbage-http]")["total"] == 1


@pytest.mark.parametrize("bytes_", [b"\x16\x03\x01 no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n"])
def test_a_malformed_head_is_an_error(bytes_, scripted, siding):
    failure(siding, scripted, scripted(Raw(bytes_)).url, "protocol")


def test_a_body_that_is_not_what_the_api_promises_is_the_apps_business(llm, scripted, siding):
    proxy, response = ask(siding, scripted, llm.url, [chat(llm.url, "[garbage]")])
    assert entry(response)["status"] == 200
    assert "<html>" in entry(response)["body"]
    counted(proxy, "ok")


@pytest.mark.parametrize("framed", [True, False])
def test_a_result_over_the_limit_is_an_error(framed, scripted, siding):
    body = b"x" * 5000
    unframed = Raw(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    provider = scripted(Answer(200, body) if framed else unframed)
    settings = once() | {"handoff": {"max_result": "4KiB"}}
    failure(siding, scripted, provider.url, "too_large", settings=settings)


def test_results_that_together_exceed_the_journal_end_the_exchange(scripted, siding):
    provider = scripted(Answer(200, b"x" * 3000))
    calls = [chat(provider.url, f"{number}") for number in range(3)]
    worker = scripted(by_pass(HandOver(calls), Tell()))
    proxy = siding(worker, provider.url, {"handoff": {"max_journal": "8KiB", "max_result": "4KiB"}})
    assert proxy.request("POST", "/chat", body=b"q").status == 502
    assert len(worker.requests) == 1
    assert len(provider.requests) == 3
    assert proxy.value("siding_handoff_refused_total", reason="handoff-limit") == 1
    proxy.ended("handoff-limit", "replay")


def test_bytes_that_are_no_text_travel_both_ways(scripted, siding):
    binary = bytes(range(256))
    provider = scripted(Answer(200, binary))
    call = chat(provider.url, "x", body=None, body_b64="AP+A/g==")
    proxy, response = ask(siding, scripted, provider.url, [call])
    assert provider.requests[0].content == b"\x00\xff\x80\xfe"
    assert body_of(entry(response)) == binary
    counted(proxy, "ok")


def test_one_failed_call_leaves_the_others_alone_and_all_run_at_once(llm, scripted, siding):
    prompts = ["[hang]", "[status=400]", "fine"]
    calls = [chat(llm.url, prompt, seq=number) for number, prompt in enumerate(prompts)]
    _, response = ask(siding, scripted, llm.url, calls)
    journal = told(response)["journal"]
    assert [result.get("error") or result["status"] for result in journal] == ["first_byte_timeout", 400, 200]
    assert [result["digest"] for result in journal] == [call["digest"] for call in calls]
    assert llm.stats()["total"] == 3


def test_a_hanging_provider_holds_no_worker(llm, scripted, siding):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b'"late"')))
    worker = scripted(
        lambda received: (
            Answer() if received.target == "/fast" else by_pass(HandOver([chat(provider.url, "x")]), Tell())(received)
        )
    )
    proxy = siding(worker, provider.url, {"backend": {"workers": 1}})
    with proxy.connect() as client:
        client.start("POST", "/chat", body=b"question")
        provider.wait_for(1)
        worker.wait_idle()
        proxy.until_value(1, "siding_exchanges_suspended")
        proxy.until_value(0, "siding_workers_busy")
        assert proxy.request("GET", "/fast").status == 200
        release.set()
        assert entry(client.response("POST"))["status"] == 200
    proxy.ended("answered", "replay")
    assert proxy.value("siding_worker_seconds_saved_total") > 0
