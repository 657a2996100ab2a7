"""The egress listener: SDKs outside a request share answers with each other and with the app, whatever form each asks
for, and streams reach everybody as they come. The numbers in comments are those of the traps in which other caches
were caught."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from chat_project import is_answer_to
from harness import raw_http
from harness.addresses import free_address, listens
from harness.calls import KEY, assert_problem, chat, entry
from harness.providers import (
    DONE,
    EVENTS,
    JSON,
    USAGE,
    Gate,
    Speak,
    chunk,
    completion,
    event,
    read_events,
    stream_of,
    text_of,
    usages,
)
from harness.raw_http import Connection, Incomplete, Response
from harness.scripted_worker import body_of
from harness.sharing import counted, flown
from harness.siding import Siding, merged
from harness.steps import Answer, HandOver, Hang, Step, Tell, always
from harness.waiting import until

HEADERS = [("Content-Type", "application/json"), ("Authorization", f"Bearer {KEY}")]
CHAT = "/openai/v1/chat/completions"
HOUR = {"cache": {"ttl": "1h"}}
ONE_TRY = {"providers": {"openai": {"retry": {"attempts": 1}}}}


@pytest.fixture
def start(scripted, siding) -> Callable[..., Siding]:
    """Starts the proxy with an egress; its app answers everything."""

    def started(providers: Any, *settings: dict[str, Any], worker: Step | None = None, **options: Any) -> Siding:
        chosen: dict[str, Any] = {"server": {"egress": free_address()}}
        for more in settings:
            chosen = merged(chosen, more)
        proxy = siding(scripted(worker or Answer()), providers, chosen, **options)
        until("the egress to listen", lambda: listens(egress(proxy)))
        return proxy

    return started


@pytest.fixture
def caller(stack) -> Callable[..., Connection]:
    """Begins a call on a connection of its own."""

    def begun(proxy: Siding, body: bytes, target: str = CHAT, headers: Any = HEADERS) -> Connection:
        connection = stack.enter_context(Connection(egress(proxy)))
        connection.start("POST", target, headers, body)
        return connection

    return begun


def egress(proxy: Siding) -> str:
    """Where it listens."""
    return proxy.settings["server"]["egress"]


def post(proxy: Siding, body: bytes, target: str = CHAT, headers: Any = HEADERS) -> Response:
    """One call on a connection of its own."""
    return raw_http.request(egress(proxy), "POST", target, headers, body)


def asked(prompt: str, **more: Any) -> bytes:
    """A request body."""
    return json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **more}).encode()


def streamed(prompt: str, usage: bool | None = None) -> bytes:
    """The body of a request for a stream."""
    return asked(prompt, stream=True, **({} if usage is None else {"stream_options": {"include_usage": usage}}))


def is_plain(response: Response, prompt: str) -> bool:
    """Whether this is a plain answer to this very prompt."""
    assert (response.status, response.header("content-type")) == (200, "application/json"), response
    document = json.loads(response.body)
    assert document["object"] == "chat.completion"
    assert document["choices"][0]["finish_reason"] == "stop"
    assert document["usage"]["completion_tokens"] > 0
    return is_answer_to(prompt, document["choices"][0]["message"]["content"])


def is_stream(response: Response, prompt: str) -> bool:
    """Whether this is a whole stream that answers this very prompt."""
    assert response.status == 200, response
    assert response.header("content-type").startswith("text/event-stream")
    events = read_events(response.body)
    assert {item["object"] for item in events} == {"chat.completion.chunk"}
    assert [choice["finish_reason"] for item in events for choice in item["choices"]][-1] == "stop"
    return is_answer_to(prompt, text_of(events))


def until_arrived(client: Connection, text: bytes) -> None:
    """Reads until the text is there; it stays to be read."""
    while text not in client.buffer:
        more = client.socket.recv(1 << 16)
        assert more, f"the connection ended before {text!r}: {client.buffer!r}"
        client.buffer += more


# What an SDK gets


@pytest.mark.parametrize("body", [asked("x"), streamed("x", True)], ids=["plain", "stream"])
def test_a_call_goes_to_the_provider_that_its_path_names_and_its_answer_comes_back(body, llm, start):
    proxy = start(llm.url)
    response = post(proxy, body)
    assert (is_stream if b"stream" in body else is_plain)(response, "x")
    assert response.header("cache-status") == "siding; fwd=miss"
    assert response.header("x-request-id")
    [request] = llm.asked("x")
    assert (request["target"], request["body"].encode()) == ("/v1/chat/completions", body)
    headers = dict(request["headers"])
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["host"] == llm.address
    assert not [name for name in headers if name.startswith(("siding", "x-forwarded", "x-request-start"))]
    proxy.ended("answered", "egress")
    counted(proxy, miss=1)


def test_the_access_log_names_the_mode_and_no_secret(llm, start):
    proxy = start(llm.url)
    assert post(proxy, asked("a secret prompt"), f"{CHAT}?key=sk-in-the-query").status == 200
    proxy.ended("answered", "egress")
    [line] = [line for line in proxy.log.splitlines() if "siding::access" in line]
    for part in ('mode="egress"', 'outcome="answered"', "status=200", "calls=1", "passes=0", f'path="{CHAT}"'):
        assert part in line
    for secret in (KEY, "sk-in-the-query", "a secret prompt"):
        assert secret not in proxy.log


def test_the_access_log_tells_how_long_the_provider_took(llm, start):
    proxy = start(llm.url)
    assert post(proxy, asked("x [latency=400ms]")).status == 200
    proxy.ended("answered", "egress")
    [line] = [line for line in proxy.log.splitlines() if "siding::access" in line]
    assert float(line.split("provider_ms=")[1].split()[0]) >= 400, line


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
def test_each_provider_has_its_own_path(name, llm, start):
    proxy = start(llm.providers())
    prompt = f"for {name}"
    messages = [{"role": "user", "content": prompt}]
    target, body, read = {
        "openai": ("/v1/chat/completions", {"messages": messages}, lambda a: a["choices"][0]["message"]["content"]),
        "anthropic": ("/v1/messages", {"messages": messages, "max_tokens": 99}, lambda a: a["content"][0]["text"]),
        "gemini": (
            "/v1beta/models/gemini-2.5-flash:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": prompt}]}]},
            lambda a: a["candidates"][0]["content"]["parts"][0]["text"],
        ),
    }[name]
    response = post(proxy, json.dumps({"model": "m", **body}).encode(), f"/{name}{target}")
    assert is_answer_to(prompt, read(json.loads(response.body)))
    assert llm.asked(prompt)[0]["target"] == target
    assert proxy.value("siding_calls_total", provider=name, result="ok") == 1


def test_a_configured_key_replaces_the_clients(llm, start):
    proxy = start(llm.url, HOUR, {"providers": {"openai": {"api_key_env": "K"}}}, environment={"K": "sk-configured"})
    for headers in (HEADERS, [("Content-Type", "application/json")]):
        assert is_plain(post(proxy, asked("x"), headers=headers), "x")
    [request] = llm.asked("x")
    assert [value for name, value in request["headers"] if name == "authorization"] == ["Bearer sk-configured"]
    assert KEY not in str(request)
    counted(proxy, miss=1, hit=1)


def test_clients_keys_separate_them_where_the_provider_has_none(llm, start):
    # 1, 34
    proxy = start(llm.url, HOUR)
    for key in ("one", "two", "one"):
        headers = [("Content-Type", "application/json"), ("Authorization", f"Bearer {key}")]
        assert is_plain(post(proxy, asked("x"), headers=headers), "x")
    assert llm.stats("x")["total"] == 2
    counted(proxy, miss=2, hit=1)


def test_an_egress_call_and_one_of_the_app_are_one(llm, scripted, start, caller):
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    handed = HandOver([chat(gate.url, "x")])

    class Worker(Step):
        def play(self, received, link):
            return (Tell() if received.number else handed).play(received, link)

    proxy = start(gate.url, worker=Worker())
    outside = caller(proxy, asked("x"))
    gate.wait_for(1)
    with proxy.connect() as client:
        client.start("POST", "/chat", body=b"x")
        proxy.until_value(1, "siding_coalesced_waiting")
        opened.set()
        result = entry(client.response("POST"))
    assert is_answer_to("x", json.loads(body_of(result))["choices"][0]["message"]["content"])
    assert is_plain(outside.response("POST"), "x")
    assert llm.stats("x")["total"] == 1


# One flight, both forms


@pytest.mark.parametrize("first", ["plain", "stream"])
def test_plain_and_streaming_callers_share_one_call(first, llm, scripted, start, caller):
    # 9, 33
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, HOUR)
    plain, stream = asked("x"), streamed("x")
    leading = caller(proxy, plain if first == "plain" else stream)
    gate.wait_for(1)
    following = [(caller(proxy, body), body) for body in (plain, stream, stream, plain)]
    proxy.until_value(4, "siding_coalesced_waiting")
    opened.set()
    for client, body in [(leading, plain if first == "plain" else stream), *following]:
        response = client.response("POST")
        assert (is_plain if body is plain else is_stream)(response, "x")
        assert "collapsed" in response.header("cache-status") or client is leading
    assert llm.stats("x")["total"] == 1
    counted(proxy, miss=1, collapsed=4)
    flown(proxy, complete=1)
    assert is_plain(post(proxy, plain), "x")
    assert is_stream(post(proxy, stream), "x")
    assert llm.stats("x")["total"] == 1
    counted(proxy, miss=1, collapsed=4, hit=2)


@pytest.mark.parametrize("leads", ["plain", None, False, True])
def test_who_asked_for_usage_gets_it_and_who_did_not_does_not(leads, llm, scripted, start, caller):
    # 9, 14
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, HOUR)
    leading = caller(proxy, asked("x") if leads == "plain" else streamed("x", leads))
    gate.wait_for(1)
    wishes = [None, True, False, True, None]
    following = [caller(proxy, streamed("x", usage)) for usage in wishes]
    proxy.until_value(len(wishes), "siding_coalesced_waiting")
    opened.set()
    responses = [client.response("POST") for client in following]
    if leads == "plain":
        assert is_plain(leading.response("POST"), "x")
    else:
        responses, wishes = [leading.response("POST"), *responses], [leads, *wishes]
        assert json.loads(llm.asked("x")[0]["body"])["stream_options"] == {"include_usage": True}
    wishes += [True, False]
    responses += [post(proxy, streamed("x", usage)) for usage in (True, False)]
    for usage, response in zip(wishes, responses, strict=True):
        assert is_stream(response, "x")
        assert len(usages(read_events(response.body))) == (1 if usage else 0), usage
        assert [item for item in read_events(response.body) if not item["choices"]] == (
            read_events(response.body)[-1:] if usage else []
        )
    assert llm.stats("x")["total"] == 1


def answer_in_parts(**more: Any) -> bytes:
    """A message whose content is a list, as some servers that speak OpenAI's API answer."""
    document = json.loads(completion(None))
    document["choices"][0]["message"]["content"] = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "x"}]
    return json.dumps({**document, **more}).encode()


