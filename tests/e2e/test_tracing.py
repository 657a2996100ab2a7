"""One trace tells where an exchange's time went, from the client's span to the provider's; what is not sampled, or has
no collector, leaves nothing but identities."""

from __future__ import annotations

import itertools
import json
import re
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import chat_project
import pytest
from chat_project import is_answer_to
from harness import raw_http
from harness.addresses import free_address, listens
from harness.backend import ChatProject
from harness.calls import assert_problem, chat
from harness.collector import Collector, Span
from harness.providers import JSON, Speak, completion, stream_of
from harness.scripted_worker import Received, ScriptedWorker
from harness.siding import Siding, merged
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM
from harness.steps import Answer, HandOver, Hang, Step, Tell, by_pass, in_order
from harness.waiting import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
TOGETHER = [("tracestate", "vendor=opaque"), ("baggage", "user.tier=gold")]
ONE_TRY = {"providers": {"openai": {"retry": {"attempts": 1}}}}
HEADERS = ("traceparent", "tracestate", "baggage")


@pytest.fixture
def collector(stack: ExitStack) -> Collector:
    """A collector in good health."""
    return stack.enter_context(Collector())


def end(proxy: Siding) -> None:
    """Ends the proxy, which exports what is left."""
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0


def access_lines(proxy: Siding) -> list[str]:
    """The lines of the access log."""
    return [line for line in proxy.log.splitlines() if " siding::access: " in line]


def traces_logged(proxy: Siding) -> list[str]:
    """The traces that the access log names."""
    return [found for line in access_lines(proxy) for found in re.findall(r"trace_id=([0-9a-f]{32})\b", line)]


def told_parents(requests: list[Received]) -> list[str | None]:
    """What requests say of their parents."""
    return [request.header("traceparent") for request in requests]


def is_within(inner: Span, outer: Span) -> bool:
    """Whether a span lies within another's time."""
    return outer.start <= inner.start <= inner.end <= outer.end


def test_one_chat_through_gunicorn_and_django_is_one_trace(stack: ExitStack, tmp_path, collector: Collector) -> None:
    python = list(chat_project.pythons().values())[-1]
    llm = stack.enter_context(SimulatedLLM(tmp_path, "--token-rate", "1000", latency="50ms"))
    environment = {**llm.sdk_environment(), "LLM_TIMEOUT": "10", "SIDING_SECRET": SECRET}
    backend = stack.enter_context(ChatProject(tmp_path, workers=1, python=python, environment=environment))
    settings = {
        "tracing": {"endpoint": collector.url, "sample": 0.0, "service_name": "shop"},
        "routes": [{"path": "/api/**"}],
    }
    proxy = stack.enter_context(Siding(tmp_path, backend.address, llm.providers(), settings))
    proxy.until_app()
    running = chat_project.Chat(proxy.url, llm, backend, proxy)
    body = json.dumps({"prompt": "two in turn"}).encode()
    headers = {"Content-Type": "application/json", "traceparent": SAMPLED}
    answer = running.send("POST", "/api/chat/chain/?secret=hidden", body, headers)
    assert answer.status == 200, answer.body
    assert is_answer_to("two in turn", answer.json["steps"][0])
    end(proxy)

    exchange = collector.only("POST /api/**")
    assert (exchange.trace, exchange.parent, exchange.kind) == (TRACE, PARENT, "server")
    children = collector.below(exchange)
    calls = [span for span in children if span.name.split()[0] in ("chat", "generate_content")]
    assert len(calls) == 3, collector.tree(exchange)
    names = [span.name for span in children]
    expected = ["queue", "pass 0", calls[0].name, "queue", "pass 1", calls[1].name, "queue", "pass 2", calls[2].name]
    assert names == [*expected, "queue", "pass 3"]
    assert len(collector.spans) == len(children) + 1
    for span in children:
        assert is_within(span, exchange), span
        assert span.trace == TRACE
    for earlier, later in itertools.pairwise(children):
        assert earlier.end <= later.start, (earlier, later)
    assert [span.kind for span in children[:3]] == ["internal", "client", "client"]

    first = calls[0].attributes
    assert first["gen_ai.operation.name"] == "chat"
    assert first["gen_ai.provider.name"] == "openai"
    assert calls[0].name == f"chat {first['gen_ai.request.model']}"
    assert first["http.response.status_code"] == 200
    assert first["gen_ai.usage.output_tokens"] > 0
    assert f"{first['server.address']}:{first['server.port']}" == llm.address
    assert calls[0].end - calls[0].start >= 50_000_000, "the model took so long"
    said = {
        "http.request.method": "POST",
        "url.path": "/api/chat/chain/",
        "url.scheme": "http",
        "http.route": "/api/**",
        "http.response.status_code": 200,
        "siding.mode": "replay",
        "siding.outcome": "answered",
        "siding.passes": 4,
        "siding.calls": 3,
    }
    assert {name: exchange.attributes[name] for name in said} == said
    assert [span.attributes.get("siding.suspended") for span in children if "pass" in span.name] == [True] * 3 + [None]
    assert {resource["service.name"] for resource in collector.resources} == {"shop"}
    assert traces_logged(proxy)[-1] == TRACE
    everything = repr(collector.spans)
    assert not [secret for secret in ("hidden", "two in turn", backend.token, "Echo ") if secret in everything]


