"""A provider in trouble is asked less, with another key, or not at all, and somebody else answers in its place."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from harness import raw_http
from harness.addresses import free_address, listens
from harness.calls import KEY, assert_problem, chat, entry
from harness.providers import DONE, EVENTS, JSON, Speak, chunk, completion, stream_of
from harness.raw_http import Connection, Response
from harness.scripted_worker import Received, ScriptedWorker
from harness.siding import Siding, merged
from harness.steps import Answer, Close, CloseMidBody, HandOver, Hang, Step, Tell, Work, always, by_pass, in_order
from harness.waiting import until

HEADERS = [("Content-Type", "application/json"), ("Authorization", f"Bearer {KEY}")]
CHAT = "/openai/v1/chat/completions"
ONCE = {"attempts": 1}
FINE = Answer(200, completion("fine"), JSON)
POOL = {"api_keys_env": ["K1", "K2"]}
KEYS = {"K1": "sk-key-number-one", "K2": "sk-key-number-two"}
EMPTY = [("X-RateLimit-Remaining-Requests", "0"), ("X-RateLimit-Reset-Requests", "700ms")]


@pytest.fixture
def start(scripted, siding) -> Callable[..., Siding]:
    """Starts the proxy with an egress, before a provider that is tried once and has more `own` settings."""

    def started(
        provider: str, own: dict[str, Any] | None = None, others: dict[str, Any] | None = None, **sections: Any
    ) -> Siding:
        chosen = {"server": {"egress": free_address()}, "providers": {"openai": {"retry": ONCE, **(own or {})}}}
        chosen = merged(chosen, {"providers": others or {}})
        proxy = siding(scripted(Answer()), provider, merged(chosen, sections), environment=KEYS)
        until("the egress to listen", lambda: listens(egress(proxy)))
        return proxy

    return started


def egress(proxy: Siding) -> str:
    """Where it listens."""
    return proxy.settings["server"]["egress"]


def asked(prompt: str, model: str = "gpt-4o-mini", **more: Any) -> bytes:
    """A request body."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], **more}).encode()


def post(proxy: Siding, body: bytes, target: str = CHAT) -> Response:
    """One call on a connection of its own."""
    return raw_http.request(egress(proxy), "POST", target, HEADERS, body)


def begun(stack, proxy: Siding, prompt: str, model: str = "gpt-4o-mini") -> Connection:
    """A call under way."""
    client = stack.enter_context(Connection(egress(proxy)))
    client.start("POST", CHAT, HEADERS, asked(prompt, model))
    return client


def another(url: str, **more: Any) -> dict[str, Any]:
    """A provider that can be a fallback."""
    return {"dialect": "openai", "base_url": url, "retry": ONCE, **more}


def keys_of(provider: ScriptedWorker) -> list[str]:
    """The names of the keys that requests came with, in order."""
    names = {f"Bearer {secret}": name for name, secret in KEYS.items()}
    return [names[request.header("authorization") or ""] for request in provider.requests]


def by_key(**steps: Step) -> Callable[[Received], Step]:
    """What a provider does is the key's matter."""
    return lambda received: steps[next(n for n, key in KEYS.items() if key in (received.header("authorization") or ""))]


# The circuit breaker.

BREAKER = {"failures": 0.5, "minimum": 4, "cooldown": "1500ms", "probes": 2}


def test_a_breaker_opens_lets_probes_pass_and_closes_again(scripted, start):
    provider = scripted(in_order(*[Answer(500, b"{}")] * 4, FINE))
    proxy = start(provider.url, {"breaker": BREAKER})
    assert [post(proxy, asked(f"{number}")).status for number in range(4)] == [500] * 4
    assert proxy.value("siding_provider_breaker_state", state="open") == 1
    refused = post(proxy, asked("refused"))
    assert_problem(refused, 503, "provider-unavailable")
    assert refused.header("retry-after") == "2"
    assert len(provider.requests) == 4, "an open breaker asks nobody"
    assert proxy.value("siding_calls_total", result="unavailable") == 1
    assert proxy.value("siding_provider_breaker_refused_total") == 1

    until("a probe to pass", lambda: post(proxy, asked("probe")).status == 200)
    assert proxy.value("siding_provider_breaker_state", state="half-open") == 1
    assert post(proxy, asked("second probe")).status == 200
    assert proxy.value("siding_provider_breaker_state", state="closed") == 1
    assert len(provider.requests) == 6
    for state in ("open", "half-open", "closed"):
        assert proxy.value("siding_provider_breaker_transitions_total", state=state) == 1