def test_a_stored_answer_that_has_no_other_form_is_not_given_to_those_who_need_one(scripted, start):
    # 9
    stream = b"".join(stream_of("a"))

    class Provider(Step):
        def play(self, received, link):
            wants = json.loads(received.content).get("stream")
            answer = Answer(200, stream, EVENTS) if wants else Answer(200, answer_in_parts(), JSON)
            return answer.play(received, link)

    provider = scripted(Provider())
    proxy = start(provider.url, HOUR)
    assert post(proxy, asked("x")).body == answer_in_parts()
    response = post(proxy, streamed("x", True))
    assert (response.status, response.body) == (200, stream), response
    assert post(proxy, asked("x")).body == answer_in_parts()


def test_a_follower_who_needs_a_form_that_the_answer_has_not_calls_by_itself(scripted, start, caller):
    # 9
    release = threading.Event()

    class Provider(Step):
        def play(self, received, link):
            if json.loads(received.content).get("stream"):
                return Answer(200, b"".join(stream_of("a")), EVENTS).play(received, link)
            return Hang(release, Answer(200, answer_in_parts(), JSON)).play(received, link)

    provider = scripted(Provider())
    proxy = start(provider.url)
    leading = caller(proxy, asked("x"))
    provider.wait_for(1)
    following = caller(proxy, streamed("x"))
    proxy.until_value(1, "siding_coalesced_waiting")
    release.set()
    assert leading.response("POST").body == answer_in_parts()
    response = following.response("POST")
    assert response.status == 200, response
    assert text_of(read_events(response.body)) == "a"