def test_a_provider_is_told_the_span_of_its_call_and_nothing_else(scripted, siding, collector: Collector) -> None:
    provider = scripted(Answer(200, completion("hi"), JSON))
    app = scripted(by_pass(HandOver([chat(provider.url, "hello")]), Tell()))
    proxy = siding(app, provider.url, {"tracing": {"endpoint": collector.url}})
    assert proxy.request("POST", "/chat", [("traceparent", SAMPLED), *TOGETHER], b"{}").status == 200
    end(proxy)
    [sent] = provider.requests
    told = [sent.header(name) for name in HEADERS]
    assert told == [collector.only("chat gpt-4o-mini").traceparent, None, None]


def test_each_pass_tells_the_app_its_own_span_and_what_else_the_client_said(
    scripted, siding, collector: Collector
) -> None:
    provider = scripted(Answer(200, completion("hi"), JSON))
    app = scripted(by_pass(HandOver([chat(provider.url, "hello")]), Tell()))
    proxy = siding(app, provider.url, {"tracing": {"endpoint": collector.url}})
    assert proxy.request("POST", "/chat", [("traceparent", SAMPLED), *TOGETHER], b"{}").status == 200
    end(proxy)
    passes = [collector.only("pass 0"), collector.only("pass 1")]
    assert told_parents(app.requests) == [span.traceparent for span in passes]
    assert {span.parent for span in passes} == {collector.only("POST").id}
    for request in app.requests:
        assert [(name, request.header(name)) for name, _ in TOGETHER] == TOGETHER


@pytest.mark.parametrize("bad", ["nonsense", SAMPLED.upper(), f"ff{SAMPLED[2:]}", f"{SAMPLED}-more"])
def test_a_bad_traceparent_is_replaced_by_a_new_trace(start_plain, bad: str) -> None:
    app, proxy = start_plain({"tracing": {"sample": 1.0}})
    assert proxy.request("POST", "/", [("traceparent", bad), *TOGETHER], b"{}").status == 200
    [request] = app.requests
    told = request.header("traceparent")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", told), told
    assert TRACE not in told
    assert request.header("tracestate") is None, "it belongs to a trace that nobody continues"
    assert request.header("baggage") == "user.tier=gold"
    proxy.ended("answered")
    assert traces_logged(proxy) == [told.split("-")[1]]


@pytest.fixture
def start_plain(scripted, siding) -> Callable[..., tuple[ScriptedWorker, Siding]]:
    """Starts the proxy without a collector, before an app that answers."""

    def started(*settings: dict[str, Any], worker: Any = None) -> tuple[ScriptedWorker, Siding]:
        app = scripted(worker or Answer())
        chosen: dict[str, Any] = {}
        for more in settings:
            chosen = merged(chosen, more)
        return app, siding(app, None, chosen)

    return started


def test_a_streamed_request_is_continued_too(scripted, siding, collector: Collector) -> None:
    app = scripted(Answer())
    settings = {"tracing": {"endpoint": collector.url}, "routes": [{"path": "/**", "handoff": False}]}
    proxy = siding(app, None, settings)
    assert proxy.request("GET", "/page", [("traceparent", SAMPLED), *TOGETHER]).status == 200
    assert proxy.request("GET", "/page", [("traceparent", "bad"), *TOGETHER]).status == 200
    end(proxy)
    assert [span.name for span in collector.spans if span.trace == TRACE] == ["queue", "pass 0", "GET /**"]
    [first, second] = app.requests
    assert first.header("traceparent") == next(s for s in collector.named("pass 0") if s.trace == TRACE).traceparent
    assert (first.header("tracestate"), second.header("tracestate")) == ("vendor=opaque", None)
    assert collector.named("GET /**")[0].attributes["siding.mode"] == "pass-through"


