"""Calls that the app hands over share answers, under way and stored, and only those that mean the same do. The numbers
in comments are those of the traps in which other caches were caught."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from chat_project import is_answer_to
from harness import raw_http
from harness.calls import KEY, chat, entry, told
from harness.providers import DONE, EVENTS, JSON, Gate, chunk, completion, event, stream_of
from harness.scripted_worker import body_of, digest_of
from harness.sharing import counted, flown
from harness.siding import Siding, merged
from harness.steps import Answer, CloseMidBody, HandOver, Step, Tell, in_order
from harness.waiting import until

HOUR = {"cache": {"ttl": "1h"}}
ONE_TRY = {"providers": {"openai": {"retry": {"attempts": 1}}}}


class HandOverTheBody(Step):
    """The client's body is the list of calls that the worker hands over."""

    def play(self, received, link):
        return (Tell() if received.number else HandOver(json.loads(received.body))).play(received, link)


@pytest.fixture
def start(scripted, siding) -> Callable[..., Siding]:
    """Starts the proxy before a worker that hands over what it is sent."""

    def started(url: str, *settings: dict[str, Any], **options: Any) -> Siding:
        chosen = {"backend": {"workers": 2}}
        for more in settings:
            chosen = merged(chosen, more)
        return siding(scripted(HandOverTheBody()), url, chosen, **options)

    return started


def ask(proxy: Siding, call: dict[str, Any], headers: raw_http.Headers = ()) -> dict[str, Any]:
    """The result of one call in an exchange of its own."""
    return entry(proxy.request("POST", "/chat", headers, json.dumps([call]).encode()))


def crowd(
    proxy: Siding, stack: ExitStack, calls: list[dict[str, Any]], headers: raw_http.Headers = ()
) -> list[raw_http.Connection]:
    """Clients whose exchanges make one call each."""
    clients = [stack.enter_context(proxy.connect()) for _ in calls]
    for client, call in zip(clients, calls, strict=True):
        client.start("POST", "/chat", headers, json.dumps([call]).encode())
    return clients


def results(clients: list[raw_http.Connection]) -> list[dict[str, Any]]:
    """What they were all answered."""
    return [entry(client.response("POST")) for client in clients]


def answers(result: dict[str, Any], prompt: str) -> bool:
    """Whether this is a plain answer to this very prompt, in text or in a JSON object."""
    if (result["kind"], result["status"]) != ("result", 200):
        return False
    said = json.loads(body_of(result))["choices"][0]["message"]["content"]
    return is_answer_to(prompt, json.loads(said)["answer"] if said.startswith("{") else said)


def status_of(result: dict[str, Any]) -> str:
    """How the cache says it was answered."""
    return dict(result["headers"])["cache-status"]


def body(prompt: str, **more: Any) -> dict[str, Any]:
    """A request body."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **more}


def call_with(url: str, document: Any, **changes: Any) -> dict[str, Any]:
    """A call with this body."""
    text = document if isinstance(document, str) else json.dumps(document)
    return chat(url, "", **{"body": text, "digest": digest_of(text), **changes})


def with_headers(*more: tuple[str, str], authorization: str | None = f"Bearer {KEY}") -> list[list[str]]:
    """A call's headers."""
    own = [["authorization", authorization]] if authorization else []
    return [["content-type", "application/json"], *own, *(list(pair) for pair in more)]


def stored(proxy: Siding, count: int, **not_stored: int) -> None:
    """Answers that were stored, and those that were not by reason; underscores stand for hyphens."""
    assert proxy.value("siding_cache_stored_total", place="call") == count
    for reason, times in not_stored.items():
        assert proxy.value("siding_cache_not_stored_total", reason=reason.replace("_", "-")) == times
    assert proxy.value("siding_cache_not_stored_total") == sum(not_stored.values())


# In flight


@pytest.mark.parametrize("settings", [{}, HOUR], ids=["ttl 0s", "ttl 1h"])
def test_identical_calls_in_flight_cost_one_call_and_each_gets_the_answer_to_its_own_prompt(
    settings, llm, scripted, start, stack
):
    # 17, 35
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, settings)
    prompts = [f"question {number % 3}" for number in range(15)]
    clients = crowd(proxy, stack, [chat(gate.url, prompt) for prompt in prompts])
    gate.wait_for(3)
    proxy.until_value(12, "siding_coalesced_waiting")
    assert proxy.value("siding_flights_in_flight") == 3
    opened.set()
    found = results(clients)
    assert [answers(result, prompt) for result, prompt in zip(found, prompts, strict=True)] == [True] * 15
    assert [llm.stats(f"question {number}")["total"] for number in range(3)] == [1, 1, 1]
    statuses = sorted(map(status_of, found))
    assert statuses == ["siding; fwd=miss"] * 3 + ["siding; fwd=miss; collapsed"] * 12
    counted(proxy, miss=3, collapsed=12)
    assert proxy.value("siding_coalesced_requests_total") == 12
    flown(proxy, complete=3)
    later = ask(proxy, chat(gate.url, prompts[0]))
    assert answers(later, prompts[0])
    if settings:
        assert llm.stats(prompts[0])["total"] == 1
        stored(proxy, 3)
        counted(proxy, miss=3, collapsed=12, hit=1)
    else:
        assert llm.stats(prompts[0])["total"] == 2
        stored(proxy, 0, forbidden=4)
        counted(proxy, miss=4, collapsed=12)