def test_a_lone_caller_of_a_stream_gets_what_the_provider_answered_instead(scripted, start):
    provider = scripted(Answer(200, b"<html>maintenance</html>", [("Content-Type", "text/html")]))
    proxy = start(provider.url)
    response = post(proxy, streamed("x"))
    assert (response.status, response.body) == (200, b"<html>maintenance</html>"), response


# Streams as they come


def gates(count: int) -> list[threading.Event]:
    """Events for the pieces of a stream."""
    return [threading.Event() for _ in range(count)]


def test_tokens_reach_all_callers_as_they_come(scripted, start, caller):
    # 18, 30
    events = gates(3)
    first, one, two, *end = stream_of("one", "two")
    pieces = [(None, first), (events[0], one), (events[1], two), (events[2], b"".join(end))]
    provider = scripted(Speak(pieces))
    proxy = start(provider.url)
    clients = [caller(proxy, streamed("x", number % 2 == 0)) for number in range(4)]
    plain = caller(proxy, asked("x"))
    proxy.until_value(4, "siding_coalesced_requests_total")
    for number, text in enumerate((b"one", b"two")):
        events[number].set()
        for client in clients:
            until_arrived(client, text)
            assert DONE not in client.buffer
    events[2].set()
    for number, client in enumerate(clients):
        found = read_events(client.response("POST").body)
        assert text_of(found) == "onetwo"
        assert usages(found) == ([USAGE] if number % 2 == 0 else [])
    assert json.loads(plain.response("POST").body)["choices"][0]["message"]["content"] == "onetwo"
    assert len(provider.requests) == 1
    flown(proxy, complete=1)