def test_an_unsampled_trace_is_continued_and_leaves_nothing(scripted, siding, collector: Collector) -> None:
    provider = scripted(Answer(200, completion("hi"), JSON))
    app = scripted(by_pass(HandOver([chat(provider.url, "hello")]), Tell()))
    proxy = siding(app, provider.url, {"tracing": {"endpoint": collector.url, "sample": 1.0}})
    assert proxy.request("POST", "/chat", [("traceparent", UNSAMPLED)], b"{}").status == 200
    proxy.ended("answered")
    assert traces_logged(proxy) == [TRACE]
    end(proxy)
    told = told_parents([*app.requests, *provider.requests])
    assert len(set(told)) == 3
    for parent in told:
        assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", parent or ""), parent
    assert collector.requests == []


def test_providers_are_told_nothing_where_the_operator_says_so(scripted, siding) -> None:
    provider = scripted(Answer(200, completion("hi"), JSON))
    call = chat(provider.url, "hello")
    call["headers"] += [["traceparent", SAMPLED], *map(list, TOGETHER)]
    app = scripted(by_pass(HandOver([call]), Tell()))
    proxy = siding(app, provider.url, {"tracing": {"providers": False}})
    assert proxy.request("POST", "/chat", [("traceparent", SAMPLED)], b"{}").status == 200
    [sent] = provider.requests
    assert [sent.header(name) for name in HEADERS] == [None] * 3


def test_a_trace_makes_no_difference_to_what_a_call_means(scripted, siding) -> None:
    provider = scripted(Answer(200, completion("hi"), JSON))

    def script(received: Received) -> Step:
        call = chat(provider.url, "hello")
        call["headers"].append(["traceparent", received.header("traceparent")])
        return Tell() if received.number else HandOver([call])

    proxy = siding(scripted(script), provider.url, {"cache": {"ttl": "1h"}})
    for _ in range(3):
        assert proxy.request("POST", "/chat", [], b"{}").status == 200
    assert len(provider.requests) == 1


def test_the_trace_of_an_sdk_outside_a_request_goes_on(scripted, siding, collector: Collector) -> None:
    provider = scripted(Answer(200, completion("hi"), JSON))
    egress = free_address()
    settings = {"server": {"egress": egress}, "tracing": {"endpoint": collector.url}}
    proxy = siding(scripted(Answer()), provider.url, settings)
    until("the egress to listen", lambda: listens(egress))
    body = chat("", "hello")["body"].encode()
    headers = [*JSON, ("traceparent", SAMPLED), *TOGETHER]
    assert raw_http.request(egress, "POST", "/openai/v1/chat/completions", headers, body).status == 200
    end(proxy)
    exchange = collector.only("POST")
    assert (exchange.trace, exchange.parent) == (TRACE, PARENT)
    assert collector.tree(exchange) == ["POST", ["chat gpt-4o-mini"]]
    [sent] = provider.requests
    assert sent.header("traceparent") == collector.only("chat gpt-4o-mini").traceparent
    assert sent.header("tracestate") is None


def test_a_terminated_call_shows_the_question_and_the_answer(scripted, siding, collector: Collector) -> None:
    provider = scripted(Answer(200, completion("hi"), JSON))
    app = scripted(Answer(204, b""))
    settings = {
        "tracing": {"endpoint": collector.url},
        "providers": {"openai": {"api_key_env": "K"}},
        "routes": [{"path": "/llm/**", "terminate": {"provider": "openai", "authorize": "/auth/", "strip": "/llm"}}],
    }
    proxy = siding(app, provider.url, settings, environment={"K": "sk-key"})
    body = chat("", "hello")["body"].encode()
    answer = proxy.request("POST", "/llm/v1/chat/completions", [*JSON, ("traceparent", SAMPLED), *TOGETHER], body)
    assert answer.status == 200, answer.body
    end(proxy)
    exchange = collector.only("POST /llm/**")
    assert collector.tree(exchange) == ["POST /llm/**", ["queue"], ["authorize"], ["chat gpt-4o-mini"]]
    assert told_parents(app.requests) == [collector.only("authorize").traceparent]
    assert told_parents(provider.requests) == [collector.only("chat gpt-4o-mini").traceparent]
    assert provider.requests[0].header("baggage") is None


