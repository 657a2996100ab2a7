"""Relay: the client reads the provider's stream as it comes, no worker is held, and a last pass saves what came."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from harness.addresses import free_address
from harness.calls import KEY, assert_problem, chat
from harness.h2_client import Streams
from harness.providers import DONE, EVENTS, Speak, completion, read_events, stream_of, text_of
from harness.raw_http import Connection, Incomplete
from harness.scripted_worker import ScriptedWorker, body_of
from harness.siding import Siding, merged
from harness.steps import Answer, Close, HandOver, Hang, Step, by_pass
from harness.waiting import until

JSON = [("Content-Type", "application/json")]
ONE_TRY = {"providers": {"openai": {"retry": {"attempts": 1}}}}
IMPATIENT = {"handoff": {"relay_keepalive": "100ms"}}
HEAD = {"status": 200, "headers": [["vary", "origin"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]]}
REFUSAL = json.dumps({"error": {"message": "slow down", "type": "rate_limit_error", "code": None}}).encode()


@pytest.fixture
def start(scripted, siding) -> Callable[..., tuple[Siding, ScriptedWorker, ScriptedWorker]]:
    """Starts an app that relays its call to a scripted provider: `start(provider_step, *later_passes)`."""

    def started(
        provider_step: Any, *later: Step, relay: dict[str, Any] | None = None, **settings: Any
    ) -> tuple[Siding, ScriptedWorker, ScriptedWorker]:
        provider = scripted(provider_step)
        app = scripted(by_pass(handing(provider, relay), *(later or (Answer(204, b""),))))
        return siding(app, provider.url, settings), app, provider

    return started


def handing(provider: ScriptedWorker, relay: dict[str, Any] | None = None, prompt: str = "hello") -> HandOver:
    """Hands a streaming call over, to be relayed."""
    call = chat(provider.url, prompt)
    call["body"] = json.dumps({**json.loads(call["body"]), "stream": True, "stream_options": {"include_usage": True}})
    return HandOver([call], mode="relay", relay={"format": "provider", "head": HEAD, **(relay or {})})


def begin(stack: Any, proxy: Siding) -> Connection:
    """A client that has sent its request."""
    connection: Connection = stack.enter_context(proxy.connect())
    connection.start("POST", "/chat", JSON, b"{}")
    return connection


def read_until(connection: Connection, wanted: bytes) -> bytes:
    """Reads a connection's bytes until these have come."""
    came = b""
    while wanted not in came:
        piece = connection.read(1)
        assert piece, came
        came += piece
    return came


def test_tokens_arrive_as_the_provider_sends_them_and_a_last_pass_has_them_all(start, stack):
    """In the meantime the only worker serves others."""
    first, second, *rest = stream_of("Hel", "lo")
    gates = [threading.Event(), threading.Event()]
    speak = Speak([(None, first), (gates[0], second), (gates[1], b"".join(rest))])
    proxy, app, provider = start(speak, backend={"workers": 1})
    client = begin(stack, proxy)
    head = read_until(client, first)
    assert b"200" in head.split(b"\r\n")[0]
    assert len(app.requests) == 1
    assert proxy.value("siding_workers_busy") == 0
    assert proxy.value("siding_exchanges_suspended") == 1
    gates[0].set()
    read_until(client, second)
    gates[1].set()
    read_until(client, b"0\r\n\r\n")
    last = app.wait_for(2)
    [entry] = last.journal
    assert body_of(entry) == first + second + b"".join(rest)
    assert (entry["kind"], entry["status"], entry["relayed"], "broken" in entry) == ("result", 200, True, False)
    proxy.until_value(1, "siding_relay_passes_total", result="saved")
    proxy.ended("answered", "relay")
    assert proxy.value("siding_relays_total", result="complete") == 1
    assert proxy.value("siding_exchanges_suspended") == 0
    assert len(provider.requests) == 1