def test_whoever_comes_late_gets_everything_from_the_first_byte(scripted, start, caller):
    # 18
    events = gates(2)
    first, one, two, *end = stream_of("one", "two")
    provider = scripted(Speak([(None, first), (None, one), (events[0], two), (events[1], b"".join(end))]))
    proxy = start(provider.url)
    leading = caller(proxy, streamed("x", True))
    until_arrived(leading, b"one")
    late = caller(proxy, streamed("x", True))
    until_arrived(late, b"one")
    events[0].set()
    until_arrived(late, b"two")
    latest = caller(proxy, asked("x"))
    proxy.until_value(2, "siding_coalesced_requests_total")
    events[1].set()
    whole = b"".join(stream_of("one", "two"))
    assert (leading.response("POST").body, late.response("POST").body) == (whole, whole)
    assert json.loads(latest.response("POST").body)["choices"][0]["message"]["content"] == "onetwo"
    assert len(provider.requests) == 1


def test_a_caller_that_does_not_read_slows_nobody_down(scripted, start, caller):
    # 18, 20
    large = [chunk({"content": "x" * 60_000}) for _ in range(60)]
    body = b"".join([chunk({"role": "assistant", "content": ""}), *large, *stream_of("end")[1:]])
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, body, EVENTS)))
    proxy = start(provider.url)
    slow = caller(proxy, streamed("x", True))
    provider.wait_for(1)
    quick = caller(proxy, streamed("x", True))
    proxy.until_value(1, "siding_coalesced_waiting")
    release.set()
    assert quick.response("POST").body == body
    assert slow.response("POST").body == body
    assert len(provider.requests) == 1
    flown(proxy, complete=1)


def test_a_stream_that_breaks_off_never_looks_complete_and_is_not_stored(scripted, start, caller):
    # 8, 24
    events = gates(1)
    first, one, *_ = stream_of("one", "two")
    provider = scripted(Speak([(None, first), (events[0], one)], breaks_off=True))
    proxy = start(provider.url, HOUR)
    clients = [caller(proxy, streamed("x", True)) for _ in range(3)]
    plain = caller(proxy, asked("x"))
    proxy.until_value(3, "siding_coalesced_requests_total")
    events[0].set()
    for client in clients:
        with pytest.raises((Incomplete, ConnectionError)) as broken:
            client.response("POST")
        received = broken.value.received if isinstance(broken.value, Incomplete) else b""
        assert b"[DONE]" not in received
        assert b"\r\n0\r\n\r\n" not in received
    assert_problem(plain.response("POST"), 502, "provider-failed")
    proxy.ended("interrupted", "egress", times=3)
    proxy.ended("provider-failed", "egress")
    assert len(provider.requests) == 1
    assert proxy.value("siding_cache_stored_total") == 0
    flown(proxy, failed=1)
    provider.script = always(Answer(200, completion("x"), JSON))
    assert post(proxy, asked("x")).status == 200


