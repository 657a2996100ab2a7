"""Terminated routes: the app says whether a call may be made, the provider answers, and neither side's credentials
reach the other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from harness import raw_http
from harness.addresses import free_address, listens
from harness.calls import assert_problem, chat
from harness.h2_client import Streams
from harness.providers import DONE, EVENTS, JSON, Speak, completion, read_events, stream_of, text_of
from harness.raw_http import Connection, Incomplete, Response
from harness.scripted_worker import ScriptedWorker
from harness.sharing import counted, flown
from harness.siding import Siding, merged
from harness.steps import Answer, Close, HandOver, Hang, Script, Step
from harness.waiting import until

PROVIDER_KEY = "sk-provider-key-that-no-client-may-see"
CLIENT_KEY = "client-credential-that-no-provider-may-see"
CHAT = "/llm/v1/chat/completions"
HEADERS = [("Content-Type", "application/json"), ("Authorization", f"Bearer {CLIENT_KEY}")]
KEYED = {"providers": {"openai": {"api_key_env": "K"}}}
ONE_TRY = {"providers": {"openai": {"retry": {"attempts": 1}}}}
HOUR = {"cache": {"ttl": "1h"}}
TERMINATE = {"provider": "openai", "authorize": "/internal/llm-auth/", "strip": "/llm"}


@dataclass
class Grant(Step):
    """The app's answer that a call may be made."""

    says: dict[str, Any] | str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    status: int = 204

    def play(self, received, link):
        said = self.says if isinstance(self.says, str) else json.dumps(self.says)
        more = [] if self.says is None else [("Siding-Authorization", said)]
        return Answer(self.status, b"", [*self.headers, *more]).play(received, link)


@pytest.fixture
def start(scripted, siding) -> Callable[..., tuple[Siding, ScriptedWorker]]:
    """Starts the proxy before an app that is asked, with one worker."""

    def started(
        provider: Any,
        app: Step | Script | None = None,
        *settings: dict[str, Any],
        keyed: bool = True,
        **terminate: Any,
    ) -> tuple[Siding, ScriptedWorker]:
        said = {name: value for name, value in merged(TERMINATE, terminate).items() if value is not None}
        chosen: dict[str, Any] = {"routes": [{"path": "/llm/**", "terminate": said}]}
        for more in (KEYED if keyed else {}, *settings):
            chosen = merged(chosen, more)
        worker = scripted(Grant() if app is None else app)
        url = getattr(provider, "url", provider)
        return siding(worker, url, chosen, environment={"K": PROVIDER_KEY}), worker

    return started


def asked(prompt: str = "x", **more: Any) -> bytes:
    """A request body."""
    return json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **more}).encode()


def post(proxy: Siding, body: bytes | None = None, target: str = CHAT, headers: Any = HEADERS) -> Response:
    """One call on a connection of its own."""
    return proxy.request("POST", target, headers, asked() if body is None else body)


def until_arrived(client: Connection, text: bytes) -> None:
    """Reads until the text is there; it stays to be read."""
    while text not in client.buffer:
        more = client.socket.recv(1 << 16)
        assert more, f"the connection ended before {text!r}: {client.buffer!r}"
        client.buffer += more


def answering(scripted: Callable[..., ScriptedWorker]) -> ScriptedWorker:
    """A provider that answers everything."""
    return scripted(Answer(200, completion("hello"), JSON))


# Who is told what


