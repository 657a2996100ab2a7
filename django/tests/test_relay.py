"""Behind the proxy: it streams, the view's middlewares make the head, and the view saves later."""

from __future__ import annotations

import gc
import json
import logging
import weakref

import httpx
import openai
import pytest
import requests
import streams
from django.http import HttpResponse
from project.app.models import Note
from rest_framework.response import Response
from rest_framework.views import APIView

from django_siding import Answer, once, relay

PARTIAL = "".join(
    f"data: {json.dumps({'choices': [{'delta': {'content': text}, 'finish_reason': None}]})}\n\n"
    for text in ("one ", "two")
)
BROKEN = {
    "kind": "result",
    "status": 200,
    "headers": [["content-type", "text/event-stream"]],
    "body": PARTIAL,
    "relayed": True,
    "broken": "interrupted",
    "message": "the provider closed the connection",
}
LATE_REFUSAL = {
    "kind": "result",
    "status": 429,
    "headers": [["content-type", "application/json"]],
    "body": json.dumps({"error": {"message": "slow down", "type": "rate_limit_error"}}),
    "relayed": True,
}
SILENT = {"kind": "error", "error": "first_byte_timeout", "message": "too late", "relayed": True}


@pytest.fixture
def siding(siding):
    siding.proxy.modes = "replay relay"
    return siding


@pytest.fixture
def saved():
    """What `on_complete` got."""
    return []


def relaying(url: str, saved: list[Answer], call=streams.openai_create, **options):
    def view(request):
        return relay(lambda: call(url), on_complete=saved.append, **options)

    return view


def ask(url: str, prompt: str) -> str:
    return httpx.post(f"{url}/ask", json={"prompt": prompt}).json()["text"]


def middleware(monkeypatch, settings, *functions):
    """Install functions of request and `get_response` inside of SidingMiddleware."""
    import test_relay

    names = []
    for function in functions:

        def factory(get_response, function=function):
            return lambda request: function(request, get_response)

        monkeypatch.setattr(test_relay, function.__name__, factory, raising=False)
        names.append(f"test_relay.{function.__name__}")
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *names]


@pytest.mark.parametrize("call", streams.ALL)
def test_a_stream_is_relayed_and_saved_by_one_more_pass(siding, provider, saved, call):
    texts = []

    def save(answer: Answer) -> None:
        saved.append(answer)
        texts.append(streams.read(call, answer.stream))
        Note.objects.create(text=answer.text)

    def view(request):
        return relay(lambda: call(provider.url), on_complete=save)

    answer = siding.post(view)
    assert (answer.status, answer.body, answer.passes) == (204, b"", 2)
    assert (answer.relay["format"], answer.relay["on_disconnect"]) == ("provider", "cancel")
    assert provider.prompts == ["hello"]
    [whole] = saved
    assert (whole.text, whole.is_complete, whole.error) == ("echo: hello", True, None)
    assert texts == ["echo: hello"]
    assert [note.text for note in Note.objects.all()] == ["echo: hello"]


def test_the_call_says_how_it_is_to_be_relayed(siding, provider, saved):
    options = {"format": "ui-message-stream", "on_disconnect": "finish"}
    relayed = siding.post(relaying(provider.url, saved, **options)).relay
    assert {name: relayed[name] for name in options} == options
    assert relayed["head"]["status"] == 200


def test_the_head_is_what_the_middlewares_made_of_it(
    siding, provider, saved, monkeypatch, settings
):
    def cors(request, get_response):
        response = get_response(request)
        assert response.streaming
        response["Access-Control-Allow-Origin"] = "*"
        response.status_code = 201
        return response

    def cookies(request, get_response):
        response = get_response(request)
        response.set_cookie("first", "1")
        response.set_cookie("second", "2", httponly=True)
        return response

    middleware(monkeypatch, settings, cors, cookies)
    view = relaying(provider.url, saved, headers={"X-Conversation": "7"})
    head = siding.post(view).relay["head"]
    assert head["status"] == 201
    assert ["access-control-allow-origin", "*"] in head["headers"]
    assert ["x-conversation", "7"] in head["headers"]
    assert [value for name, value in head["headers"] if name == "set-cookie"] == [
        "first=1; Path=/",
        "second=2; HttpOnly; Path=/",
    ]
    assert not {name for name, _ in head["headers"]} & {"content-type", "content-length"}