def test_identical_calls_of_one_exchange_cost_one_call(llm, start):
    proxy = start(llm.url)
    calls = [chat(llm.url, "twice [latency=300ms]", seq=number) for number in range(2)]
    response = proxy.request("POST", "/chat", body=json.dumps(calls).encode())
    assert [answers(result, "twice [latency=300ms]") for result in told(response)["journal"]] == [True, True]
    assert llm.stats()["total"] == 1
    counted(proxy, miss=1, collapsed=1)


def test_calls_with_another_patience_share_no_flight_but_the_store(llm, scripted, start, stack):
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, HOUR)
    calls = [chat(gate.url, "x", timeout_ms=timeout) for timeout in (30_000, 30_000, 40_000, None)]
    clients = crowd(proxy, stack, calls)
    gate.wait_for(3)
    proxy.until_value(1, "siding_coalesced_waiting")
    opened.set()
    assert [answers(result, "x") for result in results(clients)] == [True] * 4
    assert llm.stats("x")["total"] == 3
    assert answers(ask(proxy, chat(gate.url, "x", timeout_ms=50_000)), "x")
    assert llm.stats("x")["total"] == 3
    counted(proxy, miss=3, collapsed=1, hit=1)
    flown(proxy, complete=3)


def test_more_than_may_follow_call_by_themselves(llm, scripted, start, stack):
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, {"cache": {"max_followers": 2}})
    first = crowd(proxy, stack, [chat(gate.url, "x")])
    gate.wait_for(1)
    more = crowd(proxy, stack, [chat(gate.url, "x")] * 5)
    until("all to wait", lambda: len(gate.requests) + proxy.value("siding_coalesced_waiting") == 6)
    opened.set()
    assert [answers(result, "x") for result in results(first + more)] == [True] * 6
    followers = int(proxy.value("siding_coalesced_requests_total"))
    assert followers in (1, 2), "the first counts or does not"
    assert llm.stats("x")["total"] == 6 - followers
    counted(proxy, miss=1, collapsed=followers, bypass=5 - followers)


def test_the_first_client_leaves_and_the_others_are_answered(llm, scripted, start, stack):
    # 19, 28
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url)
    first = crowd(proxy, stack, [chat(gate.url, "x")])
    gate.wait_for(1)
    others = crowd(proxy, stack, [chat(gate.url, "x")] * 4)
    proxy.until_value(4, "siding_coalesced_waiting")
    first[0].close()
    others[0].close()
    proxy.ended("client-gone", times=2)
    proxy.until_value(3, "siding_coalesced_waiting")
    opened.set()
    assert [answers(result, "x") for result in results(others[1:])] == [True] * 3
    assert llm.stats("x")["total"] == 1
    assert len(gate.requests) == 1
    flown(proxy, complete=1)


def test_a_call_that_nobody_wants_any_more_is_cancelled_and_the_next_starts_anew(llm, start, stack):
    proxy = start(llm.url, HOUR)
    prompt = "[hang]"
    clients = crowd(proxy, stack, [chat(llm.url, prompt)] * 3)
    proxy.until_value(2, "siding_coalesced_waiting")
    llm.until_stats({"total": 1, "in_flight": 1}, prompt)
    for client in clients[:2]:
        client.close()
    proxy.ended("client-gone", times=2)
    assert llm.stats(prompt)["in_flight"] == 1
    clients[2].close()
    llm.until_stats({"total": 1, "in_flight": 0, "cancelled": 1}, prompt)
    proxy.ended("client-gone", times=3)
    flown(proxy, unwanted=1)
    stored(proxy, 0)
    assert proxy.value("siding_calls_total", result="cancelled") == 1
    crowd(proxy, stack, [chat(llm.url, prompt)])
    llm.until_stats({"total": 2, "in_flight": 1}, prompt)


# Failures