def test_a_relayed_stream_lasts_from_its_call_to_its_end(scripted, siding, collector: Collector) -> None:
    provider = scripted(Speak([(None, piece) for piece in stream_of("a", "b")]))
    call = chat(provider.url, "hello")
    call["body"] = json.dumps({**json.loads(call["body"]), "stream": True})
    head = {"status": 200, "headers": []}
    app = scripted(by_pass(HandOver([call], mode="relay", relay={"format": "provider", "head": head}), Answer()))
    proxy = siding(app, provider.url, {"tracing": {"endpoint": collector.url}})
    assert proxy.request("POST", "/chat", [("traceparent", SAMPLED)], b"{}").status == 200
    proxy.until_value(1, "siding_relay_passes_total", result="saved")
    end(proxy)
    exchange = collector.only("POST")
    relay = collector.only("relay")
    assert collector.tree(relay) == ["relay", ["chat gpt-4o-mini"]]
    assert relay.attributes["siding.relay.result"] == "complete"
    assert collector.only("chat gpt-4o-mini").events == ["first piece"]
    assert [span.name for span in collector.below(exchange)] == ["queue", "pass 0", "relay", "queue", "pass 1"]
    assert told_parents(provider.requests) == [collector.only("chat gpt-4o-mini").traceparent]


def test_a_job_is_part_of_the_trace_of_the_request_that_began_it(scripted, siding, collector: Collector) -> None:
    app = scripted(Answer())
    settings = {"tracing": {"endpoint": collector.url}, "routes": [{"path": "/**", "background": True}]}
    proxy = siding(app, None, settings)
    headers = [("traceparent", SAMPLED), ("Prefer", "respond-async")]
    assert proxy.request("POST", "/report", headers, b"{}").status == 202
    proxy.ended("answered", "background")
    assert traces_logged(proxy) == [TRACE, TRACE]
    end(proxy)
    exchange = collector.only("POST /**")
    assert collector.tree(exchange) == ["POST /**", ["job", ["queue"], ["pass 0"]]]
    assert told_parents(app.requests) == [collector.only("pass 0").traceparent]


def test_tries_of_a_call_are_events_of_its_span(scripted, siding, collector: Collector) -> None:
    provider = scripted(in_order(Answer(503, b"", [("Retry-After", "0")]), Answer(200, completion("hi"), JSON)))
    app = scripted(by_pass(HandOver([chat(provider.url, "hello")]), Tell()))
    proxy = siding(app, provider.url, {"tracing": {"endpoint": collector.url}})
    assert proxy.request("POST", "/chat", [("traceparent", SAMPLED)], b"{}").status == 200
    end(proxy)
    call = collector.only("chat gpt-4o-mini")
    assert (call.events, call.failed) == (["retry"], False)
    assert told_parents(provider.requests) == [call.traceparent] * 2


def test_a_call_that_failed_says_why(scripted, siding, collector: Collector) -> None:
    provider = f"http://{free_address()}"
    app = scripted(by_pass(HandOver([chat(provider, "hello")]), Tell()))
    proxy = siding(app, provider, {"tracing": {"endpoint": collector.url}, **ONE_TRY})
    assert proxy.request("POST", "/chat", [("traceparent", SAMPLED)], b"{}").status == 200
    end(proxy)
    call = collector.only("chat gpt-4o-mini")
    assert (call.failed, call.attributes["error.type"]) == (True, "connect")
    assert not collector.only("POST").failed, "the app answered"


def test_ten_who_follow_one_flight_link_to_its_call(scripted, siding, stack, collector: Collector) -> None:
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, completion("hi"), JSON)))
    app = scripted(by_pass(HandOver([chat(provider.url, "hello")]), Tell()))
    settings = {"tracing": {"endpoint": collector.url, "sample": 1.0}, "backend": {"workers": 11}}
    proxy = siding(app, provider.url, settings)
    clients = [stack.enter_context(proxy.connect()) for _ in range(11)]
    for client in clients:
        client.start("POST", "/chat", [], b"{}")
    proxy.until_value(10, "siding_coalesced_waiting")
    release.set()
    assert [client.response().status for client in clients] == [200] * 11
    end(proxy)
    call = collector.only("chat gpt-4o-mini")
    shared = collector.named("shared answer")
    assert [span.links for span in shared] == [[(call.trace, call.id)]] * 10
    assert {span.attributes["siding.cache.result"] for span in shared} == {"collapsed"}
    assert len({span.trace for span in [*shared, call]}) == 11
    exchanges = {span.id for span in collector.named("POST")}
    assert {span.parent for span in [*shared, call]} == exchanges
    assert len(provider.requests) == 1