def test_no_more_probes_pass_than_must_succeed_and_one_that_fails_opens_it_again(scripted, start, stack):
    release = threading.Event()
    probes = [Hang(release, Answer(500, b"{}"))] * 2
    provider = scripted(in_order(*[Answer(500, b"{}")] * 4, *probes, FINE))
    proxy = start(provider.url, {"breaker": BREAKER | {"cooldown": "200ms"}})
    for number in range(4):
        post(proxy, asked(f"{number}"))
    first = until("a probe", lambda: begun_or_refused(stack, proxy, provider, 5))
    second = begun(stack, proxy, "second probe")
    provider.wait_for(6)
    assert proxy.value("siding_provider_breaker_state", state="half-open") == 1
    assert post(proxy, asked("third")).status == 503
    assert len(provider.requests) == 6
    release.set()
    assert [first.response("POST").status, second.response("POST").status] == [500, 500]
    assert proxy.value("siding_provider_breaker_transitions_total", state="open") == 2


def begun_or_refused(stack, proxy: Siding, provider: ScriptedWorker, number: int) -> Connection | None:
    """A call, if it reached the provider as its request of this number."""
    refused = proxy.value("siding_provider_breaker_refused_total")
    client = begun(stack, proxy, "a probe")
    until(
        "the call to arrive or be refused",
        lambda: len(provider.requests) == number or proxy.value("siding_provider_breaker_refused_total") > refused,
    )
    return client if len(provider.requests) == number else None


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_what_a_provider_refuses_on_purpose_opens_no_breaker(status, scripted, start):
    provider = scripted(Answer(status, b"{}", JSON))
    proxy = start(provider.url, {"breaker": BREAKER | {"minimum": 1}})
    assert [post(proxy, asked(f"{number}")).status for number in range(3)] == [status] * 3
    assert len(provider.requests) == 3
    assert proxy.value("siding_provider_breaker_transitions_total") == 0


@pytest.mark.parametrize("step", [Close(), CloseMidBody(), Answer(529, b"{}", JSON)])
def test_what_a_provider_does_not_do_on_purpose_opens_it(step, scripted, start):
    proxy = start(scripted(step).url, {"breaker": BREAKER | {"minimum": 1}})
    with contextlib.suppress(raw_http.Incomplete):  # one breaks off after the head
        post(proxy, asked("broken"))
    proxy.until_value(1, "siding_provider_breaker_state", state="open")


def test_a_breaker_may_be_switched_off(scripted, start):
    provider = scripted(Answer(500, b"{}", JSON))
    proxy = start(provider.url, {"breaker": False})
    assert [post(proxy, asked(f"{number}")).status for number in range(25)] == [500] * 25
    assert len(provider.requests) == 25


def test_the_app_is_told_that_a_provider_was_not_asked(scripted, siding):
    provider = scripted(Answer(500, b"{}", JSON))
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell()))
    settings = {"providers": {"openai": {"retry": ONCE, "breaker": BREAKER | {"minimum": 1}}}}
    proxy = siding(worker, provider.url, settings)
    assert entry(proxy.request("POST", "/chat", body=b"first"))["status"] == 500
    result = entry(proxy.request("POST", "/chat", body=b"second"))
    assert (result["kind"], result["error"]) == ("error", "unavailable")
    assert "breaker" in result["message"]
    assert len(provider.requests) == 1


# Fallbacks.


@pytest.mark.parametrize("trouble", [Answer(503, b"{}", JSON), Answer(429, b"{}", JSON), Close()])
def test_a_fallback_answers_with_its_own_key_and_nothing_of_it_is_stored(trouble, scripted, start):
    primary, other = scripted(trouble), scripted(FINE)
    others = {"azure": another(f"{other.url}/openai", api_key_env="K2")}
    proxy = start(primary.url, {"fallback": ["azure:gpt-small"]}, others, cache={"ttl": "1h"})
    for times in (1, 2):
        answer = post(proxy, asked("hello", temperature=0.50))
        assert (answer.status, answer.body) == (200, completion("fine"))
        assert (len(primary.requests), len(other.requests)) == (times, times), "a stored answer would be the wrong one"
    assert proxy.value("siding_cache_not_stored_total", reason="fallback") == 2
    assert proxy.value("siding_cache_stored_total") == 0
    assert proxy.value("siding_call_fallbacks_total", **{"from": "openai", "to": "azure:gpt-small"}) == 2
    assert proxy.value("siding_calls_total", provider="openai", result="ok") == 2
    sent = other.requests[0]
    assert sent.target == "/openai/v1/chat/completions"
    assert sent.content == asked("hello", "gpt-small", temperature=0.50)
    assert keys_of(other) == ["K2", "K2"]
    assert KEY.encode() not in sent.head