def failed_together(llm, scripted, start, stack, prompt, count=5):
    """The results of calls that wait together before the provider answers."""
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, HOUR, ONE_TRY)
    clients = crowd(proxy, stack, [chat(gate.url, prompt)] * count)
    proxy.until_value(count - 1, "siding_coalesced_waiting")
    gate.wait_for(1)
    opened.set()
    return proxy, results(clients)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_a_transient_failure_has_two_successors_and_then_all_get_the_same_error(status, llm, scripted, start, stack):
    # 6, 21
    prompt = f"[status={status}][retry-after=0]"
    proxy, found = failed_together(llm, scripted, start, stack, prompt)
    assert [result["status"] for result in found] == [status] * 5
    assert len({body_of(result) for result in found}) == 1
    assert all(["x-should-retry", "false"] in result["headers"] for result in found)
    assert llm.stats(prompt)["total"] == 3
    flown(proxy, elections=2, complete=1)
    counted(proxy, miss=1, collapsed=4)
    stored(proxy, 0, status=1)


def test_a_successor_that_succeeds_answers_all(llm, scripted, start, stack):
    prompt = "[fail-first=1:503][retry-after=0] x"
    proxy, found = failed_together(llm, scripted, start, stack, prompt)
    assert [answers(result, prompt) for result in found] == [True] * 5
    assert llm.stats(prompt)["total"] == 2
    flown(proxy, elections=1, complete=1)
    stored(proxy, 1)


@pytest.mark.parametrize("directives", ["[status=400]", "[status=401]", "[status=429][retry-after=3600]"])
def test_an_error_that_will_not_pass_has_no_successor_and_goes_to_all(directives, llm, scripted, start, stack):
    proxy, found = failed_together(llm, scripted, start, stack, directives)
    assert {result["status"] for result in found} == {int(directives[8:11])}
    assert llm.stats(directives)["total"] == 1
    flown(proxy, complete=1)
    stored(proxy, 0, status=1)


def test_a_lone_call_has_no_successor(llm, start):
    prompt = "[status=503][retry-after=0]"
    proxy = start(llm.url, ONE_TRY)
    assert ask(proxy, chat(llm.url, prompt))["status"] == 503
    assert llm.stats(prompt)["total"] == 1
    flown(proxy, complete=1)


def test_a_failure_without_an_answer_goes_to_all(scripted, start, stack):
    opened = threading.Event()
    provider = scripted(CloseMidBody(b'{"half": ', hold=opened))
    proxy = start(provider.url, HOUR, ONE_TRY)
    clients = crowd(proxy, stack, [chat(provider.url, "x")] * 3)
    proxy.until_value(2, "siding_coalesced_requests_total")
    opened.set()
    assert [result.get("error") for result in results(clients)] == ["interrupted"] * 3
    assert len(provider.requests) == 1
    flown(proxy, failed=1)
    stored(proxy, 0)
    counted(proxy, miss=1, collapsed=2)


def test_a_result_over_the_limit_is_too_large_for_all_and_not_stored(scripted, start, stack):
    opened = threading.Event()
    large = Answer(200, completion("x" * 9000), JSON)
    provider = scripted(lambda _: _Held(opened, large))
    proxy = start(provider.url, HOUR, ONE_TRY, {"handoff": {"max_result": "8KiB"}})
    clients = crowd(proxy, stack, [chat(provider.url, "x")] * 3)
    proxy.until_value(2, "siding_coalesced_waiting")
    opened.set()
    assert [result.get("error") for result in results(clients)] == ["too_large"] * 3
    assert len(provider.requests) == 1
    flown(proxy, failed=1)
    stored(proxy, 0)


def test_a_result_that_no_entry_can_hold_is_delivered_to_all_and_not_stored(scripted, start, stack):
    opened = threading.Event()
    large = Answer(200, completion("x" * 9000), JSON)
    provider = scripted(lambda _: _Held(opened, large))
    proxy = start(provider.url, {"cache": {"ttl": "1h", "max_entry": "8KiB"}})
    clients = crowd(proxy, stack, [chat(provider.url, "x")] * 3)
    proxy.until_value(2, "siding_coalesced_waiting")
    opened.set()
    assert [body_of(result) == large.body for result in results(clients)] == [True] * 3
    flown(proxy, complete=1)
    stored(proxy, 0, too_large=1)


class _Held(Step):
    """Answers once it is released."""

    def __init__(self, release, then):
        self.release, self.then = release, then

    def play(self, received, link):
        link.hold(self.release)
        return self.then.play(received, link)


# Stored