def test_compression_is_not_in_the_head_because_the_stream_is_not_compressed(
    siding, provider, saved, settings
):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.gzip.GZipMiddleware"]
    view = relaying(provider.url, saved)
    answer = siding.request(view, "POST", headers={"Accept-Encoding": "gzip"})
    names = {name for name, _ in answer.relay["head"]["headers"]}
    assert "vary" in names
    assert "content-encoding" not in names


def test_a_cache_of_whole_responses_does_not_store_the_marker(siding, provider, saved, settings):
    settings.MIDDLEWARE = [
        settings.MIDDLEWARE[0],
        "django.middleware.cache.UpdateCacheMiddleware",
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    view = relaying(provider.url, saved)
    assert [siding.get(view).relay is not None for _ in range(2)] == [True, True]
    assert len(saved) == 2


def test_the_session_of_the_asking_pass_is_saved_and_its_cookie_is_the_clients(
    siding, provider, saved
):
    from django.contrib.sessions.models import Session

    def view(request):
        request.session["seen"] = True
        return relaying(provider.url, saved)(request)

    head = siding.post(view).relay["head"]
    [cookie] = [value for name, value in head["headers"] if name == "set-cookie"]
    key = cookie.removeprefix("sessionid=").partition(";")[0]
    assert Session.objects.get(pk=key).get_decoded() == {"seen": True}


def test_what_the_view_wrote_before_the_call_is_written_once(siding, provider, saved):
    def view(request):
        Note.objects.create(text=once("id", lambda: "first"))
        return relaying(provider.url, saved)(request)

    assert siding.post(view).passes == 2
    assert [note.text for note in Note.objects.all()] == ["first"]


def test_what_middlewares_close_is_closed_in_each_pass(
    siding, provider, saved, monkeypatch, settings
):
    closed = []

    def closing(request, get_response):
        response = get_response(request)
        response._resource_closers.append(lambda: closed.append(1))
        return response

    middleware(monkeypatch, settings, closing)
    siding.post(relaying(provider.url, saved))
    assert closed == [1, 1]


def test_a_relayed_pass_leaves_nothing_for_the_garbage_collector(siding, provider, saved):
    held = []

    class Held:
        pass

    def view(request):
        here = Held()
        held.append(weakref.ref(here))
        body = {"prompt": "hello", "stream": True}
        return relay(lambda: httpx.stream("POST", f"{provider.url}/s", json=body))

    gc.disable()
    try:
        assert siding.post(view).relay is not None
        assert held[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "call", [streams.openai_create, streams.by_httpx, streams.by_requests, streams.by_urllib3]
)
def test_an_answer_that_broke_off_is_saved_as_far_as_it_came(siding, saved, provider, call):
    siding.proxy.outcome = lambda _: BROKEN
    failures = []

    def save(answer: Answer) -> None:
        saved.append(answer)
        try:
            streams.read(call, answer.stream)
        except Exception as failure:
            failures.append(type(failure).__name__)

    def view(request):
        return relay(lambda: call(provider.url), on_complete=save)

    answer = siding.post(view)
    assert (answer.status, answer.passes, answer.relayed) == (204, 2, PARTIAL.encode())
    [part] = saved
    assert (part.text, part.is_complete, part.error) == ("one two", False, "interrupted")
    assert len(list(part.events)) == 2
    assert len(failures) == 1


@pytest.mark.parametrize("call", streams.ALL)
def test_a_stream_that_never_had_a_byte_is_saved_without_one(siding, saved, provider, call):
    siding.proxy.outcome = lambda _: SILENT
    answer = siding.post(relaying(provider.url, saved, call))
    assert (answer.status, answer.passes, len(answer.calls)) == (204, 2, 1)
    [nothing] = saved
    assert (nothing.text, nothing.stream, nothing.error) == ("", None, "first_byte_timeout")
    assert not nothing.is_complete


@pytest.mark.parametrize("call", streams.ALL)
def test_a_refusal_that_came_after_the_clients_stream_had_begun_is_saved(
    siding, saved, provider, call
):
    siding.proxy.outcome = lambda _: LATE_REFUSAL
    answer = siding.post(relaying(provider.url, saved, call))
    assert (answer.status, answer.passes, len(answer.calls)) == (204, 2, 1)
    [nothing] = saved
    assert (nothing.text, nothing.is_complete, nothing.error) == ("", False, "refused")


def test_a_refusal_is_raised_out_of_relay_as_the_sdk_raises_it(siding, provider, saved):
    provider.status = 429

    def view(request):
        try:
            return relaying(provider.url, saved)(request)
        except openai.RateLimitError:
            return HttpResponse("come back later", status=503)

    answer = siding.post(view)
    assert (answer.status, answer.text, answer.relay) == (503, "come back later", None)
    assert saved == []


@pytest.mark.parametrize("call", [streams.by_httpx, streams.by_requests, streams.by_urllib3])
@pytest.mark.parametrize("offering", [True, False])
def test_libraries_that_return_a_refusal_raise_it_too(siding, provider, saved, call, offering):
    siding.proxy.offering = offering
    provider.status = 400

    def view(request):
        try:
            return relaying(provider.url, saved, call)(request)
        except (httpx.HTTPStatusError, requests.HTTPError) as failure:
            return HttpResponse(f"{failure.response.status_code} {failure.response.text}")
        except RuntimeError as failure:
            return HttpResponse(f"{failure}, out of order")

    text = siding.post(view).text
    assert "400" in text
    assert "out of order" in text
    assert saved == []


def test_a_call_may_turn_to_another_provider_that_is_relayed_instead(siding, provider, saved):
    provider.statuses = [500]

    def either(url: str):
        try:
            return streams.openai_create(url)
        except openai.APIStatusError:
            return streams.anthropic_create(url)

    answer = siding.post(relaying(provider.url, saved, either))
    assert (answer.passes, [whole.text for whole in saved]) == (3, ["echo: hello"])
    assert answer.relay is not None


def test_calls_of_on_complete_suspend_as_ever(siding, provider):
    def save(answer: Answer) -> None:
        Note.objects.create(text=ask(provider.url, answer.text))

    def view(request):
        return relay(lambda: streams.openai_create(provider.url), on_complete=save)

    answer = siding.post(view)
    assert (answer.status, answer.passes) == (204, 3)
    assert [note.text for note in Note.objects.all()] == ["echo: echo: hello"]


def test_an_ordinary_call_before_the_stream_is_replayed(siding, provider, saved):
    def view(request):
        ask(provider.url, "is this fine?")
        return relaying(provider.url, saved)(request)

    answer = siding.post(view)
    assert (answer.passes, answer.relay is not None, len(saved)) == (3, True, 1)


def test_a_request_is_relayed_once(siding, provider, saved):
    """The client has its answer by then; a second one can only be recorded."""

    def view(request):
        relaying(provider.url, saved)(request)
        return relaying(provider.url, saved, streams.anthropic_create)(request)

    answer = siding.post(view)
    assert (answer.status, answer.passes) == (200, 3)
    assert [whole.text for whole in saved] == ["echo: hello"] * 3


def test_a_drf_view_relays(siding, provider, saved):
    class View(APIView):
        def post(self, request):
            try:
                return relaying(provider.url, saved)(request)
            except Exception:
                return Response(status=502)

    answer = siding.post(View.as_view(), {"prompt": "hello"})
    assert (answer.status, answer.relay is not None, len(saved)) == (204, True, 1)


@pytest.mark.parametrize(
    ("format", "content_type"),
    [
        ("provider", "text/event-stream"),
        ("text", "text/plain; charset=utf-8"),
        ("ui-message-stream", "text/event-stream"),
    ],
)
def test_a_proxy_that_does_not_relay_delivers_the_whole_stream(
    siding, provider, saved, format, content_type
):
    siding.proxy.modes = "replay"
    view = relaying(provider.url, saved, format=format, headers={"X-Mine": "1"})
    answer = siding.post(view)
    assert (answer.status, answer.passes, answer.relay) == (200, 2, None)
    assert answer.headers["Content-Type"] == content_type
    assert (answer.headers["X-Mine"], answer.headers["X-Accel-Buffering"]) == ("1", "no")
    assert "echo: " in answer.text
    assert [whole.text for whole in saved] == ["echo: hello"]

    siding.proxy.offering = False
    assert siding.post(view).text == answer.text


def test_a_middleware_that_relays_gets_a_whole_answer(
    siding, provider, saved, monkeypatch, settings
):
    def answering(request, get_response):
        return relaying(provider.url, saved)(request)

    middleware(monkeypatch, settings, answering)
    answer = siding.post(lambda request: HttpResponse())
    assert (answer.status, answer.passes, answer.relay) == (200, 2, None)
    assert len(saved) == 1


def test_a_middlewares_own_answer_takes_the_place_of_the_stream(
    siding, provider, saved, monkeypatch, settings, caplog
):
    def refusing(request, get_response):
        get_response(request)
        return HttpResponse("no", status=403)

    middleware(monkeypatch, settings, refusing)
    with caplog.at_level(logging.WARNING):
        answer = siding.post(relaying(provider.url, saved))
    assert (answer.status, answer.text, answer.passes) == (403, "no", 1)
    assert provider.prompts == saved == []
    assert "a middleware answered with another response" in caplog.text


def test_a_middleware_that_calls_after_the_marker_calls_in_line(
    siding, provider, saved, monkeypatch, settings
):
    def late(request, get_response):
        response = get_response(request)
        response["X-Late"] = ask(provider.url, "late")
        return response

    middleware(monkeypatch, settings, late)
    answer = siding.post(relaying(provider.url, saved))
    assert ["x-late", "echo: late"] in answer.relay["head"]["headers"]
    assert (answer.passes, len(answer.calls), len(saved)) == (2, 1, 1)


def test_a_failing_on_complete_rolls_the_last_pass_back(siding, provider):
    def save(answer: Answer) -> None:
        Note.objects.create(text="half")
        raise ValueError

    def view(request):
        return relay(lambda: streams.openai_create(provider.url), on_complete=save)

    answer = siding.post(view)
    assert (answer.status, answer.relay is not None) == (500, True)
    assert Note.objects.count() == 0


def test_events_are_decoded_whatever_ends_their_lines():
    raw = 'event: a\r\ndata: {"n": 1}\r\n\r\n: comment\n\ndata: {"n":\ndata: 2}\n\ndata: [DONE]\n\n'
    assert list(Answer(raw=raw.encode()).events) == [{"n": 1}, {"n": 2}]


def two_streams(url: str):
    streams.openai_create(url)
    return streams.openai_create(url)


def nothing(url: str):
    return None


def whole(url: str):
    return streams.openai_client(url).chat.completions.create(model="m", messages=streams.MESSAGES)


def by_async_client(url: str):
    coroutine = openai.AsyncOpenAI(base_url=url, api_key="key").chat.completions.create(
        **streams.BODY
    )
    coroutine.close()
    return coroutine


@pytest.mark.parametrize("offering", [True, False])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (nothing, "made no call"),
        (by_async_client, "made no call"),
        (two_streams, "made a second one"),
        (whole, "stream=True"),
    ],
)
def test_a_misuse_is_named(siding, provider, saved, offering, call, message):
    siding.proxy.offering = offering

    def view(request):
        with pytest.raises(RuntimeError, match=message):
            relaying(provider.url, saved, call)(request)
        return HttpResponse("named")

    siding.proxy.modes = "replay"
    assert siding.post(view).text == "named"
    assert saved == []