def test_an_open_breaker_sends_calls_to_the_fallback_at_once_and_back_when_it_closes(scripted, start):
    primary, other = scripted(in_order(Answer(500, b"{}", JSON), FINE)), scripted(FINE)
    own = {"fallback": ["azure"], "breaker": BREAKER | {"minimum": 1, "probes": 1}}
    proxy = start(primary.url, own, {"azure": another(other.url)})
    assert [post(proxy, asked(f"{number}")).status for number in range(3)] == [200] * 3
    assert (len(primary.requests), len(other.requests)) == (1, 3)
    assert "authorization" not in {name.lower() for name, _ in other.requests[0].headers}
    until("the primary to be asked again", lambda: post(proxy, asked("again")) and len(primary.requests) == 2)
    assert proxy.value("siding_provider_breaker_state", provider="openai", state="closed") == 1
    answered = len(other.requests)
    assert post(proxy, asked("back")).status == 200
    assert (len(primary.requests), len(other.requests)) == (3, answered)


def test_retries_come_before_fallbacks_and_the_last_of_the_chain_has_the_last_word(scripted, start):
    primary, second, third = (scripted(Answer(status, b"{}", JSON)) for status in (500, 502, 503))
    settings = {"fallback": ["second", "third"], "retry": {"attempts": 2}}
    others = {"second": another(second.url), "third": another(third.url)}
    proxy = start(primary.url, settings, others)
    assert post(proxy, asked("x")).status == 503
    assert [len(provider.requests) for provider in (primary, second, third)] == [2, 1, 1]
    assert proxy.value("siding_call_retries_total", provider="openai") == 1
    assert proxy.value("siding_calls_total") == 1


def test_another_model_of_the_same_provider_is_a_fallback(scripted, start):
    def script(received: Received) -> Step:
        return FINE if json.loads(received.content or b"{}").get("model") == "small" else Answer(529, b"{}", JSON)

    provider = scripted(lambda _: ByModel(script))
    proxy = start(provider.url, {"fallback": [":small"], "api_key_env": "K1"})
    assert post(proxy, asked("x")).status == 200
    assert [json.loads(request.content)["model"] for request in provider.requests] == ["gpt-4o-mini", "small"]
    assert keys_of(provider) == ["K1", "K1"]


class ByModel(Step):
    """Decides once the body is there."""

    def __init__(self, script: Callable[[Received], Step]) -> None:
        self.script = script

    def play(self, received: Received, link: Any) -> bool:
        return self.script(received).play(received, link)


def test_where_all_keys_rest_or_were_refused_a_fallback_answers_without_a_wait(scripted, start):
    steps = by_key(K1=Answer(429, b"{}", [*JSON, ("Retry-After", "20")]), K2=Answer(401, b"{}", JSON))
    primary, other = scripted(steps), scripted(FINE)
    proxy = start(primary.url, {**POOL, "fallback": ["azure"]}, {"azure": another(other.url)})
    assert [post(proxy, asked(f"{number}")).status for number in range(3)] == [200] * 3
    assert keys_of(primary) == ["K1", "K2"], "nobody is asked in vain"
    assert len(other.requests) == 3
    assert proxy.value("siding_provider_wait_seconds_count", cause="rate-limit") == 0


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_request_that_is_at_fault_itself_goes_to_nobody_else(status, scripted, start):
    other = scripted(FINE)
    proxy = start(scripted(Answer(status, b"{}", JSON)).url, {"fallback": ["azure"]}, {"azure": another(other.url)})
    assert post(proxy, asked("x")).status == status
    assert other.requests == []


def test_nothing_switches_once_an_answer_has_begun(scripted, start):
    other = scripted(FINE)
    breaks = Speak([(None, chunk({"content": "half"}))], breaks_off=True)
    proxy = start(scripted(breaks).url, {"fallback": ["azure"]}, {"azure": another(other.url)})
    with pytest.raises(raw_http.Incomplete):
        post(proxy, asked("x", stream=True))
    assert other.requests == []
    assert proxy.value("siding_call_fallbacks_total") == 0