def test_a_later_call_is_a_hit_whose_headers_say_how_old_it_is(llm, start):
    # 13, 16
    proxy = start(llm.url, HOUR)
    first, later = (ask(proxy, chat(llm.url, "x")) for _ in range(2))
    assert answers(later, "x")
    assert body_of(first) == body_of(later), "the id too"
    assert llm.stats("x")["total"] == 1
    headers = dict(later["headers"])
    assert int(headers["age"]) < 60
    name, hit, ttl = headers["cache-status"].split("; ")
    assert (name, hit) == ("siding", "hit")
    assert 3000 < int(ttl.removeprefix("ttl=")) <= 3600
    assert headers["content-type"] == dict(first["headers"])["content-type"]
    assert status_of(first) == "siding; fwd=miss"
    assert "age" not in dict(first["headers"])
    counted(proxy, miss=1, hit=1)
    stored(proxy, 1)
    assert proxy.value("siding_cache_entries") == 1
    assert proxy.value("siding_cache_size_bytes") > 0


def test_headers_about_one_answer_on_one_connection_are_not_replayed(scripted, start):
    # 16
    of_the_moment = ["X-Request-Id", "Request-Id", "X-RateLimit-Remaining-Requests", "Set-Cookie", "Date", "CF-Ray"]
    of_the_moment += ["OpenAI-Processing-Ms", "Retry-After", "anthropic-ratelimit-requests-limit"]
    lasting = [("OpenAI-Version", "2020-10-01"), ("OpenAI-Organization", "org")]
    headers = [*JSON, *lasting, *((name, "1") for name in of_the_moment)]
    provider = scripted(Answer(200, completion("x"), headers))
    proxy = start(provider.url, HOUR)
    first, later = (dict(ask(proxy, chat(provider.url, "x"))["headers"]) for _ in range(2))
    assert {name.lower() for name in of_the_moment} <= first.keys()
    assert not {name.lower() for name in of_the_moment} & later.keys()
    assert {name.lower(): value for name, value in lasting}.items() <= later.items()
    assert len(provider.requests) == 1