def test_the_provider_answers_with_its_own_key_and_the_app_only_says_that_it_may(scripted, start):
    provider = answering(scripted)
    proxy, app = start(provider)
    response = post(proxy, asked("x", stream=False), f"{CHAT}?a=b%20c")
    assert (response.status, response.body) == (200, completion("hello"))
    [question] = app.requests
    assert (question.method, question.target, question.content) == ("GET", "/internal/llm-auth/", b"")
    told = {
        "authorization": f"Bearer {CLIENT_KEY}",
        "host": "app.example",
        "x-original-method": "POST",
        "x-original-uri": f"{CHAT}?a=b%20c",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "siding-model": "gpt-4o-mini",
        "siding-stream": "false",
        "content-type": None,
        "siding-accept": None,
    }
    assert {name: question.header(name) for name in told} == told
    assert question.header("x-request-start")
    [call] = provider.requests
    assert (call.method, call.target) == ("POST", "/v1/chat/completions?a=b%20c")
    assert call.content == asked("x", stream=False)
    assert call.header("authorization") == f"Bearer {PROVIDER_KEY}"
    proxy.ended("answered", "terminate")
    assert proxy.value("siding_authorizations_total", result="granted") == 1
    assert proxy.value("siding_authorization_duration_seconds_count") == 1
    assert proxy.value("siding_worker_seconds_saved_total", mode="terminate") > 0


@pytest.mark.parametrize("keyed", [True, False])
def test_no_credential_of_the_client_reaches_the_provider_and_none_of_the_provider_the_client(keyed, scripted, start):
    own = [("Set-Cookie", "site=1; Domain=provider.example"), ("Access-Control-Allow-Origin", "*")]
    own += [("OpenAI-Organization", "our-company"), ("Alt-Svc", 'h3=":443"'), ("X-Request-Id", "r")]
    provider = scripted(Answer(200, completion("x"), [*JSON, *own]))
    proxy, app = start(provider, keyed=keyed)
    names = ["Authorization", "Cookie", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-App-Token", "Proxy-Authorization"]
    secret = [(name, f"{CLIENT_KEY} {name}") for name in names]
    harmless = [("Content-Type", "application/json"), ("OpenAI-Beta", "x=v1"), ("User-Agent", "sdk/1")]
    forged = [("Siding-Model", "forged"), ("X-Original-URI", "/forged"), ("Origin", "https://page.example")]
    target = f"{CHAT}?key={CLIENT_KEY}&access_token={CLIENT_KEY}&api-version=1"
    response = post(proxy, asked(), target, [*secret, *harmless, *forged])
    assert response.status == 200
    [call] = provider.requests
    assert CLIENT_KEY.encode() not in call.head + call.content
    assert call.target == "/v1/chat/completions?api-version=1"
    kept = {"content-type", "openai-beta", "user-agent", "accept-encoding", "host", "content-length", "traceparent"}
    assert {name.lower() for name, _ in call.headers} == kept | ({"authorization"} if keyed else set())
    assert PROVIDER_KEY.encode() not in response.raw
    assert response.header("x-request-id") == "r"
    for name in ("set-cookie", "access-control-allow-origin", "openai-organization", "alt-svc"):
        assert response.header(name) is None, name
    [question] = app.requests
    assert (question.header("cookie"), question.header("x-app-token")) == (secret[1][1], secret[5][1])
    assert question.header("siding-model") == "gpt-4o-mini"
    assert question.header("x-original-uri") == target
    for line in (PROVIDER_KEY, CLIENT_KEY):
        assert line not in proxy.log


def test_the_app_is_told_of_streams_and_of_models_that_it_can_trust(scripted, start):
    provider = answering(scripted)
    proxy, app = start(provider)
    for number, (body, model, stream) in enumerate(
        [
            (asked(stream=True), "gpt-4o-mini", "true"),
            (b'{"model":"small","model":"big"}', None, "false"),
            (b'{"model":"caf\\u00e9"}', None, "false"),
            (b"not JSON", None, "false"),
        ]
    ):
        post(proxy, body, headers=[*HEADERS, ("Accept", "text/event-stream"), ("If-None-Match", "*"), ("Range", "x")])
        question = app.wait_for(number + 1)
        assert (question.header("siding-model"), question.header("siding-stream")) == (model, stream)
        assert "application/json" in question.header("accept")
        assert (question.header("if-none-match"), question.header("range")) == (None, None)


def test_cookies_and_cors_headers_of_the_app_reach_the_client_with_any_answer(scripted, start):
    own = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Vary", "Origin"), ("X-Own", "not for the client")]
    own += [("Access-Control-Allow-Origin", "https://page.example"), ("Access-Control-Allow-Credentials", "true")]
    proxy, _ = start(answering(scripted), Grant({"models": ["gpt-4o-mini"]}, own))
    for body, status in ((asked(), 200), (asked(model="other"), 403)):
        response = post(proxy, body)
        assert response.status == status
        assert response.header("set-cookie") == "a=1, b=2"
        assert response.header("vary") == "Origin"
        assert response.header("access-control-allow-origin") == "https://page.example"
        assert response.header("access-control-allow-credentials") == "true"
        assert response.header("x-own") is None
        assert response.header("siding-authorization") is None


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, [("WWW-Authenticate", 'Bearer realm="api"')]),
        (403, []),
        (429, [("Retry-After", "7")]),
        (302, [("Location", "/login/")]),
        (500, []),
    ],
)
def test_whatever_the_app_says_but_yes_is_the_clients_answer(status, headers, scripted, start):
    provider = answering(scripted)
    refused = Answer(status, b'{"detail": "no"}', [*JSON, *headers, ("Siding-Authorization", "{}")])
    proxy, _ = start(provider, refused)
    response = post(proxy)
    assert (response.status, response.body) == (status, b'{"detail": "no"}')
    for name, value in headers:
        assert response.header(name) == value
    assert response.header("siding-authorization") is None
    assert provider.requests == []
    proxy.ended("answered", "terminate")
    assert proxy.value("siding_authorizations_total", result="denied") == 1
    assert proxy.value("siding_workers_busy") == 0