def test_a_stream_may_come_from_a_fallback(scripted, start):
    pieces = stream_of("from ", "elsewhere")
    other = scripted(Speak([(None, piece) for piece in pieces]))
    proxy = start(scripted(Close()).url, {"fallback": ["azure"]}, {"azure": another(other.url)})
    answer = post(proxy, asked("x", stream=True, stream_options={"include_usage": True}))
    assert (answer.status, answer.header("content-type"), answer.body) == (200, EVENTS[0][1], b"".join(pieces))


# Pools of keys.


def test_a_limited_key_rests_and_the_next_answers_at_once(scripted, start):
    provider = scripted(by_key(K1=Answer(429, b"{}", [*JSON, ("Retry-After", "20")]), K2=FINE))
    proxy = start(provider.url, POOL)
    assert post(proxy, asked("first")).status == 200
    assert keys_of(provider) == ["K1", "K2"]
    assert post(proxy, asked("second")).status == 200
    assert keys_of(provider) == ["K1", "K2", "K2"]
    assert proxy.value("siding_call_retries_total") == 0, "no pause and no part of the budget"
    assert proxy.value("siding_provider_key_rests_total", key="K1") == 1
    assert proxy.value("siding_provider_key_rests_total", key="K2") == 0
    assert proxy.value("siding_provider_concurrency_limit") == 20_000, "the provider has room, a key has not"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_left_out_and_the_log_names_its_variable(status, scripted, start):
    provider = scripted(by_key(K1=Answer(status, b"{}", JSON), K2=FINE))
    proxy = start(provider.url, POOL)
    assert [post(proxy, asked(f"{number}")).status for number in range(3)] == [200] * 3
    assert keys_of(provider) == ["K1", "K2", "K2", "K2"]
    assert proxy.value("siding_provider_key_refusals_total", key="K1") == 1
    lines = [line for line in proxy.log.splitlines() if "refused a key" in line]
    assert len(lines) == 1
    assert "K1" in lines[0]
    assert not [secret for secret in KEYS.values() if secret in proxy.log + proxy.page("/metrics").body.decode()]


def test_without_a_good_key_the_providers_own_answer_is_given(scripted, start):
    provider = scripted(Answer(401, b'{"error": "no"}', JSON))
    proxy = start(provider.url, POOL)
    for _ in range(2):
        answer = post(proxy, asked("x"))
        assert (answer.status, answer.body) == (401, b'{"error": "no"}')
    assert keys_of(provider) == ["K1", "K2", "K1"], "one try tells that nothing has changed"


def test_where_all_keys_rest_the_first_that_is_ready_is_waited_for(scripted, start):
    limited = [Answer(429, b"{}", [*JSON, ("Retry-After", after)]) for after in ("9", "0.7")]
    provider = scripted(in_order(*limited, FINE))
    proxy = start(provider.url, {**POOL, "retry": {"attempts": 2}})
    assert post(proxy, asked("x")).status == 200
    assert keys_of(provider) == ["K1", "K2", "K2"]
    assert provider.requests[2].at - provider.requests[1].at >= 0.7
    assert proxy.value("siding_call_retries_total") == 1


# Rate limits and concurrency.


def test_a_call_waits_for_the_reset_that_a_provider_announced(scripted, start):
    provider = scripted(in_order(Answer(200, completion("fine"), [*JSON, *EMPTY]), FINE))
    proxy = start(provider.url)
    assert post(proxy, asked("first")).status == 200
    assert post(proxy, asked("other", "another-model")).status == 200
    assert proxy.value("siding_provider_wait_seconds_count", cause="rate-limit") == 0, "limits are a model's"
    assert post(proxy, asked("second")).status == 200
    first, _, second = provider.requests
    assert second.at - first.at >= 0.7
    assert proxy.value("siding_provider_wait_seconds_count", cause="rate-limit") == 1
    assert proxy.value("siding_call_retries_total") == 0


def test_a_reset_that_is_too_far_away_is_not_waited_for(scripted, start):
    far = [
        ("Anthropic-RateLimit-Requests-Remaining", "0"),
        ("Anthropic-RateLimit-Requests-Reset", "2999-01-01T00:00:00Z"),
    ]
    provider = scripted(Answer(200, completion("fine"), [*JSON, *far]))
    proxy = start(provider.url)
    assert [post(proxy, asked(f"{number}")).status for number in range(2)] == [200, 200]
    assert proxy.value("siding_provider_wait_seconds_count", cause="rate-limit") == 0