def test_a_stream_with_an_error_is_passed_on_and_not_stored(scripted, start):
    # 8
    body = chunk({"content": "half"}) + event({"error": {"message": "overloaded"}})
    provider = scripted(Answer(200, body, EVENTS))
    proxy = start(provider.url, HOUR)
    assert [post(proxy, streamed("x", True)).body for _ in range(2)] == [body, body]
    assert len(provider.requests) == 2
    assert proxy.value("siding_cache_not_stored_total", reason="error") == 2


def test_a_caller_that_leaves_in_the_middle_of_its_stream_takes_it_from_nobody(scripted, start, caller):
    # 19
    events = gates(2)
    first, one, two, *end = stream_of("one", "two")
    provider = scripted(Speak([(None, first), (events[0], one), (events[1], two + b"".join(end))]))
    proxy = start(provider.url)
    leading, other = (caller(proxy, streamed("x", True)) for _ in range(2))
    proxy.until_value(1, "siding_coalesced_requests_total")
    events[0].set()
    until_arrived(leading, b"one")
    until_arrived(other, b"one")
    leading.close()
    proxy.ended("client-gone", "egress")
    events[1].set()
    assert text_of(read_events(other.response("POST").body)) == "onetwo"
    flown(proxy, complete=1)


def test_a_stream_that_nobody_reads_any_more_is_cancelled(llm, start, caller):
    proxy = start(llm.url, HOUR)
    prompt = "[hang]"
    clients = [caller(proxy, streamed(prompt)), caller(proxy, asked(prompt))]
    proxy.until_value(1, "siding_coalesced_waiting")
    llm.until_stats({"total": 1, "in_flight": 1}, prompt)
    for client in clients:
        client.close()
    llm.until_stats({"total": 1, "in_flight": 0, "cancelled": 1}, prompt)
    proxy.ended("client-gone", "egress", times=2)
    flown(proxy, unwanted=1)


def test_a_result_over_the_limit_breaks_off_for_all(scripted, start, caller):
    opened = threading.Event()
    provider = scripted(Hang(opened, Answer(200, completion("x" * 9000), JSON)))
    proxy = start(provider.url, HOUR, ONE_TRY, {"handoff": {"max_result": "8KiB"}})
    clients = [caller(proxy, asked("x")) for _ in range(2)]
    proxy.until_value(1, "siding_coalesced_waiting")
    opened.set()
    for client in clients:
        with pytest.raises((Incomplete, ConnectionError)):
            client.response("POST")
    proxy.ended("interrupted", "egress", times=2)
    assert proxy.value("siding_cache_stored_total") == 0
    assert len(provider.requests) == 1


# Failures


@pytest.mark.parametrize("target", ["/unknown/v1/chat/completions", "/openai", "/", "/v1/chat/completions"])
def test_a_path_that_names_no_provider_is_not_found(target, llm, start):
    proxy = start(llm.url)
    assert_problem(post(proxy, asked("x"), target), 404, "provider-unknown")
    assert llm.stats()["total"] == 0
    proxy.ended("provider-unknown", "egress")


def test_a_path_leads_nowhere_else(llm, scripted, start):
    proxy = start({"openai": f"{llm.url}/base"})
    for target in ("/openai/../v1/chat/completions", "/openai/%2e%2e/v1/chat/completions", "/openai//other.example/x"):
        assert post(proxy, asked("x"), target).status in (400, 404), target
    assert llm.stats()["total"] == 0


@pytest.mark.parametrize("body", [asked("x"), streamed("x")], ids=["plain", "stream"])
def test_a_provider_that_is_down_is_a_bad_gateway(body, start):
    proxy = start(f"http://{free_address()}", ONE_TRY)
    assert_problem(post(proxy, body), 502, "provider-failed")
    proxy.ended("provider-failed", "egress")
    flown(proxy, failed=1)


def test_a_provider_that_takes_too_long_is_a_gateway_timeout(llm, start):
    slow = {"providers": {"openai": {"retry": {"attempts": 1}, "timeout": {"first_byte": "200ms"}}}}
    proxy = start(llm.url, slow)
    assert_problem(post(proxy, asked("[hang]")), 504, "provider-timeout")
    llm.until_stats({"total": 1, "cancelled": 1}, "[hang]")