def test_a_public_route_asks_nobody(scripted, start):
    provider = answering(scripted)
    proxy, app = start(provider, None, authorize=None, public=True)
    assert post(proxy, headers=[]).status == 200
    assert (len(provider.requests), app.requests) == (1, [])


def test_a_preflight_is_the_apps_own(scripted, start):
    provider = answering(scripted)
    proxy, app = start(provider, Answer(204, b"", [("Access-Control-Allow-Methods", "POST")]))
    preflight = [("Origin", "https://page.example"), ("Access-Control-Request-Method", "POST")]
    response = proxy.request("OPTIONS", CHAT, preflight)
    assert (response.status, response.header("access-control-allow-methods")) == (204, "POST")
    [request] = app.requests
    assert (request.method, request.target, request.header("siding-accept")) == ("OPTIONS", CHAT, None)
    assert provider.requests == []


@pytest.mark.parametrize(
    "target", ["/llm/v1/../../admin", "/llm/../v1/files", "/llm/v1/%2e%2e/files", "/llm/v1/..%2ffiles", "/llm/./v1/x"]
)
def test_a_path_leads_nowhere_but_where_its_route_says(target, scripted, start):
    provider = answering(scripted)
    proxy, app = start(provider)
    response = post(proxy, target=target)
    assert response.status in (400, 404)
    assert (provider.requests, app.requests) == ([], [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_other_methods_are_terminated_too(method, scripted, start):
    provider = scripted(Answer(200, b'{"data": []}', JSON))
    proxy, app = start(provider)
    with proxy.connect() as client:
        response = client.request(method, "/llm/v1/models", HEADERS)
        assert (response.status, response.body) == (200, b"" if method == "HEAD" else b'{"data": []}')
    assert [(request.method, request.target) for request in provider.requests] == [(method, "/v1/models")]
    assert app.requests[0].header("x-original-method") == method


def test_a_wish_to_upgrade_is_ignored(scripted, start):
    provider = answering(scripted)
    proxy, _ = start(provider)
    upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]
    response = post(proxy, headers=[*HEADERS, *upgrade])
    assert (response.status, response.body) == (200, completion("hello"))
    assert provider.requests[0].content == asked()


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_read_in_every_framing(chunked, scripted, start):
    provider = answering(scripted)
    proxy, app = start(provider)
    body = asked()
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
    with proxy.connect() as client:
        client.start("POST", CHAT, [*HEADERS, ("Expect", "100-continue"), framing])
        until_arrived(client, b"100 Continue")
        client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
        response = client.response("POST")
        assert (response.status, response.interim) == (200, [100])
        assert client.request("POST", CHAT, HEADERS, body).status == 200
    assert [request.content for request in provider.requests] == [body, body]
    assert app.requests[0].header("siding-model") == "gpt-4o-mini"


def test_a_body_over_the_limit_is_refused_and_goes_to_nobody(scripted, start):
    provider = answering(scripted)
    proxy, app = start(provider, None, {"server": {"max_body": "1KiB"}})
    problem = assert_problem(post(proxy, asked("x" * 2000)), 413, "body-too-large")
    assert problem["error"]["type"] == "request_too_large"
    assert (provider.requests, app.requests) == ([], [])


def test_http2_clients_get_the_same(scripted, start):
    provider = scripted(Speak([(None, piece) for piece in stream_of("one", "two")]))
    address = free_address()
    proxy, app = start(provider, Grant(headers=[("Set-Cookie", "a=1")]), {"server": {"h2c": address}})
    until("h2c to listen", lambda: listens(address))
    with httpx.Client(base_url=f"http://{address}", http1=False, http2=True) as client:
        response = client.post(CHAT, content=asked(stream=True), headers=dict(HEADERS))
        assert (response.status_code, response.headers["set-cookie"]) == (200, "a=1")
        assert text_of(read_events(response.content)) == "onetwo"
    assert app.requests[0].header("authorization") == f"Bearer {CLIENT_KEY}"
    assert CLIENT_KEY.encode() not in provider.requests[0].head
    proxy.ended("answered", "terminate")


def test_an_http2_stream_that_is_reset_cancels_its_call(llm, start):
    address = free_address()
    proxy, _ = start(llm, None, {"server": {"h2c": address}})
    until("h2c to listen", lambda: listens(address))
    with Streams(address) as streams:
        stream = streams.start("POST", CHAT, asked("[hang]"))
        llm.until_stats({"in_flight": 1})
        streams.reset(stream)
        llm.until_stats({"total": 1, "cancelled": 1})
    proxy.ended("client-gone", "terminate")


# What the app allows


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (asked(model="gpt-4o-mini"), 200),
        (asked(model="gpt-4o"), 200),
        (asked(model="gpt-4"), 403),
        (asked(model=None), 403),
        (b'{"model":"gpt-4o","model":"gpt-4"}', 403),
        (b"not JSON", 403),
    ],
)
def test_only_models_that_the_app_allows_are_called(body, status, scripted, start):
    provider = answering(scripted)
    proxy, _ = start(provider, Grant({"models": ["gpt-4o*", "other"], "unknown": [1]}))
    response = post(proxy, body)
    if status == 403:
        problem = assert_problem(response, 403, "model-not-allowed")
        assert problem["error"]["type"] == "permission_error"
        proxy.ended("model-not-allowed", "terminate")
    assert (response.status, len(provider.requests)) == (status, 1 if status == 200 else 0)