def test_the_client_gets_the_head_that_the_middlewares_made(start):
    """And what is Siding's to say: the type of the stream, and that nothing should collect it."""
    forged = {"status": 200, "headers": [*HEAD["headers"], ["siding-id", "x"], ["connection", "close"]]}
    proxy, _, _ = start(Speak([(None, b"".join(stream_of("hi")))]), relay={"head": forged})
    answer = proxy.request("POST", "/chat", JSON, b"{}")
    assert [value for name, value in answer.headers if name.lower() == "set-cookie"] == ["a=1", "b=2"]
    assert answer.header("vary") == "origin"
    assert answer.header("content-type") == dict(EVENTS)["Content-Type"]
    assert answer.header("x-accel-buffering") == "no"
    assert answer.header("cache-control") == "no-cache, no-transform"
    assert answer.header("siding-id") is None
    assert KEY.encode() not in answer.raw


def test_a_refusal_before_anything_was_delivered_is_the_views_to_answer(start):
    """The exchange goes on as if the call had been replayed."""
    proxy, app, provider = start(Answer(429, REFUSAL, JSON), Answer(503, b"try later"), **ONE_TRY)
    answer = proxy.request("POST", "/chat", JSON, b"{}")
    assert (answer.status, answer.body) == (503, b"try later")
    [entry] = app.wait_for(2).journal
    assert (entry["kind"], entry["status"], "relayed" in entry) == ("result", 429, False)
    proxy.ended("answered", "replay")
    assert len(provider.requests) == 1


def test_a_provider_that_breaks_off_is_reported_in_its_own_words(start):
    """The client gets an error event and no terminator; the last pass gets what had come, and why there is no more."""
    first = stream_of("Hel")[0]
    proxy, app, _ = start(Speak([(None, first)], breaks_off=True))
    answer = proxy.request("POST", "/chat", JSON, b"{}")
    assert answer.body.startswith(first)
    error = json.loads(answer.body[len(first) :].strip().removeprefix(b"data: "))
    assert "127.0.0.1" not in error["error"]["message"], "where the provider is does not concern clients"
    assert DONE not in answer.body
    [entry] = app.wait_for(2).journal
    assert (body_of(entry), entry["relayed"], entry["broken"]) == (first, True, "interrupted")
    assert entry["message"]
    proxy.until_value(1, "siding_relays_total", result="broken")
    proxy.ended("interrupted", "relay")


def test_plain_text_that_breaks_off_does_not_look_whole(start):
    """Text has no words for an error of its own."""
    proxy, _, _ = start(
        Speak([(None, b"".join(stream_of("Hel", "lo")[:3]))], breaks_off=True), relay={"format": "text"}
    )
    with pytest.raises(Incomplete) as broken:
        proxy.request("POST", "/chat", JSON, b"{}")
    assert b"Hel" in broken.value.received
    assert b"delta" not in broken.value.received
    proxy.ended("interrupted", "relay")


def test_plain_text_is_only_what_the_model_says(start):
    """Whatever the events look like."""
    proxy, app, _ = start(Speak([(None, b"".join(stream_of("Hel", "lo")))]), relay={"format": "text"})
    answer = proxy.request("POST", "/chat", JSON, b"{}")
    assert (answer.body, answer.header("content-type")) == (b"Hello", "text/plain; charset=utf-8")
    [entry] = app.wait_for(2).journal
    assert text_of(read_events(body_of(entry))) == "Hello"


def test_an_unknown_format_is_refused(start):
    """As any mode that was not offered is."""
    proxy, app, provider = start(Answer(), relay={"format": "morse"})
    assert_problem(proxy.request("POST", "/chat", JSON, b"{}"), 502, "handoff-unsupported")
    assert (len(app.requests), provider.requests) == (1, [])


def test_a_client_that_leaves_takes_its_call_with_it(start, stack):
    """The provider sees that nobody reads; nothing more runs."""
    first, second = stream_of("Hel")[:2]
    never = threading.Event()
    proxy, app, provider = start(Speak([(None, first), (never, second)]))
    client = begin(stack, proxy)
    read_until(client, first)
    client.close()
    proxy.ended("client-gone", "relay")
    proxy.until_value(1, "siding_calls_total", result="cancelled")
    proxy.until_value(0, "siding_exchanges_suspended")
    assert proxy.value("siding_relays_total", result="client_gone") == 1
    assert (len(app.requests), len(provider.requests)) == (1, 1)