@pytest.mark.parametrize("body", [asked("[status=429][retry-after=3600]"), streamed("[status=429][retry-after=3600]")])
def test_a_providers_error_is_what_the_sdk_gets(body, llm, start):
    # 6
    proxy = start(llm.url, HOUR, ONE_TRY)
    for _ in range(2):
        response = post(proxy, body)
        assert (response.status, response.header("retry-after")) == (429, "3600")
        assert json.loads(response.body)["error"]["code"] == "rate_limit_exceeded"
        assert response.header("x-should-retry") == "false"
    assert llm.stats()["total"] == 2
    counted(proxy, miss=2)
    assert proxy.value("siding_cache_not_stored_total", reason="status") == 2


def test_only_if_cached_calls_nobody(llm, start):
    proxy = start(llm.url, HOUR)
    headers = [*HEADERS, ("Cache-Control", "only-if-cached")]
    assert_problem(post(proxy, asked("x"), headers=headers), 504, "not-cached")
    assert llm.stats()["total"] == 0
    assert is_plain(post(proxy, asked("x")), "x")
    assert is_stream(post(proxy, streamed("x"), headers=headers), "x")
    assert llm.stats()["total"] == 1
    proxy.ended("not-cached", "egress")


@pytest.mark.parametrize("directive", ["no-store", "no-cache"])
def test_a_caller_that_wants_a_new_answer_gets_one(directive, llm, start):
    proxy = start(llm.url, HOUR)
    bodies = [post(proxy, asked("x"), headers=[*HEADERS, *more]).body for more in ([], [("Cache-Control", directive)])]
    assert bodies[0] != bodies[1]
    assert llm.stats("x")["total"] == 2
    assert post(proxy, asked("x")).body == bodies[0 if directive == "no-store" else 1]


# HTTP


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_other_methods_and_paths_pass_through_unshared(method, scripted, start, stack):
    # 23
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b'{"data": []}', [*JSON, ("X-Own", "1")])))
    proxy = start(provider.url, HOUR)
    clients = [stack.enter_context(Connection(egress(proxy))) for _ in range(2)]
    for client in clients:
        client.start(method, "/openai/v1/models?limit=2", HEADERS, b"{}" if method == "PUT" else None)
    provider.wait_for(2)
    release.set()
    for client in clients:
        response = client.response(method)
        assert (response.status, response.body, response.header("x-own")) == (200, b'{"data": []}', "1")
        assert response.header("cache-status") == "siding; fwd=bypass"
    assert [(request.method, request.target) for request in provider.requests] == [(method, "/v1/models?limit=2")] * 2
    counted(proxy, bypass=2)
    assert proxy.value("siding_cache_stored_total") == 0


def test_a_path_of_an_unknown_api_passes_through_unshared(scripted, start):
    provider = scripted(Answer(201, b"made", [("Content-Type", "text/plain")]))
    proxy = start(provider.url, HOUR)
    for _ in range(2):
        response = post(proxy, b"\x00not JSON", "/openai/v1/audio/speech")
        assert (response.status, response.body) == (201, b"made")
    assert [request.content for request in provider.requests] == [b"\x00not JSON"] * 2
    counted(proxy, bypass=2)


def test_head_has_no_body(scripted, start):
    proxy = start(scripted(Answer(200, b"body")).url)
    with Connection(egress(proxy)) as client:
        response = client.request("HEAD", "/openai/v1/models", HEADERS)
        assert (response.status, response.body) == (200, b"")
        assert client.request("GET", "/openai/v1/models", HEADERS).body == b"body"


def test_a_connection_serves_many_calls(llm, start):
    proxy = start(llm.url)
    with Connection(egress(proxy)) as client:
        for number in range(6):
            body = asked(f"call {number}") if number % 2 else streamed(f"call {number}")
            response = client.request("POST", CHAT, HEADERS, body)
            assert (is_plain if number % 2 else is_stream)(response, f"call {number}")
        assert client.request("POST", "/unknown/", HEADERS, b"{}").status == 404
        assert is_plain(client.request("POST", CHAT, HEADERS, asked("after an error")), "after an error")
    proxy.ended("answered", "egress", times=7)


