"""Several Siding processes with one Redis: answers that one has stored are had by all, of all that want the same one
asks, and whatever becomes of Redis or of a process, nobody loses an answer or gets a wrong one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import raw_http
from harness.addresses import free_address, listens
from harness.between import Between
from harness.calls import chat, entry
from harness.providers import DONE, Gate, Speak, chunk, read_events, text_of
from harness.raw_http import Connection
from harness.redis import Redis
from harness.siding import Siding, merged
from harness.steps import Answer, HandOver, Hang, Tell, by_pass
from harness.waiting import until
from test_background import JOBS, ask, begin, done, standing
from test_egress import CHAT, HEADERS, asked, egress, is_plain, is_stream, post, streamed, until_arrived

HOUR = {"cache": {"ttl": "1h"}}
# What a test waits for at the most, where a process must be found dead first.
LEASE = {"redis": {"lease": "600ms", "timeout": "100ms"}}


@pytest.fixture
def redis(stack, tmp_path) -> Redis:
    """A store for all."""
    return stack.enter_context(Redis(tmp_path))


@pytest.fixture
def start(scripted, siding, redis) -> Callable[..., Siding]:
    """Starts one more process with an egress and this Redis."""

    def started(providers: Any, *settings: dict[str, Any], **options: Any) -> Siding:
        chosen: dict[str, Any] = merged({"server": {"egress": free_address()}, "redis": {"url": redis.url}}, LEASE)
        for more in settings:
            chosen = merged(chosen, more)
        proxy = siding(scripted(Answer()), providers, chosen, **options)
        until("the egress to listen", lambda: listens(egress(proxy)))
        proxy.until_value(1, "siding_redis_up")
        return proxy

    return started


@pytest.fixture
def caller(stack) -> Callable[..., Connection]:
    """Begins a call on a connection of its own."""

    def begun(proxy: Siding, body: bytes) -> Connection:
        connection = stack.enter_context(Connection(egress(proxy)))
        connection.start("POST", CHAT, HEADERS, body)
        return connection

    return begun


def looked(proxy: Siding, result: str) -> float:
    """Looks into the second level."""
    return proxy.value("siding_second_level_lookups_total", result=result)


def stored(redis: Redis) -> list[str]:
    """Entries."""
    return redis.names("siding:entry:*")


def leases(redis: Redis) -> list[str]:
    """Of flights that somebody leads."""
    return redis.names("siding:lease:*")


# What one has stored


@pytest.mark.parametrize(("first", "then"), [("plain", "stream"), ("stream", "plain"), ("plain", "plain")])
def test_an_answer_that_one_process_stored_is_given_by_another_in_the_form_that_is_asked_for(
    first, then, llm, start, redis
):
    bodies = {"plain": (asked("x"), is_plain), "stream": (streamed("x", True), is_stream)}
    one, other = start(llm.url, HOUR), start(llm.url, HOUR)
    body, is_right = bodies[first]
    assert is_right(post(one, body), "x")
    until("the answer to be stored for all", lambda: len(stored(redis)) == 1)
    body, is_right = bodies[then]
    again = post(other, body)
    assert is_right(again, "x")
    assert again.header("cache-status").startswith("siding; hit; ttl=")
    assert len(llm.asked("x")) == 1
    assert looked(other, "hit") == 1
    assert other.value("siding_cache_requests_total", place="call", result="hit") == 1
    # It has a copy now, and asks nobody.
    assert is_right(post(other, body), "x")
    assert looked(other, "hit") == 1
    assert other.value("siding_saved_tokens_total", how="hit", kind="output") > 0
    assert "\nsiding_tokens_total{" not in other.page("/metrics").body.decode(), "the other process has paid"


def test_another_prompt_another_scope_and_another_prefix_are_another_answer(llm, start, redis):
    one = start(llm.url, HOUR)
    assert is_plain(post(one, asked("x")), "x")
    until("the answer to be stored for all", lambda: stored(redis))
    other = start(llm.url, HOUR)
    assert is_plain(post(other, asked("y")), "y")
    apart = start(llm.url, HOUR, {"redis": {"prefix": "another"}})
    assert is_plain(post(apart, asked("x")), "x")
    assert len(llm.asked("x")) == 2


def test_what_is_not_whole_in_redis_is_asked_for_again(llm, start, redis):
    one = start(llm.url, HOUR)
    assert is_plain(post(one, asked("x")), "x")
    [name] = until("the answer to be stored for all", lambda: stored(redis))
    redis.ask("SETRANGE", name, "100", "###")
    other = start(llm.url, HOUR)
    assert is_plain(post(other, asked("x")), "x")
    assert looked(other, "corrupt") == 1
    assert len(llm.asked("x")) == 2


def test_an_answer_under_another_key_is_none(llm, start, redis):
    one = start(llm.url, HOUR)
    assert is_plain(post(one, asked("x")), "x")
    assert is_plain(post(one, asked("y")), "y")
    names = until("both to be stored for all", lambda: len(stored(redis)) == 2 and stored(redis))
    redis.ask("COPY", names[0], names[1], "REPLACE")
    other = start(llm.url, HOUR)
    assert is_plain(post(other, asked("x")), "x")
    assert is_plain(post(other, asked("y")), "y")
    assert looked(other, "corrupt") == 1


def test_a_client_that_wants_a_stored_answer_or_none_gets_another_processs(llm, start, redis):
    one, other = start(llm.url, HOUR), start(llm.url, HOUR)
    only = [*HEADERS, ("Cache-Control", "only-if-cached")]
    assert post(other, asked("x"), headers=only).status == 504
    assert is_plain(post(one, asked("x")), "x")
    until("the answer to be stored for all", lambda: stored(redis))
    assert is_plain(post(other, asked("x"), headers=only), "x")
    assert len(llm.asked("x")) == 1


def test_an_answer_that_is_stored_between_a_look_and_a_lease_is_not_asked_for_again(llm, start, redis, stack):
    between = stack.enter_context(Between(redis.address))
    patient = {"redis": {"url": f"redis://{between.address}", "timeout": "1s", "lease": "6s"}}
    one, late = start(llm.url, HOUR), start(llm.url, HOUR, patient)
    assert is_plain(post(one, asked("x")), "x")
    until("the answer to be stored for all", lambda: stored(redis) and not leases(redis))
    [entry] = stored(redis)
    redis.ask("RENAME", entry, "not yet")
    between.hold(b"EVALSHA")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(post, late, asked("x"))
        until("the other to have looked in vain", between.is_holding)
        redis.ask("RENAME", "not yet", entry)
        between.let_go()
        assert is_plain(call.result(), "x")
    assert len(llm.asked("x")) == 1
    assert (looked(late, "miss"), looked(late, "hit")) == (1, 1)
    assert not leases(redis), "one that nobody uses is given back"


# Purges


@pytest.mark.parametrize("selector", ["all", "origin=openai"])
def test_a_purge_anywhere_is_a_purge_everywhere(selector, llm, start, redis):
    one, other = start(llm.url, HOUR), start(llm.url, HOUR)
    assert is_plain(post(one, asked("x")), "x")
    until("the answer to be stored for all", lambda: stored(redis))
    assert is_plain(post(other, asked("x")), "x")
    purged = raw_http.request(one.admin, "POST", f"/-/purge?{selector}")
    assert purged.body == b"1 entries here; the other processes are told\n"
    other.until_value(1, "siding_cache_purged_total")
    assert is_plain(post(other, asked("x")), "x")
    assert len(llm.asked("x")) == 2
    late = start(llm.url, HOUR)
    assert is_plain(post(late, asked("x")), "x")
    assert len(llm.asked("x")) == 2, "what was stored after the purge is good"


def test_what_began_before_a_purge_is_not_served_after_it(llm, scripted, start, redis):
    gate = threading.Event()
    provider = scripted(Gate(llm, gate))
    one, other = start(provider.url, HOUR), start(provider.url, HOUR)
    with ThreadPoolExecutor() as pool:
        early = pool.submit(post, one, asked("x"))
        until("the call to be made", lambda: len(provider.requests) == 1)
        assert raw_http.request(other.admin, "POST", "/-/purge?all").status == 200
        gate.set()
        assert is_plain(early.result(), "x")
    assert is_plain(post(other, asked("x")), "x")
    assert len(provider.requests) == 2


def test_a_purge_while_redis_is_away_is_told_when_it_is_back(llm, start, redis):
    one, other = start(llm.url, HOUR), start(llm.url, HOUR)
    assert is_plain(post(one, asked("x")), "x")
    until("the answer to be stored for all", lambda: stored(redis))
    assert is_plain(post(other, asked("x")), "x")
    redis.stop()
    for proxy in (one, other):
        proxy.until_value(0, "siding_redis_up")
    purged = raw_http.request(one.admin, "POST", "/-/purge?all")
    assert b"told when it is back" in purged.body
    redis.start()
    other.until_value(1, "siding_redis_up")
    until("the purge to be heard", lambda: other.value("siding_cache_purged_total") == 1)


# Of all, one asks


@pytest.mark.parametrize("form", ["plain", "stream", "both"])
def test_of_all_processes_one_asks_for_what_all_want(form, llm, scripted, start, redis):
    gate = threading.Event()
    provider = scripted(Gate(llm, gate))
    proxies = [start(provider.url) for _ in range(3)]
    bodies = {"plain": [asked("x")], "stream": [streamed("x", True)], "both": [asked("x"), streamed("x", True)]}[form]
    with ThreadPoolExecutor(60) as pool:
        calls = [
            (body, pool.submit(post, proxies[number % 3], body))
            for number in range(60)
            for body in [bodies[number // 3 % len(bodies)]]
        ]
        for proxy in proxies:
            until("all to wait", lambda proxy=proxy: proxy.value("siding_coalesced_waiting") >= 10)
        gate.set()
        for body, call in calls:
            assert (is_stream if b"stream" in body else is_plain)(call.result(), "x")
    assert len(provider.requests) == (1 if form != "both" else len(provider.requests))
    assert len(provider.requests) <= len(bodies)
    parts = {part: sum(p.value("siding_shared_flights_total", part=part) for p in proxies) for part in ("led", "alone")}
    assert parts == {"led": len(provider.requests), "alone": 0}
    for proxy in proxies:
        proxy.until_value(0, "siding_flights_in_flight")
        proxy.until_value(0, "siding_buffered_bytes")


def test_a_follower_elsewhere_sees_each_piece_as_it_comes(scripted, start, caller):
    events = [threading.Event() for _ in range(3)]
    pieces = [(event, chunk({"content": word})) for event, word in zip(events, ("one ", "two ", "three "), strict=True)]
    end = threading.Event()
    provider = scripted(Speak([*pieces, (end, DONE)]))
    leading, following = start(provider.url), start(provider.url)
    first = caller(leading, streamed("x"))
    until("the call to be made", lambda: provider.requests)
    second = caller(following, streamed("x"))
    following.until_value(1, "siding_shared_flights_total", part="followed")
    for event, word in zip(events, (b"one ", b"two ", b"three "), strict=True):
        event.set()
        until_arrived(first, word)
        until_arrived(second, word)
    end.set()
    assert (
        text_of(read_events(second.response("POST").body))
        == text_of(read_events(first.response("POST").body))
        == "one two three "
    )
    assert len(provider.requests) == 1


def test_the_failure_of_one_call_is_told_to_all(scripted, start):
    gate = threading.Event()

    class Refuse(Answer):
        def play(self, received, link):
            link.hold(gate)
            return super().play(received, link)

    provider = scripted(Refuse(400, b'{"error": {"message": "no such model"}}', [("Content-Type", "application/json")]))
    one, other = start(provider.url), start(provider.url)
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(post, proxy, asked("x")) for proxy in (one, other)]
        until("the call to be made", lambda: provider.requests)
        other_part = lambda: sum(p.value("siding_shared_flights_total", part="followed") for p in (one, other))  # noqa: E731
        until("the other to follow", lambda: other_part() == 1)
        gate.set()
        for call in calls:
            assert (call.result().status, json.loads(call.result().body)["error"]["message"]) == (400, "no such model")
    assert len(provider.requests) == 1


def test_an_answer_goes_on_for_others_when_its_own_client_leaves(llm, scripted, start, caller):
    gate = threading.Event()
    provider = scripted(Gate(llm, gate))
    leading, following = start(provider.url), start(provider.url)
    first = caller(leading, asked("x"))
    until("the call to be made", lambda: provider.requests)
    with ThreadPoolExecutor() as pool:
        second = pool.submit(post, following, asked("x"))
        following.until_value(1, "siding_shared_flights_total", part="followed")
        first.close()
        leading.ended("client-gone")
        gate.set()
        assert is_plain(second.result(), "x")
    assert len(provider.requests) == 1
    leading.until_value(0, "siding_flights_in_flight")


def test_a_call_that_nobody_wants_any_more_anywhere_is_given_up(llm, scripted, start, caller):
    provider = scripted(Gate(llm, threading.Event()))
    proxy = start(provider.url)
    first = caller(proxy, asked("x"))
    until("the call to be made", lambda: provider.requests)
    first.close()
    proxy.until_value(1, "siding_flights_total", outcome="unwanted")
    proxy.until_value(0, "siding_flights_in_flight")


# When something dies


def test_a_dead_leaders_place_is_taken_and_those_who_wait_get_one_further_call(llm, scripted, start):
    gate = threading.Event()
    provider = scripted(Gate(llm, gate))
    leading = start(provider.url)
    followers = [start(provider.url), start(provider.url)]
    with ThreadPoolExecutor(40) as pool:
        lost = pool.submit(post_or_nothing, leading, asked("x"))
        until("the call to be made", lambda: len(provider.requests) == 1)
        calls = [pool.submit(post, followers[number % 2], asked("x")) for number in range(20)]
        for proxy in followers:
            proxy.until_value(1, "siding_shared_flights_total", part="followed")
        os.kill(leading.pid, signal.SIGKILL)
        until("another to ask", lambda: len(provider.requests) == 2)
        gate.set()
        for call in calls:
            assert is_plain(call.result(), "x")
        lost.result()
    assert len(provider.requests) == 2


def test_readers_of_a_dead_leaders_stream_go_on_with_anothers_where_it_says_the_same(scripted, start, caller):
    words = ["one ", "two ", "three ", "four "]
    hold = threading.Event()

    def speak(identity: str, *, stops: bool) -> Speak:
        pieces = [(None, chunk({"content": word}).replace(b"chatcmpl-1", identity.encode())) for word in words]
        return Speak([*pieces[:2], *([(hold, pieces[2][1])] if stops else pieces[2:]), (None, DONE)])

    provider = scripted(lambda received: speak("a", stops=True) if received.index == 0 else speak("b", stops=False))
    leading, following = start(provider.url), start(provider.url)
    first = caller(leading, streamed("x"))
    until_arrived(first, b"two ")
    second = caller(following, streamed("x"))
    until_arrived(second, b"two ")
    os.kill(leading.pid, signal.SIGKILL)
    answer = second.response("POST")
    hold.set()
    assert text_of(read_events(answer.body)) == "".join(words)
    assert answer.body.endswith(DONE)
    assert len(provider.requests) == 2
    following.until_value(1, "siding_shared_flights_total", part="took_over")


def test_readers_of_a_dead_leaders_stream_are_told_of_its_end_where_another_says_something_else(
    scripted, start, caller
):
    hold = threading.Event()
    dead = Speak([(None, chunk({"content": "one "})), (hold, b"")])
    provider = scripted(lambda received: dead if received.index == 0 else Speak([(None, chunk({"content": "other "}))]))
    leading, following = start(provider.url), start(provider.url)
    first = caller(leading, streamed("x"))
    until_arrived(first, b"one ")
    second = caller(following, streamed("x"))
    until_arrived(second, b"one ")
    os.kill(leading.pid, signal.SIGKILL)
    with pytest.raises(raw_http.Incomplete):
        second.response("POST")
    hold.set()
    assert b"other" not in second.buffer


def test_a_leader_that_was_taken_for_dead_writes_nothing_any_more(llm, scripted, start, redis):
    gate = threading.Event()
    provider = scripted(Gate(llm, gate))
    leading, following = start(provider.url, HOUR), start(provider.url, HOUR)
    with ThreadPoolExecutor() as pool:
        early = pool.submit(post, leading, asked("x"))
        until("the call to be made", lambda: len(provider.requests) == 1)
        late = pool.submit(post, following, asked("x"))
        following.until_value(1, "siding_shared_flights_total", part="followed")
        leading.signal(signal.SIGSTOP)
        until("another to ask", lambda: len(provider.requests) == 2)
        leading.signal(signal.SIGCONT)
        leading.until_value(1, "siding_shared_flights_fenced_total")
        gate.set()
        assert is_plain(early.result(), "x")
        assert is_plain(late.result(), "x")
    assert len(provider.requests) == 2


@pytest.mark.parametrize("fault", ["killed", "paused"])
def test_without_redis_each_process_goes_on_alone_and_comes_back_by_itself(fault, llm, start, redis):
    proxies = [start(llm.url, HOUR) for _ in range(2)]
    assert is_plain(post(proxies[0], asked("before")), "before")
    redis.stop() if fault == "killed" else redis.pause()
    for number, proxy in enumerate(proxies):
        for call in range(8):
            assert is_plain(post(proxy, asked(f"alone {number} {call}")), f"alone {number} {call}")
        assert proxy.value("siding_redis_up") == 0
    with ThreadPoolExecutor(20) as pool:
        for call in [pool.submit(post, proxies[0], asked("together [latency=300ms]")) for _ in range(20)]:
            assert call.result().status == 200
    assert len(llm.asked("together [latency=300ms]")) == 1
    redis.start() if fault == "killed" else redis.resume()
    for proxy in proxies:
        proxy.until_value(1, "siding_redis_up")
    assert is_plain(post(proxies[0], asked("after")), "after")
    until("the answer to be stored for all", lambda: stored(redis))
    assert is_plain(post(proxies[1], asked("after")), "after")
    assert len(llm.asked("after")) == 1


@pytest.mark.parametrize("fault", ["killed", "paused"])
def test_redis_may_fail_while_an_answer_is_on_its_way(fault, llm, scripted, start, redis):
    gate = threading.Event()
    provider = scripted(Gate(llm, gate))
    leading, following = start(provider.url), start(provider.url)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(post, leading, asked("x"))
        until("the call to be made", lambda: provider.requests)
        others = [pool.submit(post, following, asked("x")) for _ in range(10)]
        following.until_value(1, "siding_shared_flights_total", part="followed")
        redis.stop() if fault == "killed" else redis.pause()
        until("the other to ask itself", lambda: len(provider.requests) == 2)
        gate.set()
        for call in [first, *others]:
            assert is_plain(call.result(), "x")
    assert len(provider.requests) == 2
    if fault == "paused":
        redis.resume()


# Whole answers of routes

ROUTE = {"routes": [{"path": "/api/**", "cache": {"ttl": "1h", "scope": "public"}}]}


@pytest.fixture
def serve(siding, redis) -> Callable[..., Siding]:
    """Starts one more process before this app."""

    def started(worker: Any) -> Siding:
        proxy = siding(worker, None, merged(merged(ROUTE, LEASE), {"redis": {"url": redis.url}}))
        proxy.until_value(1, "siding_redis_up")
        return proxy

    return started


def test_an_answer_of_a_route_is_given_by_every_process(scripted, serve, redis):
    worker = scripted(Answer(200, b"shared", [("Content-Type", "text/plain"), ("X-App", "1")]))
    one, other = serve(worker), serve(worker)
    assert one.request("GET", "/api/a").body == b"shared"
    until("the answer to be stored for all", lambda: stored(redis))
    again = other.request("GET", "/api/a")
    assert (again.body, again.header("x-app")) == (b"shared", "1")
    assert again.header("cache-status").startswith("siding; hit")
    assert len(worker.requests) == 1


def test_an_answer_that_varies_is_given_to_those_who_ask_the_same_way(scripted, serve, redis):
    def speak(received) -> Answer:
        language = received.header("accept-language") or "none"
        return Answer(200, language.encode(), [("Content-Type", "text/plain"), ("Vary", "Accept-Language")])

    worker = scripted(speak)
    one, other = serve(worker), serve(worker)
    for language in ("de", "en"):
        assert one.request("GET", "/api/a", [("Accept-Language", language)]).body == language.encode()
    until("both to be stored for all", lambda: len(stored(redis)) == 3)
    for language in ("en", "de"):
        assert other.request("GET", "/api/a", [("Accept-Language", language)]).body == language.encode()
    assert len(worker.requests) == 2


def test_an_answer_for_one_client_is_for_nobody_elsewhere(scripted, serve, redis):
    gate = threading.Event()

    class Greet(Answer):
        def play(self, received, link):
            link.hold(gate)
            cookie = ("Set-Cookie", f"session={received.index}")
            return Answer(200, b"%d" % received.index, [("Content-Type", "text/plain"), cookie]).play(received, link)

    worker = scripted(Greet())
    one, other = serve(worker), serve(worker)
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(proxy.request, "GET", "/api/a") for proxy in (one, other)]
        until("one to ask", lambda: worker.requests)
        until(
            "the other to follow",
            lambda: sum(proxy.value("siding_shared_flights_total", part="followed") for proxy in (one, other)) == 1,
        )
        gate.set()
        bodies = sorted(call.result().body for call in calls)
    assert bodies == [b"0", b"1"]
    assert stored(redis) == []


# Jobs


def test_any_process_tells_of_a_job_and_gives_its_answer(llm, scripted, siding, redis):
    asked_for = threading.Event()
    provider = scripted(Hang(asked_for, Answer(200, b'"late"')))
    settings = merged(JOBS, {"redis": {"url": redis.url}})
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell()))
    own, other = siding(worker, provider.url, settings), siding(worker, provider.url, settings)
    for proxy in (own, other):
        proxy.until_value(1, "siding_redis_up")
    location = begin(own)
    provider.wait_for(1)
    assert standing(ask(other, location))["id"] in location
    stranger = [("Authorization", "Bearer somebody else")]
    assert other.request("GET", location, stranger).status == 404
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, other, location, ("Prefer", "wait=10"))
        other.until_value(1, "siding_exchanges_in_flight")
        asked_for.set()
        answer = waiting.result()
    assert entry(answer)["status"] == 200
    assert answer.body == done(own, location).body
    os.kill(own.pid, signal.SIGKILL)
    assert ask(other, location).body == answer.body
    assert other.request("GET", location, stranger).status == 404
    assert ask(other, location, method="DELETE").status == 204
    assert ask(other, location).status == 404


@pytest.fixture
def job(scripted, siding, redis) -> tuple[Siding, Siding, str]:
    """Two processes, and a job of the first that waits for a provider for ever."""
    provider = scripted(Hang(threading.Event(), Answer()))
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell()))
    own, other = (siding(worker, provider.url, merged(JOBS, {"redis": {"url": redis.url}})) for _ in range(2))
    for proxy in (own, other):
        proxy.until_value(1, "siding_redis_up")
    location = begin(own)
    provider.wait_for(1)
    return own, other, location


def test_a_job_is_ended_from_any_process(job):
    own, other, location = job
    assert ask(other, location, method="DELETE").status == 204
    own.until_value(1, "siding_jobs_ended_total", outcome="cancelled")
    assert ask(own, location).status == 404


def test_the_job_of_a_dead_process_is_lost_and_not_found(job):
    own, other, location = job
    assert ask(other, location).status == 202
    os.kill(own.pid, signal.SIGKILL)
    until("it to be lost", lambda: ask(other, location).status == 404, 20)


def post_or_nothing(proxy: Siding, body: bytes) -> None:
    """A call whose process may die."""
    with contextlib.suppress(OSError, raw_http.Incomplete):
        post(proxy, body)