BASE = body("The Prompt", temperature=0.5)
SAME = {
    "order of members": json.dumps(dict(reversed(BASE.items()))),
    "white space": json.dumps(BASE, indent=2),
    "escapes": json.dumps(BASE).replace("Prompt", "\\u0050rompt"),
    "user": {**BASE, "user": "somebody"},
    "metadata": {**BASE, "metadata": {"trace": "1"}},
    "safety_identifier": {**BASE, "safety_identifier": "s"},
    "prompt_cache_key": {**BASE, "prompt_cache_key": "k"},
    "an explicit stream: false": {**BASE, "stream": False},
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
DIFFERENT = {
    "temperature": {**BASE, "temperature": 0.6},
    "seed": {**BASE, "seed": 1},
    "model": {**BASE, "model": "gpt-4o"},
    "tools": {**BASE, "tools": [TOOL]},
    "the case of the prompt": body("the prompt", temperature=0.5),
    "white space in the prompt": body("The Prompt ", temperature=0.5),
    "a parameter nobody has heard of": {**BASE, "quantum": 1},
    "user in a message": {**BASE, "messages": [{"role": "user", "content": "The Prompt", "user": "somebody"}]},
    "a message more": {**BASE, "messages": [{"role": "system", "content": ""}, *BASE["messages"]]},
    "response_format": {**BASE, "response_format": {"type": "json_object"}},
    "n": {**BASE, "n": 2},
}


@pytest.mark.parametrize("what", SAME)
def test_what_means_nothing_does_not_separate_calls(what, llm, start):
    # 3, 6, 11
    proxy = start(llm.url, HOUR)
    assert answers(ask(proxy, call_with(llm.url, BASE)), "The Prompt")
    assert answers(ask(proxy, call_with(llm.url, SAME[what])), "The Prompt")
    assert llm.stats()["total"] == 1
    counted(proxy, miss=1, hit=1)


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_means_something_separates_calls(what, llm, start):
    # 2, 4
    proxy = start(llm.url, HOUR)
    document = DIFFERENT[what]
    assert answers(ask(proxy, call_with(llm.url, BASE)), "The Prompt")
    assert answers(ask(proxy, call_with(llm.url, document)), document["messages"][-1]["content"])
    assert llm.stats()["total"] == 2
    counted(proxy, miss=2)


def test_parts_of_prompts_are_not_run_together(llm, start):
    # 4
    proxy = start(llm.url, HOUR)
    for first, second in (("ab", "c"), ("a", "bc"), ("abc", "")):
        messages = [{"role": "system", "content": first}, {"role": "user", "content": second}]
        assert answers(ask(proxy, call_with(llm.url, {"model": "m", "messages": messages})), second)
    assert llm.stats()["total"] == 3
    counted(proxy, miss=3)


def test_the_apps_keys_at_the_provider_separate_calls_where_it_has_none_of_its_own(llm, start):
    # 1, 34
    proxy = start(llm.url, HOUR)
    for key in ("one", "two", "one"):
        call = chat(llm.url, "x", headers=with_headers(authorization=f"Bearer {key}"))
        assert answers(ask(proxy, call), "x")
    assert llm.stats("x")["total"] == 2
    counted(proxy, miss=2, hit=1)


def test_the_apps_keys_at_the_provider_mean_nothing_where_it_has_one_of_its_own(llm, start):
    settings = {"providers": {"openai": {"api_key_env": "THE_KEY"}}}
    proxy = start(llm.url, HOUR, settings, environment={"THE_KEY": "sk-configured"})
    for key in ("one", "two", "three"):
        call = chat(llm.url, "x", headers=with_headers(authorization=f"Bearer {key}"))
        assert answers(ask(proxy, call), "x")
    assert llm.stats("x")["total"] == 1
    counted(proxy, miss=1, hit=2)


@pytest.mark.parametrize("name", ["openai-organization", "openai-project", "openai-beta", "x-of-mine"])
def test_headers_that_change_an_answer_separate_calls(name, llm, start):
    # 2
    proxy = start(llm.url, HOUR, {"cache": {"key_headers": ["x-of-mine"]}})
    for headers in ([], [(name, "a")], [(name, "b")], [(name, "a")], [("x-stainless-retry-count", "1")]):
        assert answers(ask(proxy, chat(llm.url, "x", headers=with_headers(*headers))), "x")
    assert llm.stats("x")["total"] == 3
    counted(proxy, miss=3, hit=2)


def test_beta_features_of_anthropic_separate_calls(llm, scripted, siding):
    # 2
    proxy = siding(scripted(HandOverTheBody()), {"anthropic": llm.url}, HOUR)
    document = json.dumps(body("x", max_tokens=100))
    for beta in ([], [["anthropic-beta", "a-2026"]], [["anthropic-beta", "b-2026"]], []):
        headers = [["content-type", "application/json"], ["x-api-key", "k"], ["anthropic-version", "2023-06-01"], *beta]
        result = ask(proxy, chat(llm.url, "", url=f"{llm.url}/v1/messages", body=document, headers=headers))
        assert is_answer_to("x", json.loads(body_of(result))["content"][0]["text"])
    assert llm.stats("x")["total"] == 3
    counted(proxy, miss=3, hit=1)


# What the view says


def test_a_view_says_how_long_its_answer_is_kept(llm, start):
    proxy = start(llm.url)
    call = chat(llm.url, "x", cache={"ttl_ms": 3_600_000})
    assert [answers(ask(proxy, call), "x") for _ in range(2)] == [True, True]
    assert llm.stats("x")["total"] == 1
    assert answers(ask(proxy, chat(llm.url, "x")), "x")
    assert llm.stats("x")["total"] == 2, "whoever says nothing has ttl 0s and looks nothing up"
    counted(proxy, miss=2, hit=1)


def test_a_view_that_says_ttl_0_stores_nothing(llm, start):
    proxy = start(llm.url, HOUR)
    call = chat(llm.url, "x", cache={"ttl_ms": 0})
    assert [answers(ask(proxy, call), "x") for _ in range(2)] == [True, True]
    assert llm.stats("x")["total"] == 2
    stored(proxy, 0, forbidden=2)


USERS = {
    "authorization": [("Authorization", "Token a")],
    "another authorization": [("Authorization", "Token b")],
    "cookie": [("Cookie", "sessionid=a")],
    "both": [("Authorization", "Token a"), ("Cookie", "sessionid=a")],
}


def test_scope_user_separates_by_the_clients_credentials(llm, start):
    # 1, 17
    proxy = start(llm.url, HOUR)
    call = chat(llm.url, "x", cache={"scope": "user"})
    for headers in [*USERS.values(), *USERS.values()]:
        assert answers(ask(proxy, call, headers), "x")
    assert llm.stats("x")["total"] == len(USERS)
    counted(proxy, miss=len(USERS), hit=len(USERS))
    assert answers(ask(proxy, chat(llm.url, "x")), "x")
    assert llm.stats("x")["total"] == len(USERS) + 1, "what a user has is not the app's"


def test_scope_user_of_clients_without_credentials_is_nobody(llm, scripted, start, stack):
    # 1
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, HOUR)
    clients = crowd(proxy, stack, [chat(gate.url, "x", cache={"scope": "user"})] * 3)
    gate.wait_for(3)
    opened.set()
    assert [answers(result, "x") for result in results(clients)] == [True] * 3
    assert llm.stats("x")["total"] == 3
    counted(proxy, bypass=3)
    stored(proxy, 0, forbidden=3)