def test_more_output_than_the_app_allows_is_refused_and_the_maximum_is_put_in(scripted, start):
    provider = answering(scripted)
    proxy, _ = start(provider, Grant({"max_output_tokens": 100}))
    problem = assert_problem(post(proxy, asked(max_tokens=101)), 400, "output-limit")
    assert problem["error"]["type"] == "invalid_request_error"
    assert_problem(post(proxy, asked(), "/llm/v1/batches"), 400, "output-limit")
    assert provider.requests == []
    assert post(proxy, asked("within", max_tokens=100)).status == 200
    body = b'{ "model":"m", "temperature":1.50 }'
    assert post(proxy, body).status == 200
    sent = [request.content for request in provider.requests]
    assert sent == [asked("within", max_tokens=100), b'{"max_completion_tokens":100, "model":"m", "temperature":1.50 }']
    proxy.ended("output-limit", "terminate", times=2)


def test_a_user_has_so_many_calls_at_once(scripted, start, stack):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, completion("x"), JSON)))

    def app(received):
        user = received.header("cookie")
        return Grant({"user": user, "max_concurrent": 2, "scope": "none"})

    proxy, _ = start(provider, app)

    def begun(user: str) -> Connection:
        client = stack.enter_context(Connection(proxy.address))
        client.start("POST", CHAT, [*HEADERS, ("Cookie", user)], asked())
        return client

    clients = [begun("one"), begun("one"), begun("two")]
    provider.wait_for(3)
    refused = post(proxy, headers=[*HEADERS, ("Cookie", "one")])
    problem = assert_problem(refused, 429, "user-limit")
    assert (refused.header("retry-after"), problem["error"]["type"]) == ("1", "rate_limit_error")
    proxy.ended("user-limit", "terminate")
    clients[0].close()
    proxy.ended("client-gone", "terminate")
    another = begun("one")
    provider.wait_for(4)
    release.set()
    assert [client.response("POST").status for client in (*clients[1:], another)] == [200] * 3
    proxy.ended("answered", "terminate", times=3)
    assert post(proxy, headers=[*HEADERS, ("Cookie", "one")]).status == 200
    assert 'user="two"' in proxy.log