def test_a_call_may_outlive_its_client(start, stack):
    """Where the app says so, it goes on, and what came is saved."""
    first, *rest = stream_of("Hel", "lo")
    gate = threading.Event()
    proxy, app, _ = start(Speak([(None, first), (gate, b"".join(rest))]), relay={"on_disconnect": "finish"})
    client = begin(stack, proxy)
    read_until(client, first)
    client.close()
    proxy.ended("client-gone", "relay")
    gate.set()
    [entry] = app.wait_for(2).journal
    assert body_of(entry) == first + b"".join(rest)
    proxy.until_value(1, "siding_relay_passes_total", result="saved")


def test_a_call_may_outlive_a_client_that_heard_nothing_of_it(start, stack):
    """It left while the model was thinking."""
    hang = threading.Event()
    stream = b"".join(stream_of("Hel", "lo"))
    proxy, app, provider = start(Hang(hang, Speak([(None, stream)])), relay={"on_disconnect": "finish"})
    client = begin(stack, proxy)
    provider.wait_for(1)
    client.close()
    proxy.ended("client-gone")
    hang.set()
    [entry] = app.wait_for(2).journal
    assert (body_of(entry), entry["relayed"]) == (stream, True)
    proxy.until_value(1, "siding_relay_passes_total", result="saved")


def test_a_client_that_leaves_at_the_last_event_has_read_all_of_it(start, stack):
    """Its stream is saved, though the provider's connection ends later."""
    stream, end = b"".join(stream_of("Hel", "lo")), threading.Event()
    proxy, app, _ = start(Speak([(None, stream), (end, b"")]))
    client = begin(stack, proxy)
    read_until(client, DONE)
    client.close()
    proxy.ended("client-gone", "relay")
    end.set()
    [entry] = app.wait_for(2).journal
    assert (body_of(entry), "broken" in entry) == (stream, False)
    proxy.until_value(1, "siding_relay_passes_total", result="saved")
    assert proxy.value("siding_relays_total", result="complete") == 1


def test_a_job_whose_stream_broke_off_is_no_answer(start):
    """Half an answer must not look like one, whoever asks for it later."""
    routes = [{"path": "/chat", "background": True}]
    proxy, app, _ = start(Speak([(None, stream_of("Hel")[0])], breaks_off=True), routes=routes)
    accepted = proxy.request("POST", "/chat", [*JSON, ("Prefer", "respond-async")], b"{}")
    assert accepted.status == 202
    place = accepted.header("location")
    until("the job to end", lambda: proxy.request("GET", place).status != 202)
    assert_problem(proxy.request("GET", place), 502, "provider-failed")
    [entry] = app.wait_for(2).journal
    assert entry["broken"] == "interrupted"


def test_a_client_hears_comments_while_the_model_thinks(start, stack):
    """Before the first event and between two. One that comes in parts is delivered whole, so never within."""
    first, *rest = stream_of("Hel")
    half, other = first[:10], first[10:]
    gates = [threading.Event() for _ in range(4)]
    speak = Speak([(gates[0], half), (gates[1], other), (gates[2], b"".join(rest))])
    hang = threading.Event()
    proxy, app, _ = start(Hang(hang, speak), **IMPATIENT)
    client = begin(stack, proxy)
    read_until(client, b": keep-alive\n\n")
    hang.set()
    gates[0].set()
    read_until(client, b": keep-alive\n\n")
    gates[1].set()
    read_until(client, first)
    read_until(client, b": keep-alive\n\n")
    gates[2].set()
    read_until(client, DONE)
    [entry] = app.wait_for(2).journal
    assert body_of(entry) == first + b"".join(rest)


def test_a_refusal_after_the_head_was_sent_is_an_error_event(start, stack):
    """The client was kept waiting for too long to be answered otherwise; the app learns what the provider said."""
    hang = threading.Event()
    proxy, app, _ = start(Hang(hang, Answer(429, REFUSAL, JSON)), **merged(ONE_TRY, IMPATIENT))
    client = begin(stack, proxy)
    read_until(client, b": keep-alive\n\n")
    hang.set()
    assert b"429" in read_until(client, b"0\r\n\r\n")
    [entry] = app.wait_for(2).journal
    assert (entry["status"], entry["relayed"], body_of(entry)) == (429, True, REFUSAL)
    proxy.until_value(1, "siding_relays_total", result="broken")