def test_calls_may_be_sent_ahead_of_their_answers(llm, start):
    proxy = start(llm.url)
    with Connection(egress(proxy)) as client:
        for number in range(3):
            client.start("POST", CHAT, HEADERS, asked(f"call {number}"))
        for number in range(3):
            assert is_plain(client.response("POST"), f"call {number}")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_wait_for_100_continue(chunked, llm, start):
    proxy, body = start(llm.url), asked("x")
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
    with Connection(egress(proxy)) as client:
        client.start("POST", CHAT, [*HEADERS, framing, ("Expect", "100-continue")])
        until_arrived(client, b"100 Continue\r\n\r\n")
        client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
        response = client.response("POST")
        assert response.interim == [100]
        assert is_plain(response, "x")
        assert is_plain(client.request("POST", CHAT, HEADERS, asked("y")), "y")
    assert "expect" not in dict(llm.asked("x")[0]["headers"])


def test_a_body_may_come_in_chunks(llm, start):
    proxy, body = start(llm.url, HOUR), asked("x")
    with Connection(egress(proxy)) as client:
        client.start("POST", CHAT, [*HEADERS, ("Transfer-Encoding", "chunked")])
        for at in range(0, len(body), 7):
            client.send(b"%x\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7]))
        client.send(b"0\r\n\r\n")
        assert is_plain(client.response("POST"), "x")
    assert is_plain(post(proxy, body), "x")
    headers = dict(llm.asked("x")[0]["headers"])
    assert headers["content-length"] == str(len(body))
    counted(proxy, miss=1, hit=1)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(chunked, llm, start):
    proxy = start(llm.url, {"server": {"max_body": "4KiB"}})
    body = asked("x" * 5000)
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
    with Connection(egress(proxy)) as client:
        client.start(
            "POST", CHAT, [*HEADERS, framing], b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        )
        assert_problem(client.response("POST"), 413, "body-too-large")
    assert llm.stats()["total"] == 0
    proxy.until_value(0, "siding_buffered_bytes")


def test_a_shutdown_finishes_a_stream(scripted, start, caller):
    events = gates(2)
    first, one, two, *end = stream_of("one", "two")
    provider = scripted(Speak([(None, first), (events[0], one), (events[1], two + b"".join(end))]))
    proxy = start(provider.url)
    idle = Connection(egress(proxy))
    clients = [caller(proxy, streamed("x", True)) for _ in range(2)]
    proxy.until_value(1, "siding_coalesced_requests_total")
    events[0].set()
    for client in clients:
        until_arrived(client, b"one")
    proxy.signal(signal.SIGTERM)
    until("the egress to close", lambda: not listens(egress(proxy)))
    assert proxy.is_running()
    events[1].set()
    for client in clients:
        assert text_of(read_events(client.response("POST").body)) == "onetwo"
        assert client.at_end()
    assert proxy.wait() == 0
    idle.close()


def test_a_shutdown_finishes_a_call_that_has_no_answer_yet(scripted, start, caller):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, completion("late"), JSON)))
    proxy = start(provider.url)
    client = caller(proxy, asked("x"))
    provider.wait_for(1)
    proxy.signal(signal.SIGTERM)
    until("the egress to close", lambda: not listens(egress(proxy)))
    assert proxy.is_running()
    release.set()
    response = client.response("POST")
    assert (response.status, response.body) == (200, completion("late"))
    assert response.header("connection") == "close"
    assert proxy.wait() == 0


def test_a_shutdown_cuts_a_stream_that_does_not_end_in_time(scripted, start, caller):
    never = threading.Event()
    first, one, *_ = stream_of("one")
    provider = scripted(Speak([(None, first + one), (never, b"")]))
    proxy = start(provider.url, {"server": {"drain": "400ms"}})
    client = caller(proxy, streamed("x", True))
    until_arrived(client, b"one")
    proxy.signal(signal.SIGTERM)
    with pytest.raises((Incomplete, ConnectionError)):
        client.response("POST")
    assert proxy.wait() == 0


def test_there_is_no_egress_unless_it_is_configured(llm, scripted, siding):
    proxy = siding(scripted(Tell()), llm.url)
    response = proxy.request("POST", CHAT, HEADERS, asked("x"))
    assert response.status == 200
    assert json.loads(response.body)["journal"] == [], "it is the app's"
    assert llm.stats()["total"] == 0


def test_the_app_is_not_reached_through_the_egress(llm, start):
    proxy = start(llm.url)
    assert raw_http.request(egress(proxy), "GET", "/admin/", HEADERS).status == 404
    with Connection(egress(proxy)) as client:
        client.send(b"POST /openai/v1/chat/completions HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert client.response("POST").status == 400
    assert llm.stats()["total"] == 0