def test_scope_user_separates_calls_in_flight(llm, scripted, start, stack):
    # 17
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url)
    call = chat(gate.url, "x", cache={"scope": "user"})
    clients = [client for headers in USERS.values() for client in crowd(proxy, stack, [call] * 2, headers)]
    gate.wait_for(len(USERS))
    proxy.until_value(len(USERS), "siding_coalesced_waiting")
    opened.set()
    assert all(answers(result, "x") for result in results(clients))
    assert llm.stats("x")["total"] == len(USERS)


def test_scope_none_makes_every_call(llm, scripted, start, stack):
    # 12
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, HOUR)
    clients = crowd(proxy, stack, [chat(gate.url, "x", cache={"scope": "none"})] * 3)
    gate.wait_for(3)
    opened.set()
    found = results(clients)
    assert [answers(result, "x") for result in found] == [True] * 3
    assert len({body_of(result) for result in found}) == 3, "three samples, each with its own id"
    assert {status_of(result) for result in found} == {"siding; fwd=bypass"}
    assert llm.stats("x")["total"] == 3
    counted(proxy, bypass=3)
    flown(proxy, complete=3)
    assert proxy.value("siding_coalesced_requests_total") == 0


def test_named_scopes_share_within_a_name_and_with_nobody_else(llm, start):
    # 1
    proxy = start(llm.url, HOUR)
    for scope in ("tenant:1", "tenant:2", "app", "tenant:1", "tenant:2", "app"):
        assert answers(ask(proxy, chat(llm.url, "x", cache={"scope": scope})), "x")
    assert llm.stats("x")["total"] == 3
    counted(proxy, miss=3, hit=3)


def purge(proxy: Siding, query: str, method: str = "POST") -> raw_http.Response:
    return raw_http.request(proxy.admin, method, f"/-/purge?{query}", body=b"")


def test_what_has_a_tag_can_be_purged(llm, start):
    proxy = start(llm.url, HOUR)
    calls = {
        prompt: chat(llm.url, prompt, cache={"tags": tags})
        for prompt, tags in {"a": ["reports"], "b": ["reports", "daily"], "c": []}.items()
    }
    for prompt, call in calls.items():
        assert answers(ask(proxy, call), prompt)
    assert purge(proxy, "tag=reports", "GET").status == 405
    assert purge(proxy, "").status == purge(proxy, "tag=a&tag=b").status == 400
    assert purge(proxy, "tag=unknown").body == b"0 entries\n"
    response = purge(proxy, "tag=reports")
    assert (response.status, response.body) == (200, b"2 entries\n")
    assert proxy.value("siding_cache_purged_total") == 2
    for prompt, call in calls.items():
        assert answers(ask(proxy, call), prompt)
    assert [llm.stats(prompt)["total"] for prompt in calls] == [2, 2, 1]
    assert purge(proxy, "origin=openai").body == b"3 entries\n"
    assert answers(ask(proxy, calls["c"]), "c")
    assert purge(proxy, "all").body == b"1 entries\n"
    assert answers(ask(proxy, calls["c"]), "c")
    assert llm.stats("c")["total"] == 3


def test_what_was_under_way_while_its_tag_was_purged_is_not_stored(llm, scripted, start, stack):
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, HOUR)
    call = chat(gate.url, "x", cache={"tags": ["reports"]})
    clients = crowd(proxy, stack, [call])
    gate.wait_for(1)
    assert purge(proxy, "tag=reports").status == 200
    opened.set()
    assert answers(results(clients)[0], "x")
    assert answers(ask(proxy, call), "x")
    assert llm.stats("x")["total"] == 2


def test_lookup_false_asks_again_and_stores_the_new_answer(llm, start):
    proxy = start(llm.url, HOUR)
    fresh = chat(llm.url, "x", cache={"lookup": False})
    first, second, third = (ask(proxy, call) for call in (chat(llm.url, "x"), fresh, chat(llm.url, "x")))
    assert all(answers(result, "x") for result in (first, second, third))
    assert body_of(second) != body_of(first)
    assert body_of(third) == body_of(second)
    assert llm.stats("x")["total"] == 2
    counted(proxy, miss=2, hit=1)
    stored(proxy, 2)


def test_store_false_looks_up_and_stores_nothing(llm, start):
    proxy = start(llm.url, HOUR)
    call = chat(llm.url, "x", cache={"store": False})
    assert [answers(ask(proxy, call), "x") for _ in range(2)] == [True, True]
    assert llm.stats("x")["total"] == 2
    stored(proxy, 0, forbidden=2)
    assert answers(ask(proxy, chat(llm.url, "x")), "x")
    assert answers(ask(proxy, call), "x")
    assert llm.stats("x")["total"] == 3
    counted(proxy, miss=3, hit=1)