@pytest.mark.parametrize("offering", [True, False])
def test_a_format_needs_an_api_that_is_understood(siding, provider, saved, offering):
    siding.proxy.offering = offering

    def other(url: str):
        return httpx.stream("POST", f"{url}/api/generate?key=secret", json={"stream": True})

    def view(request):
        with pytest.raises(RuntimeError, match=r"/api/generate$"):
            relaying(provider.url, saved, other, format="text")(request)
        return HttpResponse("named")

    assert siding.post(view).text == "named"
    assert provider.prompts == saved == []


@pytest.mark.parametrize("offering", [True, False])
def test_an_answer_that_lacks_its_own_end_is_not_complete(siding, provider, saved, offering):
    siding.proxy.offering = offering
    provider.breaks_after, provider.ends_well = 2, True
    view = relaying(provider.url, saved, streams.anthropic_create)
    siding.post(view)
    [part] = saved
    assert (part.is_complete, part.error) == (False, "incomplete")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "html"}, "'provider', 'text', 'ui-message-stream', not 'html'"),
        ({"on_disconnect": "stop"}, "'cancel', 'finish', not 'stop'"),
    ],
)
def test_an_unknown_word_is_refused_with_those_that_are_known(options, message):
    with pytest.raises(ValueError, match=message):
        relay(lambda: None, **options)