def test_a_stream_counts_for_its_user_until_its_end(scripted, start):
    events = [threading.Event()]
    first, one, *end = stream_of("one")
    provider = scripted(Speak([(None, first + one), (events[0], b"".join(end))]))
    proxy, _ = start(provider, Grant({"user": "one", "max_concurrent": 1, "scope": "none"}))
    with proxy.connect() as client:
        client.start("POST", CHAT, HEADERS, asked(stream=True))
        until_arrived(client, b"one")
        assert post(proxy).status == 429
        events[0].set()
        assert client.response("POST").status == 200
        until("the place to be free", lambda: post(proxy, asked(stream=True)).status == 200)


@pytest.mark.parametrize("said", ["yes", "[]", '{"models": "x"}', '{"max_output_tokens": 0}', '{"scope": "a b"}'])
def test_what_the_app_says_unclearly_allows_nothing(said, scripted, start):
    provider = answering(scripted)
    proxy, _ = start(provider, Grant(said))
    assert_problem(post(proxy), 502, "authorization-invalid")
    assert provider.requests == []
    assert proxy.value("siding_authorizations_total", result="invalid") == 1
    assert "Siding-Authorization cannot be understood" in proxy.log


def test_the_app_cannot_suspend_when_it_is_asked(scripted, start):
    provider = answering(scripted)
    proxy, _ = start(provider, HandOver([chat(provider.url, "x")], signed=False))
    assert_problem(post(proxy), 502, "handoff-unexpected")
    assert provider.requests == []


# Sharing


@pytest.mark.parametrize(("scope", "calls"), [(None, 1), ("app", 1), ("user", 2), ("none", 4), ("tenant:7", 1)])
def test_the_scope_keeps_users_apart_or_lets_them_share(scope, calls, scripted, start):
    provider = answering(scripted)
    proxy, _ = start(provider, Grant({} if scope is None else {"scope": scope}), HOUR)
    for user in ("one", "two", "one", "two"):
        headers = [("Content-Type", "application/json"), ("Cookie", f"session={user}")]
        assert post(proxy, headers=headers).body == completion("hello")
    assert len(provider.requests) == calls


def test_identical_calls_in_flight_are_one_and_each_is_authorised(scripted, start, stack):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, completion("x"), JSON)))
    proxy, app = start(provider)
    clients = [stack.enter_context(Connection(proxy.address)) for _ in range(3)]
    for client in clients:
        client.start("POST", CHAT, HEADERS, asked())
    proxy.until_value(2, "siding_coalesced_waiting")
    release.set()
    assert [client.response("POST").body for client in clients] == [completion("x")] * 3
    assert (len(provider.requests), len(app.requests)) == (1, 3)
    counted(proxy, miss=1, collapsed=2)
    flown(proxy, complete=1)