def until_older(milliseconds: float) -> None:
    """Waits until time has passed."""
    after = time.monotonic() + milliseconds / 1000
    until("time to pass", lambda: time.monotonic() > after)


def test_a_stale_answer_stands_in_for_an_error(scripted, start):
    provider = scripted(in_order(Answer(200, completion("old"), JSON), Answer(500, b"{}", JSON)))
    proxy = start(provider.url, ONE_TRY)
    call = chat(provider.url, "x", cache={"ttl_ms": 1, "stale_if_error_ms": 3_600_000})
    assert ask(proxy, call)["status"] == 200
    until_older(20)
    stale = ask(proxy, call)
    assert (stale["status"], body_of(stale)) == (200, completion("old"))
    assert status_of(stale).startswith("siding; hit; ttl=")
    assert len(provider.requests) == 2
    assert proxy.value("siding_cache_requests_total", place="call", result="stale") == 1
    assert ask(proxy, chat(provider.url, "y"))["status"] == 500


def test_a_stale_answer_is_given_while_one_call_fetches_it_anew(scripted, start, stack):
    release = threading.Event()
    old, new = Answer(200, completion("old"), JSON), Answer(200, completion("new"), JSON)
    provider = scripted(in_order(old, _Held(release, new)))
    proxy = start(provider.url)
    kept = {"ttl_ms": 1, "stale_while_revalidate_ms": 3_600_000}
    call = chat(provider.url, "x", cache=kept)
    assert body_of(ask(proxy, call)) == old.body
    until_older(20)
    found = results(crowd(proxy, stack, [call] * 4))
    assert [body_of(result) for result in found] == [old.body] * 4
    provider.wait_for(2)
    release.set()
    proxy.until_value(2, "siding_cache_stored_total", place="call")
    assert len(provider.requests) == 2
    assert body_of(ask(proxy, call)) == new.body


# Which calls, and what the call itself says


@pytest.mark.parametrize(
    ("more", "shares"),
    [
        ({"temperature": 0}, True),
        ({"seed": 7}, True),
        ({}, False),
        ({"temperature": 0.1}, False),
        ({"seed": None}, False),
    ],
)
def test_deterministic_calls_are_those_at_temperature_0_or_with_a_seed(more, shares, llm, start):
    # 12
    proxy = start(llm.url, {"cache": {"ttl": "1h", "when": "deterministic"}})
    call = call_with(llm.url, body("x", **more))
    assert [answers(ask(proxy, call), "x") for _ in range(2)] == [True, True]
    assert llm.stats("x")["total"] == (1 if shares else 2)
    counted(proxy, **({"miss": 1, "hit": 1} if shares else {"bypass": 2}))


def test_when_never_nothing_is_shared(llm, scripted, start, stack):
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy = start(gate.url, {"cache": {"ttl": "1h", "when": "never"}})
    clients = crowd(proxy, stack, [call_with(gate.url, body("x", temperature=0))] * 3)
    gate.wait_for(3)
    opened.set()
    assert [answers(result, "x") for result in results(clients)] == [True] * 3
    assert llm.stats("x")["total"] == 3
    counted(proxy, bypass=3)
    assert proxy.value("siding_cache_stored_total") == 0


def said(url: str, value: str, **changes: Any) -> dict[str, Any]:
    """A call with Cache-Control."""
    return chat(url, "x", headers=with_headers(("cache-control", value)), **changes)


def test_no_cache_asks_again_and_stores(llm, start):
    proxy = start(llm.url, HOUR)
    found = [ask(proxy, call) for call in (chat(llm.url, "x"), said(llm.url, "no-cache"), chat(llm.url, "x"))]
    assert all(answers(result, "x") for result in found)
    assert body_of(found[2]) == body_of(found[1]) != body_of(found[0])
    assert llm.stats("x")["total"] == 2


def test_no_store_is_shared_with_nobody(llm, start):
    proxy = start(llm.url, HOUR)
    for call in (said(llm.url, "no-store"), said(llm.url, "no-store"), chat(llm.url, "x"), said(llm.url, "no-store")):
        assert answers(ask(proxy, call), "x")
    assert llm.stats("x")["total"] == 4
    counted(proxy, miss=1, bypass=3)
    stored(proxy, 1, forbidden=3)


@pytest.mark.parametrize(("value", "calls"), [("max-age=0", 2), ("max-age=3600", 1), ("min-fresh=3601", 2)])
def test_a_call_says_how_old_an_answer_may_be(value, calls, llm, start):
    proxy = start(llm.url, HOUR)
    for call in (chat(llm.url, "x"), said(llm.url, value)):
        assert answers(ask(proxy, call), "x")
    assert llm.stats("x")["total"] == calls


