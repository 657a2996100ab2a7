"""What calls cost, and what sharing saved, is counted by provider, model and route."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from harness import raw_http
from harness.addresses import free_address, listens
from harness.calls import KEY, chat, entry
from harness.providers import DONE, EVENTS, JSON, Speak, completion, stream_of
from harness.scripted_worker import ScriptedWorker
from harness.siding import Siding, merged
from harness.steps import Answer, HandOver, Step, Tell, in_order
from harness.waiting import until

HEADERS = [("Content-Type", "application/json"), ("Authorization", f"Bearer {KEY}")]
MODEL = "gpt-4o-mini"
# Three tokens in and two out are what the scripted answers cost: 11 dollars in a million calls.
PRICED = {"prices": {MODEL: {"input": 1.0, "output": 4.0}}}
ELEVEN = pytest.approx(11e-6)
ROUTE = {"routes": [{"path": "/chats/**"}]}


class HandOverTheBody(Step):
    """The client's body is the list of calls that the worker hands over."""

    def play(self, received, link):
        return (Tell() if received.number else HandOver(json.loads(received.body))).play(received, link)


@pytest.fixture
def start(scripted, siding) -> Callable[..., Siding]:
    """Starts the proxy with an egress, before a worker that hands over what it is sent."""

    def started(providers: Any, *settings: dict[str, Any]) -> Siding:
        chosen: dict[str, Any] = {"server": {"egress": free_address()}}
        for more in (ROUTE, *settings):
            chosen = merged(chosen, more)
        proxy = siding(scripted(HandOverTheBody()), providers, chosen)
        until("the egress to listen", lambda: listens(proxy.settings["server"]["egress"]))
        return proxy

    return started


@pytest.fixture
def provider(scripted) -> ScriptedWorker:
    """A provider that answers whole."""
    return scripted(Answer(200, completion("Hello"), JSON))


def post(proxy: Siding, document: dict[str, Any], target: str = "/openai/v1/chat/completions") -> raw_http.Response:
    """A call from outside a request."""
    address = proxy.settings["server"]["egress"]
    return raw_http.request(address, "POST", target, HEADERS, json.dumps(document).encode())


def prompt(text: str, **more: Any) -> dict[str, Any]:
    """A request for a chat completion."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def spent(proxy: Siding, **labels: str) -> tuple[float, ...]:
    """Tokens in, out and cached."""
    kinds = ("input", "output", "cached_input")
    return tuple(proxy.value("siding_tokens_total", kind=kind, **labels) for kind in kinds)


def saved(proxy: Siding, how: str) -> tuple[float, ...]:
    """Tokens in and out."""
    return tuple(proxy.value("siding_saved_tokens_total", how=how, kind=kind) for kind in ("input", "output"))


def exports(proxy: Siding, series: str) -> bool:
    """Whether a family has a series."""
    return f"{series}{{" in proxy.page("/metrics").body.decode()


def test_a_call_is_counted_with_the_route_it_came_from(start, provider):
    proxy = start(provider.url, PRICED)
    for target in ("/chats/7", "/elsewhere"):
        response = proxy.request("POST", target, [], json.dumps([chat(provider.url, target)]).encode())
        assert entry(response)["status"] == 200
    assert post(proxy, prompt("from a notebook")).status == 200
    for route in ("/chats/**", "none", "egress"):
        labels = {"provider": "openai", "model": MODEL, "route": route}
        assert spent(proxy, **labels) == (3, 2, 0)
        assert proxy.value("siding_cost_dollars_total", **labels) == ELEVEN
    assert saved(proxy, "hit") == (0, 0)


def test_a_hit_saves_what_the_call_cost(start, provider):
    proxy = start(provider.url, PRICED, {"cache": {"ttl": "1h"}})
    for form in ({}, {}, {"stream": True}):
        assert post(proxy, prompt("same", **form)).status == 200
    assert spent(proxy, route="egress") == (3, 2, 0)
    assert saved(proxy, "hit") == (6, 4)
    assert proxy.value("siding_saved_dollars_total", how="hit") == pytest.approx(22e-6)
    assert saved(proxy, "collapsed") == (0, 0)


def test_calls_that_join_another_save_what_it_cost(start, scripted, stack):
    may_end = threading.Event()
    first, *rest = stream_of("Hel", "lo")
    provider = scripted(Speak([(None, first), (may_end, b"".join(rest))]))
    proxy = start(provider.url, PRICED)
    address = proxy.settings["server"]["egress"]
    callers = [stack.enter_context(raw_http.Connection(address)) for _ in range(3)]
    for number, caller in enumerate(callers):
        form = {"stream": True} if number < 2 else {}
        caller.start("POST", "/openai/v1/chat/completions", HEADERS, json.dumps(prompt("same", **form)).encode())
        if number == 0:
            until("the leader to begin", lambda: proxy.value("siding_flights_in_flight") == 1)
    proxy.until_value(2, "siding_coalesced_requests_total")
    assert not exports(proxy, "siding_tokens_total")
    may_end.set()
    assert [caller.response("POST").status for caller in callers] == [200] * 3
    assert spent(proxy, route="egress") == (3, 2, 0)
    assert saved(proxy, "collapsed") == (6, 4)
    assert saved(proxy, "hit") == (0, 0)
    assert proxy.value("siding_call_first_token_seconds_count", provider="openai") == 1


def test_an_answer_that_is_not_shared_is_counted_too(start, provider):
    proxy = start(provider.url, {"cache": {"scope": "none"}})
    for _ in range(2):
        assert post(proxy, prompt("same")).status == 200
    assert spent(proxy, model=MODEL) == (6, 4, 0)
    assert not exports(proxy, "siding_cost_dollars_total")


def test_what_no_provider_counted_is_not_counted(start, scripted):
    stream = b"".join(piece for piece in stream_of("Hello") if b'"choices": []' not in piece)
    provider = scripted(
        in_order(Answer(200, stream, EVENTS), Answer(400, completion("no"), JSON), Answer(200, b"{}", JSON))
    )
    proxy = start(provider.url, PRICED)
    assert post(proxy, prompt("a stream", stream=True)).body.endswith(DONE)
    assert post(proxy, prompt("an error")).status == 400
    assert post(proxy, prompt("nothing")).status == 200
    assert not exports(proxy, "siding_tokens_total")


def test_anthropics_cache_is_counted_as_input_with_its_own_price(start, scripted):
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 80,
        "cache_creation_input_tokens": 10,
        "output_tokens": 5,
    }
    message = {"type": "message", "content": [], "stop_reason": "end_turn", "usage": usage}
    provider = scripted(Answer(200, json.dumps(message).encode(), JSON))
    prices = {"prices": {"claude": {"input": 10.0, "output": 100.0, "cached_input": 1.0}}}
    proxy = start({"anthropic": provider.url}, prices)
    assert post(proxy, {"model": "claude", "messages": []}, "/anthropic/v1/messages").status == 200
    labels = {"provider": "anthropic", "model": "claude", "route": "egress"}
    assert spent(proxy, **labels) == (100, 5, 80)
    assert proxy.value("siding_cost_dollars_total", **labels) == pytest.approx(780e-6)