def test_an_answer_that_was_stored_shows_as_such(scripted, siding, collector: Collector) -> None:
    provider = scripted(Answer(200, completion("hi"), JSON))
    app = scripted(by_pass(HandOver([chat(provider.url, "hello")]), Tell()))
    settings = {"tracing": {"endpoint": collector.url, "sample": 1.0}, "cache": {"ttl": "1h"}}
    proxy = siding(app, provider.url, settings)
    for _ in range(2):
        assert proxy.request("POST", "/chat", [], b"{}").status == 200
    end(proxy)
    assert collector.only("cached answer").attributes["siding.cache.result"] == "hit"
    assert collector.only("cached answer").links == []


def test_a_refusal_names_its_trace_to_the_client(start_plain) -> None:
    app, proxy = start_plain({"backend": {"queue": {"timeout": "50ms"}}}, worker=Hang(threading.Event()))
    with proxy.connect() as first:
        first.start("POST", "/", [], b"{}")
        app.wait_for(1)
        refused = proxy.request("POST", "/", [("traceparent", SAMPLED)], b"{}")
        assert assert_problem(refused, 503, "queue-timeout")["trace_id"] == TRACE


def test_a_client_that_leaves_ends_its_spans(scripted, siding, collector: Collector) -> None:
    release = threading.Event()
    app = scripted(Hang(release))
    proxy = siding(app, None, {"tracing": {"endpoint": collector.url}})
    with proxy.connect() as client:
        client.start("POST", "/", [("traceparent", SAMPLED)], b"{}")
        app.wait_for(1)
    proxy.ended("client-gone")
    release.set()
    app.wait_idle()
    proxy.until_value(0, "siding_workers_busy")
    end(proxy)
    exchange = collector.only("POST")
    assert exchange.attributes["siding.outcome"] == "client-gone"
    assert collector.only("pass 0").end >= exchange.end, "the worker went on"


def test_a_collector_that_is_down_costs_its_spans_and_nothing_else(scripted, siding) -> None:
    settings = {"tracing": {"endpoint": f"http://{free_address()}", "sample": 1.0}}
    proxy = siding(scripted(Answer()), None, settings)
    for _ in range(5):
        assert proxy.request("POST", "/", [], b"{}").status == 200
    until("spans to be dropped", lambda: proxy.value("siding_spans_total", result="dropped") == 15, 30)
    assert proxy.value("siding_spans_total", result="exported") == 0
    assert proxy.log.count("the collector does not take spans") == 1


def test_a_collector_that_refuses_is_not_asked_again(scripted, siding, stack) -> None:
    collector = stack.enter_context(Collector(status=400))
    proxy = siding(scripted(Answer()), None, {"tracing": {"endpoint": collector.url, "sample": 1.0}})
    assert proxy.request("POST", "/", [], b"{}").status == 200
    until("spans to be dropped", lambda: proxy.value("siding_spans_total", result="dropped") == 3, 15)
    assert len(collector.requests) == 1


def test_a_collector_that_hangs_holds_up_neither_requests_nor_the_end(scripted, siding, stack) -> None:
    collector = stack.enter_context(Collector())
    collector.release.clear()
    proxy = siding(scripted(Answer()), None, {"tracing": {"endpoint": collector.url, "sample": 1.0}})
    with proxy.connect() as client:
        for _ in range(1000):  # 3 spans each: more than a batch on its way and the queue hold
            assert client.request("POST", "/", [], b"{}").status == 200
    lost = 3000 - 2048 - 512
    until("spans to be dropped", lambda: proxy.value("siding_spans_total", result="dropped") >= lost)
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(8) == 0, "it waited for the collector for ever"
    assert "the last spans could not be exported in time" in proxy.log


def test_spans_that_the_collector_rejects_are_counted(scripted, siding, stack) -> None:
    collector = stack.enter_context(Collector(rejected=2))
    proxy = siding(scripted(Answer()), None, {"tracing": {"endpoint": collector.url, "sample": 1.0}})
    assert proxy.request("POST", "/", [], b"{}").status == 200
    collector.until_spans(3)
    proxy.until_value(2, "siding_spans_total", result="dropped")
    assert proxy.value("siding_spans_total", result="exported") == 1


def test_opentelemetrys_own_variables_count_where_the_file_is_silent(scripted, siding, stack) -> None:
    collector = stack.enter_context(Collector())
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a%20b",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,k8s.pod.name=pod-1",
    }
    proxy = siding(scripted(Answer()), None, environment=environment)
    assert proxy.request("POST", "/", [("traceparent", SAMPLED)], b"{}").status == 200
    end(proxy)
    assert collector.resources[0].items() >= {"service.name": "shop", "k8s.pod.name": "pod-1"}.items()
    [(path, headers)] = collector.requests
    assert (path, headers["x-tenant"]) == ("/v1/traces", "a b")
    assert headers["content-type"] == "application/x-protobuf"