def test_answers_are_purged_by_the_tags_of_the_app(scripted, start):
    provider = answering(scripted)
    proxy, _ = start(provider, Grant({"tags": ["user:7"]}), HOUR)
    assert [post(proxy).status for _ in range(2)] == [200, 200]
    assert raw_http.request(proxy.admin, "POST", "/-/purge?tag=user:7").body == b"1 entries\n"
    assert post(proxy).status == 200
    assert len(provider.requests) == 2


def test_a_client_cannot_say_how_its_call_is_shared(scripted, start):
    provider = answering(scripted)
    proxy, _ = start(provider, None, HOUR)
    for _ in range(2):
        assert post(proxy, headers=[*HEADERS, ("Cache-Control", "no-store")]).status == 200
    assert len(provider.requests) == 1


# Streams and workers


def test_tokens_arrive_as_they_come_and_no_worker_is_held_meanwhile(scripted, start):
    events = [threading.Event() for _ in range(2)]
    first, one, two, *end = stream_of("one", "two")
    provider = scripted(Speak([(None, first), (events[0], one), (events[1], two + b"".join(end))]))
    proxy, app = start(provider, lambda received: Grant() if "auth" in received.target else Answer())
    with proxy.connect() as client:
        client.start("POST", CHAT, HEADERS, asked(stream=True))
        events[0].set()
        until_arrived(client, b"one")
        assert DONE not in client.buffer
        assert proxy.value("siding_workers_busy") == 0
        assert proxy.request("GET", "/other").body == b"done", "the only worker is free"
        events[1].set()
        response = client.response("POST")
    assert response.header("content-type") == EVENTS[0][1]
    assert text_of(read_events(response.body)) == "onetwo"
    assert [request.target for request in app.requests] == ["/internal/llm-auth/", "/other"]


def test_a_yes_with_a_long_body_is_read_to_its_end_so_that_the_worker_is_free(scripted, start):
    provider = answering(scripted)
    proxy, _ = start(provider, Answer(200, b"x" * 300_000))
    assert post(proxy).status == 200
    proxy.until_value(0, "siding_workers_busy")
    proxy.until_value(0, "siding_workers_orphaned")


def test_a_stream_that_breaks_off_ends_with_an_error_and_never_looks_complete(scripted, start):
    first, one, two, *_ = stream_of("one", "two")
    provider = scripted(Speak([(None, first), (None, one + two[:20])], breaks_off=True))
    proxy, _ = start(provider, None, ONE_TRY)
    response = post(proxy, asked(stream=True))
    *events, last, rest = response.body.split(b"\n\n")
    assert [b"one" in event for event in events] == [False, True], "half an event is left out"
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert (rest, error["message"]) == (b"", "the provider broke off in the middle of its answer")
    assert b"[DONE]" not in response.body
    proxy.ended("interrupted", "terminate")


@pytest.mark.parametrize("body", [b"", b'{"id": "half'])
def test_a_plain_answer_that_breaks_off_breaks_the_connection(body, scripted, start):
    provider = scripted(Speak([(None, body)] if body else [], breaks_off=True, headers=JSON))
    proxy, _ = start(provider, None, ONE_TRY)
    with proxy.connect() as client:
        client.start("POST", CHAT, HEADERS, asked())
        with pytest.raises((Incomplete, ConnectionError)) as broken:
            client.response("POST")
    assert b"error" not in getattr(broken.value, "received", b"")
    proxy.ended("interrupted", "terminate")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_its_call(stream, llm, start):
    proxy, _ = start(llm)
    prompt = "[hang]"
    with proxy.connect() as client:
        client.start("POST", CHAT, HEADERS, asked(prompt, stream=stream))
        llm.until_stats({"total": 1, "in_flight": 1}, prompt)
    llm.until_stats({"total": 1, "in_flight": 0, "cancelled": 1}, prompt)
    proxy.ended("client-gone", "terminate")
    flown(proxy, unwanted=1)