def not_cached(result: dict[str, Any]) -> bool:
    return result["status"] == 504 and ["x-should-retry", "false"] in result["headers"]


def test_only_if_cached_calls_nobody(llm, start):
    proxy = start(llm.url, HOUR)
    call = said(llm.url, "only-if-cached")
    assert not_cached(ask(proxy, call))
    assert llm.stats()["total"] == 0
    assert answers(ask(proxy, chat(llm.url, "x")), "x")
    assert answers(ask(proxy, call), "x")
    assert llm.stats("x")["total"] == 1
    counted(proxy, miss=1, hit=1)
    flown(proxy, complete=1)


@pytest.mark.parametrize("cache", [{"scope": "none"}, {"scope": "user"}, {"ttl_ms": 0}, {"lookup": False}])
def test_only_if_cached_calls_nobody_where_nothing_is_shared_either(cache, llm, start):
    proxy = start(llm.url, HOUR)
    assert not_cached(ask(proxy, said(llm.url, "only-if-cached", cache=cache)))
    assert llm.stats()["total"] == 0


# Never stored


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("[status=400]", "status"),
        ("[status=429][retry-after=0]", "status"),
        ("[status=500][retry-after=0]", "status"),
        ("[finish=length]", "truncated"),
        ("[finish=filter]", "filtered"),
        ("[garbage]", "malformed"),
        ("[reset-body]", None),
    ],
)
def test_no_error_and_no_unfinished_answer_is_stored(prompt, reason, streamed, llm, start):
    # 6, 7
    proxy = start(llm.url, HOUR, ONE_TRY)
    call = call_with(llm.url, body(prompt, stream=streamed))
    first, second = ask(proxy, call), ask(proxy, call)
    assert first["kind"] == second["kind"]
    assert first.get("status") == second.get("status")
    assert llm.stats(prompt)["total"] == 2
    counted(proxy, miss=2)
    stored(proxy, 0, **({reason: 2} if reason else {}))
    assert proxy.value("siding_cache_entries") == 0


BAD_CALL = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"city": "Ber'}}]
SPOILED = {
    "without a reason to stop": ("incomplete", False, completion("x", finish=None)),
    "no choices": ("malformed", False, b'{"object": "chat.completion", "choices": []}'),
    "no JSON": ("malformed", False, completion("x")[:-10]),
    "empty": ("malformed", False, b""),
    "an error in a 200": ("error", False, b'{"error": {"message": "overloaded"}}'),
    "a refusal": ("filtered", False, completion(None, refusal="I cannot")),
    "an invalid tool call": ("malformed", False, completion(None, finish="tool_calls", tool_calls=BAD_CALL)),
    "half a stream": ("incomplete", True, b"".join(stream_of("a", "b")[:3])),
    "a stream without its terminator": ("incomplete", True, b"".join(stream_of("a", "b")[:-1])),
    "a stream with an error": ("error", True, chunk({"content": "a"}) + event({"error": {"message": "x"}}) + DONE),
    "a stream cut off by its limit": ("truncated", True, chunk({"content": "a"}) + chunk({}, "length") + DONE),
    "an empty stream": ("incomplete", True, b""),
}


@pytest.mark.parametrize("what", SPOILED)
def test_nothing_spoiled_is_stored_and_it_is_the_apps_as_it_came(what, scripted, start):
    # 6, 7, 8, 10
    reason, streamed, spoiled = SPOILED[what]
    provider = scripted(Answer(200, spoiled, EVENTS if streamed else JSON))
    proxy = start(provider.url, HOUR)
    more = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    call = call_with(provider.url, body("x", **more))
    assert [body_of(ask(proxy, call)) for _ in range(2)] == [spoiled, spoiled]
    assert len(provider.requests) == 2
    stored(proxy, 0, **{reason: 2})
    counted(proxy, miss=2)


def test_a_plain_call_is_answered_from_a_stored_stream_and_the_other_way_round(llm, start):
    # 9, 14
    proxy = start(llm.url, HOUR)
    for prompt, order in {"stream first": (True, False), "plain first": (False, True)}.items():
        found = {streamed: ask(proxy, call_with(llm.url, body(prompt, stream=streamed))) for streamed in order}
        assert answers(found[False], prompt)
        assert dict(found[False]["headers"])["content-type"] == "application/json"
        assert dict(found[True]["headers"])["content-type"].startswith("text/event-stream")
        assert body_of(found[True]).endswith(DONE)
        assert json.loads(body_of(found[False]))["usage"]["completion_tokens"] > 0
        assert b'"usage":{' not in body_of(found[True]).replace(b" ", b"")
        assert llm.stats(prompt)["total"] == 1
    counted(proxy, miss=2, hit=2)