def test_calls_beyond_the_limit_wait_their_turn_and_may_leave(scripted, start, stack):
    release = threading.Event()
    provider = scripted(Hang(release, FINE))
    proxy = start(provider.url, {"concurrency": {"max": 1}})
    first = begun(stack, proxy, "first")
    provider.wait_for(1)
    leaving = begun(stack, proxy, "leaving")
    proxy.until_value(1, "siding_provider_waiting", cause="concurrency")
    last = begun(stack, proxy, "last")
    proxy.until_value(2, "siding_provider_waiting", cause="concurrency")
    assert proxy.value("siding_provider_concurrency_in_use") == 1
    leaving.close()
    proxy.until_value(1, "siding_provider_waiting", cause="concurrency")
    release.set()
    assert [first.response("POST").status, last.response("POST").status] == [200, 200]
    assert ["leaving" in request.content.decode() for request in provider.requests] == [False, False]
    proxy.until_value(0, "siding_provider_concurrency_in_use")
    assert proxy.value("siding_provider_wait_seconds_count", cause="concurrency") == 2


def test_a_call_that_gets_no_place_in_time_goes_to_a_fallback(scripted, start, stack):
    release = threading.Event()
    endless = Speak([(None, chunk({"content": "slow"})), (release, DONE)])
    primary, other = scripted(endless), scripted(FINE)
    own = {"concurrency": {"max": 1}, "timeout": {"first_byte": "300ms"}, "fallback": ["azure"]}
    proxy = start(primary.url, own, {"azure": another(other.url)})
    first = stack.enter_context(Connection(egress(proxy)))
    first.start("POST", CHAT, HEADERS, asked("first", stream=True))
    proxy.until_value(1, "siding_provider_concurrency_in_use", provider="openai")
    primary.wait_for(1)
    assert post(proxy, asked("second")).status == 200
    assert (len(primary.requests), len(other.requests)) == (1, 1), "a place is held to the end of an answer"
    release.set()
    assert first.response("POST").status == 200
    proxy.until_value(0, "siding_provider_concurrency_in_use", provider="openai")


def test_an_overload_makes_the_limit_smaller(scripted, start, stack):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(529, b"{}", JSON)))
    proxy = start(provider.url)
    clients = [begun(stack, proxy, f"{number}") for number in range(40)]
    provider.wait_for(40)
    assert proxy.value("siding_provider_concurrency_limit") == 20_000
    release.set()
    assert [client.response("POST").status for client in clients] == [529] * 40
    limit = proxy.value("siding_provider_concurrency_limit")
    assert limit == 30, "three quarters of forty, once for overloads of one moment"
    proxy.until_value(0, "siding_provider_concurrency_in_use")


# Hedging.


def test_a_second_request_answers_where_the_first_takes_long(scripted, start):
    release = threading.Event()
    provider = scripted(in_order(Hang(release, FINE), Answer(200, completion("second"), JSON)))
    proxy = start(provider.url, {"hedge": {"after": "100ms"}})
    answer = post(proxy, asked("x"))
    assert (answer.status, answer.body) == (200, completion("second"))
    assert provider.requests[0].content == provider.requests[1].content
    assert proxy.value("siding_call_hedges_total") == 1
    assert proxy.value("siding_call_hedges_won_total") == 1
    assert proxy.value("siding_call_attempts_total") == 2
    assert proxy.value("siding_call_retries_total") == 0
    assert proxy.value("siding_calls_total") == 1
    proxy.until_value(0, "siding_provider_concurrency_in_use")
    release.set()


def test_second_requests_stop_when_their_budget_is_spent(scripted, start):
    release = threading.Event()
    provider = scripted(
        lambda received: Hang(release, FINE) if received.index % 2 == 0 and received.index < 20 else FINE
    )
    proxy = start(provider.url, {"hedge": {"after": "30ms", "budget": 0.001}})
    assert [post(proxy, asked(f"{number}")).status for number in range(10)] == [200] * 10
    assert proxy.value("siding_call_hedges_won_total") == 10, "what is saved up at the start"
    provider.script = always(Work(0.2, FINE))
    assert post(proxy, asked("slow")).status == 200
    assert proxy.value("siding_call_hedges_total") == 10
    assert len(provider.requests) == 21


def test_a_fast_answer_costs_no_second_request(scripted, start):
    provider = scripted(FINE)
    proxy = start(provider.url, {"hedge": {"after": "10s"}})
    assert post(proxy, asked("x")).status == 200
    assert len(provider.requests) == 1
    assert proxy.value("siding_call_hedges_total") == 0