def test_the_last_pass_waits_for_an_app_that_restarts(scripted, siding, stack, tmp_path):
    """Nobody waits for it, so it can be tried until the app is back."""
    first, *rest = stream_of("hi")
    gate = threading.Event()
    provider = scripted(Speak([(None, first), (gate, b"".join(rest))]))
    path = str(tmp_path / "app.sock")
    with ScriptedWorker(lambda _: handing(provider), path) as app:
        proxy = siding(app, provider.url)
        client = begin(stack, proxy)
        read_until(client, first)
    gate.set()
    read_until(client, b"0\r\n\r\n")
    until("a last pass to fail", lambda: "the app did not answer" in proxy.log)
    with ScriptedWorker(lambda _: Answer(204, b""), path) as again:
        [entry] = again.wait_for(1).journal
        assert entry["relayed"]
        proxy.until_value(1, "siding_relay_passes_total", result="saved")


def test_a_last_pass_may_make_calls_of_its_own(start, scripted, siding):
    """A title for the chat, say. Each is made, and the request is resumed with it."""
    title = Answer(200, completion("A title"), JSON)
    streams = Speak([(None, b"".join(stream_of("hi")))])
    provider = scripted(lambda received: streams if b'"stream"' in received.content else title)
    call = chat(provider.url, "a title, please")
    app = scripted(by_pass(handing(provider), HandOver([call]), Answer(204, b"")))
    proxy = siding(app, provider.url)
    proxy.request("POST", "/chat", JSON, b"{}")
    relayed, titled = app.wait_for(3).journal
    assert relayed["relayed"]
    assert "relayed" not in titled
    assert body_of(titled) == completion("A title")
    proxy.until_value(1, "siding_relay_passes_total", result="saved")


@pytest.mark.parametrize(("answer", "result"), [(Answer(500, b"no"), "failed"), (Close(), "refused")])
def test_a_last_pass_that_fails_is_counted(start, answer, result):
    """The client has its stream already."""
    proxy, _, _ = start(Speak([(None, b"".join(stream_of("hi")))]), answer)
    assert proxy.request("POST", "/chat", JSON, b"{}").status == 200
    proxy.until_value(1, "siding_relay_passes_total", result=result)


def test_identical_prompts_share_one_stream_and_each_is_saved(start, stack):
    """Every client gets the stream from its beginning, and every exchange its own last pass."""
    first, *rest = stream_of("Hel", "lo")
    gate = threading.Event()
    proxy, app, provider = start(Speak([(None, first), (gate, b"".join(rest))]))
    clients = [begin(stack, proxy) for _ in range(5)]
    for client in clients:
        read_until(client, first)
    gate.set()
    for client in clients:
        read_until(client, DONE)
    app.wait_for(10)
    proxy.until_value(5, "siding_relay_passes_total", result="saved")
    assert len(provider.requests) == 1


def test_http_2_clients_get_streams_and_may_leave_too(start):
    """One reads to the end while another resets its stream."""
    first, *rest = stream_of("Hel", "lo")
    gate = threading.Event()
    server = {"h2c": free_address()}
    proxy, app, provider = start(Speak([(None, first), (gate, b"".join(rest))]), server=server)
    with Streams(server["h2c"]) as streams:
        read, left = (streams.start("POST", "/chat", b"{}") for _ in range(2))
        until("both to be relayed", lambda: proxy.value("siding_exchanges_suspended") == 2)
        streams.reset(left)
        proxy.until_value(1, "siding_relays_total", result="client_gone")
        gate.set()
        answer = streams.finish(read)
    assert answer.body == first + b"".join(rest)
    [entry] = app.wait_for(3).journal
    assert body_of(entry) == answer.body
    assert len(provider.requests) == 1


def test_a_shutdown_ends_a_stream_with_an_error_event(start, stack):
    """After the time to finish is over; it never looks whole."""
    first = stream_of("Hel")[0]
    proxy, _, _ = start(Speak([(None, first), (threading.Event(), b"")]), server={"drain": "1s"})
    client = begin(stack, proxy)
    read_until(client, first)
    proxy.signal(signal.SIGTERM)
    assert b'"error"' in read_until(client, b"0\r\n\r\n")