def test_a_client_that_leaves_while_the_app_is_asked_has_no_call_made(scripted, start):
    release = threading.Event()
    provider = answering(scripted)
    proxy, app = start(provider, Hang(release, Grant()))
    with proxy.connect() as client:
        client.start("POST", CHAT, HEADERS, asked())
        app.wait_for(1)
    proxy.ended("client-gone", "terminate")
    assert proxy.value("siding_workers_orphaned") == 1
    release.set()
    proxy.until_value(0, "siding_workers_busy")
    assert provider.requests == []
    assert proxy.value("siding_authorizations_total", result="abandoned") == 1


# Failures


def test_an_app_that_is_down_is_a_bad_gateway(scripted, siding):
    provider = answering(scripted)
    settings = merged(KEYED, {"routes": [{"path": "/llm/**", "terminate": TERMINATE}]})
    proxy = siding(free_address(), provider.url, settings, environment={"K": PROVIDER_KEY})
    assert_problem(post(proxy), 502, "backend-connect")
    assert provider.requests == []
    assert proxy.value("siding_authorizations_total", result="failed") == 1


def test_an_app_that_breaks_off_or_takes_too_long_allows_nothing(scripted, start):
    provider = answering(scripted)
    release = threading.Event()
    script = lambda received: Close() if received.index < 2 else Hang(release)  # noqa: E731
    proxy, _ = start(provider, script, {"backend": {"timeout": "300ms"}})
    assert_problem(post(proxy), 502, "backend-closed")
    assert_problem(post(proxy), 504, "backend-timeout")
    assert provider.requests == []


def test_a_full_queue_is_told_as_a_providers_sdk_shows_it(scripted, start, stack):
    release = threading.Event()
    provider = answering(scripted)
    proxy, app = start(provider, Hang(release, Grant()), {"backend": {"queue": {"capacity": 1}}})
    clients = [stack.enter_context(Connection(proxy.address)) for _ in range(2)]
    clients[0].start("POST", CHAT, HEADERS, asked("0"))
    app.wait_for(1)
    clients[1].start("POST", CHAT, HEADERS, asked("1"))
    proxy.until_value(1, "siding_queue_depth")
    response = post(proxy)
    problem = assert_problem(response, 503, "queue-full")
    assert problem["error"] == {
        "message": "Too many requests wait. Come back after Retry-After.",
        "type": "overloaded_error",
        "code": "queue-full",
    }
    assert response.header("retry-after")
    release.set()
    assert [client.response("POST").status for client in clients] == [200, 200]


def test_questions_keep_to_the_bulkhead_of_their_route(scripted, start, stack):
    release = threading.Event()
    provider = answering(scripted)
    narrow = {"routes": [{"path": "/llm/**", "terminate": TERMINATE, "max_workers": 1}], "backend": {"workers": 2}}
    script = lambda received: Hang(release, Grant()) if "auth" in received.target else Answer()  # noqa: E731
    proxy, app = start(provider, script, narrow)
    clients = [stack.enter_context(Connection(proxy.address)) for _ in range(2)]
    for client in clients:
        client.start("POST", CHAT, HEADERS, asked())
    proxy.until_value(1, "siding_queue_depth")
    assert proxy.request("GET", "/other").status == 200
    assert len(app.requests) == 2
    release.set()
    assert [client.response("POST").status for client in clients] == [200, 200]


def test_a_provider_that_is_down_is_a_bad_gateway(start):
    proxy, _ = start(f"http://{free_address()}", None, ONE_TRY)
    problem = assert_problem(post(proxy), 502, "provider-failed")
    assert problem["error"]["type"] == "api_error"


def test_a_providers_error_is_the_clients_answer(llm, start):
    proxy, _ = start(llm, None, ONE_TRY)
    response = post(proxy, asked("[status=429][retry-after=3600]"))
    assert (response.status, response.header("retry-after")) == (429, "3600")
    assert json.loads(response.body)["error"]["code"] == "rate_limit_exceeded"
